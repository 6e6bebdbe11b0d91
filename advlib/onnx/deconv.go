package onnx

import (
	"slices"
)

// conv gets its padding in numbers. GoMLX v0.28.8 has strides or dilations, not both: with both, zeros are put between
// the kernel's elements, which is what a dilation means.
func conv(l *lowering, n *node) {
	dims := l.shapeOf(n, n.in(1)).dims
	if n.err == nil && len(dims) < 3 {
		n.fail("its weights have the shape %v: at least three axes are needed", dims)
	}
	if n.err != nil {
		return
	}
	kernel := n.ints("kernel_shape")
	if kernel == nil {
		kernel = dims[2:]
	}
	w := l.windowOf(n, kernel)
	if n.err != nil {
		return
	}
	if !slices.Equal(kernel, dims[2:]) {
		n.fail("its kernel_shape is %v, its weights have the shape %v", kernel, dims)
		return
	}
	in := slices.Clone(n.Input)
	if slices.Max(w.strides) > 1 && slices.Max(w.dilations) > 1 {
		in[1] = l.spread(in[1], dims, w.dilations)
		w.kernel, w.dilations = collect(len(kernel), w.extent), make1(len(kernel))
	}
	in[0] = l.within(in[0], &w)
	l.write(n.Output[0], "Conv", in, "kernel_shape", w.kernel, "pads", w.pads(), "strides", w.strides,
		"dilations", w.dilations, "group", n.int("group", 1))
}

// within pads x by what is beyond the kernel's reach, and leaves the rest to the convolution: GoMLX has no gradient of
// more.
func (l *lowering) within(x string, w *window) string {
	rank := len(w.kernel)
	pads := make([]int, 2*(rank+2))
	for i := range w.kernel {
		reach := w.extent(i) - 1
		pads[2+i], pads[rank+4+i] = max(0, w.begin[i]-reach), max(0, w.end[i]-reach)
		w.begin[i], w.end[i] = min(w.begin[i], reach), min(w.end[i], reach)
	}
	if slices.Max(pads) == 0 {
		return x
	}
	return l.op("Pad", x, l.integers(pads), l.number(0))
}

// spread puts by[i] − 1 zeros between the elements of the i-th axis behind the first two; size k becomes (k −
// 1)·by + 1. Where the first axis is the batch, it stays open.
func (l *lowering) spread(x string, dims, by []int) string {
	if slices.Max(by) == 1 {
		return x
	}
	first := dims[0]
	if l.grows(first) {
		first = 0
	}
	apart, joined := []int{first, dims[1]}, []int{first, dims[1]}
	pads := make([]int, 2*(2+2*len(by)))
	starts, ends, axes := make([]int, len(by)), make([]int, len(by)), make([]int, len(by))
	for i, s := range by {
		k := dims[2+i]
		apart, joined = append(apart, k, 1), append(joined, k*s)
		pads[len(pads)/2+3+2*i] = s - 1
		ends[i], axes[i] = (k-1)*s+1, 2+i
	}
	x = l.op("Pad", l.op("Reshape", x, l.integers(apart)), l.integers(pads), l.number(0))
	return l.op("Slice", l.op("Reshape", x, l.integers(joined)), l.integers(starts), l.integers(ends), l.integers(axes))
}

