package onnx_test

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/dataset"
	"advlab/advlib/onnx"
)

// named returns the fixture of that name.
func named(t testing.TB, name string) fixture {
	t.Helper()
	all := fixtures(t)
	i := slices.IndexFunc(all, func(f fixture) bool { return f.name == name })
	if i < 0 {
		t.Fatalf("no fixture %s", name)
	}
	return all[i]
}

// pytorch is what PyTorch 2.13.0 computes with the models of testdata/pytorch.py.
type pytorch struct {
	examples *advlib.Examples
	logits   []float32
	robust   []int64 // 1 where FGSM with ε = 0.1 leaves the prediction right
	bim      []int64 // 1 where BIM with ε = 0.05 does, computed with PyTorch 2.15.0 by testdata/reference.py
}

func readPyTorch(t testing.TB) pytorch {
	t.Helper()
	const path = "testdata/pytorch.npz"
	arrays, err := dataset.Arrays(path)
	if err != nil {
		t.Fatal(err)
	}
	p := pytorch{logits: tensors.MustCopyFlatData[float32](arrays["logits"]), robust: tensors.MustCopyFlatData[int64](arrays["robust"])}
	if p.examples, err = dataset.NPZ(path); err != nil {
		t.Fatal(err)
	}
	if arrays, err = dataset.Arrays("testdata/pytorch-bim.npz"); err != nil {
		t.Fatal(err)
	}
	p.bim = tensors.MustCopyFlatData[int64](arrays["robust"])
	return p
}

func TestModelsOfPyTorch(t *testing.T) {
	p := readPyTorch(t)
	files := []string{"pytorch-dynamo", "pytorch-script"}
	if testing.Short() {
		files = files[:1]
	}
	for _, file := range files {
		for name, b := range backends(t) {
			t.Run(file+"/"+name, func(t *testing.T) {
				c, err := onnx.Load("testdata/"+file+".onnx", onnx.Options{Box: advlib.UnitBox, Layout: onnx.ChannelsLast, Backend: b})
				if err != nil {
					t.Fatal(err)
				}
				if c.Name() != file || c.Classes() != 10 || !slices.Equal(c.Input(), []int{8, 8, 1}) {
					t.Errorf("%s, %d classes, input %v", c.Name(), c.Classes(), c.Input())
				}
				z, err := c.Logits(p.examples.X)
				if err != nil {
					t.Fatal(err)
				}
				if d := difference(slices.Concat(z...), p.logits); !(d <= 1e-5) {
					t.Errorf("logits differ by %g of the largest", d)
				}
				fgm, bim := advlib.Linf.Ball(0.1), advlib.Linf.Ball(0.05)
				report, err := advlib.Settings{Alone: true}.Evaluate(context.Background(), c, p.examples,
					[]advlib.Attack{attack.FGM{Ball: fgm}, attack.BIM{Ball: bim}})
				if err != nil {
					t.Fatal(err)
				}
				right, robust := 0, 0
				for i, y := range p.examples.Y {
					row := p.logits[10*i : 10*i+10]
					if slices.Index(row, slices.Max(row)) == int(y) {
						right++
					}
					robust += int(p.robust[i])
				}
				if got := report.Clean().Count; got != right {
					t.Errorf("%d are right, PyTorch has %d", got, right)
				}
				// Signs of gradients that are nearly zero may come out either way.
				if got, _ := report.RobustTo(report.Attacks[0], fgm); got.Count < robust-1 || got.Count > robust+1 {
					t.Errorf("%d withstand FGSM, in PyTorch %d", got.Count, robust)
				}
				differ := 0
				for i, y := range p.examples.Y {
					stands := report.Predicted[i] == y && !report.Attacks[1].Success[i]
					if stands != (p.bim[i] == 1) {
						differ++
					}
				}
				if differ > 1 {
					t.Errorf("%d examples withstand BIM here or in PyTorch alone", differ)
				}
				t.Logf("clean %d and %d in PyTorch, FGSM %v and %d, BIM differs on %d", report.Clean().Count, right,
					report.Robust(fgm).Count, robust, differ)
			})
		}
	}
}

