package onnx

import (
	"slices"
)

// Operators that move elements to other places, in terms of slices, which have gradients and bounds of their own:
// picking from an axis by constant indices is the one thing that reversal, swaps of channels, padding by what is there,
// repetition and resizing by the nearest have in common.

// mostPieces is into how many slices an axis is cut to be put together anew. What would need more is a product with a
// matrix of zeros and ones.
const mostPieces = 64

// largestMatrix is how many elements the matrix of a linear map may have.
const largestMatrix = 1 << 22

// fits tells whether a tensor is small enough once an axis has another size, and fails otherwise.
func (l *lowering) fits(n *node, dims []int, axis, size int) bool {
	elements := float64(size)
	for i, d := range dims {
		if i != axis && !l.grows(d) {
			elements *= float64(d)
		}
	}
	if elements > float64(l.limit) {
		n.fail("%w", l.tooLarge(batchless(slices.Concat(dims[:axis], []int{size}, dims[axis+1:]))))
		return false
	}
	return true
}

// pick writes x, of the given shape, with other elements along an axis: output i is what was at at[i], from 0.
func (l *lowering) pick(n *node, x string, dims []int, axis int, at []int) string {
	switch {
	case len(at) == 0:
		n.fail("it leaves nothing of an axis of %v", batchless(dims[axis:axis+1]))
		return x
	case l.grows(dims[axis]):
		n.fail("it picks some of the batch's rows, or puts them in another order: a classifier treats each row by itself")
		return x
	case !l.fits(n, dims, axis, len(at)):
		return x
	}
	if k := repeats(at); k > 1 {
		every := collect(len(at)/k, func(i int) int { return at[i*k] })
		return l.repeated(l.pick(n, x, dims, axis, every), slices.Concat(dims[:axis], []int{len(every)}, dims[axis+1:]), axis, k)
	}
	var parts []string
	pieces := piecesOf(at)
	if len(pieces) > mostPieces && dims[axis] > largestMatrix/len(at) { // without bounds
		return l.write("", "Gather", []string{x, l.integers(at)}, "axis", axis)
	}
	if len(pieces) > mostPieces {
		m := make([]float64, dims[axis]*len(at))
		for o, i := range at {
			m[i*len(at)+o] = 1
		}
		return l.along(x, dims, axis, m, len(at))
	}
	for _, p := range pieces {
		parts = append(parts, l.piece(x, dims, axis, p))
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return l.write("", "Concat", parts, "axis", axis)
}

// repeats is how often each index comes in a row, if that is the same for all.
func repeats(at []int) int {
	k, run := 0, 0
	for i, v := range at {
		if i > 0 && v != at[i-1] {
			k, run = gcd(k, run), 0
		}
		run++
	}
	return gcd(k, run)
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// repeated writes each element of an axis k times in a row.
func (l *lowering) repeated(x string, dims []int, axis, k int) string {
	ones := make1(len(dims) + 1)
	ones[axis+1] = k
	x = l.op("Expand", l.write("", "Unsqueeze", []string{x}, "axes", []int{axis + 1}), l.integers(ones))
	to := slices.Clone(dims)
	to[axis] *= k
	return l.op("Reshape", x, l.integers(l.closed(to)))
}

// closed writes −1 for the axis with the batch in a shape to give to Reshape.
func (l *lowering) closed(dims []int) []int {
	dims = slices.Clone(dims)
	for i, d := range dims {
		if l.grows(d) {
			dims[i] = -1
		}
	}
	return dims
}

// piece is count elements of an axis from one on, each step further; step may be negative, and is not 0 unless count
// is 1.
type piece struct{ from, step, count int }

// piecesOf cuts indices into as long pieces as there are, from the left.
func piecesOf(at []int) []piece {
	var pieces []piece
	for i := 0; i < len(at); {
		p := piece{from: at[i], step: 1, count: 1}
		if i+1 < len(at) && at[i+1] != at[i] {
			p.step = at[i+1] - at[i]
			for i+p.count < len(at) && at[i+p.count]-at[i+p.count-1] == p.step {
				p.count++
			}
			if p.count == 2 && p.step != 1 && i+2 < len(at) { // the second may begin a longer one
				p.step, p.count = 1, 1
			}
		}
		pieces = append(pieces, p)
		i += p.count
	}
	return pieces
}

// piece writes a piece of an axis.
func (l *lowering) piece(x string, dims []int, axis int, p piece) string {
	first, step := p.from, p.step
	if step < 0 {
		first, step = p.from+(p.count-1)*p.step, -step
	}
	if first != 0 || step != 1 || p.count != dims[axis] {
		x = l.cut(x, axis, first, first+(p.count-1)*step+1, step)
	}
	if p.step < 0 {
		x = l.reversed(x, len(dims), axis, p.count)
	}
	return x
}

// cut writes the elements from, from + step, … below to of an axis.
func (l *lowering) cut(x string, axis, from, to, step int) string {
	one := func(v int) string { return l.integers([]int{v}) }
	if step == 1 {
		return l.op("Slice", x, one(from), one(to), one(axis))
	}
	return l.op("Slice", x, one(from), one(to), one(axis), one(step))
}

// reversed writes x with an axis of that size in the other order. onnx-gomlx has no operator for it, but it reverses
// what it pads by reflection: x₂ x₁ | x₀ x₁ x₂, of which the first three are taken.
func (l *lowering) reversed(x string, rank, axis, size int) string {
	if size == 1 {
		return x
	}
	pads := make([]int, 2*rank)
	pads[axis] = size - 1
	return l.cut(l.write("", "Pad", []string{x, l.integers(pads)}, "mode", "reflect"), axis, 0, size, 1)
}

// along multiplies an axis with a constant matrix, m[in·outputs + out], which is all that a linear map of the axis can
// be.
func (l *lowering) along(x string, dims []int, axis int, m []float64, outputs int) string {
	matrix := l.add(&tensor{wide: m, dims: []int{dims[axis], outputs}})
	last := len(dims) - 1
	if axis == last {
		return l.op("MatMul", x, matrix)
	}
	perm := collect(len(dims), func(i int) int { return i })
	perm[axis], perm[last] = last, axis
	return l.write("", "Transpose", []string{l.op("MatMul", l.write("", "Transpose", []string{x}, "perm", perm), matrix)}, "perm", perm)
}

// axisOf reads an axis attribute and counts it from the front; false if it is none of the given rank.
func (n *node) axisOf(otherwise, rank int) (int, bool) {
	return n.fromFront(n.int("axis", otherwise), rank)
}

func (n *node) fromFront(axis, rank int) (int, bool) {
	if axis < -rank || axis >= rank {
		n.fail("its axis is %d, its input has %d axes", axis, rank)
	}
	return axis + rank*b2i(axis < 0), n.err == nil
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// gather of a shape is a constant, unless it is the batch; of anything else, it picks by constant indices.
func gather(l *lowering, n *node) {
	if from, isShape := l.shapeFrom[n.in(0)]; isShape {
		l.gatherSize(n, from)
		return
	}
	index := l.constants[n.in(1)]
	if index == nil || index.ints == nil || l.weights[n.in(0)] != nil || l.constants[n.in(0)] != nil {
		l.keep(n)
		return
	}
	dims := l.shapeOf(n, n.in(0)).dims
	axis, ok := n.axisOf(0, len(dims))
	if !ok {
		return
	}
	x := l.pick(n, n.in(0), dims, axis, n.indices(index.ints, dims[axis]))
	switch {
	case n.err != nil:
	case len(index.dims) == 0:
		l.write(n.Output[0], "Squeeze", []string{x}, "axes", []int{axis})
	case len(index.dims) == 1:
		l.same(n, x)
	default:
		l.write(n.Output[0], "Reshape", []string{x, l.integers(l.closed(slices.Concat(dims[:axis], index.dims, dims[axis+1:])))})
	}
}

// indices counts indices of an axis from the front.
func (n *node) indices(v []int64, size int) []int {
	return collect(len(v), func(i int) int {
		k := v[i]
		if k < 0 {
			k += int64(size)
		}
		if k < 0 || k >= int64(size) {
			n.fail("it reads at %d of an axis of %v", v[i], batchless([]int{size}))
			return 0
		}
		return int(k)
	})
}

// gatherND picks by tuples of constant indices: those of several axes are one of the axes merged.
func gatherND(l *lowering, n *node) {
	index := l.constants[n.in(1)]
	if index == nil || index.ints == nil || len(index.dims) == 0 {
		n.fail("where it reads is not constant, which is not supported")
		return
	}
	dims := l.shapeOf(n, n.in(0)).dims
	depth, q := index.dims[len(index.dims)-1], len(index.dims)-1
	if n.err == nil && (n.int("batch_dims", 0) != 0 || depth < 1 || depth > len(dims)) {
		n.fail("it reads at indices of shape %v, %d of their axes shared with its input of shape %v, which is not "+
			"supported", index.dims, n.int("batch_dims", 0), batchless(dims))
	}
	if n.err != nil {
		return
	}
	if slices.ContainsFunc(dims[:depth], l.grows) {
		n.fail("it picks some of the batch's rows, or puts them in another order: a classifier treats each row by itself")
		return
	}
	x, at := l.merged(n.in(0), dims, depth), n.places(index, dims[:depth])
	if n.err != nil {
		return
	}
	rest := dims[depth:]
	x = l.pick(n, x, slices.Concat([]int{sizeOf(dims[:depth])}, rest), 0, at)
	if q == 1 {
		l.same(n, x)
		return
	}
	l.write(n.Output[0], "Reshape", []string{x, l.integers(l.closed(slices.Concat(index.dims[:q], rest)))})
}

// merged writes x with its first axes as one.
func (l *lowering) merged(x string, dims []int, axes int) string {
	if axes == 1 {
		return x
	}
	return l.op("Reshape", x, l.integers(l.closed(slices.Concat([]int{sizeOf(dims[:axes])}, dims[axes:]))))
}

// places counts the elements that tuples of indices name, the last axis fastest.
func (n *node) places(index *tensor, dims []int) []int {
	depth := len(dims)
	return collect(len(index.ints)/depth, func(i int) int {
		k := 0
		for j, d := range dims {
			k = k*d + n.indices(index.ints[i*depth+j:][:1], d)[0]
		}
		return k
	})
}

// scatterND puts updates at constant places: each element is one of the data's or of the updates'.
func scatterND(l *lowering, n *node) {
	index := l.constants[n.in(1)]
	if index == nil || index.ints == nil || len(index.dims) == 0 || n.text("reduction", "none") != "none" {
		n.fail("where it writes is not constant, or it adds to what is there (reduction), which is not supported")
		return
	}
	dims, updates := l.shapeOf(n, n.in(0)).dims, l.shapeOf(n, n.in(2)).dims
	depth := index.dims[len(index.dims)-1]
	if n.err == nil && (depth < 1 || depth > len(dims) || slices.ContainsFunc(dims[:depth], l.grows) ||
		len(updates) != len(index.dims)-1+len(dims)-depth) {
		n.fail("it writes updates of shape %v at indices of shape %v into %v: the batch must not be among the axes that "+
			"are indexed", batchless(updates), index.dims, batchless(dims))
	}
	if n.err != nil {
		return
	}
	size := sizeOf(dims[:depth])
	all := l.write("", "Concat", []string{l.merged(n.in(0), dims, depth), l.merged(n.in(2), updates, len(index.dims)-1)}, "axis", 0)
	at := collect(size, func(i int) int { return i })
	places := n.places(index, dims[:depth])
	for u, place := range places {
		at[place] = size + u
	}
	x := l.pick(n, all, slices.Concat([]int{size + len(places)}, dims[depth:]), 0, at)
	if n.err == nil {
		l.write(n.Output[0], "Reshape", []string{x, l.integers(l.closed(dims))})
	}
}

// stepped is a Slice with steps other than 1: by constant ranges along axes that are not the batch.
func (l *lowering) stepped(n *node, in []string, axes, steps []int) {
	starts, known := l.integersOf(in[1])
	ends, known2 := l.integersOf(in[2])
	dims := l.shapeOf(n, in[0]).dims
	if n.err == nil && (!known || !known2 || len(ends) != len(starts)) {
		n.fail("its ranges %v to %v are not constant, or not as many", starts, ends)
	}
	x, dims := in[0], slices.Clone(dims)
	for i, axis := range axes {
		axis, ok := n.fromFront(axis, len(dims))
		if !ok {
			return
		}
		d, step := dims[axis], steps[i]
		if l.grows(d) {
			if starts[i] == 0 && ends[i] >= d && step == 1 {
				continue
			}
			n.fail("it takes some of the batch's rows, or puts them in another order: a classifier treats each row by itself")
			return
		}
		at := sliced(starts[i], ends[i], step, d)
		if x = l.pick(n, x, dims, axis, at); n.err != nil {
			return
		}
		dims[axis] = len(at)
	}
	l.same(n, x)
}

// sliced returns the indices that ONNX's Slice takes from an axis of size d.
func sliced(from, to, step, d int) []int {
	if from < 0 {
		from += d
	}
	if to < 0 {
		to = max(to, -d-1) + d // not below what stands for before the first
	}
	var at []int
	if step > 0 {
		for i := min(max(from, 0), d); i < min(to, d); i += min(step, d) {
			at = append(at, i)
		}
		return at
	}
	for i := min(max(from, 0), d-1); i > max(to, -1); i += max(step, -d) {
		at = append(at, i)
	}
	return at
}

// tile repeats axes as a whole.
func tile(l *lowering, n *node) {
	times, known := l.integersOf(n.in(1))
	dims := l.shapeOf(n, n.in(0)).dims
	if n.err != nil {
		return
	}
	if !known || len(times) != len(dims) || slices.Min(append(times, 1)) < 1 {
		n.fail("how often it repeats its input of shape %v is not constant, or does not fit: %v", batchless(dims), times)
		return
	}
	all := slices.Clone(dims)
	for i, k := range times {
		if l.grows(dims[i]) && k > 1 {
			n.fail("it repeats the batch %d times: a classifier returns one row for each input", k)
			return
		}
		if k > l.limit/max(1, sizeOf(all)/probeBatch) {
			n.fail("%w", l.tooLarge(batchless(all)))
			return
		}
		all[i] *= k
	}
	// Concatenations: onnx-gomlx would put an axis before the batch, which bounds want in front.
	x, last := n.in(0), -1
	for i, k := range times {
		if k > 1 {
			last = i
		}
	}
	for i, k := range times {
		if k == 1 {
			continue
		}
		out := ""
		if i == last {
			out = n.Output[0]
		}
		x = l.write(out, "Concat", slices.Repeat([]string{x}, k), "axis", i)
	}
	if last < 0 {
		l.same(n, x)
	}
}

// pad has its sizes as attributes before opset 11, as inputs after it, and since opset 18 for some axes only.
func pad(l *lowering, n *node) {
	mode := n.text("mode", "constant")
	if !slices.Contains([]string{"constant", "reflect", "edge", "wrap"}, mode) {
		n.fail("its mode is %q: only constant, reflect, edge and wrap are supported", mode)
		return
	}
	dims := l.shapeOf(n, n.in(0)).dims
	if n.err != nil {
		return
	}
	begin, end, value := l.padsOf(n, dims)
	if n.err != nil {
		return
	}
	if mode != "constant" {
		l.paddedBy(n, dims, begin, end, mode)
		return
	}
	in := n.in(0)
	for i := range begin { // what is cut off
		if begin[i] < 0 || end[i] < 0 {
			in = l.cut(in, i, max(0, -begin[i]), dims[i]-max(0, -end[i]), 1)
			begin[i], end[i] = max(0, begin[i]), max(0, end[i])
		}
	}
	if value == "" {
		value = l.number(0)
	}
	if s := l.shapeOf(n, value); len(s.dims) != 0 {
		value = l.op("Reshape", value, l.add(&tensor{ints: []int64{}, dims: []int{0}}))
	}
	l.write(n.Output[0], "Pad", []string{in, l.integers(slices.Concat(begin, end)), value}, "mode", mode)
}

// padsOf returns by how much each axis is padded, below 0 where it is cut, and the name of the value.
func (l *lowering) padsOf(n *node, dims []int) (begin, end []int, value string) {
	rank := len(dims)
	pads, value := n.ints("pads"), n.in(2)
	if l.opset < 11 {
		value = l.number(n.float("value", 0))
	} else {
		var known bool
		if pads, known = l.integersOf(n.in(1)); !known {
			n.fail("how much it pads is not constant")
			return nil, nil, ""
		}
	}
	if in := n.in(3); in != "" {
		axes, known := l.integersOf(in)
		if !known || len(pads) != 2*len(axes) {
			n.fail("its axes are not constant, or do not fit its pads %v", pads)
			return nil, nil, ""
		}
		all := make([]int, 2*rank)
		for i, axis := range axes {
			axis, ok := n.fromFront(axis, rank)
			if !ok {
				return nil, nil, ""
			}
			all[axis], all[axis+rank] = pads[i], pads[i+len(axes)]
		}
		pads = all
	}
	if len(pads) != 2*rank || slices.Min(append(pads, 0)) < -1<<20 || slices.Max(append(pads, 0)) > 1<<20 {
		n.fail("its pads are %v: they must be two for each of %d axes, up to %d", pads, rank, 1<<20)
		return nil, nil, ""
	}
	begin, end = slices.Clone(pads[:rank]), slices.Clone(pads[rank:])
	for i, d := range dims {
		if l.grows(d) && (begin[i] != 0 || end[i] != 0) {
			n.fail("it pads the batch by %d and %d rows: a classifier returns one row for each input", begin[i], end[i])
		} else if d+begin[i]+end[i] < 1 || -begin[i] >= d || -end[i] >= d {
			n.fail("its pads %v leave nothing of an axis of size %d", pads, d)
		}
	}
	return begin, end, value
}

// paddedBy pads with what is there: the pixels at the end, those of the other side, or those before, reflected.
func (l *lowering) paddedBy(n *node, dims, begin, end []int, mode string) {
	x, dims := n.in(0), slices.Clone(dims)
	for axis, d := range dims {
		if begin[axis] == 0 && end[axis] == 0 {
			continue
		}
		if mode == "reflect" && max(begin[axis], end[axis]) >= d {
			n.fail("it reflects %d and %d pixels of an axis of %d: they must be fewer", begin[axis], end[axis], d)
			return
		}
		at := collect(begin[axis]+d+end[axis], func(i int) int {
			k := i - begin[axis]
			switch mode {
			case "edge":
				return min(max(k, 0), d-1)
			case "wrap":
				return (k%d + d) % d
			}
			k = max(k, -k)
			return min(k, 2*(d-1)-k)
		})
		x = l.pick(n, x, dims, axis, at)
		dims[axis] = len(at)
	}
	if n.err == nil {
		l.same(n, x)
	}
}

// trilu keeps a triangle of matrices, and sets the rest to 0.
func trilu(l *lowering, n *node) {
	k := 0
	if in := n.in(1); in != "" {
		v, known := l.integersOf(in)
		if !known || len(v) != 1 {
			n.fail("which diagonal it keeps is not constant")
			return
		}
		k = min(max(v[0], -1<<20), 1<<20)
	}
	dims := l.shapeOf(n, n.in(0)).dims
	if n.err != nil {
		return
	}
	if len(dims) < 2 || slices.ContainsFunc(dims[len(dims)-2:], l.grows) {
		n.fail("its input has the shape %v: matrices are needed, in axes that are not the batch", batchless(dims))
		return
	}
	rows, columns := dims[len(dims)-2], dims[len(dims)-1]
	keep := &tensor{dims: []int{rows, columns}, bools: make([]bool, rows*columns)}
	for i := range keep.bools {
		d := i%columns - i/columns - k
		keep.bools[i] = d == 0 || (d > 0) == (n.int("upper", 1) != 0)
	}
	l.write(n.Output[0], "Where", []string{l.add(keep), n.in(0), l.number(0)})
}

// cumSum is a product with a triangle of ones.
func cumSum(l *lowering, n *node) {
	v, known := l.integersOf(n.in(1))
	dims := l.shapeOf(n, n.in(0)).dims
	if n.err == nil && (!known || len(v) != 1) {
		n.fail("its axis is not constant")
	}
	if n.err != nil {
		return
	}
	axis, ok := n.fromFront(v[0], len(dims))
	if !ok {
		return
	}
	d := dims[axis]
	if l.grows(d) || d > largestMatrix/d {
		n.fail("it adds up an axis of %v: axes up to 2048 are supported, and not the batch", batchless(dims[axis:axis+1]))
		return
	}
	m := make([]float64, d*d)
	for i := range d {
		for o := range d {
			from, to := i, o
			if n.int("reverse", 0) != 0 {
				from, to = o, i
			}
			if from < to || from == to && n.int("exclusive", 0) == 0 {
				m[i*d+o] = 1
			}
		}
	}
	l.same(n, l.along(n.in(0), dims, axis, m, d))
}

// blocks moves blocks of pixels to channels, or back: [n, b, b, c, h, w] or [n, c, b, b, h, w] and [n, c, h, b, w, b].
func blocks(l *lowering, n *node) {
	dims, b := l.shapeOf(n, n.in(0)).dims, n.int("blocksize", 0)
	if n.err == nil && (len(dims) != 4 || b < 1 || b > 1<<10) {
		n.fail("its input has the shape %v, and its blocks %d pixels: four axes are needed", batchless(dims), b)
	}
	if n.err != nil {
		return
	}
	c, h, w := dims[1], dims[2], dims[3]
	if n.OpType == "SpaceToDepth" {
		if h%b != 0 || w%b != 0 {
			n.fail("blocks of %d do not fit an image of %d × %d", b, h, w)
			return
		}
		x := l.op("Reshape", n.in(0), l.integers([]int{0, c, h / b, b, w / b, b}))
		x = l.write("", "Transpose", []string{x}, "perm", []int{0, 3, 5, 1, 2, 4})
		l.write(n.Output[0], "Reshape", []string{x, l.integers([]int{0, c * b * b, h / b, w / b})})
		return
	}
	if c%(b*b) != 0 {
		n.fail("blocks of %d × %d do not fit %d channels", b, b, c)
		return
	}
	c /= b * b
	split, perm := []int{0, b, b, c, h, w}, []int{0, 3, 4, 1, 5, 2}
	switch mode := n.text("mode", "DCR"); mode {
	case "DCR":
	case "CRD":
		split, perm = []int{0, c, b, b, h, w}, []int{0, 1, 4, 2, 5, 3}
	default:
		n.fail("its mode is %q: it must be DCR or CRD", mode)
		return
	}
	x := l.write("", "Transpose", []string{l.op("Reshape", n.in(0), l.integers(split))}, "perm", perm)
	l.write(n.Output[0], "Reshape", []string{x, l.integers([]int{0, c, h * b, w * b})})
}
