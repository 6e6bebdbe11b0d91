package certify

import (
	"math"

	"advlab/advlib"
	"advlab/advlib/certify/internal/search"
)

// around is the question whether an input in the ball around an example, as the classifier's domain measures it if it
// has one, has another class than its label.
type around struct {
	c    *advlib.Classifier
	x    []float32
	ball advlib.Ball
	// lowest and highest are what the classifier's limits allow.
	lowest, highest []float64
	// plain tells that there is no domain, so that distances are those of the coordinates.
	plain bool
}

// aroundExample asks it of a label y: an input is unsafe if the logit of another class is larger, or as large for one
// that comes before y. region is that of [Around], of this example alone.
func aroundExample(c *advlib.Classifier, x []float32, y int32, ball advlib.Ball, region Regions) *search.Problem {
	a := around{c: c, x: x, ball: ball, plain: c.Domain() == nil}
	a.lowest, a.highest = c.Limits().EndsOf(x)
	p := &search.Problem{First: make([]float64, len(x))}
	for i, v := range x {
		p.First[i] = float64(v)
	}
	var allowed search.Cell
	p.Cell, allowed = a.cells(region.Lower[0], region.Upper[0])
	classes := c.Classes()
	for j := range classes {
		if j == int(y) {
			continue
		}
		row := make([]float64, classes)
		row[y], row[j] = 1, -1
		p.Unsafe = append(p.Unsafe, []int{len(p.Rows)})
		p.Rows, p.Limits = append(p.Rows, row), append(p.Limits, 0)
	}
	p.IsUnsafe = func(z []float64) bool { return isOther(z, int(y)) }
	if region.Norm != nil {
		p.Round, p.Norm, p.BallCentre, p.Radius = true, region.Norm, region.Centre[0], region.Radius[0]
	}
	p.Admits = func(v []float64) ([]float64, bool) { return a.admits(v, allowed, p.Round) }
	return p
}

// isOther tells whether the class of logits z is known, and is not y.
func isOther(z []float64, y int) bool {
	best := 0
	for k, v := range z {
		if math.IsNaN(v) {
			return false
		}
		if v > z[best] {
			best = k
		}
	}
	return best != y
}

// cells returns the box of the region, rounded outward to float32, and the box in which counterexamples may lie,
// rounded inward.
func (a around) cells(lower, upper []float64) (outer, allowed search.Cell) {
	n := len(a.x)
	outer, allowed = search.Cell{Lower: make([]float64, n), Upper: make([]float64, n)}, search.Cell{Lower: make([]float64, n),
		Upper: make([]float64, n)}
	for i, v := range a.x {
		// The ends in float64 may be wrong by a rounding; the exact test is below.
		l, u := lower[i], upper[i]
		outer.Lower[i], outer.Upper[i] = search.Outward32(math.Nextafter(l, math.Inf(-1)), math.Nextafter(u, math.Inf(1)))
		if a.lowest[i] == l {
			outer.Lower[i] = l
		}
		if a.highest[i] == u {
			outer.Upper[i] = u
		}
		lo, hi := search.Up32(l), search.Down32(u)
		for a.plain && float64(v)-float64(lo) > a.ball.Radius {
			lo = math.Nextafter32(lo, v)
		}
		for a.plain && float64(hi)-float64(v) > a.ball.Radius {
			hi = math.Nextafter32(hi, v)
		}
		allowed.Lower[i], allowed.Upper[i] = float64(lo), float64(hi)
	}
	return outer, allowed
}

// admits returns the admissible input that is nearest to v, drawn towards the example until it is in the ball; false if
// there is none.
func (a around) admits(v []float64, allowed search.Cell, round bool) ([]float64, bool) {
	in := make([]float32, len(v))
	out := make([]float64, len(v))
	for shrink := 1.; ; shrink *= 1 - 1e-6 {
		for i := range v {
			t := min(max(v[i], allowed.Lower[i]), allowed.Upper[i])
			if x := float64(a.x[i]); shrink < 1 {
				t = x + shrink*(t-x)
			}
			in[i] = float32(t)
		}
		a.c.Round(in)
		for i := range in {
			out[i] = float64(in[i])
			if out[i] < a.lowest[i] || out[i] > a.highest[i] {
				return nil, false
			}
		}
		distance := a.c.Distance(a.ball.Norm, in, a.x)
		if distance <= a.ball.Radius {
			return out, true
		}
		if a.plain && !round || shrink < 1e-3 {
			return nil, false
		}
		if distance > a.ball.Radius*(1+1e-3) {
			shrink *= max(a.ball.Radius/distance, 0.5)
		}
	}
}

// regionsOf are cells, and what they have in common with the ball, if there is one.
func regionsOf(p *search.Problem, cells []search.Cell) Regions {
	r := Regions{}
	for _, c := range cells {
		r.Lower, r.Upper = append(r.Lower, c.Lower), append(r.Upper, c.Upper)
		if p.Round {
			r.Norm = p.Norm
			r.Centre, r.Radius = append(r.Centre, p.BallCentre), append(r.Radius, p.Radius)
		}
	}
	return r
}
