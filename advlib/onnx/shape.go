package onnx

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute-onnx/support/protos"
)

// constant brings the five ways to write a constant down to one. Weights written so become variables.
func constant(l *lowering, n *node) {
	if len(n.Attribute) != 1 {
		n.fail("it has %d values, a constant has one", len(n.Attribute))
		return
	}
	a := n.Attribute[0]
	var t *tensor
	switch a.GetName() {
	case "value":
		if n.attribute("value", protos.AttributeProto_TENSOR) == nil || a.GetT() == nil {
			n.fail("its value is no tensor")
			return
		}
		var err error
		if t, err = readTensor(a.GetT(), nil); err != nil {
			n.fail("%w", err)
			return
		}
	case "value_float":
		t = &tensor{floats: []float32{float32(n.float("value_float", 0))}, dims: []int{}}
	case "value_floats":
		t = &tensor{floats: orEmpty(a.GetFloats()), dims: []int{len(a.GetFloats())}}
	case "value_int":
		t = &tensor{ints: []int64{int64(n.int("value_int", 0))}, dims: []int{}}
	case "value_ints":
		t = &tensor{ints: orEmpty(a.GetInts()), dims: []int{len(a.GetInts())}}
	}
	t.name = n.Output[0]
	if t.isFloat() && len(t.dims) > 0 {
		if sizeOf(t.dims) == 0 { // stands for an input that is not given
			l.constants[t.name] = t
			return
		}
		l.weights[t.name] = t
		if err := l.storeVariable(t.name, t); err != nil {
			n.fail("%w", err)
		}
		return
	}
	l.known(n, t)
}

// constantOfShape is allowed where it stands for part of a shape, or for a few values: it is computed while the graph
// is built.
func constantOfShape(l *lowering, n *node) {
	if dims, known := l.integersOf(n.in(0)); known {
		elements := 1
		for _, d := range dims {
			if d < 0 {
				n.fail("it makes a constant of shape %v, with a size below 0", dims)
				return
			}
			if d > l.limit/max(elements, 1) {
				n.fail("it makes a constant: %w", l.tooLarge(collect(len(dims), func(i int) any { return dims[i] })))
				return
			}
			elements *= d
		}
	}
	out := &tensor{floats: []float32{0}, dims: []int{1}}
	if a := n.attribute("value", protos.AttributeProto_TENSOR); a != nil {
		t, err := readTensor(a.GetT(), nil)
		if err != nil || sizeOf(t.dims) != 1 {
			n.fail("its value is not one number")
			return
		}
		out = t
	}
	out.dims = []int{}
	l.write(n.Output[0], "Expand", []string{l.add(out), n.in(0)})
}

// reshape writes the new shape in numbers, and keeps the batch open: a file that was written for a batch of one often
// has that one in it.
func reshape(l *lowering, n *node) {
	dims, known := l.integersOf(n.in(1))
	if known {
		if n.int("allowzero", 0) != 0 && slices.Contains(dims, 0) {
			n.fail("its shape %v has a size of 0 (allowzero), which no input of a classifier has", dims)
			return
		}
		dims = slices.Clone(dims)
		if l.batch > 0 && len(dims) > 0 && dims[0] == l.batch {
			if from := l.shapeOf(n, n.in(0)).dims; len(from) > 0 && from[0] == probeBatch {
				dims[0] = 0 // as it was
			}
		}
		l.write(n.Output[0], "Reshape", []string{n.in(0), l.integers(dims)})
		return
	}
	// A shape computed from other shapes: build it, and write down what comes out.
	at := len(l.nodes)
	l.write(n.Output[0], "Reshape", []string{n.in(0), n.in(1)})
	from, to := l.shapeOf(n, n.in(0)).dims, l.shapeOf(n, n.Output[0]).dims
	if n.err != nil {
		return
	}
	dims = slices.Clone(to)
	if !l.single {
		if len(from) == 0 || len(to) == 0 || from[0] != probeBatch || to[0] != probeBatch {
			return // left as it is: onnx-gomlx computes the shape while it builds
		}
		dims[0] = 0
	}
	if slices.ContainsFunc(dims, func(d int) bool { return d != 0 && l.grows(d) }) {
		return
	}
	l.nodes = l.nodes[:at]
	l.write(n.Output[0], "Reshape", []string{n.in(0), l.integers(dims)})
}

// squeeze without axes takes away all of size 1, but never the batch.
func squeeze(l *lowering, n *node) {
	if n.has("axes") || n.in(1) != "" {
		l.keep(n)
		return
	}
	var axes []int
	for i, d := range l.shapeOf(n, n.in(0)).dims {
		if (i > 0 || l.single) && d == 1 {
			axes = append(axes, i)
		}
	}
	if len(axes) == 0 {
		l.same(n, n.in(0))
		return
	}
	l.write(n.Output[0], "Squeeze", n.Input[:1], "axes", axes)
}

