package onnxtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gomlx/compute-onnx/support/protos"
	"google.golang.org/protobuf/proto"
)

// Node returns an operator that writes out and reads the names in in, which are separated by spaces. Attributes are
// pairs of a name and an int, []int or float32.
func Node(op, out, in string, attributes ...any) *protos.NodeProto {
	n := &protos.NodeProto{OpType: op, Input: strings.Fields(in), Output: strings.Fields(out)}
	for i := 0; i < len(attributes); i += 2 {
		a := &protos.AttributeProto{Name: attributes[i].(string)}
		switch v := attributes[i+1].(type) {
		case int:
			a.Type, a.I = protos.AttributeProto_INT, int64(v)
		case float32:
			a.Type, a.F = protos.AttributeProto_FLOAT, v
		case []int:
			a.Type = protos.AttributeProto_INTS
			for _, d := range v {
				a.Ints = append(a.Ints, int64(d))
			}
		default:
			panic(fmt.Sprintf("onnxtest: no attribute is made of a %T", v))
		}
		n.Attribute = append(n.Attribute, a)
	}
	return n
}

// Value describes a float32 tensor, such as an input; a size of 0 is open.
func Value(name string, dims ...int) *protos.ValueInfoProto {
	s := &protos.TensorShapeProto{}
	for _, d := range dims {
		dim := &protos.TensorShapeProto_Dimension{Value: &protos.TensorShapeProto_Dimension_DimParam{DimParam: "open"}}
		if d > 0 {
			dim.Value = &protos.TensorShapeProto_Dimension_DimValue{DimValue: int64(d)}
		}
		s.Dim = append(s.Dim, dim)
	}
	t := &protos.TypeProto_Tensor{ElemType: int32(protos.TensorProto_FLOAT), Shape: s}
	return &protos.ValueInfoProto{Name: name, Type: &protos.TypeProto{Value: &protos.TypeProto_TensorType{TensorType: t}}}
}

// Weights are the initializers of a file by name. Those whose name ends with "shape" are lists of integers.
type Weights map[string]Array[float32]

// File writes a model in opset 13 that has the input x, and the outputs that the nodes write and none reads, with the
// sizes left open.
func File(x *protos.ValueInfoProto, weights Weights, nodes ...*protos.NodeProto) []byte {
	g := &protos.GraphProto{Name: "made", Node: nodes, Input: []*protos.ValueInfoProto{x}}
	read := map[string]bool{}
	for _, n := range nodes {
		for _, in := range n.Input {
			read[in] = true
		}
	}
	for _, n := range nodes {
		for _, out := range n.Output {
			if !read[out] {
				g.Output = append(g.Output, &protos.ValueInfoProto{Name: out, Type: &protos.TypeProto{}})
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(weights)) {
		w := weights[name]
		t := &protos.TensorProto{Name: name}
		for _, d := range w.Dims {
			t.Dims = append(t.Dims, int64(d))
		}
		if strings.HasSuffix(name, "shape") {
			t.DataType = int32(protos.TensorProto_INT64)
			for _, v := range w.Values {
				t.Int64Data = append(t.Int64Data, int64(v))
			}
		} else {
			t.DataType, t.FloatData = int32(protos.TensorProto_FLOAT), w.Values
		}
		g.Initializer = append(g.Initializer, t)
	}
	file, err := proto.Marshal(&protos.ModelProto{IrVersion: 7, OpsetImport: []*protos.OperatorSetIdProto{{Version: 13}}, Graph: g})
	if err != nil {
		panic(err)
	}
	return file
}
