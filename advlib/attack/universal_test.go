package attack_test

import (
	"context"
	"errors"
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
)

// oneDirection is a linear classifier of two classes with examples of one of them, far from the ends of the box: all
// have the same direction v = w₁ − w₀, or its opposite, towards the boundary, so the best δ for all is known.
func oneDirection(t *testing.T) (l *attacktest.Linear, e *advlib.Examples, v []float32, gaps []float64) {
	t.Helper()
	l = linear(t, attacktest.LinearSpec{Classes: 2, Seed: 5, Examples: 128})
	x := tensors.MustCopyFlatData[float32](l.Examples.X)
	for i := range x {
		x[i] = 0.3 + 0.4*x[i]
	}
	d := l.Examples.Shape()[0]
	for j := range d {
		v = append(v, float32(l.W[1][j]-l.W[0][j]))
	}
	var rows []float32
	var labels []int32
	for i := range l.Examples.Len() {
		row := x[i*d : (i+1)*d]
		gap := 0.
		for j := range row {
			gap -= float64(v[j]) * float64(row[j])
		}
		if gap > 0.02 { // class 0
			rows, labels, gaps = append(rows, row...), append(labels, 0), append(gaps, gap)
		}
	}
	e, err := advlib.NewExamples("one direction", rows, []int{d}, labels)
	if err != nil {
		t.Fatal(err)
	}
	if len(labels) < 20 {
		t.Fatalf("%d examples test little", len(labels))
	}
	return l, e, v, gaps
}

// On one direction the best δ is that of steepest ascent, d = argmax ⟨d, v⟩ over ‖d‖ ≤ ε, which adds ε·‖v‖_* to every
// margin: exactly the examples with a smaller gap are fooled. Examples within 1 % of that are left out.
func TestUniversalClosedForm(t *testing.T) {
	l, e, v, gaps := oneDirection(t)
	zero := make([]float32, len(v))
	sorted := slices.Sorted(slices.Values(gaps))
	for _, n := range []advlib.ConvexNorm{advlib.L1, advlib.L2, advlib.Linf} {
		dual := n.Dual().Distance(v, zero)
		// In L1 all of it goes into one coordinate, which has 0.3 of room.
		ε := min(sorted[len(sorted)/2]/dual, 0.3)
		ball := n.Ball(ε)
		type learner interface {
			Fit(context.Context, *advlib.Classifier, *advlib.Examples) (*attack.Perturbation, *advlib.Result, error)
		}
		learners := []learner{attack.Universal{Ball: ball, BatchSize: 8}}
		if n != advlib.L1 {
			learners = append(learners, attack.UniversalDeepFool{Ball: ball, FoolingRate: 0.999})
		}
		for _, a := range learners {
			p, train, err := a.Fit(context.Background(), l.Classifier, e)
			if err != nil {
				t.Fatal(err)
			}
			gain := 0.
			for j := range v {
				gain += float64(v[j]) * float64(p.Delta[j])
			}
			if !(gain >= 0.99*ε*dual && gain <= 1.0001*ε*dual) {
				t.Errorf("%v: δ adds %.5f to the margin, the best adds %.5f", a, gain, ε*dual)
			}
			res, err := advlib.Run(context.Background(), l.Classifier, e, p)
			if err != nil {
				t.Fatal(err)
			}
			fooled := 0
			for i, gap := range gaps {
				if math.Abs(gap-ε*dual) < 0.01*ε*dual {
					continue
				}
				if want := gap < ε*dual; res.Success[i] != want || train.Success[i] != want {
					t.Errorf("%v: example %d with a gap of %.4f: fooled %v, in training %v; the best δ adds %.4f", a, i, gap, res.Success[i],
						train.Success[i], ε*dual)
				}
				if res.Success[i] {
					fooled++
				}
			}
			if fooled == 0 || fooled == len(gaps) {
				t.Errorf("%v: %d of %d fooled tests nothing", a, fooled, len(gaps))
			}
		}
	}
}

