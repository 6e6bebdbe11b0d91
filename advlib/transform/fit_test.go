package transform_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/backend"
	"advlab/advlib/dataset"
	"advlab/advlib/training"
	"advlab/advlib/transform"
	"advlab/advlib/zoo"
)

// TestThermometer compares with the formula of the code, and with the examples in the paper's table 1, the other way
// about.
func TestThermometer(t *testing.T) {
	b, err := backend.OpenNamed("go")
	if err != nil {
		t.Fatal(err)
	}
	for _, box := range []advlib.Box{advlib.UnitBox, {Lo: -1, Hi: 3}} {
		exec := MustNewExec(b, func(x *Node) *Node {
			x = AddScalar(MulScalar(x, box.Width()), box.Lo)
			return transform.Thermometer{Levels: 10}.Graph(nil, x, box)
		})
		shares := []float32{0.13, 0.66, 0.92, 0, 1, 0.5}
		code := exec.MustCall(tensors.FromFlatDataAndDimensions(shares, 1, 3, 1, 2))[0]
		if got := code.Shape().Dimensions; !slices.Equal(got, []int{1, 3, 1, 20}) {
			t.Errorf("a code of shape %v", got)
		}
		values := tensors.MustCopyFlatData[float32](code)
		for i, ones := range []int{2, 7, 10, 1, 10, 5} {
			for l := range 10 {
				want := float32(box.Lo)
				if l < ones {
					want = float32(box.Hi)
				}
				if got := values[i*10+l]; got != want {
					t.Errorf("value %d of the code of %g in %v is %g, want %g", l, shares[i], box, got, want)
				}
			}
		}
	}
	for want, code := range map[string][]int{"no multiple of 10 levels": {8, 8, 16}, "without an axis": {}} {
		if _, err := (transform.Thermometer{Levels: 10}).Decoded(code); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a code of shape %v: error %v, want one with %q", code, err, want)
		}
	}
}

// TestFit: a model that is trained on a code, with a filter before it, sees images, and breaks under who knows both.
func TestFit(t *testing.T) {
	train, test := dataset.Digits()
	train, test = train.First(600), test.First(40)
	m := zoo.MLP(40)
	m.Epochs = 15
	d := transform.MustFit(t.Context(), m, train, transform.Gaussian{Sigma: 0.4}, transform.Thermometer{Levels: 8})
	if got := d.Classifier.Input(); !slices.Equal(got, train.Shape()) {
		t.Errorf("inputs of shape %v, want %v", got, train.Shape())
	}
	ball := advlib.Linf.Ball(0.2)
	clean, naive, adaptive := accuracy(t, d.Classifier, test), robust(t, d, test, d.Naive(ball)), robust(t, d, test, d.Adaptive(ball))
	t.Logf("%v: clean %.2f, naive %.2f, adaptive %.2f", d, clean, naive, adaptive)
	if clean < 0.8 || adaptive > naive || adaptive > 0.1 {
		t.Errorf("%v: clean %.2f, naive %.2f, adaptive %.2f", d, clean, naive, adaptive)
	}
}

func accuracy(t *testing.T, c *advlib.Classifier, e *advlib.Examples) float64 {
	t.Helper()
	z, err := c.Logits(e.X)
	if err != nil {
		t.Fatal(err)
	}
	right := 0
	for i, row := range z {
		if slices.Index(row, slices.Max(row)) == int(e.Y[i]) {
			right++
		}
	}
	return float64(right) / float64(e.Len())
}

func robust(t *testing.T, d *transform.Defended, e *advlib.Examples, a advlib.Attack) float64 {
	t.Helper()
	res := advlib.MustRun(t.Context(), d.Classifier, e, a)
	left := 0
	for i, success := range res.Success {
		if !success && res.Clean[i].Class == e.Y[i] {
			left++
		}
	}
	return float64(left) / float64(e.Len())
}

