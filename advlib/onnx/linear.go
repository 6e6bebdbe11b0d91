package onnx

import "strings"

// matMul: in a model without a batch axis, the vector becomes a row, whatever side of the product it is on.
func matMul(l *lowering, n *node) {
	if !l.vector || l.single {
		l.keep(n)
		return
	}
	w, x := n.in(0), n.in(1)
	if l.weights[x] != nil { // x·W
		l.keep(n)
		return
	}
	if l.weights[w] == nil {
		n.fail("it is a product of two vectors that depend on the input, which is not supported without a batch axis: " +
			"export the model with a batch")
		return
	}
	if len(l.weights[w].dims) != 2 { // W·x = (x·Wᵀ)ᵀ
		n.fail("its matrix has the shape %v: two axes are supported without a batch axis", l.weights[w].dims)
		return
	}
	l.write(n.Output[0], "MatMul", []string{x, l.write("", "Transpose", []string{w}, "perm", []int{1, 0})})
}

// gemm is of matrices: ONNX has no other, onnx-gomlx would take a vector.
func gemm(l *lowering, n *node) {
	for i, name := range []string{"A", "B"} {
		if dims := l.shapeOf(n, n.in(i)).dims; n.err == nil && len(dims) != 2 {
			n.fail("its input %s has the shape %v: two axes are needed", name, batchless(dims))
		}
	}
	l.keep(n)
}

// batchNorm uses the running moments; momentum is for training only.
func batchNorm(l *lowering, n *node) {
	if n.int("training_mode", 0) != 0 || n.int("spatial", 1) != 1 {
		n.fail("it normalises by the moments of the batch, or for each pixel: export the model for inference (in PyTorch, model.eval())")
	}
	l.write(n.Output[0], "BatchNormalization", n.Input, "epsilon", n.float("epsilon", 1e-5))
}

// instanceNorm normalises each channel of each example: scale·(x − mean)/√(variance + ε) + bias.
func instanceNorm(l *lowering, n *node) {
	axes := l.spatialAxes(n)
	channels := make([]int, len(axes)+2)
	for i := range channels {
		channels[i] = 1
	}
	channels[1] = -1
	x, shape := n.in(0), l.integers(channels)
	centred, variance := l.centred(x, axes)
	unit := l.op("Div", centred, l.op("Sqrt", l.op("Add", variance, l.number(n.float("epsilon", 1e-5)))))
	scaled := l.op("Mul", unit, l.op("Reshape", n.in(1), shape))
	l.write(n.Output[0], "Add", []string{scaled, l.op("Reshape", n.in(2), shape)})
}

func layerNorm(l *lowering, n *node) {
	axis, rank := n.int("axis", -1), len(l.shapeOf(n, n.in(0)).dims)
	if n.err == nil && (axis < -rank || axis >= rank) {
		n.fail("its axis is %d, its input has %d axes", axis, rank)
	}
	l.write(n.Output[0], "LayerNormalization", n.Input, "axis", axis, "epsilon", n.float("epsilon", 1e-5))
}

// localResponseNorm is x / (bias + α/size·Σx²)^β, the sum over size channels around each.
func localResponseNorm(l *lowering, n *node) {
	size := n.int("size", 0)
	dims := l.shapeOf(n, n.in(0)).dims
	if n.err != nil {
		return
	}
	if size < 1 || size%2 == 0 || size > 1<<10 || len(dims) < 2 {
		n.fail("it sums over %d channels of an input with %d axes: an odd number of channels and two axes are needed", size, len(dims))
		return
	}
	pads := make([]int, 2*len(dims))
	pads[1], pads[1+len(dims)] = (size-1)/2, size/2
	squares := l.op("Pad", l.op("Mul", n.in(0), n.in(0)), l.integers(pads), l.number(0))
	axis := l.integers([]int{1})
	sum := ""
	for i := range size {
		part := l.op("Slice", squares, l.integers([]int{i}), l.integers([]int{i + dims[1]}), axis)
		if sum == "" {
			sum = part
		} else {
			sum = l.op("Add", sum, part)
		}
	}
	scaled := l.op("Mul", sum, l.number(n.float("alpha", 1e-4)/float64(size)))
	base := l.op("Add", scaled, l.number(n.float("bias", 1)))
	l.write(n.Output[0], "Div", []string{n.in(0), l.op("Pow", base, l.number(n.float("beta", 0.75)))})
}

// einsum of two factors is onnx-gomlx's, whose equation names the result; of one, it is a transpose.
func einsum(l *lowering, n *node) {
	equation := strings.ReplaceAll(n.text("equation", ""), " ", "")
	left, right, explicit := strings.Cut(equation, "->")
	terms := strings.Split(left, ",")
	if len(terms) != len(n.Input) || strings.Contains(left, ".") || !explicit {
		n.fail("its equation %q has an ellipsis, does not name the result, or not each of %d factors, which is not "+
			"supported", equation, len(n.Input))
		return
	}
	for _, term := range append(terms, right) {
		for i := range len(term) {
			if strings.Count(term, term[i:i+1]) > 1 || !strings.Contains(left, term[i:i+1]) {
				n.fail("its equation %q names an axis twice in one factor, or one that no factor has, which is not supported", equation)
				return
			}
		}
	}
	if len(terms) == 2 {
		l.write(n.Output[0], "Einsum", n.Input, "equation", equation)
		return
	}
	if len(right) != len(left) {
		n.fail("its equation %q adds up axes of one factor, which is not supported: use ReduceSum", equation)
		return
	}
	l.write(n.Output[0], "Transpose", n.Input, "perm", collect(len(right), func(i int) int { return strings.IndexByte(left, right[i]) }))
}
