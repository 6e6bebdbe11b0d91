package chain

import (
	"context"
	"math"
	"runtime"
	"slices"
	"sync"

	"advlab/advlib/certify/internal/propagate"
	"advlab/advlib/certify/internal/search"
)

// Bound returns for each cell a plane for each row, and for each coordinate a rate at which the gap between bound and
// network grows with the cell's width there, up to a factor. Intermediate intervals are CROWN's ∩ IBP's.
func (c *Chain) Bound(ctx context.Context, cells []search.Cell, rows [][]float64) (planes [][]search.Plane, rates [][]float64, err error) {
	planes, rates = make([][]search.Plane, len(cells)), make([][]float64, len(cells))
	err = c.Each(ctx, len(cells), true, func(p *Pass, i int) {
		results := p.Run(cells[i], rows)
		planes[i], rates[i] = make([]search.Plane, len(rows)), make([]float64, p.Inputs)
		for r, row := range rows {
			if planes[i][r].Lower = results[r].Lower; results[r].Slope != nil {
				planes[i][r] = search.NewPlane(cells[i], results[r].Lower, results[r].Slope)
				p.addRates(rates[i], row)
			}
		}
	})
	return planes, rates, err
}

// Each calls do for 0 ≤ i < n, on all CPUs, with a pass for each of them.
func (c *Chain) Each(ctx context.Context, n int, intersect bool, do func(p *Pass, i int)) error {
	var wait sync.WaitGroup
	next := make(chan int)
	for range min(runtime.GOMAXPROCS(0), n) {
		wait.Go(func() {
			p := c.NewPass()
			p.intersect, p.Context = intersect, ctx
			for i := range next {
				do(p, i)
			}
		})
	}
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	wait.Wait()
	return ctx.Err()
}

// Pass bounds one cell after the other. For each layer it holds intervals and errors of z, and lines of its ReLU:
// aL·z ≤ relu(z) ≤ aU·z + bU, both z itself where it has none.
type Pass struct {
	*Chain
	Cell         search.Cell
	lower, upper [][]float64
	E            [][]float64
	// reach is above every product, of any of the factors since the last ReLU, up to a layer.
	reach      []float64
	aL, aU, bU [][]float64
	living     []living  // by layer
	v, next    []float64 // Λ, while it goes back
	ends       []end     // of what goes into a layer
	Open       []int     // neurons to be bounded by going back
	together   together

	// Context ends a pass early: its bounds say nothing then. Nil for never.
	Context context.Context
	// intersect keeps IBP's ends of intervals where they are tighter than those by going back.
	intersect bool
	// Signs fix ReLUs: 1 where z ≥ 0 and −1 where z ≤ 0 is given, 0 else; nil for none. They need intersect. empty tells
	// that nothing meets them.
	Signs [][]int8
	Empty bool
}

// Bound is a lower bound of a linear function, what rounding took from it, and its slope at the input.
type Bound struct {
	Lower, Slack float64
	Slope        []float64
}

// end is what is known of a coordinate that goes into a layer: the middle and half the width of its interval, and its
// largest absolute value.
type end struct{ centre, radius, magnitude float64 }

func (c *Chain) NewPass() *Pass {
	p := &Pass{Chain: c, intersect: true}
	width := c.Inputs
	for _, l := range c.Layers {
		m := len(l.W)
		width = max(width, m)
		p.lower, p.upper, p.E = append(p.lower, make([]float64, m)), append(p.upper, make([]float64, m)), append(p.E, make([]float64, m))
		p.aL, p.aU, p.bU = append(p.aL, make([]float64, m)), append(p.aU, make([]float64, m)), append(p.bU, make([]float64, m))
	}
	p.living, p.reach = make([]living, len(c.Layers)), make([]float64, len(c.Layers))
	p.v, p.next, p.ends = make([]float64, width), make([]float64, width), make([]end, width)
	return p
}

// stopped tells that nobody waits for the pass any more.
func (p *Pass) stopped() bool { return p.Context != nil && p.Context.Err() != nil }