// Learned on one half of the digits, δ fools the other half: more than noise of the same size, whichever the norm, and
// Universal at least as many as UniversalDeepFool, with what a single δ cannot beat: an attack on each example.
func TestUniversalDigits(t *testing.T) {
	r := digits(t)
	half := r.Examples.Len() / 2
	train, test := r.Examples.First(half), r.Examples.Slice(half, r.Examples.Len())
	for n, ε := range map[advlib.ConvexNorm]float64{advlib.L1: 6, advlib.L2: 1.5, advlib.Linf: 0.25} {
		ball := n.Ball(ε)
		run := func(a advlib.Attack) int {
			return count(advlib.MustRun(context.Background(), r.Classifier, test, a).Success)
		}
		p, _, err := attack.Universal{Ball: ball}.Fit(context.Background(), r.Classifier, train)
		if err != nil {
			t.Fatal(err)
		}
		u := make([]float32, len(p.Delta))
		noise := 0
		for k := range 5 {
			n.Sample(advlib.Batch{Key: []uint64{uint64(k)}}.Rand(0, 0), u)
			size := n.Distance(u, make([]float32, len(u)))
			for j := range u {
				u[j] *= float32(ε / size)
			}
			noise = max(noise, run(attack.Perturbation{Ball: ball, Shape: p.Shape, Delta: u}))
		}
		one, each := run(p), run(attack.PGD{Ball: ball})
		fool := -1
		if n != advlib.L1 {
			// The order in which it learns decides over as many as 5 of 32: the mean of several is compared.
			const seeds = 9
			fool = 0
			for seed := range uint64(seeds) {
				q, _, err := attack.UniversalDeepFool{Ball: ball, Seed: seed}.Fit(context.Background(), r.Classifier, train)
				if err != nil {
					t.Fatal(err)
				}
				fool += run(q)
			}
			fool = (fool + seeds - 1) / seeds // rounded up
		}
		t.Logf("%v: of %d examples not learned on: noise fools %d, Universal %d, UniversalDeepFool %d, PGD on each %d", ball,
			test.Len(), noise, one, fool, each)
		if one < 2*noise || one < fool || one > each || fool == 0 {
			t.Errorf("%v: noise fools %d, Universal %d, UniversalDeepFool %d, PGD on each %d of %d", ball, noise, one, fool, each, test.Len())
		}
	}
}

// A target is reached by one δ on examples that it was not learned on.
func TestUniversalTargeted(t *testing.T) {
	r := digits(t)
	half := r.Examples.Len() / 2
	a := attack.Universal{Ball: advlib.Linf.Ball(0.35), Goal: advlib.Targeted(8)}
	p, train, err := a.Fit(context.Background(), r.Classifier, r.Examples.First(half))
	if err != nil {
		t.Fatal(err)
	}
	res := advlib.MustRun(context.Background(), r.Classifier, r.Examples.Slice(half, r.Examples.Len()), p)
	t.Logf("%v: %v where it was learned, %v elsewhere", res.Attack, train.SuccessRate(), res.SuccessRate())
	if 2*count(res.Success) < len(res.Success) {
		t.Errorf("%d of %d reach the target", count(res.Success), len(res.Success))
	}
}

// The same seed gives the same bits, whatever the order of the examples; another seed gives others.
func TestUniversalSeeds(t *testing.T) {
	r := digits(t)
	e := r.Examples.First(24)
	learn := func(e *advlib.Examples, seed uint64) []float32 {
		t.Helper()
		p, _, err := attack.Universal{Ball: advlib.L2.Ball(1), Epochs: 3, BatchSize: 8, Seed: seed}.Fit(context.Background(), r.Classifier, e)
		if err != nil {
			t.Fatal(err)
		}
		return p.Delta
	}
	first := learn(e, 1)
	var backwards []int
	for i := range e.Len() {
		backwards = append(backwards, e.Len()-1-i)
	}
	if !slices.Equal(first, learn(e, 1)) || !slices.Equal(first, learn(e.Select(backwards), 1)) {
		t.Error("the same seed gives another δ, or another order of the examples does")
	}
	if slices.Equal(first, learn(e, 2)) {
		t.Error("seeds 1 and 2 give the same δ")
	}
}

func TestUniversalRefusals(t *testing.T) {
	l := linear(t, linearSpecs[0])
	linf := advlib.Linf.Ball(0.1)
	d := l.Examples.Shape()
	for want, a := range map[string]interface {
		Threat(advlib.Victim) (advlib.Threat, error)
	}{
		"the ball is unset":                attack.Universal{},
		"no steepest ascent":               attack.Universal{Ball: advlib.L0.Ball(1)},
		"Epochs = -1":                      attack.Universal{Ball: linf, Epochs: -1},
		"BatchSize = 513 is above 512":     attack.Universal{Ball: linf, BatchSize: 513},
		"Cap = -1":                         attack.Universal{Ball: linf, Cap: -1},
		"StepSize = NaN":                   attack.Universal{Ball: linf, StepSize: math.NaN()},
		"the L1 ball is none that it":      attack.UniversalDeepFool{Ball: advlib.L1.Ball(1)},
		"FoolingRate = 1 is not":           attack.UniversalDeepFool{Ball: linf, FoolingRate: 1},
		"has the shape [3]":                attack.Perturbation{Ball: linf, Shape: []int{3}},
		"has 3 values":                     attack.Perturbation{Ball: linf, Shape: d, Delta: make([]float32, 3)},
		"Linf norm is 0.5, more than the ": attack.Perturbation{Ball: linf, Shape: d, Delta: slices.Repeat([]float32{0.5}, d[0])},
	} {
		if _, err := a.Threat(l.Classifier); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error %v does not say %q", a, err, want)
		}
	}
	if _, _, err := (attack.Universal{Ball: linf}).Fit(context.Background(), nil, l.Examples); err == nil {
		t.Error("Fit took a nil classifier")
	}
	if _, _, err := (attack.Universal{Ball: linf}).Fit(context.Background(), l.Classifier, nil); err == nil {
		t.Error("Fit took nil examples")
	}
}

