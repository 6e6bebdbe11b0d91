package show

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"advlab/advlib"
	"advlab/advlib/report"
)

// madeReport is a report by hand on n examples. Example i has a true distance: attacks of strength s find what is
// nearer than s times the radius, certificates prove what is farther than 1/s times.
func madeReport(name string, n int, typical float64, radii ...float64) *advlib.Report {
	r := rand.New(rand.NewPCG(7, uint64(n)))
	rep := &advlib.Report{Classifier: name, Data: "rings/test", Backend: "go", Box: report.UnitBox}
	distance := make([]float64, n)
	for i := range n {
		rep.Index = append(rep.Index, int64(i))
		rep.Label = append(rep.Label, int32(i%3))
		rep.Predicted = append(rep.Predicted, int32(i%3))
		distance[i] = typical * math.Exp(0.6*r.NormFloat64())
		if i%20 == 0 {
			rep.Predicted[i], distance[i] = int32((i+1)%3), 0
		}
	}
	row := func(attack, norm string, radius, strength float64) report.AttackRow {
		a := report.AttackRow{Name: attack, Norm: norm, Radius: advlib.Distance(radius), Goal: "untargeted"}
		for _, d := range distance {
			found := d <= radius*strength
			a.Attempted, a.Success = append(a.Attempted, true), append(a.Success, found)
			switch {
			case !found:
				a.Distance = append(a.Distance, advlib.Distance(math.Inf(1)))
			case a.Minimal():
				a.Distance = append(a.Distance, advlib.Distance(d*strength))
			case d == 0:
				a.Distance = append(a.Distance, 0)
			default:
				a.Distance = append(a.Distance, advlib.Distance(radius))
			}
		}
		return a
	}
	for _, ε := range radii {
		rep.Attacks = append(rep.Attacks,
			row(fmt.Sprintf("FGSM Linf ≤ %.6g", ε), "Linf", ε, 0.6),
			row(fmt.Sprintf("PGD-40 Linf ≤ %.6g", ε), "Linf", ε, 0.95))
		c := report.CertifierRow{Method: "CROWN-IBP", Norm: "Linf", Radius: ε}
		for _, d := range distance {
			c.Certified = append(c.Certified, d > 1.7*ε)
		}
		rep.Certificates = append(rep.Certificates, c)
	}
	rep.Attacks = append(rep.Attacks, row("Carlini & Wagner L2", "L2", math.Inf(1), 12))
	return rep
}

var pixelRadii = []float64{2. / 255, 4. / 255, 8. / 255, 12. / 255, 16. / 255}

func TestCurve(t *testing.T) {
	one := madeReport("mlp <100>", 200, 0.03, pixelRadii...)
	other := madeReport("mlp-adv & co", 200, 0.06, pixelRadii...)
	small := madeReport("mlp", 20, 0.1, 0.05, 0.1, 0.2)
	small.Attacks = small.Attacks[:6] // without minimal norm
	for _, test := range []struct {
		name    string
		reports []*advlib.Report
	}{
		{"curve", []*advlib.Report{small}},
		{"curve-norms", []*advlib.Report{one}},
		{"curve-classifiers", []*advlib.Report{one, other}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := must[Picture](t)(Curve(test.reports...))
			goldenPicture(t, test.name, p)
			goldenText(t, test.name+".txt", p.String())
			noNetwork(t, p.SVG())
			noNetwork(t, p.HTML())
			wellFormed(t, p.SVG())
		})
	}
}

