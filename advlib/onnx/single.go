package onnx

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/compute-onnx/support/protos"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/onnx-gomlx/onnx"

	"advlab/advlib/backend"
	"advlab/advlib/internal/operator"
	"advlab/advlib/internal/vmap"
)

// A file that fixes its batch at 1 is read as if the batch were open, which is right for most. Some merge the batch
// with other axes, where it is 1 and does no harm: view(-1), the mean of everything, the heads of an attention. These
// are built for a single example, as they are, and mapped over the rows of a batch, operation by operation.

// lowered lowers a file in the way that gives each example what the file gives it, and says how many logits come out.
func lowered(f *file, o Options) (*lowering, int, error) {
	l, outputs, err := inLayout(f, o, false)
	if len(f.dims) == 0 || len(f.dims) > 1 && f.dims[0] != 1 {
		if err == nil && l.batch > 1 && l.fate == vmap.Lost {
			err = fmt.Errorf("it fixes the batch at %d, and its operators mix the examples of a batch: export it with a batch of 1", l.batch)
		}
		return l, outputs, err
	}
	if err == nil && l.fate == vmap.Apart {
		return l, outputs, nil
	}
	single, size, second := inLayout(f, o, true)
	switch {
	case second == nil && (err != nil || l.fate == vmap.Lost):
		return single, size, nil
	case err == nil && second == nil:
		same, wrong := agree(l, single, outputs, size)
		if wrong != nil || same {
			return l, outputs, wrong
		}
		return single, size, nil
	case err == nil && l.fate == vmap.Lost:
		return nil, 0, fmt.Errorf("its operators mix the examples of a batch, and it cannot be built for one example at a time: %w", second)
	case err != nil: // what the file itself says goes wrong
		return nil, 0, second
	}
	return l, outputs, err
}

// inLayout lowers a file and checks what comes out. Where the shapes leave several layouts, the weights may leave one.
func inLayout(f *file, o Options, single bool) (*lowering, int, error) {
	l, err := lower(f, o, single)
	if several := new(ambiguous); errors.As(err, &several) {
		var works []Options
		for _, way := range several.fits {
			o.Layout = way.layout
			if l, err := lower(f, o, single); err == nil {
				if _, err = l.check(); err == nil {
					works = append(works, o)
				}
			}
		}
		if len(works) != 1 {
			return nil, 0, several
		}
		l, err = lower(f, works[0], single)
	}
	if err != nil {
		return nil, 0, err
	}
	out, err := l.check()
	if err != nil {
		return nil, 0, err
	}
	outputs, err := l.logits(out, f.output)
	return l, outputs, err
}

// build builds the model on inputs of the file, [n, ...]. In a graph that is traced, where nodes are to be told apart,
// they are marked by the operators of the file; they are built in the same order in any graph.
func (l *lowering) build(m onnx.Model, scope *model.Scope, x *graph.Node) *graph.Node {
	names, by := l.writers()
	one := func(x *graph.Node) []*graph.Node {
		return m.CallGraph(scope, x.Graph(), map[string]*graph.Node{l.input: x}, names...)
	}
	var all []*graph.Node
	if l.single {
		all = vmap.Rows(x, func(row *graph.Node) []*graph.Node { return one(graph.Reshape(row, l.inputDims()...)) })
	} else {
		all = one(x)
	}
	if x.Trace() != nil {
		for i, op := range by {
			operator.Mark(all[i], op)
		}
	}
	return all[len(all)-1]
}

// writers returns what operators write that the output needs, itself the last, and the operators of the file that they
// are of.
func (l *lowering) writers() (names, by []string) {
	needed := map[string]bool{l.output: true}
	for i, n := range slices.Backward(l.nodes) {
		if !slices.ContainsFunc(n.Output, func(out string) bool { return needed[out] }) {
			continue
		}
		for _, in := range n.Input {
			needed[in] = true
		}
		for _, out := range n.Output {
			if needed[out] {
				names, by = append(names, out), append(by, describe(l.origin[i]))
			}
		}
	}
	slices.Reverse(names)
	slices.Reverse(by)
	if len(names) == 0 || names[len(names)-1] != l.output {
		names = append(names, l.output)
	}
	return names, by
}

// copied returns the variables in a store of their own: a store belongs to the backend on which it is used first.
func (l *lowering) copied() (*model.Store, error) {
	s := model.NewStore()
	scope := s.RootScope().At(onnx.ModelScope)
	for name, w := range l.weights {
		if _, err := scope.CreateVariable(variableName(name), tensors.FromFlatDataAndDimensions(w.float32s(), w.dims...)); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// agree computes three made-up examples in both ways.
func agree(l, single *lowering, outputs, size int) (bool, error) {
	if outputs != size {
		return false, nil
	}
	const n = 3
	x := make([]float32, n*sizeOf(l.fit.file))
	for i := range x {
		x[i] = float32(0.5 + 0.5*math.Sin(float64(i)*1.7))
	}
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		return false, err
	}
	var y [2][]float32
	for i, way := range []*lowering{l, single} {
		m, err := way.parse(way.nodes, protos.TensorProto_FLOAT, way.output)
		if err != nil {
			return false, err
		}
		s, err := way.copied()
		if err != nil {
			return false, err
		}
		e, err := model.NewExec(b, s, func(s *model.Scope, x *graph.Node) *graph.Node {
			return graph.Reshape(way.build(m, s.Store().RootScope(), x), n, outputs)
		})
		if err != nil {
			return false, err
		}
		out, err := e.Exec(tensors.FromFlatDataAndDimensions(x, append([]int{n}, l.fit.file...)...))
		if err != nil {
			return false, err
		}
		y[i] = tensors.MustCopyFlatData[float32](out[0])
	}
	scale, worst := 0., 0.
	for i, v := range y[1] {
		scale = max(scale, math.Abs(float64(v)))
		if d := math.Abs(float64(y[0][i]) - float64(v)); d > worst || math.IsNaN(d) && !(math.IsNaN(float64(y[0][i])) && math.IsNaN(float64(v))) {
			worst = d
		}
	}
	return worst <= 1e-4*scale, nil
}
