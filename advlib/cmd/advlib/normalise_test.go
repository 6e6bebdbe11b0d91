package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/internal/npz"
	"advlab/advlib/onnx/onnxtest"
)

// colours is a linear model of images [1, 3, 4, 4], as PyTorch writes it, that wants them normalised.
type colours struct {
	mean, std [3]float64
	weight    [3][4][4]float64 // what a normalised value adds to the first logit; the other is 0
	bias      float64
}

func newColours() colours {
	c := colours{mean: [3]float64{0.485, 0.456, 0.406}, std: [3]float64{0.229, 0.224, 0.225}, bias: -0.0625}
	r := rand.New(rand.NewPCG(3, 4))
	for k := range c.weight {
		for i := range 4 {
			for j := range 4 {
				c.weight[k][i][j] = float64(float32(r.NormFloat64() / 8))
			}
		}
	}
	return c
}

func (c colours) file(t testing.TB, dir string) string {
	w := onnxtest.Array[float32]{Dims: []int{48, 2}, Values: make([]float32, 96)}
	for i := range 48 {
		w.Values[2*i] = float32(c.weight[i/16][i/4%4][i%4])
	}
	b := onnxtest.Array[float32]{Dims: []int{2}, Values: []float32{float32(c.bias), 0}}
	return written(t, dir, "colours.onnx", onnxtest.File(onnxtest.Value("x", 1, 3, 4, 4), onnxtest.Weights{"w": w, "b": b},
		onnxtest.Node("Flatten", "flat", "x"), onnxtest.Node("Gemm", "y", "flat w b")))
}