func TestFitRefuses(t *testing.T) {
	train, _ := dataset.Digits()
	m := zoo.MLP(10)
	table := m
	table.Domain = advlib.Domain{{Name: "a"}}
	for want, err := range map[string]error{
		"there are no transforms": second(transform.Fit(t.Context(), m, train)),
		"has no Build":            second(transform.Fit(t.Context(), training.Model{}, train, transform.BitDepth{Bits: 2})),
		"have a domain":           second(transform.Fit(t.Context(), table, train, transform.BitDepth{Bits: 2})),
		"there are no examples":   second(transform.Fit(t.Context(), m, nil, transform.BitDepth{Bits: 2})),
		"Levels = 1 is not":       second(transform.Fit(t.Context(), m, train, transform.Thermometer{Levels: 1})),
		"Quality = 0":             second(transform.Fit(t.Context(), m, train, transform.BitDepth{Bits: 2}, transform.JPEG{})),
		"Noise = -1 is not":       second(transform.Autoencoder{Noise: -1}.Fit(t.Context(), train)),
		"Filters = [3 0]":         second(transform.Autoencoder{Filters: []int{3, 0}}.Fit(t.Context(), train)),
		"of its own, noise 0.1":   second(transform.Autoencoder{Build: flat}.Fit(t.Context(), train)),
		"are like its inputs":     second(transform.Autoencoder{Build: flat}.Fit(t.Context(), train)),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

func flat(_ *model.Scope, x *Node) *Node { return Reshape(x, x.Shape().Dimensions[0], -1) }

func second[T any](_ T, err error) error { return err }

// TestAutoencoder: what is trained takes noise away, on images that it has not seen, and its gradient shows an
// attack the way.
func TestAutoencoder(t *testing.T) {
	train, test := dataset.Digits()
	a := transform.Autoencoder{Filters: []int{16, 16}, Noise: 0.2, Epochs: 20, LearningRate: 0.01}
	denoiser := a.MustFit(t.Context(), train)
	if again := a.MustFit(t.Context(), train); again.String() != "autoencoder 16-16, noise 0.2" {
		t.Errorf("its name is %q", again)
	}
	test = test.First(100)
	noisy := applied(t, transform.Noise{Sigma: 0.2}, test.X, advlib.UnitBox)
	x := tensors.MustCopyFlatData[float32](test.X)
	clean := applied(t, denoiser, tensors.FromFlatDataAndDimensions(noisy, test.X.Shape().Dimensions...), advlib.UnitBox)
	before, after := 0., 0.
	for i := range x {
		before += math.Pow(float64(noisy[i]-x[i]), 2) / float64(len(x))
		after += math.Pow(float64(clean[i]-x[i]), 2) / float64(len(x))
	}
	t.Logf("mean squared error %.4f with noise, %.4f without it", before, after)
	if after > before/2 {
		t.Errorf("a mean squared error of %.4f becomes %.4f: it should fall below half", before, after)
	}
	if err := denoiser.Check([]int{9, 8, 1}); err == nil || !strings.Contains(err.Error(), "was trained on inputs of shape [8 8 1]") {
		t.Errorf("another shape: error %v", err)
	}
	c := zoo.MLP(40).MustFit(t.Context(), train)
	d := transform.MustBefore(c, denoiser)
	ball := advlib.Linf.Ball(0.2)
	test = test.First(40)
	acc, naive, adaptive := accuracy(t, d.Classifier, test), robust(t, d, test, d.Naive(ball)), robust(t, d, test, d.Adaptive(ball))
	square := robust(t, d, test, attack.Square{Ball: ball, Queries: 500})
	t.Logf("%v: clean %.2f, naive %.2f, adaptive %.2f, Square %.2f", d, acc, naive, adaptive, square)
	// On digits it holds some: an attack without gradients leaves as many, so no gradient is hidden.
	if acc < 0.9 || adaptive > naive/2 || adaptive > square+0.05 {
		t.Errorf("%v: clean %.2f, naive %.2f, adaptive %.2f, Square %.2f", d, acc, naive, adaptive, square)
	}
}

// TestTotalVarianceDrops: the share of values that are dropped, and that each draw is another.
func TestTotalVarianceDrops(t *testing.T) {
	const n, h, w = 400, 4, 5
	x := make([]float32, n*h*w)
	for i := range x {
		x[i] = float32(i % 2) // where a value is kept, hardly anything changes; where not, it becomes like those around it
	}
	of := transform.TotalVariance{Drop: 0.25, Weight: 0.02, Iterations: 1000}
	y := appliedOn(t, "go", of, tensors.FromFlatDataAndDimensions(x, n, h, w, 1), advlib.UnitBox)
	moved, images := 0, map[string]bool{}
	for k := range n {
		var s strings.Builder
		for i := range h * w {
			v := y[k*h*w+i]
			if v < 0 || v > 1 {
				t.Fatalf("value %g leaves the box", v)
			}
			if math.Abs(float64(v-x[k*h*w+i])) > 0.05 {
				moved++
				s.WriteByte('1')
			} else {
				s.WriteByte('0')
			}
		}
		images[s.String()] = true
	}
	if share := float64(moved) / float64(len(x)); math.Abs(share-0.25) > 0.02 {
		t.Errorf("%.3f of the values are dropped, want 0.25", share)
	}
	if len(images) < n*9/10 {
		t.Errorf("%d of %d draws are different", len(images), n)
	}
	if got := of.Traits(); got != (transform.Traits{Flat: true, Random: true}) {
		t.Errorf("traits %v", got)
	}
}
