package certify

import (
	"context"
	"fmt"
	"sync"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
)

// deployed is the model as it is used, in its own precision: counterexamples are looked for and replayed on it.
type deployed struct {
	input []int
	size  int
	dtype dtypes.DType
	run   runner
}

// runner compiles a graph with the model in it, once for each key and shapes, and runs it.
type runner interface {
	run(key any, build func(f func(x *Node) *Node, in []*Node) []*Node, rows int, in ...any) ([]*tensors.Tensor, error)
}

// onTarget runs a classifier, and counts.
type onTarget struct{ target *advlib.Counted }

func (r onTarget) run(key any, build func(func(*Node) *Node, []*Node) []*Node, rows int, in ...any) ([]*tensors.Tensor, error) {
	step := r.target.Compile(key, func(m *advlib.Model, in []*Node) []*Node {
		return build(func(x *Node) *Node { return m.Logits(x) }, in)
	})
	return step.Run(rows, in...)
}

// onSource runs a model that need not be a classifier.
type onSource struct {
	graph    advlib.LogitsFn
	store    *model.Store
	backend  compute.Backend
	mu       *sync.Mutex
	programs map[any]*model.Exec
}

func (r onSource) run(key any, build func(func(*Node) *Node, []*Node) []*Node, _ int, in ...any) (out []*tensors.Tensor, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.programs[key]
	if e == nil {
		e, err = model.NewExec(r.backend, r.store, func(_ *model.Scope, in []*Node) []*Node {
			return build(func(x *Node) *Node { return r.graph(r.store.RootScope(), x) }, in)
		})
		if err != nil {
			return nil, err
		}
		e.WithName(fmt.Sprintf("%T", key)).SetMaxCache(-1)
		r.programs[key] = e
	}
	return e.Exec(in...)
}

// keys of compiled graphs.
type (
	outputsKey struct{}
	descentKey struct{}
)

// outputs computes the model on inputs, flat, at most as many at a time as fit a padded batch.
func (d *deployed) outputs(ctx context.Context, x [][]float64) (y [][]float64, err error) {
	const most = 512
	for first := 0; first < len(x); first += most {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		part := x[first:min(first+most, len(x))]
		in := d.tensor(part, advlib.Bucket(len(part)))
		out, err := d.run.run(outputsKey{}, func(f func(*Node) *Node, in []*Node) []*Node { return []*Node{f(in[0])} }, len(part), in)
		advlib.Free(in)
		if err != nil {
			return nil, fmt.Errorf("computing the model on %d inputs: %w", len(part), err)
		}
		y = append(y, wideRows(out[0])[:len(part)]...)
		advlib.Free(out...)
	}
	return y, nil
}

// tensor stacks inputs; behind them the first is repeated up to size.
func (d *deployed) tensor(rows [][]float64, size int) *tensors.Tensor {
	dims := append([]int{size}, d.input...)
	at := func(i, j int) float64 {
		if i >= len(rows) {
			i = 0
		}
		return rows[i][j]
	}
	return d.fill(dims, d.size, at)
}

// fill makes a tensor in the model's type, of rows of the given length.
func (d *deployed) fill(dims []int, per int, at func(i, j int) float64) *tensors.Tensor {
	n := dims[0]
	if d.dtype == dtypes.Float64 {
		flat := make([]float64, n*per)
		for i := range flat {
			flat[i] = at(i/per, i%per)
		}
		return tensors.FromFlatDataAndDimensions(flat, dims...)
	}
	flat := make([]float32, n*per)
	for i := range flat {
		flat[i] = float32(at(i/per, i%per))
	}
	return tensors.FromFlatDataAndDimensions(flat, dims...)
}

// wideRows returns a tensor [n, d...] as n rows, in float64.
func wideRows(t *tensors.Tensor) [][]float64 {
	n := t.Shape().Dimensions[0]
	var flat []float64
	if t.DType() == dtypes.Float64 {
		flat = tensors.MustCopyFlatData[float64](t)
	} else {
		for _, v := range tensors.MustCopyFlatData[float32](t) {
			flat = append(flat, float64(v))
		}
	}
	rows := make([][]float64, n)
	per := len(flat) / n
	for i := range rows {
		rows[i] = flat[i*per : (i+1)*per : (i+1)*per]
	}
	return rows
}
