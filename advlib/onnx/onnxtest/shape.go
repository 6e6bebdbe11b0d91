package onnxtest

import (
	"fmt"
	"slices"
)

// shapes computes what moves elements, or says where they are.
func shapes[T Float](c *call[T]) []Array[T] {
	x := Array[T]{}
	if len(c.in) > 0 {
		x = c.in[0]
	}
	rank := len(x.Dims)
	switch c.OpType {
	case "Constant":
		return one(constant(c))
	case "ConstantOfShape":
		value := Array[T]{Dims: []int{1}, Values: []T{0}}
		if a := c.attribute("value"); a != nil {
			value = arrayOf[T](a.T)
		}
		return one(arrange(value, integers(x.ints), func([]int) int { return 0 }))
	case "Shape":
		dims := x.Dims[c.int("start", 0):]
		out := Array[T]{Dims: []int{len(dims)}, ints: []int64{}}
		for _, d := range dims {
			out.ints = append(out.ints, int64(d))
		}
		return one(out)
	case "Size":
		return one(Array[T]{Dims: []int{}, ints: []int64{int64(product(x.Dims))}})
	case "Range":
		return one(sequence(c))
	case "Flatten":
		axis := c.int("axis", 1)
		if axis < 0 {
			axis += rank
		}
		return one(x.as([]int{product(x.Dims[:axis]), product(x.Dims[axis:])}))
	case "Reshape":
		return one(reshape(c))
	case "Squeeze":
		axes := axesOf(c.list(1, "axes"), rank)
		for i, d := range x.Dims {
			if len(axes) == 0 && d == 1 || slices.Contains(axes, i) && d != 1 {
				panic("Squeeze") // which of them is the batch cannot be said
			}
		}
		return one(x.as(without(x.Dims, axes)))
	case "Unsqueeze":
		return one(unsqueeze(c))
	case "Transpose":
		return one(transpose(c))
	case "Expand":
		return one(wide(x, shared(x.Dims, integers(c.in[1].ints))))
	case "Tile":
		return one(tile(c))
	case "Concat":
		return one(concat(c))
	case "Split":
		return split(c)
	case "Slice":
		return one(slice(c))
	case "Pad":
		return one(pad(c))
	case "Gather":
		return one(gather(c))
	case "GatherND":
		return one(gatherND(c))
	case "GatherElements":
		return one(gatherElements(c))
	case "ScatterND", "ScatterElements":
		return one(scatter(c))
	case "Trilu":
		return one(triangle(c))
	case "OneHot":
		return one(oneHot(c))
	}
	return nil
}

// unsqueeze puts axes of size 1 where they are asked for.
func unsqueeze[T Float](c *call[T]) Array[T] {
	x, rank := c.in[0], len(c.in[0].Dims)
	axes := c.list(1, "axes")
	axes = axesOf(axes, rank+len(axes))
	dims, k := []int{}, 0
	for i := range rank + len(axes) {
		if slices.Contains(axes, i) {
			dims = append(dims, 1)
		} else {
			dims = append(dims, x.Dims[k])
			k++
		}
	}
	return x.as(dims)
}

// tile repeats an array along its axes.
func tile[T Float](c *call[T]) Array[T] {
	x := c.in[0]
	dims := slices.Clone(x.Dims)
	for i, r := range c.in[1].ints {
		dims[i] *= int(r)
	}
	return arrange(x, dims, func(at []int) int {
		own := slices.Clone(at)
		for i, d := range x.Dims {
			own[i] %= d
		}
		return flat(x.Dims, own)
	})
}

// triangle leaves the upper or the lower triangle of matrices.
func triangle[T Float](c *call[T]) Array[T] {
	x, rank := c.in[0], len(c.in[0].Dims)
	k := 0
	if c.given(1) {
		k = int(c.in[1].ints[0])
	}
	upper := c.int("upper", 1) == 1
	return arrange(x, x.Dims, func(at []int) int {
		if d := at[rank-1] - at[rank-2] - k; upper && d < 0 || !upper && d > 0 {
			return -1
		}
		return flat(x.Dims, at)
	})
}

