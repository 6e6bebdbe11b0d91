package dataset

import (
	"archive/zip"
	"bytes"
	"fmt"
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
		{named{"pictures": x, "y": y}, "it has the arrays pictures [2 2], y [2]: examples need x"},
		{named{"images": x, "data": x, "y": y}, "by dataset.File.X and Y"}, // which of the two?
		{named{"train_images": x, "train_labels": y}, "it has the arrays train_images [2 2], train_labels [2]"},
		{named{"x": x, "y": tensors.FromValue([]float32{0, 0.5})}, "the label of example 1 in y is 0.5"},
		{named{"x": x, "y": tensors.FromValue([][]float32{{0.9, 0.1}, {0, 1}})}, "the row of example 0 is not one-hot: [0.8999999761581421 0.10000000149011612]. Labels are one number for each input: where the rows are scores or probabilities of classes, save y.argmax(1)"},
		{named{"x": x, "y": tensors.FromValue([][]int32{{1, 1}, {0, 1}})}, "where several classes hold at once"},
		{named{"x": x, "y": tensors.FromValue([]int32{-1, 1})}, "save (y > 0).astype(numpy.int32)"},
		{named{"x": x, "y": tensors.FromValue([]int32{0, 1, 1})}, "y has the shape [3] and x the shape [2 2]"},
		{named{"x": x, "y": tensors.FromValue([]int32{0, -1})}, "the label of example 1 in y is -1"},
		{named{"x": x, "y": tensors.FromValue([]int64{0, 1 << 40})}, "the label of example 1 in y is 1099511627776"},
		{named{"x": y, "y": y}, "x has the shape [2]: its first axis must be the examples and the others one input (inputs of one number: save x[:, None])"},
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

// Labels that mean one thing are read, and it is said how.
func TestLabelsThatAreRead(t *testing.T) {
	x := tensors.FromValue([][]float32{{1}, {2}, {3}})
	for _, c := range []struct {
		y    any
		want string
	}{
		{[][]int64{{2}, {0}, {1}}, "have the shape [3 1]: read as one number for each example"},
		{[]float64{2, 0, 1}, "are of dtype <f8 and whole numbers"},
		{[][]float32{{0, 0, 1}, {1, 0, 0}, {0, 1, 0}}, "y looks one-hot, of the shape [3 3]: read as y.argmax(1)"},
		{[][]bool{{false, false, true}, {true, false, false}, {false, true, false}}, "read as y.argmax(1)"},
		{[]uint8{2, 0, 1}, ""},
	} {
		y, err := tensors.FromAnyValue(c.y)
		if err != nil {
			t.Fatal(err)
		}
		e, err := NPZ(file(t, named{"x": x, "y": y}))
		if err != nil {
			t.Errorf("%v: %v", c.y, err)
			continue
		}
		if note := strings.Join(e.Notes, "; "); !slices.Equal(e.Y, []int32{2, 0, 1}) || (note == "") != (c.want == "") ||
			!strings.Contains(note, c.want) {
			t.Errorf("%v: labels %v, notes %q, want %q", c.y, e.Y, note, c.want)
		}
	}
	e, err := NPZ(file(t, named{"x": tensors.FromValue([][]bool{{true}, {false}}), "y": tensors.FromValue([]bool{true, false})}))
	if err != nil || !slices.Equal(e.Y, []int32{1, 0}) || !slices.Equal(tensors.MustCopyFlatData[float32](e.X), []float32{1, 0}) {
		t.Errorf("booleans: %v, %v", e, err)
	}
}

// Arrays have other names in files of MedMNIST's, Keras's, and of numpy.savez without names.
func TestUsualNames(t *testing.T) {
	train, test := tensors.FromValue([][]float32{{1}, {2}}), tensors.FromValue([][]float32{{3}})
	two, one := tensors.FromValue([]int32{0, 1}), tensors.FromValue([]int32{1})
	for _, c := range []struct {
		arrays named
		x, y   string // given
		want   []float32
	}{
		{arrays: named{"x_train": train, "y_train": two, "x_test": test, "y_test": one}, want: []float32{3}},
		{arrays: named{"train_images": train, "train_labels": two, "val_images": test, "val_labels": one, "test_images": test, "test_labels": one}, want: []float32{3}},
		{arrays: named{"arr_0": test, "arr_1": one}, want: []float32{3}},
		{arrays: named{"data": test, "target": one, "feature_names": two}, want: []float32{3}},
		{arrays: named{"X": test, "y": one}, want: []float32{3}},
		{arrays: named{"x": test, "y": one, "X": train, "labels": two}, want: []float32{3}},
		{arrays: named{"x_train": train, "y_train": two, "x_test": test, "y_test": one}, x: "x_train", y: "y_train", want: []float32{1, 2}},
		{arrays: named{"pictures": test, "y": one}, x: "pictures", want: []float32{3}},
	} {
		f := File{Path: file(t, c.arrays), X: c.x, Y: c.y}
		e, err := f.Examples()
		if err != nil {
			t.Errorf("%v: %v", c.arrays, err)
			continue
		}
		if got := tensors.MustCopyFlatData[float32](e.X); !slices.Equal(got, c.want) {
			t.Errorf("%v: read %v, want %v", c.arrays, got, c.want)
		}
		if said := len(e.Notes) > 0; said != (c.x == "" && c.arrays["x"] == nil || c.y == "" && c.arrays["y"] == nil) {
			t.Errorf("%v: notes %q", c.arrays, e.Notes)
		}
	}
	if _, err := (File{Path: file(t, named{"x": test, "y": one}), Y: "z"}).Examples(); err == nil ||
		!strings.Contains(err.Error(), "it has no array z: it has the arrays x [1 1], y [1]") {
		t.Errorf("no such array: %v", err)
	}
	e, err := File{Path: file(t, named{"x": train, "y": two}), First: 1}.Examples()
	if err != nil || e.Len() != 1 || e.Shape()[0] != 1 {
		t.Errorf("the first example: %v, %v", e, err)
	}
}

// Text is refused with the line that is right for it; the file is numpy.savez("t.npz", x=numpy.zeros((2, 1)),
// y=numpy.array(["dog", "cat"])).
func TestTextLabels(t *testing.T) {
	for y, want := range map[string]string{
		"dog cat": `["cat", "dog"].index(v) for v in y]`,
		"2 10":    "the numbers 10, 2: labels are numbers of classes, so save y.astype(numpy.int32)",
	} {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		texts := strings.Fields(y)
		for name, content := range map[string][]byte{"x": array("<f8", "(2, 1)", make([]byte, 16)),
			"y": array("|S3", "(2,)", []byte((texts[0] + "\x00\x00\x00")[:3]+(texts[1] + "\x00\x00\x00")[:3]))} {
			w, err := z.Create(name + ".npy")
			if err == nil {
				_, err = w.Write(content)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "t.npz")
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := NPZ(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one that says %q", y, err, want)
		}
	}
}

// array is an array as NumPy writes it.
func array(dtype, shape string, data []byte) []byte {
	header := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': %s, }\n", dtype, shape)
	return append(append([]byte("\x93NUMPY\x01\x00"), byte(len(header)), 0), append([]byte(header), data...)...)
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
	if want := "there is no array dense1: it has dense0/b [2], dense00 [1], dense0__w [1 2], x [1]"; err == nil ||
		!strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want one that says %q", err, want)
	}
	clash := file(t, named{"a__w": tensors.FromValue([]float32{1}), "a/w": tensors.FromValue([]float32{1})})
	if _, err = Weights(clash); err == nil || !strings.Contains(err.Error(), "both stand for the variable a/w") {
		t.Errorf("two arrays for one variable: error %v", err)
	}
}
