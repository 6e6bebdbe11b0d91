package onnx

import "slices"

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

// windowOf reads the window's attributes, with ONNX's defaults, and turns auto_pad and ceil_mode into pads.
func (l *lowering) windowOf(n *node, kernel []int) window {
	rank := len(kernel)
	list := func(name string, size, otherwise, least int) []int {
		v := n.ints(name)
		if v == nil {
			v = make([]int, size)
			for i := range v {
				v[i] = otherwise
			}
		}
		if len(v) != size {
			n.fail("its attribute %s is %v, for %d spatial axes", name, v, rank)
			return make([]int, size)
		}
		for _, x := range v {
			if x < least || x > 1<<20 {
				n.fail("its attribute %s is %v: sizes must be %d to %d", name, v, least, 1<<20)
			}
		}
		return v
	}
	w := window{kernel: kernel, strides: list("strides", rank, 1, 1), dilations: list("dilations", rank, 1, 1), ceil: make([]int, rank)}
	pads := list("pads", 2*rank, 0, 0)
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

func globalPool(reduce string) func(*lowering, *node) {
	return func(l *lowering, n *node) {
		l.write(n.Output[0], reduce, n.Input, "axes", l.spatialAxes(n), "keepdims", 1)
	}
}

func maxPool(l *lowering, n *node) {
	w := l.windowOf(n, n.ints("kernel_shape"))
	if slices.Max(append(w.dilations, 1)) > 1 {
		n.fail("it has dilations %v, which are not supported in pools", w.dilations)
	}
	if n.err != nil {
		return
	}
	// Padding counts as −∞. The kernel must reach into the input from each end, or a window may have nothing in it.
	for i, k := range w.kernel {
		if w.begin[i] >= k || w.end[i] >= k {
			n.fail("its pads %v are not smaller than its kernel %v", w.pads(), w.kernel)
		}
	}
	l.write(n.Output[0], "MaxPool", n.Input, "kernel_shape", w.kernel, "pads", w.pads(), "strides", w.strides)
}

// averagePool pads with zeros itself, and corrects for them: what padding is counted differs between ONNX and GoMLX.
func averagePool(l *lowering, n *node) {
	w := l.windowOf(n, n.ints("kernel_shape"))
	if slices.Max(append(w.dilations, 1)) > 1 {
		n.fail("it has dilations %v, which are not supported in pools", w.dilations)
	}
	if n.err != nil {
		return
	}
	if !w.padded() {
		l.write(n.Output[0], "AveragePool", n.Input, "kernel_shape", w.kernel, "strides", w.strides)
		return
	}
	rank := len(w.kernel)
	sizes := l.spatialSizes(n, rank)
	if n.err != nil {
		return
	}
	pads := slices.Concat([]int{0, 0}, w.begin, []int{0, 0}, w.end)
	padded := l.op("Pad", n.in(0), l.integers(pads), l.number(0))
	mean := l.write("", "AveragePool", []string{padded}, "kernel_shape", w.kernel, "strides", w.strides)

	// The share of each window that counts: a product over the axes, broadcast over batch and channels.
	share := mean
	for i, size := range sizes {
		k := w.kernel[i]
		if size+w.begin[i]+w.end[i] < k {
			n.fail("its kernel %v is larger than its padded input", w.kernel)
			return
		}
		from, to := w.begin[i], w.begin[i]+size // what counts, in padded coordinates
		if n.int("count_include_pad", 0) != 0 {
			from, to = 0, size+w.begin[i]+w.end[i]-w.ceil[i]
		}
		outputs := (size+w.begin[i]+w.end[i]-k)/w.strides[i] + 1
		dims := make([]int, rank)
		for j := range dims {
			dims[j] = 1
		}
		dims[i] = outputs
		t := &tensor{dims: append([]int{1, 1}, dims...)}
		for o := range outputs {
			counted := min(to, o*w.strides[i]+k) - max(from, o*w.strides[i])
			if counted <= 0 {
				n.fail("one of its windows has nothing but padding in it")
				return
			}
			t.floats = append(t.floats, float32(float64(k)/float64(counted)))
		}
		share = l.op("Mul", share, l.add(t))
	}
	l.same(n, share)
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
