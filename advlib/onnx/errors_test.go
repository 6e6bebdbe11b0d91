package onnx_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute-onnx/support/protos"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"google.golang.org/protobuf/proto"

	"advlab/advlib"
	"advlab/advlib/onnx"
)

// changed returns the file with something done to it.
func changed(t testing.TB, file []byte, change func(m *protos.ModelProto)) []byte {
	t.Helper()
	var m protos.ModelProto
	if err := proto.Unmarshal(file, &m); err != nil {
		t.Fatal(err)
	}
	change(&m)
	out, err := proto.MarshalOptions{Deterministic: true}.Marshal(&m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// moved takes the values of a weight out of the file.
func moved(t testing.TB, file []byte, weight, location string) (model, values []byte) {
	model = changed(t, file, func(m *protos.ModelProto) {
		i := slices.IndexFunc(m.Graph.Initializer, func(w *protos.TensorProto) bool { return w.Name == weight })
		w := m.Graph.Initializer[i]
		values, w.RawData = w.RawData, nil
		w.DataLocation = protos.TensorProto_EXTERNAL
		w.ExternalData = []*protos.StringStringEntryProto{{Key: "location", Value: location}, {Key: "offset", Value: "0"}}
	})
	return model, values
}

// wide computes a fixture in float64.
func wide(t testing.TB, n *onnx.Network, f fixture) []float64 {
	t.Helper()
	store, err := n.WideStore()
	if err != nil {
		t.Fatal(err)
	}
	e, err := model.NewExec(backends(t)["go"], store,
		func(s *model.Scope, x *graph.Node) *graph.Node { return n.Graph(s.Store().RootScope(), x) })
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float64, len(f.x))
	for i, v := range f.x {
		x[i] = float64(v)
	}
	out, err := e.Exec(tensors.FromFlatDataAndDimensions(x, f.dims...))
	if err != nil {
		t.Fatal(err)
	}
	return tensors.MustCopyFlatData[float64](out[0])
}

func TestErrors(t *testing.T) {
	mlp, cnn := named(t, "mlp/13").file, named(t, "cnn-batch-1/13").file
	type m = protos.ModelProto
	node := func(m *m, op string) *protos.NodeProto {
		i := slices.IndexFunc(m.Graph.Node, func(n *protos.NodeProto) bool { return n.OpType == op })
		return m.Graph.Node[i]
	}
	weight := func(m *m, name string) *protos.TensorProto {
		i := slices.IndexFunc(m.Graph.Initializer, func(w *protos.TensorProto) bool { return w.Name == name })
		return m.Graph.Initializer[i]
	}
	dims := func(m *m) []*protos.TensorShapeProto_Dimension {
		return m.Graph.Input[0].Type.GetTensorType().Shape.Dim
	}
	for _, tc := range []struct {
		name    string
		file    []byte
		options onnx.Options
		change  func(m *m)
		wants   []string
	}{
		{"operator", mlp, onnx.Options{}, func(m *m) { node(m, "Relu").OpType, node(m, "Relu").Name = "Det", "act" },
			[]string{"Det", `"act"`, "not supported", "Relu"}},
		{"domain", mlp, onnx.Options{}, func(m *m) { node(m, "Relu").Domain = "com.microsoft" }, []string{"com.microsoft.Relu", "not supported"}},
		{"attribute", mlp, onnx.Options{}, func(m *m) {
			node(m, "Relu").Attribute = []*protos.AttributeProto{{Name: "leak", Type: protos.AttributeProto_FLOAT}}
		}, []string{"Relu", "leak"}},
		{"attribute's type", cnn, onnx.Options{}, func(m *m) { node(m, "Conv").Attribute[0].Type = protos.AttributeProto_STRING },
			[]string{"Conv", "kernel_shape", "STRING"}},
		{"opset 7", mlp, onnx.Options{}, func(m *m) { m.OpsetImport[0].Version = 7 }, []string{"opset 7", "8 to 28", "version_converter"}},
		{"opset 29", mlp, onnx.Options{}, func(m *m) { m.OpsetImport[0].Version = 29 }, []string{"opset 29", "8 to 28"}},
		{"before its opset", mlp, onnx.Options{}, func(m *m) { node(m, "Relu").OpType = "Gelu" },
			[]string{"Gelu", "since opset 20", "of opset 13"}},
		{"no opset", mlp, onnx.Options{}, func(m *m) { m.OpsetImport = nil }, []string{"version"}},
		{"no graph", mlp, onnx.Options{}, func(m *m) { m.Graph = nil }, []string{"no graph"}},
		{"no output", mlp, onnx.Options{}, func(m *m) { m.Graph.Output = nil }, []string{"no output"}},
		{"two outputs", mlp, onnx.Options{}, func(m *m) {
			m.Graph.Output = append(m.Graph.Output, &protos.ValueInfoProto{Name: "d"})
		}, []string{"y, d", "Options.Output"}},
		{"output's name", mlp, onnx.Options{Output: "q"}, func(*m) {}, []string{`"q"`, "y"}},
		{"output not written", mlp, onnx.Options{}, func(m *m) { m.Graph.Output[0].Name = "q" }, []string{`"q"`}},
		{"functions", mlp, onnx.Options{}, func(m *m) { m.Functions = []*protos.FunctionProto{{Name: "f"}} }, []string{`"f"`, "inline"}},
		{"read from nowhere", mlp, onnx.Options{}, func(m *m) { node(m, "Relu").Input[0] = "q" }, []string{"Relu", `"q"`, "damaged"}},
		{"circle", mlp, onnx.Options{}, func(m *m) { node(m, "Relu").Input[0] = "y" },
			[]string{"circle", "Relu", `"y"`, "and back to the first"}},
		{"circle of one", mlp, onnx.Options{}, func(m *m) { node(m, "Relu").Input[0] = node(m, "Relu").Output[0] },
			[]string{"circle: the operator Relu", "and back"}},
		{"branches", mlp, onnx.Options{}, func(m *m) {
			node(m, "Relu").OpType = "If"
			node(m, "If").Attribute = []*protos.AttributeProto{{Name: "then_branch", Type: protos.AttributeProto_GRAPH, G: &protos.GraphProto{}}}
		}, []string{"the operator If", "graph of its own", "without branches"}},
		{"quantised", mlp, onnx.Options{}, func(m *m) { node(m, "Relu").OpType = "DequantizeLinear" },
			[]string{"the model is quantised", "DequantizeLinear", "evaluate the float model"}},
		{"quantised by onnxruntime", mlp, onnx.Options{}, func(m *m) {
			node(m, "Relu").OpType, node(m, "Relu").Domain = "QLinearSigmoid", "com.microsoft"
		}, []string{"the model is quantised", "com.microsoft.QLinearSigmoid", "float model"}},
		{"written twice", mlp, onnx.Options{}, func(m *m) { node(m, "Relu").Output[0] = "a" }, []string{"Relu", `"a"`}},
		{"two inputs", mlp, onnx.Options{}, func(m *m) {
			m.Graph.Input = append(m.Graph.Input, proto.Clone(m.Graph.Input[0]).(*protos.ValueInfoProto))
			m.Graph.Input[1].Name = "b2"
			node(m, "Add").Input[1] = "b2"
		}, []string{"several inputs", "b2, x"}},
		{"image of bytes", mlp, onnx.Options{}, func(m *m) {
			m.Graph.Input[0].Type.GetTensorType().ElemType = int32(protos.TensorProto_UINT8)
		}, []string{`"x"`, "UINT8"}},
		{"no shape", mlp, onnx.Options{}, func(m *m) { m.Graph.Input[0].Type.GetTensorType().Shape = nil }, []string{"Options.Input"}},
		{"no type", mlp, onnx.Options{}, func(m *m) { m.Graph.Input[0].Type = nil }, []string{"no tensor"}},
		{"open sizes", named(t, "mlp-open/13").file, onnx.Options{}, func(*m) {}, []string{"Options.Input", "[0 0]"}},
		{"huge input", mlp, onnx.Options{}, func(m *m) {
			dims(m)[1].Value = &protos.TensorShapeProto_Dimension_DimValue{DimValue: 1 << 40}
		}, []string{"too large"}},
		{"other input", mlp, onnx.Options{Input: []int{7, 4}}, func(*m) {}, []string{"[7 4]", "28", "[5 6]", "30"}},
		{"other axes", named(t, "Conv/11").file, onnx.Options{Input: []int{9, 8, 3}}, func(*m) {},
			[]string{"[9 8 3]", "[3 9 8]", "ChannelsLast fits"}},
		{"other order", named(t, "Conv/11").file, onnx.Options{Input: []int{8, 9, 3}}, func(*m) {}, []string{"[8 9 3]", "no layout fits"}},
		{"negative input", mlp, onnx.Options{Input: []int{-5, -6}}, func(*m) {}, []string{"[-5 -6]"}},
		{"layout", named(t, "Gemm/8").file, onnx.Options{Layout: onnx.ChannelsLast}, func(*m) {}, []string{"channels last"}},
		{"layout's number", mlp, onnx.Options{Layout: 7}, func(*m) {}, []string{"Layout(7)"}},
		{"short weight", mlp, onnx.Options{}, func(m *m) { weight(m, "fc1/bias").RawData = weight(m, "fc1/bias").RawData[:44] },
			[]string{`"fc1/bias"`, "48", "44"}},
		{"weight's shape", mlp, onnx.Options{}, func(m *m) { weight(m, "fc1/bias").Dims[0] = -12 }, []string{`"fc1/bias"`, "-12"}},
		{"huge weight", mlp, onnx.Options{}, func(m *m) { weight(m, "fc1/bias").Dims = []int64{1 << 62, 1 << 62} },
			[]string{`"fc1/bias"`, "too large"}},
		{"weight's type", mlp, onnx.Options{}, func(m *m) { weight(m, "fc1/bias").DataType = int32(protos.TensorProto_INT8) },
			[]string{`"fc1/bias"`, "which the operator Add", "INT8", "quantised", "float model"}},
		{"weights of one name", mlp, onnx.Options{}, func(m *m) { weight(m, "fc1/bias").Name = "fc2/bias" }, []string{`"fc2/bias"`}},
		{"names that meet", mlp, onnx.Options{}, func(m *m) {
			weight(m, "fc1/bias").Name = "fc2|bias"
			node(m, "Add").Input[1] = "fc2|bias"
		}, []string{`"fc2|bias"`}},
		{"shapes that do not fit", mlp, onnx.Options{}, func(m *m) { weight(m, "fc1/bias").Dims = []int64{3, 4} },
			[]string{"Add", `"c"`, "[n 12]", "[3 4]"}},
		{"labels", mlp, onnx.Options{}, func(m *m) {
			m.Graph.Node = append(m.Graph.Node, &protos.NodeProto{OpType: "Cast", Input: []string{"y"}, Output: []string{"label"},
				Attribute: []*protos.AttributeProto{{Name: "to", Type: protos.AttributeProto_INT, I: int64(protos.TensorProto_INT64)}}})
			m.Graph.Output[0].Name = "label"
		}, []string{`"label"`, "Int64", "logits"}},
		{"images", named(t, "Conv/11").file, onnx.Options{Output: "z"}, func(m *m) { m.Graph.Output[0].Name = "z" },
			[]string{`"z"`, "[n, classes]"}},
		{"training", named(t, "Dropout-off/13").file, onnx.Options{}, func(m *m) { weight(m, "mode").RawData[0] = 1 },
			[]string{"Dropout", "inference"}},
		{"pool of nothing", named(t, "MaxPool/12").file, onnx.Options{}, func(m *m) {
			i := slices.IndexFunc(node(m, "MaxPool").Attribute, func(a *protos.AttributeProto) bool { return a.Name == "pads" })
			node(m, "MaxPool").Attribute[i].Ints = []int64{3, 0, 0, 0}
		}, []string{"MaxPool", "pads"}},
		{"huge pad", named(t, "Pad-zero/11").file, onnx.Options{}, func(m *m) { weight(m, "pads").RawData[6] = 1 }, []string{"Pad", "pads"}},
		{"index of the mask", named(t, "MaxPool/12").file, onnx.Options{}, func(m *m) {
			node(m, "MaxPool").Output = append(node(m, "MaxPool").Output, "i")
			node(m, "Flatten").Input[0] = "i"
		}, []string{"MaxPool", `"i"`}},
		{"vector with a Gemm", named(t, "vector/14").file, onnx.Options{}, func(m *m) { node(m, "MatMul").OpType = "Gemm" },
			[]string{"Gemm", "two axes"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := onnx.ReadNetwork(bytes.NewReader(changed(t, tc.file, tc.change)), tc.options)
			want(t, err, append(tc.wants, "onnx: ")...)
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
		})
	}
	_, err := onnx.Read(bytes.NewReader(mlp), onnx.Options{})
	want(t, err, "box")
	_, err = onnx.Read(bytes.NewReader(mlp), onnx.Options{Box: advlib.UnitBox, Classes: []string{"a"}})
	want(t, err, "1 class names for 3 logits")
	_, err = onnx.Load("nowhere.onnx", onnx.Options{Box: advlib.UnitBox})
	want(t, err, "nowhere.onnx")
	_, err = onnx.Load(".", onnx.Options{Box: advlib.UnitBox})
	want(t, err, "no file")
	_, err = onnx.Read(strings.NewReader("not a model"), onnx.Options{Box: advlib.UnitBox})
	want(t, err, "no ONNX")
}

// FuzzReadNetwork: damaged files are errors, never panics. Seeds are whole models and one of each operator.
func FuzzReadNetwork(f *testing.F) {
	seen := map[string]bool{}
	for _, x := range fixtures(f) {
		op, _, _ := strings.Cut(x.name, "/")
		if !seen[op] {
			seen[op] = true
			f.Add(x.file)
		}
	}
	for _, d := range singles() {
		f.Add(single(f, d))
	}
	f.Add(scikit("SOFTMAX", "L2", 9).file(f))
	f.Fuzz(func(t *testing.T, file []byte) {
		n, err := onnx.ReadNetwork(bytes.NewReader(file), onnx.Options{})
		if (n == nil) == (err == nil) {
			t.Errorf("%v, %v", n, err)
		}
		if err == nil && (n.Outputs() < 1 || len(n.Input()) == 0) {
			t.Errorf("input %v, %d outputs", n.Input(), n.Outputs())
		}
	})
}
