package transform_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/dataset"
	"advlab/advlib/training"
	"advlab/advlib/transform"
	"advlab/advlib/zoo"
)

// TestAdaptiveAttacks: what knows the transform leaves no more than what does not, beyond the interval, and little more
// than is left without the transform. On digits, and, with ADVLAB_FULL=1, more transforms and MNIST.
func TestAdaptiveAttacks(t *testing.T) {
	full := os.Getenv("ADVLAB_FULL") != ""
	t.Run("digits", func(t *testing.T) {
		train, test := dataset.Digits()
		s := scene{model: zoo.MLP(60), train: train, test: test.First(40), ball: advlib.Linf.Ball(0.2)}
		defences := append(common, before(transform.Crop{Height: 7, Width: 7}), before(transform.ResizePad{Least: 0.75}),
			before(transform.NonLocalMeans{PatchSize: 3, PatchDistance: 2, H: 0.2}))
		if full {
			defences = append(defences, before(transform.BitDepth{Bits: 5}), before(transform.Median{Size: 2}),
				before(transform.Gaussian{Sigma: 1}), before(transform.Bilateral{SigmaColor: 0.2, SigmaSpatial: 0.5}))
		}
		s.measure(t, defences)
	})
	t.Run("MNIST", func(t *testing.T) {
		s := mnist(t)
		s.measure(t, append(common, before(transform.Crop{Height: 25, Width: 25}), before(transform.ResizePad{Least: 0.85}),
			before(transform.NonLocalMeans{PatchSize: 5, PatchDistance: 4, H: 0.2}),
			before(transform.Bilateral{SigmaColor: 0.2, SigmaSpatial: 1})))
	})
}

// defence puts a defence before a classifier of a scene, or trains one behind it.
type defence struct {
	fmt.Stringer
	build func(t *testing.T, s scene, c *advlib.Classifier) *transform.Defended
}

func before(of transform.Transform) defence {
	return defence{of, func(_ *testing.T, _ scene, c *advlib.Classifier) *transform.Defended {
		return transform.MustBefore(c, of)
	}}
}

// common are the defences that are measured on digits and on MNIST.
var common = []defence{
	before(transform.BitDepth{Bits: 3}), before(transform.Median{Size: 3}), before(transform.Gaussian{Sigma: 0.5}),
	before(transform.Chambolle{Weight: 0.1, MaxIterations: 50}), before(transform.JPEG{Quality: 75}), before(transform.Noise{Sigma: 0.1}),
	before(transform.TotalVariance{Drop: 0.3, Weight: 0.03, Iterations: 50}),
	{transform.Thermometer{Levels: 10}, func(t *testing.T, s scene, _ *advlib.Classifier) *transform.Defended {
		return transform.MustFit(t.Context(), s.model, s.train, transform.Thermometer{Levels: 10})
	}},
	{transform.Autoencoder{}, func(t *testing.T, s scene, c *advlib.Classifier) *transform.Defended {
		return transform.MustBefore(c, transform.Autoencoder{Epochs: s.epochs}.MustFit(t.Context(), s.train))
	}},
}

// TestFewBits: of 1 and 2 bits, images of almost two shades stay partly robust in truth, since a pixel whose interval
// crosses no threshold cannot change. BPDA comes as far as a greedy search over the levels that pixels can take.
func TestFewBits(t *testing.T) {
	t.Run("digits", func(t *testing.T) {
		train, test := dataset.Digits()
		scene{model: zoo.MLP(60), train: train, test: test.First(60), ball: advlib.Linf.Ball(0.2)}.few(t)
	})
	t.Run("MNIST", func(t *testing.T) { mnist(t).few(t) })
}

// scene is where transforms are measured.
type scene struct {
	model       training.Model
	train, test *advlib.Examples
	ball        advlib.Ball
	epochs      int // of the autoencoder; 0 means its default
}

