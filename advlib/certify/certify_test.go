package certify_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/layers/activation"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack/attacktest"
	"advlab/advlib/certify"
)

func TestNames(t *testing.T) {
	var names []string
	for _, m := range append(slices.Clone(methods), certify.CROWN.WithIBP().WithBestLine().In(certify.RealArithmetic),
		certify.CROWN.WithLine(certify.Zero).In(certify.TF32AnyOrder),
		certify.AlphaCROWN, certify.CROWN.WithAlpha(certify.Alpha{Iterations: 40, Intervals: -1,
			Rate: 0.1}).WithIBP(), certify.IBP.WithAlpha(certify.Alpha{})) {
		names = append(names, m.String())
	}
	if got, want := strings.Join(names, ", "),
		"IBP, CROWN-IBP, CROWN, CROWN (by graphs), IBP (without box), CROWN-IBP (without box), CROWN ∩ IBP (best line, real "+
			"arithmetic), CROWN (zero line, tf32-any-order), α-CROWN, α-CROWN ∩ IBP (40 iterations, 0 for intervals, rate 0.1), IBP"; got != want {
		t.Errorf("names %s, want %s", got, want)
	}
}

// signAscent is projected gradient descent with the margin loss, without a random start (Madry et al. 2018): enough to
// find out a bound that claims too much.
func signAscent(t *testing.T, c *advlib.Classifier, e *advlib.Examples, radius float64, steps int) (robust []bool) {
	t.Helper()
	box := c.Box()
	type key struct{}
	step := advlib.Count(c).Compile(key{}, func(m *advlib.Model, in []*Node) []*Node {
		x, x0, y, ε := in[0], in[1], in[2], in[3]
		z := m.Logits(x)
		g := m.Gradient(advlib.Margin.Of(z, advlib.GoalNodes{Label: y}), x)
		next := Add(x, Mul(Sign(g), MulScalar(ε, 0.25)))
		next = box.Clip(Max(Sub(x0, ε), Min(Add(x0, ε), next)))
		return []*Node{next, ArgMax(z, -1)}
	})
	robust = make([]bool, e.Len())
	for i := range robust {
		robust[i] = true
	}
	x, y := e.X, tensors.FromValue(e.Y)
	for range steps + 1 {
		out, err := step.Run(e.Len(), x, e.X, y, float32(radius*(1-1e-6)))
		if err != nil {
			t.Fatal(err)
		}
		for i, class := range tensors.MustCopyFlatData[int32](out[1]) {
			robust[i] = robust[i] && class == e.Y[i]
		}
		x = out[0]
	}
	return robust
}

// Certified implies robust under attack, example by example, and the counts of certified examples are auto_LiRPA's
// (verified_* in the peers' summaries, as counts of 64).
func TestSandwich(t *testing.T) {
	for _, name := range []string{"mlp-digits", "mlp-digits-adv"} {
		r := load(t, name, nil)
		for _, radius := range []string{"0.05", "0.1"} {
			var ε float64
			fmt.Sscan(radius, &ε)
			robust := signAscent(t, r.Classifier, r.Examples, ε, 20)
			for method, key := range map[certify.Method]string{certify.IBP: "ibp", certify.CROWNIBP: "crown-ibp"} {
				certified, err := method.Certify(ctx, r.Classifier, r.Examples, advlib.Linf.Ball(ε))
				if err != nil {
					t.Fatal(err)
				}
				count := 0
				for i := range certified {
					if certified[i] {
						count++
						if !robust[i] {
							t.Errorf("%s: %v certifies example %d for Linf ≤ %g, sign ascent breaks it", name, method, i, ε)
						}
					}
				}
				if want, ok := r.Peers["verified_"+key+"_linf/"+radius]; !ok || float64(count)/64 != want {
					t.Errorf("%s: %v, Linf ≤ %g: %d of 64 certified, auto_LiRPA has the share %g", name, method, ε, count, want)
				}
			}
		}
	}
}

// A curve over radii, and another of the same norm later, compiles once: the model is built twice to be looked at and
// twice to be compiled in the first call, and never again.
func TestCompilesOnce(t *testing.T) {
	builds := 0
	c, err := advlib.NewClassifier(advlib.Spec{Name: "counted", Input: []int{5}, Box: advlib.UnitBox,
		Logits: func(_ *model.Scope, x *Node) *Node {
			builds++
			return testModels[0].logits(x)
		}})
	if err != nil {
		t.Fatal(err)
	}
	e := testModels[0].examples(t, c, 6)
	for k, radius := range []float64{0.01, 0.02, 0.1, 0.5} {
		builds = 0
		if _, err := certify.CROWNIBP.Certify(ctx, c, e, advlib.L2.Ball(radius)); err != nil {
			t.Fatal(err)
		}
		want := 0
		if k == 0 {
			want = 4
		}
		if builds != want {
			t.Errorf("the model is built %d times for radius number %d, want %d", builds, k, want)
		}
	}
}

// Certify is what Evaluate calls.
func TestEvaluate(t *testing.T) {
	r := load(t, "mlp-digits-adv", nil)
	e := r.Examples.First(16)
	report, err := advlib.Evaluate(ctx, r.Classifier, e, []advlib.Attack{nothing{advlib.Linf.Ball(0.05)}}, certify.IBP, certify.CROWNIBP)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Certificates) != 2 || report.Certificates[1].Method != "CROWN-IBP" {
		t.Fatalf("certificates %v", report.Certificates)
	}
	if text := report.String(); !strings.Contains(text, "CROWN-IBP") {
		t.Errorf("the report does not name the method:\n%s", text)
	}
}

