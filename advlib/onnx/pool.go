package onnx

import (
	"slices"

	"github.com/gomlx/compute-onnx/support/protos"
)

// window is where a convolution or a pool looks, by spatial axis.
type window struct {
	kernel, strides, dilations, begin, end []int
	ceil                                   []int // of end, what ceil_mode has added
}

func (w window) pads() []int { return slices.Concat(w.begin, w.end) }

func (w window) padded() bool {
	return slices.ContainsFunc(w.pads(), func(p int) bool { return p != 0 })
}

// extent returns how many pixels the kernel spans along an axis.
func (w window) extent(i int) int { return (w.kernel[i]-1)*w.dilations[i] + 1 }

// list returns an attribute with size integers, each the given one where it is absent, and none below least.
func (n *node) list(name string, size, otherwise, least int) []int {
	v := n.ints(name)
	if v == nil {
		v = slices.Repeat([]int{otherwise}, size)
	}
	if len(v) != size {
		n.fail("its attribute %s is %v: %d numbers are needed", name, v, size)
		return make([]int, size)
	}
	for _, x := range v {
		if x < least || x > 1<<20 {
			n.fail("its attribute %s is %v: sizes must be %d to %d", name, v, least, 1<<20)
		}
	}
	return v
}

// windowOf reads the window's attributes, with ONNX's defaults, and turns auto_pad and ceil_mode into pads.
func (l *lowering) windowOf(n *node, kernel []int) window {
	rank := len(kernel)
	w := window{kernel: kernel, strides: n.list("strides", rank, 1, 1), dilations: n.list("dilations", rank, 1, 1), ceil: make([]int, rank)}
	pads := n.list("pads", 2*rank, 0, 0)
	w.begin, w.end = slices.Clone(pads[:rank]), slices.Clone(pads[rank:])
	if rank == 0 {
		n.fail("it has no kernel_shape")
	}
	for _, k := range kernel {
		if k < 1 || k > 1<<20 {
			n.fail("its kernel has the shape %v: sizes must be 1 to %d", kernel, 1<<20)
		}
	}
	if n.err != nil {
		return w
	}
	auto := n.text("auto_pad", "NOTSET")
	ceil := n.int("ceil_mode", 0) != 0 && slices.ContainsFunc(w.strides, func(s int) bool { return s > 1 })
	same := auto == "SAME_UPPER" || auto == "SAME_LOWER"
	if !same && auto != "NOTSET" && auto != "VALID" && auto != "" {
		n.fail("its attribute auto_pad is %q: it must be NOTSET, VALID, SAME_UPPER or SAME_LOWER", auto)
	}
	if same && n.OpType != "Conv" && slices.Max(w.dilations) > 1 {
		n.fail("it has dilations %v and the auto_pad %s, which ONNX Runtime pads otherwise than ONNX says: export the "+
			"model with pads", w.dilations, auto)
		return w
	}
	if auto == "VALID" {
		w.begin, w.end = make([]int, rank), make([]int, rank)
	}
	if !same && !ceil {
		return w
	}
	spatial := l.spatialSizes(n, rank)
	if n.err != nil {
		return w
	}
	for i, size := range spatial {
		if same { // as many outputs as strides begin inside
			total := max(0, (ceilDiv(size, w.strides[i])-1)*w.strides[i]+w.extent(i)-size)
			w.begin[i], w.end[i] = total/2, total-total/2
			if auto == "SAME_LOWER" {
				w.begin[i], w.end[i] = w.end[i], w.begin[i]
			}
			continue
		}
		outputs := ceilDiv(size+w.begin[i]+w.end[i]-w.extent(i), w.strides[i]) + 1
		if (outputs-1)*w.strides[i] >= size+w.begin[i] { // a window must not begin in what is added at the end
			outputs--
		}
		w.ceil[i] = max(0, (outputs-1)*w.strides[i]+w.extent(i)-size-w.begin[i]-w.end[i])
		w.end[i] += w.ceil[i]
	}
	return w
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// spatialSizes returns the sizes of the axes behind batch and channels, which must be rank many.
func (l *lowering) spatialSizes(n *node, rank int) []int {
	dims := l.shapeOf(n, n.in(0)).dims
	if n.err == nil && len(dims) != rank+2 {
		n.fail("its input has the shape %v: %d axes are needed for a kernel of %d", batchless(dims), rank+2, rank)
	}
	if n.err != nil {
		return nil
	}
	return dims[2:]
}

// spatialAxes returns the axes behind batch and channels.
func (l *lowering) spatialAxes(n *node) []int {
	dims := l.shapeOf(n, n.in(0)).dims
	if n.err == nil && len(dims) < 3 {
		n.fail("its input has the shape %v: batch, channels and at least one more axis are needed", batchless(dims))
	}
	var axes []int
	for i := 2; i < len(dims); i++ {
		axes = append(axes, i)
	}
	return axes
}

// globalPool reduces all that is behind batch and channels.
func globalPool(reduce string) func(*lowering, *node) {
	return func(l *lowering, n *node) {
		l.write(n.Output[0], reduce, n.Input, "axes", l.spatialAxes(n), "keepdims", 1)
	}
}

func maxPool(l *lowering, n *node) {
	w := l.windowOf(n, n.ints("kernel_shape"))
	if n.err != nil {
		return
	}
	// Padding counts as −∞. The kernel must reach into the input from each end, or a window may have nothing in it.
	for i := range w.kernel {
		if w.begin[i] >= w.extent(i) || w.end[i] >= w.extent(i) {
			n.fail("its pads %v are not smaller than its kernel %v", w.pads(), w.kernel)
			return
		}
	}
	if slices.Max(w.dilations) > 1 {
		l.dilatedPool(n, n.in(0), w, "Max")
		return
	}
	l.write(n.Output[0], "MaxPool", n.Input, "kernel_shape", w.kernel, "pads", w.pads(), "strides", w.strides)
}

// dilatedPool takes the maximum, or the sum, of the elements at each position of the window, one axis after the other.
// Where a position lies in the padding, a maximum takes another one of the same window. A sum has its input padded
// before.
func (l *lowering) dilatedPool(n *node, x string, w window, op string) {
	dims := slices.Clone(l.shapeOf(n, x).dims)
	if n.err == nil && len(dims) != len(w.kernel)+2 {
		n.fail("its input has the shape %v: %d axes are needed for a kernel of %d", batchless(dims), len(w.kernel)+2, len(w.kernel))
	}
	if n.err != nil {
		return
	}
	if slices.Max(w.kernel) > mostPieces {
		n.fail("its kernel %v has dilations: up to %d positions along an axis are supported", w.kernel, mostPieces)
		return
	}
	for i, k := range w.kernel {
		d, first := dims[2+i], ""
		outputs := w.outputs(i, d)
		if outputs < 1 {
			n.fail("its kernel %v is larger than its input", w.kernel)
			return
		}
		for p := range k {
			at := collect(outputs, func(o int) int {
				start := o*w.strides[i] - w.begin[i]
				for q := range k { // this one, or else the next that is inside
					if v := start + (p+q)%k*w.dilations[i]; v >= 0 && v < d {
						return v
					}
				}
				n.fail("one of its windows has nothing but padding in it")
				return 0
			})
			if n.err != nil {
				return
			}
			part := l.pick(n, x, dims, 2+i, at)
			if first == "" {
				first = part
			} else {
				first = l.op(op, first, part)
			}
		}
		x, dims[2+i] = first, outputs
	}
	l.same(n, x)
}

// outputs is how many windows fit an axis.
func (w window) outputs(i, size int) int {
	if room := size + w.begin[i] + w.end[i] - w.extent(i); room >= 0 {
		return room/w.strides[i] + 1
	}
	return 0
}

// meanOver writes the mean over each window of x, padded with zeros, and returns its name.
func (l *lowering) meanOver(n *node, x string, w window) string {
	if w.padded() {
		pads := slices.Concat([]int{0, 0}, w.begin, []int{0, 0}, w.end)
		x = l.op("Pad", x, l.integers(pads), l.number(0))
	}
	if slices.Max(w.dilations) == 1 {
		return l.write("", "AveragePool", []string{x}, "kernel_shape", w.kernel, "strides", w.strides)
	}
	sum := &node{NodeProto: &protos.NodeProto{OpType: n.OpType, Output: []string{l.fresh("sum")}}, opset: n.opset}
	l.dilatedPool(sum, x, window{kernel: w.kernel, strides: w.strides, dilations: w.dilations,
		begin: make([]int, len(w.kernel)), end: make([]int, len(w.kernel))}, "Add")
	if n.err = sum.err; n.err != nil {
		return x
	}
	return l.op("Mul", l.resolve(sum.Output[0]), l.number(1/float64(sizeOf(w.kernel))))
}

// averagePool pads with zeros itself, and corrects for them: what padding is counted differs between ONNX and GoMLX.
func averagePool(l *lowering, n *node) {
	w := l.windowOf(n, n.ints("kernel_shape"))
	if n.err != nil {
		return
	}
	if !w.padded() {
		if mean := l.meanOver(n, n.in(0), w); n.err == nil {
			l.same(n, mean)
		}
		return
	}
	rank := len(w.kernel)
	sizes := l.spatialSizes(n, rank)
	if n.err != nil {
		return
	}
	share := l.meanOver(n, n.in(0), w)
	if n.err != nil {
		return
	}
	// The share of each window that counts: a product over the axes, broadcast over batch and channels.
	for i, size := range sizes {
		k := w.kernel[i]
		from, to := w.begin[i], w.begin[i]+size // what counts, in padded coordinates
		if n.int("count_include_pad", 0) != 0 {
			from, to = 0, size+w.begin[i]+w.end[i]-w.ceil[i]
		}
		outputs := w.outputs(i, size)
		dims := make1(rank + 2)
		dims[2+i] = outputs
		t := &tensor{dims: dims}
		for o := range outputs {
			first, d := o*w.strides[i], w.dilations[i] // position p looks at first + p·d
			counted := min(k, ceilDiv(max(0, to-first), d)) - ceilDiv(max(0, from-first), d)
			if counted <= 0 {
				n.fail("one of its windows has nothing but padding in it")
				return
			}
			t.wide = append(t.wide, float64(k)/float64(counted))
		}
		if outputs == 0 {
			n.fail("its kernel %v is larger than its padded input", w.kernel)
			return
		}
		share = l.op("Mul", share, l.add(t))
	}
	l.same(n, share)
}

// lpPool is (Σ|x|^p)^(1/p) over each window; padding counts as 0.
func lpPool(l *lowering, n *node) {
	w := l.windowOf(n, n.ints("kernel_shape"))
	if n.err != nil {
		return
	}
	p := n.int("p", 2)
	mean := l.meanOver(n, l.power(n, n.in(0), p), w)
	if n.err == nil {
		l.same(n, l.root(l.op("Mul", mean, l.number(float64(sizeOf(w.kernel)))), p))
	}
}

func globalLpPool(l *lowering, n *node) {
	axes, p := l.spatialAxes(n), n.int("p", 2)
	sum := l.write("", "ReduceSum", []string{l.power(n, n.in(0), p)}, "axes", axes, "keepdims", 1)
	l.same(n, l.root(sum, p))
}

// power returns |x|^p.
func (l *lowering) power(n *node, x string, p int) string {
	switch {
	case p < 1:
		n.fail("its p is %d: it must be at least 1", p)
		return x
	case p == 1:
		return l.abs(x)
	case p == 2:
		return l.square(x)
	}
	return l.op("Pow", l.abs(x), l.number(float64(p)))
}

// root is what undoes power.
func (l *lowering) root(x string, p int) string {
	switch p {
	case 1:
		return x
	case 2:
		return l.op("Sqrt", x)
	}
	return l.op("Pow", x, l.number(1/float64(p)))
}

// softmaxAxes returns the axes that a softmax runs over: before opset 13 the given one and all behind it.
func (l *lowering) softmaxAxes(n *node) []int {
	axis := n.int("axis", -1)
	if l.opset >= 13 {
		return []int{axis}
	}
	axis = n.int("axis", 1)
	if axis == -1 {
		return []int{-1}
	}
	rank := len(l.shapeOf(n, n.in(0)).dims)
	if axis < 0 {
		axis += rank
	}
	if n.err == nil && (axis < 0 || axis >= rank) {
		n.fail("its axis is %d, its input has %d axes", n.int("axis", 1), rank)
	}
	if n.err != nil {
		return nil
	}
	var axes []int
	for i := axis; i < rank; i++ {
		axes = append(axes, i)
	}
	return axes
}

// shifted returns x − max x, whose exponentials do not overflow, and Σ exp of it.
func (l *lowering) shifted(n *node) (z, sum string) {
	axes := l.softmaxAxes(n)
	z = l.op("Sub", n.in(0), l.write("", "ReduceMax", n.Input, "axes", axes, "keepdims", 1))
	return z, l.write("", "ReduceSum", []string{l.op("Exp", z)}, "axes", axes, "keepdims", 1)
}

func softmax(l *lowering, n *node) {
	if l.opset >= 13 {
		l.keep(n)
		return
	}
	z, sum := l.shifted(n)
	l.write(n.Output[0], "Div", []string{l.op("Exp", z), sum})
}

func logSoftmax(l *lowering, n *node) {
	z, sum := l.shifted(n)
	l.write(n.Output[0], "Sub", []string{z, l.op("Log", sum)})
}