// One report for each radius gives the same picture as one report with all radii.
func TestCurveOfSplitReports(t *testing.T) {
	whole := madeReport("mlp", 50, 0.03, pixelRadii...)
	var parts []*advlib.Report
	for i := range pixelRadii {
		part := *whole
		part.Attacks = whole.Attacks[2*i : 2*i+2]
		part.Certificates = whole.Certificates[i : i+1]
		parts = append(parts, &part)
	}
	parts[2].Attacks = append(parts[2].Attacks[:2:2], whole.Attacks[len(whole.Attacks)-1])
	a, b := must[Picture](t)(Curve(whole)), must[Picture](t)(Curve(parts...))
	if a.SVG() != b.SVG() {
		t.Errorf("the pictures differ:\n%s\n%s", a, b)
	}
	if len(parts[0].Attacks) != 2 {
		t.Error("Curve changed a report")
	}
}

// The worst case never rises with ε, is never above a single attack, and begins at the clean accuracy, whatever the
// attacks found: also where a weaker attack got a larger budget, and where successes are not monotone.
func TestCurveIsMonotone(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		rep := &advlib.Report{Classifier: "c", Data: "d", Box: report.UnitBox}
		const n = 30
		for i := range n {
			rep.Index, rep.Label, rep.Predicted = append(rep.Index, int64(i)), append(rep.Label, 0), append(rep.Predicted, int32(r.IntN(5)/4))
		}
		for k := range 2 + r.IntN(5) {
			ε := float64(1+r.IntN(10)) / 20
			if k == 1 {
				ε = math.Inf(1)
			}
			a := report.AttackRow{Name: fmt.Sprintf("A%d Linf ≤ %.6g", r.IntN(3), ε), Norm: "Linf", Radius: advlib.Distance(ε)}
			for i := range n {
				ok := r.IntN(2) == 0 || rep.Predicted[i] != 0
				d := math.Inf(1)
				if ok {
					d = min(ε, 0.6) * r.Float64()
				}
				if rep.Predicted[i] != 0 {
					d = 0
				}
				a.Attempted, a.Success, a.Distance = append(a.Attempted, true), append(a.Success, ok), append(a.Distance, advlib.Distance(d))
			}
			rep.Attacks = append(rep.Attacks, a)
		}
		p, ok := newPanel([]*advlib.Report{rep}, report.Linf)
		if !ok {
			t.Fatal("no panel")
		}
		worst := p.series[0]
		if worst.name != "worst case over attacks" {
			t.Fatalf("the first series is %q", worst.name)
		}
		if worst.points[0].radius != 0 || worst.points[0].rate != rep.Clean() {
			t.Fatalf("the curve begins at %+v, clean is %+v", worst.points[0], rep.Clean())
		}
		for _, s := range p.series {
			for i, pt := range s.points[1:] {
				if before := s.points[i]; pt.rate.Count > before.rate.Count || pt.radius <= before.radius {
					t.Fatalf("%s: %+v follows %+v", s.name, pt, before)
				}
				if w := rep.Robust(advlib.Linf.Ball(pt.radius)); w.Count > pt.rate.Count {
					t.Fatalf("%s: %+v is below the worst case %+v", s.name, pt, w)
				}
			}
		}
	}
}

func TestCurveRefuses(t *testing.T) {
	one := madeReport("mlp", 20, 0.1, 0.1)
	elsewhere := madeReport("mlp", 20, 0.1, 0.1)
	elsewhere.Data = "other"
	others := madeReport("mlp", 20, 0.1, 0.1)
	others.Index[3] = 99
	targeted := madeReport("mlp", 20, 0.1, 0.1)
	targeted.Certificates = nil
	for i := range targeted.Attacks {
		targeted.Attacks[i].Targeted = true
	}
	for _, test := range []struct {
		name    string
		reports []*advlib.Report
		want    string
	}{
		{"none", nil, "no reports"},
		{"nil", []*advlib.Report{nil}, "report 0 is empty"},
		{"no examples", []*advlib.Report{one, {}}, "report 1 is empty"},
		{"other data", []*advlib.Report{one, elsewhere}, "no common axis"},
		{"other examples", []*advlib.Report{one, others}, "different examples"},
		{"targeted only", []*advlib.Report{targeted}, "nothing to draw"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := Curve(test.reports...); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v, want one with %q", err, test.want)
			}
		})
	}
}

