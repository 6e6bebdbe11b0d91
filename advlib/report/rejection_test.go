package report_test

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"advlab/advlib/report"
)

// madeRejection is a report by hand of a classifier behind a detector with the threshold 5: 40 examples, of which 0 and
// 1 are rejected and 2 is misclassified. The score of an original is its number modulo 5, but 6 of the first two. A
// naive attack changes the class of all but the last seven of the 37 that stand, at two radii, and is rejected on all
// but four; an adaptive one changes as many, and is rejected on six.
func madeRejection() *report.Report {
	const n = 40
	inf := report.Distance(math.Inf(1))
	r := &report.Report{
		Classifier: "cnn, screened by <LID>", Data: "digits/test", Backend: "go", Box: report.UnitBox, Asked: []report.Ball{},
		Rejection: &report.Rejection{Detector: "<LID>", Threshold: 5, Rate: 0.05},
		Sanity:    report.Sanity{ZeroGradient: report.Rate{Of: 37}, Unbounded: report.Rate{Count: 37, Of: 37}},
		Seconds:   6,
	}
	for i := range n {
		class, score := int32(1), report.Score(i%5)
		switch i {
		case 0, 1:
			score = 6
		case 2:
			class = 0
		}
		predicted := class
		if score > 5 {
			predicted = -1
		}
		r.Index, r.Label, r.Predicted = append(r.Index, int64(i)), append(r.Label, 1), append(r.Predicted, predicted)
		r.Rejection.Class, r.Rejection.Score = append(r.Rejection.Class, class), append(r.Rejection.Score, score)
	}
	attack := func(name string, radius report.Distance, adaptive bool, changed, seen int) {
		a := report.AttackRow{Name: name, Norm: "Linf", Radius: radius, Goal: "untargeted", Skipped: make([]bool, n), Forward: 370, Backward: 370,
			Screened: &report.Screened{Adaptive: adaptive, Class: slices.Clone(r.Rejection.Class), Score: slices.Clone(r.Rejection.Score)}}
		for i := range n {
			a.Attempted, a.Success, a.Distance = append(a.Attempted, i >= 2), append(a.Success, i == 2), append(a.Distance, inf)
			if i == 2 {
				a.Distance[i] = 0
			}
			if i < 3 || i >= 3+changed {
				continue
			}
			a.Screened.Class[i], a.Screened.Score[i] = 7, report.Score(4+float64(i%3)/4)
			if i < 3+seen {
				a.Screened.Score[i] = report.Score(6 + i%4)
				continue
			}
			a.Success[i], a.Distance[i] = true, radius
		}
		r.Attacks = append(r.Attacks, a)
	}
	attack("PGD-40 Linf ≤ 0.1, transferred from cnn", 0.1, false, 15, 11)
	attack("PGD-40 Linf ≤ 0.2, transferred from cnn", 0.2, false, 30, 26)
	attack("adaptive (PGD-40 Linf ≤ 0.2, Margin; evasion-100 Linf ≤ 0.2; evasion-100 Linf ≤ 0.2, orthogonal)", 0.2, true, 30, 6)
	r.Attacks[1].Screened.Score[3] = report.Score(math.NaN()) // is rejected, and counts as the highest
	r.Rejection.Reductions = []report.Reduction{
		{Ball: within("Linf", 0.1), Robust: r.Robust(within("Linf", 0.1)), Classifier: "cnn, hardened", Attack: "AutoAttack Linf ≤ 0.05",
			Best: report.Rate{Count: 10, Of: n}},
		{Ball: within("Linf", 0.2), Robust: r.Robust(within("Linf", 0.2)), Classifier: "cnn, hardened", Attack: "AutoAttack Linf ≤ 0.1",
			Best: report.Rate{Count: 9, Of: n}},
	}
	return r
}

