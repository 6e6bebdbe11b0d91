package onnx

import (
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"

	"github.com/gomlx/compute-onnx/support/protos"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/onnx-gomlx/onnx"
	"github.com/gomlx/onnx-gomlx/onnx/parser"
	"google.golang.org/protobuf/proto"

	"advlab/advlib/backend"
	"advlab/advlib/internal/vmap"
)

// probeBatch is the batch for which shapes are traced: a prime that no other size is likely to be, so that it can be
// told from them.
const probeBatch = 1009

// writtenOpset is the opset in which operators are handed to onnx-gomlx.
const writtenOpset = 20

// variableName is the name that onnx-gomlx looks for in the scope [onnx.ModelScope].
func variableName(name string) string { return strings.ReplaceAll(name, model.ScopeSeparator, "|") }

func (l *lowering) storeVariable(name string, t *tensor) error {
	path := variableName(name)
	scope := l.store.RootScope().At(onnx.ModelScope)
	if scope.GetVariable(path) != nil {
		return fmt.Errorf("two of its weights have the name %q once \"/\" is written as \"|\"", path)
	}
	_, err := scope.CreateVariable(path, tensors.FromFlatDataAndDimensions(t.float32s(), t.dims...))
	return err
}

// parse hands the nodes written so far to onnx-gomlx, everything real as kind. Weights are named only: their values are
// in the store.
func (l *lowering) parse(nodes []*protos.NodeProto, kind protos.TensorProto_DataType, output string) (m onnx.Model, err error) {
	defer recovered(&err)
	g := &protos.GraphProto{Name: "model"}
	for _, n := range nodes {
		switch {
		case n.OpType == "Constant":
			n = &protos.NodeProto{OpType: n.OpType, Output: n.Output, Attribute: attrs("value", l.constants[n.Output[0]].proto(kind))}
		case n.OpType == "Cast" && n.Attribute[0].I == int64(protos.TensorProto_FLOAT):
			n = &protos.NodeProto{OpType: n.OpType, Input: n.Input, Output: n.Output, Attribute: attrs("to", int(kind))}
		}
		g.Node = append(g.Node, n)
	}
	for _, name := range slices.Sorted(maps.Keys(l.weights)) {
		g.Initializer = append(g.Initializer, &protos.TensorProto{Name: name, DataType: int32(kind), Dims: int64s(l.weights[name].dims)})
	}
	var dims []*protos.TensorShapeProto_Dimension
	if !l.single {
		dims = append(dims, &protos.TensorShapeProto_Dimension{Value: &protos.TensorShapeProto_Dimension_DimParam{DimParam: "batch"}})
	}
	for _, d := range l.inputDims()[len(dims):] {
		dims = append(dims, &protos.TensorShapeProto_Dimension{Value: &protos.TensorShapeProto_Dimension_DimValue{DimValue: int64(d)}})
	}
	value := func(name string, shape *protos.TensorShapeProto) *protos.ValueInfoProto {
		t := &protos.TypeProto_Tensor{ElemType: int32(kind), Shape: shape}
		return &protos.ValueInfoProto{Name: name, Type: &protos.TypeProto{Value: &protos.TypeProto_TensorType{TensorType: t}}}
	}
	g.Input = []*protos.ValueInfoProto{value(l.input, &protos.TensorShapeProto{Dim: dims})}
	g.Output = []*protos.ValueInfoProto{value(output, nil)}
	contents, err := proto.Marshal(&protos.ModelProto{IrVersion: 8, Graph: g,
		OpsetImport: []*protos.OperatorSetIdProto{{Version: writtenOpset}}})
	if err != nil {
		return nil, err
	}
	if m, err = parser.Parse(contents); err == nil {
		m.DisableFusion()
	}
	return m, err
}

// grows tells whether an axis of that size grows with the batch.
func (l *lowering) grows(size int) bool { return !l.single && size%probeBatch == 0 }

// inputDims returns the shape of the input for which shapes are traced.
func (l *lowering) inputDims() []int {
	switch {
	case !l.single:
		return append([]int{probeBatch}, l.fit.file...)
	case l.vector:
		return l.fit.file
	}
	return append([]int{1}, l.fit.file...)
}

