package attack

import (
	"fmt"
	"math"
	"math/rand/v2"

	. "advlab/advlib/internal/equation"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// PatchShape is the outline of a patch.
type PatchShape int

// The outlines.
const (
	PatchCircle PatchShape = iota
	PatchSquare
)

// String returns "circle" or "square".
func (s PatchShape) String() string {
	switch s {
	case PatchCircle:
		return "circle"
	case PatchSquare:
		return "square"
	}
	return fmt.Sprintf("shape %d", int(s))
}

// Placements say where and how a patch may be put into an image: the transformations over which its effect is averaged.
// Each is drawn uniformly, by the seed, the number of the example, and the step.
type Placements struct {
	// Smallest and Largest are the patch's side, or diameter, over the shorter side of the image, in (0, 1]. 0 means 0.3
	// and 0.5; with one of the two given the other is the same.
	Smallest, Largest float64
	// Rotation is the largest angle in degrees, to either side, at most 180; 0 means 22.5. Upright does not turn it.
	Rotation float64
	Upright  bool
	// Brightness is the most that is added to or taken from all of its pixels, as a share of the width of the box, at most
	// 1; 0 means 0.1. SameLight leaves it as it is.
	Brightness float64
	SameLight  bool
	// Row and Column are where its middle is put, as shares of the height and the width of the image, in [0, 1]. Both 0 is
	// anywhere where all of it is inside.
	Row, Column float64
}

// String returns for example "0.3–0.5 of the side, ±22.5°, light ±0.1".
func (p Placements) String() string {
	lo, hi := p.sides()
	s := fmt.Sprintf("%g–%g of the side", lo, hi)
	if lo == hi {
		s = fmt.Sprintf("%g of the side", hi)
	}
	if p.rotation() > 0 {
		s += fmt.Sprintf(", ±%g°", p.rotation())
	}
	if p.brightness() > 0 {
		s += fmt.Sprintf(", light ±%g", p.brightness())
	}
	if !p.anywhere() {
		s += fmt.Sprintf(", at %g, %g", p.Row, p.Column)
	}
	return s
}

func (p Placements) sides() (smallest, largest float64) {
	switch {
	case p.Smallest == 0 && p.Largest == 0:
		return 0.3, 0.5
	case p.Smallest == 0:
		return p.Largest, p.Largest
	case p.Largest == 0:
		return p.Smallest, p.Smallest
	}
	return p.Smallest, p.Largest
}

func (p Placements) rotation() float64 {
	if p.Upright {
		return 0
	}
	return numberOr(p.Rotation, 22.5)
}

func (p Placements) brightness() float64 {
	if p.SameLight {
		return 0
	}
	return numberOr(p.Brightness, 0.1)
}

// numberOr returns v, or the default for 0.
func numberOr(v, otherwise float64) float64 {
	if v == 0 {
		return otherwise
	}
	return v
}

func (p Placements) anywhere() bool { return p.Row == 0 && p.Column == 0 }

// filled returns p with its defaults in the place of zeros.
func (p Placements) filled() Placements {
	p.Smallest, p.Largest = p.sides()
	p.Rotation, p.Brightness = p.rotation(), p.brightness()
	return p
}

func (p Placements) check() error {
	lo, hi := p.sides()
	for _, field := range []struct {
		name  string
		value float64
		most  float64
	}{{"Smallest", p.Smallest, 1}, {"Largest", p.Largest, 1}, {"Rotation", p.Rotation, 180}, {"Brightness", p.Brightness, 1}, {"Row",
		p.Row, 1}, {"Column", p.Column, 1}} {
		if !(field.value >= 0 && field.value <= field.most) {
			return fmt.Errorf("%s = %g is not in [0, %g]", field.name, field.value, field.most)
		}
	}
	switch {
	case lo > hi:
		return fmt.Errorf("Smallest = %g is above Largest = %g", lo, hi)
	case p.Upright && p.Rotation > 0:
		return fmt.Errorf("Rotation = %g and Upright contradict each other: leave one of the two out", p.Rotation)
	case p.SameLight && p.Brightness > 0:
		return fmt.Errorf("Brightness = %g and SameLight contradict each other: leave one of the two out", p.Brightness)
	}
	return nil
}

// plane is an image as a patch sees it: height × width pixels with so many values each.
type plane struct{ height, width, channels int }

// planeOf returns the plane of inputs of the given shape: [h, w] or [h, w, channels].
func planeOf(shape []int) (plane, error) {
	switch len(shape) {
	case 2:
		return plane{shape[0], shape[1], 1}, nil
	case 3:
		return plane{shape[0], shape[1], shape[2]}, nil
	}
	return plane{}, fmt.Errorf("inputs of shape %v are no images: a patch needs [height, width] or [height, width, channels]", shape)
}

func (p plane) shorter() float64 { return float64(min(p.height, p.width)) }

// most bounds the number of pixels that a patch of the given outline covers: a pixel is covered when its middle is, so
// all of it lies within half a diagonal of the outline.
func (p plane) most(shape PatchShape, side float64) int {
	const half = math.Sqrt2 / 2
	area := math.Pi * (side/2 + half) * (side/2 + half)
	if shape == PatchSquare {
		area = side*side + 4*side*half + math.Pi*half*half
	}
	return min(int(area), p.height*p.width)
}

// placement is one way of putting a patch into an image: side, and the middle from the top left corner, in pixels of
// the image; the angle in radians; what is added to its pixels, in units of the box.
type placement struct {
	shape                    PatchShape
	side, angle, row, column float64
	light                    float64
}

// draw draws a placement.
func (p Placements) draw(r *rand.Rand, on plane, shape PatchShape, box advlib.Box) placement {
	lo, hi := p.sides()
	at := placement{
		shape: shape,
		side:  (lo + (hi-lo)*r.Float64()) * on.shorter(),
		angle: p.rotation() * (2*r.Float64() - 1) * math.Pi / 180,
		light: p.brightness() * (2*r.Float64() - 1) * box.Width(),
	}
	u, v := r.Float64(), r.Float64()
	if !p.anywhere() {
		at.row, at.column = p.Row*float64(on.height), p.Column*float64(on.width)
		return at
	}
	reach := at.side / 2
	if shape == PatchSquare {
		reach *= math.Abs(math.Cos(at.angle)) + math.Abs(math.Sin(at.angle))
	}
	between := func(u float64, length int) float64 {
		room := max(0, float64(length)-2*reach)
		return float64(length)/2 + (u-0.5)*room
	}
	at.row, at.column = between(u, on.height), between(v, on.width)
	return at
}

// taps are the four pixels of a patch, by number, that a pixel of the image lies between, with their weights: bilinear
// interpolation.
type taps struct {
	pixel  [4]int32
	weight [4]float32
}

// each calls f for each pixel of the image that the patch, of size × size pixels, covers: those whose middle lies
// inside of it.
func (at placement) each(on plane, size int, f func(pixel int, t taps)) {
	sin, cos := math.Sincos(at.angle)
	for i := range on.height {
		for j := range on.width {
			down, right := (float64(i)+0.5-at.row)/at.side, (float64(j)+0.5-at.column)/at.side
			u, v := cos*down+sin*right, cos*right-sin*down // in the patch's own directions, from −½ to ½
			if at.shape == PatchCircle && u*u+v*v > 0.25 || math.Abs(u) > 0.5 || math.Abs(v) > 0.5 {
				continue
			}
			f(i*on.width+j, between4(u, v, size))
		}
	}
}

// between4 returns the taps at (u, v), each from −½ to ½; beyond the middles of the outermost pixels there is nothing
// to interpolate with.
func between4(u, v float64, size int) (t taps) {
	split := func(u float64) (first, second int, share float64) {
		at := min(max((u+0.5)*float64(size)-0.5, 0), float64(size-1))
		first = int(at)
		return first, min(first+1, size-1), at - float64(first)
	}
	r0, r1, r := split(u)
	c0, c1, c := split(v)
	t.pixel = [4]int32{int32(r0*size + c0), int32(r0*size + c1), int32(r1*size + c0), int32(r1*size + c1)}
	t.weight = [4]float32{float32((1 - r) * (1 - c)), float32((1 - r) * c), float32(r * (1 - c)), float32(r * c)}
	return t
}

// paste puts the patch into an image x, within the limits, and returns how many of its pixels it covers.
func (at placement) paste(x, patch []float32, on plane, size int, limits advlib.Limits) int {
	n := 0
	box := limits.Box()
	at.each(on, size, func(pixel int, t taps) {
		n++
		for c := range on.channels {
			v := float32(at.light)
			for k, p := range t.pixel {
				v += t.weight[k] * patch[int(p)*on.channels+c]
			}
			j := pixel*on.channels + c
			x[j] = limits.Clamp(j, min(max(float64(v), box.Lo), box.Hi), x[j])
		}
	})
	return n
}

// grids are placements on several images, as inputs of a graph: taps [n, h·w, 4], of weight 0 where there is no patch,
// whether there is, [n, h·w], and light [n].
type grids struct{ pixel, weight, covered, light *tensors.Tensor }

// gridsOf returns the grids of n images, and of the first one in the place of what pads them to size rows.
func gridsOf(placements []placement, size int, on plane, patch int) grids {
	area := on.height * on.width
	pixel, weight := make([]int32, size*area*4), make([]float32, size*area*4)
	covered, light := make([]bool, size*area), make([]float32, size)
	for i := range size {
		at := placements[0]
		if i < len(placements) {
			at = placements[i]
		}
		light[i] = float32(at.light)
		at.each(on, patch, func(p int, t taps) {
			covered[i*area+p] = true
			copy(pixel[(i*area+p)*4:], t.pixel[:])
			copy(weight[(i*area+p)*4:], t.weight[:])
		})
	}
	return grids{
		tensors.FromFlatDataAndDimensions(pixel, size, area, 4), tensors.FromFlatDataAndDimensions(weight, size, area, 4),
		tensors.FromFlatDataAndDimensions(covered, size, area), tensors.FromFlatDataAndDimensions(light, size),
	}
}

func (g grids) inputs() []any { return []any{g.pixel, g.weight, g.covered, g.light} }

func (g grids) free() { advlib.Free(g.pixel, g.weight, g.covered, g.light) }

// place is [placement.paste] in a graph: it puts the patch, [size·size, channels], into the images x0 [n, h, w(,
// channels)] by grids. What is clipped lets gradients through, so that a pixel that some light takes to its end goes on
// being moved by the others.
func place(x0, patch *Node, in []*Node, limits advlib.Limits) *Node {
	pixel, weight, covered, light := in[0], in[1], in[2], in[3]
	n, channels := x0.Shape().Dimensions[0], patch.Shape().Dimensions[1]
	values := Gather(patch, InsertAxes(pixel, -1)) // [n, h·w, 4, channels]
	values = ReduceSum(Mul(values, BroadcastToDims(InsertAxes(weight, -1), values.Shape().Dimensions...)), 2)
	values = Add(values, BroadcastToDims(Reshape(light, n, 1, 1), values.Shape().Dimensions...))
	values = Reshape(values, x0.Shape().Dimensions...)
	inside := Reshape(BroadcastToDims(InsertAxes(covered, -1), n, covered.Shape().Dimensions[1], channels), x0.Shape().Dimensions...)
	values = Where(inside, values, x0)
	return Add(values, StopGradient(Sub(limits.Clip(limits.Box().Clip(values), x0), values)))
}
