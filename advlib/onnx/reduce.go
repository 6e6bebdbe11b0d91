package onnx

import (
	"math"
	"slices"
)

// axesOf returns the axes that a reduction runs over, counted from the front, and the shape of its input. nothing tells
// that it does nothing, for want of axes.
func (l *lowering) axesOf(n *node) (axes, dims []int, nothing bool) {
	axes = n.ints("axes")
	if in := n.in(1); in != "" {
		var known bool
		if axes, known = l.integersOf(in); !known {
			n.fail("its axes are not constant")
		}
	}
	dims = l.shapeOf(n, n.in(0)).dims
	if n.err != nil {
		return nil, dims, false
	}
	if len(axes) == 0 {
		if n.int("noop_with_empty_axes", 0) != 0 {
			return nil, dims, true
		}
		axes = collect(len(dims), func(i int) int { return i })
	}
	for i, axis := range axes {
		axis, ok := n.fromFront(axis, len(dims))
		if !ok {
			return nil, dims, false
		}
		axes[i] = axis
	}
	return axes, dims, false
}

// reduction writes one of onnx-gomlx's reductions of what before makes of the input, and after of the result.
func reduction(reduce string, before, after func(l *lowering, x string) string) func(*lowering, *node) {
	return func(l *lowering, n *node) {
		axes, _, nothing := l.axesOf(n)
		if n.err != nil {
			return
		}
		x := n.in(0)
		if before != nil && !nothing {
			x = before(l, x)
		}
		if !nothing {
			x = l.write("", reduce, []string{x}, "axes", axes, "keepdims", n.int("keepdims", 1))
		}
		if after != nil && !nothing {
			x = after(l, x)
		}
		l.same(n, x)
	}
}

func (l *lowering) square(x string) string { return l.op("Mul", x, x) }
func (l *lowering) abs(x string) string    { return l.op("Abs", x) }
func (l *lowering) log(x string) string    { return l.op("Log", x) }

// reduceLogSumExp is max + ln Σ e^(x − max), which does not overflow.
func reduceLogSumExp(l *lowering, n *node) {
	axes, _, nothing := l.axesOf(n)
	if n.err != nil {
		return
	}
	if nothing {
		l.same(n, n.in(0))
		return
	}
	top := l.write("", "ReduceMax", n.Input[:1], "axes", axes, "keepdims", 1)
	sum := l.write("", "ReduceSum", []string{l.op("Exp", l.op("Sub", n.in(0), top))}, "axes", axes, "keepdims", 1)
	l.dropped(n, l.op("Add", top, l.log(sum)), axes)
}

// dropped is x, a reduction that has kept its axes, without them unless they are to be kept.
func (l *lowering) dropped(n *node, x string, axes []int) {
	if n.int("keepdims", 1) != 0 {
		l.same(n, x)
		return
	}
	l.write(n.Output[0], "Squeeze", []string{x}, "axes", axes)
}

// reduceProd multiplies the two halves of each axis with each other until one element is left: GoMLX has no gradient of
// its own product.
func reduceProd(l *lowering, n *node) {
	axes, dims, nothing := l.axesOf(n)
	x := n.in(0)
	for _, axis := range axes {
		if n.err != nil {
			return
		}
		if l.grows(dims[axis]) {
			n.fail("it multiplies the batch's rows with each other: a classifier treats each row by itself")
			return
		}
		for d := dims[axis]; d > 1; {
			half := d / 2
			y := l.op("Mul", l.cut(x, axis, 0, half, 1), l.cut(x, axis, half, 2*half, 1))
			if d%2 == 1 {
				y = l.write("", "Concat", []string{y, l.cut(x, axis, d-1, d, 1)}, "axis", axis)
			}
			x, d = y, d-half
		}
	}
	switch {
	case n.err != nil:
	case nothing:
		l.same(n, x)
	default:
		l.dropped(n, x, axes)
	}
}

// lpNorm divides by the norm of each vector; one of zeros stays.
func lpNorm(l *lowering, n *node) {
	axis, ok := n.axisOf(-1, len(l.shapeOf(n, n.in(0)).dims))
	if !ok {
		return
	}
	norm := ""
	switch p := n.int("p", 2); p {
	case 1:
		norm = l.write("", "ReduceSum", []string{l.abs(n.in(0))}, "axes", []int{axis}, "keepdims", 1)
	case 2:
		norm = l.write("", "ReduceL2", n.Input, "axes", []int{axis}, "keepdims", 1)
	default:
		n.fail("its p is %d: only 1 and 2 are supported", p)
		return
	}
	l.write(n.Output[0], "Div", []string{n.in(0), l.op("Max", norm, l.number(0x1p-126))})
}

