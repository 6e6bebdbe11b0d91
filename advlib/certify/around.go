package certify

import (
	"math"

	"advlab/advlib"
)

// around is the question whether an input in the ball around an example, as the classifier's domain measures it if it has one, has another
// class than its label.
type around struct {
	c    *advlib.Classifier
	x    []float32
	ball advlib.Ball
	// lowest and highest are what the classifier's limits allow.
	lowest, highest []float64
	// plain tells that there is no domain, so that distances are those of the coordinates.
	plain bool
}

// aroundExample asks it of a label y: an input is unsafe if the logit of another class is larger, or as large for one that comes before y. region
// is that of [Around], of this example alone.
func aroundExample(c *advlib.Classifier, x []float32, y int32, ball advlib.Ball, region Regions) *problem {
	a := around{c: c, x: x, ball: ball, plain: c.Domain() == nil}
	a.lowest, a.highest = c.Limits().EndsOf(x)
	p := &problem{first: make([]float64, len(x))}
	for i, v := range x {
		p.first[i] = float64(v)
	}
	var allowed cell
	p.cell, allowed = a.cells(region.Lower[0], region.Upper[0])
	classes := c.Classes()
	for j := range classes {
		if j == int(y) {
			continue
		}
		row := make([]float64, classes)
		row[y], row[j] = 1, -1
		p.unsafe = append(p.unsafe, []int{len(p.rows)})
		p.rows, p.limits = append(p.rows, row), append(p.limits, 0)
	}
	p.is = func(z []float64) bool { return isOther(z, int(y)) }
	if region.Norm != nil {
		p.round, p.norm, p.ballCentre, p.radius = true, region.Norm, region.Centre[0], region.Radius[0]
	}
	p.admits = func(v []float64) ([]float64, bool) { return a.admits(v, allowed, p.round) }
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

// cells returns the box of the region, rounded outward to float32, and the box in which counterexamples may lie, rounded inward.
func (a around) cells(lower, upper []float64) (outer, allowed cell) {
	n := len(a.x)
	outer, allowed = cell{make([]float64, n), make([]float64, n)}, cell{make([]float64, n), make([]float64, n)}
	for i, v := range a.x {
		// The ends in float64 may be wrong by a rounding; the exact test is below.
		l, u := lower[i], upper[i]
		outer.lower[i], outer.upper[i] = outward32(math.Nextafter(l, math.Inf(-1)), math.Nextafter(u, math.Inf(1)))
		if a.lowest[i] == l {
			outer.lower[i] = l
		}
		if a.highest[i] == u {
			outer.upper[i] = u
		}
		lo, hi := up32(l), down32(u)
		for a.plain && float64(v)-float64(lo) > a.ball.Radius {
			lo = math.Nextafter32(lo, v)
		}
		for a.plain && float64(hi)-float64(v) > a.ball.Radius {
			hi = math.Nextafter32(hi, v)
		}
		allowed.lower[i], allowed.upper[i] = float64(lo), float64(hi)
	}
	return outer, allowed
}

// admits returns the admissible input that is nearest to v, drawn towards the example until it is in the ball; false if there is none.
func (a around) admits(v []float64, allowed cell, round bool) ([]float64, bool) {
	in := make([]float32, len(v))
	out := make([]float64, len(v))
	for shrink := 1.; ; shrink *= 1 - 1e-6 {
		for i := range v {
			t := min(max(v[i], allowed.lower[i]), allowed.upper[i])
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
func regionsOf(p *problem, cells []cell) Regions {
	r := Regions{}
	for _, c := range cells {
		r.Lower, r.Upper = append(r.Lower, c.lower), append(r.Upper, c.upper)
		if p.round {
			r.Norm = p.norm
			r.Centre, r.Radius = append(r.Centre, p.ballCentre), append(r.Radius, p.radius)
		}
	}
	return r
}