// convTranspose is the convolution that goes back: zeros are put between the pixels of its input, as many as its
// strides say, and that is convolved with the kernel turned round, its channels exchanged.
func convTranspose(l *lowering, n *node) {
	x, weights := l.shapeOf(n, n.in(0)).dims, l.shapeOf(n, n.in(1)).dims
	rank, group := len(weights)-2, n.int("group", 1)
	if n.err == nil && (rank < 1 || len(x) != rank+2 || group < 1 || weights[0]%group != 0 || x[1] != weights[0]) {
		n.fail("its input of shape %v does not fit weights of shape %v in %d groups", batchless(x), weights, group)
	}
	if n.err != nil {
		return
	}
	kernel := weights[2:]
	if k := n.ints("kernel_shape"); k != nil && !slices.Equal(k, kernel) {
		n.fail("its kernel_shape is %v, its weights have the shape %v", k, weights)
		return
	}
	w := l.windowBack(n, kernel, x[2:])
	if n.err != nil {
		return
	}
	// The kernel [C, M/g, k…] as [M, C/g, k…], turned round.
	c, m := weights[0]/group, weights[1]
	k := n.in(1)
	if group > 1 {
		perm := collect(rank+3, func(i int) int { return i })
		perm[1], perm[2] = 2, 1
		k = l.op("Reshape", k, l.integers(slices.Concat([]int{group, c, m}, kernel)))
		k = l.write("", "Transpose", []string{k}, "perm", perm)
		k = l.op("Reshape", k, l.integers(slices.Concat([]int{group * m, c}, kernel)))
	} else {
		perm := collect(rank+2, func(i int) int { return i })
		perm[0], perm[1] = 1, 0
		k = l.write("", "Transpose", []string{k}, "perm", perm)
	}
	for i, size := range kernel {
		k = l.reversed(k, rank+2, 2+i, size)
	}
	in := l.spread(n.in(0), x, w.strides)
	for i := range kernel { // what the padding takes away beyond the kernel's reach
		if size := (x[2+i]-1)*w.strides[i] + 1; w.begin[i] < 0 || w.end[i] < 0 {
			in = l.cut(in, 2+i, max(0, -w.begin[i]), size-max(0, -w.end[i]), 1)
			w.begin[i], w.end[i] = max(0, w.begin[i]), max(0, w.end[i])
		}
	}
	inputs := []string{l.within(in, &w), k}
	if n.in(2) != "" {
		inputs = append(inputs, n.in(2))
	}
	l.write(n.Output[0], "Conv", inputs, "kernel_shape", kernel, "pads", w.pads(), "strides", make1(rank),
		"dilations", w.dilations, "group", group)
}

// windowBack reads the window of a transposed convolution. begin and end are the pads of the convolution that it
// becomes, and may be below 0.
func (l *lowering) windowBack(n *node, kernel, size []int) window {
	rank := len(kernel)
	auto, shape := n.text("auto_pad", "NOTSET"), n.ints("output_shape")
	same := auto == "SAME_UPPER" || auto == "SAME_LOWER"
	pads := n.ints("pads")
	if same || auto == "VALID" || shape != nil || pads == nil {
		pads = make([]int, 2*rank)
	}
	strides, dilations, extra := n.list("strides", rank, 1, 1), n.list("dilations", rank, 1, 1), n.list("output_padding", rank, 0, 0)
	if len(shape) > rank {
		shape = shape[len(shape)-rank:] // some give the batch and the channels too
	}
	if n.err == nil && (len(pads) != 2*rank || shape != nil && len(shape) != rank || slices.Min(append(pads, 0)) < 0 ||
		slices.Max(append(pads, 0)) > 1<<20) {
		n.fail("its pads are %v, its output_shape %v, for %d spatial axes", pads, shape, rank)
	}
	if n.err == nil && !same && auto != "NOTSET" && auto != "VALID" && auto != "" {
		n.fail("its attribute auto_pad is %q: it must be NOTSET, VALID, SAME_UPPER or SAME_LOWER", auto)
	}
	w := window{kernel: kernel, strides: strides, dilations: dilations, begin: make([]int, rank), end: make([]int, rank)}
	if n.err != nil {
		return w
	}
	for i, k := range kernel {
		if k < 1 || l.grows(size[i]) {
			n.fail("its kernel has the shape %v, its images %v", kernel, batchless(size))
			return w
		}
		reach := (k - 1) * dilations[i]
		full := strides[i]*(size[i]-1) + extra[i] + reach + 1
		begin, end := pads[i], pads[rank+i]
		if wanted := at(shape, i, size[i]*strides[i]); same || shape != nil {
			total := full - wanted
			if total < 0 || wanted < 1 {
				n.fail("its output would have the size %d, of which it gives %d: that is not supported", wanted, full)
				return w
			}
			begin = total - total/2
			if auto == "SAME_UPPER" {
				begin = total / 2
			}
			end = total - begin
		}
		if begin+end >= full {
			n.fail("its pads %v leave nothing of an output of size %d", pads, full)
			return w
		}
		w.begin[i], w.end[i] = reach-begin, reach-end+extra[i]
	}
	return w
}

func at(s []int, i, otherwise int) int {
	if s == nil {
		return otherwise
	}
	return s[i]
}
