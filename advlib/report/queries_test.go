package report_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"advlab/advlib/report"
)

// madeQueries is a report by hand of a local model: 6 examples of which the last is misclassified, an attack with
// gradients in a ball, one by questions in the same ball that breaks two more, and one by questions for the nearest.
func madeQueries() *report.Report {
	inf := report.Distance(math.Inf(1))
	all, none := slices.Repeat([]bool{true}, 6), make([]bool, 6)
	step := func(query int, d report.Distance) report.Improvement {
		return report.Improvement{Query: query, Distance: d}
	}
	return &report.Report{
		Classifier: "cnn & co", Data: "digits/test", Backend: "go", Box: report.UnitBox, Asked: []report.Ball{},
		Index: []int64{0, 1, 2, 3, 4, 5}, Label: []int32{0, 1, 2, 3, 4, 5}, Predicted: []int32{0, 1, 2, 3, 4, 0},
		Attacks: []report.AttackRow{
			{
				Name: "PGD-40 Linf ≤ 0.1", Norm: "Linf", Radius: 0.1, Goal: "untargeted", Attempted: all, Skipped: none,
				Success: []bool{true, false, false, false, false, true}, Distance: []report.Distance{0.1, inf, inf, inf, inf, 0},
				Forward: 150, Backward: 145, Seconds: 1,
			},
			{
				Name: "Square-1000 Linf ≤ 0.1", Norm: "Linf", Radius: 0.1, Goal: "untargeted", Attempted: all, Skipped: none,
				Success: []bool{true, true, true, false, false, true}, Distance: []report.Distance{0.1, 0.1, 0.1, inf, inf, 0},
				Forward: 2450, Seconds: 2, Queries: []int{13, 41, 406, 1000, 1000, 1}, Sent: 2455,
				Progress: [][]report.Improvement{{step(12, 0.1)}, {step(40, 0.1)}, {step(405, 0.1)}, nil, nil, {step(1, 0)}},
			},
			{
				Name: "HopSkipJump-500 L2 minimal", Norm: "L2", Radius: inf, Goal: "untargeted", Attempted: all, Skipped: none,
				Success: []bool{true, true, true, true, true, true}, Distance: []report.Distance{0.5, 0.25, 1, 0.125, 2, 0},
				Forward: 2490, Seconds: 3, Queries: []int{500, 500, 500, 500, 500, 1}, Shared: 7, Sent: 2600,
				Progress: [][]report.Improvement{{step(2, 4), step(60, 1), step(480, 0.5)}, {step(15, 2), step(300, 0.25)},
					{step(3, 1)}, {step(2, 3), step(99, 0.125)}, {step(450, 2)}, {step(1, 0)}},
			},
		},
		Originals: 6, Price: 1.5,
		Sanity:  report.Sanity{ZeroGradient: report.Rate{Of: 5}, Unbounded: report.Rate{Count: 5, Of: 5}},
		Seconds: 6,
	}
}

func TestQueriesString(t *testing.T) { golden(t, "queries.txt", madeQueries().String()) }

func TestQueriesHTML(t *testing.T) {
	text := madeQueries().HTML()
	golden(t, "queries.html", text)
	d := xml.NewDecoder(strings.NewReader(text))
	d.Strict = false
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(text, "<svg"); n != 2 {
		t.Errorf("%d pictures of 2 curves", n)
	}
}

func TestQueriesJSON(t *testing.T) {
	r := madeQueries()
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "queries.json", string(text)+"\n")
	var back report.Report
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if back.String() != r.String() {
		t.Errorf("what is read has other lines:\n%s", cmp.Diff(r.String(), back.String()))
	}
	for _, change := range []func(r *report.Report){
		func(r *report.Report) { r.Attacks[1].Queries = r.Attacks[1].Queries[1:] },
		func(r *report.Report) { r.Attacks[1].Progress = nil },
	} {
		r := madeQueries()
		change(r)
		if text, err := json.Marshal(r); err != nil || json.Unmarshal(text, &back) == nil {
			t.Errorf("a report whose queries do not fit its examples is read (%v)", err)
		}
	}
	var i report.Improvement
	for _, bad := range []string{"[1]", "3", `["a", 1]`, `[1, "b"]`} {
		if json.Unmarshal([]byte(bad), &i) == nil {
			t.Errorf("%s is read as an improvement", bad)
		}
	}
}

