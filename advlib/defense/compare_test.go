package defense_test

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/certify"
	"advlab/advlib/dataset"
	"advlab/advlib/defense"
	"advlab/advlib/report"
	"advlab/advlib/transform"
	"advlab/advlib/zoo"
)

// own is a defence of a user's own: an attack that does nothing is its naive one.
type own struct{ of *advlib.Classifier }

func (own) String() string          { return "my own" }
func (o own) Victim() advlib.Victim { return o.of }
func (own) Naive(b advlib.Ball) advlib.Attack {
	return attack.PGD{Ball: b, Steps: 1, StepSize: 1e-6, NoRandomStart: true}
}
func (own) Adaptive(b advlib.Ball) advlib.Attack {
	return attack.PGD{Ball: b, Steps: 20, Loss: advlib.Margin}
}

// nothing certifies nothing.
type nothing struct{}

func (nothing) String() string { return "nothing" }
func (nothing) Certify(_ context.Context, _ *advlib.Classifier, e *advlib.Examples, _ advlib.Ball) ([]bool, error) {
	return make([]bool, e.Len()), nil
}

// certified is own with a certifier of its own.
type certified struct{ own }

func (certified) Certifiers(advlib.Ball) []advlib.Certifier { return []advlib.Certifier{nothing{}} }

func TestCompare(t *testing.T) {
	train, test := dataset.Digits()
	test = test.First(40)
	ball := advlib.Linf.Ball(0.02)
	m := zoo.MLP(20)
	natural := defense.MustTrain(t.Context(), defense.Natural{}, m, train)
	c := natural.Classifier
	all := []defense.Defended{
		own{c}, certified{own{c}}, transform.MustBefore(c, transform.BitDepth{Bits: 4}), transform.MustBefore(c, transform.Noise{Sigma: 0.1}),
		defense.MustTrain(t.Context(), cheap{}, m, train),
	}
	cmp := defense.MustCompare(t.Context(), test, ball, all, certify.IBP)
	t.Logf("%v", cmp)
	if len(cmp.Rows) != len(all) {
		t.Fatalf("%d rows for %d defences", len(cmp.Rows), len(all))
	}
	for i, row := range cmp.Rows {
		naive, _, known := row.Naive(ball)
		adaptive, name, too := row.Adaptive(ball)
		if !known || !too || name != row.Report.Attacks[1].Name || row.Prediction <= 0 {
			t.Errorf("%s: %v, %v, %q, %v", row.Defence, naive, adaptive, name, row.Prediction)
		}
		// The same attack by itself.
		alone := advlib.Settings{Alone: true}.MustEvaluate(t.Context(), all[i].Victim(), test, []advlib.Attack{all[i].Adaptive(ball)})
		if i != 3 && alone.Robust(ball) != adaptive { // a random one has other draws
			t.Errorf("%s: adaptive %v, alone %v", row.Defence, adaptive, alone.Robust(ball))
		}
		_, asked := row.Report.Certified(ball)
		if trained := !math.IsNaN(float64(row.Training)); asked != (i != 3) || trained != (i == 4) {
			t.Errorf("%s: certified %v, trained %v (%v)", row.Defence, asked, trained, row.Training)
		}
	}
	if methods := cmp.Rows[1].Report.Methods("Linf"); len(methods) != 1 || methods[0] != "nothing" {
		t.Errorf("a defence with a certifier of its own is certified by %q", methods)
	}
	if cmp.Rows[3].Report.Draws != 20 {
		t.Errorf("noise is judged by %d draws", cmp.Rows[3].Report.Draws)
	}
	text, err := json.Marshal(cmp)
	if err != nil {
		t.Fatal(err)
	}
	var read report.Comparison
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	if again, err := json.Marshal(&read); err != nil || !bytes.Equal(text, again) || read.String() != cmp.String() {
		t.Errorf("what was read is not what was written: %v", err)
	}
	for _, form := range []string{cmp.String(), cmp.HTML()} {
		for _, want := range []string{"my own", "adaptive", "noise σ = 0.1: naive PGD-40", "40 examples"} {
			if !strings.Contains(form, want) {
				t.Errorf("%q is not in\n%s", want, form)
			}
		}
	}
	err = json.Unmarshal([]byte(`{"schema":"advlab.report/2"}`), &read)
	if err == nil || !strings.Contains(err.Error(), "advlab.comparison/1") {
		t.Errorf("a report is read as a comparison: %v", err)
	}
}

// cheap is natural training, judged by cheaper attacks.
type cheap struct{ defense.Natural }

func (cheap) Attacks(c *advlib.Classifier, b advlib.Ball) (naive, adaptive advlib.Attack) {
	return own{c}.Naive(b), own{c}.Adaptive(b)
}

func TestCompareRefuses(t *testing.T) {
	_, test := dataset.Digits()
	for want, all := range map[string][]defense.Defended{"no defences": nil, "defence 0 of 1 is nil": {nil}} {
		if _, err := defense.Compare(t.Context(), test, advlib.Linf.Ball(0.1), all); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", all, err)
		}
	}
	if _, err := defense.Compare(t.Context(), test, advlib.Ball{}, []defense.Defended{own{}}); err == nil {
		t.Error("a ball without a norm is taken")
	}
}

// TestAttacksOfMethods: each method's two attacks fit what it trains, and differ.
func TestAttacksOfMethods(t *testing.T) {
	train, _ := dataset.Digits()
	c := zoo.MLP(20).MustFit(t.Context(), train)
	ball := advlib.Linf.Ball(0.1)
	for _, m := range []defense.Method{defense.Natural{}, defense.AdversarialTraining{Ball: ball}, defense.TRADES{Ball: ball},
		defense.MART{Ball: ball}, defense.Free{Ball: ball}, defense.Fast{Ball: ball}, defense.Distillation{T: 100},
		defense.ByObjective{Objective: defense.AWP{}, Adversary: defense.AdversarialTraining{Ball: ball}}} {
		naive, adaptive := m.Attacks(c, ball)
		if m.String() == "" || naive.String() == adaptive.String() {
			t.Errorf("%v is judged by %v and %v", m, naive, adaptive)
		}
		for _, a := range []advlib.Attack{naive, adaptive} {
			if threat, err := a.Threat(c); err != nil || threat.Radius != ball.Radius {
				t.Errorf("%v: %v: %v, %v", m, a, threat, err)
			}
		}
	}
	withTwo := zoo.MLP(4)
	withTwo.Adversary = defense.AdversarialTraining{Ball: ball}
	if _, err := (defense.ByObjective{Objective: defense.AWP{}}).Fit(t.Context(), withTwo, train); err == nil ||
		!strings.Contains(err.Error(), "leave them out") {
		t.Errorf("a model with an adversary: %v", err)
	}
}
