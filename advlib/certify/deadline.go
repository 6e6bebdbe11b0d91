package certify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"sync"
	"time"

	"advlab/advlib"
)

// A graph that is built, compiled or run cannot be interrupted, and XLA may compile for a minute. So a verdict is computed in a
// goroutine of its own, which notes what it has found so far. Whoever waits for it leaves at the deadline with that, and the goroutine
// ends when the computation that it is in does: its programs are kept for the next call, its verdict is dropped.

const (
	// orderly is how long past the deadline a computation may take to end by itself: what it says then is more exact.
	orderly = 50 * time.Millisecond
	// refinement is how long a counterexample may be kept back, for a proof that it is one in any order of summation, or for
	// another one that lies deeper.
	refinement = 300 * time.Millisecond
	// maxAbandoned is how many computations may go on that nobody waits for. With more, the next call waits for one to end.
	maxAbandoned = 4
)

// abandoned has an entry for each computation that goes on and nobody waits for.
var abandoned = make(chan struct{}, maxAbandoned)

// findings are what a computation has come to so far. A nil one takes no notes.
type findings struct {
	start    time.Time
	mu       sync.Mutex
	best     *Decision // a counterexample; what it points to does not change
	standing standing

	hit     chan struct{} // closed with the first counterexample
	updates chan advlib.Progress
}

// standing is how far a search is.
type standing struct {
	of            string // what it bounds: boxes or branches; empty before it begins
	bounded, left int
	done          float64 // share of the volume, of boxes
	bound         float64 // the least margin of what is left
}

// interrupted is the outcome of a search that ctx ended.
func (s standing) interrupted(ctx context.Context) outcome {
	out := outcome{bound: s.bound, late: errors.Is(ctx.Err(), context.DeadlineExceeded), reason: "interrupted"}
	if out.late {
		out.reason = "the time is up"
	}
	switch s.of {
	case "":
		out.bound = math.Inf(-1)
		out.reason += " before anything was bounded"
	case "boxes":
		out.reason += fmt.Sprintf(": %d boxes were bounded, %d are left, nothing unsafe is in %.3g %% of the volume", s.bounded, s.left, 100*s.done)
	default:
		out.reason += fmt.Sprintf(": %d %s were bounded, %d are left", s.bounded, s.of, s.left)
	}
	return out
}

func (f *findings) note(s standing) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.standing = s
}

// counterexample notes one; the next replaces it.
func (f *findings) counterexample(v *Decision) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.best == nil {
		close(f.hit)
		v.Found = time.Since(f.start)
	} else {
		v.Found = f.best.Found
	}
	f.best = v
}

// tell hands progress to whoever waits.
func (f *findings) tell(ctx context.Context, p advlib.Progress) {
	if f == nil {
		return
	}
	select {
	case f.updates <- p:
	case <-ctx.Done():
	}
}

// verdict is what is known when ctx ends.
func (f *findings) verdict(ctx context.Context, r Rounding) *Decision {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.best != nil {
		best := *f.best
		return &best
	}
	out := f.standing.interrupted(ctx)
	return &Decision{Reason: out.reason, TimedOut: out.late, Bound: out.bound, Cells: f.standing.bounded, Method: "bounds", Rounding: r}
}

// computed is what a goroutine returns, or panics with.
type computed struct {
	verdict  *Decision
	err      error
	panicked any
}

// inTime returns the verdict that compute returns, or what it has found when the context ends, or a counterexample some time after it was
// found.
func (o Options) inTime(ctx context.Context, compute func(context.Context, *findings) (*Decision, error)) (*Decision, error) {
	f := &findings{start: time.Now(), hit: make(chan struct{}), updates: make(chan advlib.Progress)}
	select { // not more than so many at once
	case abandoned <- struct{}{}:
		<-abandoned
	case <-ctx.Done():
		return f.verdict(ctx, o.Method.rounding), nil
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan computed, 1)
	go func() {
		var c computed
		defer func() {
			if r := recover(); r != nil {
				c.panicked = fmt.Sprintf("%v\n\n%s", r, debug.Stack())
			}
			ended <- c
		}()
		c.verdict, c.err = compute(inner, f)
	}()
	finish := func(c computed) (*Decision, error) {
		switch {
		case c.panicked != nil:
			panic(c.panicked)
		case c.err != nil && ctx.Err() != nil: // that it was ended may be the error
			return f.verdict(ctx, o.Method.rounding), nil
		}
		return c.verdict, c.err
	}
	hit, refined := f.hit, (<-chan time.Time)(nil)
	for {
		select {
		case c := <-ended:
			return finish(c)
		case p := <-f.updates:
			if o.OnProgress != nil {
				o.OnProgress(p)
			}
			continue
		case <-hit:
			hit, refined = nil, time.After(refinement)
			continue
		case <-refined:
		case <-ctx.Done():
			select {
			case c := <-ended:
				return finish(c)
			case <-time.After(orderly):
			}
		}
		go func() {
			abandoned <- struct{}{}
			<-ended
			<-abandoned
		}()
		return f.verdict(ctx, o.Method.rounding), nil
	}
}