// as returns the same values with other sizes.
func (a Array[T]) as(dims []int) Array[T] {
	if product(dims) != product(a.Dims) {
		panic(fmt.Sprintf("%v cannot become %v", a.Dims, dims))
	}
	a.Dims = dims
	return a
}

func constant[T Float](c *call[T]) Array[T] {
	a := c.Attribute[0]
	switch a.Name {
	case "value":
		return arrayOf[T](a.T)
	case "value_float":
		return Array[T]{Dims: []int{}, Values: []T{T(a.F)}}
	case "value_floats":
		out := Array[T]{Dims: []int{len(a.Floats)}}
		for _, v := range a.Floats {
			out.Values = append(out.Values, T(v))
		}
		return out
	case "value_int":
		return Array[T]{Dims: []int{}, ints: []int64{a.I}}
	case "value_ints":
		return Array[T]{Dims: []int{len(a.Ints)}, ints: append([]int64{}, a.Ints...)}
	}
	panic("a constant by " + a.Name)
}

func sequence[T Float](c *call[T]) Array[T] {
	if !c.in[0].real() {
		out := Array[T]{ints: []int64{}}
		for v := c.in[0].ints[0]; c.in[2].ints[0] > 0 && v < c.in[1].ints[0] || c.in[2].ints[0] < 0 && v > c.in[1].ints[0]; v += c.in[2].ints[0] {
			out.ints = append(out.ints, v)
		}
		out.Dims = []int{len(out.ints)}
		return out
	}
	panic("a range of real numbers")
}

func reshape[T Float](c *call[T]) Array[T] {
	var dims []int
	rest, open := product(c.in[0].Dims), -1
	for i, d := range integers(c.in[1].ints) {
		switch {
		case d == 0 && c.int("allowzero", 0) == 0:
			d = c.in[0].Dims[i]
		case d < 0:
			open, d = i, 1
		}
		dims = append(dims, d)
		rest /= d
	}
	if open >= 0 {
		dims[open] = rest
	}
	return c.in[0].as(dims)
}

func transpose[T Float](c *call[T]) Array[T] {
	x := c.in[0]
	perm := c.ints("perm", nil)
	if perm == nil {
		for i := range x.Dims {
			perm = append(perm, len(x.Dims)-1-i)
		}
	}
	dims := make([]int, len(perm))
	for i, p := range perm {
		dims[i] = x.Dims[p]
	}
	return arrange(x, dims, func(at []int) int {
		own := make([]int, len(at))
		for i, p := range perm {
			own[p] = at[i]
		}
		return flat(x.Dims, own)
	})
}

func concat[T Float](c *call[T]) Array[T] {
	axis := axisOf(c.int("axis", 0), len(c.in[0].Dims))
	dims := slices.Clone(c.in[0].Dims)
	dims[axis] = 0
	for _, in := range c.in {
		for i, d := range in.Dims {
			if i != axis && d != dims[i] {
				panic("Concat")
			}
		}
		dims[axis] += in.Dims[axis]
	}
	out := Array[T]{Dims: dims}
	outer := product(dims[:axis])
	for o := range outer {
		for _, in := range c.in {
			n := product(in.Dims[axis:])
			if in.real() {
				out.Values = append(out.Values, in.Values[o*n:(o+1)*n]...)
			} else {
				out.ints = append(out.ints, in.ints[o*n:(o+1)*n]...)
			}
		}
	}
	return out
}