// Run bounds rows over a box. A bound of −∞, without a slope, says nothing.
func (p *Pass) Run(box search.Cell, rows [][]float64) []Bound {
	p.Cell = box
	results := make([]Bound, len(rows))
	for r := range results {
		results[r] = Bound{Lower: math.Inf(-1), Slack: math.Inf(1)}
	}
	for k := range p.Layers {
		if !p.Interval(k) {
			return results
		}
	}
	for r, row := range rows {
		if p.stopped() {
			break
		}
		if res := p.Back(len(p.Layers)-1, row, nil); !math.IsNaN(res.Lower) && !math.IsInf(res.Lower, 0) {
			res.Slope = slices.Clone(res.Slope)
			results[r] = res
		}
	}
	return results
}

// Interval bounds z of layer k: by intervals, and where its ReLU is not linear for them, by going back to the input. It
// returns false if nothing can be said.
func (p *Pass) Interval(k int) bool {
	if !p.byIntervals(k) {
		return false
	}
	if k == len(p.Layers)-1 {
		return true
	}
	l := &p.Layers[k]
	if !l.ReLU {
		for i := range l.W {
			p.aL[k][i], p.aU[k][i], p.bU[k][i] = 1, 1, 0
		}
		p.living[k] = p.alive(k)
		return true
	}
	p.Open = p.Open[:0]
	for i := range l.W {
		lo, hi := p.given(k, i)
		p.lower[k][i], p.upper[k][i] = lo, hi
		if k > 0 && lo < 0 && hi > 0 {
			p.Open = append(p.Open, i)
		}
	}
	if !p.tighten(k, p.Open) {
		return false
	}
	for i := range l.W {
		if !p.relax(k, i) {
			return false
		}
	}
	p.living[k] = p.alive(k)
	return true
}

// byIntervals bounds z of layer k by the intervals of what goes in, and its error. It returns false if a number of it
// may be too large.
func (p *Pass) byIntervals(k int) bool {
	l := &p.Layers[k]
	limit := propagate.Largest
	if p.a.Real {
		limit = math.MaxFloat64
	}
	ends, most := p.into(k)
	if !(most <= limit) {
		return false
	}
	if k > 0 && !p.Layers[k-1].ReLU {
		most = max(most, p.reach[k-1])
	}
	p.reach[k] = slices.Max(l.Flushed) * most
	for i, row := range l.W {
		centre, radius, size := l.B[i], 0., l.Size[i]
		row = row[:len(ends)]
		if l.sizes == nil {
			for j := range ends {
				h, w := &ends[j], row[j]
				centre += w * h.centre
				w = math.Abs(w)
				radius += w * h.radius
				size += w * h.magnitude
			}
		} else {
			for j, s := range l.sizes[i][:len(ends)] {
				h, w := &ends[j], row[j]
				centre += w * h.centre
				radius += math.Abs(w) * h.radius
				size += s * h.magnitude
			}
		}
		e := 0.
		if !p.a.Real {
			e = l.error(p.a, i, ends, most, size)
			if l.Regrouped && !(l.Flushed[i]*most <= limit) {
				return false
			}
		}
		if !(size+e <= limit) {
			return false
		}
		p.E[k][i] = e
		p.lower[k][i], p.upper[k][i] = centre-radius-e, centre+radius+e
	}
	return true
}

// into returns the intervals of what goes into layer k, which are there until the next call, and what is above their
// absolute values, and 1.
func (p *Pass) into(k int) (ends []end, most float64) {
	lower, upper := p.Cell.Lower, p.Cell.Upper
	if k > 0 {
		lower, upper = p.lower[k-1], p.upper[k-1]
	}
	ends, most = p.ends[:len(p.Layers[k].W[0])], 1
	bent := k > 0 && p.Layers[k-1].ReLU
	for j := range ends {
		lo, hi := lower[j], upper[j]
		if bent {
			lo, hi = max(lo, 0), max(hi, 0)
		}
		ends[j] = end{centre: lo/2 + hi/2, radius: hi/2 - lo/2, magnitude: max(math.Abs(lo), math.Abs(hi))}
		most = max(most, ends[j].magnitude)
	}
	return ends, most
}

