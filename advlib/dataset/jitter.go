package dataset

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// Jitter draws images again, a little aside and in another light, so that a model that trains on them learns more from
// few:
//
//	train, err = dataset.Jitter{Shift: 2, Gain: 0.2}.Draw(train, 3, seed)
//
// They are of the same thing only where neither place nor light says what it is.
type Jitter struct {
	// Shift is by how many pixels an image may be moved in each direction, whole ones; what was beyond the edge is as at
	// the edge.
	Shift int
	// Gain is by which share the values may be larger or smaller, at most 1; they stay in [0, 1].
	Gain float64
}

// Draw returns the examples, images [h, w, channels] in [0, 1], and behind them so many copies of each, moved. They are
// the same for the same seed. Numbers of examples are lost.
func (j Jitter) Draw(e *advlib.Examples, copies int, seed uint64) (*advlib.Examples, error) {
	shape := e.Shape()
	switch {
	case len(shape) != 3:
		return nil, fmt.Errorf("dataset: jitter: examples of shape %v are no images [height, width, channels]", shape)
	case j.Shift < 0 || j.Shift >= min(shape[0], shape[1]) || !(j.Gain >= 0 && j.Gain <= 1) || copies < 0:
		return nil, fmt.Errorf("dataset: jitter: %d copies of images %v, shifted by %d pixels and a gain of ±%g: give a shift that is smaller "+
			"than the images, a gain from 0 to 1, and 0 copies or more", copies, shape, j.Shift, j.Gain)
	}
	h, w, channels := shape[0], shape[1], shape[2]
	x := tensors.MustCopyFlatData[float32](e.X)
	flat, y := slices.Clone(x), slices.Repeat(e.Y, 1+copies)
	for copied := range copies {
		for i := range e.Len() {
			r := rand.New(rand.NewPCG(seed, uint64(copied*e.Len()+i)))
			down, right, gain := r.IntN(2*j.Shift+1)-j.Shift, r.IntN(2*j.Shift+1)-j.Shift, float32(1+j.Gain*(2*r.Float64()-1))
			image := x[i*h*w*channels : (i+1)*h*w*channels]
			for row := range h {
				for column := range w {
					from := (min(max(row-down, 0), h-1)*w + min(max(column-right, 0), w-1)) * channels
					for _, v := range image[from : from+channels] {
						flat = append(flat, min(gain*v, 1))
					}
				}
			}
		}
	}
	more, err := advlib.NewExamples(e.Name, flat, shape, y)
	if err != nil {
		return nil, fmt.Errorf("dataset: jitter: %w", err)
	}
	more.Classes = e.Classes
	return more, nil
}
