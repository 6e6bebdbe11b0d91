package attack_test

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/compute"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/attacktest"
)

// The median distance over correctly classified examples, failures infinite, is at most 1.001 times the peer's, which
// is foolbox for DeepFool and adv-lib for the others, with the same steps. All parameters are the defaults, which are
// those of the peers' runs. The CNN is cut to 8 examples. On the Go backend the MLPs run on their first 8 and the CNN
// is left out, unless ADVLAB_FULL is set.
func TestReferenceMinimal(t *testing.T) {
	const ratio = 1.001
	onBackends(t, func(t *testing.T, b compute.Backend, slow bool) {
		for _, name := range attacktest.References {
			if slow && name == "cnn-mnist-adv" {
				t.Logf("%s is left out on the Go backend: set ADVLAB_FULL=1 to run it", name)
				continue
			}
			r := reference(t, name, b)
			e := r.Examples
			if slow {
				e = e.First(8)
			}
			for key, a := range minimalPeers {
				againstPeer(t, r, e, key, a, ratio)
			}
		}
	})
}

// minimalPeers are the attacks whose distances the references hold, but for Carlini & Wagner.
var minimalPeers = map[string]advlib.Attack{
	"norm__deepfool_l2":   attack.DeepFool{Norm: advlib.L2},
	"norm__ddn_l2_1000":   attack.DDN{},
	"norm__fmn_linf_1000": attack.FMN{Norm: advlib.Linf},
	"norm__fmn_l1_1000":   attack.FMN{Norm: advlib.L1},
}

// againstPeer compares the median distance over correctly classified examples, failures infinite, with the peer's,
// which are under a key; it may be ratio times as large. e are the first examples of the reference, or all.
func againstPeer(t *testing.T, r *attacktest.Reference, e *advlib.Examples, key string, a advlib.Attack, ratio float64) {
	t.Helper()
	peer := array(t, r, key)
	res, err := advlib.Run(context.Background(), r.Classifier, e, a)
	if err != nil {
		t.Fatal(err)
	}
	var ours, theirs []float64
	nearer, farther := 0, 0
	for i := range e.Y {
		if res.Clean[i].Class != e.Y[i] {
			continue
		}
		ours, theirs = append(ours, res.Distance[i]), append(theirs, float64(peer[i]))
		switch q := res.Distance[i] / float64(peer[i]); {
		case q > 1.001:
			farther++
		case q < 1/1.001:
			nearer++
		}
	}
	got, want := median(ours), median(theirs)
	name := r.Classifier.Name()
	t.Logf("%s, %v: median ours %.5f, peer %.5f (ratio %.5f) over %d examples, %d more than 0.1 %% nearer, %d farther; %v", name, a,
		got, want, got/want, len(ours), nearer, farther, res.Stats)
	if !(got <= ratio*want) {
		t.Errorf("%s, %v: median distance %.5f, peer %.5f: ratio %.5f is above %g", name, a, got, want, got/want, ratio)
	}
}