// mean returns the mean over axes, which are kept.
func (l *lowering) mean(x string, axes []int) string {
	return l.write("", "ReduceMean", []string{x}, "axes", axes, "keepdims", 1)
}

// centred returns x minus its mean over axes, and its variance.
func (l *lowering) centred(x string, axes []int) (z, variance string) {
	z = l.op("Sub", x, l.mean(x, axes))
	return z, l.mean(l.square(z), axes)
}

func meanVariance(l *lowering, n *node) {
	axes := n.ints("axes")
	if axes == nil {
		axes = []int{0, 2, 3}
	}
	rank := len(l.shapeOf(n, n.in(0)).dims)
	for i := range axes {
		axis, ok := n.fromFront(axes[i], rank)
		if !ok {
			return
		}
		axes[i] = axis
	}
	z, variance := l.centred(n.in(0), axes)
	l.write(n.Output[0], "Div", []string{z, l.op("Add", l.op("Sqrt", variance), l.number(1e-9))})
}

// groupNorm normalises groups of channels. Scale and bias are for each group before opset 21, for each channel since.
func groupNorm(l *lowering, n *node) {
	dims, groups := l.shapeOf(n, n.in(0)).dims, n.int("num_groups", 0)
	scale := l.shapeOf(n, n.in(1)).dims
	if n.err == nil && (len(dims) < 3 || groups < 1 || l.grows(dims[1]) || dims[1]%groups != 0 || len(scale) != 1) {
		n.fail("it normalises %d groups of an input of shape %v, with a scale of shape %v", groups, batchless(dims), scale)
	}
	if n.err != nil {
		return
	}
	z, variance := l.centred(l.op("Reshape", n.in(0), l.integers([]int{0, groups, -1})), []int{2})
	unit := l.op("Div", z, l.op("Sqrt", l.op("Add", variance, l.number(n.float("epsilon", 1e-5)))))
	perGroup := []int{1, groups, 1}
	back := slices.Concat([]int{0}, dims[1:])
	if l.opset >= 21 {
		unit = l.op("Reshape", unit, l.integers(back))
		perGroup = append([]int{1, dims[1]}, make1(len(dims)-2)...)
	}
	unit = l.op("Mul", unit, l.op("Reshape", n.in(1), l.integers(perGroup)))
	unit = l.op("Add", unit, l.op("Reshape", n.in(2), l.integers(perGroup)))
	if l.opset < 21 {
		unit = l.op("Reshape", unit, l.integers(back))
	}
	l.same(n, unit)
}

// rmsNorm divides by the root of the mean square over the axis and all behind it.
func rmsNorm(l *lowering, n *node) {
	rank := len(l.shapeOf(n, n.in(0)).dims)
	axis, ok := n.axisOf(-1, rank)
	if !ok {
		return
	}
	axes := collect(rank-axis, func(i int) int { return axis + i })
	squares := l.mean(l.square(n.in(0)), axes)
	unit := l.op("Div", n.in(0), l.op("Sqrt", l.op("Add", squares, l.number(n.float("epsilon", 1e-5)))))
	l.write(n.Output[0], "Mul", []string{unit, n.in(1)})
}

// counted returns 0, 1, … along an axis, in a shape that broadcasts to dims.
func (l *lowering) counted(dims []int, axis int) string {
	shape := make1(len(dims))
	shape[axis] = dims[axis]
	return l.add(&tensor{dims: shape, wide: collect(dims[axis], func(i int) float64 { return float64(i) })})
}

// place returns where along an axis x has the given extreme, as a real number: the first such place, or the last.
func (l *lowering) place(x, extreme string, dims []int, axis int, last bool) string {
	numbers, none, reduce := l.counted(dims, axis), l.number(float64(dims[axis])), "ReduceMin"
	if last {
		none, reduce = l.number(-1), "ReduceMax"
	}
	at := l.op("Where", l.op("Equal", x, extreme), numbers, none)
	return l.write("", reduce, []string{at}, "axes", []int{axis}, "keepdims", 1)
}

// argument returns the shape of an operator's input and its axis, which must not be the batch.
func (l *lowering) argument(n *node, otherwise int) (dims []int, axis int, ok bool) {
	dims = l.shapeOf(n, n.in(0)).dims
	if axis, ok = n.axisOf(otherwise, len(dims)); ok && l.grows(dims[axis]) {
		n.fail("it compares the batch's rows with each other: a classifier treats each row by itself")
		return dims, axis, false
	}
	return dims, axis, ok
}

