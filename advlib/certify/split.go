package certify

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"
)

// splitting is branch and bound over the signs of ReLUs, for networks with too many inputs to split those: with
// z ≥ 0 or z ≤ 0 given, a ReLU is linear. Bounds are CROWN's, with slopes and multipliers tuned (β-CROWN, Wang et al. 2021,
// arXiv:2103.06624, sections 3.2 and 3.3). When no ReLU is left, the box of inputs is split.
type splitting struct {
	*search
	splitter splitter
	open     branches
	// margins are lower bounds of the margin of each conjunction, nil if nothing is known.
	margins []float64
}

// splitter bounds branches, and splits those that are left.
type splitter interface {
	judge(ctx context.Context, batch []*branch) ([]judged, error)
	// most is how many branches are judged at once, and size about how many numbers a branch holds.
	most() int
	size() int
}

// branch is a part of the problem: inputs of a cell for which ReLUs have given signs and one conjunction may be met.
type branch struct {
	cell        cell
	signs       [][]int8
	conjunction int
	margin      float64
	share       float64
	tuned       *tuning // of the branch it was split from
	depth       int
}

type branches []*branch

func (b branches) Len() int           { return len(b) }
func (b branches) Less(i, j int) bool { return b[i].margin < b[j].margin }
func (b branches) Swap(i, j int)      { b[i], b[j] = b[j], b[i] }
func (b *branches) Push(c any)        { *b = append(*b, c.(*branch)) }
func (b *branches) Pop() any {
	old := *b
	c := old[len(old)-1]
	*b = old[:len(old)-1]
	return c
}

// Steps of the tuning at the beginning and in branches: as alpha-beta-CROWN's.
const (
	firstSteps  = 100
	branchSteps = 30
)

// judged is what came out for a branch.
type judged struct {
	margin   float64
	closed   bool
	x        []float64 // where the bound is least
	children []*branch
}

// run searches until the problem is decided, or cannot be.
func (s *splitting) run(ctx context.Context) (outcome, error) {
	s.start = time.Now()
	s.rootBest = math.Inf(1)
	p := s.problem
	for i := range p.unsafe {
		b := &branch{cell: p.cell, conjunction: i, margin: math.Inf(-1), share: 1 / float64(len(p.unsafe))}
		if s.margins != nil {
			b.margin = s.margins[i]
		}
		if b.margin > 0 {
			s.done += b.share
			s.rootBest = min(s.rootBest, b.margin)
			continue
		}
		heap.Push(&s.open, b)
	}
	for len(s.open) > 0 {
		if ctx.Err() != nil {
			return s.interrupted(ctx), nil
		}
		if s.cells > 0 && s.bounded >= s.cells {
			return outcome{reason: fmt.Sprintf("%d branches were bounded, as many as allowed, and %d are left", s.bounded, len(s.open)), bound: s.leastOpen()}, nil
		}
		if len(s.open)*s.splitter.size() > maxOpenNumbers {
			return outcome{reason: fmt.Sprintf("%d branches are waiting, as many as the memory may hold", len(s.open)), bound: s.leastOpen()}, nil
		}
		var batch []*branch
		for len(batch) < s.splitter.most() && len(s.open) > 0 {
			batch = append(batch, heap.Pop(&s.open).(*branch))
		}
		results, err := s.splitter.judge(ctx, batch)
		if err != nil {
			if ctx.Err() == nil {
				return outcome{}, err
			}
			for _, b := range batch {
				heap.Push(&s.open, b)
			}
			return s.interrupted(ctx), nil
		}
		s.bounded += len(batch)
		var points [][]float64
		for i, r := range results {
			if r.closed {
				s.done += batch[i].share
				s.rootBest = min(s.rootBest, r.margin)
				continue
			}
			if x, ok := p.admits(r.x); ok {
				points = append(points, x)
			}
			if len(r.children) == 0 && (s.stuck == nil || r.margin < s.stuck.margin) {
				s.stuck = &openCell{cell: batch[i].cell, margin: r.margin}
			}
			for _, c := range r.children {
				heap.Push(&s.open, c)
			}
		}
		x, y, err := s.unsafe(ctx, points)
		if err != nil {
			if ctx.Err() != nil {
				return s.interrupted(ctx), nil
			}
			return outcome{}, err
		}
		if x != nil {
			return outcome{x: x, y: y, bound: s.leastOpen()}, nil
		}
		now := s.standing()
		s.found.note(now)
		s.report(ctx, now, false)
	}
	if s.stuck != nil {
		return outcome{reason: fmt.Sprintf("near the input %v the margin is smaller than what rounding may change", shortened(s.stuck.centre())), bound: s.stuck.margin}, nil
	}
	return outcome{bound: s.rootBest}, nil
}

func (s *splitting) leastOpen() float64 {
	least := math.Inf(1)
	if len(s.open) > 0 {
		least = s.open[0].margin // of a heap
	}
	if s.stuck != nil {
		least = min(least, s.stuck.margin)
	}
	return least
}

func (s *splitting) interrupted(ctx context.Context) outcome { return s.standing().interrupted(ctx) }

func (s *splitting) standing() standing {
	return standing{of: "branches", bounded: s.bounded, left: len(s.open), done: s.done, bound: s.leastOpen()}
}

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

// signed splits a branch by the sign of what goes into a ReLU.
func signed(b *branch, margin float64, t *tuning, k, i int) (children []*branch) {
	for _, sign := range []int8{1, -1} {
		children = append(children, &branch{cell: b.cell, signs: withSign(b.signs, k, i, sign), conjunction: b.conjunction, margin: margin, share: b.share / 2, tuned: t, depth: b.depth + 1})
	}
	return children
}

// withSign returns the signs with one more.
func withSign(signs [][]int8, k, i int, sign int8) [][]int8 {
	more := slices.Clone(signs)
	more[k] = slices.Clone(signs[k])
	more[k][i] = sign
	return more
}

// halves splits the cell of a branch along the coordinate across which the bound moves most; nil if it is a point.
func halves(b *branch, margin float64, slope []float64) (children []*branch) {
	best, score := -1, math.Inf(-1)
	for i, v := range slope {
		if _, ok := middle(b.cell.lower[i], b.cell.upper[i]); !ok {
			continue
		}
		if d := (math.Abs(v) + 1e-9) * (b.cell.upper[i] - b.cell.lower[i]); best < 0 || d > score {
			best, score = i, d
		}
	}
	if best < 0 {
		return nil
	}
	low, high, _ := b.cell.split(best)
	for _, half := range []cell{low, high} {
		children = append(children, &branch{cell: half, signs: b.signs, conjunction: b.conjunction, margin: margin, share: b.share / 2, tuned: b.tuned, depth: b.depth + 1})
	}
	return children
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
