package onnx_test

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib/dataset"
	"advlab/advlib/onnx"
)

// TestBackendNodes computes the node tests of ONNX's backends, as testdata/backend.py wraps them. A test is wrong if
// one of its models gives other values, right if one gives the values of the test, and refused if all are.
func TestBackendNodes(t *testing.T) {
	path := os.Getenv("ADVLAB_ONNX_NODES")
	if path == "" {
		t.Skip("ADVLAB_ONNX_NODES names no file: make one by testdata/backend.py, which needs Python and PyPI's onnx")
	}
	arrays, err := dataset.Arrays(path)
	if err != nil {
		t.Fatal(err)
	}
	models := map[string][]string{}
	for key := range arrays {
		if name, found := strings.CutSuffix(key, "@onnx"); found {
			test, _, _ := strings.Cut(name, "/")
			models[test] = append(models[test], name)
		}
	}
	b := backends(t)["go"]
	// onnx-gomlx collects garbage three times for each graph, which takes longer the more threads take part in it.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var right, wrong, refused, unnamed int
	reasons := map[string][]string{}
	for _, test := range slices.Sorted(maps.Keys(models)) {
		outcome, why := "refused", ""
		for _, name := range slices.Backward(slices.Sorted(slices.Values(models[test]))) {
			y, err := nodeOutputs(arrays, name, func(n *onnx.Network, x *tensors.Tensor) (*tensors.Tensor, error) { return evaluate(n, b, x) })
			if err != nil {
				why = err.Error()
				continue
			}
			want, tolerance := tensors.MustCopyFlatData[float32](arrays[name+"@y"]), tensors.MustCopyFlatData[float32](arrays[name+"@tolerance"])[0]
			if i := firstApart(y, want, float64(tolerance)); i >= 0 {
				outcome = "wrong"
				t.Errorf("%s: value %d of %d is %g, want %g", name, i, len(want), y[min(i, len(y)-1)], want[i])
				break
			}
			outcome = "right"
		}
		switch outcome {
		case "right":
			right++
		case "wrong":
			wrong++
		default:
			refused++
			key := why
			if _, rest, found := strings.Cut(why, "the operator "); found {
				op, _, _ := strings.Cut(rest, " ")
				_, text, _ := strings.Cut(rest, ": ")
				text, _, _ = strings.Cut(text, "; supported are")
				text = regexp.MustCompile(`[0-9][0-9 ]*`).ReplaceAllString(text, "#")
				key = strings.TrimSuffix(op, ",") + ": " + text[:min(len(text), 110)]
			} else {
				unnamed++
				t.Logf("%s is refused without an operator's name: %s", test, why)
			}
			reasons[key] = append(reasons[key], test)
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(reasons), func(a, b string) int { return len(reasons[b]) - len(reasons[a]) }) {
		t.Logf("%4d refused: %s (%s)", len(reasons[key]), key, reasons[key][0])
	}
	t.Logf("%d tests: %d right, %d wrong, %d refused, %d of them without an operator's name", len(models), right, wrong, refused, unnamed)
}

// nodeOutputs reads a model and computes it; a panic is an error.
func nodeOutputs(arrays map[string]*tensors.Tensor, name string,
	evaluate func(n *onnx.Network, x *tensors.Tensor) (*tensors.Tensor, error)) (y []float32, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("PANIC: %v", r)
		}
	}()
	n, err := onnx.ReadNetwork(bytes.NewReader(tensors.MustCopyFlatData[uint8](arrays[name+"@onnx"])), onnx.Options{})
	if err != nil {
		return nil, err
	}
	out, err := evaluate(n, arrays[name+"@x"])
	if err != nil {
		return nil, err
	}
	return tensors.MustCopyFlatData[float32](out), nil
}

// firstApart returns the first value that is not as wanted, -1 if all are.
func firstApart(got, want []float32, tolerance float64) int {
	for i := range want {
		if i >= len(got) {
			return i
		}
		g, w := float64(got[i]), float64(want[i])
		if g == w || math.IsNaN(g) && math.IsNaN(w) {
			continue
		}
		if !(math.Abs(g-w) <= tolerance*max(1, math.Abs(w))) {
			return i
		}
	}
	return -1
}
