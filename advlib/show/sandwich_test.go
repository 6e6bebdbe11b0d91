package show

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"advlab/advlib"
	"advlab/advlib/report"
)

// proving adds certificates of another strength to a report of madeReport: it proves what is farther than factor times
// the radius, and tells margins.
func proving(r *advlib.Report, method string, factor float64, radii ...float64) *advlib.Report {
	distance := make([]float64, len(r.Label))
	for _, a := range r.Attacks {
		if a.Minimal() { // found at 12 times the true distance
			for i, d := range a.Distance {
				distance[i] = float64(d) / 12
			}
		}
	}
	for _, ε := range radii {
		c := report.CertifierRow{Method: method, Norm: "Linf", Radius: ε, Rounding: "float32-any-order"}
		for _, d := range distance {
			c.Certified = append(c.Certified, d > factor*ε)
			c.Margin = append(c.Margin, advlib.Bound(d-factor*ε))
		}
		r.Certificates = append(r.Certificates, c)
	}
	return r
}

// smoothed is a report as smooth.Certified.Plain makes it: a radius for each example, abstentions, no attacks.
func smoothed(n int) *advlib.Report {
	r := rand.New(rand.NewPCG(3, 4))
	rep := &advlib.Report{Classifier: "mlp smoothed, σ = 0.25", Data: "rings/test", Backend: "go", Box: report.UnitBox}
	radius := make([]float64, n)
	for i := range n {
		rep.Index, rep.Label, rep.Predicted = append(rep.Index, int64(i)), append(rep.Label, int32(i%3)), append(rep.Predicted, int32(i%3))
		radius[i] = min(0.8, 0.5*math.Exp(0.5*r.NormFloat64()))
		if i%15 == 0 {
			rep.Predicted[i], radius[i] = -1, 0
		}
	}
	for k := range 41 {
		ε := float64(k) * 0.02
		c := report.CertifierRow{Method: "smoothing, α = 0.001", Norm: "L2", Radius: ε}
		for i := range n {
			c.Certified = append(c.Certified, radius[i] > ε)
		}
		rep.Certificates = append(rep.Certificates, c)
	}
	return rep
}

func TestSandwich(t *testing.T) {
	radii := []float64{0.01, 0.02, 0.03, 0.05, 0.1}
	base := proving(madeReport("mlp <100>", 100, 0.05, radii...), "IBP", 3.5, radii...)
	warned := madeReport("mlp", 20, 0.1, 8)
	warned.Warnings = []string{"the ball Linf ≤ 8 holds the whole box [0, 1] (diameter 1): any input may become any " +
		"other: if ε was meant in steps of 0..255, write 8./255"}
	for _, test := range []struct {
		name    string
		reports []*advlib.Report
	}{
		{"sandwich", []*advlib.Report{base}},
		{"sandwich-smoothed", []*advlib.Report{base, smoothed(100)}},
		{"sandwich-warning", []*advlib.Report{warned}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := must[Picture](t)(Sandwich(test.reports...))
			goldenPicture(t, test.name, p)
			goldenText(t, test.name+".txt", p.String())
			noNetwork(t, p.SVG())
			noNetwork(t, p.HTML())
			wellFormed(t, p.SVG())
		})
	}
}

// Counterexamples that a certifier found lower the upper side, and no attack's own line.
func TestSandwichOfCounterexamples(t *testing.T) {
	rep := proving(madeReport("mlp", 20, 0.1, 0.01), "complete", 0, 0.01)
	before := rep.Robust(advlib.Linf.Ball(0.01)).Count
	for i := range rep.Label {
		rep.Certificates[0].Certified[i] = false
		rep.Certificates[0].Distance = append(rep.Certificates[0].Distance, 0.005)
	}
	l, ok := newLayer(rep, report.Linf)
	if !ok || before == 0 {
		t.Fatalf("no layer, or %d withstand the attack", before)
	}
	if len(l.robust) != 3 || l.robust[1].radius != 0.005 || l.robust[1].rate.Count != 0 || l.robust[1].measured || !l.robust[2].measured {
		t.Errorf("the upper side is %+v", l.robust)
	}
	if alone := familiesOf(rep, report.Linf)[0].alone(rep).Robust(advlib.Linf.Ball(0.01)); alone.Count != before {
		t.Errorf("the attack alone leaves %v, want %d", alone, before)
	}
}

