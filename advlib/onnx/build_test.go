package onnx_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/gomlx/compute-onnx/support/protos"
	"google.golang.org/protobuf/proto"
)

// draft is a model that a test writes: operators, weights, an input "x" and outputs.
type draft struct {
	opset   int64
	ir      int64
	nodes   []*protos.NodeProto
	weights []*protos.TensorProto
	input   []int // with the batch; 0 is open
	outputs []*protos.ValueInfoProto
	learn   bool // imports scikit-learn's operators
}

func (d draft) file(t testing.TB) []byte {
	t.Helper()
	m := &protos.ModelProto{IrVersion: max(d.ir, 8),
		Graph: &protos.GraphProto{Name: "draft", Node: d.nodes, Initializer: d.weights, Output: d.outputs}}
	if d.opset > 0 {
		m.OpsetImport = append(m.OpsetImport, &protos.OperatorSetIdProto{Version: d.opset})
	}
	if d.learn {
		m.OpsetImport = append(m.OpsetImport, &protos.OperatorSetIdProto{Domain: "ai.onnx.ml", Version: 1})
	}
	m.Graph.Input = []*protos.ValueInfoProto{valueOf("x", protos.TensorProto_FLOAT, d.input...)}
	if d.outputs == nil {
		m.Graph.Output = []*protos.ValueInfoProto{valueOf("y", protos.TensorProto_FLOAT)}
	}
	file, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// valueOf describes an input or output; without sizes, of any shape.
func valueOf(name string, kind protos.TensorProto_DataType, dims ...int) *protos.ValueInfoProto {
	t := &protos.TypeProto_Tensor{ElemType: int32(kind)}
	if len(dims) > 0 {
		t.Shape = &protos.TensorShapeProto{}
	}
	for _, d := range dims {
		dim := &protos.TensorShapeProto_Dimension{}
		if d > 0 {
			dim.Value = &protos.TensorShapeProto_Dimension_DimValue{DimValue: int64(d)}
		}
		t.Shape.Dim = append(t.Shape.Dim, dim)
	}
	return &protos.ValueInfoProto{Name: name, Type: &protos.TypeProto{Value: &protos.TypeProto_TensorType{TensorType: t}}}
}

// op is an operator that writes one value; attributes are pairs of name and int, float32, string, []int, []float32 or
// tensor.
func op(name, out string, in []string, attributes ...any) *protos.NodeProto {
	n := &protos.NodeProto{OpType: name, Input: in, Output: []string{out}}
	for i := 0; i < len(attributes); i += 2 {
		a := &protos.AttributeProto{Name: attributes[i].(string)}
		switch v := attributes[i+1].(type) {
		case int:
			a.Type, a.I = protos.AttributeProto_INT, int64(v)
		case float32:
			a.Type, a.F = protos.AttributeProto_FLOAT, v
		case string:
			a.Type, a.S = protos.AttributeProto_STRING, []byte(v)
		case []float32:
			a.Type, a.Floats = protos.AttributeProto_FLOATS, v
		case []int:
			a.Type = protos.AttributeProto_INTS
			for _, k := range v {
				a.Ints = append(a.Ints, int64(k))
			}
		case *protos.TensorProto:
			a.Type, a.T = protos.AttributeProto_TENSOR, v
		default:
			panic(fmt.Sprintf("an attribute of type %T", v))
		}
		n.Attribute = append(n.Attribute, a)
	}
	return n
}

func weight(name string, values []float32, dims ...int64) *protos.TensorProto {
	return &protos.TensorProto{Name: name, DataType: int32(protos.TensorProto_FLOAT), Dims: dims, FloatData: values}
}

func integers(name string, values ...int64) *protos.TensorProto {
	return &protos.TensorProto{Name: name, DataType: int32(protos.TensorProto_INT64), Dims: []int64{int64(len(values))}, Int64Data: values}
}

// random returns values of about 1.
func random(seed uint64, n int) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}
