package search

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

// toy is y = Σ|x_i − centre| over a box: bounds are exact on each side of the centre, and 0 on cells that hold it, less
// a gap.
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
func (f *toy) bound(_ context.Context, cells []Cell) ([][]Plane, [][]float64, error) {
	var all [][]Plane
	for _, c := range cells {
		f.bounded++
		slope := make([]float64, len(c.Lower))
		lower := -f.gap
		for i := range slope {
			switch {
			case c.Lower[i] >= f.centre:
				slope[i], lower = 1, lower+c.Lower[i]-f.centre
			case c.Upper[i] <= f.centre:
				slope[i], lower = -1, lower+f.centre-c.Upper[i]
			}
		}
		all = append(all, []Plane{NewPlane(c, lower, slope)})
	}
	return all, nil, nil
}

func (f *toy) search(limit float64, lower, upper []float64) *Search {
	return &Search{
		Problem: &Problem{
			Cell: Cell{lower, upper}, Rows: [][]float64{{1}}, Limits: []float64{limit}, Unsafe: [][]int{{0}},
			IsUnsafe: func(y []float64) bool { return y[0] <= limit },
			Admits:   func(x []float64) ([]float64, bool) { return x, true },
		},
		Bound: f.bound,
		Outputs: func(_ context.Context, x [][]float64) (y [][]float64, err error) {
			for _, x := range x {
				y = append(y, []float64{f.at(x)})
			}
			return y, nil
		},
		Batch: 16,
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
		s.Cells = 100000
		out, err := s.Run(t.Context())
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if verified := out.X == nil && out.Reason == ""; verified != tc.verify {
			t.Errorf("%s: %+v after %d cells", tc.name, out, s.Bounded)
		}
		if tc.verify && (math.Abs(s.Done-1) > 1e-9 || out.Bound < 0) {
			t.Errorf("%s: %g of the volume is done, the margin %g", tc.name, s.Done, out.Bound)
		}
		if !tc.verify && tc.f.at(out.X) > tc.limit {
			t.Errorf("%s: %v is no counterexample", tc.name, out.X)
		}
	}
}

// TestSearchGivesUp: what cannot be decided is unknown, and says why.
func TestSearchGivesUp(t *testing.T) {
	lower, upper := []float64{-1}, []float64{1}
	run := func(f toy, limit float64, change func(s *Search)) Outcome {
		t.Helper()
		s := f.search(limit, lower, upper)
		change(s)
		out, err := s.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if out.X != nil {
			t.Fatalf("a counterexample: %v", out.X)
		}
		return out
	}
	// A gap that does not shrink, as of rounding.
	out := run(toy{centre: third, gap: 0.1}, -0.1+1e-7, func(*Search) {})
	if !strings.Contains(out.Reason, "rounding") || !strings.Contains(out.Reason, "0.3") || out.Late || math.Abs(out.Bound+1e-7) > 1e-12 {
		t.Errorf("rounding: %+v", out)
	}
	out = run(toy{centre: third, gap: 0.1}, -0.05, func(s *Search) { s.Cells = 5 })
	if !strings.Contains(out.Reason, "as many as allowed") || out.Late {
		t.Errorf("5 cells: %+v", out)
	}
	for _, v := range []float64{math.NaN(), math.Inf(-1)} {
		out = run(toy{centre: third}, -1, func(s *Search) {
			s.Cells = 200
			s.Bound = func(_ context.Context, cells []Cell) (planes [][]Plane, _ [][]float64, _ error) {
				for _, c := range cells {
					planes = append(planes, []Plane{NewPlane(c, v, []float64{v})})
				}
				return planes, nil, nil
			}
		})
		if out.Reason == "" || !math.IsInf(out.Bound, -1) {
			t.Errorf("bounds of %g: %+v", v, out)
		}
	}
	out = run(toy{centre: third}, -1, func(s *Search) {
		s.Problem.IsUnsafe = func([]float64) bool { return false }
		s.Problem.Unsafe = [][]int{{}}
		s.Cells = 50
	})
	if out.Reason == "" {
		t.Errorf("a conjunction of nothing is met by everything: %+v", out)
	}
}

// TestSearchStops: deadlines and cancelling give what is known so far; an error is an error.
func TestSearchStops(t *testing.T) {
	f := toy{centre: third, gap: 0.1}
	s := f.search(-0.05, []float64{-1, -1}, []float64{1, 1})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	out, err := s.Run(ctx)
	if err != nil || !out.Late || !strings.Contains(out.Reason, "time is up") || s.Bounded == 0 {
		t.Errorf("%+v, %v", out, err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	s = f.search(-0.05, []float64{-1, -1}, []float64{1, 1})
	bound := s.Bound
	s.Bound = func(ctx context.Context, cells []Cell) ([][]Plane, [][]float64, error) {
		if f.bounded > 1000 {
			cancel()
			return nil, nil, ctx.Err()
		}
		return bound(ctx, cells)
	}
	f.bounded = 0
	if out, err := s.Run(ctx); err != nil || out.Late || !strings.Contains(out.Reason, "interrupted") || len(s.open) == 0 {
		t.Errorf("%+v, %v", out, err)
	}
	broken := errors.New("broken")
	s = f.search(-0.05, []float64{-1, -1}, []float64{1, 1})
	s.Bound = func(context.Context, []Cell) ([][]Plane, [][]float64, error) { return nil, nil, broken }
	if out, err := s.Run(t.Context()); !errors.Is(err, broken) {
		t.Errorf("%+v, %v", out, err)
	}
	s = f.search(-0.05, []float64{-1, -1}, []float64{1, 1})
	s.Outputs = func(context.Context, [][]float64) ([][]float64, error) { return nil, broken }
	if out, err := s.Run(t.Context()); !errors.Is(err, broken) {
		t.Errorf("%+v, %v", out, err)
	}
}

// TestAlternatives: each of several conjunctions must be impossible, and of each one condition is enough.
func TestAlternatives(t *testing.T) {
	p := &Problem{Limits: []float64{0, 0, 0}, Unsafe: [][]int{{0, 1}, {2}}}
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
		var planes []Plane
		for _, v := range tc.lower {
			planes = append(planes, Plane{Lower: v})
		}
		if got := p.Margin(planes); got != tc.want {
			t.Errorf("%v: margin %g, want %g", tc.lower, got, tc.want)
		}
	}
}
