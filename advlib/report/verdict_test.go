package report_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"advlab/advlib/report"
)

// judged is a report by hand on 6 examples: 0 verified by both methods, 1 by CROWN only, 2 unknown, 3 broken, 4 broken
// beyond the ball, 5 misclassified.
func judged() *report.Report {
	inf := report.Distance(math.Inf(1))
	return &report.Report{
		Classifier: "mlp", Data: "digits/test", Backend: "go", Box: report.UnitBox, Asked: []report.Ball{},
		Index: []int64{10, 11, 12, 13, 14, 15}, Label: []int32{0, 1, 2, 3, 4, 5}, Predicted: []int32{0, 1, 2, 3, 4, 0},
		Attacks: []report.AttackRow{
			{
				Name: "PGD Linf ≤ 0.1", Norm: "Linf", Radius: 0.1, Attempted: make([]bool, 6), Skipped: make([]bool, 6),
				Success: []bool{false, false, false, true, false, true}, Distance: []report.Distance{inf, inf, inf, 0.1, inf, 0},
			},
			{
				Name: "FMN Linf", Norm: "Linf", Radius: inf, Attempted: make([]bool, 6), Skipped: make([]bool, 6),
				Success: []bool{true, true, false, true, true, true}, Distance: []report.Distance{0.4, 0.25, inf, 0.07, 0.12, 0},
			},
		},
		Certificates: []report.CertifierRow{
			{Method: "IBP", Norm: "Linf", Radius: 0.1, Certified: []bool{true, false, false, false, false, false}, Margin: []report.Bound{0.5, -0.5, -3, -4, -5, -6}, Rounding: "float32-any-order"},
			{Method: "CROWN", Norm: "Linf", Radius: 0.1, Certified: []bool{true, true, false, false, false, false}, Margin: []report.Bound{0.75, 0.25, -0.125, -2, -1, -6.5}, Rounding: "float32-any-order"},
			{Method: "half-space", Norm: "Linf", Radius: 0.2, Certified: []bool{true, false, false, false, false, false}},
		},
	}
}

func TestVerdicts(t *testing.T) {
	r := judged()
	none := math.Inf(-1)
	want := []struct {
		status   report.Status
		method   string
		margin   float64
		attack   string
		distance float64
	}{
		{report.Verified, "CROWN", 0.75, "", math.Inf(1)},
		{report.Verified, "CROWN", 0.25, "", math.Inf(1)},
		{report.Unknown, "CROWN", -0.125, "", math.Inf(1)},
		{report.Falsified, "CROWN", -2, "FMN Linf", 0.07},
		{report.Unknown, "CROWN", -1, "", math.Inf(1)},
		{report.Falsified, "IBP", -6, "none", 0},
	}
	ball := within(report.Linf, 0.1)
	count := map[report.Status]int{}
	for i, v := range r.Verdicts(ball) {
		w := want[i]
		count[v.Status]++
		if v.Example != r.Index[i] || v.Label != r.Label[i] || v.Predicted != r.Predicted[i] || v.Status != w.status ||
			v.Method != w.method || float64(v.Margin) != w.margin || v.Attack != w.attack || float64(v.Distance) != w.distance {
			t.Errorf("example %d: %+v, want %+v", i, v, w)
		}
	}
	// The shares follow from the verdicts.
	if certified, _ := r.Certified(ball); certified.Count != count[report.Verified] || r.Robust(ball).Count != 6-count[report.Falsified] {
		t.Errorf("%v beside certified %v, robust %v", count, certified, r.Robust(ball))
	}
	// Only the proof without margins covers the larger ball, in which more is broken.
	larger := r.Verdicts(within(report.Linf, 0.2))
	if v := larger[0]; v.Status != report.Verified || v.Method != "half-space" || float64(v.Margin) != none {
		t.Errorf("at 0.2: %+v", v)
	}
	if v := larger[4]; v.Status != report.Falsified || v.Attack != "FMN Linf" {
		t.Errorf("at 0.2: %+v", v)
	}
	if v := r.Verdicts(within(report.L2, 0.1))[0]; v.Status != report.Unknown || v.Method != "" {
		t.Errorf("in L2, where nothing was asked: %+v", v)
	}
	if alone, asked := r.CertifiedBy("IBP", ball); !asked || alone.Count != 1 {
		t.Errorf("by IBP alone %v, %v", alone, asked)
	}
	if alone, asked := r.CertifiedBy("IBP", within(report.Linf, 0.2)); asked || alone.Count != 0 {
		t.Errorf("by IBP alone in a ball that it was not asked for: %v, %v", alone, asked)
	}
}

// The verdicts are in the JSON, for the balls that certificates were asked for, and are no part of what is read.
// What a certifier finds beside its proofs breaks an example as an attack does, in every ball that holds it.
func TestCounterexamples(t *testing.T) {
	r := judged()
	inf := report.Distance(math.Inf(1))
	r.Certificates[2].Distance = []report.Distance{inf, inf, 0.08, 0.06, 0.15, 0}
	for radius, want := range map[float64]int{0.05: 5, 0.07: 4, 0.08: 3, 0.1: 3, 0.12: 2} {
		if got := r.Robust(within(report.Linf, radius)); got.Count != want {
			t.Errorf("robust at %g: %v, want %d", radius, got.Count, want)
		}
	}
	ball := within(report.Linf, 0.1)
	for i, want := range map[int]struct {
		by string
		at report.Distance
	}{1: {"", inf}, 2: {"half-space", 0.08}, 3: {"half-space", 0.06}, 4: {"", inf}, 5: {"none", 0}} {
		if v := r.Verdicts(ball)[i]; v.Attack != want.by || v.Distance != want.at || (v.Status == report.Falsified) != (want.by != "") {
			t.Errorf("example %d: %+v, want broken by %q at %g", i, v, want.by, want.at)
		}
	}
	twice, err := r.Merge(r)
	if err != nil || len(twice.Certificates[2].Distance) != 12 || twice.Robust(ball).Count != 6 {
		t.Errorf("merged: %+v, %v", twice, err)
	}
	if s := r.String(); !strings.Contains(s, "and counterexamples of certifiers") || strings.Contains(judged().String(), "counterexamples") {
		t.Errorf("the table is\n%s", s)
	}
	r.Certificates[2].Distance = r.Certificates[2].Distance[1:]
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, new(report.Report)); err == nil ||
		!strings.Contains(err.Error(), "distance of half-space has 5 entries for 6 labels") {
		t.Errorf("the error is %v", err)
	}
}

