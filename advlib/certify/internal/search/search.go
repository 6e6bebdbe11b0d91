package search

import (
	"container/heap"
	"context"
	"fmt"
	"math"
	"time"
)

// Search is branch and bound over cells of inputs: a cell is done when no conjunction can be met in it, and split
// otherwise. Its functions work on batches.
type Search struct {
	Problem *Problem
	// Bound returns for each cell a plane for each row of the problem, and, if that comes with it, for each coordinate how
	// fast the bounds get worse with the cell's width there, up to a factor; else nil.
	Bound func(ctx context.Context, cells []Cell) (planes [][]Plane, rates [][]float64, err error)
	// Sensitivity is asked if bound returns no rates: for each cell how much better the bounds, by intervals alone, would
	// be if coordinate i were known. It is nil if that would cost too much.
	Sensitivity func(ctx context.Context, cells []Cell) ([][]float64, error)
	// Outputs computes the deployed model.
	Outputs func(ctx context.Context, x [][]float64) ([][]float64, error)
	// Batch is the most cells that are bounded at once, cells the most that are bounded at all.
	Batch, Cells int
	// Found takes notes; it may be nil.
	Found recorder

	open     openCells
	Bounded  int
	Done     float64 // share of the volume
	start    time.Time
	stuck    *openCell // a cell that is too small to be split
	told     time.Time
	rootBest float64
}

// openCell waits to be bounded.
type openCell struct {
	Cell
	margin float64 // of the cell it was split from
	share  float64 // of the volume
}

// openCells is a heap, the least margin first: that is where a counterexample is most likely.
type openCells []openCell

func (o openCells) Len() int           { return len(o) }
func (o openCells) Less(i, j int) bool { return o[i].margin < o[j].margin }
func (o openCells) Swap(i, j int)      { o[i], o[j] = o[j], o[i] }
func (o *openCells) Push(c any)        { *o = append(*o, c.(openCell)) }
func (o *openCells) Pop() any {
	old := *o
	c := old[len(old)-1]
	*o = old[:len(old)-1]
	return c
}

// maxOpenNumbers is the most numbers that waiting cells may hold: 1 GiB.
const maxOpenNumbers = 1 << 27

// Outcome is how a search ended: with a counterexample x and its outputs y, or with a reason why nothing is known, or
// with neither, when nothing unsafe is left.
type Outcome struct {
	X, Y   []float64
	Reason string
	Late   bool    // the reason is the context's deadline
	Bound  float64 // the least margin of what is left, or of all cells
}

// Run searches until the problem is decided, or cannot be. It returns an error only if something could not be computed.
func (s *Search) Run(ctx context.Context) (Outcome, error) {
	s.start = time.Now()
	s.open = openCells{{Cell: s.Problem.Cell, margin: math.Inf(-1), share: 1}}
	s.rootBest = math.Inf(1)
	for len(s.open) > 0 {
		if err := ctx.Err(); err != nil {
			return s.Stopped(ctx), nil
		}
		if s.Cells > 0 && s.Bounded >= s.Cells {
			return s.unknown(fmt.Sprintf("%d boxes were bounded, as many as allowed, and %d are left", s.Bounded, len(s.open))), nil
		}
		if len(s.open)*2*len(s.Problem.Cell.Lower) > maxOpenNumbers {
			return s.unknown(fmt.Sprintf("%d boxes are waiting, as many as the memory may hold", len(s.open))), nil
		}
		var batch []openCell
		for len(batch) < s.Batch && len(s.open) > 0 {
			batch = append(batch, heap.Pop(&s.open).(openCell))
		}
		x, y, err := s.step(ctx, batch)
		if err != nil {
			if ctx.Err() != nil {
				for _, c := range batch {
					heap.Push(&s.open, c)
				}
				return s.Stopped(ctx), nil
			}
			return Outcome{}, err
		}
		if x != nil {
			return Outcome{X: x, Y: y, Bound: s.least()}, nil
		}
		s.Tell(ctx, false)
	}
	s.Tell(ctx, true)
	if s.stuck != nil {
		return s.unknown(fmt.Sprintf("near the input %v the margin is smaller than what rounding may change", Shortened(s.stuck.Centre()))), nil
	}
	return Outcome{Bound: s.rootBest}, nil
}

