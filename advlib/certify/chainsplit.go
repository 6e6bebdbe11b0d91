package certify

import (
	"cmp"
	"context"
	"math"
	"runtime"
	"slices"
	"sync"
)

// chainSplitter bounds branches of a chain, one after the other on each CPU.
type chainSplitter struct {
	chain   *chain
	problem *problem
	passes  []*chainPass
}

func newChainSplitter(c *chain, p *problem) *chainSplitter {
	s := &chainSplitter{chain: c, problem: p}
	for range runtime.GOMAXPROCS(0) {
		s.passes = append(s.passes, c.newPass())
	}
	return s
}

func (s *chainSplitter) most() int { return 4 * len(s.passes) }

func (s *chainSplitter) size() int {
	n := 2 * s.chain.inputs
	for _, l := range s.chain.layers {
		n += 3 * len(l.W)
	}
	return n
}

func (s *chainSplitter) judge(ctx context.Context, batch []*branch) ([]judged, error) {
	results := make([]judged, len(batch))
	next := make(chan int)
	var wait sync.WaitGroup
	for _, pass := range s.passes {
		pass.ctx = ctx
		wait.Go(func() {
			for i := range next {
				if !pass.stopped() {
					results[i] = s.one(pass, batch[i])
				}
			}
		})
	}
	for i := range batch {
		next <- i
	}
	close(next)
	wait.Wait()
	return results, ctx.Err()
}

// one bounds a branch, and splits it if that does not close it. What it returns of a pass that was stopped means nothing.
func (s *chainSplitter) one(p *chainPass, b *branch) judged {
	p.cell, p.empty = b.cell, false
	if b.signs == nil {
		b.signs = s.chain.noSigns()
	}
	p.signs = b.signs
	for k := range p.layers {
		if !p.interval(k) {
			if p.empty {
				return judged{closed: true, margin: math.Inf(1)}
			}
			// Beyond float32: smaller boxes may be not.
			return judged{margin: math.Inf(-1), x: b.cell.centre(), children: halves(b, math.Inf(-1), make([]float64, p.inputs))}
		}
	}
	// The condition that is farthest from being met is tuned.
	conjunction := s.problem.unsafe[b.conjunction]
	row, margin := -1, math.Inf(-1)
	var slope []float64
	for _, r := range conjunction {
		res := p.back(len(p.layers)-1, s.problem.rows[r], nil)
		if d := res.lower - s.problem.limits[r]; d > margin {
			row, margin, slope = r, d, slices.Clone(res.slope)
		}
	}
	if margin > 0 {
		return judged{closed: true, margin: margin}
	}
	if row < 0 {
		return judged{margin: margin, x: b.cell.centre(), children: halves(b, margin, make([]float64, p.inputs))}
	}
	limit := s.problem.limits[row]
	steps := branchSteps
	if b.depth == 0 {
		steps = firstSteps
	}
	t := p.newTuning(b.tuned)
	lower, Λ, x := p.tune(s.problem.rows[row], limit, steps, t)
	if d := lower - limit; d > margin {
		margin, slope = d, Λ
	}
	if margin > 0 {
		return judged{closed: true, margin: margin}
	}
	k, i := s.choose(p, s.problem.rows[row], t)
	if k < 0 {
		return judged{margin: margin, x: x, children: halves(b, margin, slope)}
	}
	return judged{margin: margin, x: x, children: signed(b, margin, t, k, i)}
}

// noSigns are signs none of which is given.
func (c *chain) noSigns() [][]int8 {
	var signs [][]int8
	for _, l := range c.layers {
		signs = append(signs, make([]int8, len(l.W)))
	}
	return signs
}

// candidates is how many ReLUs are tried, by each of two scores.
const candidates = 4

// choose returns the ReLU to split, −1 if all are linear. Of those with the largest intercept of the upper line that counts in
// the bound (Bunel et al. 2020, "Branch and bound for piecewise linear neural network verification", section 5), and those
// with the largest gap on either side, it takes the one whose worse half has the best bound, with lines as they are.
func (s *chainSplitter) choose(p *chainPass, row []float64, t *tuning) (layer, index int) {
	type candidate struct {
		k, i           int
		intercept, gap float64
	}
	var all []candidate
	for k := range t.Λ {
		for i, Λ := range t.Λ[k] {
			if !p.bends(k, i) {
				continue
			}
			l, u := p.lower[k][i], p.upper[k][i]
			c := candidate{k: k, i: i, gap: math.Abs(Λ) * min(-l, u)}
			if Λ < 0 {
				c.intercept = -Λ * -l * u / (u - l)
			}
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		return -1, -1
	}
	var tried []candidate
	for _, by := range []func(a, b candidate) int{
		func(a, b candidate) int { return cmp.Compare(b.intercept, a.intercept) },
		func(a, b candidate) int { return cmp.Compare(b.gap, a.gap) },
	} {
		slices.SortFunc(all, by)
		for _, c := range all[:min(candidates, len(all))] {
			if !slices.ContainsFunc(tried, func(o candidate) bool { return o.k == c.k && o.i == c.i }) {
				tried = append(tried, c)
			}
		}
	}
	best, value := tried[0], math.Inf(-1)
	last := len(p.layers) - 1
	for _, c := range tried {
		if p.stopped() {
			break
		}
		k, i := c.k, c.i
		α, aU, bU := t.α[k][i], p.aU[k][i], p.bU[k][i]
		worse := math.Inf(1)
		sum := 0.
		for _, line := range []float64{1, 0} {
			t.α[k][i], p.aU[k][i], p.bU[k][i] = line, line, 0
			v := p.back(last, row, t).lower
			worse = min(worse, v)
			sum += v
		}
		t.α[k][i], p.aU[k][i], p.bU[k][i] = α, aU, bU
		if v := worse + 1e-3*sum; v > value {
			best, value = c, v
		}
	}
	return best.k, best.i
}
