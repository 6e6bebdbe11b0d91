package onnx_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute-onnx/support/protos"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/onnx"
)

// outputs computes a file on the Go backend.
func outputs(t testing.TB, file []byte, o onnx.Options, x []float32, dims ...int) []float32 {
	t.Helper()
	n, err := onnx.ReadNetwork(bytes.NewReader(file), o)
	if err != nil {
		t.Fatal(err)
	}
	out, err := evaluate(n, backends(t)["go"], tensors.FromFlatDataAndDimensions(x, dims...))
	if err != nil {
		t.Fatal(err)
	}
	return tensors.MustCopyFlatData[float32](out)
}

// TestOpsets: operators that newer opsets leave as they are compute what they did.
func TestOpsets(t *testing.T) {
	for _, name := range []string{"mlp/13", "Conv/11", "MaxPool/12", "Softplus/8", "Gelu/20"} {
		f := named(t, name)
		want := outputs(t, f.file, f.options(), f.x, f.dims...)
		for opset := int64(21); opset <= 28; opset++ {
			file := changed(t, f.file, func(m *protos.ModelProto) { m.OpsetImport[0].Version, m.IrVersion = opset, 14 })
			if d := difference(outputs(t, file, f.options(), f.x, f.dims...), want); d != 0 {
				t.Errorf("%s in opset %d differs by %g", name, opset, d)
			}
		}
	}
	for _, op := range strings.Split(onnx.Operators(), ", ") {
		if !onnx.Defined(op) {
			t.Errorf("definitions.go has no %s", op)
		}
	}
}

// TestAnyOrder shuffles the operators of models: they are the same models, number by number.
func TestAnyOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 8))
	for _, name := range []string{"mlp/13", "cnn-batch-1/13"} {
		f := named(t, name)
		want := outputs(t, f.file, f.options(), f.x, f.dims...)
		for range 5 {
			file := changed(t, f.file, func(m *protos.ModelProto) {
				nodes := m.Graph.Node
				r.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
			})
			if d := difference(outputs(t, file, f.options(), f.x, f.dims...), want); d != 0 {
				t.Errorf("%s in another order differs by %g", name, d)
			}
		}
	}
}

// TestLongCircle: a circle is named by its operators, not all of a large one.
func TestLongCircle(t *testing.T) {
	const n = 50_000
	d := draft{opset: 17, input: []int{0, 3}}
	for i := range n {
		d.nodes = append(d.nodes, op("Relu", fmt.Sprint("v", (i+1)%n), []string{fmt.Sprint("v", i)}))
	}
	d.nodes = append(d.nodes, op("Add", "y", []string{"x", "v7"}))
	_, err := onnx.ReadNetwork(bytes.NewReader(d.file(t)), onnx.Options{})
	want(t, err, "circle", `Relu (writes "v1"), then the operator Relu (writes "v2")`, "then 49994 more")
	if err != nil && len(err.Error()) > 600 {
		t.Errorf("%d characters", len(err.Error()))
	}
}

