package certify

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/attacktest"
)

// TestComplete: beside a weak attack and bounds that leave examples open, complete verification decides each, and both
// sides of the report meet.
func TestComplete(t *testing.T) {
	ref, err := attacktest.LoadReference("mlp-digits", goBackend(t))
	if err != nil {
		t.Fatal(err)
	}
	ball := advlib.Linf.Ball(0.05)
	complete := Complete{Timeout: 2 * time.Minute}
	weak := []advlib.Attack{attack.FGM{Ball: ball}}
	all := advlib.MustEvaluate(t.Context(), ref.Classifier, ref.Examples, weak, CROWN)
	var open []int // and the first that CROWN proves
	for i, v := range all.Verdicts(ball) {
		if len(open) < 8 && (v.Status == advlib.Unknown || len(open) == 0 && v.Status == advlib.Verified) {
			open = append(open, i)
		}
	}
	e := ref.Examples.Select(open)
	r, err := advlib.Evaluate(t.Context(), ref.Classifier, e, weak, CROWN, complete)
	if err != nil {
		t.Fatal(err)
	}
	v, err := Verify(t.Context(), ref.Classifier, e, ball, Options(complete))
	if err != nil {
		t.Fatal(err)
	}
	falsified := 0
	c := r.Certificates[1]
	for i, verdict := range v.Decisions {
		found := float64(c.Distance[i]) <= ball.Radius
		if c.Certified[i] != (verdict.Status == advlib.Verified) || found != (verdict.Status == advlib.Falsified) ||
			found && r.Verdicts(ball)[i].Status != advlib.Falsified {
			t.Errorf("example %d: %v, certified %v, counterexample at %g", i, verdict, c.Certified[i], c.Distance[i])
		}
		if found && float64(r.Attacks[0].Distance[i]) > ball.Radius {
			falsified++
		}
	}
	byCROWN, _ := r.CertifiedBy("CROWN", ball)
	certified, _ := r.Certified(ball)
	if certified != r.Robust(ball) || byCROWN.Count >= certified.Count || falsified == 0 {
		t.Errorf("CROWN certifies %v, all %v, robust %v, %d counterexamples beyond the attack: want that all is decided, and something left by "+
			"each", byCROWN, certified, r.Robust(ball), falsified)
	}
	for _, want := range []string{"certified by complete (2m0s)", "worst case over attacks", "and counterexamples of certifiers"} {
		if !strings.Contains(r.String(), want) {
			t.Errorf("no %q in\n%v", want, r)
		}
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back advlib.Report
	if err := json.Unmarshal(text, &back); err != nil || back.Robust(ball) != r.Robust(ball) {
		t.Errorf("read back: robust %v, %v", back.Robust(ball), err)
	}
}

func TestCompleteString(t *testing.T) {
	for want, c := range map[string]Complete{
		"complete (1m0s)":                          {},
		"complete (10s)":                           {Timeout: 10 * time.Second, Method: CROWN},
		"complete (no time limit, 100 boxes)":      {Timeout: -1, Cells: 100},
		"complete (α-CROWN, 1m0s)":                 {Method: AlphaCROWN},
		"complete (real, 1m0s)":                    {Method: IBP.In(RealArithmetic)},
		"complete (CROWN (real arithmetic), 1m0s)": {Method: CROWN.In(RealArithmetic)},
		"complete (CROWN-IBP (zero line), 1m0s)":   {Method: CROWNIBP.WithLine(Zero)},
	} {
		if got := c.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// What a certifier cannot answer is refused before an attack runs.
func TestCheckedBeforeAttacks(t *testing.T) {
	ref, err := attacktest.LoadReference("mlp-digits", goBackend(t))
	if err != nil {
		t.Fatal(err)
	}
	e := ref.Examples.First(2)
	linf, l0 := advlib.Linf.Ball(0.05), advlib.L0.Ball(1)
	for want, evaluate := range map[string]func(advlib.Settings) error{
		"no bounds over L0 balls": func(s advlib.Settings) error {
			s.Balls = []advlib.Ball{l0}
			_, err := s.Evaluate(t.Context(), ref.Classifier, e, []advlib.Attack{attack.PGD{Ball: linf}}, IBP)
			return err
		},
		"write 60*time.Second": func(s advlib.Settings) error {
			_, err := s.Evaluate(t.Context(), ref.Classifier, e, []advlib.Attack{attack.PGD{Ball: linf}}, Complete{Timeout: 60})
			return err
		},
	} {
		progress := func(p advlib.Progress) { t.Errorf("%s: %+v ran", want, p) }
		if err := evaluate(advlib.Settings{OnProgress: progress}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want one with %q", err, want)
		}
	}
}
