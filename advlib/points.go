package advlib

import (
	"fmt"
	"math"
	"slices"
)

// Points are the inputs of a victim as a search on the host moves them: flat, in the shape of the victim's inputs, in
// units of their scales. An attack sees an encoded input with the original beside it, see [Domain]; a point is without
// the original. Where nothing is encoded a point is the input itself. All methods take in0, the original as the attack
// sees it, flat.
type Points struct {
	signature Signature
	encoding  *encoding // nil where inputs are not encoded
}

// Points returns the points of the inputs of a victim, as [Counted.Signature] tells it to an attack.
func (s Signature) Points() (Points, error) {
	s, err := s.resolved()
	if err == nil {
		err = s.space.limits.Check()
	}
	if err != nil {
		return Points{}, fmt.Errorf("the inputs %v of the victim: %w", s.Input, err)
	}
	p := Points{signature: s}
	if s.isEncoded() {
		p.encoding = &encoding{s.base().space.layout}
	}
	return p, nil
}

// Shape returns the shape of a point: that of one input of the victim, without the batch axis.
func (p Points) Shape() []int {
	if p.encoding != nil {
		return p.encoding.layout.shape
	}
	return p.signature.Input
}

// Of returns the point of an input in, which may be the original.
func (p Points) Of(in []float32) []float32 {
	if p.encoding == nil {
		return slices.Clone(in)
	}
	x := make([]float32, len(in)/2)
	for j := range x {
		at, _ := p.encoding.at(j)
		x[j] = in[at]
	}
	return x
}

// OfInput returns the point of an input of the victim as its user has it, in the units of its features.
func (p Points) OfInput(in []float32) []float32 {
	x := slices.Clone(in)
	if p.encoding == nil {
		return x
	}
	for i, f := range p.encoding.features {
		for j := p.encoding.first[i]; j < p.encoding.first[i]+f.coordinates(); j++ {
			x[j] = f.encode(in[j])
		}
	}
	return x
}

// Append appends to the inputs to that of the point x.
func (p Points) Append(to, x, in0 []float32) []float32 {
	if p.encoding == nil {
		return append(to, x...)
	}
	n := len(to)
	to = append(to, in0...)
	for j, v := range x {
		at, _ := p.encoding.at(j)
		to[n+at] = v
	}
	return to
}

// Ends returns the smallest and the largest value of each coordinate of a point. They are equal where the original may
// not be changed.
func (p Points) Ends(in0 []float32) (lo, hi []float32) {
	a, b := p.signature.space.limits.EndsOf(in0)
	n := product(p.Shape())
	lo, hi = make([]float32, n), make([]float32, n)
	for j := range n {
		at := j
		if p.encoding != nil {
			at, _ = p.encoding.at(j)
		}
		lo[j], hi[j] = float32(a[at]), float32(b[at])
	}
	return lo, hi
}

// Snap moves a point x, which is between its ends, to one whose input is admissible. That is the last one on the way
// from the original, so that a point in a ball stays there, or with nearest set the nearest one. Nothing happens where
// every point is admissible.
func (p Points) Snap(x, in0 []float32, nearest bool) {
	if p.encoding == nil {
		return
	}
	e := p.encoding
	for i, f := range e.features {
		j := e.first[i]
		at, original := e.at(j)
		switch {
		case f.OneHot > 0:
			e.snapCategory(f, x[j:j+f.OneHot], in0, j, nearest)
		case f.Step > 0:
			slack := levelSlack
			if nearest {
				slack = 0.5
			}
			u0 := in0[at]
			moved := (float64(x[j]) - float64(u0)) * f.Scale
			k := math.Floor(math.Abs(moved)/f.Step + slack)
			if x[j] = u0; k > 0 {
				level := min(max(f.level(in0[original])+math.Copysign(k, moved), 0), f.steps())
				x[j] = f.encode(f.value(level))
			}
		}
	}
}

// snapCategory is Snap for the coordinates u of one category, which begins at coordinate j.
func (e encoding) snapCategory(f Feature, u, in0 []float32, j int, nearest bool) {
	least := 1 - levelSlack
	if nearest {
		least = 0.5
	}
	best, most := -1, 0.
	for k := range u {
		if _, original := e.at(j + k); in0[original] == 0 && float64(u[k])*f.Scale > most {
			best, most = k, float64(u[k])*f.Scale
		}
	}
	for k := range u {
		at, _ := e.at(j + k)
		u[k] = in0[at]
	}
	if best >= 0 && most >= least && f.Change != Fixed {
		u[best] = f.encode(1)
	}
}

// Distance returns how far the input of the point x is from the original, as a norm measures it in the victim's domain.
func (p Points) Distance(norm Norm, x, in0 []float32) float64 {
	if p.encoding == nil {
		return p.signature.space.distance(norm, x, in0)
	}
	from := make([]float32, len(x))
	for j := range from {
		_, original := p.encoding.at(j)
		from[j] = in0[original]
	}
	y := p.encoding.settle(p.Append(nil, x, in0), in0, from, Ball{Radius: math.Inf(1)})
	return p.signature.base().space.distance(norm, y, from)
}