// TestExternalDataBehindLinks lays a model out as caches do.
func TestExternalDataBehindLinks(t *testing.T) {
	f := named(t, "mlp/13")
	inside := outputs(t, f.file, f.options(), f.x, f.dims...)
	model, weights := moved(t, f.file, "fc1/weight", "w.bin")
	link := func(t *testing.T, to, at string) {
		if err := os.Symlink(to, at); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name  string
		wants []string
		lay   func(t *testing.T, dir string) // writes below dir, the model's name is dir/snapshot/m.onnx
	}{
		{"cache", nil, func(t *testing.T, dir string) {
			write(t, dir+"/blobs/aa", model)
			write(t, dir+"/blobs/bb", weights)
			link(t, "../blobs/aa", dir+"/snapshot/m.onnx")
			link(t, "../blobs/bb", dir+"/snapshot/w.bin")
		}},
		{"cache by absolute links", nil, func(t *testing.T, dir string) {
			write(t, dir+"/blobs/aa", model)
			write(t, dir+"/blobs/deep/bb", weights)
			link(t, dir+"/blobs/aa", dir+"/snapshot/m.onnx")
			link(t, dir+"/blobs/deep/bb", dir+"/snapshot/w.bin")
		}},
		{"only the model is a link", nil, func(t *testing.T, dir string) {
			write(t, dir+"/blobs/m.onnx", model)
			write(t, dir+"/blobs/w.bin", weights)
			link(t, "../blobs/m.onnx", dir+"/snapshot/m.onnx")
		}},
		{"only the data is a link, inside", nil, func(t *testing.T, dir string) {
			write(t, dir+"/snapshot/m.onnx", model)
			write(t, dir+"/snapshot/data/bb", weights)
			link(t, "data/bb", dir+"/snapshot/w.bin")
		}},
		{"the folder is a link", nil, func(t *testing.T, dir string) {
			write(t, dir+"/blobs/m.onnx", model)
			write(t, dir+"/blobs/w.bin", weights)
			if err := os.Remove(dir + "/snapshot"); err != nil {
				t.Fatal(err)
			}
			link(t, "blobs", dir+"/snapshot")
		}},
		{"out of both", []string{"w.bin", "escapes"}, func(t *testing.T, dir string) {
			write(t, dir+"/blobs/aa", model)
			write(t, dir+"/elsewhere/bb", weights)
			link(t, "../blobs/aa", dir+"/snapshot/m.onnx")
			link(t, "../elsewhere/bb", dir+"/snapshot/w.bin")
		}},
		{"out of the only one", []string{"w.bin", "escapes"}, func(t *testing.T, dir string) {
			write(t, dir+"/snapshot/m.onnx", model)
			write(t, dir+"/blobs/bb", weights)
			link(t, "../blobs/bb", dir+"/snapshot/w.bin")
		}},
		{"out of both, beside the real one", []string{"w.bin", "escapes"}, func(t *testing.T, dir string) {
			write(t, dir+"/blobs/aa", model)
			write(t, dir+"/elsewhere/bb", weights)
			link(t, "../blobs/aa", dir+"/snapshot/m.onnx")
			link(t, "../elsewhere/bb", dir+"/blobs/w.bin")
		}},
		{"through a link of a folder", []string{"escapes"}, func(t *testing.T, dir string) {
			other, _ := moved(t, f.file, "fc1/weight", "data/w.bin")
			write(t, dir+"/snapshot/m.onnx", other)
			write(t, dir+"/elsewhere/w.bin", weights)
			link(t, "../elsewhere", dir+"/snapshot/data")
		}},
		{"absolute", []string{"escapes"}, func(t *testing.T, dir string) {
			write(t, dir+"/snapshot/w.bin", weights)
			other, _ := moved(t, f.file, "fc1/weight", dir+"/snapshot/w.bin")
			write(t, dir+"/snapshot/m.onnx", other)
		}},
		{"link to nothing", []string{"w.bin", "no such file"}, func(t *testing.T, dir string) {
			write(t, dir+"/snapshot/m.onnx", model)
			link(t, "nothing", dir+"/snapshot/w.bin")
		}},
		{"links in a circle", []string{"w.bin"}, func(t *testing.T, dir string) {
			write(t, dir+"/snapshot/m.onnx", model)
			link(t, "w.bin", dir+"/snapshot/w.bin")
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range []string{"snapshot", "blobs/deep", "elsewhere", "snapshot/data"} {
				if name == "snapshot/data" && tc.name != "only the data is a link, inside" {
					continue
				}
				if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			tc.lay(t, dir)
			n, err := onnx.Open(dir+"/snapshot/m.onnx", onnx.Options{})
			if tc.wants != nil {
				want(t, err, tc.wants...)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			out, err := evaluate(n, backends(t)["go"], tensors.FromFlatDataAndDimensions(f.x, f.dims...))
			if err != nil {
				t.Fatal(err)
			}
			if d := difference(tensors.MustCopyFlatData[float32](out), inside); d != 0 {
				t.Errorf("differs by %g", d)
			}
		})
	}
}

// The numbers of the models of scikit-learn that the tests write.
var (
	coefficients, intercepts = random(1, 12), random(2, 3)
	offset, scale            = random(4, 4), random(5, 4)
)

// learn is an operator of scikit-learn's.
func learn(name string, in, out []string, attributes ...any) *protos.NodeProto {
	n := op(name, "", in, attributes...)
	n.Output, n.Domain = out, "ai.onnx.ml"
	return n
}

// scikit is a StandardScaler and a LogisticRegression, as skl2onnx writes them; norm is that of a Normalizer behind it.
// Opset 0 is of scikit-learn's operators alone.
func scikit(transform, norm string, opset int64) draft {
	scaled := learn("Scaler", []string{"x"}, []string{"s"}, "offset", offset, "scale", scale)
	linear := learn("LinearClassifier", []string{"s"}, []string{"label", "p"}, "coefficients", coefficients, "intercepts", intercepts,
		"classlabels_ints", []int{0, 1, 2}, "multi_class", 1, "post_transform", transform)
	label := op("Cast", "output_label", []string{"label"}, "to", int(protos.TensorProto_INT64))
	behind := op("Identity", "q", []string{"p"})
	if norm != "" {
		behind = learn("Normalizer", []string{"p"}, []string{"q"}, "norm", norm)
	}
	zip := learn("ZipMap", []string{"q"}, []string{"output_probability"}, "classlabels_int64s", []int{0, 1, 2})
	d := draft{opset: opset, input: []int{0, 4}, learn: true, nodes: []*protos.NodeProto{scaled, linear, label, behind, zip},
		outputs: []*protos.ValueInfoProto{valueOf("output_label", protos.TensorProto_INT64, 0), {Name: "output_probability"}}}
	if opset == 0 {
		d.nodes, d.outputs = slices.Delete(d.nodes, 2, 3), d.outputs[1:]
	}
	return d
}

// TestScikitLearn writes models as skl2onnx does, and computes them here.
func TestScikitLearn(t *testing.T) {
	const rows, features, classes = 5, 4, 3
	x := random(3, rows*features)
	scores := func(x []float32) []float64 { // after the scaler
		z := make([]float64, classes)
		for k := range z {
			z[k] = float64(intercepts[k])
			for j, v := range x {
				z[k] += float64(coefficients[k*features+j]) * (float64(v) - float64(offset[j])) * float64(scale[j])
			}
		}
		return z
	}
	for _, tc := range []struct {
		name, transform, norm string
		opset                 int64
	}{
		{"softmax", "SOFTMAX", "L1", 9},
		{"softmax, without ONNX's own operators' version", "SOFTMAX", "L1", 0},
		{"logistic", "LOGISTIC", "", 21},
		{"scores", "NONE", "", 22},
		{"scores of length 1", "NONE", "L1", 9},
		{"scores of Euclidean length 1", "NONE", "L2", 22},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := scikit(tc.transform, tc.norm, tc.opset)
			if tc.transform != "NONE" {
				n, err := onnx.Read(bytes.NewReader(d.file(t)), onnx.Options{Box: advlib.UnitBox})
				if err == nil {
					t.Errorf("a model with probabilities is read: %v", n)
				}
				want(t, err, "probabilities")
			}
			y := outputs(t, d.file(t), onnx.Options{StripSoftmax: true}, x, rows, features)
			for i := range rows {
				z := scores(x[i*features : (i+1)*features])
				length := 1.
				switch tc.norm {
				case "L1":
					length = math.Abs(z[0]) + math.Abs(z[1]) + math.Abs(z[2])
				case "L2":
					length = math.Sqrt(z[0]*z[0] + z[1]*z[1] + z[2]*z[2])
				}
				if tc.transform == "SOFTMAX" {
					length = 1
				}
				for k, want := range z {
					if got := float64(y[i*classes+k]); math.Abs(got-want/length) > 1e-5*max(1, math.Abs(want)) {
						t.Errorf("score %d of row %d is %g, want %g", k, i, got, want/length)
					}
				}
			}
		})
	}
	pick := draft{opset: 22, input: []int{0, features}, learn: true, weights: []*protos.TensorProto{integers("columns", 2, 0)},
		nodes: []*protos.NodeProto{learn("ArrayFeatureExtractor", []string{"x", "columns"}, []string{"y"})}}
	if y := outputs(t, pick.file(t), onnx.Options{}, x, rows, features); y[0] != x[2] || y[1] != x[0] || y[2] != x[features+2] {
		t.Errorf("columns 2 and 0 are %v of %v", y, x)
	}
	regress := draft{opset: 22, input: []int{0, features}, learn: true,
		nodes: []*protos.NodeProto{learn("LinearRegressor", []string{"x"}, []string{"y"}, "coefficients", coefficients[:features],
			"intercepts", intercepts[:1])}}
	sum := intercepts[0]
	for j := range features {
		sum += coefficients[j] * x[j]
	}
	if y := outputs(t, regress.file(t), onnx.Options{}, x, rows, features); math.Abs(float64(y[0]-sum)) > 1e-5 {
		t.Errorf("a regression gives %g, want %g", y[0], sum)
	}
	for _, tc := range []struct {
		node  *protos.NodeProto
		wants []string
	}{
		{learn("TreeEnsembleClassifier", []string{"x"}, []string{"label", "y"}), []string{"ai.onnx.ml.TreeEnsembleClassifier", "not supported", "LinearClassifier"}},
		{learn("SVMClassifier", []string{"x"}, []string{"label", "y"}), []string{"ai.onnx.ml.SVMClassifier"}},
		{learn("Normalizer", []string{"x"}, []string{"y"}, "norm", "MAX"), []string{"Normalizer", "MAX", "L1 and L2"}},
		{learn("LinearClassifier", []string{"x"}, []string{"y"}, "coefficients", coefficients, "intercepts", intercepts, "classlabels_ints", []int{0, 1, 2}), []string{"labels", "Options.Output"}},
		{learn("LinearClassifier", []string{"x"}, []string{"label", "y"}, "coefficients", coefficients, "intercepts", intercepts[:1], "classlabels_ints", []int{0, 1}), []string{"1 scores for 2 classes"}},
		{learn("LinearClassifier", []string{"x"}, []string{"label", "y"}, "coefficients", coefficients, "intercepts", intercepts, "classlabels_ints", []int{0, 1, 2}, "post_transform", "PROBIT"), []string{"PROBIT"}},
		{learn("Scaler", []string{"x"}, []string{"y"}, "scale", scale), []string{"0 offsets", "4 scales"}},
		{learn("Scaler", []string{"x"}, []string{"y"}, "scale", scale, "offset", offset, "width", 3), []string{"width"}},
	} {
		d := draft{opset: 22, input: []int{0, features}, learn: true, nodes: []*protos.NodeProto{tc.node}}
		_, err := onnx.ReadNetwork(bytes.NewReader(d.file(t)), onnx.Options{})
		want(t, err, tc.wants...)
	}
}

