package search

import (
	"fmt"
	"math"
	"math/big"

	"advlab/advlib"
	"advlab/advlib/vnnlib"
)

// Problem asks whether a network has an unsafe output for an input in a cell: one that meets all conditions of a
// conjunction.
type Problem struct {
	Cell Cell
	// First is an input to begin with, or nil.
	First []float64
	// A condition r is ⟨rows[r], y⟩ ≤ limits[r]. Rows are exact, up to a positive factor; limits are rounded up.
	Rows   [][]float64
	Limits []float64
	// Unsafe are the conjunctions, of numbers of conditions.
	Unsafe [][]int
	// IsUnsafe tells exactly whether outputs are unsafe.
	IsUnsafe func(y []float64) bool
	// Admits returns the deployed input that is nearest to x and allowed, false if there is none.
	Admits func(x []float64) ([]float64, bool)

	// Round tells that inputs are those of the cell that are in a ball too, of the norm L1 or L2.
	Round      bool
	Norm       advlib.ConvexNorm
	BallCentre []float64
	Radius     float64
}

// NewProblem rounds a case of a property. double says that the deployed model takes float64.
func NewProblem(c vnnlib.Case, double bool) (*Problem, error) {
	p := &Problem{IsUnsafe: c.IsUnsafe}
	n := len(c.Lower)
	p.Cell = Cell{make([]float64, n), make([]float64, n)}
	inner := Cell{make([]float64, n), make([]float64, n)}
	for i := range n {
		l, u := c.Lower[i], c.Upper[i]
		lower, _ := l.Float64()
		upper, _ := u.Float64()
		if math.Abs(lower) > math.MaxFloat32 || math.Abs(upper) > math.MaxFloat32 {
			return nil, fmt.Errorf("the input X_%d is between %s and %s, beyond float32", i, vnnlib.Decimal(l), vnnlib.Decimal(u))
		}
		// Float64 rounds to the nearest; a float32 next to the result is beyond the exact bound.
		p.Cell.Lower[i], p.Cell.Upper[i] = Outward32(math.Nextafter(lower, math.Inf(-1)), math.Nextafter(upper, math.Inf(1)))
		if float64(float32(lower)) == lower && l.Cmp(new(big.Rat).SetFloat64(lower)) == 0 {
			p.Cell.Lower[i] = lower
		}
		if float64(float32(upper)) == upper && u.Cmp(new(big.Rat).SetFloat64(upper)) == 0 {
			p.Cell.Upper[i] = upper
		}
		inner.Lower[i], inner.Upper[i] = lower, upper
		if !double {
			l32, _ := l.Float32()
			u32, _ := u.Float32()
			inner.Lower[i], inner.Upper[i] = float64(l32), float64(u32)
		}
	}
	p.Admits = func(x []float64) ([]float64, bool) {
		y := make([]float64, n)
		for i, v := range x {
			if !double {
				v = float64(float32(v))
			}
			y[i] = min(max(v, inner.Lower[i]), inner.Upper[i])
		}
		return y, true
	}
	known := map[string]int{}
	for _, conjunction := range c.Unsafe {
		which := []int{}
		for _, condition := range conjunction {
			r, ok := known[condition.String()]
			if !ok {
				row, limit, err := Rounded(condition)
				if err != nil {
					return nil, err
				}
				r = len(p.Rows)
				known[condition.String()] = r
				p.Rows, p.Limits = append(p.Rows, row), append(p.Limits, limit)
			}
			which = append(which, r)
		}
		p.Unsafe = append(p.Unsafe, which)
	}
	return p, nil
}

// Rounded multiplies a condition by the common denominator of its row, so that float64 holds the row exactly, and
// rounds the limit up.
func Rounded(c vnnlib.Condition) (row []float64, limit float64, err error) {
	factor := big.NewInt(1)
	for _, v := range c.Row {
		gcd := new(big.Int).GCD(nil, nil, factor, v.Denom())
		factor.Mul(factor, new(big.Int).Quo(v.Denom(), gcd))
	}
	scale := new(big.Rat).SetInt(factor)
	row = make([]float64, len(c.Row))
	for k, v := range c.Row {
		var exact bool
		if row[k], exact = new(big.Rat).Mul(scale, v).Float64(); !exact {
			return nil, 0, fmt.Errorf("the condition %v has coefficients that float64 does not hold exactly, in any unit: round them to fewer "+
				"digits", c)
		}
	}
	bound := new(big.Rat).Mul(scale, c.Bound)
	limit, exact := bound.Float64()
	if !exact && new(big.Rat).SetFloat64(limit).Cmp(bound) < 0 {
		limit = math.Nextafter(limit, math.Inf(1))
	}
	if math.IsInf(limit, 0) {
		return nil, 0, fmt.Errorf("the condition %v has a bound beyond float64", c)
	}
	return row, limit, nil
}

// outside tells whether a cell has nothing in common with the ball.
func (p *Problem) outside(c Cell) bool {
	if !p.Round {
		return false
	}
	square, sum := 0., 0.
	for i, x := range p.BallCentre {
		d := max(c.Lower[i]-x, x-c.Upper[i], 0)
		square += d * d
		sum += d
	}
	distance := math.Sqrt(square)
	if p.Norm == advlib.L1 {
		distance = sum
	}
	return distance > p.Radius*(1+1e-9) // far above what rounding does
}

// Margin returns, from lower bounds of the rows, a number that is above 0 only if no output is unsafe: for each
// conjunction the largest distance of a condition from being met, of these the least. It is -Inf if a conjunction has
// no condition.
func (p *Problem) Margin(planes []Plane) float64 {
	least := math.Inf(1)
	for _, conjunction := range p.Unsafe {
		least = min(least, p.Distance(planes, conjunction))
	}
	return least
}

// Distance is how far the conjunction is from being met, above 0 only if it cannot be.
func (p *Problem) Distance(planes []Plane, conjunction []int) float64 {
	most := math.Inf(-1)
	for _, r := range conjunction {
		if d := planes[r].Lower - p.Limits[r]; d > most { // false for NaN; the sign of a difference is exact
			most = d
		}
	}
	return most
}

// Depth tells how far the outputs y are inside of the unsafe set: for the conjunction that is met best, by how much its
// conditions are, the least of them, as a share of the terms that they compare. Not above 0: they are not, but for
// rounding.
func (p *Problem) Depth(y []float64) float64 {
	deepest := math.Inf(-1)
	for _, conjunction := range p.Unsafe {
		least := 1.
		for _, r := range conjunction {
			sum, size := -p.Limits[r], math.Abs(p.Limits[r])
			for k, c := range p.Rows[r] {
				sum += c * y[k]
				size += math.Abs(c * y[k])
			}
			if size > 0 {
				sum /= size
			}
			least = min(least, -sum)
		}
		deepest = max(deepest, least)
	}
	return deepest
}
