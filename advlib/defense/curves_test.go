package defense_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/dataset"
	"advlab/advlib/defense"
	"advlab/advlib/show"
	"advlab/advlib/training"
	"advlab/advlib/zoo"
)

// study is what TestCurves measures.
type study struct {
	model       training.Model
	radii       []float64 // that the model is hardened against; 0 is natural training
	ascents     int
	warmUp      float64
	train, test *advlib.Examples
	epsilons    []float64 // that it is attacked at
	attacks     func(ball advlib.Ball) []advlib.Attack
	slow        func(ball advlib.Ball) []advlib.Attack // attacks at fewer ε
	slowAt      []float64
}

// The whole is MNIST's first 8000 test images to train on and the next 1000 to attack, with the reference network's
// architecture (ADVLAB_FULL=1, and MNIST where package dataset looks for it); else it is digits with a multi-layer
// perceptron.
func studyOf(t *testing.T) study {
	if os.Getenv("ADVLAB_FULL") != "" {
		train, test, err := dataset.MNISTSmall(t.Context())
		var missing *dataset.MissingError
		if err != nil && !errors.As(err, &missing) {
			t.Fatal(err)
		}
		if err == nil {
			m := zoo.CNN()
			m.Epochs = 10
			return study{
				model: m, radii: []float64{0, 0.1, 0.2}, ascents: 7, warmUp: 0.5, train: train, test: test.First(1000),
				epsilons: []float64{0.05, 0.1, 0.2, 0.3},
				attacks: func(ball advlib.Ball) []advlib.Attack {
					return []advlib.Attack{
						attack.FGM{Ball: ball}, attack.BIM{Ball: ball}, attack.PGD{Ball: ball}, attack.MIFGSM{Ball: ball},
						attack.APGD{Ball: ball}, attack.APGD{Ball: ball, Loss: advlib.DLR},
					}
				},
				slow: func(ball advlib.Ball) []advlib.Attack {
					return []advlib.Attack{
						attack.AllTargets{Attack: attack.APGD{Ball: ball, Loss: advlib.DLR}, Most: 9},
						attack.Square{Ball: ball, Queries: 2000}, attack.AutoAttack{Ball: ball},
					}
				},
				slowAt: []float64{0.1, 0.2},
			}
		}
		t.Logf("digits instead of MNIST: %v", err)
	}
	train, test := dataset.Digits()
	m := zoo.MLP(100, 100) // few examples and small attacks: compiling takes most of the time
	return study{
		model: m, radii: []float64{0, 0.1}, train: train, test: test.First(32), epsilons: []float64{0.05, 0.1, 0.2},
		attacks: func(ball advlib.Ball) []advlib.Attack {
			return []advlib.Attack{
				attack.FGM{Ball: ball}, attack.BIM{Ball: ball}, attack.PGD{Ball: ball, Steps: 20}, attack.MIFGSM{Ball: ball},
				attack.APGD{Ball: ball, Steps: 20}, attack.APGD{Ball: ball, Steps: 20, Loss: advlib.DLR},
			}
		},
		slow: func(ball advlib.Ball) []advlib.Attack {
			return []advlib.Attack{
				attack.AllTargets{Attack: attack.APGD{Ball: ball, Steps: 20, Loss: advlib.DLR}, Most: 3},
				attack.Square{Ball: ball, Queries: 200}, attack.AutoAttack{Ball: ball},
			}
		},
		slowAt: []float64{0.1},
	}
}

