package attack_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/attacktest"
	"advlab/advlib/backend"
	"advlab/advlib/oracle"
)

func wrapperSubjects() []attacktest.Subject {
	ball := func(ε float64) advlib.Ball { return advlib.Linf.Ball(ε) }
	const ε = 0.1
	worst := func(ε float64, g advlib.Goal, l advlib.Loss) advlib.Attack {
		return attack.WorstOf{Attacks: []advlib.Attack{
			attack.FGM{Ball: ball(ε), Goal: g, Loss: l}, attack.PGD{Ball: ball(ε), Goal: g, Loss: l, Steps: 10},
		}}
	}
	repeat := func(ε float64, g advlib.Goal, l advlib.Loss) advlib.Attack {
		return attack.Repeat{Attack: attack.PGD{Ball: ball(ε), Goal: g, Loss: l, Steps: 5}, Times: 3}
	}
	var subjects []attacktest.Subject
	pgd := func(ε float64, g advlib.Goal, l advlib.Loss) advlib.Attack {
		return attack.PGD{Ball: ball(ε), Goal: g, Loss: l, Steps: 10}
	}
	for name, make := range map[string]func(float64, advlib.Goal, advlib.Loss) advlib.Attack{
		"worst of": worst, "repeat": repeat,
		"temperature": func(ε float64, g advlib.Goal, l advlib.Loss) advlib.Attack {
			return attack.Temperature{Attack: pgd(ε, g, l), T: 10}
		},
		"lattice": func(ε float64, g advlib.Goal, l advlib.Loss) advlib.Attack {
			return attack.Lattice8{Attack: pgd(ε, g, l)}
		},
		"EOT, measured": func(ε float64, g advlib.Goal, l advlib.Loss) advlib.Attack { return attack.EOT{Attack: pgd(ε, g, l)} },
		"EOT 3": func(ε float64, g advlib.Goal, l advlib.Loss) advlib.Attack {
			return attack.EOT{Attack: pgd(ε, g, l), Samples: 3}
		},
	} {
		subjects = append(subjects, attacktest.Subject{
			Name:     name,
			New:      func(g advlib.Goal) advlib.Attack { return make(ε, g, nil) },
			AtRadius: func(ε float64) advlib.Attack { return make(ε, advlib.Untargeted, nil) },
			WithLoss: func(l advlib.Loss, g advlib.Goal) advlib.Attack { return make(ε, g, l) },
			NoDomain: name == "lattice",
		})
	}
	// The surrogate, and what gives the gradients, is the classifier itself.
	for name, wrap := range map[string]func(a advlib.Attack, c *advlib.Classifier) advlib.Attack{
		"transfer": func(a advlib.Attack, c *advlib.Classifier) advlib.Attack { return attack.Transfer{Attack: a, From: c} },
		"BPDA":     func(a advlib.Attack, c *advlib.Classifier) advlib.Attack { return attack.BPDA{Attack: a, Through: c} },
	} {
		subjects = append(subjects, attacktest.Subject{
			Name:     name,
			New:      func(g advlib.Goal) advlib.Attack { return pgd(ε, g, nil) },
			AtRadius: func(ε float64) advlib.Attack { return pgd(ε, advlib.Untargeted, nil) },
			WithLoss: func(l advlib.Loss, g advlib.Goal) advlib.Attack { return pgd(ε, g, l) },
			Wrap:     wrap,
		})
	}
	return subjects
}

func TestConformanceWrappers(t *testing.T) { attacktest.Run(t, wrapperSubjects()...) }