// nothing is an attack that returns its originals.
type nothing struct{ ball advlib.Ball }

func (nothing) String() string { return "nothing" }
func (a nothing) Threat(advlib.Victim) (advlib.Threat, error) {
	return advlib.Threat{Norm: a.ball.Norm, Radius: a.ball.Radius, Goal: advlib.Untargeted}, nil
}
func (nothing) Perturb(_ context.Context, _ *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	return b.X, nil
}

// Results do not depend on the number of examples, their order, or the pieces in which they are computed.
func TestPieces(t *testing.T) {
	m := testModels[2]
	c := m.classifier(t, backends(t)["Go Backend"])
	e := m.examples(t, c, 40)
	ball := advlib.Linf.Ball(0.03)
	for _, method := range methods[:2] {
		all, err := certify.Margins(ctx, c, e, ball, method)
		if err != nil {
			t.Fatal(err)
		}
		backwards := make([]int, e.Len())
		for i := range backwards {
			backwards[i] = e.Len() - 1 - i
		}
		restore := certify.LimitMemory(1 << 18)
		reversed, err := certify.Margins(ctx, c, e.Select(backwards), ball, method)
		restore()
		if err != nil {
			t.Fatal(err)
		}
		net, err := certify.Of(c)
		if err != nil {
			t.Fatal(err)
		}
		restore = certify.LimitMemory(int(net.Footprint().Region)) // one example at a time
		single, err := certify.Margins(ctx, c, e.First(3), ball, method)
		restore()
		if err != nil {
			t.Fatal(err)
		}
		for i := range all {
			for k := range all[i] {
				if d := all[i][k] - reversed[e.Len()-1-i][k]; d > 1e-5 || d < -1e-5 {
					t.Errorf("%v: margin %d of example %d is %g, in another order and in small pieces %g", method, k, i, all[i][k],
						reversed[e.Len()-1-i][k])
				}
				if i < 3 {
					if d := all[i][k] - single[i][k]; d > 1e-5 || d < -1e-5 {
						t.Errorf("%v: margin %d of example %d is %g, alone %g", method, k, i, all[i][k], single[i][k])
					}
				}
			}
		}
	}
}

// With many classes the rows of the specification are computed in pieces too; with two there is one row.
func TestClasses(t *testing.T) {
	defer certify.LimitMemory(1 << 19)()
	for _, classes := range []int{2, 3, 101} {
		m := testModel{"classes", []int{4}, advlib.UnitBox, func(x *Node) *Node {
			return dense(activation.Relu(dense(x, 1, 16)), 2, classes)
		}}
		c := m.classifier(t, backends(t)["Go Backend"])
		e := m.examples(t, c, 9)
		for _, method := range methods[:2] {
			margins, err := certify.Margins(ctx, c, e, advlib.Linf.Ball(0), method)
			if err != nil {
				t.Fatal(err)
			}
			z, err := c.Logits(e.X)
			if err != nil {
				t.Fatal(err)
			}
			for i, row := range z {
				y := e.Y[i]
				var want []float64
				for k, v := range row {
					if k != int(y) {
						want = append(want, float64(row[y]-v))
					}
				}
				if !slices.EqualFunc(margins[i], want, func(a, b float64) bool { return a-b < 1e-5 && b-a < 1e-5 }) {
					t.Errorf("%d classes: %v: margins of example %d are %v, want %v", classes, method, i, margins[i], want)
				}
			}
		}
	}
}

func BenchmarkCertify(b *testing.B) {
	for backendName, backend := range backends(b) {
		for _, name := range attacktest.References {
			r := load(b, name, backend)
			for _, method := range methods[:3] {
				b.Run(fmt.Sprintf("%s/%s/%v/%d", backendName, name, method, r.Examples.Len()), func(b *testing.B) {
					ball := advlib.Linf.Ball(0.05)
					if _, err := method.Certify(ctx, r.Classifier, r.Examples, ball); err != nil { // compiles
						b.Fatal(err)
					}
					for b.Loop() {
						if _, err := method.Certify(ctx, r.Classifier, r.Examples, ball); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}

// Certificates may be computed concurrently, of one classifier and of several, while the switch of fused operations
// goes back and forth.
func TestConcurrent(t *testing.T) {
	goBackend := backends(t)["Go Backend"]
	m := testModels[1] // with fused operations
	shared := m.classifier(t, goBackend)
	e := m.examples(t, shared, 8)
	ball := advlib.L2.Ball(0.1)
	want, err := certify.Margins(ctx, shared, e, ball, certify.CROWNIBP)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for i := range 8 {
		c := shared
		if i%2 == 0 {
			c = m.classifier(t, goBackend)
		}
		group.Go(func() {
			got, err := certify.Margins(ctx, c, e, ball, certify.CROWNIBP)
			if err != nil {
				t.Error(err)
				return
			}
			for i := range want {
				if !slices.Equal(got[i], want[i]) {
					t.Errorf("margins of example %d are %v, alone %v", i, got[i], want[i])
				}
			}
		})
	}
	group.Wait()
}