func TestFinalSoftmax(t *testing.T) {
	f := named(t, "mlp-softmax/13")
	_, err := onnx.Read(bytes.NewReader(f.file), onnx.Options{Box: advlib.UnitBox})
	want(t, err, "Softmax", "probabilities", "StripSoftmax")
	c, err := onnx.Read(bytes.NewReader(f.file), onnx.Options{Box: advlib.Box{Lo: -8, Hi: 8}, StripSoftmax: true})
	if err != nil {
		t.Fatal(err)
	}
	z, err := c.Logits(tensors.FromFlatDataAndDimensions(f.x, f.dims...))
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range z {
		sum := 0.
		for _, v := range row {
			sum += math.Exp(float64(v))
		}
		for k, v := range row {
			if got, want := math.Exp(float64(v))/sum, float64(f.y[3*i+k]); math.Abs(got-want) > 1e-5 {
				t.Errorf("the probability of class %d is %g, ONNX Runtime has %g", k, got, want)
			}
		}
	}
}

// TestLayouts feeds the same images with their axes in another order.
func TestLayouts(t *testing.T) {
	f := named(t, "cnn-batch-1/13") // takes [n, 1, 8, 8]
	for _, tc := range []struct {
		name    string
		options onnx.Options
		dims    []int
	}{
		{"as file", onnx.Options{}, []int{1, 8, 8}},
		{"channels last", onnx.Options{Layout: onnx.ChannelsLast}, []int{8, 8, 1}},
		{"without channels", onnx.Options{Input: []int{8, 8}}, []int{8, 8}},
		{"flat", onnx.Options{Input: []int{64}, Layout: onnx.ChannelsLast}, []int{64}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, b := range backends(t) {
				n, err := onnx.ReadNetwork(bytes.NewReader(f.file), tc.options)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(n.Input(), tc.dims) {
					t.Errorf("input %v, want %v", n.Input(), tc.dims)
				}
				out, err := evaluate(n, b, tensors.FromFlatDataAndDimensions(f.x, append([]int{f.dims[0]}, tc.dims...)...))
				if err != nil {
					t.Fatal(err)
				}
				if d := difference(tensors.MustCopyFlatData[float32](out), f.y); !(d <= 1e-5) {
					t.Errorf("differs by %g", d)
				}
			}
		})
	}
	// Several channels: the transpose matters. Conv/11 takes [n, 3, 9, 8].
	f = named(t, "Conv/11")
	for layout, perm := range map[onnx.Layout][]int{onnx.ChannelsLast: {1, 2, 0}, onnx.ChannelsFirst: {2, 0, 1}} {
		n, err := onnx.ReadNetwork(bytes.NewReader(f.file), onnx.Options{Layout: layout})
		if err != nil {
			t.Fatal(err)
		}
		x, dims := permuted(f.x, f.dims, perm)
		if !slices.Equal(n.Input(), dims[1:]) {
			t.Fatalf("%v: input %v, want %v", layout, n.Input(), dims[1:])
		}
		out, err := evaluate(n, backends(t)["go"], tensors.FromFlatDataAndDimensions(x, dims...))
		if err != nil {
			t.Fatal(err)
		}
		if d := difference(tensors.MustCopyFlatData[float32](out), f.y); !(d <= 1e-5) {
			t.Errorf("%v: differs by %g", layout, d)
		}
	}
}

// permuted returns images [n, a, b, c] with the axes behind n in another order.
func permuted(x []float32, dims, perm []int) ([]float32, []int) {
	d := dims[1:]
	out := []int{dims[0], d[perm[0]], d[perm[1]], d[perm[2]]}
	y := make([]float32, 0, len(x))
	for n := range dims[0] {
		for i := range out[1] {
			for j := range out[2] {
				for k := range out[3] {
					at := make([]int, 3)
					at[perm[0]], at[perm[1]], at[perm[2]] = i, j, k
					y = append(y, x[((n*d[0]+at[0])*d[1]+at[1])*d[2]+at[2]])
				}
			}
		}
	}
	return y, out
}