// step bounds cells, and splits those that are left. It returns a counterexample, if it comes across one.
func (s *Search) step(ctx context.Context, batch []openCell) (x, y []float64, err error) {
	p := s.Problem
	cells := make([]Cell, len(batch))
	for i, c := range batch {
		cells[i] = c.Cell
	}
	planes, rates, err := s.Bound(ctx, cells)
	if err != nil {
		return nil, nil, err
	}
	s.Bounded += len(batch)
	var left []openCell
	var slopes, sensitivity [][]float64
	var points [][]float64
	for i, c := range batch {
		margin := p.Margin(planes[i])
		if margin > 0 {
			s.Done += c.share
			s.rootBest = min(s.rootBest, margin)
			continue
		}
		smaller, some := p.contract(c.Cell, planes[i])
		if !some {
			s.Done += c.share
			s.rootBest = min(s.rootBest, 0)
			continue
		}
		left = append(left, openCell{smaller, margin, c.share})
		weight := p.weight(smaller, planes[i])
		slopes = append(slopes, weight)
		if rates != nil {
			for k := range rates[i] {
				rates[i][k] *= smaller.Upper[k] - smaller.Lower[k]
			}
			sensitivity = append(sensitivity, rates[i])
		}
		for _, point := range [][]float64{smaller.Centre(), p.lowest(smaller, planes[i])} {
			if point, ok := p.Admits(point); ok {
				points = append(points, point)
			}
		}
	}
	if len(left) == 0 {
		return nil, nil, nil
	}
	if x, y, err := s.unsafe(ctx, points); x != nil || err != nil {
		return x, y, err
	}
	if sensitivity == nil && s.Sensitivity != nil {
		cells = cells[:0]
		for _, c := range left {
			cells = append(cells, c.Cell)
		}
		if sensitivity, err = s.Sensitivity(ctx, cells); err != nil {
			return nil, nil, err
		}
	}
	for i, c := range left {
		score := normalised(slopes[i])
		if sensitivity != nil {
			for k, v := range normalised(sensitivity[i]) {
				score[k] += v
			}
		}
		for k := range score { // where nothing else tells them apart
			if width := p.Cell.Upper[k] - p.Cell.Lower[k]; width > 0 {
				score[k] += 1e-6 * (c.Upper[k] - c.Lower[k]) / width
			}
		}
		s.split(c, score)
	}
	return nil, nil, nil
}

// split halves a cell along the coordinate of the best score that can be halved.
func (s *Search) split(c openCell, score []float64) {
	best := -1
	for i := range score {
		if _, ok := middle(c.Lower[i], c.Upper[i]); ok && (best < 0 || score[i] > score[best]) {
			best = i
		}
	}
	if best < 0 {
		if s.stuck == nil || c.margin < s.stuck.margin {
			s.stuck = &c
		}
		return
	}
	low, high, _ := c.split(best)
	for _, half := range []Cell{low, high} {
		if s.Problem.outside(half) {
			s.Done += c.share / 2
			continue
		}
		heap.Push(&s.open, openCell{half, c.margin, c.share / 2})
	}
}

// unsafe returns the first of the given inputs whose output is unsafe.
func (s *Search) unsafe(ctx context.Context, points [][]float64) (x, y []float64, err error) {
	if len(points) == 0 {
		return nil, nil, nil
	}
	outputs, err := s.Outputs(ctx, points)
	if err != nil {
		return nil, nil, err
	}
	for i, y := range outputs {
		if s.Problem.IsUnsafe(y) {
			return points[i], y, nil
		}
	}
	return nil, nil, nil
}

