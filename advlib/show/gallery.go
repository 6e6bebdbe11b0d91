package show

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// Gallery returns examples side by side, in their order, so many to a line: to look at data before anything is done to
// it. Pixels are enlarged until an example is about 64 wide, not blurred, and shown by their place in the box: black is
// its lower end, white its upper. The first examples fill at most 40 lines. See [Grid] for what an attack makes of
// them.
func Gallery(e *advlib.Examples, columns int, box advlib.Box) (image.Image, error) {
	if e == nil || e.Len() == 0 || columns < 1 {
		return nil, fmt.Errorf("show: gallery: %d columns of no examples: give at least one of each", columns)
	}
	px, err := pixelsOf(e.Shape(), 0, 0)
	if err != nil {
		return nil, fmt.Errorf("show: gallery: %w", err)
	}
	const gap, wide, lines = 4, 64, 40
	n := min(e.Len(), columns*lines)
	scale := max(1, wide/px.width)
	w, h := px.width*scale+gap, px.height*scale+gap
	all := image.NewNRGBA(image.Rect(0, 0, min(n, columns)*w-gap, (n+columns-1)/columns*h-gap))
	draw.Draw(all, all.Bounds(), image.NewUniform(color.White), image.Point{}, draw.Src)
	shade := inBox(box)
	tensors.MustConstFlatData(e.X, func(flat []float32) {
		for i := range n {
			small := px.image(flat[i*px.size():(i+1)*px.size()], shade)
			left, top := i%columns*w, i/columns*h
			for y := range px.height * scale {
				for x := range px.width * scale {
					all.Set(left+x, top+y, small.At(x/scale, y/scale))
				}
			}
		}
	})
	return all, nil
}
