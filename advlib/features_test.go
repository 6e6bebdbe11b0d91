package advlib_test

import (
	"math"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/layers/activation"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/backend"
	"advlab/advlib/oracle"
)

// tens returns a network of two layers, φ = ReLU(10·x₀, 10·x₁ − 1) and the logits (φ₀, φ₁), which does not look at x₂.
// Linear says to leave out the second layer, random to add noise to the logits.
func tens(t *testing.T, linear, random bool) *advlib.Classifier {
	t.Helper()
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	return advlib.MustClassifier(advlib.Spec{
		Name: "tens", Input: []int{3}, Box: advlib.UnitBox, Backend: b, Random: random,
		Logits: func(scope *model.Scope, x *graph.Node) *graph.Node {
			g := x.Graph()
			h := graph.Add(graph.Dot(x, graph.Const(g, [][]float32{{10, 0}, {0, 10}, {0, 0}})).Product(), graph.Const(g, [][]float32{{0, -1}}))
			if linear {
				return h
			}
			z := graph.Dot(activation.Relu(h), graph.Const(g, [][]float32{{1, 0}, {0, 1}})).Product()
			if random {
				z = graph.Add(z, scope.RandomNormal(g, z.Shape()))
			}
			return z
		},
	})
}

// The distance in the features of a network whose features are known.
func TestFeatureDistancesByHand(t *testing.T) {
	x := tensors.FromValue([][]float32{{.3, .5, .1}, {.3, .5, .1}, {.3, .5, .1}, {0, .1, .9}, {.6, 0, 0}})
	y := tensors.FromValue([][]float32{{.6, .5, .1}, {.3, .5, .9}, {0, .1, .1}, {.5, .5, .9}, {.6, .1, 0}})
	// φ(x) is (3, 4) three times, (0, 0), and (6, 0), where the ReLU hides what x₁ does.
	want := []float64{3. / 5, 0, 1, math.NaN(), 0}
	got, err := advlib.FeatureDistances(t.Context(), tens(t, false, false), x, y)
	if err != nil || len(got) != len(want) {
		t.Fatalf("%v, %v", got, err)
	}
	for i := range want {
		if !(math.Abs(got[i]-want[i]) < 1e-6) && !(math.IsNaN(got[i]) && math.IsNaN(want[i])) {
			t.Errorf("row %d: %g, by hand %g", i, got[i], want[i])
		}
	}
	answers := oracle.Labels(tens(t, false, false))
	for name, v := range map[string]advlib.Victim{"linear": tens(t, true, false), "random": tens(t, false, true), "labels": answers} {
		if d, err := advlib.FeatureDistances(t.Context(), v, x, y); d != nil || err != nil {
			t.Errorf("%s: %v, %v, want none", name, d, err)
		}
	}
	_, err = advlib.FeatureDistances(t.Context(), tens(t, false, false), x, tensors.FromValue([][]float32{{1, 2, 3}}))
	if err == nil || !strings.Contains(err.Error(), "[1 3] cannot be compared by the features of tens") {
		t.Errorf("other numbers of inputs: %v", err)
	}
}

// Evaluate says of each success how far it moved in the features, whichever batch it was in.
func TestEvaluateInFeatures(t *testing.T) {
	e, err := advlib.NewExamples("two", []float32{.6, .5, .1, .3, .5, .1, .5, .5, .5}, []int{3}, []int32{0, 1, 0})
	if err != nil {
		t.Fatal(err)
	}
	pgd := []advlib.Attack{attack.FGM{Ball: advlib.Linf.Ball(0.2)}}
	for _, s := range []advlib.Settings{{}, {BatchSize: 1}} {
		r, err := s.Evaluate(t.Context(), tens(t, false, false), e, pgd)
		if err != nil {
			t.Fatal(err)
		}
		// FGSM moves x₀ and x₁ by 0.2 each against the label, the features by (2, 2): of (6, 4), (3, 4) and (5, 4).
		for i, want := range []float64{math.Sqrt(8. / 52), math.Sqrt(8. / 25), math.Sqrt(8. / 41)} {
			c := r.Attacks[0].Changes[i]
			if c == nil || c.Features == nil || math.Abs(*c.Features-want) > 1e-5 {
				t.Errorf("example %d: %+v, by hand %g", i, c, want)
			}
		}
		if rows := r.ChangeTable().Rows; rows[1][len(rows[1])-1] != "0.4417" {
			t.Errorf("the table says %q", rows)
		}
		s.Alone = true
		r, err = s.Evaluate(t.Context(), tens(t, true, false), e, pgd)
		if err != nil {
			t.Fatal(err)
		}
		if rows := r.ChangeTable().Rows; rows[1][len(rows[1])-1] != "n/a" {
			t.Errorf("of a linear model the table says %q", rows)
		}
	}
}