// contract returns a cell that holds all inputs of c for which the planes allow an unsafe output, false if there is
// none.
func (p *Problem) contract(c Cell, planes []Plane) (Cell, bool) {
	var all Cell
	for _, conjunction := range p.Unsafe {
		part, some := c, true
		for range 2 {
			for _, r := range conjunction {
				if some {
					part, some = planes[r].contract(part, p.Limits[r])
				}
			}
		}
		switch {
		case !some:
		case all.Lower == nil:
			all = part
		default:
			all = all.hull(part)
		}
	}
	return all, all.Lower != nil
}

// weight returns for each coordinate how far the rows' planes move across the cell, summed over the rows that are not
// done.
func (p *Problem) weight(c Cell, planes []Plane) []float64 {
	w := make([]float64, len(c.Lower))
	counted := make([]bool, len(planes))
	for _, conjunction := range p.Unsafe {
		if p.Distance(planes, conjunction) > 0 {
			continue
		}
		for _, r := range conjunction {
			if counted[r] {
				continue
			}
			counted[r] = true
			for i, v := range planes[r].Slope {
				w[i] += math.Abs(v) * (c.Upper[i] - c.Lower[i])
			}
		}
	}
	return w
}

// lowest returns the corner of the cell where the conditions of the conjunction that is nearest to being met are met
// best, as far as their planes tell.
func (p *Problem) lowest(c Cell, planes []Plane) []float64 {
	x := c.Centre()
	var nearest []int
	least := math.Inf(1)
	for _, conjunction := range p.Unsafe {
		if d := p.Distance(planes, conjunction); d < least {
			nearest, least = conjunction, d
		}
	}
	for i := range x {
		slope := 0.
		for _, r := range nearest {
			if planes[r].Slope != nil {
				slope += planes[r].Slope[i]
			}
		}
		switch {
		case slope > 0:
			x[i] = c.Lower[i]
		case slope < 0:
			x[i] = c.Upper[i]
		}
	}
	return x
}

// normalised divides by the largest number. What is not finite becomes 0, as does what is below it.
func normalised(v []float64) []float64 {
	out := make([]float64, len(v))
	largest := 0.
	for _, x := range v {
		if x > largest && !math.IsInf(x, 1) {
			largest = x
		}
	}
	for i, x := range v {
		if largest > 0 && x > 0 && !math.IsInf(x, 1) {
			out[i] = x / largest
		}
	}
	return out
}

func (s *Search) least() float64 {
	least := math.Inf(1)
	if len(s.open) > 0 {
		least = s.open[0].margin // of a heap
	}
	if s.stuck != nil {
		least = min(least, s.stuck.margin)
	}
	return least
}

func (s *Search) unknown(reason string) Outcome { return Outcome{Reason: reason, Bound: s.least()} }

func (s *Search) Stopped(ctx context.Context) Outcome { return s.standing().Interrupted(ctx) }

func (s *Search) standing() Standing {
	return Standing{Of: "boxes", Bounded: s.Bounded, Left: len(s.open), Done: s.Done, Bound: s.least()}
}

// beat is how often progress is told at most.
const beat = time.Second

func (s *Search) Tell(ctx context.Context, last bool) {
	now := s.standing()
	s.Note(now)
	s.report(ctx, now, last)
}

// Note notes how far the search is.
func (s *Search) Note(now Standing) {
	if s.Found != nil {
		s.Found.Note(now)
	}
}

// report tells progress, if it is time to.
func (s *Search) report(ctx context.Context, now Standing, last bool) {
	if !last && time.Since(s.told) < beat {
		return
	}
	s.told = time.Now()
	if s.Found != nil {
		s.Found.Tell(ctx, now, time.Since(s.start))
	}
}

// Shortened writes the beginning of a list of numbers.
func Shortened(x []float64) string {
	if len(x) > 8 {
		return fmt.Sprintf("%.6g… (%d numbers)", x[:8], len(x))
	}
	return fmt.Sprintf("%.6g", x)
}
