package detect_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/backend"
	"advlab/advlib/dataset"
	"advlab/advlib/detect"
	"advlab/advlib/training"
	"advlab/advlib/zoo"
)

// TestAdaptiveInADomain: adaptive attacks search among the inputs that an attacker can make, with features that are
// fixed, that only rise, that are whole numbers and that have scales; and find there what the naive attack does not.
func TestAdaptiveInADomain(t *testing.T) {
	train, test := dataset.BreastCancer()
	domain := slices.Clone(dataset.BreastCancerDomain())
	domain[0].Change, domain[1].Change = advlib.Fixed, advlib.RiseOnly
	for i := range domain {
		if domain[i].Scale == 0 {
			domain[i].Scale = domain[i].Hi - domain[i].Lo
		}
	}
	// A mean area in whole units: the last of the thirty is turned into it.
	rounded := func(e *advlib.Examples) *advlib.Examples {
		x := tensors.MustCopyFlatData[float32](e.X)
		for i := 3; i < len(x); i += 30 {
			x[i] = float32(int(x[i] + 0.5))
		}
		r := *e
		r.X = tensors.FromFlatDataAndDimensions(x, e.X.Shape().Dimensions...)
		return &r
	}
	train, test = rounded(train), rounded(test)
	domain[3] = advlib.Feature{Name: "whole area", Lo: 0, Hi: 4000, Step: 1, Scale: 4000}
	opened, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	c := training.Model{Name: "tabular", Domain: domain, Backend: opened, Epochs: 20, LearningRate: 0.01,
		Build: func(classes int) advlib.LogitsFn {
			logits := zoo.MLP(16, 16).Build(classes)
			return func(scope *model.Scope, x *graph.Node) *graph.Node { return logits(scope, domain.Normalize(x)) }
		}}.MustFit(t.Context(), train)
	ball, half := advlib.Linf.Ball(0.2), test.Len()/2
	data := detect.Data{Train: train, Clean: test.Slice(0, half)}
	taught := data
	taught.Attack = attack.PGD{Ball: ball, Steps: 10, Loss: advlib.Margin}
	attacked := test.Slice(half, half+24)
	for _, o := range []struct {
		method detect.Method
		data   detect.Data
	}{
		{detect.KernelDensity{}, data}, {detect.Mahalanobis{}, taught}, {detect.LID{K: 10, Batch: 50}, taught},
		{detect.Binary{Model: zoo.MLP(16)}, taught},
	} {
		s, err := detect.Screen(t.Context(), c, o.method, o.data)
		if err != nil {
			t.Fatal(err)
		}
		joint := detect.Joint{Screen: s, Attack: attack.PGD{Ball: ball, Steps: 40, Loss: advlib.Margin}}
		n, err := detect.Inspection{Naive: []advlib.Attack{s.Naive(ball)}, Adaptive: []advlib.Attack{s.Adaptive(ball), joint}}.Run(t.Context(), s,
			attacked)
		if err != nil {
			t.Fatal(err)
		}
		naive, adaptive := n.Attacks[0], n.Attacks[1]
		t.Logf("%v: naive: %v detected, evades %v; adaptive: %v detected, evades %v; joint: %v detected, evades %v", s, naive.Detected,
			naive.Evaded, adaptive.Detected, adaptive.Evaded, n.Attacks[2].Detected, n.Attacks[2].Evaded)
		if adaptive.Evaded.Count < naive.Evaded.Count || adaptive.Evaded.Count == 0 {
			t.Errorf("%v: the adaptive attack evades with %v, the naive one with %v", s, adaptive.Evaded, naive.Evaded)
		}
		// On the screened victim, which has no gradient: what is found there is accepted and misclassified.
		r, err := advlib.Run(t.Context(), s, attacked, s.Adaptive(ball))
		if err != nil {
			t.Fatal(err)
		}
		if err := admissible(attacked, r, c); err != nil {
			t.Errorf("%v: %v", s, err)
		}
	}
}

// admissible tells what of a result is outside of a classifier's domain, or has moved what is fixed.
func admissible(e *advlib.Examples, r *advlib.Result, c *advlib.Classifier) error {
	perturbed := *e
	perturbed.X = r.Adversarial
	if err := perturbed.Check(advlib.Spec{Name: c.Name(), Input: c.Input(), Domain: c.Domain()}, c.Classes()); err != nil {
		return err
	}
	from, to, moved := tensors.MustCopyFlatData[float32](e.X), tensors.MustCopyFlatData[float32](r.Adversarial), 0
	for i := range e.Len() {
		a, b := from[i*30:(i+1)*30], to[i*30:(i+1)*30]
		if a[0] != b[0] || a[1] > b[1] || b[3] != float32(int(b[3])) {
			return fmt.Errorf("example %d: what is fixed, may rise, is whole went from %v to %v", i, a[:4], b[:4])
		}
		if r.Success[i] && a[3] != b[3] {
			moved++
		}
	}
	if moved == 0 {
		return fmt.Errorf("no whole number has changed: nothing is tested")
	}
	return nil
}