// TestMaxValues: a file of a few bytes that asks for much is refused, with the reason, unless it is wanted.
func TestMaxValues(t *testing.T) {
	d := draft{opset: 17, input: []int{0, 4}, weights: []*protos.TensorProto{integers("dims", 1, 4, 50), integers("axes", 1)},
		nodes: []*protos.NodeProto{
			op("ConstantOfShape", "c", []string{"dims"}),
			op("ReduceMean", "m", []string{"c"}, "axes", []int{2}, "keepdims", 0),
			op("Add", "y", []string{"x", "m"}),
		}}
	_, err := onnx.ReadNetwork(bytes.NewReader(d.file(t)), onnx.Options{MaxValues: 199})
	want(t, err, "ConstantOfShape", "[1 4 50]", "more than 199 values", "memory", "Options.MaxValues")
	x := random(1, 8)
	if d := difference(outputs(t, d.file(t), onnx.Options{MaxValues: 200}, x, 2, 4), x); d != 0 {
		t.Errorf("differs by %g", d)
	}
	wide := draft{opset: 17, input: []int{0, 4}, weights: []*protos.TensorProto{integers("dims", 1, 4, 50), integers("axes", 2)},
		nodes: []*protos.NodeProto{
			op("Unsqueeze", "u", []string{"x", "axes"}),
			op("Expand", "e", []string{"u", "dims"}),
			op("ReduceMean", "y", []string{"e"}, "axes", []int{2}, "keepdims", 0),
		}}
	_, err = onnx.ReadNetwork(bytes.NewReader(wide.file(t)), onnx.Options{MaxValues: 199})
	want(t, err, "[n 4 50]", "more than 199 values", "Options.MaxValues")
	if _, err = onnx.ReadNetwork(bytes.NewReader(wide.file(t)), onnx.Options{MaxValues: 200}); err != nil {
		t.Error(err)
	}
	_, err = onnx.ReadNetwork(bytes.NewReader(wide.file(t)), onnx.Options{MaxValues: -1})
	want(t, err, "Options.MaxValues is -1")
}
