package certify

import (
	"context"
	"fmt"
	"math"
)

// settling bounds a problem as a whole by graphs, ever more closely.
type settling struct {
	o       Options
	run     *run
	problem *problem
	items   []item // the problem's rows
	known   map[int]*span
	results []result
}

// settle bounds a problem as a whole, ever more closely, and then searches.
func (o Options) settle(ctx context.Context, n *Network, s *search) (outcome, error) {
	p := s.problem
	regions := regionsOf(p, []cell{p.cell})
	if o.Method.rounding != RealArithmetic {
		regions = regions.outward()
	}
	r := n.begin(ctx, o.Method, regions, 1)
	r.enough = p.limits
	defer r.close()
	t := &settling{o: o, run: r, problem: p, known: map[int]*span{}}
	for i, row := range p.rows {
		t.items = append(t.items, item{row: row, place: i})
	}
	planes, best := make([]plane, len(p.rows)), math.Inf(-1)
	steps := []func() error{t.crown, t.intervals}
	tooLarge := n.fits(true)
	if tooLarge == nil {
		steps = append(steps, t.slopes, t.tunedIntervals)
	}
	for _, closer := range steps {
		err := closer()
		if err != nil && ctx.Err() == nil {
			return outcome{}, err
		}
		if err != nil {
			out := s.stopped(ctx)
			out.bound = best
			return out, nil
		}
		s.bounded = 1
		for i := range planes {
			planes[i].lower = t.results[i].lower
		}
		if best = max(best, p.margin(planes)); best > 0 {
			return outcome{bound: best}, nil
		}
		s.note(standing{of: "branches", bounded: s.bounded, left: len(p.unsafe), bound: best})
	}
	if tooLarge != nil {
		return outcome{bound: best, reason: fmt.Sprintf("the bounds leave it open, and there is no memory to tune them: %v", tooLarge)}, nil
	}
	splitter := newGraphSplitter(r, p)
	if len(splitter.relus) == 0 {
		return outcome{bound: best, reason: fmt.Sprintf("the bounds leave it open, and with %d inputs it is split by the signs of ReLUs, of which it has none", len(p.cell.lower))}, nil
	}
	var margins []float64
	for _, conjunction := range p.unsafe {
		margins = append(margins, p.distance(planes, conjunction))
	}
	return (&splitting{search: s, splitter: splitter, margins: margins}).run(ctx)
}

// crown bounds the rows as the method does, without tuning.
func (t *settling) crown() (err error) {
	if err = t.run.intervals(t.known); err == nil {
		t.results, err = t.run.back(outputs, t.items)
	}
	return err
}

// intervals takes bounds by IBP where they are better, for example without any ReLU.
func (t *settling) intervals() error {
	p := t.problem
	a, err := t.run.n.bound(t.run.ctx, Query{Regions: regionsOf(p, []cell{p.cell}), Rows: [][][]float64{p.rows}}, IBP.In(t.o.Method.rounding))
	if err != nil {
		return err
	}
	for i, v := range a.Lower[0] {
		t.results[i].lower = max(t.results[i].lower, v)
	}
	return nil
}

// slopes tunes those of each row.
func (t *settling) slopes() error {
	return t.run.ascend(outputs, t.items, t.results, t.o.Method.alpha.filled().Iterations)
}

// tunedIntervals tunes the intervals of boundaries too, and each row over them.
func (t *settling) tunedIntervals() error {
	alpha := t.o.Method.alpha.filled()
	if t.o.Method.kind != crown || alpha.Intervals < 0 {
		return nil
	}
	if err := t.run.tuneIntervals(t.known, alpha.Intervals); err != nil {
		return err
	}
	return t.slopes()
}
