package detect_test

import (
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/graph"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/detect"
)

// TestReread: inverted, exactly what was accepted is rejected, the threshold itself included; answers are those of the
// other classifier, scores those of the first; and the attack is the same one on the other.
func TestReread(t *testing.T) {
	c, e := numbers(t)
	s, err := detect.Screen(t.Context(), c, between{}, detect.Data{Train: e, Clean: e, Rate: 0.2})
	if err != nil {
		t.Fatal(err)
	}
	opposite, err := c.Derive("opposite", "opposite", func(m *advlib.Model, x *graph.Node) *graph.Node { return graph.Neg(m.Logits(x)) })
	if err != nil {
		t.Fatal(err)
	}
	ball := advlib.Linf.Ball(0.3)
	pgd := attack.PGD{Ball: ball}
	all := detect.Adaptive{Screen: s, Attacks: []advlib.Attack{
		attack.Transfer{Attack: pgd, From: c}, detect.Joint{Screen: s, Attack: pgd}, &detect.Evasion{Screen: s, Ball: ball},
	}}
	x := e.X
	scores, err := s.Scores(t.Context(), x)
	if err != nil {
		t.Fatal(err)
	}
	said, err := opposite.Query(t.Context(), x)
	if err != nil {
		t.Fatal(err)
	}
	for _, inverted := range []bool{false, true} {
		v, a, err := s.Reread(opposite, e, inverted, all)
		if err != nil {
			t.Fatal(err)
		}
		answers, err := v.Query(t.Context(), x)
		if err != nil {
			t.Fatal(err)
		}
		met := false
		for i, answer := range answers {
			above := scores[i] > s.Threshold
			met = met || scores[i] == s.Threshold
			if rejects := answer.Kind == advlib.Rejected; rejects != (above != inverted) {
				t.Errorf("inverted %t, score %g: rejected %t", inverted, scores[i], rejects)
			} else if !rejects && answer.Class() != said[i].Class() {
				t.Errorf("inverted %t, input %d: class %d, want %d", inverted, i, answer.Class(), said[i].Class())
			}
		}
		if !met {
			t.Error("no score is the threshold itself")
		}
		b := a.(detect.Adaptive)
		on, ok := v.(*detect.Screened)
		if !ok || b.Screen != on || b.Attacks[0].(attack.Transfer).From != opposite || b.Attacks[1].(detect.Joint).Screen != on ||
			b.Attacks[2].(*detect.Evasion).Screen != on {
			t.Errorf("the attack is %v", a)
		}
		if all.Screen != s || all.Attacks[2].(*detect.Evasion).Screen != s || all.Attacks[0].(attack.Transfer).From != c {
			t.Error("the attack that was given is changed")
		}
		adv, err := a.Perturb(t.Context(), advlib.Count(v), advlib.Batch{X: x, Y: e.Y})
		if err != nil || adv.Shape().Dimensions[0] != e.Len() {
			t.Errorf("%v: %v", a, err)
		}
	}
	other, err := detect.Screen(t.Context(), c, between{}, detect.Data{Train: e, Clean: e, Rate: 0.2})
	if err != nil {
		t.Fatal(err)
	}
	for want, test := range map[string]struct {
		to     *advlib.Classifier
		attack advlib.Attack
	}{
		"it evades another detector": {opposite, other.Adaptive(ball)},
		"it works on opposite":       {c, attack.Transfer{Attack: pgd, From: opposite}},
		"give both":                  {nil, all},
		"has no graph":               {opposite, pgd},
	} {
		if _, _, err := s.Reread(test.to, e, true, test.attack); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v instead of %q", err, want)
		}
	}
}