func written(t testing.TB, dir, name string, contents []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, contents, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// saved writes arrays as NumPy does.
func saved(t testing.TB, dir, name string, arrays map[string]*tensors.Tensor) string {
	t.Helper()
	var b bytes.Buffer
	if err := npz.Write(&b, arrays); err != nil {
		t.Fatal(err)
	}
	return written(t, dir, name, b.Bytes())
}

// margin returns the first logit for an image [4, 4, 3] of bytes, and the least that it has, times sign, within ε of it
// in Linf and in [0, 1].
func (c colours) margin(image []uint8, sign, ε float64) (z, least float64) {
	z = c.bias
	for at, v := range image {
		k := at % 3
		z += c.weight[k][at/12][at/3%4] * (float64(v)/255 - c.mean[k]) / c.std[k]
	}
	least = z * sign
	for at, v := range image {
		slope := sign * c.weight[at%3][at/12][at/3%4] / c.std[at%3]
		room := float64(v) / 255
		if slope < 0 {
			room = 1 - room
		}
		least -= math.Abs(slope) * min(ε, room)
	}
	return z, least
}

// TestNormalise: bytes, channels last, with a normalisation outside of a model with channels first. Clean, robust and
// certified accuracy of a linear model are known.
func TestNormalise(t *testing.T) {
	c, dir := newColours(), t.TempDir()
	model := c.file(t, dir)
	const n, ε = 64, 0.03
	r := rand.New(rand.NewPCG(5, 6))
	x, y := make([]uint8, n*48), make([]int64, n)
	clean, robust := 0, 0
	for i := range n {
		image := x[i*48 : i*48+48]
		for j := range image {
			image[j] = uint8(r.IntN(256))
		}
		z, _ := c.margin(image, 1, 0)
		sign := 1.
		if z < 0 {
			sign, y[i] = -1, 1
		}
		if i%8 == 7 {
			y[i] = 1 - y[i]
			continue
		}
		clean++
		if _, least := c.margin(image, sign, ε); least > 0 {
			robust++
		} else if least > -1e-5 {
			t.Fatal("an example lies on the rim")
		}
	}
	data := saved(t, dir, "bytes.npz", map[string]*tensors.Tensor{"x": tensors.FromFlatDataAndDimensions(x, n, 4, 4, 3),
		"y": tensors.FromFlatDataAndDimensions(y, n)})
	evaluate := func(more ...string) (status int, r advlib.Report, said string) {
		var out, progress bytes.Buffer
		status = run(t.Context(), append([]string{"evaluate", "--fresh", "--model", model, "--data", data, "--backend", "go", "--eps",
			fmt.Sprint(ε), "--attacks", "fgm", "--certify", "crown", "--format", "json"}, more...), &out, &progress)
		if status == done {
			if err := json.Unmarshal(out.Bytes(), &r); err != nil {
				t.Fatal(err)
			}
		}
		return status, r, progress.String()
	}
	normalise := []string{"--mean", "123.675/255,0.456,.406", "--std", "0.229,0.224,0.225"}
	status, report, said := evaluate(append(normalise, "--scale", "1/255")...)
	ball := advlib.Linf.Ball(ε)
	certified, _ := report.Certified(ball)
	if status != done || report.Clean().Count != clean || report.Robust(ball).Count != robust || certified.Count != robust {
		t.Errorf("status %d, clean %d, robust %d, certified %d; by hand %d, %d, %d: %s", status, report.Clean().Count,
			report.Robust(ball).Count, certified.Count, clean, robust, robust, said)
	}
	if robust == 0 || robust == clean {
		t.Errorf("%d of %d are robust: nothing is tested", robust, clean)
	}
	for _, want := range []string{"mean 0.485, 0.456, 0.406, std 0.229, 0.224, 0.225",
		"axes of the data: channels last, [4 4 3], which the model takes as [3 4 4]"} {
		if !strings.Contains(said, want) || !strings.Contains(strings.Join(report.Notes, "\n"), want) {
			t.Errorf("said %q, the notes are %q, want %q", said, report.Notes, want)
		}
	}
	if len(report.Warnings) != 0 {
		t.Errorf("warnings %q", report.Warnings)
	}
	// In bytes it is the same, with the numbers of bytes.
	status, inBytes, said := evaluate("--box", "0,255", "--mean", "123.675,116.28,103.53", "--std", "58.395,57.12,57.375", "--eps", "7.65")
	if got := inBytes.Robust(advlib.Linf.Ball(7.65)); status != done || inBytes.Clean().Count != clean || got.Count != robust {
		t.Errorf("in bytes: status %d, clean %v, robust %v: %s", status, inBytes.Clean(), got, said)
	}
	// Numbers in other units are warned of.
	if _, wrong, said := evaluate("--scale", "1/255", "--mean", "123.675", "--std",
		"58.395"); !strings.Contains(strings.Join(wrong.Warnings, "\n"), "123.675/255 is 0.485") {
		t.Errorf("warnings %q: %s", wrong.Warnings, said)
	}
	for _, tc := range []struct {
		flags []string
		want  string
	}{
		{normalise, "x holds bytes, whole numbers up to 255, and the box is [0, 1]: give --scale 1/255"},
		{[]string{"--scale", "1/255", "--layout", "file"}, "--layout channels-last fits"},
		{[]string{"--scale", "1/255", "--mean", "1,2"}, "2 channels"},
		{[]string{"--scale", "1/255", "--mean", "1,2", "--std", "1,2,3"}, "--mean has 2 numbers and --std 3"},
		{[]string{"--scale", "1/255", "--std", "0"}, "--std: 0: a standard deviation is above 0"},
		{[]string{"--scale", "1/255", "--mean", "a"}, `--mean: "a" is not a number`},
		{[]string{"--scale", "1/255", "--channel-axis", "1"}, "--channel-axis is given without --mean"},
		{append(normalise, "--scale", "1/255", "--channel-axis", "0"), "axis 0 are the examples"},
		{append(normalise, "--scale", "1/255", "--channel-axis", "2"), "has the size 4"},
	} {
		if status, _, said := evaluate(tc.flags...); status != misused || !strings.Contains(said, tc.want) {
			t.Errorf("%v: status %d, said %q, want %q", tc.flags, status, said, tc.want)
		}
	}
}

// TestVerifyNormalised: a property in pixels of a model that wants them normalised.
func TestVerifyNormalised(t *testing.T) {
	c, dir := newColours(), t.TempDir()
	model := c.file(t, dir)
	image := make([]uint8, 48)
	for i := range image {
		image[i] = uint8(64 + 2*i)
	}
	z, _ := c.margin(image, 1, 0)
	sign, order := 1., "(<= Y_0 Y_1)"
	if z < 0 {
		sign, order = -1, "(>= Y_0 Y_1)"
	}
	// The ε at which the margin is gone.
	lo, hi := 0., 0.25
	for range 60 {
		mid := (lo + hi) / 2
		if _, least := c.margin(image, sign, mid); least > 0 {
			lo = mid
		} else {
			hi = mid
		}
	}
	if lo < 0.001 || hi > 0.2 {
		t.Fatalf("the margin is gone at %g", lo)
	}
	for factor, want := range map[float64]string{0.99: "unsat", 1.01: "sat"} {
		var text strings.Builder
		for i := range 48 {
			fmt.Fprintf(&text, "(declare-const X_%d Real)\n", i)
		}
		text.WriteString("(declare-const Y_0 Real)\n(declare-const Y_1 Real)\n")
		for i := range 48 { // in the file's order, channels first
			v := float64(image[i/4%4*12+i%4*3+i/16]) / 255
			fmt.Fprintf(&text, "(assert (>= X_%d %.9f))\n(assert (<= X_%d %.9f))\n", i, v-factor*lo, i, v+factor*lo)
		}
		fmt.Fprintf(&text, "(assert %s)\n", order)
		path := written(t, dir, "p.vnnlib", []byte(text.String()))
		got, x, _, _ := verified(t, model, path, "--backend", "go", "--timeout", "60", "--mean", "0.485,0.456,0.406", "--std",
			"0.229,0.224,0.225")
		if got != want {
			t.Errorf("at %g times the ε at which the margin is gone: %s, want %s", factor, got, want)
		}
		if want != "sat" {
			continue
		}
		y := c.bias
		for i, v := range x {
			f, _ := v.Float64()
			y += c.weight[i/16][i/4%4][i%4] * (f - c.mean[i/16]) / c.std[i/16]
		}
		if y*sign > 1e-6 {
			t.Errorf("the counterexample has the first logit %g", y)
		}
	}
}
