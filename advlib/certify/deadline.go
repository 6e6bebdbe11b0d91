package certify

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"advlab/advlib"
	"advlab/advlib/certify/internal/search"
)

// A graph that is built, compiled or run cannot be interrupted, and XLA may compile for a minute. So a verdict is
// computed in a goroutine of its own, which notes what it has found so far. Whoever waits for it leaves at the deadline
// with that, and the goroutine ends when the computation that it is in does: its programs are kept for the next call,
// its verdict is dropped.

const (
	// orderly is how long past the deadline a computation may take to end by itself: what it says then is more exact.
	orderly = 50 * time.Millisecond
	// refinement is how long a counterexample may be kept back, for a proof that it is one in any order of summation, or
	// for another one that lies deeper.
	refinement = 300 * time.Millisecond
	// maxAbandoned is how many computations may go on that nobody waits for. With more, the next call waits for one to
	// end.
	maxAbandoned = 4
)

// abandoned has an entry for each computation that goes on and nobody waits for.
var abandoned = make(chan struct{}, maxAbandoned)

// findings are what a computation has come to so far.
type findings struct {
	start    time.Time
	mu       sync.Mutex
	best     *Decision // a counterexample; what it points to does not change
	standing search.Standing
	// part is the number of the problem that is searched, from 0, of as many as there are parts.
	part, parts int

	hit     chan struct{} // closed with the first counterexample
	updates chan advlib.Progress
}

// Note implements recorder.
func (f *findings) Note(s search.Standing) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.standing = s
}

// counterexample notes one; the next replaces it.
func (f *findings) counterexample(v *Decision) {
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

// Tell implements recorder.
func (f *findings) Tell(ctx context.Context, s search.Standing, elapsed time.Duration) {
	parts := max(1, f.parts)
	p := advlib.Progress{
		What: fmt.Sprintf("branch and bound, margin ≥ %.4g", s.Bound), Part: f.part + 1, Parts: parts,
		Done: s.Bounded, Total: s.Bounded + s.Left, Share: (float64(f.part) + s.Done) / float64(parts),
		Elapsed: elapsed, Remaining: -1,
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
	out := f.standing.Interrupted(ctx)
	return &Decision{Reason: out.Reason, TimedOut: out.Late, Bound: out.Bound, Cells: f.standing.Bounded, Method: "bounds", Rounding: r}
}

// computed is what a goroutine returns, or panics with.
type computed struct {
	verdict  *Decision
	err      error
	panicked any
}

// inTime returns the verdict that compute returns, or what it has found when the context ends, or a counterexample some
// time after it was found.
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
