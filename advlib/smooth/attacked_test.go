package smooth_test

import (
	"math"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/backend"
	"advlab/advlib/smooth"
)

// A smoothed half-line is the half-line itself: the true robust radius of an input is its distance from 1/2. What is
// certified is below it, what is broken above it, and one on the boundary is an abstention.
func TestAttacked(t *testing.T) {
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	half := advlib.MustClassifier(advlib.Spec{Name: "half", Input: []int{1}, Box: advlib.UnitBox, Backend: b,
		Logits: func(_ *model.Scope, x *Node) *Node {
			return MulScalar(Concatenate([]*Node{OneMinus(x), x}, 1), 10)
		}})
	e, err := advlib.NewExamples("numbers", []float32{0.9, 0.75, 0.3, 0.4, 0.5, 0.6}, []int{1}, []int32{1, 1, 0, 0, 1, 0})
	if err != nil {
		t.Fatal(err)
	}
	truth := []float64{0.4, 0.25, 0.2, 0.1, 0, 0} // the last one is misclassified
	s := smooth.Gaussian{Base: half, Sigma: 0.25, N: 2000}
	certified, err := s.Certify(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	var attacks []advlib.Attack
	radii := []float64{0.05, 0.15, 0.3}
	for _, ε := range radii {
		attacks = append(attacks, attack.PGD{Ball: advlib.L2.Ball(ε), Steps: 10, KeepGoing: true})
	}
	r, err := s.Attacked(t.Context(), certified, e, attacks...)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Abstained().Count; got != 1 || r.Clean().Count != 4 {
		t.Errorf("%d abstentions, clean %v", got, r.Clean())
	}
	if err := r.Contradiction(); err != nil {
		t.Error(err)
	}
	if last := r.Certificates[len(r.Certificates)-1].Radius; last != math.Nextafter(certified.LargestRadius(), 0) {
		t.Errorf("the last certificate is at %g, the largest radius is %g", last, certified.LargestRadius())
	}
	for _, c := range r.Certificates {
		for i, proven := range c.Certified {
			if proven && c.Radius > truth[i] {
				t.Errorf("example %d is certified at %g, its distance is %g", i, c.Radius, truth[i])
			}
		}
	}
	for k, ε := range radii {
		for i, broken := range r.Attacks[k].Success {
			// Near the boundary Predict abstains: PGD goes to the end of the ball, but how far behind is enough is for N to say.
			if broken && ε < truth[i] || !broken && ε > truth[i]+0.05 && r.Predicted[i] >= 0 {
				t.Errorf("example %d at distance %g: broken at %g: %v", i, truth[i], ε, broken)
			}
		}
	}
	if got := r.Robust(advlib.L2.Ball(0.3)).Count; got != 1 {
		t.Errorf("%d stand at 0.3, want 1", got)
	}

	other := *certified
	other.Sigma = 0.5
	for _, test := range []struct {
		name    string
		r       *smooth.Certified
		e       *advlib.Examples
		attacks []advlib.Attack
		want    string
	}{
		{"no report", nil, e, attacks, "certify the examples first"},
		{"no attacks", certified, e, nil, "no attacks"},
		{"another σ", &other, e, attacks, "σ = 0.5"},
		{"other examples", certified, e.First(2), attacks, "not of these 2"},
	} {
		if _, err := s.Attacked(t.Context(), test.r, test.e, test.attacks...); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: the error is %v, want one with %q", test.name, err, test.want)
		}
	}
}