// A ball that was left out is an error that says so.
func TestUnsetBall(t *testing.T) {
	r := judged()
	for name, ask := range map[string]func(){
		"Robust": func() { r.Robust(report.Ball{}) }, "Certified": func() { r.Certified(report.Ball{}) },
		"Verdicts": func() { r.Verdicts(report.Ball{}) },
	} {
		func() {
			defer func() {
				if err, ok := recover().(error); !ok || !strings.Contains(err.Error(), "the ball is unset") {
					t.Errorf("%s: the panic is %v", name, err)
				}
			}()
			ask()
		}()
	}
}

func TestVerdictsJSON(t *testing.T) {
	text, err := json.Marshal(judged())
	if err != nil {
		t.Fatal(err)
	}
	var j struct {
		Verdicts []struct {
			Norm   string
			Radius float64
			Status []string
			Margin []*float64
			Method []string
			Attack []string
		}
	}
	if err := json.Unmarshal(text, &j); err != nil {
		t.Fatal(err)
	}
	if len(j.Verdicts) != 1 || j.Verdicts[0].Norm != "Linf" || j.Verdicts[0].Radius != 0.1 ||
		strings.Join(j.Verdicts[0].Status, " ") != "verified verified unknown falsified unknown falsified" ||
		*j.Verdicts[0].Margin[1] != 0.25 || j.Verdicts[0].Method[2] != "CROWN" || j.Verdicts[0].Attack[3] != "FMN Linf" {
		t.Errorf("verdicts %+v", j.Verdicts)
	}
	var back report.Report
	if err := json.Unmarshal(text, &back); err != nil || len(back.Verdicts(within(report.Linf, 0.1))) != 6 {
		t.Errorf("read back: %v", err)
	}
	broken := judged()
	broken.Attacks[0].Success = nil
	if text, err := json.Marshal(broken); err != nil || !strings.Contains(string(text), `"verdicts":[]`) {
		t.Errorf("a report whose parts do not fit together: %v, %s", err, text)
	}
}

func TestContradiction(t *testing.T) {
	if err := judged().Contradiction(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		change func(r *report.Report)
		want   string // "" if there is none
	}{
		{"misclassified", func(r *report.Report) { r.Certificates[1].Certified[5] = true },
			"CROWN certifies example 15 (label 5) for Linf ≤ 0.1, but without any change it is classified as 0"},
		{"broken", func(r *report.Report) { r.Certificates[0].Certified[3] = true },
			"IBP certifies example 13 (label 3) for Linf ≤ 0.1, but PGD Linf ≤ 0.1 changed its class at the Linf distance 0.1"},
		{"broken by minimal norm", func(r *report.Report) { r.Certificates[2].Certified[4] = true },
			"half-space certifies example 14 (label 4) for Linf ≤ 0.2, but FMN Linf changed its class at the Linf distance 0.12"},
		{"broken beyond the ball", func(r *report.Report) { r.Certificates[1].Certified[4] = true }, ""},
		{"targeted", func(r *report.Report) {
			r.Certificates[0].Certified[3], r.Attacks[0].Targeted, r.Attacks[1].Targeted = true, true, true
		}, ""},
		{"broken in a norm whose ball lies inside", func(r *report.Report) {
			r.Attacks[1].Norm, r.Attacks[1].Distance[0] = "L2", 0.15
		}, "half-space certifies example 10 (label 0) for Linf ≤ 0.2, but FMN Linf changed its class at the L2 distance 0.15"},
		{"broken in a norm whose ball does not", func(r *report.Report) {
			r.Attacks[1].Distance[0] = 0.05
			r.Certificates = []report.CertifierRow{{Method: "CROWN", Norm: "L2", Radius: 0.1, Certified: r.Certificates[0].Certified}}
		}, ""},
		{"broken by another certifier", func(r *report.Report) {
			r.Certificates[2].Distance = []report.Distance{0.3, 0.09, 0.3, 0.3, 0.3, 0.3}
		}, "CROWN certifies example 11 (label 1) for Linf ≤ 0.1, but half-space changed its class at the Linf distance 0.09"},
		{"pixels", func(r *report.Report) { r.Attacks[1].Norm, r.Attacks[1].Distance[0] = "L0", 0.1 }, ""},
		{"in a domain, another norm", func(r *report.Report) {
			r.Domain, r.Attacks[1].Norm, r.Attacks[1].Distance[0] = "2 features", "L2", 0.15
		}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := judged()
			test.change(r)
			err := r.Contradiction()
			if test.want == "" && err != nil ||
				test.want != "" && (!errors.Is(err, report.ErrContradiction) || !strings.HasSuffix(err.Error(), test.want)) {
				t.Errorf("the error is %v, want one with %q", err, test.want)
			}
		})
	}
}
