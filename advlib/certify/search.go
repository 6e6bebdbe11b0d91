package certify

import (
	"container/heap"
	"context"
	"fmt"
	"math"
	"time"
)

// search is branch and bound over cells of inputs: a cell is done when no conjunction can be met in it, and split
// otherwise. Its functions work on batches.
type search struct {
	problem *problem
	// bound returns for each cell a plane for each row of the problem, and, if that comes with it, for each coordinate how fast
	// the bounds get worse with the cell's width there, up to a factor; else nil.
	bound func(ctx context.Context, cells []cell) (planes [][]plane, rates [][]float64, err error)
	// sensitivity is asked if bound returns no rates: for each cell how much better the bounds, by intervals alone, would be
	// if coordinate i were known. It is nil if that would cost too much.
	sensitivity func(ctx context.Context, cells []cell) ([][]float64, error)
	// outputs computes the deployed model.
	outputs func(ctx context.Context, x [][]float64) ([][]float64, error)
	// batch is the most cells that are bounded at once, cells the most that are bounded at all.
	batch, cells int
	// found takes notes; it may be nil.
	found recorder

	open     openCells
	bounded  int
	done     float64 // share of the volume
	start    time.Time
	stuck    *openCell // a cell that is too small to be split
	told     time.Time
	rootBest float64
}

