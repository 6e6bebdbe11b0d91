package search

import (
	"container/heap"
	"context"
	"fmt"
	"math"
	"slices"
	"time"
)

// Splitting is branch and bound over the signs of ReLUs, for networks with too many inputs to split those: with z ≥ 0
// or z ≤ 0 given, a ReLU is linear. Bounds are CROWN's, with slopes and multipliers tuned (β-CROWN, Wang et al. 2021,
// arXiv:2103.06624, sections 3.2 and 3.3). When no ReLU is left, the box of inputs is split.
type Splitting struct {
	*Search
	Splitter splitter
	open     branches
	// Margins are lower bounds of the margin of each conjunction, nil if nothing is known.
	Margins []float64
}

// splitter bounds branches, and splits those that are left.
type splitter interface {
	Judge(ctx context.Context, batch []*Branch) ([]Judged, error)
	// Most is how many branches are judged at once, and size about how many numbers a branch holds.
	Most() int
	Size() int
}

// Branch is a part of the problem: inputs of a cell for which ReLUs have given signs and one conjunction may be met.
type Branch struct {
	Cell        Cell
	Signs       [][]int8
	Conjunction int
	Margin      float64
	share       float64
	Tuned       *Tuning // of the branch it was split from
	Depth       int
}

type branches []*Branch

func (b branches) Len() int           { return len(b) }
func (b branches) Less(i, j int) bool { return b[i].Margin < b[j].Margin }
func (b branches) Swap(i, j int)      { b[i], b[j] = b[j], b[i] }
func (b *branches) Push(c any)        { *b = append(*b, c.(*Branch)) }
func (b *branches) Pop() any {
	old := *b
	c := old[len(old)-1]
	*b = old[:len(old)-1]
	return c
}

// Judged is what came out for a branch.
type Judged struct {
	Margin   float64
	Closed   bool
	X        []float64 // where the bound is least
	Children []*Branch
}

// Run searches until the problem is decided, or cannot be.
func (s *Splitting) Run(ctx context.Context) (Outcome, error) {
	s.begin()
	for len(s.open) > 0 {
		if ctx.Err() != nil {
			return s.interrupted(ctx), nil
		}
		if s.Cells > 0 && s.Bounded >= s.Cells {
			return Outcome{Reason: fmt.Sprintf("%d branches were bounded, as many as allowed, and %d are left", s.Bounded, len(s.open)),
				Bound: s.leastOpen()}, nil
		}
		if len(s.open)*s.Splitter.Size() > maxOpenNumbers {
			return Outcome{Reason: fmt.Sprintf("%d branches are waiting, as many as the memory may hold", len(s.open)), Bound: s.leastOpen()}, nil
		}
		x, y, err := s.round(ctx)
		switch {
		case err != nil && ctx.Err() != nil:
			return s.interrupted(ctx), nil
		case err != nil:
			return Outcome{}, err
		case x != nil:
			return Outcome{X: x, Y: y, Bound: s.leastOpen()}, nil
		}
		now := s.standing()
		s.Note(now)
		s.report(ctx, now, false)
	}
	if s.stuck != nil {
		return Outcome{Reason: fmt.Sprintf("near the input %v the margin is smaller than what rounding may change", Shortened(s.stuck.Centre())),
			Bound: s.stuck.margin}, nil
	}
	return Outcome{Bound: s.rootBest}, nil
}

// begin opens a branch for each conjunction that may be met.
func (s *Splitting) begin() {
	s.start = time.Now()
	s.rootBest = math.Inf(1)
	for i := range s.Problem.Unsafe {
		b := &Branch{Cell: s.Problem.Cell, Conjunction: i, Margin: math.Inf(-1), share: 1 / float64(len(s.Problem.Unsafe))}
		if s.Margins != nil {
			b.Margin = s.Margins[i]
		}
		if b.Margin > 0 {
			s.Done += b.share
			s.rootBest = min(s.rootBest, b.Margin)
			continue
		}
		heap.Push(&s.open, b)
	}
}

// round bounds some branches, and puts their halves in the place of those that are left. It returns a counterexample,
// if it comes across one.
func (s *Splitting) round(ctx context.Context) (x, y []float64, err error) {
	var batch []*Branch
	for len(batch) < s.Splitter.Most() && len(s.open) > 0 {
		batch = append(batch, heap.Pop(&s.open).(*Branch))
	}
	results, err := s.Splitter.Judge(ctx, batch)
	if err != nil {
		for _, b := range batch {
			heap.Push(&s.open, b)
		}
		return nil, nil, err
	}
	s.Bounded += len(batch)
	var points [][]float64
	for i, r := range results {
		if r.Closed {
			s.Done += batch[i].share
			s.rootBest = min(s.rootBest, r.Margin)
			continue
		}
		if x, ok := s.Problem.Admits(r.X); ok {
			points = append(points, x)
		}
		if len(r.Children) == 0 && (s.stuck == nil || r.Margin < s.stuck.margin) {
			s.stuck = &openCell{Cell: batch[i].Cell, margin: r.Margin}
		}
		for _, c := range r.Children {
			heap.Push(&s.open, c)
		}
	}
	return s.unsafe(ctx, points)
}

func (s *Splitting) leastOpen() float64 {
	least := math.Inf(1)
	if len(s.open) > 0 {
		least = s.open[0].Margin // of a heap
	}
	if s.stuck != nil {
		least = min(least, s.stuck.margin)
	}
	return least
}

func (s *Splitting) interrupted(ctx context.Context) Outcome { return s.standing().Interrupted(ctx) }

func (s *Splitting) standing() Standing {
	return Standing{Of: "branches", Bounded: s.Bounded, Left: len(s.open), Done: s.Done, Bound: s.leastOpen()}
}

// Signed splits a branch by the sign of what goes into a ReLU.
func Signed(b *Branch, margin float64, t *Tuning, k, i int) (children []*Branch) {
	for _, sign := range []int8{1, -1} {
		children = append(children, &Branch{Cell: b.Cell, Signs: WithSign(b.Signs, k, i, sign), Conjunction: b.Conjunction, Margin: margin,
			share: b.share / 2, Tuned: t, Depth: b.Depth + 1})
	}
	return children
}

// WithSign returns the signs with one more.
func WithSign(signs [][]int8, k, i int, sign int8) [][]int8 {
	more := slices.Clone(signs)
	more[k] = slices.Clone(signs[k])
	more[k][i] = sign
	return more
}

// Halves splits the cell of a branch along the coordinate across which the bound moves most; nil if it is a point.
func Halves(b *Branch, margin float64, slope []float64) (children []*Branch) {
	best, score := -1, math.Inf(-1)
	for i, v := range slope {
		if _, ok := middle(b.Cell.Lower[i], b.Cell.Upper[i]); !ok {
			continue
		}
		if d := (math.Abs(v) + 1e-9) * (b.Cell.Upper[i] - b.Cell.Lower[i]); best < 0 || d > score {
			best, score = i, d
		}
	}
	if best < 0 {
		return nil
	}
	low, high, _ := b.Cell.split(best)
	for _, half := range []Cell{low, high} {
		children = append(children, &Branch{Cell: half, Signs: b.Signs, Conjunction: b.Conjunction, Margin: margin, share: b.share / 2,
			Tuned: b.Tuned, Depth: b.Depth + 1})
	}
	return children
}
