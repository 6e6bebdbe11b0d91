package show

import (
	"fmt"
	"image"
	"image/color"
	"math"

	"advlab/advlib"
)

// pixels are examples that can be looked at: rows of height × width × channels float32 values, channels 1 or 3.
type pixels struct {
	height, width, channels int
}

// pixelsOf finds how rows of the given shape are to be seen; height and width are those the caller gave, or 0.
func pixelsOf(shape []int, height, width int) (pixels, error) {
	size := 1
	for _, d := range shape {
		size *= d
	}
	if height < 0 || width < 0 || (height == 0) != (width == 0) {
		return pixels{}, fmt.Errorf("Layout has Height %d and Width %d: give both, or neither", height, width)
	}
	if height > 0 {
		for _, channels := range []int{1, 3} {
			if height*width*channels == size {
				return pixels{height, width, channels}, nil
			}
		}
		return pixels{}, fmt.Errorf("inputs of shape %v have %d values, not %d × %d gray pixels (%d) nor colour pixels "+
			"(%d): correct Layout's Height and Width", shape, size, height, width, height*width, 3*height*width)
	}
	switch {
	case len(shape) == 2:
		return pixels{shape[0], shape[1], 1}, nil
	case len(shape) == 3 && (shape[2] == 1 || shape[2] == 3):
		return pixels{shape[0], shape[1], shape[2]}, nil
	case len(shape) == 1:
		hint := "Layout{Height: h, Width: w}"
		if side := int(math.Round(math.Sqrt(float64(size)))); side*side == size {
			hint = fmt.Sprintf("Layout{Height: %d, Width: %d}", side, side)
		}
		return pixels{}, fmt.Errorf("inputs of shape %v are vectors: a picture needs [h, w], [h, w, 1] or [h, w, 3]; if "+
			"they are images laid flat, say how, as in %s", shape, hint)
	}
	return pixels{}, fmt.Errorf("inputs of shape %v are no images: a picture needs [h, w], [h, w, 1] (gray) or [h, w, 3] "+
		"(red, green, blue)", shape)
}

func (p pixels) size() int { return p.height * p.width * p.channels }

// image turns a row into an image; shade maps a value to 0..255.
func (p pixels) image(row []float32, shade func(float32) uint8) image.Image {
	r := image.Rect(0, 0, p.width, p.height)
	if p.channels == 1 {
		img := image.NewGray(r)
		for i, v := range row {
			img.Pix[i] = shade(v)
		}
		return img
	}
	img := image.NewNRGBA(r)
	for i := range p.height * p.width {
		img.SetNRGBA(i%p.width, i/p.width, color.NRGBA{shade(row[3*i]), shade(row[3*i+1]), shade(row[3*i+2]), 255})
	}
	return img
}

// inBox shades a value by its place in the box: 0 at its lower end, 255 at its upper end.
func inBox(b advlib.Box) func(float32) uint8 {
	return func(v float32) uint8 { return level(255 * (float64(v) - b.Lo) / b.Width()) }
}

// enlarged shades a perturbation: gray for 0, and scale·δ = ±half the box for white and black.
func enlarged(scale float64, b advlib.Box) func(float32) uint8 {
	return func(δ float32) uint8 { return level(127.5 + 255*scale*float64(δ)/b.Width()) }
}

func level(v float64) uint8 { return uint8(math.Round(min(max(v, 0), 255))) }

// scaleFor returns by how much perturbations up to the given size are enlarged, so that the largest reaches black or
// white: half the box over the size, rounded down to three digits so that it is the number the caption says (but not
// by an error of float32: 0.1 in [0, 1] gives 5, not 4.99). It is 1 for no perturbation at all.
func scaleFor(largest float64, b advlib.Box) float64 {
	if largest == 0 {
		return 1
	}
	s := b.Width() / 2 / largest
	unit := math.Pow(10, math.Floor(math.Log10(s))-2)
	return math.Floor(s/unit*(1+1e-6)) * unit
}

// enlarge repeats every pixel k × k times: crisp in viewers that would blur.
func enlarge(img image.Image, k int) image.Image {
	b := img.Bounds()
	r := image.Rect(0, 0, b.Dx()*k, b.Dy()*k)
	if g, ok := img.(*image.Gray); ok {
		out := image.NewGray(r)
		for y := range r.Dy() {
			for x := range r.Dx() {
				out.Pix[y*out.Stride+x] = g.Pix[y/k*g.Stride+x/k]
			}
		}
		return out
	}
	out := image.NewNRGBA(r)
	for y := range r.Dy() {
		for x := range r.Dx() {
			out.Set(x, y, img.At(b.Min.X+x/k, b.Min.Y+y/k))
		}
	}
	return out
}
