// Package onnxtest computes ONNX models a second time, for tests: in plain Go, one operation after the other, each sum
// from its first term to its last. It shares no code with package onnx but the definition of the file's format, so that
// a counterexample that both find violates the property in two implementations.
//
//	m, err := onnxtest.Parse(file)
//	y, err := onnxtest.Forward(m, []float32{1, 0, 0})
package onnxtest

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/compute-onnx/support/protos"
	"google.golang.org/protobuf/proto"
)

// Float is the type in which a model is computed.
type Float interface{ float32 | float64 }

// Array is a tensor: its sizes, and its values in row-major order, of which there is one kind.
type Array[T Float] struct {
	Dims   []int
	Values []T
	ints   []int64 // integers, and truth values as 0 and 1
}

func (a Array[T]) real() bool { return a.ints == nil }

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
func Forward[T Float](m *Model, x []T) (y []T, err error) { return forward(m, x, nil) }

// Shaken is Forward with noise: to each real number that an operator writes it adds one drawn from r, of up to share
// times the largest beside it. Where it differs from Forward by much, rounding may too.
func Shaken[T Float](m *Model, x []T, share float64, r *rand.Rand) ([]T, error) {
	return forward(m, x, func(values []T) {
		var largest T
		for _, v := range values {
			largest = max(largest, v, -v)
		}
		for i := range values {
			values[i] += largest * T(share*(2*r.Float64()-1))
		}
	})
}

func forward[T Float](m *Model, x []T, noise func([]T)) (y []T, err error) {
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
		for i, out := range run(n, m.opset, env) {
			if noise != nil {
				noise(out.Values)
			}
			env[n.Output[i]] = out
		}
	}
	return env[m.graph.Output[0].Name].Values, nil
}

// run computes all outputs of a node.
func run[T Float](n *protos.NodeProto, opset int64, env map[string]Array[T]) []Array[T] {
	in := make([]Array[T], len(n.Input))
	for i, name := range n.Input {
		a, there := env[name]
		if name != "" && !there {
			panic(fmt.Sprintf("%s reads %q, which is not there", n.OpType, name))
		}
		in[i] = a
	}
	return compute(&call[T]{NodeProto: n, opset: opset, in: in})
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
	case protos.TensorProto_BOOL:
		for i := range n {
			if p.RawData != nil {
				a.ints = append(a.ints, int64(p.RawData[i]))
			} else {
				a.ints = append(a.ints, int64(p.Int32Data[i]))
			}
		}
	default:
		panic(fmt.Sprintf("a tensor of type %d", p.DataType))
	}
	if n == 0 && a.Values == nil && a.ints == nil { // no values, of which kind it is all the same
		a.ints = []int64{}
	}
	return a
}