// TestCurves draws robust accuracy against ε, of the same model trained naturally and adversarially, under every attack
// with a budget. It leaves the table and the picture in its artifact directory (go test -artifacts).
func TestCurves(t *testing.T) {
	s := studyOf(t)
	var reports []*advlib.Report
	var table, tables strings.Builder
	atOwn := map[float64]float64{} // worst case at the radius that was hardened against, for hardened models
	for _, radius := range s.radii {
		var clf *advlib.Classifier
		if radius == 0 {
			clf = s.model.MustFit(t.Context(), s.train)
		} else {
			clf = defense.AdversarialTraining{Ball: advlib.Linf.Ball(radius), Ascents: s.ascents,
				WarmUp: s.warmUp}.MustFit(t.Context(), s.model, s.train)
		}
		table.Reset()
		all, worst := s.curve(t, clf, s.test, s.epsilons, s.attacks, &table)
		reports = append(reports, all...)
		s.curve(t, clf, s.test, s.slowAt, s.slow, &table)
		t.Log("\n" + table.String())
		tables.WriteString(table.String())
		if radius > 0 {
			atOwn[radius] = worst[slices.Index(s.epsilons, radius)]
			continue
		}
		for _, r := range s.radii[1:] {
			atOwn[-r] = worst[slices.Index(s.epsilons, r)]
		}
	}
	for _, r := range s.radii[1:] {
		if atOwn[r] < atOwn[-r]+0.1 {
			t.Errorf("hardened against Linf ≤ %g the model keeps %.3f of the examples there, without it %.3f", r, atOwn[r], atOwn[-r])
		}
	}
	picture, err := show.Curve(reports...)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.ArtifactDir()
	for name, content := range map[string]string{"curves.md": tables.String(), "curves.svg": picture.SVG()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// slack is by how much a robust accuracy may rise with ε, or from one attack to a stronger one: attacks are searches,
// not proofs.
const slack = 0.01

// curve measures each attack at each ε on all examples, writes a table, and returns the reports and the worst case over
// attacks, example by example.
func (s study) curve(t *testing.T, clf *advlib.Classifier, e *advlib.Examples, epsilons []float64,
	attacks func(advlib.Ball) []advlib.Attack, table *strings.Builder) (reports []*advlib.Report, worst []float64) {
	t.Helper()
	rows := map[string][]string{}
	var names []string
	before := map[string]float64{}
	put := func(name string, robust float64) {
		if _, ok := rows[name]; !ok {
			names = append(names, name)
		}
		rows[name] = append(rows[name], fmt.Sprintf("%.1f", 100*robust))
		if last, ok := before[name]; ok && robust > last+slack {
			t.Errorf("%s, %s on %d examples: the robust accuracy rises with ε from %.3f to %.3f", clf.Name(), name, e.Len(), last, robust)
		}
		before[name] = robust
	}
	var clean float64
	for _, ε := range epsilons {
		ball := advlib.Linf.Ball(ε)
		broken := make([]bool, e.Len())
		least := math.Inf(1)
		for _, a := range attacks(ball) {
			r, err := advlib.Evaluate(t.Context(), clf, e, []advlib.Attack{a})
			if err != nil {
				t.Fatal(err)
			}
			reports = append(reports, r)
			robust := r.Robust(ball).Value()
			clean = r.Clean().Value()
			t.Logf("%s, %d examples, %s: clean %.3f, robust %.3f", clf.Name(), e.Len(), a, clean, robust)
			least = min(least, robust)
			for i := range broken {
				broken[i] = broken[i] || r.Predicted[i] != r.Label[i] || r.Attacks[0].Success[i]
			}
			put(strings.ReplaceAll(a.String(), ball.String(), "Linf ≤ ε"), robust)
		}
		standing := 0
		for _, b := range broken {
			if !b {
				standing++
			}
		}
		w := float64(standing) / float64(e.Len())
		if w > least || least > clean {
			t.Errorf("%s at ε = %g: worst case %.3f, least of the attacks %.3f, clean %.3f: must not fall", clf.Name(), ε, w, least, clean)
		}
		put("**worst case, example by example**", w)
		worst = append(worst, w)
	}
	fmt.Fprintf(table, "%s, %d examples, clean accuracy %.1f %%\n\n| attack |", clf.Name(), e.Len(), 100*clean)
	for _, ε := range epsilons {
		fmt.Fprintf(table, " ε = %g |", ε)
	}
	fmt.Fprintf(table, "\n|---|%s\n", strings.Repeat("---|", len(epsilons)))
	for _, name := range names {
		fmt.Fprintf(table, "| %s | %s |\n", name, strings.Join(rows[name], " | "))
	}
	fmt.Fprintln(table)
	return reports, worst
}
