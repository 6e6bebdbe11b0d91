package training

import (
	"context"
	"fmt"
	"slices"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/gomlx/ml/train"

	"advlab/advlib"
)

// Gradients returns the loss of the model's objective on the examples as one batch, with the initial weights, and its
// gradient by each of the weights, under its path. X [n, d...] is what an adversary has made of the examples; nil are
// the examples themselves. Nobody looks for adversarial examples here, and nothing is kept: it is there to compare an
// objective with numbers from elsewhere, of a model whose Build gives it the weights.
func (m Model) Gradients(
	ctx context.Context, e *advlib.Examples, x *tensors.Tensor,
) (loss float64, by map[string]*tensors.Tensor, err error) {
	fail := func(err error) (float64, map[string]*tensors.Tensor, error) {
		return 0, nil, fmt.Errorf("training: %s: %w", m.defaults().Name, err)
	}
	if e != nil {
		m.BatchSize = e.Len()
	}
	r, err := m.ready(ctx, e)
	if err != nil {
		return fail(err)
	}
	if x == nil {
		x = e.X
	}
	if !x.Shape().Equal(e.X.Shape()) {
		return fail(fmt.Errorf("the adversarial examples are %v, the originals %v: give one for each", x.Shape(), e.X.Shape()))
	}
	in := []any{e.X}
	if r.Adversary != nil {
		in = append(in, x)
	}
	in = append(in, tensors.FromFlatDataAndDimensions(slices.Clone(e.Y), e.Len()))
	for _, column := range r.columns {
		in = append(in, column)
	}
	in = append(in, float32(0)) // the progress
	var paths []string
	build, _ := r.trainer()
	exec, err := model.NewExec(r.Backend, r.store, func(scope *model.Scope, in []*graph.Node) []*graph.Node {
		g := in[0].Graph()
		r.store.SetTraining(g, true)
		train.AddMainLoss(graph.ReduceAllMean(build(scope, in)))
		total := train.TotalLoss(g)
		var weights []*graph.Node
		paths = nil
		for _, v := range r.step(scope, in).Weights() {
			paths, weights = append(paths, v.Path()), append(weights, v.NodeValue(total))
		}
		return append([]*graph.Node{total}, graph.Gradient(total, weights...)...)
	})
	if err != nil {
		return fail(err)
	}
	out, err := exec.Exec(in...)
	if err != nil {
		return fail(err)
	}
	by = map[string]*tensors.Tensor{}
	for i, path := range paths {
		by[path] = out[1+i]
	}
	return float64(tensors.ToScalar[float32](out[0])), by, nil
}
