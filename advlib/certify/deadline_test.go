package certify

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/certify/internal/chain"
	"advlab/advlib/certify/internal/propagate"
	"advlab/advlib/certify/internal/search"
)

// slack is what a busy machine may add to a deadline in these tests, and forever is far more than that.
const (
	slack   = 4 * time.Second
	forever = 15 * time.Second
)

// blocked is a model whose graph, in float64 as bounds need it, is not built before it is released: as if it took long
// to compile. waiting counts the goroutines that are at it.
func blocked(s Source) (_ Source, waiting *atomic.Int64, release func()) {
	gate := make(chan struct{})
	waiting = new(atomic.Int64)
	graph := s.Graph
	s.Graph = func(scope *model.Scope, x *Node) *Node {
		if x.DType() == dtypes.Float64 {
			waiting.Add(1)
			defer waiting.Add(-1)
			select {
			case <-gate:
			case <-time.After(forever):
			}
		}
		return graph(scope, x)
	}
	return s, waiting, sync.OnceFunc(func() { close(gate) })
}

const (
	square     = "(assert (and (<= X_0 1) (>= X_0 -1) (<= X_1 0.5) (>= X_1 -0.5)))"
	impossible = square + "(assert (>= Y_0 1.6))" // of |x₀| + |x₁|
	possible   = square + "(assert (>= Y_0 0.8))"
)

// TestVerifyLeavesInTime: a graph that is being built or compiled at the deadline is left behind, and so is it when a
// counterexample has been found, which is never lost.
func TestVerifyLeavesInTime(t *testing.T) {
	for _, tc := range []struct {
		name, conditions string
		limit            time.Duration
		want             advlib.Status
		cancel           bool
	}{
		{"the deadline comes before bounds", impossible, 300 * time.Millisecond, advlib.Unknown, false},
		{"cancelled before bounds", impossible, time.Hour, advlib.Unknown, true},
		{"a counterexample is found while there are no bounds", possible, time.Hour, advlib.Falsified, false},
		{"the deadline comes between finding and proving", possible, 200 * time.Millisecond, advlib.Falsified, false},
	} {
		s, _, release := blocked(absolute(2).source(goBackend(t), false))
		ctx, cancel := context.WithCancel(t.Context())
		if tc.cancel {
			time.AfterFunc(300*time.Millisecond, cancel)
		}
		start := time.Now()
		v, err := VerifyProperty(ctx, Question{s, property(t, 2, tc.conditions)}, Options{Timeout: tc.limit})
		elapsed := time.Since(start)
		cancel()
		release()
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if v.Status != tc.want || v.TimedOut != (tc.want == advlib.Unknown && !tc.cancel) || v.AnyOrder || v.Elapsed > elapsed {
			t.Errorf("%s: %+v", tc.name, v)
		}
		if tc.want == advlib.Unknown && !strings.Contains(v.Reason, "before anything was bounded") {
			t.Errorf("%s: %s", tc.name, v.Reason)
		}
		if elapsed > slack {
			t.Errorf("%s: it took %v", tc.name, elapsed)
		}
	}
}

// TestAbandoned: computations that nobody waits for any more are few, however often it is asked, and end; what one has
// compiled is there for the next call.
func TestAbandoned(t *testing.T) {
	s, waiting, release := blocked(absolute(2).source(goBackend(t), false))
	c, err := advlib.NewClassifier(advlib.Spec{Name: "slow", Logits: s.Graph, Store: s.Store, Input: s.Input, Box: advlib.Box{Lo: -1, Hi: 1},
		Backend: s.Backend})
	if err != nil {
		t.Fatal(err)
	}
	e, err := advlib.NewExamples("six", []float32{0.75, -0.5, 0.5, -0.25, 0.75, -0.25, 0.7, -0.5, 0.5, -0.3, 0.6, -0.25}, []int{2},
		make([]int32, 6))
	if err != nil {
		t.Fatal(err)
	}
	ball := advlib.Linf.Ball(0.1)
	start := time.Now()
	v, err := Verify(t.Context(), c, e, ball, Options{Timeout: 100 * time.Millisecond})
	if err != nil || v.Count(advlib.Unknown) != 6 {
		t.Errorf("%v, %v", v, err)
	}
	for range 10 {
		v, err := VerifyProperty(t.Context(), Question{s, property(t, 2, impossible)}, Options{Timeout: 50 * time.Millisecond})
		if err != nil || v.Status != advlib.Unknown || !v.TimedOut {
			t.Errorf("%v, %v", v, err)
		}
	}
	if elapsed := time.Since(start); elapsed > 2*slack {
		t.Errorf("16 questions took %v", elapsed)
	}
	if n := waiting.Load(); n == 0 || n > maxAbandoned+1 {
		t.Errorf("%d computations go on", n)
	}
	release()
	for deadline := time.Now().Add(slack); len(abandoned) > 0 || waiting.Load() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d computations do not end", len(abandoned))
		}
	}
	if v, err := Verify(t.Context(), c, e, ball, Options{}); err != nil || v.Count(advlib.Verified) != 6 {
		t.Errorf("%v, %v", v, err)
	}
}

