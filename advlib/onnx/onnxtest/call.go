package onnxtest

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute-onnx/support/protos"
)

// call is one operator with what it reads.
type call[T Float] struct {
	*protos.NodeProto
	opset int64
	in    []Array[T]
}

func (c *call[T]) attribute(name string) *protos.AttributeProto {
	for _, a := range c.Attribute {
		if a.Name == name {
			return a
		}
	}
	return nil
}

func (c *call[T]) int(name string, otherwise int) int {
	if a := c.attribute(name); a != nil {
		return int(a.I)
	}
	return otherwise
}

// float is in float32, the default too.
func (c *call[T]) float(name string, otherwise float64) float64 {
	if a := c.attribute(name); a != nil {
		return float64(a.F)
	}
	return float64(float32(otherwise))
}

func (c *call[T]) text(name, otherwise string) string {
	if a := c.attribute(name); a != nil {
		return string(a.S)
	}
	return otherwise
}

func (c *call[T]) ints(name string, otherwise []int) []int {
	if a := c.attribute(name); a != nil {
		return integers(a.Ints)
	}
	return otherwise
}

func integers(v []int64) []int {
	out := make([]int, len(v))
	for i, x := range v {
		out[i] = int(x)
	}
	return out
}

// given tells whether there is an input at position i.
func (c *call[T]) given(i int) bool { return i < len(c.Input) && c.Input[i] != "" }

// list returns integers that an attribute has in old opsets, and input i in newer ones; nil if neither is there.
func (c *call[T]) list(i int, name string) []int {
	if c.given(i) {
		return integers(c.in[i].ints)
	}
	return c.ints(name, nil)
}

// axis returns an axis counted from the front.
func axisOf(axis, rank int) int {
	if axis < -rank || axis >= rank {
		panic(fmt.Sprintf("axis %d of %d", axis, rank))
	}
	return (axis + rank) % rank
}

func axesOf(axes []int, rank int) []int {
	out := make([]int, len(axes))
	for i, a := range axes {
		out[i] = axisOf(a, rank)
		if slices.Contains(out[:i], out[i]) {
			panic(fmt.Sprintf("axes %v name one twice", axes))
		}
	}
	return out
}

func product(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// each calls f with every position of an array, the last axis fastest. f must not keep the position.
func each(dims []int, f func(at []int)) {
	at := make([]int, len(dims))
	for range product(dims) {
		f(at)
		for i := len(dims) - 1; i >= 0; i-- {
			if at[i]++; at[i] < dims[i] {
				break
			}
			at[i] = 0
		}
	}
}

// flat is the number of a position.
func flat(dims, at []int) int {
	k := 0
	for i, d := range dims {
		if at[i] < 0 || at[i] >= d {
			panic(fmt.Sprintf("position %v of %v", at, dims))
		}
		k = k*d + at[i]
	}
	return k
}

// build makes an array of real numbers.
func build[T Float](dims []int, value func(at []int) T) Array[T] {
	out := Array[T]{Dims: slices.Clone(dims), Values: make([]T, 0, product(dims))}
	each(dims, func(at []int) { out.Values = append(out.Values, value(at)) })
	return out
}

// arrange makes an array of a's elements, of whatever kind: from names the one for each position, −1 stands for 0.
func arrange[T Float](a Array[T], dims []int, from func(at []int) int) Array[T] {
	out := Array[T]{Dims: slices.Clone(dims)}
	if a.real() {
		out.Values = make([]T, 0, product(dims))
	} else {
		out.ints = make([]int64, 0, product(dims))
	}
	each(dims, func(at []int) {
		k := from(at)
		switch {
		case a.real() && k < 0:
			out.Values = append(out.Values, 0)
		case a.real():
			out.Values = append(out.Values, a.Values[k])
		case k < 0:
			out.ints = append(out.ints, 0)
		default:
			out.ints = append(out.ints, a.ints[k])
		}
	})
	return out
}

// shared returns the shape that two broadcast to.
func shared(a, b []int) []int {
	rank := max(len(a), len(b))
	out := make([]int, rank)
	for i := range out {
		x, y := 1, 1
		if k := i - rank + len(a); k >= 0 {
			x = a[k]
		}
		if k := i - rank + len(b); k >= 0 {
			y = b[k]
		}
		if x != y && x != 1 && y != 1 {
			panic(fmt.Sprintf("%v does not fit %v", a, b))
		}
		out[i] = max(x, y)
	}
	return out
}

// wide returns a broadcast to dims.
func wide[T Float](a Array[T], dims []int) Array[T] {
	if !slices.Equal(shared(a.Dims, dims), dims) {
		panic(fmt.Sprintf("%v does not broadcast to %v", a.Dims, dims))
	}
	own := make([]int, len(a.Dims))
	return arrange(a, dims, func(at []int) int {
		for i, d := range a.Dims {
			own[i] = min(at[len(at)-len(own)+i], d-1)
		}
		return flat(a.Dims, own)
	})
}

// together computes two arrays element by element, broadcast.
func together[T Float](a, b Array[T], f func(a, b T) T) Array[T] {
	dims := shared(a.Dims, b.Dims)
	a, b = wide(a, dims), wide(b, dims)
	out := Array[T]{Dims: dims, Values: make([]T, len(a.Values))}
	for i := range out.Values {
		out.Values[i] = f(a.Values[i], b.Values[i])
	}
	return out
}

func one[T Float](a Array[T]) []Array[T] { return []Array[T]{a} }
