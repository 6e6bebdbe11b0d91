package serve

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// gather asks a victim about what several requests wait for at once. While one batch is computed the next gathers, so
// that nobody waits for company. The victim is never asked twice at the same time.
type gather struct {
	victim advlib.Victim
	shape  []int // of one input
	most   int   // inputs in a batch, but for a request that has more

	turn chan struct{} // held by the request that computes

	mu      sync.Mutex
	waiting []*job
	batches int64
}

// job is a request's inputs.
type job struct {
	x       []float32
	rows    int
	answers []advlib.Answer
	err     error
	done    chan struct{}
}

func newGather(v advlib.Victim, shape []int, most int) *gather {
	return &gather{victim: v, shape: shape, most: most, turn: make(chan struct{}, 1)}
}

// ask returns the answers to some inputs. It gives up when ctx ends, but for a batch that is being computed by it.
func (g *gather) ask(ctx context.Context, x []float32, rows int) ([]advlib.Answer, error) {
	j := &job{x: x, rows: rows, done: make(chan struct{})}
	g.mu.Lock()
	g.waiting = append(g.waiting, j)
	g.mu.Unlock()
	for {
		select {
		case <-j.done: // first of all: others compute for those that still wait
			return j.answers, j.err
		default:
		}
		select {
		case <-j.done:
			return j.answers, j.err
		case <-ctx.Done():
			g.mu.Lock()
			g.waiting = slices.DeleteFunc(g.waiting, func(o *job) bool { return o == j })
			g.mu.Unlock()
			return nil, ctx.Err()
		case g.turn <- struct{}{}:
			// Nobody else computes: this request does, for those that came first. Its client may hang up; others wait.
			if batch := g.next(); len(batch) > 0 {
				g.run(context.WithoutCancel(ctx), batch)
			}
			<-g.turn
		}
	}
}

// next takes the jobs of the next batch.
func (g *gather) next() []*job {
	g.mu.Lock()
	defer g.mu.Unlock()
	rows, n := 0, 0
	for ; n < len(g.waiting); n++ {
		if rows += g.waiting[n].rows; n > 0 && rows > g.most {
			break
		}
	}
	batch := slices.Clone(g.waiting[:n])
	g.waiting = slices.Delete(g.waiting, 0, n)
	if n > 0 {
		g.batches++
	}
	return batch
}

// run answers jobs.
func (g *gather) run(ctx context.Context, batch []*job) {
	var x []float32
	rows := 0
	for _, j := range batch {
		x, rows = append(x, j.x...), rows+j.rows
	}
	said, err := g.query(ctx, x, rows)
	for _, j := range batch {
		if n := min(j.rows, len(said)); n == j.rows {
			j.answers, said = said[:n:n], said[n:]
		} else {
			said, j.err = nil, err
		}
		close(j.done)
	}
}

// query asks the victim; its panics are errors, since they are not the server's.
func (g *gather) query(ctx context.Context, x []float32, rows int) (said []advlib.Answer, err error) {
	defer func() {
		if r := recover(); r != nil {
			said, err = nil, fmt.Errorf("%s panics: %v", g.victim.Name(), r)
		}
	}()
	in := tensors.FromFlatDataAndDimensions(x, append([]int{rows}, g.shape...)...)
	defer advlib.Free(in)
	said, err = g.victim.Query(ctx, in)
	if err == nil && len(said) != rows {
		return nil, fmt.Errorf("%s gives %d answers to %d inputs", g.victim.Name(), len(said), rows)
	}
	return said, err
}

// count returns how many batches were computed.
func (g *gather) count() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.batches
}