// The worst case is the union of what each breaks; each attack works on what the ones before left.
func TestWorstOf(t *testing.T) {
	r := digits(t)
	ball := advlib.L2.Ball(0.5)
	fgm, pgd, cw := attack.FGM{Ball: ball}, attack.PGD{Ball: ball, Steps: 10}, attack.CarliniWagner{BinarySearchSteps: 3, Steps: 100,
		InitialConst: 1}
	one := func(a advlib.Attack) *advlib.Result {
		return advlib.MustRun(context.Background(), r.Classifier, r.Examples, a)
	}
	all := one(attack.WorstOf{Attacks: []advlib.Attack{fgm, pgd, cw}})
	a, b, c := one(fgm), one(pgd), one(cw)
	byDistance := 0
	for i, broken := range all.Success {
		far := c.Distance[i] > ball.Radius
		if want := a.Success[i] || b.Success[i] || !far; broken != want {
			t.Errorf("example %d: broken %v, but FGM %v, PGD %v, C&W at %g", i, broken, a.Success[i], b.Success[i], c.Distance[i])
		}
		if broken && !a.Success[i] && !b.Success[i] {
			byDistance++
		}
	}
	if all.Threat.Radius != ball.Radius {
		t.Errorf("the threat is %v, want %v", all.Threat, ball)
	}
	if sum := a.Stats.Backward + b.Stats.Backward + c.Stats.Backward; all.Stats.Backward >= sum {
		t.Errorf("%d backward passes, one by one %d: each should work on less", all.Stats.Backward, sum)
	}
	t.Logf("FGM %d, PGD %d, worst %d of %d, %d of them by C&W alone", count(a.Success), count(b.Success), count(all.Success),
		len(all.Success), byDistance)

	// Of attacks of minimal norm the nearest is kept.
	weak := attack.CarliniWagner{BinarySearchSteps: 1, Steps: 50, InitialConst: 10}
	nearest := one(attack.WorstOf{Attacks: []advlib.Attack{weak, cw}})
	w := one(weak)
	for i, d := range nearest.Distance {
		if want := min(w.Distance[i], c.Distance[i]); math.Abs(d-want) > 1e-3*want {
			t.Errorf("example %d: distance %g, of the two %g and %g", i, d, w.Distance[i], c.Distance[i])
		}
	}
}

// Runs differ, and more of them never break less.
func TestRepeat(t *testing.T) {
	r := digits(t)
	a := attack.PGD{Ball: advlib.Linf.Ball(0.08), Steps: 1, StepSize: 0.04}
	var broken []int
	for _, times := range []int{1, 2, 10} {
		res := advlib.MustRun(context.Background(), r.Classifier, r.Examples, attack.Repeat{Attack: a, Times: times})
		broken = append(broken, count(res.Success))
	}
	once := advlib.MustRun(context.Background(), r.Classifier, r.Examples, a)
	t.Logf("%v: %v broken in 1, 2 and 10 runs", a, broken)
	if broken[0] != count(once.Success) || !slices.IsSorted(broken) || broken[0] == broken[2] {
		t.Errorf("%v broken in 1, 2 and 10 runs, %d without the wrapper", broken, count(once.Success))
	}
}