func split[T Float](c *call[T]) []Array[T] {
	x := c.in[0]
	axis := axisOf(c.int("axis", 0), len(x.Dims))
	sizes := c.list(1, "split")
	if sizes == nil {
		size := (x.Dims[axis] + len(c.Output) - 1) / len(c.Output)
		for i := range c.Output {
			sizes = append(sizes, min(size, x.Dims[axis]-i*size))
		}
	}
	var out []Array[T]
	from := 0
	for _, s := range sizes {
		if s < 1 || from+s > x.Dims[axis] {
			panic("Split")
		}
		dims := slices.Clone(x.Dims)
		dims[axis] = s
		out = append(out, arrange(x, dims, func(at []int) int {
			own := slices.Clone(at)
			own[axis] += from
			return flat(x.Dims, own)
		}))
		from += s
	}
	if from != x.Dims[axis] || len(sizes) != len(c.Output) {
		panic("Split")
	}
	return out
}

func slice[T Float](c *call[T]) Array[T] {
	x := c.in[0]
	starts, ends, axes, steps := c.list(1, "starts"), c.list(2, "ends"), c.list(3, "axes"), c.list(4, "")
	if axes == nil {
		for i := range starts {
			axes = append(axes, i)
		}
	}
	axes = axesOf(axes, len(x.Dims))
	if steps == nil {
		steps = repeated(1, len(starts))
	}
	dims := slices.Clone(x.Dims)
	from, by := make([]int, len(dims)), repeated(1, len(dims))
	for i, axis := range axes {
		d := x.Dims[axis]
		start, end, step := starts[i], ends[i], steps[i]
		if start < 0 {
			start += d
		}
		if end < 0 {
			end += d
		}
		n := 0
		if step > 0 {
			start, end = min(max(start, 0), d), min(max(end, 0), d)
			n = (end - start + step - 1) / step
		} else {
			start, end = min(max(start, 0), d-1), min(max(end, -1), d-1)
			n = (start - end - step - 1) / -step
		}
		if n < 1 {
			panic("an empty slice")
		}
		dims[axis], from[axis], by[axis] = n, start, step
	}
	return arrange(x, dims, func(at []int) int {
		own := slices.Clone(at)
		for i := range own {
			own[i] = from[i] + own[i]*by[i]
		}
		return flat(x.Dims, own)
	})
}

func pad[T Float](c *call[T]) Array[T] {
	x := c.in[0]
	rank := len(x.Dims)
	pads := c.ints("pads", nil)
	fill := T(c.float("value", 0))
	if c.opset >= 11 {
		pads = integers(c.in[1].ints)
		if c.given(2) {
			fill = c.in[2].Values[0]
		}
	}
	if c.given(3) {
		axes := axesOf(integers(c.in[3].ints), rank)
		all := make([]int, 2*rank)
		for i, a := range axes {
			all[a], all[a+rank] = pads[i], pads[len(axes)+i]
		}
		pads = all
	}
	mode := c.text("mode", "constant")
	dims := slices.Clone(x.Dims)
	for i := range dims {
		dims[i] += pads[i] + pads[i+rank]
		if dims[i] < 1 || mode == "reflect" && max(pads[i], pads[i+rank]) >= x.Dims[i] {
			panic("Pad")
		}
	}
	out := build(dims, func(at []int) T {
		own := slices.Clone(at)
		for i, d := range x.Dims {
			k := at[i] - pads[i]
			if k >= 0 && k < d {
				own[i] = k
				continue
			}
			switch mode {
			case "constant":
				return fill
			case "edge":
				k = min(max(k, 0), d-1)
			case "wrap":
				k = (k%d + d) % d
			case "reflect":
				k = max(k, -k)
				k = min(k, 2*(d-1)-k)
			default:
				panic("mode " + mode)
			}
			own[i] = k
		}
		return x.Values[flat(x.Dims, own)]
	})
	return out
}

// index counts from the front.
func index(i int64, size int) int {
	if i < 0 {
		i += int64(size)
	}
	if i < 0 || i >= int64(size) {
		panic(fmt.Sprintf("index %d of %d", i, size))
	}
	return int(i)
}

