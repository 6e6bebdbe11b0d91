package certify

import (
	"context"
	"math"
	"slices"
	"sync"

	"advlab/advlib"
	"advlab/advlib/backend"
	"advlab/advlib/certify/internal/chain"
	"advlab/advlib/certify/internal/search"
)

// clearlyUnsafe is how deep in the unsafe set outputs are, as [search.Problem.Depth] has it, that no implementation of
// the same model is likely to move out of it: sums of thousands of terms in float32 differ by less.
const clearlyUnsafe = 1e-3

// bounder bounds a problem: by a chain if the network is one, else by graphs.
type bounder struct {
	network *Network
	chain   *chain.Chain
}

// lazily returns a network with its chain, which are read when they are needed first.
func (o Options) lazily(read func() (*Network, error)) func() (bounder, error) {
	return sync.OnceValues(func() (b bounder, err error) {
		if b.network, err = read(); err == nil {
			b.chain, err = b.network.chain(o.Method)
		}
		return b, err
	})
}

// falsifier judges counterexamples to a problem as they are found.
type falsifier struct {
	o       Options
	problem *search.Problem
	bounder func() (bounder, error)
	found   *findings
	method  string
	cells   int // bounded before

	best  *Decision
	depth float64
}

// take notes a counterexample if it is the deepest so far, and tells whether to stop looking for others: if bounds
// prove that it is one however the model sums and rounds, or if it is clear. A proof must not need a program that takes
// long to compile.
func (f *falsifier) take(ctx context.Context, x, y []float64) (enough bool) {
	depth := f.problem.Depth(y)
	if f.best != nil && depth <= f.depth {
		return false
	}
	f.depth = depth
	f.best = &Decision{Status: advlib.Falsified, Counterexample: x, Outputs: y, Method: f.method, Rounding: f.o.Method.rounding,
		Bound: math.Inf(-1), Cells: f.cells}
	f.found.counterexample(f.best)
	if f.proven(ctx, x) {
		proven := *f.best
		proven.AnyOrder = true
		f.best = &proven
		f.found.counterexample(f.best)
		return true
	}
	return depth >= clearlyUnsafe
}

// proven tells whether bounds at the input alone prove that its output is unsafe. That it could not be told, for an
// error or for want of time, leaves it open.
func (f *falsifier) proven(ctx context.Context, x []float64) bool {
	p := f.problem
	if len(p.Rows) == 0 {
		return true
	}
	b, err := f.bounder()
	if err != nil {
		return false
	}
	if b.chain == nil {
		if b.network = b.network.quick(); b.network == nil {
			return false
		}
	}
	at := *p
	at.Rows, at.Round = nil, false
	for _, row := range p.Rows {
		minus := make([]float64, len(row))
		for k, v := range row {
			minus[k] = -v
		}
		at.Rows = append(at.Rows, minus)
	}
	by := f.o
	by.Method = CROWN.In(f.o.Method.rounding)
	planes, _, err := by.bounds(b, &at)(ctx, []search.Cell{{Lower: x, Upper: x}})
	if err != nil {
		return false
	}
	return slices.ContainsFunc(p.Unsafe, func(conjunction []int) bool {
		return !slices.ContainsFunc(conjunction, func(r int) bool {
			upper := -planes[0][r].Lower
			return !(upper < math.Nextafter(p.Limits[r], math.Inf(-1))) // limits are rounded up
		})
	})
}

// quickNumbers is the most numbers that a network may hold whose bounds take no time on the Go backend.
const quickNumbers = 1 << 14

// quick returns the network with its bounds computed on the Go backend, which has nothing to compile, or nil if they
// would take long there.
func (n *Network) quick() *Network {
	if backend.InfoOf(n.model.Backend).Name == backend.Go {
		return n
	}
	if n.numbers > quickNumbers {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.onGo == nil {
		b, err := backend.OpenNamed(backend.Go)
		if err != nil {
			return nil
		}
		q := unread(n.model.Name, n.model.Input, n.deployed, n.model.Wide, n.exact, n.model.Build)
		q.model.Backend = b
		if q.read() != nil { // it may have operations that the Go backend lacks
			return nil
		}
		n.onGo = q
	}
	n.onGo.limit.Store(n.limit.Load())
	return n.onGo
}