func TestWrapperRefusals(t *testing.T) {
	linf, l2 := advlib.Linf.Ball(0.1), advlib.L2.Ball(0.1)
	ten := linear(t, linearSpecs[0]).Classifier
	three := linear(t, attacktest.LinearSpec{Classes: 3, Examples: 1}).Classifier
	for _, c := range []struct {
		a    advlib.Attack
		c    *advlib.Classifier
		want string
	}{
		{attack.WorstOf{}, ten, "there are no Attacks"},
		{attack.WorstOf{Attacks: []advlib.Attack{nil}}, ten, "attack 0 of 1 is nil"},
		{attack.WorstOf{Attacks: []advlib.Attack{attack.FGM{Ball: linf}, attack.FGM{Ball: l2}}}, ten, "different norms"},
		{attack.WorstOf{Attacks: []advlib.Attack{attack.FGM{Ball: linf}, attack.FGSM(0.2)}}, ten, "the same ball"},
		{attack.WorstOf{Attacks: []advlib.Attack{attack.FGM{Ball: linf}, attack.FGM{Ball: linf, Goal: advlib.Targeted(1)}}}, ten, "the same goal"},
		{attack.WorstOf{Attacks: []advlib.Attack{attack.FGM{Ball: linf}, attack.PGD{Ball: linf, Steps: -1}}}, ten, "Steps = -1"},
		{attack.AllTargets{Attack: attack.WorstOf{Attacks: []advlib.Attack{attack.FGM{Ball: linf, Loss: advlib.DLR}}}}, three, "DLR needs at least 4 classes"},
		{attack.Temperature{T: 1}, ten, "is nil"},
		{attack.Temperature{Attack: attack.FGM{Ball: linf}}, ten, "T = 0 is not"},
		{attack.Temperature{Attack: attack.FGM{Ball: linf}, T: math.Inf(1)}, ten, "T = +Inf is not"},
		{attack.Lattice8{}, ten, "is nil"},
		{attack.EOT{}, ten, "is nil"},
		{attack.EOT{Attack: attack.FGM{Ball: linf}, Samples: -2}, ten, "Samples = -2"},
		{attack.Transfer{From: ten}, ten, "is nil"},
		{attack.Transfer{Attack: attack.FGM{Ball: linf}}, ten, "From is nil"},
		{attack.Transfer{Attack: attack.FGM{Ball: linf}, From: three}, ten, "has 3 classes"},
		{attack.Transfer{Attack: attack.FGM{Ball: linf}, From: digits(t).Classifier}, ten, "takes inputs [64] in [0, 1]"},
		{attack.BPDA{Through: ten}, ten, "is nil"},
		{attack.BPDA{Attack: attack.FGM{Ball: linf}}, ten, "Through is nil"},
		{attack.Repeat{}, ten, "is nil"},
		{attack.Repeat{Attack: attack.FGM{Ball: linf}, Times: -1}, ten, "Times = -1"},
	} {
		if _, err := c.a.Threat(c.c); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: error %v does not say %q", c.a, err, c.want)
		}
	}
}

