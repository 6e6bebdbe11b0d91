package onnx_test

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"advlab/advlib/onnx"
	"advlab/advlib/onnx/onnxtest"
)

// TestForward compares the second implementation, with which counterexamples are replayed, with the values that package
// onnx is measured against: every fixture that has none but its operators.
func TestForward(t *testing.T) {
	compared := map[string]int{}
	for _, f := range fixtures(t) {
		m, err := onnxtest.Parse(f.file)
		if err != nil {
			continue // several outputs
		}
		size := len(f.x) / f.dims[0]
		y, err := onnxtest.Forward(m, f.x[:size])
		if err != nil {
			if !strings.Contains(err.Error(), "is not computed here") && strings.HasPrefix(f.name, "mlp/") {
				t.Errorf("%s: %v", f.name, err)
			}
			continue
		}
		if d := difference(y, f.y[:len(f.y)/f.dims[0]]); !(d <= 1e-5) {
			t.Errorf("%s: differs by %g of the largest", f.name, d)
		}
		op, _, _ := strings.Cut(f.name, "/")
		compared[op]++
	}
	for _, op := range []string{"mlp", "mlp-double", "mlp-ir3", "vector", "MatMul", "Gemm", "Add", "Sub", "Flatten",
		"Relu", "Conv", "Reshape", "Constant"} {
		if compared[op] == 0 {
			t.Errorf("%s was not compared: %v", op, compared)
		}
	}
}

func compressed(t testing.TB, contents []byte) []byte {
	t.Helper()
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write(contents); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return z.Bytes()
}

func TestCompressed(t *testing.T) {
	file := named(t, "mlp/13").file
	path := filepath.Join(t.TempDir(), "small.onnx.gz")
	if err := os.WriteFile(path, compressed(t, file), 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := onnx.Open(path, onnx.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if n.Name() != "small" || n.Outputs() != 3 || !slices.Equal(n.Input(), []int{5, 6}) || n.Double() {
		t.Errorf("%s, input %v, %d outputs, double %v", n.Name(), n.Input(), n.Outputs(), n.Double())
	}
	if _, err := onnx.ReadNetwork(bytes.NewReader(compressed(t, file)[:60]), onnx.Options{}); err == nil ||
		!strings.Contains(err.Error(), "gzip") || !strings.Contains(err.Error(), "download") {
		t.Errorf("cut off: %v", err)
	}
}

// TestCutOff: no beginning of a file is a model.
func TestCutOff(t *testing.T) {
	file := named(t, "mlp/13").file
	for n := 0; n < len(file); n += 1 + len(file)/100 {
		_, err := onnx.ReadNetwork(bytes.NewReader(file[:n]), onnx.Options{})
		if err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%d of %d bytes: %v", n, len(file), err)
		}
	}
}

func TestDouble(t *testing.T) {
	for name, double := range map[string]bool{"mlp/13": false, "mlp-double/13": true} {
		n, err := onnx.ReadNetwork(bytes.NewReader(named(t, name).file), onnx.Options{})
		if err != nil || n.Double() != double {
			t.Errorf("%s: %v, %v", name, n, err)
		}
	}
}
