package chain

import (
	"cmp"
	"context"
	"math"
	"runtime"
	"slices"
	"sync"

	"advlab/advlib/certify/internal/search"
)

// Splitter bounds branches of a chain, one after the other on each CPU.
type Splitter struct {
	chain   *Chain
	problem *search.Problem
	passes  []*Pass
}

func NewSplitter(c *Chain, p *search.Problem) *Splitter {
	s := &Splitter{chain: c, problem: p}
	for range runtime.GOMAXPROCS(0) {
		s.passes = append(s.passes, c.NewPass())
	}
	return s
}

func (s *Splitter) Most() int { return 4 * len(s.passes) }

func (s *Splitter) Size() int {
	n := 2 * s.chain.Inputs
	for _, l := range s.chain.Layers {
		n += 3 * len(l.W)
	}
	return n
}

func (s *Splitter) Judge(ctx context.Context, batch []*search.Branch) ([]search.Judged, error) {
	results := make([]search.Judged, len(batch))
	next := make(chan int)
	var wait sync.WaitGroup
	for _, pass := range s.passes {
		pass.Context = ctx
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

// one bounds a branch, and splits it if that does not close it. What it returns of a pass that was stopped means
// nothing.
func (s *Splitter) one(p *Pass, b *search.Branch) search.Judged {
	p.Cell, p.Empty = b.Cell, false
	if b.Signs == nil {
		b.Signs = s.chain.NoSigns()
	}
	p.Signs = b.Signs
	for k := range p.Layers {
		if !p.Interval(k) {
			if p.Empty {
				return search.Judged{Closed: true, Margin: math.Inf(1)}
			}
			// Beyond float32: smaller boxes may be not.
			return search.Judged{Margin: math.Inf(-1), X: b.Cell.Centre(), Children: search.Halves(b, math.Inf(-1), make([]float64, p.Inputs))}
		}
	}
	// The condition that is farthest from being met is tuned.
	conjunction := s.problem.Unsafe[b.Conjunction]
	row, margin := -1, math.Inf(-1)
	var slope []float64
	for _, r := range conjunction {
		res := p.Back(len(p.Layers)-1, s.problem.Rows[r], nil)
		if d := res.Lower - s.problem.Limits[r]; d > margin {
			row, margin, slope = r, d, slices.Clone(res.Slope)
		}
	}
	if margin > 0 {
		return search.Judged{Closed: true, Margin: margin}
	}
	if row < 0 {
		return search.Judged{Margin: margin, X: b.Cell.Centre(), Children: search.Halves(b, margin, make([]float64, p.Inputs))}
	}
	limit := s.problem.Limits[row]
	steps := search.BranchSteps
	if b.Depth == 0 {
		steps = search.FirstSteps
	}
	t := p.NewTuning(b.Tuned)
	lower, Λ, x := p.Tune(s.problem.Rows[row], limit, steps, t)
	if d := lower - limit; d > margin {
		margin, slope = d, Λ
	}
	if margin > 0 {
		return search.Judged{Closed: true, Margin: margin}
	}
	k, i := s.choose(p, s.problem.Rows[row], t)
	if k < 0 {
		return search.Judged{Margin: margin, X: x, Children: search.Halves(b, margin, slope)}
	}
	return search.Judged{Margin: margin, X: x, Children: search.Signed(b, margin, t, k, i)}
}

// NoSigns are signs none of which is given.
func (c *Chain) NoSigns() [][]int8 {
	var signs [][]int8
	for _, l := range c.Layers {
		signs = append(signs, make([]int8, len(l.W)))
	}
	return signs
}

// candidates is how many ReLUs are tried, by each of two scores.
const candidates = 4

// choose returns the ReLU to split, −1 if all are linear. Of those with the largest intercept of the upper line that
// counts in the bound (Bunel et al. 2020, "Branch and bound for piecewise linear neural network verification", section
// 5), and those with the largest gap on either side, it takes the one whose worse half has the best bound, with lines
// as they are.
func (s *Splitter) choose(p *Pass, row []float64, t *search.Tuning) (layer, index int) {
	type candidate struct {
		k, i           int
		intercept, gap float64
	}
	var all []candidate
	for k := range t.Λ {
		for i, Λ := range t.Λ[k] {
			if !p.Bends(k, i) {
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
	last := len(p.Layers) - 1
	for _, c := range tried {
		if p.stopped() {
			break
		}
		k, i := c.k, c.i
		α, aU, bU := t.Alpha[k][i], p.aU[k][i], p.bU[k][i]
		worse := math.Inf(1)
		sum := 0.
		for _, line := range []float64{1, 0} {
			t.Alpha[k][i], p.aU[k][i], p.bU[k][i] = line, line, 0
			v := p.Back(last, row, t).Lower
			worse = min(worse, v)
			sum += v
		}
		t.Alpha[k][i], p.aU[k][i], p.bU[k][i] = α, aU, bU
		if v := worse + 1e-3*sum; v > value {
			best, value = c, v
		}
	}
	return best.k, best.i
}