// Each point of the picture is true: at any radius the lower line is at most the share of examples that are truly
// robust, and the upper one at least that, whatever radii were asked.
func TestSandwichHoldsEverywhere(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	for range 100 {
		const n = 40
		rep := &advlib.Report{Classifier: "c", Data: "d", Box: report.UnitBox}
		truth := make([]float64, n) // distance of the nearest adversarial example
		for i := range n {
			truth[i] = r.Float64()
			rep.Index, rep.Label, rep.Predicted = append(rep.Index, int64(i)), append(rep.Label, 0), append(rep.Predicted, 0)
			if r.IntN(8) == 0 {
				rep.Predicted[i], truth[i] = 1, 0
			}
		}
		for range 1 + r.IntN(4) {
			ε, strength := 0.05+r.Float64(), 0.5+r.Float64()/2
			if r.IntN(3) == 0 {
				ε = math.Inf(1)
			}
			a := report.AttackRow{Name: "A", Norm: "Linf", Radius: advlib.Distance(ε)}
			for _, d := range truth {
				found := d/strength <= ε
				far := advlib.Distance(math.Inf(1))
				if found {
					far = advlib.Distance(d / strength)
				}
				a.Attempted, a.Success, a.Distance = append(a.Attempted, true), append(a.Success, found), append(a.Distance, far)
			}
			rep.Attacks = append(rep.Attacks, a)
		}
		for k := range 1 + r.IntN(5) {
			ε := 0.05 + r.Float64()
			c := report.CertifierRow{Method: fmt.Sprint("M", k%2), Norm: "Linf", Radius: ε}
			for _, d := range truth {
				c.Certified = append(c.Certified, d > ε*(1+r.Float64()))
			}
			rep.Certificates = append(rep.Certificates, c)
		}
		if _, err := Sandwich(rep); err != nil {
			t.Fatal(err)
		}
		l, ok := newLayer(rep, report.Linf)
		if !ok {
			t.Fatal("no layer")
		}
		upper := stepsAbove(l.robust, l.largest)
		for k := 1; k < 500; k++ {
			ε := l.largest * float64(k) / 500
			robust := 0
			for _, d := range truth {
				if d > ε {
					robust++
				}
			}
			share := 100 * float64(robust) / n
			if top := lowest(upper, ε); top < share-1e-9 {
				t.Fatalf("at %g the upper line is at %g, the truth %g", ε, top, share)
			}
			for _, m := range append(slices.Clone(l.methods), method{"any", l.best}) {
				if line := stepsBelow(m.points); ε <= line[len(line)-1].X && highest(line, ε) > share+1e-9 &&
					!slices.ContainsFunc(m.points, func(pt point) bool { return pt.radius == ε }) {
					t.Fatalf("at %g the line of %s is at %g, the truth %g", ε, m.name, highest(line, ε), share)
				}
			}
		}
	}
}

func TestSandwichRefuses(t *testing.T) {
	good := func() *advlib.Report { return madeReport("mlp", 20, 0.1, 0.05, 0.1) }
	broken := good() // one report alone holds; together they do not
	broken.Attacks = broken.Attacks[2:4]
	other := good()
	other.Attacks, other.Certificates = nil, other.Certificates[1:]
	at := slices.Index(broken.Attacks[1].Success[1:], true) + 1 // 0 is misclassified
	other.Certificates[0].Certified = slices.Clone(other.Certificates[0].Certified)
	other.Certificates[0].Certified[at] = true
	wrong := good()
	wrong.Certificates[0].Certified[0] = true
	bare := good()
	bare.Certificates = nil
	for _, test := range []struct {
		name          string
		reports       []*advlib.Report
		contradiction bool
		want          []string
	}{
		{"none", nil, false, []string{"no reports"}},
		{"no certificates", []*advlib.Report{bare}, false, []string{"certify.CROWN", "Curve"}},
		{"broken inside of a certified ball", []*advlib.Report{broken, other}, true, []string{fmt.Sprintf("CROWN-IBP certifies example %d ", at), "Linf ≤ 0.1, but FGSM Linf ≤ 0.1 changed its class at the Linf distance 0.1"}},
		{"certified and misclassified", []*advlib.Report{wrong}, true, []string{"CROWN-IBP certifies example 0 (label 0)", "Linf ≤ 0.05", "classified as 1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := Sandwich(test.reports...)
			if err == nil || p.SVG() != "" || errors.Is(err, advlib.ErrContradiction) != test.contradiction {
				t.Fatalf("the error is %v", err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error is %q, want one with %q", err, want)
				}
			}
		})
	}
	if _, err := Sandwich(broken); err != nil {
		t.Errorf("the report without the wrong certificate: %v", err)
	}
}

func TestVerdicts(t *testing.T) {
	r := proving(madeReport("mlp", 8, 0.05, 0.05), "IBP", 2.5, 0.05)
	r.Predicted[0] = -1
	table := Verdicts(r, advlib.Linf.Ball(0.05))
	goldenText(t, "verdicts.txt", table.String())
	noNetwork(t, table.HTML())
}
