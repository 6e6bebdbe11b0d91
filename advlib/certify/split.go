package certify

import (
	"container/heap"
	"context"
	"fmt"
	"math"
	"slices"
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

// judged is what came out for a branch.
type judged struct {
	margin   float64
	closed   bool
	x        []float64 // where the bound is least
	children []*branch
}

// run searches until the problem is decided, or cannot be.
func (s *splitting) run(ctx context.Context) (outcome, error) {
	s.begin()
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
		x, y, err := s.round(ctx)
		switch {
		case err != nil && ctx.Err() != nil:
			return s.interrupted(ctx), nil
		case err != nil:
			return outcome{}, err
		case x != nil:
			return outcome{x: x, y: y, bound: s.leastOpen()}, nil
		}
		now := s.standing()
		s.note(now)
		s.report(ctx, now, false)
	}
	if s.stuck != nil {
		return outcome{reason: fmt.Sprintf("near the input %v the margin is smaller than what rounding may change", shortened(s.stuck.centre())), bound: s.stuck.margin}, nil
	}
	return outcome{bound: s.rootBest}, nil
}

// begin opens a branch for each conjunction that may be met.
func (s *splitting) begin() {
	s.start = time.Now()
	s.rootBest = math.Inf(1)
	for i := range s.problem.unsafe {
		b := &branch{cell: s.problem.cell, conjunction: i, margin: math.Inf(-1), share: 1 / float64(len(s.problem.unsafe))}
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
}

// round bounds some branches, and puts their halves in the place of those that are left. It returns a counterexample, if it comes across one.
func (s *splitting) round(ctx context.Context) (x, y []float64, err error) {
	var batch []*branch
	for len(batch) < s.splitter.most() && len(s.open) > 0 {
		batch = append(batch, heap.Pop(&s.open).(*branch))
	}
	results, err := s.splitter.judge(ctx, batch)
	if err != nil {
		for _, b := range batch {
			heap.Push(&s.open, b)
		}
		return nil, nil, err
	}
	s.bounded += len(batch)
	var points [][]float64
	for i, r := range results {
		if r.closed {
			s.done += batch[i].share
			s.rootBest = min(s.rootBest, r.margin)
			continue
		}
		if x, ok := s.problem.admits(r.x); ok {
			points = append(points, x)
		}
		if len(r.children) == 0 && (s.stuck == nil || r.margin < s.stuck.margin) {
			s.stuck = &openCell{cell: batch[i].cell, margin: r.margin}
		}
		for _, c := range r.children {
			heap.Push(&s.open, c)
		}
	}
	return s.unsafe(ctx, points)
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