// TestInTime: what a computation returns, tells, and panics with comes to whoever waits for it, in its own goroutine.
func TestInTime(t *testing.T) {
	broken := errors.New("broken")
	var told []int // without a lock: the race detector would see another goroutine
	o := Options{OnProgress: func(p advlib.Progress) { told = append(told, p.Done) }}
	v, err := o.inTime(t.Context(), func(ctx context.Context, f *findings) (*Decision, error) {
		f.Tell(ctx, search.Standing{Bounded: 1}, 0)
		f.Tell(ctx, search.Standing{Bounded: 2}, 0)
		return &Decision{Status: advlib.Verified}, nil
	})
	if err != nil || v.Status != advlib.Verified || len(told) != 2 || told[1] != 2 {
		t.Errorf("%v, %v, %v", v, err, told)
	}
	if _, err := o.inTime(t.Context(), func(context.Context, *findings) (*Decision, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	panicked := propagate.Catch(func() {
		_, _ = o.inTime(t.Context(), func(context.Context, *findings) (*Decision, error) { panic("a mistake") })
	})
	if panicked == nil || !strings.Contains(panicked.Error(), "a mistake") || !strings.Contains(panicked.Error(), "deadline_test.go") {
		t.Errorf("%v", panicked)
	}
	// A counterexample waits for a deeper one, but not long; what is known of the volume is told with the deadline.
	v, err = o.inTime(t.Context(), func(ctx context.Context, f *findings) (*Decision, error) {
		f.counterexample(&Decision{Status: advlib.Falsified, Outputs: []float64{1}})
		f.counterexample(&Decision{Status: advlib.Falsified, Outputs: []float64{2}})
		<-ctx.Done()
		return nil, ctx.Err()
	})
	if err != nil || v.Status != advlib.Falsified || v.Outputs[0] != 2 {
		t.Errorf("%v, %v", v, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	v, err = o.inTime(ctx, func(ctx context.Context, f *findings) (*Decision, error) {
		f.Note(search.Standing{Of: "boxes", Bounded: 7, Left: 3, Done: 0.5, Bound: -2})
		<-ctx.Done()
		return nil, ctx.Err()
	})
	if err != nil || v.Status != advlib.Unknown || !v.TimedOut || v.Bound != -2 || v.Cells != 7 ||
		!strings.Contains(v.Reason, "7 boxes were bounded, 3 are left, nothing unsafe is in 50 %") {
		t.Errorf("%v, %v", v, err)
	}
}

// TestProgressOfAllExamples: each example is a part of the whole, whose share never falls and ends at 1.
func TestProgressOfAllExamples(t *testing.T) {
	s := absolute(2).source(goBackend(t), false)
	c, err := advlib.NewClassifier(advlib.Spec{
		Name: "absolute", Logits: s.Graph, Store: s.Store, Input: s.Input, Box: advlib.Box{Lo: -1, Hi: 1}, Backend: s.Backend,
	})
	if err != nil {
		t.Fatal(err)
	}
	e, err := advlib.NewExamples("three", []float32{0.75, -0.5, 0.5, -0.25, 0.75, -0.25}, []int{2}, make([]int32, 3))
	if err != nil {
		t.Fatal(err)
	}
	share, parts := 0., map[int]bool{}
	_, err = Verify(t.Context(), c, e, advlib.Linf.Ball(0.1), Options{Starts: -1, OnProgress: func(p advlib.Progress) {
		if p.Parts != 3 || p.Share < share || p.Done > p.Total || p.Left() != "" || !strings.HasPrefix(p.What, "branch and bound, margin ≥ ") {
			t.Errorf("after %g: %+v", share, p)
		}
		share, parts[p.Part] = p.Share, true
	}})
	if err != nil || share != 1 || len(parts) != 3 {
		t.Errorf("%v, the share is %g, parts %v", err, share, parts)
	}
}

// TestChainStops: a pass over a chain ends inside of a box, and of a branch, once nobody waits for it.
func TestChainStops(t *testing.T) {
	net := random32(rand.New(rand.NewPCG(71, 72)), 1, 8, 64, 64, 2)
	_, c := mustChain(t, net.source(goBackend(t), false), Float32AnyOrder)
	box := search.Cell{Lower: make([]float64, 8), Upper: make([]float64, 8)}
	for i := range box.Upper {
		box.Upper[i] = 1
	}
	rows := [][]float64{{1, -1}}
	for _, ctx := range []context.Context{t.Context(), canceled()} {
		p := c.NewPass()
		p.Context = ctx
		goes := ctx.Err() == nil
		p.Cell = box
		if k0, k1 := p.Interval(0), p.Interval(1); !k0 || k1 != goes || len(p.Open) == 0 {
			t.Errorf("cancelled: %v; layer 0 is bounded: %v, layer 1: %v, with %d neurons open", !goes, k0, k1, len(p.Open))
		}
		if res := p.Run(box, rows)[0]; math.IsInf(res.Lower, -1) == goes {
			t.Errorf("cancelled: %v; the bound is %g", !goes, res.Lower)
		}
		problem := &search.Problem{Cell: box, Rows: rows, Limits: []float64{1e6}, Unsafe: [][]int{{0}}}
		judged, err := chain.NewSplitter(c, problem).Judge(ctx, []*search.Branch{{Cell: box}})
		if (err == nil) != goes || (len(judged) == 1 && len(judged[0].Children) == 2) != goes {
			t.Errorf("cancelled: %v; %v, %+v", !goes, err, judged)
		}
	}
}
