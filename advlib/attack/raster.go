package attack

import "advlab/advlib/attack/craft"

// raster is an input seen as an image: the first two axes of its shape are the plane, what follows are channels. A flat
// input is one row of pixels: those of its coordinates that may change.
type raster struct {
	h, w, c      int
	lower, upper []float32 // of each coordinate
	free         []int     // of a flat input, the coordinates that may change; nil: all are pixels
}

// newRaster returns the raster of an inquiry's input.
func newRaster(q *craft.Inquiry) raster {
	p := raster{h: 1, w: q.Shape[0], c: 1, lower: q.Lower, upper: q.Upper}
	if len(q.Shape) > 1 {
		p.h, p.w = q.Shape[0], q.Shape[1]
		p.c = len(q.X) / (p.h * p.w)
		return p
	}
	for j := range q.X {
		if p.movable(j) {
			p.free = append(p.free, j)
		}
	}
	p.w = len(p.free)
	return p
}

// movable tells whether a coordinate may change.
func (p raster) movable(j int) bool { return p.lower[j] < p.upper[j] }

// at returns the coordinate of the channel k of a pixel.
func (p raster) at(pixel, k int) int {
	if p.free != nil {
		return p.free[pixel]
	}
	return pixel*p.c + k
}

// pixels returns the pixels of which a channel may change.
func (p raster) pixels() []int {
	var some []int
	for i := range p.h * p.w {
		for k := range p.c {
			if p.movable(p.at(i, k)) {
				some = append(some, i)
				break
			}
		}
	}
	return some
}

// values returns the raster whose pixels are single values.
func (p raster) values() raster {
	p.h, p.w, p.c = 1, p.h*p.w*p.c, 1
	return p
}

// movableChannels is the largest number of values of a pixel that may change.
func (p raster) movableChannels(pixels []int) int {
	most := 0
	for _, i := range pixels {
		n := 0
		for k := range p.c {
			if p.movable(p.at(i, k)) {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}
