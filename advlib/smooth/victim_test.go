package smooth_test

import (
	"slices"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/backend"
	"advlab/advlib/certify"
	"advlab/advlib/smooth"
)

// One report of a smoothed half-line, whose true robust radius is the distance from 1/2: what is certified is below it,
// what is broken above it, an input on the boundary is rejected, and no number is the base classifier's.
func TestVictim(t *testing.T) {
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
	surrogate, err := s.Surrogate(16)
	if err != nil {
		t.Fatal(err)
	}
	g := s.Victim()
	radii := []float64{0.05, 0.15, 0.3}
	var attacks []advlib.Attack
	for _, ε := range radii {
		attacks = append(attacks, attack.Transfer{From: surrogate, Attack: attack.PGD{Ball: advlib.L2.Ball(ε), Steps: 10}})
	}
	r, err := advlib.Evaluate(t.Context(), g, e, attacks, g, certify.CROWN)
	if err != nil {
		t.Fatal(err)
	}
	if r.Abstained().Count != 1 || r.Clean().Count != 4 || r.Classifier != "half smoothed, σ = 0.25" {
		t.Errorf("%s: %d abstentions, clean %v", r.Classifier, r.Abstained().Count, r.Clean())
	}
	if len(r.Certificates) != len(radii) {
		t.Fatalf("%d rows of certificates for %d balls: CROWN cannot speak of a smoothed classifier", len(r.Certificates), len(radii))
	}
	certified := 0
	for k, ε := range radii {
		row := r.Certificates[k]
		if row.Method != "smoothing, α = 0.001" || row.Radius != ε {
			t.Errorf("row %d is of %s at %g", k, row.Method, row.Radius)
		}
		for i, d := range truth {
			if row.Certified[i] {
				certified++
			}
			if row.Certified[i] && ε > d || !row.Certified[i] && ε < d-0.05 {
				t.Errorf("example %d at distance %g is certified for %g: %v", i, d, ε, row.Certified[i])
			}
			if broken := r.Correct(i) && r.Nearest("L2", i) <= ε; broken && ε < d {
				t.Errorf("example %d at distance %g is broken within %g", i, d, ε)
			}
		}
	}
	if broken := r.Clean().Count - r.Robust(advlib.L2.Ball(0.3)).Count; certified < 5 || broken < 2 {
		t.Errorf("%d certificates, %d broken within 0.3: too few to tell", certified, broken)
	}
	says := strings.Join(append(slices.Clone(r.Notes), r.Warnings...), "\n")
	for _, want := range []string{"of the smoothed classifier, not of half", "at most 0.001", "CROWN is not applicable"} {
		if !strings.Contains(says, want) {
			t.Errorf("the report does not say %q: %s", want, says)
		}
	}
}

// It certifies itself alone, in L2, and says so before anything is computed.
func TestVictimSpeaksOfItself(t *testing.T) {
	base := halves(t, []float32{1, 0}, -0.5)
	e := points(t, 2, 2)
	s := smooth.Gaussian{Base: base, Sigma: 0.25, N: 1000}
	g, other := s.Victim(), s.Victim()
	settings := advlib.Settings{Balls: []advlib.Ball{advlib.L2.Ball(0.1)}}
	for _, tc := range []struct {
		name string
		of   advlib.Victim
		by   advlib.Certifier
		in   advlib.Settings
		want string
	}{
		{"of the base classifier", base, g, settings, "certifies its own classifier"},
		{"of another victim", other, g, settings, "certifies its own classifier"},
		{"in Linf", g, g, advlib.Settings{Balls: []advlib.Ball{advlib.Linf.Ball(0.1)}}, "certifies L2 balls"},
	} {
		if _, err := tc.in.Evaluate(t.Context(), tc.of, e, nil, tc.by); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
	if _, err := g.Certify(t.Context(), base, e, advlib.L2.Ball(0.1)); err == nil || !strings.Contains(err.Error(), "and not a classifier") {
		t.Errorf("%v", err)
	}
}
