package certify

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

// toy is y = Σ|x_i − centre| over a box: bounds are exact on each side of the centre, and 0 on cells that hold it, less a gap.
type toy struct {
	centre, gap float64
	bounded     int
}

func (f *toy) at(x []float64) float64 {
	sum := 0.
	for _, v := range x {
		sum += math.Abs(v - f.centre)
	}
	return sum
}

// bound bounds y from below, with slopes.
func (f *toy) bound(_ context.Context, cells []cell) ([][]plane, [][]float64, error) {
	var all [][]plane
	for _, c := range cells {
		f.bounded++
		slope := make([]float64, len(c.lower))
		lower := -f.gap
		for i := range slope {
			switch {
			case c.lower[i] >= f.centre:
				slope[i], lower = 1, lower+c.lower[i]-f.centre
			case c.upper[i] <= f.centre:
				slope[i], lower = -1, lower+f.centre-c.upper[i]
			}
		}
		all = append(all, []plane{newPlane(c, lower, slope)})
	}
	return all, nil, nil
}

func (f *toy) search(limit float64, lower, upper []float64) *search {
	return &search{
		problem: &problem{
			cell: cell{lower, upper}, rows: [][]float64{{1}}, limits: []float64{limit}, unsafe: [][]int{{0}},
			is:     func(y []float64) bool { return y[0] <= limit },
			admits: func(x []float64) ([]float64, bool) { return x, true },
		},
		bound: f.bound,
		outputs: func(_ context.Context, x [][]float64) (y [][]float64, err error) {
			for _, x := range x {
				y = append(y, []float64{f.at(x)})
			}
			return y, nil
		},
		batch: 16,
	}
}

// The centre is 0.3 rounded to float32, which no middle of a cell hits soon.
const third = float64(float32(0.3))

func TestSearch(t *testing.T) {
	lower, upper := []float64{-1, -1}, []float64{1, 1}
	for _, tc := range []struct {
		name   string
		f      toy
		limit  float64
		verify bool
	}{
		{"far", toy{centre: third}, -0.5, true},
		{"near", toy{centre: third}, -1e-6, true},
		{"a loose bound", toy{centre: third, gap: 0.1}, -0.2, true},
		{"touched", toy{centre: third}, 0, false},
		{"met", toy{centre: third, gap: 0.1}, 0.01, false},
	} {
		s := tc.f.search(tc.limit, lower, upper)
		s.cells = 100000
		out, err := s.run(t.Context())
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if verified := out.x == nil && out.reason == ""; verified != tc.verify {
			t.Errorf("%s: %+v after %d cells", tc.name, out, s.bounded)
		}
		if tc.verify && (math.Abs(s.done-1) > 1e-9 || out.bound < 0) {
			t.Errorf("%s: %g of the volume is done, the margin %g", tc.name, s.done, out.bound)
		}
		if !tc.verify && tc.f.at(out.x) > tc.limit {
			t.Errorf("%s: %v is no counterexample", tc.name, out.x)
		}
	}
}

// TestSearchGivesUp: what cannot be decided is unknown, and says why.
func TestSearchGivesUp(t *testing.T) {
	lower, upper := []float64{-1}, []float64{1}
	run := func(f toy, limit float64, change func(s *search)) outcome {
		t.Helper()
		s := f.search(limit, lower, upper)
		change(s)
		out, err := s.run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if out.x != nil {
			t.Fatalf("a counterexample: %v", out.x)
		}
		return out
	}
	// A gap that does not shrink, as of rounding.
	out := run(toy{centre: third, gap: 0.1}, -0.1+1e-7, func(*search) {})
	if !strings.Contains(out.reason, "rounding") || !strings.Contains(out.reason, "0.3") || out.late || math.Abs(out.bound+1e-7) > 1e-12 {
		t.Errorf("rounding: %+v", out)
	}
	out = run(toy{centre: third, gap: 0.1}, -0.05, func(s *search) { s.cells = 5 })
	if !strings.Contains(out.reason, "as many as allowed") || out.late {
		t.Errorf("5 cells: %+v", out)
	}
	for _, v := range []float64{math.NaN(), math.Inf(-1)} {
		out = run(toy{centre: third}, -1, func(s *search) {
			s.cells = 200
			s.bound = func(_ context.Context, cells []cell) (planes [][]plane, _ [][]float64, _ error) {
				for _, c := range cells {
					planes = append(planes, []plane{newPlane(c, v, []float64{v})})
				}
				return planes, nil, nil
			}
		})
		if out.reason == "" || !math.IsInf(out.bound, -1) {
			t.Errorf("bounds of %g: %+v", v, out)
		}
	}
	out = run(toy{centre: third}, -1, func(s *search) {
		s.problem.is = func([]float64) bool { return false }
		s.problem.unsafe = [][]int{{}}
		s.cells = 50
	})
	if out.reason == "" {
		t.Errorf("a conjunction of nothing is met by everything: %+v", out)
	}
}

// TestSearchStops: deadlines and cancelling give what is known so far; an error is an error.
func TestSearchStops(t *testing.T) {
	f := toy{centre: third, gap: 0.1}
	s := f.search(-0.05, []float64{-1, -1}, []float64{1, 1})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	out, err := s.run(ctx)
	if err != nil || !out.late || !strings.Contains(out.reason, "time is up") || s.bounded == 0 {
		t.Errorf("%+v, %v", out, err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	s = f.search(-0.05, []float64{-1, -1}, []float64{1, 1})
	bound := s.bound
	s.bound = func(ctx context.Context, cells []cell) ([][]plane, [][]float64, error) {
		if f.bounded > 1000 {
			cancel()
			return nil, nil, ctx.Err()
		}
		return bound(ctx, cells)
	}
	f.bounded = 0
	if out, err := s.run(ctx); err != nil || out.late || !strings.Contains(out.reason, "interrupted") || len(s.open) == 0 {
		t.Errorf("%+v, %v", out, err)
	}
	broken := errors.New("broken")
	s = f.search(-0.05, []float64{-1, -1}, []float64{1, 1})
	s.bound = func(context.Context, []cell) ([][]plane, [][]float64, error) { return nil, nil, broken }
	if out, err := s.run(t.Context()); !errors.Is(err, broken) {
		t.Errorf("%+v, %v", out, err)
	}
	s = f.search(-0.05, []float64{-1, -1}, []float64{1, 1})
	s.outputs = func(context.Context, [][]float64) ([][]float64, error) { return nil, broken }
	if out, err := s.run(t.Context()); !errors.Is(err, broken) {
		t.Errorf("%+v, %v", out, err)
	}
}

// TestAlternatives: each of several conjunctions must be impossible, and of each one condition is enough.
func TestAlternatives(t *testing.T) {
	p := &problem{limits: []float64{0, 0, 0}, unsafe: [][]int{{0, 1}, {2}}}
	for _, tc := range []struct {
		lower [3]float64
		want  float64
	}{
		{[3]float64{1, -5, 2}, 1},
		{[3]float64{-5, 1, 0.5}, 0.5},
		{[3]float64{1, 1, -1}, -1},
		{[3]float64{-2, -1, 3}, -1},
		{[3]float64{math.NaN(), -1, 3}, -1},
		{[3]float64{1, 1, math.NaN()}, math.Inf(-1)},
	} {
		var planes []plane
		for _, v := range tc.lower {
			planes = append(planes, plane{lower: v})
		}
		if got := p.margin(planes); got != tc.want {
			t.Errorf("%v: margin %g, want %g", tc.lower, got, tc.want)
		}
	}
}
