package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib/onnx/onnxtest"
)

// TestReturns: models that return probabilities without a softmax to leave out, and binary ones with one number, are
// refused by the name of the flag that makes them run.
func TestReturns(t *testing.T) {
	dir, node := t.TempDir(), onnxtest.Node
	x := onnxtest.Value("x", 0, 2)
	w := onnxtest.Weights{"a": {Dims: []int{2, 2}, Values: []float32{1, -1, -2, 2}}, "b": {Dims: []int{2, 2},
		Values: []float32{3, -3, -2, 2}}, "c": {Dims: []int{2, 1}, Values: []float32{-2, 4}}, "half": {Dims: []int{1}, Values: []float32{0.5}}}
	files := map[string]string{
		"ensemble": written(t, dir, "ensemble.onnx", onnxtest.File(x, w, node("MatMul", "ax", "x a"), node("Softmax", "pa", "ax",
			"axis", 1), node("MatMul", "bx", "x b"), node("Softmax", "pb", "bx", "axis", 1),
			node("Add", "s", "pa pb"), node("Mul", "y", "s half"))),
		"one":     written(t, dir, "one.onnx", onnxtest.File(x, w, node("MatMul", "y", "x c"))),
		"sigmoid": written(t, dir, "sigmoid.onnx", onnxtest.File(x, w, node("MatMul", "z", "x c"), node("Sigmoid", "y", "z"))),
		"several": written(t, dir, "several.onnx", onnxtest.File(x, w, node("MatMul", "y", "x a"), node("MatMul", "features", "x b"))),
	}
	// Class 1 is where the second number is the larger by far.
	data := saved(t, dir, "data.npz", map[string]*tensors.Tensor{
		"x": tensors.FromFlatDataAndDimensions([]float32{0.9, 0.1, 0.1, 0.9, 0.8, 0, 0, 0.8}, 4,
			2), "y": tensors.FromFlatDataAndDimensions([]int64{0, 1, 0, 1}, 4),
	})
	for _, c := range []struct {
		model string
		flags []string
		want  string // in the error
	}{
		{"ensemble", nil, "give --probabilities, which takes their logarithms"},
		{"ensemble", []string{"--probabilities"}, ""},
		{"ensemble", []string{"--one-logit"}, "one logit is of shape"},
		{"one", nil, "if it is the logit of class 1, give --one-logit, if it is its probability, --probabilities"},
		{"one", []string{"--one-logit"}, ""},
		{"one", []string{"--probabilities"}, "if it returns logits, leave --probabilities out"},
		{"sigmoid", nil, "leave it out with --strip-softmax"},
		{"sigmoid", []string{"--strip-softmax"}, ""},
		{"sigmoid", []string{"--one-logit"}, ""},
		{"sigmoid", []string{"--probabilities"}, ""},
		{"sigmoid", []string{"--probabilities", "--one-logit"}, "both given"},
		{"several", nil, "choose the one with the logits by --logits"},
		{"several", []string{"--logits", "y"}, ""},
	} {
		var out, said bytes.Buffer
		status := run(t.Context(), append([]string{"evaluate", "-q", "--fresh", "--backend", "go", "--model", files[c.model], "--data",
			data, "--eps", "0.05", "--attacks", "fgm", "--certify", "crown"}, c.flags...), &out, &said)
		switch {
		case c.want != "" && (status != misused || !strings.Contains(said.String(), c.want)):
			t.Errorf("%s %v: status %d, said %q, want %q", c.model, c.flags, status, said.String(), c.want)
		case c.want == "" && (status != done || strings.Count(out.String(), "100.0 %") < 4): // clean, attacked, worst case, certified
			t.Errorf("%s %v: status %d, %s%s", c.model, c.flags, status, out.String(), said.String())
		}
	}
}
