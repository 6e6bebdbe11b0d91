package certify_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gomlx/compute"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/attacktest"
	"advlab/advlib/certify"
)

// attacked is a model with the balls in which its certified regions are attacked.
type attacked struct {
	name    string
	c       *advlib.Classifier
	e       *advlib.Examples
	balls   []advlib.Ball
	methods []certify.Method
}

// attackedModels are the reference models and small ones of other operations. The CNN's CROWN costs most.
func attackedModels(t *testing.T, b compute.Backend) (all []attacked) {
	t.Helper()
	everything := []certify.Method{certify.IBP, certify.CROWNIBP, certify.CROWN.WithIBP()}
	for _, name := range attacktest.References {
		ref := load(t, name, b)
		a := attacked{name, ref.Classifier, ref.Examples, []advlib.Ball{
			advlib.Linf.Ball(0.02), advlib.Linf.Ball(0.05), advlib.L2.Ball(0.15), advlib.L1.Ball(0.3),
		}, everything}
		if name == "cnn-mnist-adv" {
			a.balls[1].Radius = 0.1
		}
		if full {
			a.methods = append(slices.Clone(everything), certify.AlphaCROWN)
		}
		if !full {
			if name == "mlp-digits" {
				continue
			}
			a.e, a.balls = a.e.First(24), []advlib.Ball{a.balls[0], a.balls[2]}
			if name == "cnn-mnist-adv" {
				a.e, a.balls, a.methods = ref.Examples.First(4), a.balls[:1], everything[:2]
			}
		}
		all = append(all, a)
	}
	for _, m := range slices.Concat(testModels, operationModels) {
		radius := 0.
		switch m.name {
		case "residual": // not preprocessing: GoMLX has no gradient of the Identity in it
			radius = 0.02
		case "attention", "max pool, overlapping", "residual CNN with batch norm", "GELU":
			radius = 0.01
		}
		if radius == 0 || !full && m.name != "residual" && m.name != "attention" {
			continue
		}
		if !full { // XLA compiles what attention needs for a minute
			b = backends(t)["Go Backend"]
		}
		c := m.classifier(t, b)
		everything := append(everything, certify.AlphaCROWN)
		balls := []advlib.Ball{advlib.Linf.Ball(radius * m.box.Width()), advlib.L2.Ball(3 * radius * m.box.Width())}
		all = append(all, attacked{m.name, c, m.examples(t, c, 16), balls, everything})
	}
	return all
}

// No attack succeeds inside of a certified region, by any method: PGD with restarts on the cross-entropy and on the
// margin, APGD, and corners of the ball at random; AutoAttack too with ADVLAB_FULL. And so, for one model, one ball and
// the same examples, what is certified is at most what is robust under attack, and that at most what is classified
// correctly.
func TestAttacksInsideCertifiedRegions(t *testing.T) {
	for backendName, b := range backends(t) {
		if backendName != "xla" && len(backends(t)) > 1 && !full {
			continue // the attacks are the same
		}
		proven, tried := 0, 0
		for _, m := range attackedModels(t, b) {
			for _, ball := range m.balls {
				t.Run(fmt.Sprintf("%s/%s/%v", backendName, m.name, ball), func(t *testing.T) {
					n := m.e.Len()
					steps, restarts, corners := 20, 1, 64
					attacks := []advlib.Attack{}
					if full {
						steps, restarts, corners = 100, 5, 1000
						attacks = append(attacks, attack.AutoAttack{Ball: ball})
					}
					attacks = append(attacks,
						attack.PGD{Ball: ball, Steps: steps, Restarts: restarts},
						attack.PGD{Ball: ball, Steps: steps, Restarts: restarts, Loss: advlib.Margin},
						attack.APGD{Ball: ball, Steps: steps})
					broken := make([][]string, n) // by what
					correct := make([]bool, n)
					for k, a := range attacks {
						res, err := advlib.Settings{Seed: uint64(k + 1)}.Run(ctx, m.c, m.e, a)
						if err != nil {
							t.Fatal(err)
						}
						for i := range n {
							correct[i] = res.Clean[i].Class == m.e.Y[i]
							if res.Success[i] {
								broken[i] = append(broken[i], res.Attack)
							}
						}
						tried += n
					}
					for _, point := range sample(t, m.c, m.e, ball, corners, rand.New(rand.NewPCG(3, 9))) {
						for i, z := range point {
							if k := slices.Index(z, slices.Max(z)); k != int(m.e.Y[i]) {
								broken[i] = append(broken[i], "a corner")
							}
						}
					}
					robust, clean := 0, 0
					for i := range n {
						if correct[i] {
							clean++
						}
						if correct[i] && len(broken[i]) == 0 {
							robust++
						}
					}
					for _, method := range m.methods {
						certified, err := method.Certify(ctx, m.c, m.e, ball)
						if err != nil {
							t.Fatal(err)
						}
						count := 0
						for i, ok := range certified {
							if !ok {
								continue
							}
							count++
							if !correct[i] || len(broken[i]) > 0 {
								t.Errorf("%v certifies example %d, which is classified correctly: %v, and broken by %v", method, i, correct[i], broken[i])
							}
						}
						proven += count
						t.Logf("%v: certified %d ≤ robust %d ≤ correct %d of %d", method, count, robust, clean, n)
						if count > robust || robust > clean {
							t.Errorf("%v: certified %d, robust %d, correct %d", method, count, robust, clean)
						}
					}
				})
			}
		}
		t.Logf("%s: %d certified regions, %d attacks on examples", backendName, proven, tried)
		if tried > 0 && proven < 50 { // none: -run left this backend out
			t.Errorf("%s: only %d regions were certified: the test tests little", backendName, proven)
		}
	}
}
