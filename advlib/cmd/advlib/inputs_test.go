package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib/onnx/onnxtest"
)

// TestNotFinite: an input for which the model has no answer is named in each format and in no rate, or ends the program
// with --strict. Decimal ends of the box are taken.
func TestNotFinite(t *testing.T) {
	dir, node := t.TempDir(), onnxtest.Node
	model := written(t, dir, "unit.onnx", onnxtest.File(onnxtest.Value("x", 0, 2),
		onnxtest.Weights{"w": {Dims: []int{2, 2}, Values: []float32{1, 0, 0, 1}}},
		node("ReduceL2", "n", "x", "axes", []int{1}, "keepdims", 1), node("Div", "u", "x n"), node("MatMul", "y", "u w")))
	data := saved(t, dir, "black.npz", map[string]*tensors.Tensor{
		"x": tensors.FromFlatDataAndDimensions([]float32{1.1, -0.1, 0.2, 0.9, 0, 0, 0.9, 0.3}, 4,
			2), "y": tensors.FromFlatDataAndDimensions([]int64{0, 1, 1, 1}, 4),
	})
	evaluate := func(more ...string) (status int, out, said string) {
		var o, p bytes.Buffer
		status = run(t.Context(), append([]string{"evaluate", "-q", "--fresh", "--backend", "go", "--model", model, "--data", data,
			"--box=-0.1,1.1", "--eps", "0.05", "--attacks", "fgm"}, more...), &o, &p)
		return status, o.String(), p.String()
	}
	const sentence = "1 of 4 examples is left out of all numbers, because the model's logits are not finite for example 2 (logit 0 is NaN)"
	status, text, said := evaluate()
	if status != done || !strings.Contains(text, "3 examples, box [-0.1, 1.1]") || !strings.Contains(text, sentence) ||
		!strings.Contains(text, "66.7 %") {
		t.Errorf("status %d, %s%s", status, text, said)
	}
	for format, want := range map[string]string{"json": `"index": 2,`, "csv": "\n2,1,NaN,,,,,,,,,,,\n",
		"html": "1 of 4 examples is left out"} {
		if status, out, said := evaluate("--format", format); status != done || !strings.Contains(out, want) {
			t.Errorf("%s: status %d, %s%s, want %q", format, status, out, said, want)
		}
	}
	if status, out, said := evaluate("--strict"); status != failed || out != "" || !strings.Contains(said,
		"not finite for example 2 (logit 0 is NaN); without --strict they are left out") || strings.Contains(said, "advlib: advlib:") {
		t.Errorf("strict: status %d, %s%s", status, out, said)
	}
	if status, _, said := evaluate("--min-robust", "0.5"); status != done || !strings.Contains(said, "1 were left out") {
		t.Errorf("a gate: status %d, %s", status, said)
	}
}

// TestDomainWithoutBox: ranges of features that leave [0, 1] need no --box, as the help's own example has none.
func TestDomainWithoutBox(t *testing.T) {
	dir, node := t.TempDir(), onnxtest.Node
	model := written(t, dir, "m.onnx", onnxtest.File(onnxtest.Value("x", 0, 2),
		onnxtest.Weights{"w": {Dims: []int{2, 2}, Values: []float32{0.01, 0, 0, 1}}}, node("MatMul", "y", "x w")))
	data := saved(t, dir, "d.npz", map[string]*tensors.Tensor{"x": tensors.FromFlatDataAndDimensions([]float32{90, 0.5, 20, 0.5}, 2,
		2), "y": tensors.FromFlatDataAndDimensions([]int64{0, 1}, 2)})
	domain := written(t, dir, "d.json", []byte(`[{"name": "age", "lo": 18, "hi": 100, "scale": 100}, {}]`))
	evaluate := func(more ...string) (int, string) {
		var out, said bytes.Buffer
		status := run(t.Context(), append([]string{"evaluate", "-q", "--fresh", "--backend", "go", "--model", model, "--data", data,
			"--eps", "0.1", "--attacks", "fgm", "--domain", domain}, more...), &out, &said)
		return status, out.String() + said.String()
	}
	if status, text := evaluate(); status != done || !strings.Contains(text, "100.0 %") {
		t.Errorf("status %d, %s", status, text)
	}
	if status, text := evaluate("--box", "0,1"); status != misused || !strings.Contains(text, "leave --box out") {
		t.Errorf("status %d, %s", status, text)
	}
}