// A norm of the user's own has a panel of its own, by its name, behind those of advlib's norms.
func TestOwnNormIsDrawn(t *testing.T) {
	r := madeReport("mlp", 20, 0.1, 0.1, 0.2)
	all := []*advlib.Report{r}
	plain := normsOf(all)
	mine := *r
	mine.Attacks, mine.Certificates = slices.Clone(r.Attacks), slices.Clone(r.Certificates)
	for i := range mine.Attacks {
		mine.Attacks[i].Norm = "mine"
	}
	for i := range mine.Certificates {
		mine.Certificates[i].Norm = "mine"
	}
	if got, want := normsOf(append(all, &mine)), append(plain, "mine"); !slices.Equal(got, want) {
		t.Errorf("norms %q, want %q", got, want)
	}
	for name, draw := range map[string]func(...*advlib.Report) (Picture, error){"Curve": Curve, "Sandwich": Sandwich} {
		if p, err := draw(&mine); err != nil || !strings.Contains(p.String(), "mine") {
			t.Errorf("%s: %v\n%v", name, err, p)
		}
	}
}

func TestFamilies(t *testing.T) {
	r := &advlib.Report{}
	for _, a := range []struct {
		name   string
		radius float64
	}{
		{"PGD-40 Linf ≤ 0.1", 0.1}, {"PGD-40 Linf ≤ 0.2", 0.2}, {"FGSM(Linf ≤ 0.1)", 0.1},
		{"PGD-40 Linf ≤ 0.1, Margin", 0.1}, {"FMN Linf", math.Inf(1)}, {"Linf ≤ 0.3", 0.3},
	} {
		r.Attacks = append(r.Attacks, report.AttackRow{Name: a.name, Norm: "Linf", Radius: advlib.Distance(a.radius)})
	}
	var got []string
	for _, f := range familiesOf(r, report.Linf) {
		got = append(got, fmt.Sprintf("%s:%d", f.name, len(f.rows)))
	}
	if want := "PGD-40:2|FGSM:1|PGD-40, Margin:1|FMN Linf:1|Linf ≤ 0.3:1"; strings.Join(got, "|") != want {
		t.Errorf("families %q, want %q", strings.Join(got, "|"), want)
	}
}

func TestRoundTicks(t *testing.T) {
	for _, test := range []struct {
		largest float64
		want    string
	}{
		{1, "0 0.2 0.4 0.6 0.8 1"},
		{0.2, "0 0.05 0.1 0.15 0.2"},
		{0.3, "0 0.1 0.2 0.3"},
		{1.7, "0 0.5 1 1.5"},
		{3.5, "0 1 2 3"},
		{6.5, "0 2 4 6"},
		{784, "0 200 400 600"},
		{1e-5, "0 2e-06 4e-06 6e-06 8e-06 1e-05"},
	} {
		var got []string
		for _, tick := range roundTicks(test.largest) {
			got = append(got, tick.Label)
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("up to %v: %v, want %s", test.largest, got, test.want)
		}
	}
}

// TestCurveOfACascade has no line for single attacks: what they would do alone is not in the report.
func TestCurveOfACascade(t *testing.T) {
	r := madeReport("mlp", 50, 0.03, pixelRadii...)
	names := func() (all []string) {
		p, ok := newPanel([]*advlib.Report{r}, report.Linf)
		if !ok {
			t.Fatal("nothing to draw")
		}
		for _, s := range p.series {
			all = append(all, s.name)
		}
		return all
	}
	if got := names(); !slices.Contains(got, "FGSM") {
		t.Errorf("lines %q", got)
	}
	r.Cascade = true
	if got := names(); !slices.Equal(got, []string{"worst case over attacks", "certified (CROWN-IBP)"}) {
		t.Errorf("lines of a cascade %q", got)
	}
}
