package dataset

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib/internal/npz"
)

// file writes arrays to a file of the test's.
func file(t *testing.T, arrays map[string]*tensors.Tensor) string {
	t.Helper()
	var b bytes.Buffer
	if err := npz.Write(&b, arrays); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "a.npz")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

type named = map[string]*tensors.Tensor

func TestNPZ(t *testing.T) {
	bytes := tensors.FromFlatDataAndDimensions([]uint8{0, 51, 255, 1}, 2, 2)
	path := file(t, named{"x": bytes, "y": tensors.FromValue([]int64{1, 0})})
	e, err := NPZ(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := tensors.MustCopyFlatData[float32](e.X); !slices.Equal(got, []float32{0, 51, 255, 1}) {
		t.Errorf("bytes are not left as they are: %v", got)
	}
	if e, err = NPZScaled(path, 1./255); err != nil {
		t.Fatal(err)
	}
	if got := tensors.MustCopyFlatData[float32](e.X); !slices.Equal(got, []float32{0, 0.2, 1, float32(1. / 255)}) {
		t.Errorf("scaled: %v", got)
	}
	if !slices.Equal(e.Y, []int32{1, 0}) || e.Name != path {
		t.Errorf("labels %v, name %s", e.Y, e.Name)
	}
}

func TestNPZRefuses(t *testing.T) {
	x, y := tensors.FromValue([][]float64{{1, 2}, {3, 4}}), tensors.FromValue([]int32{0, 1})
	for _, c := range []struct {
		arrays named
		want   string
	}{
		{named{"images": x, "y": y}, "it has the arrays images [2 2], y [2]: examples need x"},
		{named{"x": x, "y": tensors.FromValue([]float32{0, 1})}, "save y.astype(numpy.int32)"},
		{named{"x": x, "y": tensors.FromValue([]int32{0, 1, 1})}, "y has the shape [3] and x the shape [2 2]"},
		{named{"x": x, "y": tensors.FromValue([][]int32{{0, 1}, {1, 0}})}, "y has the shape [2 2]"},
		{named{"x": x, "y": tensors.FromValue([]int32{0, -1})}, "the label of example 1 is -1"},
		{named{"x": x, "y": tensors.FromValue([]int64{0, 1 << 40})}, "the label of example 1 is 1.0995"},
		{named{"x": y, "y": y}, "x has the shape [2]"},
		{named{"x": tensors.FromValue([][]bool{{true}, {false}}), "y": y}, "x: it holds Bool"},
		{named{}, "it has the arrays no arrays"},
	} {
		path := file(t, c.arrays)
		_, err := NPZ(path)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "dataset: "+path) {
			t.Errorf("error %v, want one that names the file and says %q", err, c.want)
		}
	}
	if _, err := NPZ(filepath.Join(t.TempDir(), "none.npz")); err == nil || !strings.Contains(err.Error(), "none.npz") {
		t.Errorf("no file: error %v", err)
	}
	if _, err := NPZScaled(file(t, named{"x": x, "y": y}), 0); err == nil {
		t.Error("the scale 0 is accepted")
	}
}

func TestWeights(t *testing.T) {
	path := file(t, named{
		"dense0__w": tensors.FromValue([][]float64{{0.1, 2}}),
		"dense0/b":  tensors.FromValue([]float32{3, 4}),
		"dense00":   tensors.FromValue([]float32{9}),
		"x":         tensors.FromValue([]float32{5}),
	})
	store, err := Weights(path, "dense0")
	if err != nil {
		t.Fatal(err)
	}
	if store.NumVariables() != 2 {
		t.Errorf("%d variables, want 2", store.NumVariables())
	}
	w := store.GetVariable("dense0/w")
	if w == nil {
		t.Fatal("no variable dense0/w")
	}
	if got := tensors.MustCopyFlatData[float32](w.MustValue()); !slices.Equal(got, []float32{0.1, 2}) {
		t.Errorf("dense0/w is %v", got)
	}
	if store, err = Weights(path); err != nil || store.NumVariables() != 4 {
		t.Errorf("without names: %d variables, error %v", store.NumVariables(), err)
	}
	_, err = Weights(path, "dense0", "dense1")
	if want := "there is no array dense1: it has dense0/b [2], dense00 [1], dense0__w [1 2], x [1]"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want one that says %q", err, want)
	}
	clash := file(t, named{"a__w": tensors.FromValue([]float32{1}), "a/w": tensors.FromValue([]float32{1})})
	if _, err = Weights(clash); err == nil || !strings.Contains(err.Error(), "both stand for the variable a/w") {
		t.Errorf("two arrays for one variable: error %v", err)
	}
}
