// Package onnxtest computes ONNX models a second time, for tests: in plain Go, one operation after the other, each sum
// from its first term to its last. It shares no code with package onnx but the definition of the file's format, so that
// a counterexample that both find violates the property in two implementations.
package onnxtest

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/compute-onnx/support/protos"
	"google.golang.org/protobuf/proto"
)

// Float is the type in which a model is computed.
type Float interface{ float32 | float64 }

// Array is a tensor: its sizes, and its values in row-major order.
type Array[T Float] struct {
	Dims   []int
	Values []T
	ints   []int64 // of shapes
}

// Model is a file, read.
type Model struct {
	graph *protos.GraphProto
	opset int64
}

// Parse reads a file. Operators are looked at when they are computed.
func Parse(file []byte) (*Model, error) {
	var m protos.ModelProto
	if err := proto.Unmarshal(file, &m); err != nil {
		return nil, err
	}
	if len(m.GetGraph().GetNode()) == 0 || len(m.Graph.Output) != 1 {
		return nil, fmt.Errorf("onnxtest: a graph with one output is needed")
	}
	model := &Model{graph: m.Graph}
	for _, o := range m.OpsetImport {
		if o.Domain == "" {
			model.opset = o.Version
		}
	}
	return model, nil
}

// Double tells whether the file's input is in double precision.
func (m *Model) Double() bool {
	return m.inputProto().GetType().GetTensorType().GetElemType() == int32(protos.TensorProto_DOUBLE)
}

func (m *Model) inputProto() *protos.ValueInfoProto {
	for _, in := range m.graph.Input {
		if !slices.ContainsFunc(m.graph.Initializer, func(w *protos.TensorProto) bool { return w.Name == in.Name }) {
			return in
		}
	}
	return nil
}

// Input returns the shape of the file's input; an open batch is 1.
func (m *Model) Input() []int {
	var dims []int
	for _, d := range m.inputProto().GetType().GetTensorType().GetShape().GetDim() {
		dims = append(dims, max(1, int(d.GetDimValue())))
	}
	return dims
}

// Forward computes the output for one input, whose values are in the file's order.
func Forward[T Float](m *Model, x []T) (y []T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("onnxtest: %v", r)
		}
	}()
	env := map[string]Array[T]{m.inputProto().GetName(): {Dims: m.Input(), Values: x}}
	for _, w := range m.graph.Initializer {
		env[w.Name] = arrayOf[T](w)
	}
	for _, n := range m.graph.Node {
		var in []Array[T]
		for _, name := range n.Input {
			in = append(in, env[name])
		}
		env[n.Output[0]] = compute(n, in)
	}
	return env[m.graph.Output[0].Name].Values, nil
}

func arrayOf[T Float](p *protos.TensorProto) Array[T] {
	a := Array[T]{}
	n := 1
	for _, d := range p.Dims {
		a.Dims = append(a.Dims, int(d))
		n *= int(d)
	}
	le := binary.LittleEndian
	switch protos.TensorProto_DataType(p.DataType) {
	case protos.TensorProto_FLOAT:
		for i := range n {
			if p.RawData != nil {
				a.Values = append(a.Values, T(math.Float32frombits(le.Uint32(p.RawData[4*i:]))))
			} else {
				a.Values = append(a.Values, T(p.FloatData[i]))
			}
		}
	case protos.TensorProto_DOUBLE:
		for i := range n {
			if p.RawData != nil {
				a.Values = append(a.Values, T(math.Float64frombits(le.Uint64(p.RawData[8*i:]))))
			} else {
				a.Values = append(a.Values, T(p.DoubleData[i]))
			}
		}
	case protos.TensorProto_INT64:
		for i := range n {
			if p.RawData != nil {
				a.ints = append(a.ints, int64(le.Uint64(p.RawData[8*i:])))
			} else {
				a.ints = append(a.ints, p.Int64Data[i])
			}
		}
	default:
		panic(fmt.Sprintf("a tensor of type %d", p.DataType))
	}
	return a
}

