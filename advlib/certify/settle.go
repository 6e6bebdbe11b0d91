package certify

import (
	"context"
	"fmt"
	"math"

	"advlab/advlib/certify/internal/search"
)

// settling bounds a problem as a whole by graphs, ever more closely.
type settling struct {
	o       Options
	run     *run
	problem *search.Problem
	items   []item // the problem's rows
	known   map[int]*span
	results []result
}

// settle bounds a problem as a whole, ever more closely, and then searches.
func (o Options) settle(ctx context.Context, n *Network, s *search.Search) (search.Outcome, error) {
	p := s.Problem
	regions := regionsOf(p, []search.Cell{p.Cell})
	if o.Method.rounding != RealArithmetic {
		regions = regions.outward()
	}
	r := n.begin(ctx, o.Method, regions, 1)
	r.enough = p.Limits
	defer r.close()
	t := &settling{o: o, run: r, problem: p, known: map[int]*span{}}
	for i, row := range p.Rows {
		t.items = append(t.items, item{row: row, place: i})
	}
	planes, best := make([]search.Plane, len(p.Rows)), math.Inf(-1)
	steps := []func() error{t.crown, t.intervals}
	tooLarge := n.fits(true)
	if tooLarge == nil {
		steps = append(steps, t.slopes, t.tunedIntervals)
	}
	for _, closer := range steps {
		err := closer()
		if err != nil && ctx.Err() == nil {
			return search.Outcome{}, err
		}
		if err != nil {
			out := s.Stopped(ctx)
			out.Bound = best
			return out, nil
		}
		s.Bounded = 1
		for i := range planes {
			planes[i].Lower = t.results[i].lower
		}
		if best = max(best, p.Margin(planes)); best > 0 {
			return search.Outcome{Bound: best}, nil
		}
		s.Note(search.Standing{Of: "branches", Bounded: s.Bounded, Left: len(p.Unsafe), Bound: best})
	}
	if tooLarge != nil {
		return search.Outcome{Bound: best, Reason: fmt.Sprintf("the bounds leave it open, and there is no memory to tune them: %v",
			tooLarge)}, nil
	}
	splitter := newGraphSplitter(r, p)
	if len(splitter.relus) == 0 {
		return search.Outcome{Bound: best,
			Reason: fmt.Sprintf("the bounds leave it open, and with %d inputs it is split by the signs of ReLUs, of which it has none",
				len(p.Cell.Lower))}, nil
	}
	var margins []float64
	for _, conjunction := range p.Unsafe {
		margins = append(margins, p.Distance(planes, conjunction))
	}
	return (&search.Splitting{Search: s, Splitter: splitter, Margins: margins}).Run(ctx)
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
	a, err := t.run.n.bound(t.run.ctx, Query{Regions: regionsOf(p, []search.Cell{p.Cell}), Rows: [][][]float64{p.Rows}},
		IBP.In(t.o.Method.rounding))
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