// mnist skips where there is no time, or no MNIST.
func mnist(t *testing.T) scene {
	t.Helper()
	if os.Getenv("ADVLAB_FULL") == "" {
		t.Skip("MNIST takes minutes: set ADVLAB_FULL=1")
	}
	t.Setenv("ADVLAB_OFFLINE", "1")
	train, test, err := dataset.MNISTSmall(t.Context())
	var missing *dataset.MissingError
	if errors.As(err, &missing) {
		t.Skipf("needs MNIST's test files: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return scene{model: zoo.CNN(), train: train, test: test.Slice(1000, 1100), ball: advlib.Linf.Ball(0.3), epochs: 5}
}

func (s scene) measure(t *testing.T, defences []defence) {
	c := s.model.MustFit(t.Context(), s.train)
	pgd := attack.AllTargets{Attack: attack.PGD{Ball: s.ball, Steps: 40, Loss: advlib.Margin}, Most: 9}
	undefended := advlib.MustEvaluate(t.Context(), c, s.test, []advlib.Attack{pgd}).Robust(s.ball).Value()
	for _, of := range defences {
		t.Run(of.String(), func(t *testing.T) {
			d := of.build(t, s, c)
			attacks := []advlib.Attack{d.Naive(s.ball), d.Adaptive(s.ball)}
			r, err := advlib.Settings{Alone: true}.Evaluate(t.Context(), d.Classifier, s.test, attacks)
			if err != nil {
				t.Fatal(err)
			}
			naive, _ := r.RobustTo(r.Attacks[0], s.ball)
			adaptive, _ := r.RobustTo(r.Attacks[1], s.ball)
			_, most := naive.Wilson()
			t.Logf("clean %v, naive %v %s, adaptive %v %s, without it %.3f; %.0f passes each", r.Clean(), naive, naive.Interval(),
				adaptive, adaptive.Interval(), undefended, float64(r.Attacks[1].Backward)/float64(max(1, r.Attacks[1].Attacked())))
			if adaptive.Value() > most {
				t.Errorf("%v stand under the adaptive attack, %v %s under the naive one", adaptive, naive, naive.Interval())
			}
			if adaptive.Value() > undefended+0.05 {
				t.Errorf("%v stand under the adaptive attack, %.3f without the transform", adaptive, undefended)
			}
		})
	}
}

func (s scene) few(t *testing.T) {
	c := s.model.MustFit(t.Context(), s.train)
	for bits := 1; bits <= 2; bits++ {
		of := transform.BitDepth{Bits: bits}
		d := transform.MustBefore(c, of)
		r, err := advlib.Settings{Alone: true}.Evaluate(t.Context(), d.Classifier, s.test, []advlib.Attack{d.Naive(s.ball), d.Adaptive(s.ball)})
		if err != nil {
			t.Fatal(err)
		}
		naive, _ := r.RobustTo(r.Attacks[0], s.ball)
		adaptive, _ := r.RobustTo(r.Attacks[1], s.ball)
		left := advlib.Rate{Of: s.test.Len()}
		for i := range s.test.Len() {
			if s.greedy(t, c, bits, i) {
				left.Count++
			}
		}
		t.Logf("%v: clean %v, naive %v, BPDA %v, greedy search %v", of, r.Clean(), naive, adaptive, left)
		if adaptive.Value() > left.Value()+0.02 {
			t.Errorf("%v: %v stand under BPDA, %v under a greedy search over levels", of, adaptive, left)
		}
		if _, most := naive.Wilson(); adaptive.Value() > most {
			t.Errorf("%v: %v stand under BPDA, %v %s under the naive attack", of, adaptive, naive, naive.Interval())
		}
	}
}

// greedy tells whether example i is still classified right after a greedy search: of all changes of one pixel to a
// level that some value within ε of it rounds to, the one that lowers the margin most is made, until the class changes
// or none lowers it.
func (s scene) greedy(t *testing.T, c *advlib.Classifier, bits, i int) (stands bool) {
	t.Helper()
	steps := math.Pow(2, float64(bits)) - 1
	all := tensors.MustCopyFlatData[float32](s.test.X)
	size := len(all) / s.test.Len()
	x, y := all[i*size:(i+1)*size], s.test.Y[i]
	level := func(v float64) float64 { return math.Round(min(1, max(0, v)) * steps) }
	at := make([]float32, size)
	for j, v := range x {
		at[j] = float32(level(float64(v)) / steps)
	}
	margins := func(points []float32) []float64 {
		z, err := c.Logits(tensors.FromFlatDataAndDimensions(points, append([]int{len(points) / size}, c.Input()...)...))
		if err != nil {
			t.Fatal(err)
		}
		m := make([]float64, len(z))
		for k, row := range z {
			m[k] = math.Inf(1)
			for class, v := range row {
				if class != int(y) {
					m[k] = min(m[k], float64(row[y]-v))
				}
			}
		}
		return m
	}
	for now := margins(at)[0]; now > 0; {
		var points []float32
		for j, v := range x {
			for l := level(float64(v) - s.ball.Radius); l <= level(float64(v)+s.ball.Radius); l++ {
				if w := float32(l / steps); w != at[j] {
					points = append(points, at...)
					points[len(points)-size+j] = w
				}
			}
		}
		if len(points) == 0 {
			return true
		}
		m := margins(points)
		best := slices.Index(m, slices.Min(m))
		if m[best] >= now {
			return true
		}
		copy(at, points[best*size:(best+1)*size])
		now = m[best]
	}
	return false
}