func argMax(reduce string) func(*lowering, *node) {
	return func(l *lowering, n *node) {
		dims, axis, ok := l.argument(n, 0)
		if !ok {
			return
		}
		extreme := l.write("", reduce, n.Input, "axes", []int{axis}, "keepdims", 1)
		at := l.write("", "Cast", []string{l.place(n.in(0), extreme, dims, axis, n.int("select_last_index", 0) != 0)}, "to", 7)
		l.dropped(n, at, []int{axis})
	}
}

// hardmax is 1 at the first largest, 0 elsewhere.
func hardmax(l *lowering, n *node) {
	if l.opset < 13 {
		n.fail("before opset 13 it runs over all axes behind its axis, which is not supported: export the model with opset 13")
		return
	}
	dims, axis, ok := l.argument(n, -1)
	if !ok {
		return
	}
	top := l.write("", "ReduceMax", n.Input, "axes", []int{axis}, "keepdims", 1)
	same := l.op("Equal", l.counted(dims, axis), l.place(n.in(0), top, dims, axis, false))
	l.write(n.Output[0], "Cast", []string{same}, "to", 1)
}

// mostTop is how many of the largest are found, one after the other.
const mostTop = 32

// topK takes the largest away one after the other.
func topK(l *lowering, n *node) {
	k, known := l.integersOf(n.in(1))
	dims, axis, ok := l.argument(n, -1)
	if !ok {
		return
	}
	if !known || len(k) != 1 || k[0] < 1 || k[0] > min(mostTop, dims[axis]) {
		n.fail("it finds %v of %d values: a constant of up to %d is supported", k, dims[axis], mostTop)
		return
	}
	x, sign := n.in(0), 1.
	if n.int("largest", 1) == 0 {
		x, sign = l.op("Neg", x), -1
	}
	numbers, lowest := l.counted(dims, axis), l.number(-math.MaxFloat32)
	var values, places []string
	for i := range k[0] {
		top := l.write("", "ReduceMax", []string{x}, "axes", []int{axis}, "keepdims", 1)
		at := l.place(x, top, dims, axis, false)
		values, places = append(values, top), append(places, at)
		if i+1 < k[0] {
			x = l.op("Where", l.op("Equal", numbers, at), lowest, x)
		}
	}
	out := l.write("", "Concat", values, "axis", axis)
	if sign < 0 {
		out = l.op("Neg", out)
	}
	if n.Output[0] != "" {
		l.same(n, out)
	}
	if len(n.Output) > 1 && n.Output[1] != "" {
		l.write(n.Output[1], "Cast", []string{l.write("", "Concat", places, "axis", axis)}, "to", 7)
	}
}

// oneHot compares indices, which may count from the end, with 0, 1, … below depth.
func oneHot(l *lowering, n *node) {
	depth, off, on := l.constants[n.in(1)], l.element(n.in(2), 0), l.element(n.in(2), 1)
	dims := l.shapeOf(n, n.in(0)).dims
	if n.err == nil && (depth == nil || sizeOf(depth.dims) != 1 || off == nil || on == nil) {
		n.fail("its depth is not constant, or its values are not two constant numbers")
	}
	if n.err != nil {
		return
	}
	var d int
	if depth.ints != nil {
		d = int(depth.ints[0])
	} else if depth.isFloat() {
		d = int(depth.float64s()[0])
	}
	axis, ok := n.axisOf(-1, len(dims)+1)
	if !ok || d < 1 {
		n.fail("its depth is %d: it must be above 0", d)
		return
	}
	if !l.fits(n, slices.Insert(slices.Clone(dims), axis, 1), axis, d) {
		return
	}
	shape := make1(len(dims) + 1)
	shape[axis] = d
	at := l.write("", "Unsqueeze", []string{l.write("", "Cast", n.Input[:1], "to", 1)}, "axes", []int{axis})
	at = l.op("Where", l.op("Less", at, l.number(0)), l.op("Add", at, l.number(float64(d))), at)
	l.write(n.Output[0], "Where", []string{l.op("Equal", at, l.counted(shape, axis)), l.add(on), l.add(off)})
}

// element returns one number of a constant, nil if it has no such number.
func (l *lowering) element(name string, i int) *tensor {
	t := l.constants[name]
	if w := l.weights[name]; w != nil {
		t = w
	}
	switch {
	case t == nil || i >= sizeOf(t.dims):
		return nil
	case t.isFloat():
		return &tensor{wide: t.float64s()[i : i+1], dims: []int{}}
	case t.ints != nil:
		return &tensor{ints: t.ints[i : i+1], dims: []int{}, short: t.short}
	}
	return nil
}