// relax finds the lines of the ReLU of z_i of layer k. It returns false if no input of the cell has the signs that are
// given.
func (p *Pass) relax(k, i int) bool {
	lo, hi := p.lower[k][i], p.upper[k][i]
	if lo > hi {
		if p.Signs != nil {
			p.Empty = true
			return false
		}
		lo, hi = hi, lo // by rounding of bounds in real arithmetic
	}
	p.lower[k][i], p.upper[k][i] = lo, hi
	switch {
	case lo >= 0:
		p.aL[k][i], p.aU[k][i], p.bU[k][i] = 1, 1, 0
	case hi <= 0:
		p.aL[k][i], p.aU[k][i], p.bU[k][i] = 0, 0, 0
	default:
		aU := hi / (hi - lo)
		p.aU[k][i] = aU
		// Raised, so that the line is above the ReLU at both ends as computed.
		p.bU[k][i] = -lo*aU*(1+0x1p-50) + max(hi, -lo)*0x1p-50
		p.aL[k][i] = 0
		if hi > -lo {
			p.aL[k][i] = 1
		}
	}
	return true
}

// given returns the interval of z_i of layer k by intervals, and by its sign where that is given.
func (p *Pass) given(k, i int) (lower, upper float64) {
	lower, upper = p.lower[k][i], p.upper[k][i]
	if p.Signs != nil {
		switch s := p.Signs[k][i]; {
		case s > 0:
			lower = max(lower, 0)
		case s < 0:
			upper = min(upper, 0)
		}
	}
	return lower, upper
}

// Back returns a lower bound of ⟨row, z⟩ for z of layer k, and its slope at the input, which the next call overwrites.
// With t, it goes by its lower lines and multipliers, and notes Λ.
func (p *Pass) Back(k int, row []float64, t *search.Tuning) Bound {
	v, next := p.v[:len(row)], p.next
	copy(v, row)
	sum, size, slack := 0., 0., 0.
	terms := p.Inputs
	for ; ; k-- {
		l := &p.Layers[k]
		n := len(l.W[0])
		h := next[:n]
		clear(h)
		for i, x := range v {
			if x == 0 {
				continue
			}
			slack += math.Abs(x) * p.E[k][i]
			sum += x * l.B[i]
			size += math.Abs(x * l.B[i])
			for j, w := range l.W[i] {
				h[j] += x * w
			}
		}
		terms += len(v)
		v, next = h, v[:cap(v)]
		if k == 0 {
			break
		}
		aL, aU, bU := p.aL[k-1], p.aU[k-1], p.bU[k-1]
		if t != nil {
			aL = t.Alpha[k-1]
			copy(t.Λ[k-1], v)
		}
		for j, x := range v {
			if x >= 0 {
				v[j] = x * aL[j]
			} else {
				v[j] = x * aU[j]
				sum += x * bU[j]
				size -= x * bU[j]
			}
		}
		if t != nil { // s·z ≥ 0 is given, so −β·s·z ≤ 0 may be added
			for j, s := range p.Signs[k-1] {
				if s != 0 {
					β := t.Beta[k-1][j]
					v[j] -= β * float64(s)
					size += β * max(math.Abs(p.lower[k-1][j]), math.Abs(p.upper[k-1][j]))
				}
			}
		}
	}
	least, all := search.MinimumOf(v, p.Cell)
	return p.lowest(sum+least, slack, size+all, terms, v)
}

// lowest takes from a bound what rounding may have changed: the errors of z, and those of sums of as many terms, of the
// size given, in float64.
func (p *Pass) lowest(bound, slack, size float64, terms int, slope []float64) Bound {
	if !p.a.Real {
		slack += slack*0x1p-40 + size*search.Roundoff(terms)
	}
	return Bound{Lower: bound - slack, Slack: slack, Slope: slope}
}

// addRates adds |row|·|W|·a·|W|·…, with the upper slopes a: how far the interval of ⟨row, y⟩ grows with that of each
// input.
func (p *Pass) addRates(rates, row []float64) {
	v, next := p.v[:len(row)], p.next
	for i, x := range row {
		v[i] = math.Abs(x)
	}
	for k := len(p.Layers) - 1; k >= 0; k-- {
		l := &p.Layers[k]
		h := next[:len(l.W[0])]
		clear(h)
		for i, x := range v {
			if x == 0 {
				continue
			}
			for j, w := range l.W[i] {
				h[j] += x * math.Abs(w)
			}
		}
		if k > 0 {
			for j := range h {
				h[j] *= p.aU[k-1][j]
			}
		}
		v, next = h, v[:cap(v)]
	}
	for i, x := range v {
		rates[i] += x
	}
}
