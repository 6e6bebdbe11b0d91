package show

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"advlab/advlib"
	"advlab/advlib/report"
)

// askedReport is a report by hand on n examples: of each, distances fall with the queries as √(unit/q), from query
// first on.
func askedReport(victim string, n int) *advlib.Report {
	r := rand.New(rand.NewPCG(3, uint64(n)))
	rep := &advlib.Report{Classifier: victim, Data: "rings/test", Backend: "none", Box: report.UnitBox}
	for i := range n {
		rep.Index, rep.Label, rep.Predicted = append(rep.Index, int64(i)), append(rep.Label, 1), append(rep.Predicted, 1)
	}
	row := func(name, norm string, radius, unit float64, first int) {
		a := report.AttackRow{Name: name, Norm: norm, Radius: advlib.Distance(radius), Goal: "untargeted"}
		for range n {
			scale := math.Exp(0.5 * r.NormFloat64())
			var progress []report.Improvement
			for q := first; q <= 2000; q += 1 + q/3 {
				if d := scale * math.Sqrt(unit/float64(q)); d <= radius {
					progress = append(progress, report.Improvement{Query: q, Distance: report.Distance(d)})
				}
			}
			last := math.Inf(1)
			if len(progress) > 0 {
				last = float64(progress[len(progress)-1].Distance)
			}
			a.Attempted, a.Success = append(a.Attempted, true), append(a.Success, len(progress) > 0)
			a.Distance, a.Queries = append(a.Distance, report.Distance(last)), append(a.Queries, 2000)
			a.Progress = append(a.Progress, progress)
		}
		rep.Attacks = append(rep.Attacks, a)
	}
	row("HopSkipJump-2000 L2 minimal", "L2", math.Inf(1), 20, 30)
	row("Boundary-2000 L2 minimal", "L2", math.Inf(1), 90, 5)
	row("Square-2000 Linf ≤ 0.1", "Linf", 0.1, 2, 1)
	return rep
}

func TestQueries(t *testing.T) {
	one := askedReport("mlp <100>", 40)
	p := must[Picture](t)(Queries(one))
	goldenPicture(t, "queries", p)
	goldenText(t, "queries.txt", p.String())
	both := must[Picture](t)(Queries(one, askedReport("mlp, labels only", 40)))
	if text := both.String(); !strings.Contains(text, "mlp, labels only: Square-2000 Linf ≤ 0.1") {
		t.Errorf("two victims:\n%s", text)
	}
	other := askedReport("mlp", 20)
	white := askedReport("mlp", 40)
	for i := range white.Attacks {
		white.Attacks[i].Queries, white.Attacks[i].Progress = nil, nil
	}
	for want, reports := range map[string][]*advlib.Report{
		"there are no reports":         nil,
		"report 0 is empty":            {{}},
		"are of different examples":    {one, other},
		"there are no queries to draw": {white},
	} {
		if _, err := Queries(reports...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
}
