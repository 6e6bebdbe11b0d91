package search

import (
	"math"
	"slices"
)

// Cell is a box of inputs, flat: what branch and bound splits. Its ends are float32 numbers, so that rounding it
// outward to the deployed model's inputs does not change it.
type Cell struct{ Lower, Upper []float64 }

func (c Cell) Clone() Cell { return Cell{slices.Clone(c.Lower), slices.Clone(c.Upper)} }

// Outward32 and inward32 round to float32: down and up, and up and down.
func Outward32(lower, upper float64) (float64, float64) {
	return float64(Down32(lower)), float64(Up32(upper))
}

func Down32(v float64) float32 {
	f := float32(v)
	if float64(f) > v {
		f = math.Nextafter32(f, float32(math.Inf(-1)))
	}
	return f
}

func Up32(v float64) float32 { return -Down32(-v) }

// middle returns a float32 strictly inside of an interval between two float32 numbers, false if there is none.
func middle(lower, upper float64) (float64, bool) {
	m := float64(float32(lower/2 + upper/2))
	if m <= lower || m >= upper { // neighbours, or next to it: halves of denormals round
		m = float64(math.Nextafter32(float32(lower), float32(math.Inf(1))))
	}
	return m, lower < m && m < upper
}

// split halves the cell along coordinate i, false if it is too thin.
func (c Cell) split(i int) (low, high Cell, ok bool) {
	m, ok := middle(c.Lower[i], c.Upper[i])
	if !ok {
		return low, high, false
	}
	low, high = c.Clone(), c.Clone()
	low.Upper[i], high.Lower[i] = m, m
	return low, high, true
}

// hull returns the smallest cell around two.
func (c Cell) hull(o Cell) Cell {
	h := c.Clone()
	for i := range h.Lower {
		h.Lower[i], h.Upper[i] = min(h.Lower[i], o.Lower[i]), max(h.Upper[i], o.Upper[i])
	}
	return h
}

// Centre returns the middle of the cell.
func (c Cell) Centre() []float64 {
	x := make([]float64, len(c.Lower))
	for i := range x {
		x[i] = c.Lower[i]/2 + c.Upper[i]/2
	}
	return x
}

// Plane is a linear lower bound of a condition's left side over a cell: ⟨row, y⟩ ≥ ⟨slope, x⟩ + offset, with lower its
// minimum there.
type Plane struct {
	Lower  float64
	Slope  []float64 // nil: nothing is known but lower
	offset float64
}

// Roundoff is above the relative error of a sum of n products in float64, in any order, with room for more roundings.
func Roundoff(n int) float64 { return float64(n+8) * 0x1p-52 }

// NewPlane takes a bound apart: lower = min ⟨slope, x⟩ + offset over the cell. The offset is rounded down.
func NewPlane(c Cell, lower float64, slope []float64) Plane {
	p := Plane{Lower: lower, Slope: slope}
	sum, size := MinimumOf(slope, c)
	p.offset = lower - sum - Roundoff(len(slope))*(size+math.Abs(lower))
	if math.IsInf(p.offset, 0) || math.IsNaN(p.offset) {
		p.Slope = nil
	}
	return p
}

// MinimumOf returns the minimum of ⟨slope, x⟩ over a cell as computed, and the sum of the absolute summands.
func MinimumOf(slope []float64, c Cell) (sum, size float64) {
	for i, s := range slope {
		if s == 0 {
			continue
		}
		v := s * c.Lower[i]
		if s < 0 {
			v = s * c.Upper[i]
		}
		sum += v
		size += math.Abs(v)
	}
	return sum, size
}

// contract returns a smaller cell that holds every x of c for which the plane allows ⟨row, y⟩ ≤ limit, false if there
// is none.
//
// Let m be the minimum over c of h(x) = ⟨slope, x⟩ + offset − limit. If h(x) ≤ 0, then s_i·x_i − min s_i·x_i ≤ −m for
// each i, because every other summand is at least its minimum.
func (p Plane) contract(c Cell, limit float64) (Cell, bool) {
	if p.Slope == nil {
		return c, !(p.Lower > limit)
	}
	sum, size := MinimumOf(p.Slope, c)
	// Rounded down.
	m := sum + p.offset - limit - Roundoff(len(p.Slope))*(size+math.Abs(p.offset)+math.Abs(limit)) - math.SmallestNonzeroFloat64
	if m > 0 {
		return c, false
	}
	var out Cell
	for i, s := range p.Slope {
		if s == 0 {
			continue
		}
		reach := -m / math.Abs(s) * (1 + 0x1p-50)
		lower, upper := c.Lower[i], c.Upper[i]
		if s > 0 {
			_, upper = Outward32(lower, lower+reach+(math.Abs(lower)+reach)*0x1p-51)
		} else {
			lower, _ = Outward32(upper-reach-(math.Abs(upper)+reach)*0x1p-51, upper)
		}
		if !(upper < c.Upper[i]) && !(lower > c.Lower[i]) { // NaN changes nothing
			continue
		}
		if out.Lower == nil {
			out = c.Clone()
		}
		out.Lower[i], out.Upper[i] = max(lower, c.Lower[i]), min(upper, c.Upper[i])
	}
	if out.Lower == nil {
		return c, true
	}
	return out, true
}