func attribute(n *protos.NodeProto, name string) *protos.AttributeProto {
	for _, a := range n.Attribute {
		if a.Name == name {
			return a
		}
	}
	return nil
}

func intOf(n *protos.NodeProto, name string, otherwise int) int {
	if a := attribute(n, name); a != nil {
		return int(a.I)
	}
	return otherwise
}

func intsOf(n *protos.NodeProto, name string, otherwise []int) []int {
	a := attribute(n, name)
	if a == nil {
		return otherwise
	}
	var v []int
	for _, i := range a.Ints {
		v = append(v, int(i))
	}
	return v
}

func compute[T Float](n *protos.NodeProto, in []Array[T]) Array[T] {
	switch n.OpType {
	case "MatMul":
		return matMul(in[0], in[1])
	case "Gemm":
		return gemm(n, in)
	case "Add":
		return broadcast(in[0], in[1], func(a, b T) T { return a + b })
	case "Sub":
		return broadcast(in[0], in[1], func(a, b T) T { return a - b })
	case "Mul":
		return broadcast(in[0], in[1], func(a, b T) T { return a * b })
	case "Div":
		return broadcast(in[0], in[1], func(a, b T) T { return a / b })
	case "Relu":
		out := Array[T]{Dims: in[0].Dims}
		for _, v := range in[0].Values {
			out.Values = append(out.Values, max(v, 0))
		}
		return out
	case "Flatten":
		axis := intOf(n, "axis", 1)
		if axis < 0 {
			axis += len(in[0].Dims)
		}
		return Array[T]{Dims: []int{product(in[0].Dims[:axis]), product(in[0].Dims[axis:])}, Values: in[0].Values}
	case "Reshape":
		return reshape(in[0], in[1].ints)
	case "Identity":
		return in[0]
	case "Constant":
		return arrayOf[T](attribute(n, "value").T)
	case "Conv":
		return conv(n, in)
	}
	panic(fmt.Sprintf("the operator %s is not computed here", n.OpType))
}

