package certify

import (
	"math"
	"slices"
)

// cell is a box of inputs, flat: what branch and bound splits. Its ends are float32 numbers, so that rounding it outward
// to the deployed model's inputs does not change it.
type cell struct{ lower, upper []float64 }

func (c cell) clone() cell { return cell{slices.Clone(c.lower), slices.Clone(c.upper)} }

// outward32 and inward32 round to float32: down and up, and up and down.
func outward32(lower, upper float64) (float64, float64) {
	return float64(down32(lower)), float64(up32(upper))
}

func down32(v float64) float32 {
	f := float32(v)
	if float64(f) > v {
		f = math.Nextafter32(f, float32(math.Inf(-1)))
	}
	return f
}

func up32(v float64) float32 { return -down32(-v) }

// middle returns a float32 strictly inside of an interval between two float32 numbers, false if there is none.
func middle(lower, upper float64) (float64, bool) {
	m := float64(float32(lower/2 + upper/2))
	if m <= lower || m >= upper { // neighbours, or next to it: halves of denormals round
		m = float64(math.Nextafter32(float32(lower), float32(math.Inf(1))))
	}
	return m, lower < m && m < upper
}

// split halves the cell along coordinate i, false if it is too thin.
func (c cell) split(i int) (low, high cell, ok bool) {
	m, ok := middle(c.lower[i], c.upper[i])
	if !ok {
		return low, high, false
	}
	low, high = c.clone(), c.clone()
	low.upper[i], high.lower[i] = m, m
	return low, high, true
}

// hull returns the smallest cell around two.
func (c cell) hull(o cell) cell {
	h := c.clone()
	for i := range h.lower {
		h.lower[i], h.upper[i] = min(h.lower[i], o.lower[i]), max(h.upper[i], o.upper[i])
	}
	return h
}

// centre returns the middle of the cell.
func (c cell) centre() []float64 {
	x := make([]float64, len(c.lower))
	for i := range x {
		x[i] = c.lower[i]/2 + c.upper[i]/2
	}
	return x
}

// plane is a linear lower bound of a condition's left side over a cell: ⟨row, y⟩ ≥ ⟨slope, x⟩ + offset, with lower its
// minimum there.
type plane struct {
	lower  float64
	slope  []float64 // nil: nothing is known but lower
	offset float64
}

// roundoff is above the relative error of a sum of n products in float64, in any order, with room for more roundings.
func roundoff(n int) float64 { return float64(n+8) * 0x1p-52 }

// newPlane takes a bound apart: lower = min ⟨slope, x⟩ + offset over the cell. The offset is rounded down.
func newPlane(c cell, lower float64, slope []float64) plane {
	p := plane{lower: lower, slope: slope}
	sum, size := minimumOf(slope, c)
	p.offset = lower - sum - roundoff(len(slope))*(size+math.Abs(lower))
	if math.IsInf(p.offset, 0) || math.IsNaN(p.offset) {
		p.slope = nil
	}
	return p
}

// minimumOf returns the minimum of ⟨slope, x⟩ over a cell as computed, and the sum of the absolute summands.
func minimumOf(slope []float64, c cell) (sum, size float64) {
	for i, s := range slope {
		if s == 0 {
			continue
		}
		v := s * c.lower[i]
		if s < 0 {
			v = s * c.upper[i]
		}
		sum += v
		size += math.Abs(v)
	}
	return sum, size
}

// contract returns a smaller cell that holds every x of c for which the plane allows ⟨row, y⟩ ≤ limit, false if there is
// none.
//
// Let m be the minimum over c of h(x) = ⟨slope, x⟩ + offset − limit. If h(x) ≤ 0, then s_i·x_i − min s_i·x_i ≤ −m for each i,
// because every other summand is at least its minimum.
func (p plane) contract(c cell, limit float64) (cell, bool) {
	if p.slope == nil {
		return c, !(p.lower > limit)
	}
	sum, size := minimumOf(p.slope, c)
	// Rounded down.
	m := sum + p.offset - limit - roundoff(len(p.slope))*(size+math.Abs(p.offset)+math.Abs(limit)) - math.SmallestNonzeroFloat64
	if m > 0 {
		return c, false
	}
	var out cell
	for i, s := range p.slope {
		if s == 0 {
			continue
		}
		reach := -m / math.Abs(s) * (1 + 0x1p-50)
		lower, upper := c.lower[i], c.upper[i]
		if s > 0 {
			_, upper = outward32(lower, lower+reach+(math.Abs(lower)+reach)*0x1p-51)
		} else {
			lower, _ = outward32(upper-reach-(math.Abs(upper)+reach)*0x1p-51, upper)
		}
		if !(upper < c.upper[i]) && !(lower > c.lower[i]) { // NaN changes nothing
			continue
		}
		if out.lower == nil {
			out = c.clone()
		}
		out.lower[i], out.upper[i] = max(lower, c.lower[i]), min(upper, c.upper[i])
	}
	if out.lower == nil {
		return c, true
	}
	return out, true
}