// wholeReference returns a reference model with all its examples, which are beside the checkout; where they are not,
// the test is skipped.
func wholeReference(t testing.TB, name string, b compute.Backend) *attacktest.Reference {
	t.Helper()
	folder := filepath.Join("..", "..", "..", "shared", "reference")
	if _, err := os.Stat(folder); err != nil {
		t.Skipf("there are no references beside the checkout: %v", err)
	}
	r, err := attacktest.LoadReferenceFrom(os.DirFS(folder), name, b)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The same comparisons, and AutoAttack's, on the CNN with all its 32 examples, which the checkout does not hold.
func TestReferenceWhole(t *testing.T) {
	const name = "cnn-mnist-adv"
	if !full {
		t.Skip("ADVLAB_FULL=1 compares on all 32 examples of the CNN, which takes minutes")
	}
	r := wholeReference(t, name, digits(t).Classifier.Backend())
	for key, a := range minimalPeers {
		againstPeer(t, r, r.Examples, key, a, 1.001)
	}
	againstPeer(t, r, r.Examples, "norm__cw_l2_9x1000_lr=0.01_c0=1e-3", attack.CarliniWagner{}, 1.001)
	for key, n := range normKeys {
		for text, ε := range radii(name, n) {
			autoAttackAgainstPeer(t, r, name, key, text, n, ε)
		}
	}
}

// What cannot be meant is refused before anything is computed, in a sentence that names the value.
func TestRefusalsMinimal(t *testing.T) {
	c := linear(t, linearSpecs[0]).Classifier
	for _, test := range []struct {
		a    advlib.Attack
		want string
	}{
		{attack.FMN{}, "the Norm is unset"},
		{attack.FMN{Norm: advlib.L2, Steps: -1}, "Steps = -1 is below 0"},
		{attack.FMN{Norm: advlib.L2, StepSize: math.Inf(1)}, "StepSize = +Inf"},
		{attack.FMN{Norm: advlib.L2, Gamma: 1}, "Gamma = 1 is not in [0, 1)"},
		{attack.FMN{Norm: advlib.L2, Overshoot: -0.1}, "Overshoot = -0.1"},
		{attack.DDN{Steps: -3}, "Steps = -3"},
		{attack.DDN{Gamma: math.NaN()}, "Gamma = NaN"},
		{attack.DDN{InitialNorm: -1}, "InitialNorm = -1"},
		{attack.DeepFool{}, "the Norm is unset"},
		{attack.DeepFool{Norm: advlib.L1}, "the Norm L1 is none that it minimises: use L2, Linf"},
		{attack.DeepFool{Norm: advlib.L2, Steps: -1}, "Steps = -1"},
		{attack.DeepFool{Norm: advlib.L2, Candidates: 1}, "Candidates = 1"},
		{attack.DeepFool{Norm: advlib.L2, Overshoot: math.NaN()}, "Overshoot = NaN"},
		{attack.FAB{}, "the Norm is unset"},
		{attack.FAB{Norm: advlib.L0}, "the Norm L0 is none that it minimises"},
		{attack.FAB{Norm: advlib.L2, Steps: -1}, "Steps = -1"},
		{attack.FAB{Norm: advlib.L2, Restarts: -1}, "Restarts = -1"},
		{attack.FAB{Norm: advlib.L2, Candidates: 1}, "Candidates = 1"},
		{attack.FAB{Norm: advlib.L2, MostBias: 1.5}, "MostBias = 1.5"},
		{attack.FAB{Norm: advlib.L2, Backward: 1}, "Backward = 1"},
		{attack.FAB{Norm: advlib.L2, Extrapolation: 0.9}, "Extrapolation = 0.9"},
		{attack.SigmaZero{Steps: -1}, "Steps = -1"},
		{attack.CarliniWagnerLinf{Steps: -1}, "Steps = -1"},
		{attack.CarliniWagnerLinf{Confidence: -1}, "Confidence = -1"},
		{attack.CarliniWagnerLinf{Decrease: 1}, "Decrease = 1"},
		{attack.CarliniWagnerLinf{InitialConst: 100}, "InitialConst = 100 is above LargestConst = 20"},
		{attack.CarliniWagnerLinf{LeastTau: math.NaN()}, "LeastTau = NaN"},
		{attack.CarliniWagnerL0{Steps: -1}, "Steps = -1"},
		{attack.CarliniWagnerL0{LargestConst: 1e-4}, "InitialConst = 0.001 is above LargestConst = 0.0001"},
		{attack.CarliniWagnerL0{Margin: math.Inf(1)}, "Margin = +Inf"},
		{attack.EAD{BinarySearchSteps: -1}, "BinarySearchSteps = -1"},
		{attack.EAD{Steps: -1}, "Steps = -1"},
		{attack.EAD{Beta: -1}, "Beta = -1"},
		{attack.JSMA{Theta: -1}, "Theta = -1"},
		{attack.JSMA{Gamma: 1.5}, "Gamma = 1.5"},
		{attack.JSMA{Candidates: 1}, "Candidates = 1 is no pair"},
		{attack.SigmaZero{Sigma: -1}, "Sigma = -1"},
		{attack.SigmaZero{Threshold: math.NaN()}, "Threshold = NaN"},
	} {
		if _, err := test.a.Threat(c); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: error %v does not say %q", test.a, err, test.want)
		}
	}
}

// With Untargeted the result is the nearer of the untargeted run and all targets, for each example; on this model
// neither is always the nearer.
func TestAllTargetsUntargeted(t *testing.T) {
	l := linear(t, attacktest.LinearSpec{Seed: 1})
	a := attack.DDN{Steps: 30}
	run := func(a advlib.Attack) []float64 {
		t.Helper()
		res, err := advlib.Run(context.Background(), l.Classifier, l.Examples, a)
		if err != nil {
			t.Fatal(err)
		}
		return res.Distance
	}
	alone, targets, both := run(a), run(attack.AllTargets{Attack: a}), run(attack.AllTargets{Attack: a, Untargeted: true})
	aloneNearer, targetsNearer := 0, 0
	for i := range both {
		if both[i] != min(alone[i], targets[i]) {
			t.Errorf("example %d: distance %g, untargeted %g, towards all targets %g", i, both[i], alone[i], targets[i])
		}
		switch {
		case alone[i] < targets[i]:
			aloneNearer++
		case alone[i] > targets[i]:
			targetsNearer++
		}
	}
	if aloneNearer == 0 || targetsNearer == 0 {
		t.Errorf("untargeted is nearer on %d, all targets on %d of %d examples: that tests little", aloneNearer, targetsNearer, len(both))
	}
}