// trace builds the nodes in a graph that is thrown away, and returns the shape of everything they write. With whole it
// also looks what becomes of the examples of a batch: those of a single one are mapped, others followed.
func (l *lowering) trace(nodes []*protos.NodeProto, whole bool) (traced map[string]shape, err error) {
	b, err := backend.OpenNamed(backend.Go) // builds quickest; nothing but constants is computed
	if err != nil {
		return nil, err
	}
	traced = map[string]shape{l.input: {l.inputDims(), dtypes.Float32}}
	var names []string
	for _, n := range nodes {
		for _, out := range n.Output {
			if out != "" {
				names = append(names, out)
			}
		}
	}
	if len(names) == 0 {
		return traced, nil
	}
	m, err := l.parse(nodes, protos.TensorProto_FLOAT, names[len(names)-1])
	if err != nil {
		return nil, err
	}
	g := graph.NewGraph(b, "shapes of an ONNX model")
	defer g.Finalize()
	defer recovered(&err)
	build := func(x *graph.Node) []*graph.Node {
		return m.CallGraph(l.store.RootScope(), g, map[string]*graph.Node{l.input: x}, names...)
	}
	var outs []*graph.Node
	if l.single && whole {
		x := graph.Parameter(g, "x", shapes.Make(dtypes.Float32, append([]int{2}, l.inputDims()...)...))
		vmap.Rows(x, func(row *graph.Node) []*graph.Node { outs = build(row); return outs })
	} else {
		x := graph.Parameter(g, "x", shapes.Make(dtypes.Float32, l.inputDims()...))
		outs = build(x)
		if i := slices.Index(names, l.output); whole && i >= 0 {
			l.fate = vmap.Follow(x, outs[i])
		}
	}
	for i, out := range outs {
		s := shape{out.Shape().Dimensions, out.DType()}
		elements := 1
		for _, d := range s.dims {
			if d > 0 && elements > probeBatch*l.limit/d {
				return nil, fmt.Errorf("what it writes: %w", l.tooLarge(batchless(s.dims)))
			}
			elements *= max(d, 1)
		}
		traced[names[i]] = s
	}
	return traced, nil
}

// shapeOf returns the shape of a tensor that the nodes so far write. It sets n's error, and returns no axes, if they
// cannot be built.
func (l *lowering) shapeOf(n *node, name string) shape {
	if w := l.weights[name]; w != nil {
		return shape{w.dims, dtypes.Float32}
	}
	s, known := l.shapes[name]
	if known {
		return s
	}
	traced, err := l.trace(l.nodes, false)
	if err != nil {
		n.fail("what comes before it cannot be built: %w", l.blame(err))
		return shape{}
	}
	l.shapes = traced
	if s, known = traced[name]; !known {
		n.fail("it reads %q, which is not there yet", name)
	}
	return s
}

// sizesOf returns sizes that are constant, or computed from other shapes, for a batch of probeBatch; nil if they are
// neither. A tensor of these sizes is traced to see them.
func (l *lowering) sizesOf(name string) []int {
	if sizes, known := l.integersOf(name); known {
		return sizes
	}
	at := len(l.nodes)
	tensor := l.op("Expand", l.number(0), name)
	traced, err := l.trace(l.nodes, false)
	l.nodes = l.nodes[:at]
	if err != nil {
		return nil
	}
	return traced[tensor].dims
}

// check builds all nodes, and returns the output's shape.
func (l *lowering) check() (shape, error) {
	traced, err := l.trace(l.nodes, true)
	if err != nil {
		return shape{}, l.blame(err)
	}
	l.shapes = traced
	return traced[l.output], nil
}

// blame finds the first node without which the nodes can be built, and says so.
func (l *lowering) blame(cause error) error {
	low, high := 0, len(l.nodes) // the first low can be built, the first high cannot
	for high-low > 1 {
		mid := (low + high) / 2
		if _, err := l.trace(l.nodes[:mid], true); err != nil {
			high, cause = mid, err
		} else {
			low = mid
		}
	}
	if high == 0 || high > len(l.origin) {
		return cause
	}
	n := l.origin[high-1]
	var about []string
	if traced, err := l.trace(l.nodes[:high-1], false); err == nil {
		for _, in := range n.Input {
			if s, ok := traced[in]; ok {
				about = append(about, fmt.Sprint(batchless(s.dims)))
			} else if w := l.weights[in]; w != nil {
				about = append(about, fmt.Sprint(w.dims))
			}
		}
	}
	advice := ""
	if l.batch > 0 {
		advice = fmt.Sprintf(" (the file fixes the batch at %d: if that is the reason, export it with a batch of 1, or "+
			"with an open batch axis)", l.batch)
	}
	return fmt.Errorf("%s cannot be built for inputs of shape %s%s: %w", describe(n), strings.Join(about, ", "), advice, cause)
}

// batchless writes a traced shape with n for the batch.
func batchless(dims []int) []any {
	out := make([]any, len(dims))
	for i, d := range dims {
		switch {
		case d == probeBatch:
			out[i] = "n"
		case d > 0 && d%probeBatch == 0:
			out[i] = fmt.Sprintf("%d·n", d/probeBatch)
		default:
			out[i] = d
		}
	}
	return out
}

// recovered turns a panic of GoMLX's, which is how its graph functions report errors, into an error of one line. One of
// Go's own, such as an index out of range, comes from attributes that onnx-gomlx does not check.
func recovered(err *error) {
	r := recover()
	if r == nil {
		return
	}
	var own runtime.Error
	if e, ok := r.(error); !ok {
		*err = fmt.Errorf("%v", r)
	} else if errors.As(e, &own) {
		*err = fmt.Errorf("its attributes and inputs do not fit together (%s)", strings.TrimPrefix(own.Error(), "runtime error: "))
	} else {
		*err = errors.New(strings.Join(strings.Fields(e.Error()), " "))
	}
}
