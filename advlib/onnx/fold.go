package onnx

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute-onnx/support/protos"
)

// maxFolded is the most integers that a constant made of constants may have: shapes, axes and pads are short.
const maxFolded = 1 << 16

// fold computes an operator whose inputs are all constant integers, as exporters write shapes, axes and pads. It
// returns nil for what it leaves to the rules.
func (l *lowering) fold(n *node) *tensor {
	in := make([]*tensor, len(n.Input))
	for i, name := range n.Input {
		t := l.constants[name]
		if name == "" && i > 0 {
			continue
		}
		if t == nil || t.ints == nil || len(t.ints) > maxFolded {
			return nil
		}
		in[i] = t
	}
	if len(in) == 0 || in[0] == nil {
		return nil
	}
	switch n.OpType {
	case "Cast":
		if to := protos.TensorProto_DataType(n.int("to", 0)); to == protos.TensorProto_INT64 || to == protos.TensorProto_INT32 {
			return &tensor{dims: in[0].dims, ints: in[0].ints, short: to == protos.TensorProto_INT32}
		}
	case "ConstantOfShape":
		return foldFill(n, in[0])
	case "Concat":
		return foldConcat(in)
	case "Reshape":
		return foldReshape(in)
	case "Unsqueeze", "Squeeze": // of a number, or to one
		if rank := len(in[0].dims); len(in[0].ints) == 1 && rank <= 1 && (n.OpType == "Unsqueeze") == (rank == 0) {
			return &tensor{dims: make1(1 - rank), ints: in[0].ints, short: in[0].short}
		}
	case "Transpose":
		if len(in[0].dims) == 2 && (n.ints("perm") == nil || slices.Equal(n.ints("perm"), []int{1, 0})) {
			return foldTranspose(in[0])
		}
	case "Slice":
		return foldSlice(in)
	case "Gather":
		return foldGather(n, in)
	case "Range":
		return foldRange(in)
	case "Add", "Sub", "Mul", "Div", "Mod":
		return foldArithmetic(n.OpType, in)
	}
	return nil
}

// make1 returns the shape of one value with that many axes.
func make1(rank int) []int { return collect(rank, func(int) int { return 1 }) }

func foldFill(n *node, shape *tensor) *tensor {
	a := n.attribute("value", protos.AttributeProto_TENSOR)
	if a == nil || a.GetT() == nil {
		return nil // floats
	}
	value, err := readTensor(a.GetT(), nil)
	if err != nil || len(value.ints) != 1 {
		return nil
	}
	dims, size := make([]int, len(shape.ints)), 1
	for i, d := range shape.ints {
		if d < 0 || d > maxFolded || size*int(d) > maxFolded {
			return nil
		}
		dims[i] = int(d)
		size *= int(d)
	}
	return &tensor{dims: dims, ints: collect(size, func(int) int64 { return value.ints[0] }), short: value.short}
}

func foldConcat(in []*tensor) *tensor {
	out := &tensor{ints: []int64{}}
	for _, t := range in {
		if t == nil || len(t.dims) != 1 {
			return nil
		}
		out.ints = append(out.ints, t.ints...)
	}
	out.dims = []int{len(out.ints)}
	return out
}

func foldReshape(in []*tensor) *tensor {
	if len(in) != 2 || in[1] == nil {
		return nil
	}
	dims, open, size := make([]int, len(in[1].ints)), -1, 1
	for i, d := range in[1].ints {
		switch {
		case d == -1 && open < 0:
			open = i
		case d < 1 || d > maxFolded || size*int(d) > maxFolded:
			return nil
		default:
			dims[i] = int(d)
			size *= int(d)
		}
	}
	if open >= 0 {
		dims[open] = len(in[0].ints) / size
	}
	if sizeOf(dims) != len(in[0].ints) {
		return nil
	}
	return &tensor{dims: dims, ints: in[0].ints, short: in[0].short}
}

func foldTranspose(t *tensor) *tensor {
	rows, columns := t.dims[0], t.dims[1]
	return &tensor{dims: []int{columns, rows}, short: t.short, ints: collect(len(t.ints), func(i int) int64 {
		return t.ints[i%rows*columns+i/rows]
	})}
}

// foldSlice cuts the first axis, with a step of any sign.
func foldSlice(in []*tensor) *tensor {
	if len(in) < 3 {
		return nil
	}
	for i, t := range in[1:] {
		if t != nil && len(t.ints) != 1 || t == nil && i < 2 {
			return nil
		}
	}
	step := int64(1)
	if len(in) > 4 && in[4] != nil {
		step = in[4].ints[0]
	}
	if len(in) > 3 && in[3] != nil && in[3].ints[0] != 0 && in[3].ints[0] != -int64(len(in[0].dims)) || len(in[0].dims) == 0 ||
		step == 0 || in[0].dims[0] == 0 {
		return nil
	}
	row := len(in[0].ints) / in[0].dims[0]
	at := sliced(int(in[1].ints[0]), int(in[2].ints[0]), int(step), in[0].dims[0])
	out := &tensor{dims: slices.Clone(in[0].dims), ints: []int64{}, short: in[0].short}
	out.dims[0] = len(at)
	for _, i := range at {
		out.ints = append(out.ints, in[0].ints[i*row:(i+1)*row]...)
	}
	return out
}

