package show

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"advlab/advlib"
	"advlab/advlib/report"
)

// screenedReport is a report by hand on n examples, all classified rightly: scores of clean inputs are normal, those of
// what a naive attack changes are 3 higher, those of an adaptive one lower.
func screenedReport(n int) *advlib.Report {
	random := rand.New(rand.NewPCG(5, uint64(n)))
	r := &advlib.Report{Classifier: "mlp <100>, screened by LID", Data: "rings/test", Backend: "none", Box: report.UnitBox,
		Rejection: &report.Rejection{Detector: "LID", Threshold: 1.64, Rate: 0.05}}
	for i := range n {
		score := report.Score(random.NormFloat64())
		r.Index, r.Label, r.Predicted = append(r.Index, int64(i)), append(r.Label, 1), append(r.Predicted, 1)
		if score.Above(1.64) {
			r.Predicted[i] = -1
		}
		r.Rejection.Class, r.Rejection.Score = append(r.Rejection.Class, 1), append(r.Rejection.Score, score)
	}
	row := func(name string, adaptive bool, centre float64) {
		a := report.AttackRow{Name: name, Norm: "Linf", Radius: 0.1, Goal: "untargeted", Screened: &report.Screened{Adaptive: adaptive}}
		for range n {
			a.Attempted, a.Success, a.Distance = append(a.Attempted, true), append(a.Success, adaptive), append(a.Distance, 0.1)
			a.Screened.Class = append(a.Screened.Class, 2)
			a.Screened.Score = append(a.Screened.Score, report.Score(centre+random.NormFloat64()))
		}
		r.Attacks = append(r.Attacks, a)
	}
	row("FGM Linf ≤ 0.1, transferred from mlp", false, 2)
	row("PGD-40 Linf ≤ 0.1, transferred from mlp", false, 4)
	row("adaptive (PGD-40 Linf ≤ 0.1, Margin; evasion-100 Linf ≤ 0.1; evasion-100 Linf ≤ 0.1, orthogonal)", true, -0.5)
	return r
}

func TestDetection(t *testing.T) {
	p := must[Picture](t)(Detection(screenedReport(150)))
	goldenPicture(t, "detection", p)
	goldenText(t, "detection.txt", p.String())
	plain, endless := screenedReport(20), screenedReport(20)
	plain.Rejection = nil
	for i := range endless.Label {
		endless.Rejection.Score[i] = report.Score(math.Inf(1))
		for k := range endless.Attacks {
			endless.Attacks[k].Screened.Score[i] = report.Score(math.NaN())
		}
	}
	for want, r := range map[string]*advlib.Report{"no victim that rejects": plain, "no score that is finite": endless} {
		if _, err := Detection(r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
	if _, err := Detection(nil); err == nil {
		t.Error("no report is no error")
	}
	open := screenedReport(20) // nothing is rejected, and nothing was attacked
	open.Rejection.Threshold, open.Attacks = report.Score(math.Inf(1)), nil
	if _, err := Detection(open); err != nil {
		t.Error(err)
	}
}