func TestRejection(t *testing.T) {
	r := madeRejection()
	rate := func(k, of int) report.Rate { return report.Rate{Count: k, Of: of} }
	for _, test := range []struct {
		what      string
		got, want report.Rate
	}{
		{"clean", r.Clean(), rate(37, 40)},
		{"without the detector", r.WithoutDetector(), rate(39, 40)},
		{"rejected", r.Rejected(), rate(2, 40)},
		{"robust at 0.1", r.Robust(within("Linf", 0.1)), rate(33, 40)}, // four that the naive attack finds are accepted
		{"robust at 0.2", r.Robust(within("Linf", 0.2)), rate(13, 40)}, // 24 by the adaptive one, among them those four
	} {
		if test.got != test.want {
			t.Errorf("%s: %+v, want %+v", test.what, test.got, test.want)
		}
	}
	for k, want := range [][2]report.Rate{{rate(15, 37), rate(11, 15)}, {rate(30, 37), rate(26, 30)}, {rate(30, 37), rate(6, 30)}} {
		if changed, detected := r.Changed(r.Attacks[k]); changed != want[0] || detected != want[1] {
			t.Errorf("%s: %+v changed, %+v detected, want %+v", r.Attacks[k].Name, changed, detected, want)
		}
	}
	// At 0.1 the two that are rejected as they are and 11 more; wrong are example 2 and four.
	for i, want := range [][4]float64{{0, 37, 1, 2}, {0.1, 22, 5, 13}, {0.2, 7, 5, 28}} {
		p := r.RejectionCurve("Linf", false)[i]
		if got := [4]float64{p.Radius, float64(p.Right.Count), float64(p.Wrong.Count), float64(p.Rejected.Count)}; got != want {
			t.Errorf("point %d: %v, want radius, right, wrong, rejected %v", i, got, want)
		}
	}
	if p := r.RejectionCurve("Linf", true); len(p) != 2 || p[1].Wrong.Count != 25 {
		t.Errorf("under the adaptive attack: %+v", p)
	}
	if c := r.RejectionCurve("L2", true); c != nil {
		t.Errorf("nothing was attacked in L2: %+v", c)
	}
	if c := r.ROC(r.Attacks[1]); len(c.Clean) != 40 || len(c.Adversarial) != 30 || !math.IsInf(c.Adversarial[29], 1) {
		t.Errorf("the curve is of %d and %d scores", len(c.Clean), len(c.Adversarial))
	}
	bars, ok := r.Scores()
	sum := 0.
	for _, v := range bars.Naive {
		sum += v
	}
	if !ok || math.Abs(sum-1) > 1e-9 || len(bars.Clean) != report.ScoreBins {
		t.Errorf("histograms %+v", bars)
	}
	golden(t, "rejection.txt", r.String())
	html := r.HTML()
	golden(t, "rejection.html", html)
	if strings.Contains(html, "<LID>") || strings.Count(html, "<svg") != 1 {
		t.Error("a name is not escaped, or there is not one picture")
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	var back report.Report
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	same := cmp.Comparer(func(a, b report.Score) bool { return a == b || a != a && b != b })
	if diff := cmp.Diff(r, &back, same, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("JSON round trip (-before +after):\n%s", diff)
	}
	for _, wrong := range [][2]string{
		{`"score": [`, `"score": [1, `}, {`"threshold": 5`, `"threshold": "high"`}, {`"screened"`, `"scorned"`},
	} {
		bad := strings.Replace(string(text), wrong[0], wrong[1], 1)
		if err := json.Unmarshal([]byte(bad), new(report.Report)); err == nil || bad == string(text) {
			t.Errorf("%s is no error", wrong[1])
		}
	}
	whole, err := r.Merge(madeRejection())
	if err != nil {
		t.Fatal(err)
	}
	if changed, detected := whole.Changed(whole.Attacks[2]); changed != rate(60, 74) || detected != rate(12, 60) ||
		whole.Rejected() != rate(4, 80) || whole.Rejection.Reductions[1].Best != rate(18, 80) {
		t.Errorf("merged: %+v changed, %+v detected", changed, detected)
	}
	other := madeRejection()
	other.Rejection.Threshold = 6
	if _, err := r.Merge(other); err == nil {
		t.Error("reports with two thresholds were merged")
	}
	other.Rejection = nil
	if other.Rejected().Count != 0 || other.WithoutDetector() != other.Clean() || other.ROC(other.Attacks[0]) != nil {
		t.Error("a report without a rejection has one")
	}
}
