package certify

import (
	"fmt"
	"math"
	"math/big"

	"advlab/advlib"
	"advlab/advlib/vnnlib"
)

// problem asks whether a network has an unsafe output for an input in a cell: one that meets all conditions of a
// conjunction.
type problem struct {
	cell cell
	// first is an input to begin with, or nil.
	first []float64
	// A condition r is ⟨rows[r], y⟩ ≤ limits[r]. Rows are exact, up to a positive factor; limits are rounded up.
	rows   [][]float64
	limits []float64
	// unsafe are the conjunctions, of numbers of conditions.
	unsafe [][]int
	// is tells exactly whether outputs are unsafe.
	is func(y []float64) bool
	// admits returns the deployed input that is nearest to x and allowed, false if there is none.
	admits func(x []float64) ([]float64, bool)

	// round tells that inputs are those of the cell that are in a ball too, of the norm L1 or L2.
	round      bool
	norm       advlib.ConvexNorm
	ballCentre []float64
	radius     float64
}

// newProblem rounds a case of a property. double says that the deployed model takes float64.
func newProblem(c vnnlib.Case, double bool) (*problem, error) {
	p := &problem{is: c.IsUnsafe}
	n := len(c.Lower)
	p.cell = cell{make([]float64, n), make([]float64, n)}
	inner := cell{make([]float64, n), make([]float64, n)}
	for i := range n {
		l, u := c.Lower[i], c.Upper[i]
		lower, _ := l.Float64()
		upper, _ := u.Float64()
		if math.Abs(lower) > math.MaxFloat32 || math.Abs(upper) > math.MaxFloat32 {
			return nil, fmt.Errorf("the input X_%d is between %s and %s, beyond float32", i, vnnlib.Decimal(l), vnnlib.Decimal(u))
		}
		// Float64 rounds to the nearest; a float32 next to the result is beyond the exact bound.
		p.cell.lower[i], p.cell.upper[i] = outward32(math.Nextafter(lower, math.Inf(-1)), math.Nextafter(upper, math.Inf(1)))
		if float64(float32(lower)) == lower && l.Cmp(new(big.Rat).SetFloat64(lower)) == 0 {
			p.cell.lower[i] = lower
		}
		if float64(float32(upper)) == upper && u.Cmp(new(big.Rat).SetFloat64(upper)) == 0 {
			p.cell.upper[i] = upper
		}
		inner.lower[i], inner.upper[i] = lower, upper
		if !double {
			l32, _ := l.Float32()
			u32, _ := u.Float32()
			inner.lower[i], inner.upper[i] = float64(l32), float64(u32)
		}
	}
	p.admits = func(x []float64) ([]float64, bool) {
		y := make([]float64, n)
		for i, v := range x {
			if !double {
				v = float64(float32(v))
			}
			y[i] = min(max(v, inner.lower[i]), inner.upper[i])
		}
		return y, true
	}
	known := map[string]int{}
	for _, conjunction := range c.Unsafe {
		which := []int{}
		for _, condition := range conjunction {
			r, ok := known[condition.String()]
			if !ok {
				row, limit, err := rounded(condition)
				if err != nil {
					return nil, err
				}
				r = len(p.rows)
				known[condition.String()] = r
				p.rows, p.limits = append(p.rows, row), append(p.limits, limit)
			}
			which = append(which, r)
		}
		p.unsafe = append(p.unsafe, which)
	}
	return p, nil
}

// rounded multiplies a condition by the common denominator of its row, so that float64 holds the row exactly, and rounds
// the limit up.
func rounded(c vnnlib.Condition) (row []float64, limit float64, err error) {
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
			return nil, 0, fmt.Errorf("the condition %v has coefficients that float64 does not hold exactly, in any unit: round them to fewer digits", c)
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
func (p *problem) outside(c cell) bool {
	if !p.round {
		return false
	}
	square, sum := 0., 0.
	for i, x := range p.ballCentre {
		d := max(c.lower[i]-x, x-c.upper[i], 0)
		square += d * d
		sum += d
	}
	distance := math.Sqrt(square)
	if p.norm == advlib.L1 {
		distance = sum
	}
	return distance > p.radius*(1+1e-9) // far above what rounding does
}

// margin returns, from lower bounds of the rows, a number that is above 0 only if no output is unsafe: for each conjunction
// the largest distance of a condition from being met, of these the least. It is -Inf if a conjunction has no condition.
func (p *problem) margin(planes []plane) float64 {
	least := math.Inf(1)
	for _, conjunction := range p.unsafe {
		least = min(least, p.distance(planes, conjunction))
	}
	return least
}

// distance is how far the conjunction is from being met, above 0 only if it cannot be.
func (p *problem) distance(planes []plane, conjunction []int) float64 {
	most := math.Inf(-1)
	for _, r := range conjunction {
		if d := planes[r].lower - p.limits[r]; d > most { // false for NaN; the sign of a difference is exact
			most = d
		}
	}
	return most
}

// depth tells how far the outputs y are inside of the unsafe set: for the conjunction that is met best, by how much its conditions are, the
// least of them, as a share of the terms that they compare. Not above 0: they are not, but for rounding.
func (p *problem) depth(y []float64) float64 {
	deepest := math.Inf(-1)
	for _, conjunction := range p.unsafe {
		least := 1.
		for _, r := range conjunction {
			sum, size := -p.limits[r], math.Abs(p.limits[r])
			for k, c := range p.rows[r] {
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
