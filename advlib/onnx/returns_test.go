package onnx_test

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute-onnx/support/protos"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/onnx"
	"advlab/advlib/onnx/onnxtest"
)

// ending is a linear model of inputs [n, 4] to z [n, k] with an end of its own.
func ending(k int, weights onnxtest.Weights, nodes ...*protos.NodeProto) []byte {
	w := onnxtest.Array[float32]{Dims: []int{4, k}}
	for i := range 4 * k {
		w.Values = append(w.Values, float32(i*7%9-4)/2)
	}
	all := onnxtest.Weights{"w": w}
	for name, v := range weights {
		all[name] = v
	}
	return onnxtest.File(onnxtest.Value("x", 0, 4), all, append([]*protos.NodeProto{onnxtest.Node("MatMul", "z", "x w")}, nodes...)...)
}

// What makes probabilities of logits is found and left out behind whatever only renames, casts or reshapes.
func TestEndings(t *testing.T) {
	node := onnxtest.Node
	shape := func(dims ...float32) onnxtest.Weights {
		return onnxtest.Weights{"shape": {Dims: []int{len(dims)}, Values: dims}}
	}
	behind := map[string]struct {
		weights onnxtest.Weights
		nodes   []*protos.NodeProto // from p to y
	}{
		"nothing":       {nil, []*protos.NodeProto{node("Identity", "y", "p")}},
		"Cast":          {nil, []*protos.NodeProto{node("Cast", "c", "p", "to", int(protos.TensorProto_DOUBLE)), node("Cast", "y", "c", "to", int(protos.TensorProto_FLOAT))}},
		"Reshape":       {shape(-1, 3, 1), []*protos.NodeProto{node("Reshape", "y", "p shape")}},
		"both ways":     {onnxtest.Weights{"axes.shape": {Dims: []int{1}, Values: []float32{2}}}, []*protos.NodeProto{node("Unsqueeze", "u", "p axes.shape"), node("Identity", "i", "u"), node("Squeeze", "y", "i axes.shape")}},
		"Flatten":       {nil, []*protos.NodeProto{node("Flatten", "y", "p", "axis", 1)}},
		"Cast, Dropout": {nil, []*protos.NodeProto{node("Cast", "c", "p", "to", int(protos.TensorProto_FLOAT)), node("Dropout", "y", "c")}},
	}
	x := tensors.FromFlatDataAndDimensions([]float32{0.1, 0.2, 0.3, 0.4, 1, 0, 0.5, 0.25}, 2, 4)
	logits := func(file []byte, o onnx.Options) ([][]float32, *advlib.Classifier, error) {
		o.Box, o.Backend = advlib.UnitBox, backends(t)["go"]
		c, err := onnx.Read(bytes.NewReader(file), o)
		if err != nil {
			return nil, nil, err
		}
		z, err := c.Logits(x)
		return z, c, err
	}
	want, _, err := logits(ending(3, nil, node("Identity", "y", "z")), onnx.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, end := range behind {
		for op, attributes := range map[string][]any{"Softmax": {"axis", 1}, "LogSoftmax": {"axis", -1}, "Sigmoid": nil} {
			file := ending(3, end.weights, append([]*protos.NodeProto{node(op, "p", "z", attributes...)}, end.nodes...)...)
			if _, _, err := logits(file, onnx.Options{}); op != "LogSoftmax" &&
				(err == nil || !strings.Contains(err.Error(), op+" (writes \"p\") is the last") ||
					!strings.Contains(err.Error(), "Options.StripSoftmax")) {
				t.Errorf("%s, %s: %v", op, name, err)
			}
			options := []onnx.Options{{StripSoftmax: true}, {Returns: advlib.Probabilities}}
			if op == "LogSoftmax" { // which are no probabilities
				options = options[:1]
			}
			for _, o := range options {
				z, c, err := logits(file, o)
				if err != nil {
					t.Errorf("%s, %s, %v: %v", op, name, o.Returns, err)
				} else if !slices.EqualFunc(z, want, slices.Equal) || !strings.Contains(strings.Join(c.Notes(), ""), "left out: the operator "+op) {
					t.Errorf("%s, %s, %v: logits %v, want %v, notes %q", op, name, o.Returns, z, want, c.Notes())
				}
			}
		}
	}
	// A softmax over parts of the outputs is part of the model.
	parts := ending(6, onnxtest.Weights{"in.shape": {Dims: []int{3}, Values: []float32{-1, 2, 3}},
		"out.shape": {Dims: []int{2}, Values: []float32{-1, 6}}},
		node("Reshape", "r", "z in.shape"), node("Softmax", "p", "r", "axis", 2), node("Reshape", "y", "p out.shape"))
	if _, _, err := logits(parts, onnx.Options{StripSoftmax: true}); err == nil ||
		!strings.Contains(err.Error(), "cannot be left out: it makes probabilities of parts of the [n 2 3] outputs") {
		t.Errorf("a softmax of parts: %v", err)
	}
	// Only the last is left out.
	two := ending(3, nil, node("Softmax", "s", "z", "axis", 1), node("Softmax", "y", "s", "axis", 1))
	z, _, err := logits(two, onnx.Options{StripSoftmax: true, Layout: onnx.FromShapes})
	if err == nil || !strings.Contains(err.Error(), "it returns probabilities") {
		t.Errorf("two softmaxes, one left out: %v, %v", z, err)
	}
}

// Binary models with one output, as Keras and PyTorch write them.
func TestOneOutput(t *testing.T) {
	node := onnxtest.Node
	x := tensors.FromFlatDataAndDimensions([]float32{0.1, 0.2, 0.3, 0.4, 1, 0, 0.5, 0.25}, 2, 4)
	z := []float64{0, 0} // by hand: w is −2, 1.5, 0.5, −0.5
	for i, v := range tensors.MustCopyFlatData[float32](x) {
		z[i/4] += float64(v) * []float64{-2, 1.5, 0.5, -0.5}[i%4]
	}
	flat := onnxtest.Weights{"shape": {Dims: []int{1}, Values: []float32{-1}}}
	logit, sigmoid := ending(1, nil, node("Identity", "y", "z")), ending(1, nil, node("Sigmoid", "y", "z"))
	logitFlat, sigmoidFlat := ending(1, flat, node("Reshape", "y", "z shape")),
		ending(1, flat, node("Sigmoid", "p", "z"), node("Reshape", "y", "p shape"))
	half := onnxtest.Weights{"half": {Dims: []int{1}, Values: []float32{0.5}}}
	average := ending(1, half, node("Sigmoid", "p", "z"), node("Sigmoid", "q", "z"), node("Add", "s", "p q"), node("Mul", "y", "s half"))
	pair := ending(1, onnxtest.Weights{"unit": {Dims: []int{1}, Values: []float32{1}}}, node("Sigmoid", "p", "z"),
		node("Sub", "q", "unit p"), node("Concat", "y", "q p", "axis", 1))
	strip, p, one := onnx.Options{StripSoftmax: true}, onnx.Options{Returns: advlib.Probabilities}, onnx.Options{Returns: advlib.OneLogit}
	for _, c := range []struct {
		name    string
		file    []byte
		options onnx.Options
		first   float64 // the first logit where it is constant, else NaN
		err     string
	}{
		{"logit", logit, onnx.Options{}, 0, "if it is the logit of class 1, give Returns: advlib.OneLogit"},
		{"logit", logit, one, 0, ""},
		{"logit, stripped", logit, strip, 0, "give Returns: advlib.OneLogit"},
		{"logit [n]", logitFlat, one, 0, ""},
		{"logit as p", logit, p, 0, "is said to return probabilities"},
		{"sigmoid", sigmoid, onnx.Options{}, 0, "Sigmoid (writes \"y\") is the last"},
		{"sigmoid, stripped", sigmoid, strip, 0, ""},
		{"sigmoid, one", sigmoid, one, 0, ""},
		{"sigmoid, p", sigmoid, p, 0, ""},
		{"sigmoid [n], stripped", sigmoidFlat, strip, 0, ""},
		{"sigmoid [n], p", sigmoidFlat, p, 0, ""},
		{"pair of scikit-learn", pair, onnx.Options{}, 0, "Concat (writes \"y\") is the last, so that the model returns probabilities"},
		{"pair of scikit-learn, stripped", pair, strip, 0, ""},
		{"pair of scikit-learn, p", pair, p, 0, ""},
		{"average of sigmoids", average, onnx.Options{}, 0, "if it is its probability, Returns: advlib.Probabilities"},
		{"average of sigmoids, p", average, p, math.NaN(), ""},
	} {
		c.options.Box, c.options.Backend = advlib.UnitBox, backends(t)["go"]
		clf, err := onnx.Read(bytes.NewReader(c.file), c.options)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v, want %q", c.name, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		got, err := clf.Logits(x)
		if err != nil {
			t.Fatal(err)
		}
		for i, row := range got {
			if math.Abs(float64(row[1]-row[0])-z[i]) > 1e-5 || !math.IsNaN(c.first) && float64(row[0]) != c.first {
				t.Errorf("%s: logits %v of example %d, want 0 and %g", c.name, row, i, z[i])
			}
		}
	}
}