// Features that are fixed stay as they are, bit for bit, and those that may only rise do not fall, under one δ and
// under a patch; domains in which attacks work in other coordinates are refused.
func TestUniversalDomain(t *testing.T) {
	linf := advlib.Linf.Ball(0.3)
	c, e := squares(t)
	in := func(change func(j int, f *advlib.Feature)) *advlib.Classifier {
		var domain advlib.Domain
		for j := range 64 {
			f := advlib.Feature{Name: fmt.Sprint("pixel ", j)}
			change(j, &f)
			domain = append(domain, f)
		}
		return advlib.MustClassifier(advlib.Spec{
			Name: "digits, some fixed", Store: c.Store(), Input: c.Input(), Box: c.Box(), Domain: domain, Backend: c.Backend(),
			Logits: func(_ *model.Scope, x *graph.Node) *graph.Node { return c.LogitsGraph(x) },
		})
	}
	changes := []advlib.Change{advlib.EitherWay, advlib.Fixed, advlib.RiseOnly, advlib.FallOnly}
	some := in(func(j int, f *advlib.Feature) { f.Change = changes[j%4] })
	δ, _, err := attack.Universal{Ball: linf, Epochs: 3}.Fit(context.Background(), some, e.First(16))
	if err != nil {
		t.Fatal(err)
	}
	patch, _, err := attack.AdversarialPatch{Steps: 5}.Fit(context.Background(), some, e.First(16))
	if err != nil {
		t.Fatal(err)
	}
	x := tensors.MustCopyFlatData[float32](e.X)
	for _, a := range []advlib.Attack{δ, patch} {
		adv, err := a.Perturb(context.Background(), advlib.Count(some), batch(e))
		if err != nil {
			t.Fatal(err)
		}
		var moved [4]int
		for i, v := range tensors.MustCopyFlatData[float32](adv) {
			d, k := v-x[i], i%64%4
			if changes[k] == advlib.Fixed && d != 0 || changes[k] == advlib.RiseOnly && d < 0 || changes[k] == advlib.FallOnly && d > 0 {
				t.Errorf("%v: %v pixel %d moves by %g", a, changes[k], i%64, d)
			}
			if d != 0 {
				moved[k]++
			}
		}
		if moved[0] == 0 || moved[2] == 0 || moved[3] == 0 {
			t.Errorf("%v: %v of the pixels moved, by kind", a, moved)
		}
	}
	scaled := in(func(_ int, f *advlib.Feature) { f.Scale = 2 })
	for _, a := range []attack.Threatened{attack.Universal{Ball: linf}, attack.UniversalDeepFool{Ball: linf},
		attack.AdversarialPatch{}, δ, patch} {
		if _, err := a.Threat(scaled); err == nil || !strings.Contains(err.Error(), "has scales, steps, categories or derived features") {
			t.Errorf("%v: error %v for a domain with scales", a, err)
		}
	}
}

// Cancelled, Fit returns the best so far, measured.
func TestUniversalCancelled(t *testing.T) {
	r := digits(t)
	for _, a := range []interface {
		Fit(context.Context, *advlib.Classifier, *advlib.Examples) (*attack.Perturbation, *advlib.Result, error)
	}{
		attack.Universal{Ball: advlib.Linf.Ball(0.3), BatchSize: 8},
		attack.UniversalDeepFool{Ball: advlib.Linf.Ball(0.3), FoolingRate: 0.99},
	} {
		ctx := &polls{Context: context.Background(), left: 20}
		p, res, err := a.Fit(ctx, r.Classifier, r.Examples.First(16))
		if !errors.Is(err, context.Canceled) || p == nil || res == nil {
			t.Errorf("%v: %v, %v, %v", a, p, res, err)
			continue
		}
		if again := advlib.MustRun(context.Background(), r.Classifier, r.Examples.First(16), p); !slices.Equal(again.Success, res.Success) {
			t.Errorf("%v: fooled %v, measured %v", a, again.Success, res.Success)
		}
	}
}

// Two pixels, and all examples have the left one brighter: one δ, which darkens it and brightens the other, is enough.
func ExampleUniversal() {
	c, e := brightness()
	e = e.First(2) // by 0.2 and 0.5
	u := attack.Universal{Ball: advlib.Linf.Ball(0.2)}
	δ, train, err := u.Fit(context.Background(), c, e)
	if err != nil {
		panic(err)
	}
	fmt.Println(train.Attack, train.Success)
	other := advlib.MustRun(context.Background(), c, e, δ)
	fmt.Println(other.Attack, other.Success)
	// Output:
	// Universal-20 Linf ≤ 0.2 [true false]
	// one δ by Universal-20 Linf ≤ 0.2 [true false]
}