func foldGather(n *node, in []*tensor) *tensor {
	if len(in) != 2 || in[1] == nil || len(in[0].dims) != 1 || len(in[1].dims) > 1 || n.int("axis", 0) != 0 {
		return nil
	}
	out := &tensor{dims: in[1].dims, ints: []int64{}, short: in[0].short}
	for _, i := range in[1].ints {
		if i < 0 {
			i += int64(len(in[0].ints))
		}
		if i < 0 || i >= int64(len(in[0].ints)) {
			return nil
		}
		out.ints = append(out.ints, in[0].ints[i])
	}
	return out
}

func foldArithmetic(op string, in []*tensor) *tensor {
	if len(in) != 2 || in[1] == nil {
		return nil
	}
	a, b := in[0], in[1]
	out := &tensor{dims: a.dims, short: a.short}
	switch {
	case slices.Equal(a.dims, b.dims):
	case len(b.dims) == 0:
	case len(a.dims) == 0:
		out.dims = b.dims
	default:
		return nil
	}
	out.ints = make([]int64, sizeOf(out.dims))
	for i := range out.ints {
		x, y := a.ints[i%len(a.ints)], b.ints[i%len(b.ints)]
		switch {
		case op == "Add":
			out.ints[i] = x + y
		case op == "Sub":
			out.ints[i] = x - y
		case op == "Mul":
			out.ints[i] = x * y
		case y == 0:
			return nil
		case op == "Div":
			out.ints[i] = x / y // towards zero
		default: // the sign of y
			out.ints[i] = (x%y + y) % y
		}
	}
	return out
}

// foldRange counts from the first number on, below the second, by steps of the third.
func foldRange(in []*tensor) *tensor {
	for _, t := range in {
		if t == nil || len(t.ints) != 1 {
			return nil
		}
	}
	if len(in) != 3 || in[2].ints[0] == 0 {
		return nil
	}
	out := &tensor{ints: []int64{}, short: in[0].short}
	from, to, step := in[0].ints[0], in[1].ints[0], in[2].ints[0]
	for v := from; step > 0 && v < to || step < 0 && v > to; v += step {
		if len(out.ints) == maxFolded {
			return nil
		}
		out.ints = append(out.ints, v)
	}
	out.dims = []int{len(out.ints)}
	return out
}

// sequence is for shapes, as mod is.
func sequence(_ *lowering, n *node) {
	n.fail("it is supported on constant integers only")
}

// known takes what an operator writes as a constant.
func (l *lowering) known(n *node, t *tensor) {
	t.name = n.Output[0]
	l.constants[t.name] = t
	if sizeOf(t.dims) == 0 {
		return // for what is made of it: onnx-gomlx cannot build it
	}
	l.nodes = append(l.nodes, &protos.NodeProto{OpType: "Constant", Output: n.Output[:1]})
}

// mod is for shapes: onnx-gomlx has it, but no model has been seen to need it on anything else.
func mod(_ *lowering, n *node) {
	n.fail("it is supported on constant integers only")
}

// shapeOfInput remembers whose shape it is, for gather. Of a single example it is a constant, from which others are
// made: parts of it may be empty, which onnx-gomlx does not build.
func shapeOfInput(l *lowering, n *node) {
	if l.single {
		dims := l.shapeOf(n, n.in(0)).dims
		rank := len(dims)
		from, to := n.int("start", 0), n.int("end", rank)
		from, to = min(max(from+rank*b2i(from < 0), 0), rank), min(max(to+rank*b2i(to < 0), 0), rank)
		dims = dims[from:max(from, to)]
		if n.err == nil {
			l.known(n, &tensor{dims: []int{len(dims)}, ints: int64s(dims)})
		}
		return
	}
	if !n.has("start") && !n.has("end") {
		l.shapeFrom[n.Output[0]] = n.in(0)
	}
	l.keep(n)
}

// gatherSize takes one size of a shape, which is a constant unless it is the batch.
func (l *lowering) gatherSize(n *node, from string) {
	index := l.constants[n.in(1)]
	if index == nil || len(index.ints) != 1 {
		l.keep(n)
		return
	}
	dims := l.shapeOf(n, from).dims
	i := index.ints[0]
	if i < 0 {
		i += int64(len(dims))
	}
	if n.err == nil && (i < 0 || i >= int64(len(dims))) {
		n.fail("it takes size %d of the shape %s", index.ints[0], fmt.Sprint(batchless(dims)))
	}
	if n.err != nil {
		return
	}
	if l.grows(dims[i]) {
		l.keep(n)
		return
	}
	l.known(n, &tensor{dims: index.dims, ints: []int64{int64(dims[i])}})
}