// TestAnyBatch gives a model that was exported for a batch of one other batches, row by row and together.
func TestAnyBatch(t *testing.T) {
	f := named(t, "cnn-batch-1/17")
	n := f.network(t)
	b := backends(t)["go"]
	together, err := evaluate(n, b, tensors.FromFlatDataAndDimensions(f.x, f.dims...))
	if err != nil {
		t.Fatal(err)
	}
	all := tensors.MustCopyFlatData[float32](together)
	row := len(f.x) / f.dims[0]
	for i := range f.dims[0] {
		alone, err := evaluate(n, b, tensors.FromFlatDataAndDimensions(f.x[i*row:(i+1)*row], append([]int{1}, f.dims[1:]...)...))
		if err != nil {
			t.Fatal(err)
		}
		if d := difference(all[3*i:3*i+3], tensors.MustCopyFlatData[float32](alone)); !(d <= 1e-6) {
			t.Errorf("row %d differs by %g from itself alone", i, d)
		}
	}
}

// TestWideStore: a file in double precision is computed in double precision when asked.
func TestWideStore(t *testing.T) {
	f := named(t, "mlp-double/13")
	n := f.network(t)
	got := wide(t, n, f)
	for i, w := range f.wide {
		if math.Abs(got[i]-w) > 1e-12*max(1, math.Abs(w)) {
			t.Errorf("output %d is %v, ONNX Runtime has %v", i, got[i], w)
		}
	}
}

func TestNamesOfVariables(t *testing.T) {
	n := named(t, "mlp/13").network(t)
	for _, name := range []string{"fc1|weight", "fc1|bias", "fc2|weight", "fc2|bias"} {
		v := n.Store().GetVariable("/ONNX/" + name)
		if v == nil || v.Shape().DType.String() != "Float32" {
			t.Errorf("no variable %s of float32: %v", name, v)
		}
	}
}

func TestExternalData(t *testing.T) {
	f := named(t, "mlp/13")
	plain, err := onnx.ReadNetwork(bytes.NewReader(f.file), onnx.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := backends(t)["go"]
	x := tensors.FromFlatDataAndDimensions(f.x, f.dims...)
	inside, err := evaluate(plain, b, x)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, location string
		bytes          int // of the file with weights that are there
		wants          []string
	}{
		{"beside", "weights.bin", 30 * 12 * 4, nil},
		{"short", "weights.bin", 30*12*4 - 1, []string{`"fc1/weight"`, "weights.bin", "1440", "1439"}},
		{"elsewhere", "../weights.bin", 30 * 12 * 4, []string{`"fc1/weight"`, "escapes"}},
		{"missing", "other.bin", 30 * 12 * 4, []string{`"fc1/weight"`, "other.bin"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "model")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			model, weights := moved(t, f.file, "fc1/weight", tc.location)
			write(t, filepath.Join(dir, "weights.bin"), weights[:tc.bytes])
			write(t, filepath.Join(dir, "..", "weights.bin"), weights)
			write(t, filepath.Join(dir, "m.onnx"), model)
			n, err := onnx.Open(filepath.Join(dir, "m.onnx"), onnx.Options{})
			if tc.wants != nil {
				want(t, err, tc.wants...)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			out, err := evaluate(n, b, x)
			if err != nil {
				t.Fatal(err)
			}
			if d := difference(tensors.MustCopyFlatData[float32](out), tensors.MustCopyFlatData[float32](inside)); d != 0 {
				t.Errorf("differs by %g", d)
			}
			_, err = onnx.ReadNetwork(bytes.NewReader(model), onnx.Options{})
			want(t, err, "another file", "Load")
		})
	}
}

func write(t *testing.T, path string, contents []byte) {
	t.Helper()
	if err := os.WriteFile(path, contents, 0o600); err != nil {
		t.Fatal(err)
	}
}

// want expects an error that has all of the given in it.
func want(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", parts)
		return
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q has no %q in it", err, p)
		}
	}
}