// slice has its ranges as attributes before opset 10, as inputs after it.
func slice(l *lowering, n *node) {
	in := slices.Clone(n.Input)
	if l.opset < 10 {
		starts, ends := n.ints("starts"), n.ints("ends")
		if len(in) != 1 || len(starts) == 0 || len(starts) != len(ends) {
			n.fail("it has starts %v and ends %v, and %d inputs", starts, ends, len(in))
			return
		}
		in = append(in, l.integers(starts), l.integers(ends))
		if axes := n.ints("axes"); axes != nil {
			in = append(in, l.integers(axes))
		}
	}
	if len(in) < 3 {
		n.fail("it has %d inputs, at least 3 are needed", len(in))
		return
	}
	starts, known := l.integersOf(in[1])
	if len(in) == 5 || len(in) > 3 && in[3] == "" || known && len(in) == 3 {
		if !known {
			n.fail("its starts are not constant")
			return
		}
		axes := make([]int, len(starts))
		for i := range axes {
			axes[i] = i
		}
		if len(in) > 3 && in[3] != "" {
			if axes, known = l.integersOf(in[3]); !known || len(axes) != len(starts) {
				n.fail("its axes are not constant, or not as many as its starts")
				return
			}
		}
		if len(in) == 5 {
			steps, known := l.integersOf(in[4])
			if !known || len(steps) != len(starts) || slices.Contains(steps, 0) {
				n.fail("its steps %v are not constant, or 0", steps)
				return
			}
			if slices.Min(append(steps, 1)) < 0 {
				l.stepped(n, in, axes, steps)
				return
			}
		}
		rest := in[min(4, len(in)):]
		in = append([]string{in[0], in[1], in[2], l.integers(axes)}, rest...)
	}
	l.write(n.Output[0], "Slice", in)
}

// split writes the sizes of the parts as an input.
func split(l *lowering, n *node) {
	axis, sizes := n.int("axis", 0), n.ints("split")
	if in := n.in(1); in != "" {
		var known bool
		if sizes, known = l.integersOf(in); !known {
			n.fail("the sizes of its parts are not constant")
			return
		}
	}
	dims := l.shapeOf(n, n.in(0)).dims
	if axis < 0 {
		axis += len(dims)
	}
	if n.err != nil {
		return
	}
	if axis < 0 || axis >= len(dims) {
		n.fail("its axis is %d, its input has %d axes", axis, len(dims))
		return
	}
	parts := len(n.Output)
	if sizes == nil {
		if wanted := n.int("num_outputs", parts); wanted != parts {
			n.fail("it has %d outputs, and num_outputs %d", parts, wanted)
			return
		}
		size := ceilDiv(dims[axis], parts) // the last may be smaller
		for i := range parts {
			sizes = append(sizes, min(size, dims[axis]-i*size))
		}
	}
	total := 0
	for _, s := range sizes {
		if s < 1 {
			n.fail("the sizes of its parts are %v: each must be above 0", sizes)
			return
		}
		total += s
	}
	if len(sizes) != parts || total != dims[axis] {
		n.fail("the sizes of its parts are %v for %d outputs of an axis of %v", sizes, parts, batchless(dims[axis:axis+1]))
		return
	}
	from := 0
	for i, out := range n.Output {
		if out != "" {
			l.write(out, "Slice", []string{n.in(0), l.integers([]int{from}), l.integers([]int{from + sizes[i]}), l.integers([]int{axis})})
		}
		from += sizes[i]
	}
}

// logits checks what the model returns, and says how many logits there are.
func (l *lowering) logits(s shape, output string) (int, error) {
	if !s.dtype.IsFloat() {
		return 0, fmt.Errorf("its output %q is of type %v, not of logits: choose the output with the logits by %v, or "+
			"export the model without the operator that picks the class", output, s.dtype, outputName)
	}
	if l.single {
		s.dims = append([]int{probeBatch}, s.dims...)
	}
	if len(s.dims) == 0 || s.dims[0] != probeBatch {
		return 0, fmt.Errorf("its output %q has the shape %v for a batch of n: it must be [n, classes], one row for each "+
			"input", output, batchless(s.dims))
	}
	wide := 0
	for _, d := range s.dims[1:] {
		if d != 1 {
			wide++
		}
	}
	if wide > 1 {
		return 0, fmt.Errorf("its output %q has the shape %v: it must be [n, classes]", output, batchless(s.dims))
	}
	if sizeOf(s.dims[1:]) == 0 {
		return 0, fmt.Errorf("its output %q has the shape %v, and so no values: one of its operators takes nothing of its "+
			"input", output, batchless(s.dims))
	}
	return sizeOf(s.dims[1:]), nil
}

// concat repeats a constant over the batch, where the file, written for a batch of one, has one row of it: the class
// token of a vision transformer.
func concat(l *lowering, n *node) {
	axis := n.int("axis", 0)
	batched := false
	if l.batch == 1 && axis != 0 {
		for _, in := range n.Input {
			dims := l.shapeOf(n, in).dims
			batched = batched || len(dims) > 0 && dims[0] == probeBatch
		}
	}
	if batched && n.err == nil {
		for i, in := range n.Input {
			dims := l.shapeOf(n, in).dims
			if len(dims) == 0 || dims[0] != 1 {
				continue
			}
			batch := l.op("Gather", l.op("Shape", l.input), l.integers([]int{0}))
			all := l.write("", "Concat", []string{batch, l.integers(dims[1:])}, "axis", 0)
			n.Input[i] = l.op("Expand", in, all)
		}
	}
	l.keep(n)
}
