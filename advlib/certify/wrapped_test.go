package certify_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/layers/activation"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/attacktest"
	"advlab/advlib/backend"
	"advlab/advlib/certify"
	"advlab/advlib/detect"
	"advlab/advlib/smooth"
	"advlab/advlib/training"
	"advlab/advlib/transform"
	"advlab/advlib/zoo"
)

// wrapper is a classifier that is built on another one: behind transforms, or by make from the digits' and its
// examples.
type wrapper struct {
	name string
	all  []transform.Transform
	make func(t *testing.T, c *advlib.Classifier, e *advlib.Examples) *advlib.Classifier
	// refused is what the message names where there is no bound: an operation, what it is of, and what to do.
	refused []string
	// costly asks for IBP alone, but with ADVLAB_FULL: the lines of hundreds of products take minutes.
	costly bool
}

// imagesOf returns the reference's model and its examples of [64] as images, itself the simplest wrapper: one by hand.
func imagesOf(t *testing.T, r *attacktest.Reference, n int) (*advlib.Classifier, *advlib.Examples) {
	t.Helper()
	flat, e := r.Classifier, r.Examples.First(n)
	c, err := advlib.NewClassifier(advlib.Spec{
		Name: "digits as images", Input: []int{8, 8, 1}, Box: flat.Box(), Store: flat.Store(), Backend: flat.Backend(),
		Logits: func(_ *model.Scope, x *Node) *Node { return flat.LogitsGraph(Reshape(x, x.Shape().Dimensions[0], -1)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	images, err := advlib.NewExamples("digits as images", tensors.MustCopyFlatData[float32](e.X), c.Input(), e.Y)
	if err != nil {
		t.Fatal(err)
	}
	return c, images
}

// behind is a classifier behind transformations.
func behind(t *testing.T, c *advlib.Classifier, all ...transform.Transform) *transform.Defended {
	t.Helper()
	d, err := transform.Before(c, all...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// denoiser trains a small one, on the Go backend.
func denoiser(t *testing.T, e *advlib.Examples) *transform.Denoiser {
	t.Helper()
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	d, err := transform.Autoencoder{Filters: []int{2}, Epochs: 2, Backend: b}.Fit(ctx, e)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// scored has the score of a detector beside the logits, as package detect attacks both.
func scored(of detect.Method) func(*testing.T, *advlib.Classifier, *advlib.Examples) *advlib.Classifier {
	return func(t *testing.T, c *advlib.Classifier, e *advlib.Examples) *advlib.Classifier {
		clean, train := e.First(20), e
		score, err := of.Fit(ctx, c, detect.Data{Train: train, Clean: clean, Rate: 0.1, Attack: attack.FGSM(0.2)})
		if err != nil {
			t.Fatal(err)
		}
		both, err := c.Extend(score, "with the score", func(m *advlib.Model, x *Node) *Node {
			z := m.Logits(x)
			return Concatenate([]*Node{z, InsertAxes(score.Graph(m, x, z), 1)}, 1)
		})
		if err != nil {
			t.Fatal(err)
		}
		return both
	}
}

// own is a user's transform.
type own struct {
	name  string
	graph func(x *Node) *Node
}

func (o own) String() string                                    { return o.name }
func (o own) Check([]int) error                                 { return nil }
func (o own) Graph(_ *model.Scope, x *Node, _ advlib.Box) *Node { return o.graph(x) }
func (o own) Traits() transform.Traits                          { return transform.Traits{} }

var wrappers = []wrapper{
	{name: "by hand", make: func(_ *testing.T, c *advlib.Classifier, _ *advlib.Examples) *advlib.Classifier { return c }},
	{name: "bit depth", all: []transform.Transform{transform.BitDepth{Bits: 3}}},
	{name: "median", all: []transform.Transform{transform.Median{Size: 3}}, costly: true},
	{name: "median, even", all: []transform.Transform{transform.Median{Size: 2}}},
	{name: "Gaussian", all: []transform.Transform{transform.Gaussian{Sigma: 0.5}}},
	{name: "bilateral", all: []transform.Transform{transform.Bilateral{SigmaColor: 0.5, SigmaSpatial: 0.5, Size: 3}}, costly: true},
	{name: "non-local means", all: []transform.Transform{transform.NonLocalMeans{PatchSize: 3, PatchDistance: 1, H: 0.5}},
		costly: true},
	{name: "translation", all: []transform.Transform{transform.Translate{Down: 1, Right: -1}}},
	{name: "JPEG", all: []transform.Transform{transform.JPEG{Quality: 75}}},
	{name: "two", all: []transform.Transform{transform.Gaussian{Sigma: 0.5}, transform.BitDepth{Bits: 4}}},
	{name: "total variation", all: []transform.Transform{transform.Gaussian{Sigma: 0.5}, transform.Chambolle{Weight: 0.1}},
		refused: []string{"While", "total variation 0.1", "package smooth"}},
	{name: "Guo's total variation", all: []transform.Transform{transform.TotalVariance{Drop: 0.3, Weight: 0.03, Iterations: 5}},
		refused: []string{"random", "smooth"}},
	{name: "a remainder", all: []transform.Transform{transform.Gaussian{Sigma: 0.5}, own{"remainder", func(x *Node) *Node {
		return Mod(x, AddScalar(OnesLike(x), 1))
	}}}, refused: []string{"Rem", " at remainder", "package smooth"}},
	{name: "a float32 constant", all: []transform.Transform{own{"float32 weight", func(x *Node) *Node {
		return Mul(x, BroadcastToDims(Const(x.Graph(), float32(0.5)), x.Shape().Dimensions...))
	}}}, refused: []string{"ConstAsDType", "wrapped_test.go:"}},
	{name: "in float32", all: []transform.Transform{own{"in float32", func(x *Node) *Node {
		return ConvertDType(MulScalar(ConvertDType(x, dtypes.Float32), 0.5), x.DType())
	}}}, refused: []string{"only float64", "in float32", "package smooth"}},
	{name: "crop", all: []transform.Transform{transform.Crop{Height: 7, Width: 7}}, refused: []string{"random", "smooth"}},
	{name: "resizing", all: []transform.Transform{transform.ResizePad{Least: 0.75}}, refused: []string{"random", "smooth"}},
	{name: "noise", all: []transform.Transform{transform.Noise{Sigma: 0.1}}, refused: []string{"random", "smooth"}},
	{name: "denoiser", make: func(t *testing.T, c *advlib.Classifier, e *advlib.Examples) *advlib.Classifier {
		return behind(t, c, denoiser(t, e)).Classifier
	}},
	{name: "thermometer", make: func(t *testing.T, c *advlib.Classifier, e *advlib.Examples) *advlib.Classifier {
		m := training.Model{Build: zoo.MLP(10).Build, Epochs: 2, Backend: c.Backend()}
		d, err := transform.Fit(ctx, m, e, transform.Thermometer{Levels: 4})
		if err != nil {
			t.Fatal(err)
		}
		return d.Classifier
	}},
	{name: "straight through", make: func(t *testing.T, c *advlib.Classifier, _ *advlib.Examples) *advlib.Classifier {
		return behind(t, c, transform.JPEG{Quality: 75}).Through
	}, costly: true},
	{name: "derived", make: func(t *testing.T, c *advlib.Classifier, _ *advlib.Examples) *advlib.Classifier {
		type key struct{}
		d, err := c.Derive(key{}, "logits / 3", func(m *advlib.Model, x *Node) *Node { return DivScalar(m.Logits(x), 3) })
		if err != nil {
			t.Fatal(err)
		}
		return d
	}},
	{name: "normalised", make: func(t *testing.T, c *advlib.Classifier, _ *advlib.Examples) *advlib.Classifier {
		d, err := behind(t, c, transform.Translate{Down: 1}).Classifier.Normalised(*advlib.NormalisationOf(0.1, 0.7), advlib.UnitBox)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}},
	{name: "view", make: func(t *testing.T, c *advlib.Classifier, _ *advlib.Examples) *advlib.Classifier {
		spec := advlib.Spec{Name: "pixels in steps", Input: c.Input(), Box: advlib.UnitBox, Store: c.Store(), Backend: c.Backend(),
			Logits: func(_ *model.Scope, x *Node) *Node { return c.LogitsGraph(x) }}
		for i := range 64 {
			spec.Domain = append(spec.Domain, advlib.Feature{Name: fmt.Sprint(i), Step: 1. / 16})
		}
		d, err := advlib.NewClassifier(spec)
		if err != nil {
			t.Fatal(err)
		}
		return d.View()
	}},
	{name: "smoothed", make: func(t *testing.T, c *advlib.Classifier, _ *advlib.Examples) *advlib.Classifier {
		d, err := smooth.Gaussian{Base: c, Sigma: 0.1}.Surrogate(2)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}},
	{name: "feature squeezing", make: scored(detect.FeatureSqueezing{}), costly: true},
	{name: "consistency", make: scored(detect.Consistency{})},
	{name: "LID", make: scored(detect.LID{K: 5, Batch: 20}), costly: true},
	{name: "Mahalanobis", make: scored(detect.Mahalanobis{}), costly: true},
	{name: "kernel density", make: scored(detect.KernelDensity{})},
	{name: "binary", make: scored(detect.Binary{Model: training.Model{Name: "MLP-10", Build: zoo.MLP(10).Build, Epochs: 2}})},
	{name: "MagNet", make: scored(detect.MagNet{Epochs: 2}), costly: true},
}

// sampleFree is sample for a classifier some of whose coordinates are fixed.
func sampleFree(
	t *testing.T, c *advlib.Classifier, e *advlib.Examples, ball advlib.Ball, points int, r *rand.Rand,
) (z [][][]float32) {
	t.Helper()
	x, n := tensors.MustCopyFlatData[float32](e.X), e.Len()
	size, limits := len(x)/n, c.Limits()
	for p := range points {
		var batch []float32
		for i := range n {
			from := x[i*size : (i+1)*size]
			y := pointOf(ball, c.Box(), from, p, r)
			for j := range y {
				y[j] = limits.Clamp(j, float64(y[j]), from[j])
			}
			batch = append(batch, y...)
		}
		logits, err := c.Logits(tensors.FromFlatDataAndDimensions(batch, e.X.Shape().Dimensions...))
		if err != nil {
			t.Fatal(err)
		}
		z = append(z, logits)
	}
	return z
}

// A classifier that is built on another one, in whatever way the project does it, has sound bounds, or is refused with
// a message that names what has none and what to do. Behind transformations no more is certified than is robust.
func TestWrappedClassifiers(t *testing.T) {
	b := backends(t)["Go Backend"]
	for _, w := range wrappers {
		t.Run(w.name, func(t *testing.T) {
			plain, e := imagesOf(t, load(t, "mlp-digits-adv", b), 64)
			var d *transform.Defended
			var c *advlib.Classifier
			if w.all != nil {
				d = behind(t, plain, w.all...)
				c = d.Classifier
			} else {
				c = w.make(t, plain, e)
			}
			if e = e.First(8); len(c.Input()) > len(e.Shape()) { // a view, whose inputs are where to go and where from
				x := tensors.MustCopyFlatData[float32](e.X)
				var both []float32
				for _, v := range x {
					both = append(both, v, v)
				}
				var err error
				if e, err = advlib.NewExamples("encoded", both, c.Input(), e.Y); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := certify.Of(c); err != nil || w.refused != nil {
				t.Log(err)
				for _, part := range w.refused {
					if err == nil || !strings.Contains(err.Error(), part) {
						t.Errorf("the error %v does not contain %q", err, part)
					}
				}
				if w.refused == nil {
					t.Error("it is refused")
				}
				return
			}
			methods := []certify.Method{certify.IBP, certify.CROWN}
			if w.costly && !full {
				methods = methods[:1]
			}
			r := rand.New(rand.NewPCG(1, 2))
			for _, ball := range []advlib.Ball{advlib.Linf.Ball(0.02), advlib.L2.Ball(0.1)} {
				z := sampleFree(t, c, e, ball, 40, r)
				for _, m := range methods {
					checkWithin(t, c, e, ball, m, z)
				}
				if d != nil {
					certifiedIsRobust(t, d, e, ball, methods)
				}
			}
		})
	}
}

// certifiedIsRobust checks that no more examples are certified than are robust under an attack that knows the
// transforms, and no more robust than clean.
func certifiedIsRobust(t *testing.T, d *transform.Defended, e *advlib.Examples, ball advlib.Ball, methods []certify.Method) {
	t.Helper()
	var a advlib.Attack = attack.PGD{Ball: ball, Steps: 20, Loss: advlib.Margin}
	if d.Through != d.Classifier {
		a = attack.BPDA{Attack: a, Through: d.Through}
	}
	res, err := advlib.Settings{Seed: 1}.Run(ctx, d.Classifier, e, a)
	if err != nil {
		t.Fatal(err)
	}
	clean, robust := 0, 0
	for i := range e.Len() {
		correct := res.Clean[i].Class == e.Y[i]
		if correct {
			clean++
		}
		if correct && !res.Success[i] {
			robust++
		}
	}
	for _, m := range methods {
		certified, err := m.Certify(ctx, d.Classifier, e, ball)
		if err != nil {
			t.Fatal(err)
		}
		count := 0
		for i, ok := range certified {
			if ok {
				count++
			}
			if ok && (res.Success[i] || res.Clean[i].Class != e.Y[i]) {
				t.Errorf("%v certifies example %d, which is broken", m, i)
			}
		}
		t.Logf("%v, %v: certified %d ≤ robust %d ≤ clean %d of %d", ball, m, count, robust, clean, e.Len())
		if count > robust || robust > clean {
			t.Errorf("%v: certified %d, robust %d, clean %d", m, count, robust, clean)
		}
	}
}

// A classifier's network may be bounded on the Go backend where that of another one on the same variables is on XLA. On
// XLA bounds hold, too.
func TestSharedVariablesOnTwoBackends(t *testing.T) {
	b, err := backend.Open()
	if err != nil {
		t.Fatal(err)
	}
	r := load(t, "mlp-digits-adv", b)
	type key struct{}
	gelu, err := r.Classifier.Derive(key{}, "GELU of the logits", func(m *advlib.Model, x *Node) *Node {
		return activation.Gelu(m.Logits(x))
	})
	if err != nil {
		t.Fatal(err)
	}
	e, ball := r.Examples.First(8), advlib.Linf.Ball(0.02)
	for _, c := range []*advlib.Classifier{r.Classifier, gelu, r.Classifier, gelu} {
		checkWithin(t, c, e, ball, certify.IBP, sample(t, c, e, ball, 20, rand.New(rand.NewPCG(1, 2))))
	}
	c, e := imagesOf(t, r, 8)
	all := []transform.Transform{transform.Gaussian{Sigma: 0.5}, transform.BitDepth{Bits: 3}}
	if full { // XLA compiles for ten seconds
		all = append(all, transform.JPEG{Quality: 75})
	}
	for _, of := range all {
		d := behind(t, c, of).Classifier
		checkWithin(t, d, e, ball, certify.IBP, sample(t, d, e, ball, 20, rand.New(rand.NewPCG(1, 2))))
	}
}