// variant returns the digits' network with something before or behind it.
func variant(t *testing.T, name string, random bool, logits func(scope *model.Scope, c *advlib.Classifier,
	x *graph.Node) *graph.Node) *advlib.Classifier {
	t.Helper()
	c := digits(t).Classifier
	v, err := advlib.NewClassifier(advlib.Spec{
		Name: name, Store: c.Store(), Input: c.Input(), Box: c.Box(), Backend: c.Backend(), Random: random,
		Logits: func(scope *model.Scope, x *graph.Node) *graph.Node { return logits(scope, c, x) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Logits times 1000 saturate the softmax: the cross-entropy has no gradient left. At the temperature 1000 it is that of
// the plain network.
func TestTemperature(t *testing.T) {
	r := digits(t)
	loud := variant(t, "logits × 1000", false, func(_ *model.Scope, c *advlib.Classifier, x *graph.Node) *graph.Node {
		return graph.MulScalar(c.LogitsGraph(x), 1000)
	})
	pgd := attack.PGD{Ball: advlib.Linf.Ball(0.1), NoRandomStart: true}
	plain := advlib.MustRun(context.Background(), r.Classifier, r.Examples, pgd)
	saturated := advlib.MustRun(context.Background(), loud, r.Examples, pgd)
	warm := advlib.MustRun(context.Background(), loud, r.Examples, attack.Temperature{Attack: pgd, T: 1000})
	t.Logf("plain %d, logits × 1000 %d, at T = 1000 %d of %d", count(plain.Success), count(saturated.Success), count(warm.Success),
		len(plain.Success))
	if 2*count(saturated.Success) > count(plain.Success) {
		t.Errorf("%d of %d are broken although the softmax is saturated: this tests nothing", count(saturated.Success), count(plain.Success))
	}
	if !slices.Equal(warm.Success, plain.Success) {
		t.Errorf("at the temperature %d are broken, of the plain network %d", count(warm.Success), count(plain.Success))
	}
	if warm.Stats.Forward != plain.Stats.Forward || warm.Stats.Backward != plain.Stats.Backward {
		t.Errorf("passes %v, plain %v", warm.Stats, plain.Stats)
	}
}

// What is returned is made of 255ths, inside the ball, and adversarial; most of what the attack finds survives.
func TestLattice8(t *testing.T) {
	r := reference(t, "cnn-mnist-adv", digits(t).Classifier.Backend())
	for _, a := range []advlib.Attack{
		attack.PGD{Ball: advlib.Linf.Ball(0.3), Loss: advlib.Margin},
		attack.PGD{Ball: advlib.L2.Ball(4), Loss: advlib.Margin},
		attack.PGD{Ball: advlib.L1.Ball(25), Loss: advlib.Margin},
	} {
		plain := advlib.MustRun(context.Background(), r.Classifier, r.Examples, a)
		res := advlib.MustRun(context.Background(), r.Classifier, r.Examples, attack.Lattice8{Attack: a})
		adv := tensors.MustCopyFlatData[float32](res.Adversarial)
		size := len(adv) / r.Examples.Len()
		for i, success := range res.Success {
			for _, v := range adv[i*size : (i+1)*size] {
				if off := math.Abs(float64(v)*255 - math.Round(float64(v)*255)); success && off > 1e-3 {
					t.Errorf("%v: example %d holds %g, which is %g of 1/255 beside a level", a, i, v, off)
					break
				}
			}
			if success && !plain.Success[i] {
				t.Errorf("%v: example %d is broken only after rounding", a, i)
			}
		}
		t.Logf("%v: %d of %d broken, %d in 255ths", a, count(plain.Success), len(plain.Success), count(res.Success))
		if count(plain.Success) < 4 || 4*count(res.Success) < 3*count(plain.Success) {
			t.Errorf("%v: %d of %d broken, %d in 255ths", a, count(plain.Success), len(plain.Success), count(res.Success))
		}
	}
}

// The surrogate pays, the target judges.
func TestTransfer(t *testing.T) {
	r := digits(t)
	from := reference(t, "mlp-digits-adv", r.Classifier.Backend()).Classifier
	a := attack.MIFGSM{Ball: advlib.Linf.Ball(0.15)}
	clean := advlib.MustRun(context.Background(), r.Classifier, r.Examples, attack.FGSM(0))
	direct := advlib.MustRun(context.Background(), r.Classifier, r.Examples, a)
	res := advlib.MustRun(context.Background(), r.Classifier, r.Examples, attack.Transfer{Attack: a, From: from})
	t.Logf("%d misclassified, %d broken directly, %d from %s", count(clean.Success), count(direct.Success), count(res.Success), from.Name())
	if count(res.Success) <= count(clean.Success) || count(res.Success) > count(direct.Success) {
		t.Errorf("%d misclassified, %d broken directly, %d from %s", count(clean.Success), count(direct.Success), count(res.Success), from.Name())
	}
	if res.Stats.Forward != direct.Stats.Forward || res.Stats.Backward != direct.Stats.Backward {
		t.Errorf("passes %v, direct %v", res.Stats, direct.Stats)
	}
}

// A quantiser hides the gradient: PGD breaks nothing, through the identity nearly all that it breaks without the
// quantiser.
func TestBPDA(t *testing.T) {
	r := digits(t)
	round := func(x *graph.Node) *graph.Node { // has no gradient
		return graph.DivScalar(graph.StopGradient(graph.Round(graph.MulScalar(x, 16))), 16)
	}
	defended := variant(t, "quantised", false, func(_ *model.Scope, c *advlib.Classifier, x *graph.Node) *graph.Node {
		return c.LogitsGraph(round(x))
	})
	through := variant(t, "quantised, straight through", false, func(_ *model.Scope, c *advlib.Classifier, x *graph.Node) *graph.Node {
		return c.LogitsGraph(attack.StraightThrough(round, func(x *graph.Node) *graph.Node { return x })(x))
	})
	pgd := attack.PGD{Ball: advlib.Linf.Ball(0.1), NoRandomStart: true}
	plain := advlib.MustRun(context.Background(), r.Classifier, r.Examples, pgd)
	masked := advlib.MustRun(context.Background(), defended, r.Examples, pgd)
	bpda := advlib.MustRun(context.Background(), defended, r.Examples, attack.BPDA{Attack: pgd, Through: through})
	clean := advlib.MustRun(context.Background(), defended, r.Examples, attack.FGSM(0))
	t.Logf("plain %d, quantised %d (%d misclassified), through the identity %d of %d", count(plain.Success), count(masked.Success),
		count(clean.Success), count(bpda.Success), len(plain.Success))
	if count(masked.Success) != count(clean.Success) {
		t.Errorf("%d broken without a gradient, %d misclassified: this tests nothing", count(masked.Success), count(clean.Success))
	}
	if 10*count(bpda.Success) < 8*count(plain.Success) {
		t.Errorf("%d broken through the identity, %d without the quantiser", count(bpda.Success), count(plain.Success))
	}
	if _, err := advlib.Run(context.Background(), r.Classifier,

		r.Examples, attack.BPDA{Attack: pgd, Through: variant(t, "other", false, func(_ *model.Scope, c *advlib.Classifier,
			x *graph.Node) *graph.Node {
			return graph.MulScalar(c.LogitsGraph(x), 1.1)
		})}); err == nil || !strings.Contains(err.Error(), "the forward pass of Through must be that of the classifier") {
		t.Errorf("another forward pass: %v", err)
	}
}

// noisy is the digits' network behind noise on its inputs.
func noisy(t *testing.T, σ float64) *advlib.Classifier {
	return variant(t, fmt.Sprintf("noise %g", σ), true, func(scope *model.Scope, c *advlib.Classifier, x *graph.Node) *graph.Node {
		return c.LogitsGraph(graph.Add(x, graph.MulScalar(scope.RandomNormal(x.Graph(), x.Shape()), σ)))
	})
}

// More noise asks for more draws, none for one; and more draws find more, by the model's mean prediction.
func TestEOT(t *testing.T) {
	r := digits(t)
	b := batch(r.Examples)
	var sizes []int
	for _, σ := range []float64{0, 0.05, 0.2, 0.5} {
		c := r.Classifier
		if σ > 0 {
			c = noisy(t, σ)
		}
		if err := c.Store().SetRNGStateFromSeed(1); err != nil {
			t.Fatal(err)
		}
		n, err := attack.EOT{}.Measure(context.Background(), advlib.Count(c), b)
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, n)
	}
	t.Logf("draws for noise 0, 0.05, 0.2, 0.5: %v", sizes)
	if sizes[0] != 1 || !slices.IsSorted(sizes) || sizes[3] <= sizes[1] {
		t.Errorf("draws for noise 0, 0.05, 0.2, 0.5: %v", sizes)
	}
	c := noisy(t, 0.5)
	pgd := attack.PGD{Ball: advlib.Linf.Ball(0.1), NoRandomStart: true, KeepGoing: true, Loss: advlib.Margin}
	one := advlib.MustRun(context.Background(), c, r.Examples, attack.EOT{Attack: pgd, Samples: 1})
	many := advlib.MustRun(context.Background(), c, r.Examples, attack.EOT{Attack: pgd, Samples: 16})
	if many.Stats.Backward < 8*one.Stats.Backward {
		t.Errorf("16 draws cost %v, one %v", many.Stats, one.Stats)
	}
	// How often the model says the label at what was returned, over 50 draws; examples that were not broken are returned
	// as they are.
	says := func(attempt advlib.Attack) int {
		adv, err := attempt.Perturb(context.Background(), advlib.Count(c), b)
		if err != nil {
			t.Fatal(err)
		}
		right := 0
		for range 50 {
			z, err := c.Logits(adv)
			if err != nil {
				t.Fatal(err)
			}
			for i := range z {
				if !b.Reached(i, z[i]) {
					right++
				}
			}
		}
		return right
	}
	weak, strong := says(attack.EOT{Attack: pgd, Samples: 1}), says(attack.EOT{Attack: pgd, Samples: 16})
	t.Logf("of %d draws the label was given %d times after PGD on one draw, %d on 16", 50*b.Len(), weak, strong)
	if strong >= weak {
		t.Errorf("the label was given %d times after PGD on one draw, %d on 16", weak, strong)
	}
}

func ExampleWorstOf() {
	c, e := brightness()
	ball := advlib.L2.Ball(0.4)
	worst := attack.WorstOf{Attacks: []advlib.Attack{attack.FGM{Ball: ball}, attack.CarliniWagner{Steps: 200}}}
	res := advlib.MustRun(context.Background(), c, e, worst)
	fmt.Println(res.Attack, res.Success)
	// Output:
	// worst of (FGM L2 ≤ 0.4; C&W 9×200 L2 minimal) [true true false]
}

func ExampleRepeat() {
	c, e := brightness()
	res := advlib.MustRun(context.Background(), c, e, attack.Repeat{Attack: attack.PGD{Ball: advlib.Linf.Ball(0.3), Steps: 3}})
	fmt.Println(res.Attack, res.Success)
	// Output:
	// PGD-3 Linf ≤ 0.3, 5 times [true true false]
}

func ExampleTemperature() {
	c, e := brightness()
	cool := attack.Temperature{Attack: attack.FGSM(0.3), T: 10}
	res := advlib.MustRun(context.Background(), c, e, cool)
	fmt.Println(res.Attack, res.Success)
	// Output:
	// FGM Linf ≤ 0.3, T = 10 [true true false]
}

func ExampleLattice8() {
	c, e := brightness()
	res := advlib.MustRun(context.Background(), c, e, attack.Lattice8{Attack: attack.FGSM(0.3)})
	fmt.Println(res.Attack, res.Success)
	// Output:
	// FGM Linf ≤ 0.3, in 255ths [true true false]
}

func ExampleTransfer() {
	c, e := brightness()
	other, _ := brightness() // stands for another model of the same task
	res := advlib.MustRun(context.Background(), c, e, attack.Transfer{Attack: attack.MIFGSM{Ball: advlib.Linf.Ball(0.3)}, From: other})
	fmt.Println(res.Attack, res.Success)
	// Output:
	// MI-FGSM-10 Linf ≤ 0.3, transferred from brightness [true true false]
}

func ExampleEOT() {
	c, e := brightness()
	res := advlib.MustRun(context.Background(), c, e, attack.EOT{Attack: attack.FGSM(0.3), Samples: 20})
	fmt.Println(res.Attack, res.Success)
	// Output:
	// FGM Linf ≤ 0.3, EOT 20 [true true false]
}

// A defence that rounds its input has no gradient; the attack takes that of the identity.
func ExampleBPDA() {
	plain, e := brightness()
	round := func(x *graph.Node) *graph.Node {
		return graph.DivScalar(graph.StopGradient(graph.Round(graph.MulScalar(x, 20))), 20)
	}
	identity := func(x *graph.Node) *graph.Node { return x }
	classifier := func(name string, g func(x *graph.Node) *graph.Node) *advlib.Classifier {
		return advlib.MustClassifier(advlib.Spec{
			Name: name, Input: plain.Input(), Box: plain.Box(), Backend: plain.Backend(),
			Logits: func(_ *model.Scope, x *graph.Node) *graph.Node { return plain.LogitsGraph(g(x)) },
		})
	}
	defended := classifier("rounded", round)
	through := classifier("rounded, straight through", attack.StraightThrough(round, identity))
	for _, a := range []advlib.Attack{attack.FGSM(0.3), attack.BPDA{Attack: attack.FGSM(0.3), Through: through}} {
		res := advlib.MustRun(context.Background(), defended, e, a)
		fmt.Println(res.Attack, res.Success)
	}
	// Output:
	// FGM Linf ≤ 0.3 [false false false]
	// FGM Linf ≤ 0.3, BPDA [true true false]
}

// TestWrappersKeepABudget: what a wrapper asks for itself is asked of the victim's budget, and a wrapper whose budget
// is used up returns what there is.
func TestWrappersKeepABudget(t *testing.T) {
	b, err := backend.Open()
	if err != nil {
		t.Fatal(err)
	}
	l, err := attacktest.NewLinear(attacktest.LinearSpec{Seed: 5, Examples: 6}, b)
	if err != nil {
		t.Fatal(err)
	}
	f := oracle.Func("f", advlib.Signature{Input: l.Classifier.Input(), Box: advlib.UnitBox, Classes: len(l.W)}, func(x []float32) []float32 {
		z := make([]float32, len(l.W))
		for k, w := range l.W {
			sum := 0.
			for i, v := range x {
				sum += w[i] * float64(v)
			}
			z[k] = float32(sum)
		}
		return z
	})
	square := attack.Square{Ball: advlib.Linf.Ball(0.2), Queries: 40}
	for _, a := range []advlib.Attack{
		attack.WorstOf{Attacks: []advlib.Attack{square, square}},
		attack.AllTargets{Attack: square, Most: 3},
		attack.Repeat{Attack: square, Times: 3},
		attack.Lattice8{Attack: square},
	} {
		for _, queries := range []int{1, 2, 45, 200} {
			counter := oracle.Count(f)
			res, err := advlib.Run(t.Context(), oracle.Budget(counter, queries), l.Examples, a)
			if err != nil {
				t.Errorf("%v with %d queries: %v", a, queries, err)
				continue
			}
			if most := int64(queries+2) * int64(l.Examples.Len()); counter.Queries() > most {
				t.Errorf("%v with %d queries for each example asked %d times, want at most %d", a, queries, counter.Queries(), most)
			}
			broken := 0
			for _, s := range res.Success {
				if s {
					broken++
				}
			}
			if queries == 200 && broken == 0 {
				t.Errorf("%v breaks nothing", a)
			}
		}
	}
}

// TestEOTDoubles: the number of draws grows until twice as many find no more, and where 128 are not enough, it is said.
func TestEOTDoubles(t *testing.T) {
	few := digits(t).Examples
	pgd := attack.PGD{Ball: advlib.Linf.Ball(0.1), Loss: advlib.Margin, Steps: 4, KeepGoing: true}
	run := func(c *advlib.Classifier, a advlib.Attack) *advlib.Result {
		return advlib.MustRun(t.Context(), c, few, a)
	}
	for σ, enough := range map[float64]bool{0.1: true, 30: false} {
		c := noisy(t, σ)
		measured, one := run(c, attack.EOT{Attack: pgd}), run(c, attack.EOT{Attack: pgd, Samples: 1})
		said := strings.Contains(measured.String(), "draws in each step are not enough")
		t.Logf("noise %g: %v with 1 draw, %v as measured, %.3g passes each", σ, one.SuccessRate(), measured.SuccessRate(),
			float64(measured.Stats.Backward)/float64(few.Len()))
		if said == enough {
			t.Errorf("noise %g: enough %v, warnings %q", σ, enough, measured.Warnings)
		}
		if lo, _ := one.SuccessRate().Wilson(); enough && measured.SuccessRate().Value() < lo {
			t.Errorf("noise %g: %v %s with 1 draw, %v as measured", σ, one.SuccessRate(), one.SuccessRate().Interval(), measured.SuccessRate())
		}
	}
	// What a batch shares has to be drawn by building the model again, and so the mean of it varies less.
	for _, byRow := range []bool{true, false} {
		c := variant(t, "noisy", true, func(scope *model.Scope, c *advlib.Classifier, x *graph.Node) *graph.Node {
			shape := x.Shape().Clone()
			if !byRow {
				shape.Dimensions[0] = 1
			}
			noise := graph.BroadcastToShape(scope.RandomNormal(x.Graph(), shape), x.Shape())
			return c.LogitsGraph(graph.Add(x, graph.MulScalar(noise, 0.3)))
		})
		if got, err := c.DrawsByRow(); err != nil || got != byRow {
			t.Errorf("drawn by row: %v (%v), want %v", got, err, byRow)
		}
		res := run(c, attack.EOT{Attack: pgd, Samples: 4})
		if n := res.Stats.Backward; n == 0 || n%(4*4) != 0 {
			t.Errorf("drawn by row %v: %d passes backward in 4 steps of 4 draws", byRow, n)
		}
	}
}