// openCell waits to be bounded.
type openCell struct {
	cell
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

// outcome is how a search ended: with a counterexample x and its outputs y, or with a reason why nothing is known, or
// with neither, when nothing unsafe is left.
type outcome struct {
	x, y   []float64
	reason string
	late   bool    // the reason is the context's deadline
	bound  float64 // the least margin of what is left, or of all cells
}

// run searches until the problem is decided, or cannot be. It returns an error only if something could not be computed.
func (s *search) run(ctx context.Context) (outcome, error) {
	s.start = time.Now()
	s.open = openCells{{cell: s.problem.cell, margin: math.Inf(-1), share: 1}}
	s.rootBest = math.Inf(1)
	for len(s.open) > 0 {
		if err := ctx.Err(); err != nil {
			return s.stopped(ctx), nil
		}
		if s.cells > 0 && s.bounded >= s.cells {
			return s.unknown(fmt.Sprintf("%d boxes were bounded, as many as allowed, and %d are left", s.bounded, len(s.open))), nil
		}
		if len(s.open)*2*len(s.problem.cell.lower) > maxOpenNumbers {
			return s.unknown(fmt.Sprintf("%d boxes are waiting, as many as the memory may hold", len(s.open))), nil
		}
		var batch []openCell
		for len(batch) < s.batch && len(s.open) > 0 {
			batch = append(batch, heap.Pop(&s.open).(openCell))
		}
		x, y, err := s.step(ctx, batch)
		if err != nil {
			if ctx.Err() != nil {
				for _, c := range batch {
					heap.Push(&s.open, c)
				}
				return s.stopped(ctx), nil
			}
			return outcome{}, err
		}
		if x != nil {
			return outcome{x: x, y: y, bound: s.least()}, nil
		}
		s.tell(ctx, false)
	}
	s.tell(ctx, true)
	if s.stuck != nil {
		return s.unknown(fmt.Sprintf("near the input %v the margin is smaller than what rounding may change", shortened(s.stuck.centre()))), nil
	}
	return outcome{bound: s.rootBest}, nil
}

// step bounds cells, and splits those that are left. It returns a counterexample, if it comes across one.
func (s *search) step(ctx context.Context, batch []openCell) (x, y []float64, err error) {
	p := s.problem
	cells := make([]cell, len(batch))
	for i, c := range batch {
		cells[i] = c.cell
	}
	planes, rates, err := s.bound(ctx, cells)
	if err != nil {
		return nil, nil, err
	}
	s.bounded += len(batch)
	var left []openCell
	var slopes, sensitivity [][]float64
	var points [][]float64
	for i, c := range batch {
		margin := p.margin(planes[i])
		if margin > 0 {
			s.done += c.share
			s.rootBest = min(s.rootBest, margin)
			continue
		}
		smaller, some := p.contract(c.cell, planes[i])
		if !some {
			s.done += c.share
			s.rootBest = min(s.rootBest, 0)
			continue
		}
		left = append(left, openCell{smaller, margin, c.share})
		weight := p.weight(smaller, planes[i])
		slopes = append(slopes, weight)
		if rates != nil {
			for k := range rates[i] {
				rates[i][k] *= smaller.upper[k] - smaller.lower[k]
			}
			sensitivity = append(sensitivity, rates[i])
		}
		for _, point := range [][]float64{smaller.centre(), p.lowest(smaller, planes[i])} {
			if point, ok := p.admits(point); ok {
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
	if sensitivity == nil && s.sensitivity != nil {
		cells = cells[:0]
		for _, c := range left {
			cells = append(cells, c.cell)
		}
		if sensitivity, err = s.sensitivity(ctx, cells); err != nil {
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
			if width := p.cell.upper[k] - p.cell.lower[k]; width > 0 {
				score[k] += 1e-6 * (c.upper[k] - c.lower[k]) / width
			}
		}
		s.split(c, score)
	}
	return nil, nil, nil
}

// split halves a cell along the coordinate of the best score that can be halved.
func (s *search) split(c openCell, score []float64) {
	best := -1
	for i := range score {
		if _, ok := middle(c.lower[i], c.upper[i]); ok && (best < 0 || score[i] > score[best]) {
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
	for _, half := range []cell{low, high} {
		if s.problem.outside(half) {
			s.done += c.share / 2
			continue
		}
		heap.Push(&s.open, openCell{half, c.margin, c.share / 2})
	}
}

// unsafe returns the first of the given inputs whose output is unsafe.
func (s *search) unsafe(ctx context.Context, points [][]float64) (x, y []float64, err error) {
	if len(points) == 0 {
		return nil, nil, nil
	}
	outputs, err := s.outputs(ctx, points)
	if err != nil {
		return nil, nil, err
	}
	for i, y := range outputs {
		if s.problem.is(y) {
			return points[i], y, nil
		}
	}
	return nil, nil, nil
}

// contract returns a cell that holds all inputs of c for which the planes allow an unsafe output, false if there is none.
func (p *problem) contract(c cell, planes []plane) (cell, bool) {
	var all cell
	for _, conjunction := range p.unsafe {
		part, some := c, true
		for range 2 {
			for _, r := range conjunction {
				if some {
					part, some = planes[r].contract(part, p.limits[r])
				}
			}
		}
		switch {
		case !some:
		case all.lower == nil:
			all = part
		default:
			all = all.hull(part)
		}
	}
	return all, all.lower != nil
}

// weight returns for each coordinate how far the rows' planes move across the cell, summed over the rows that are not done.
func (p *problem) weight(c cell, planes []plane) []float64 {
	w := make([]float64, len(c.lower))
	counted := make([]bool, len(planes))
	for _, conjunction := range p.unsafe {
		if p.distance(planes, conjunction) > 0 {
			continue
		}
		for _, r := range conjunction {
			if counted[r] {
				continue
			}
			counted[r] = true
			for i, v := range planes[r].slope {
				w[i] += math.Abs(v) * (c.upper[i] - c.lower[i])
			}
		}
	}
	return w
}

// lowest returns the corner of the cell where the conditions of the conjunction that is nearest to being met are met best,
// as far as their planes tell.
func (p *problem) lowest(c cell, planes []plane) []float64 {
	x := c.centre()
	var nearest []int
	least := math.Inf(1)
	for _, conjunction := range p.unsafe {
		if d := p.distance(planes, conjunction); d < least {
			nearest, least = conjunction, d
		}
	}
	for i := range x {
		slope := 0.
		for _, r := range nearest {
			if planes[r].slope != nil {
				slope += planes[r].slope[i]
			}
		}
		switch {
		case slope > 0:
			x[i] = c.lower[i]
		case slope < 0:
			x[i] = c.upper[i]
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

func (s *search) least() float64 {
	least := math.Inf(1)
	if len(s.open) > 0 {
		least = s.open[0].margin // of a heap
	}
	if s.stuck != nil {
		least = min(least, s.stuck.margin)
	}
	return least
}

func (s *search) unknown(reason string) outcome { return outcome{reason: reason, bound: s.least()} }

func (s *search) stopped(ctx context.Context) outcome { return s.standing().interrupted(ctx) }

func (s *search) standing() standing {
	return standing{of: "boxes", bounded: s.bounded, left: len(s.open), done: s.done, bound: s.least()}
}

// beat is how often progress is told at most.
const beat = time.Second

func (s *search) tell(ctx context.Context, last bool) {
	now := s.standing()
	s.note(now)
	s.report(ctx, now, last)
}

// note notes how far the search is.
func (s *search) note(now standing) {
	if s.found != nil {
		s.found.note(now)
	}
}

// report tells progress, if it is time to.
func (s *search) report(ctx context.Context, now standing, last bool) {
	if !last && time.Since(s.told) < beat {
		return
	}
	s.told = time.Now()
	if s.found != nil {
		s.found.tell(ctx, now, time.Since(s.start))
	}
}

// shortened writes the beginning of a list of numbers.
func shortened(x []float64) string {
	if len(x) > 8 {
		return fmt.Sprintf("%.6g… (%d numbers)", x[:8], len(x))
	}
	return fmt.Sprintf("%.6g", x)
}