func gather[T Float](c *call[T]) Array[T] {
	x, indices := c.in[0], c.in[1]
	axis := axisOf(c.int("axis", 0), len(x.Dims))
	n := len(indices.Dims)
	return arrange(x, slices.Concat(x.Dims[:axis], indices.Dims, x.Dims[axis+1:]), func(at []int) int {
		i := index(indices.ints[flat(indices.Dims, at[axis:axis+n])], x.Dims[axis])
		return flat(x.Dims, slices.Concat(at[:axis], []int{i}, at[axis+n:]))
	})
}

func gatherND[T Float](c *call[T]) Array[T] {
	x, indices := c.in[0], c.in[1]
	b, q := c.int("batch_dims", 0), len(indices.Dims)
	depth := indices.Dims[q-1]
	if !slices.Equal(x.Dims[:b], indices.Dims[:b]) {
		panic("GatherND")
	}
	return arrange(x, slices.Concat(indices.Dims[:q-1], x.Dims[b+depth:]), func(at []int) int {
		from := slices.Clone(at[:b])
		first := flat(indices.Dims, append(slices.Clone(at[:q-1]), 0))
		for k := range depth {
			from = append(from, index(indices.ints[first+k], x.Dims[b+k]))
		}
		return flat(x.Dims, append(from, at[q-1:]...))
	})
}

func gatherElements[T Float](c *call[T]) Array[T] {
	x, indices := c.in[0], c.in[1]
	axis := axisOf(c.int("axis", 0), len(x.Dims))
	return arrange(x, indices.Dims, func(at []int) int {
		own := slices.Clone(at)
		own[axis] = index(indices.ints[flat(indices.Dims, at)], x.Dims[axis])
		return flat(x.Dims, own)
	})
}

// scatter writes updates to the places that the indices name.
func scatter[T Float](c *call[T]) Array[T] {
	x, indices, updates := c.in[0], c.in[1], c.in[2]
	out := Array[T]{Dims: x.Dims, Values: slices.Clone(x.Values)}
	put := func(k int, v T) {
		switch c.text("reduction", "none") {
		case "none":
			out.Values[k] = v
		case "add":
			out.Values[k] += v
		case "mul":
			out.Values[k] *= v
		case "max":
			out.Values[k] = max(out.Values[k], v)
		case "min":
			out.Values[k] = min(out.Values[k], v)
		}
	}
	if c.OpType == "ScatterElements" {
		axis := axisOf(c.int("axis", 0), len(x.Dims))
		each(indices.Dims, func(at []int) {
			own := slices.Clone(at)
			own[axis] = index(indices.ints[flat(indices.Dims, at)], x.Dims[axis])
			put(flat(x.Dims, own), updates.Values[flat(updates.Dims, at)])
		})
		return out
	}
	q := len(indices.Dims)
	depth := indices.Dims[q-1]
	each(updates.Dims, func(at []int) {
		first := flat(indices.Dims, append(slices.Clone(at[:q-1]), 0))
		var to []int
		for k := range depth {
			to = append(to, index(indices.ints[first+k], x.Dims[k]))
		}
		put(flat(x.Dims, append(to, at[q-1:]...)), updates.Values[flat(updates.Dims, at)])
	})
	return out
}

func oneHot[T Float](c *call[T]) Array[T] {
	indices, depth, values := c.in[0].asInts(), int(c.in[1].asInts().ints[0]), c.in[2]
	axis := axisOf(c.int("axis", -1), len(indices.Dims)+1)
	return arrange(values, slices.Insert(slices.Clone(indices.Dims), axis, depth), func(at []int) int {
		i := indices.ints[flat(indices.Dims, slices.Delete(slices.Clone(at), axis, axis+1))]
		if i < 0 {
			i += int64(depth)
		}
		if i == int64(at[axis]) {
			return 1
		}
		return 0
	})
}