// The numbers of the curves, counted by hand.
func TestCurve(t *testing.T) {
	r := madeQueries()
	at := func(k, queries int) report.After {
		curve := r.Attacks[k].Curve()
		i := slices.IndexFunc(curve, func(p report.After) bool { return p.Queries == queries })
		if i < 0 {
			t.Fatalf("no point at %d queries in %v", queries, curve)
		}
		return curve[i]
	}
	for _, c := range []struct {
		attack, queries, count int
		low, median, high      float64
	}{
		{1, 10, 0, math.Inf(1), math.Inf(1), math.Inf(1)}, {1, 20, 1, 0.1, math.Inf(1), math.Inf(1)}, {1, 500, 3, 0.1, 0.1, math.Inf(1)},
		{1, 1000, 3, 0.1, 0.1, math.Inf(1)}, {2, 10, 3, 1, 4, math.Inf(1)}, {2, 100, 4, 0.125, 1, math.Inf(1)}, {2, 500, 5, 0.125, 0.5, 2},
	} {
		want := report.After{Queries: c.queries, Success: report.Rate{Count: c.count, Of: 5}, Low: c.low, Median: c.median, High: c.high}
		if got := at(c.attack, c.queries); got != want {
			t.Errorf("attack %d after %d queries: %+v, want %+v", c.attack, c.queries, got, want)
		}
	}
	if curve := r.Attacks[0].Curve(); curve != nil {
		t.Errorf("an attack with gradients has the curve %v", curve)
	}
}

// Attacks by questions that break more than those with gradients are flagged, and nothing else is.
func TestBeside(t *testing.T) {
	r := madeQueries()
	all := r.Beside()
	if len(all) != 2 || !all[0].BlackBoxWins() && !all[1].BlackBoxWins() {
		t.Fatalf("comparisons %v: want Square ahead in the ball, and nothing beside HopSkipJump", all)
	}
	s := r.String()
	if strings.Count(s, "BLACK BOX WINS") != 1 || !strings.Contains(s, "no attack with gradients was run beside HopSkipJump") {
		t.Errorf("the report says:\n%s", s)
	}
	r.Cascade = true // those behind had only what was left
	if s := r.String(); !strings.Contains(s, "of what was left to them") || strings.Contains(s, "by questions alone 60") {
		t.Errorf("the report of a cascade says:\n%s", s)
	}
	flagged := func(change func(r *report.Report)) bool {
		r := madeQueries()
		change(r)
		return strings.Contains(r.String(), "BLACK BOX WINS")
	}
	pgd := func(r *report.Report) *report.AttackRow { return &r.Attacks[0] }
	for what, change := range map[string]func(r *report.Report){
		"one more, which may be luck": func(r *report.Report) { pgd(r).Success[3], pgd(r).Distance[3] = true, 0.1 },
		"PGD skipped what Square had broken": func(r *report.Report) {
			pgd(r).Skipped = []bool{false, true, true, false, false, false}
			pgd(r).Attempted = []bool{true, false, false, true, true, true}
		},
		"no model to look into": func(r *report.Report) { r.Sanity = report.Sanity{NotApplicable: "no graph"} },
		"no gradient":           func(r *report.Report) { r.Sanity = report.Sanity{NoGradient: []string{"Round"}} },
		"targeted":              func(r *report.Report) { r.Attacks[1].Targeted = true },
	} {
		if flagged(change) {
			t.Errorf("%s: flagged", what)
		}
	}
	// Without a ball, the two are compared at the median distance of those with gradients.
	if !flagged(func(r *report.Report) {
		r.Attacks[0], r.Attacks[1] = r.Attacks[2], r.Attacks[2]
		r.Attacks[0].Queries, r.Attacks[0].Progress = nil, nil
		r.Attacks[0].Distance = []report.Distance{0.6, 0.3, 1.1, 0.7, 2.1, 0}
		r.Attacks = append(r.Attacks[:2:2], r.Attacks[2])
		r.Attacks[1].Distance = []report.Distance{0.5, 0.25, 0.55, 0.125, 0.65, 0}
	}) {
		t.Error("nearer examples by questions are not flagged")
	}
}

func TestQueriesMerge(t *testing.T) {
	a, b := madeQueries(), madeQueries()
	m, err := a.Merge(b)
	if err != nil {
		t.Fatal(err)
	}
	got := m.Attacks[1]
	if len(got.Queries) != 12 || len(got.Progress) != 12 || got.Sent != 2*2455 || m.Originals != 12 || m.Attacks[0].Asks() {
		t.Errorf("merged: %+v, %d originals", got, m.Originals)
	}
	b.Attacks[1].Queries, b.Attacks[1].Progress = nil, nil // it came to none of these
	if m, err = a.Merge(b); err != nil || len(m.Attacks[1].Queries) != 12 || m.Attacks[1].Queries[0] != 13 {
		t.Errorf("merged with a part that it did not come to: %v, %v", m.Attacks[1].Queries, err)
	}
}