func product(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

func reshape[T Float](a Array[T], to []int64) Array[T] {
	out := Array[T]{Values: a.Values}
	rest, open := len(a.Values), -1
	for i, d := range to {
		switch {
		case d == 0:
			d = int64(a.Dims[i])
		case d < 0:
			open, d = i, 1
		}
		out.Dims = append(out.Dims, int(d))
		rest /= int(d)
	}
	if open >= 0 {
		out.Dims[open] = rest
	}
	if product(out.Dims) != len(a.Values) {
		panic(fmt.Sprintf("%v cannot become %v", a.Dims, to))
	}
	return out
}

// matMul is of vectors and matrices.
func matMul[T Float](a, b Array[T]) Array[T] {
	ad, bd := a.Dims, b.Dims
	if len(ad) == 1 {
		ad = []int{1, ad[0]}
	}
	if len(bd) == 1 {
		bd = []int{bd[0], 1}
	}
	if len(ad) != 2 || len(bd) != 2 || ad[1] != bd[0] {
		panic(fmt.Sprintf("the product of %v and %v", a.Dims, b.Dims))
	}
	out := Array[T]{Values: make([]T, ad[0]*bd[1])}
	if len(a.Dims) == 2 {
		out.Dims = append(out.Dims, ad[0])
	}
	if len(b.Dims) == 2 {
		out.Dims = append(out.Dims, bd[1])
	}
	for i := range ad[0] {
		for j := range bd[1] {
			var sum T
			for k := range ad[1] {
				sum += a.Values[i*ad[1]+k] * b.Values[k*bd[1]+j]
			}
			out.Values[i*bd[1]+j] = sum
		}
	}
	return out
}

func transposed[T Float](a Array[T]) Array[T] {
	out := Array[T]{Dims: []int{a.Dims[1], a.Dims[0]}, Values: make([]T, len(a.Values))}
	for i := range a.Dims[0] {
		for j := range a.Dims[1] {
			out.Values[j*a.Dims[0]+i] = a.Values[i*a.Dims[1]+j]
		}
	}
	return out
}

func gemm[T Float](n *protos.NodeProto, in []Array[T]) Array[T] {
	a, b := in[0], in[1]
	if intOf(n, "transA", 0) == 1 {
		a = transposed(a)
	}
	if intOf(n, "transB", 0) == 1 {
		b = transposed(b)
	}
	scaled := func(v Array[T], name string) Array[T] {
		if s := attribute(n, name); s != nil && s.F != 1 {
			return broadcast(v, Array[T]{Dims: []int{1}, Values: []T{T(s.F)}}, func(a, b T) T { return a * b })
		}
		return v
	}
	out := scaled(matMul(a, b), "alpha")
	if len(in) < 3 {
		return out
	}
	return broadcast(out, scaled(in[2], "beta"), func(a, b T) T { return a + b })
}

// broadcast follows NumPy's rules.
func broadcast[T Float](a, b Array[T], f func(a, b T) T) Array[T] {
	rank := max(len(a.Dims), len(b.Dims))
	wide := func(dims []int) []int {
		return append(slices.Repeat([]int{1}, rank-len(dims)), dims...)
	}
	ad, bd := wide(a.Dims), wide(b.Dims)
	out := Array[T]{Dims: make([]int, rank)}
	for i := range out.Dims {
		out.Dims[i] = max(ad[i], bd[i])
		if ad[i] != out.Dims[i] && ad[i] != 1 || bd[i] != out.Dims[i] && bd[i] != 1 {
			panic(fmt.Sprintf("%v does not fit %v", a.Dims, b.Dims))
		}
	}
	index := make([]int, rank)
	for range product(out.Dims) {
		at := func(dims []int) (k int) {
			for i, d := range dims {
				k = k*d + min(index[i], d-1)
			}
			return k
		}
		out.Values = append(out.Values, f(a.Values[at(ad)], b.Values[at(bd)]))
		for i := rank - 1; i >= 0; i-- {
			if index[i]++; index[i] < out.Dims[i] {
				break
			}
			index[i] = 0
		}
	}
	return out
}

// conv is of images [1, c, h, w], without groups.
func conv[T Float](n *protos.NodeProto, in []Array[T]) Array[T] {
	x, w := in[0], in[1]
	if intOf(n, "group", 1) != 1 || len(x.Dims) != 4 || x.Dims[0] != 1 || attribute(n, "auto_pad") != nil && string(attribute(n, "auto_pad").S) != "NOTSET" {
		panic(fmt.Sprintf("a convolution of %v, or with groups, or padded automatically", x.Dims))
	}
	pads, strides, dilations := intsOf(n, "pads", []int{0, 0, 0, 0}), intsOf(n, "strides", []int{1, 1}), intsOf(n, "dilations", []int{1, 1})
	c, h, width := x.Dims[1], x.Dims[2], x.Dims[3]
	oc, kh, kw := w.Dims[0], w.Dims[2], w.Dims[3]
	oh := (h+pads[0]+pads[2]-dilations[0]*(kh-1)-1)/strides[0] + 1
	ow := (width+pads[1]+pads[3]-dilations[1]*(kw-1)-1)/strides[1] + 1
	out := Array[T]{Dims: []int{1, oc, oh, ow}}
	for o := range oc {
		for i := range oh {
			for j := range ow {
				var sum T
				for k := range c {
					for a := range kh {
						for b := range kw {
							y, z := i*strides[0]+a*dilations[0]-pads[0], j*strides[1]+b*dilations[1]-pads[1]
							if y >= 0 && y < h && z >= 0 && z < width {
								sum += x.Values[(k*h+y)*width+z] * w.Values[((o*c+k)*kh+a)*kw+b]
							}
						}
					}
				}
				if len(in) > 2 {
					sum += in[2].Values[o]
				}
				out.Values = append(out.Values, sum)
			}
		}
	}
	return out
}
