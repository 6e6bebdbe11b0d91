package detect_test

import (
	"math"
	"os"
	"strings"
	"testing"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/backend"
	"advlab/advlib/dataset"
	"advlab/advlib/defense"
	"advlab/advlib/detect"
	"advlab/advlib/transform"
	"advlab/advlib/zoo"
)

// What is screened is judged as other defences are.
var _ defense.Defended = (*detect.Screened)(nil)

// subject is what detectors are measured on: digits with a small network, or, with ADVLAB_FULL=1, MNIST with a
// convolutional one.
type subject struct {
	classifier *advlib.Classifier
	data       detect.Data
	clean      *advlib.Examples // what was not fitted to
	test       *advlib.Examples // those of them that are attacked
	ball       advlib.Ball
	naive      []advlib.Attack
	squeezing  detect.FeatureSqueezing
	magnet     detect.MagNet
}

func mnist(t *testing.T) subject {
	t.Log("MNIST, as ADVLAB_FULL is set")
	train, test, err := dataset.MNISTSmall(t.Context())
	if err != nil {
		t.Skipf("MNIST: %v", err)
	}
	ball := advlib.Linf.Ball(0.2)
	return subject{
		classifier: zoo.CNN().MustFit(t.Context(), train), clean: test.Slice(1000, 2000), test: test.Slice(1000, 1100), ball: ball,
		data: detect.Data{Train: train.First(4000), Clean: test.First(1000)},
		naive: []advlib.Attack{
			attack.FGM{Ball: ball}, attack.PGD{Ball: ball, Loss: advlib.Margin}, attack.CarliniWagner{BinarySearchSteps: 5, Steps: 200},
			attack.DeepFool{}, attack.Square{Ball: ball, Queries: 500},
		},
		magnet: detect.MagNet{Epochs: 20, BatchSize: 64, LearningRate: 0.003},
	}
}

func digitsSubject(t *testing.T, name string) subject {
	train, test := dataset.Digits()
	// The digits come in runs by the same hands: a detector's clean examples and the test must have all of them.
	var clean, rest []int
	for i := range test.Len() {
		if i%2 == 1 {
			rest = append(rest, i)
		} else {
			clean = append(clean, i)
		}
	}
	// To compile a small network takes longer than to compute it in Go; the Go backend's convolutions are slow.
	m := zoo.MLP(50, 50)
	b, err := backend.OpenNamed(name)
	if err != nil {
		t.Skipf("%s: %v", name, err)
	}
	m.Backend = b
	ball := advlib.Linf.Ball(0.2)
	return subject{
		classifier: m.MustFit(t.Context(), train), clean: test.Select(rest), test: test.Select(rest).First(32), ball: ball,
		data:      detect.Data{Train: train, Clean: test.Select(clean)},
		naive:     []advlib.Attack{attack.PGD{Ball: ball, Steps: 20, Loss: advlib.Margin}},
		squeezing: detect.FeatureSqueezing{Squeezers: []transform.Transform{transform.BitDepth{Bits: 3}, transform.Gaussian{Sigma: 0.6}}},
		magnet:    detect.MagNet{Epochs: 30, BatchSize: 32, LearningRate: 0.01},
	}
}

// TestDetectors: as many clean inputs are flagged as should be, up to the interval of the rate; and of those that the
// literature broke, the adaptive attack leaves at most half of what is detected of the best-seen naive one.
func TestDetectors(t *testing.T) {
	full := os.Getenv("ADVLAB_FULL") != ""
	in := func(name string) subject {
		if full {
			return mnist(t)
		}
		return digitsSubject(t, name)
	}
	s := in("go")
	taught := s.data
	taught.Attack = attack.PGD{Ball: s.ball, Steps: 10, Loss: advlib.Margin}
	var found []*advlib.Result
	for _, a := range s.naive {
		found = append(found, advlib.MustRun(t.Context(), s.classifier, s.test, a))
	}
	for _, c := range []struct {
		method detect.Method
		data   detect.Data
		broken float64 // by the literature: the least share of a naive attack that is detected all the same; else 0
	}{
		{s.squeezing, s.data, 0.3}, {detect.LID{K: 10, Batch: 50}, taught, 0.01}, {detect.Mahalanobis{}, taught, 0},
		{detect.Mahalanobis{Magnitude: 0.01}, s.data, 0}, {detect.KernelDensity{}, s.data, 0}, {detect.Binary{}, taught, 0.9},
		{detect.Consistency{}, s.data, 0}, {s.magnet, s.data, 0.3},
	} {
		on, known := s, found
		if _, ok := c.method.(detect.MagNet); ok && !full {
			on, known = in(backend.Auto), nil
			c.data = on.data
		}
		d, err := detect.Screen(t.Context(), on.classifier, c.method, c.data)
		if err != nil {
			t.Fatal(err)
		}
		o := detect.Inspection{Found: known, Adaptive: []advlib.Attack{d.Adaptive(on.ball)}}
		if known == nil {
			o.Naive = on.naive
		}
		n, err := o.Run(t.Context(), d, on.test)
		if err != nil {
			t.Fatal(err)
		}
		t.Log(n)
		verdicts, err := d.Verdicts(t.Context(), on.clean.X)
		if err != nil {
			t.Fatal(err)
		}
		flagged := advlib.Rate{Of: len(verdicts)}
		for _, v := range verdicts {
			if v.Flagged {
				flagged.Count++
			}
		}
		t.Logf("%d of %d clean inputs are rejected: %v %s", flagged.Count, flagged.Of, flagged, flagged.Interval())
		if lo, hi := chance(c.data.Clean.Len(), 0.05, flagged.Of); flagged.Count < lo || flagged.Count > hi {
			t.Errorf("%v: %d of %d clean inputs are rejected, for a rate of 5 %%: %d to %d are chance", d, flagged.Count, flagged.Of, lo, hi)
		}
		naive, last := 0., n.Attacks[len(n.Attacks)-1]
		for _, a := range n.Attacks[:len(n.Attacks)-1] {
			naive = max(naive, a.Detected.Value())
			if _, lo, _ := a.ROC.AUC(); !full && lo < 0.5 {
				t.Errorf("%v: %s looks no more adversarial than clean inputs: %v", d, a.Attack, a.ROC)
			}
		}
		if naive < c.broken {
			t.Errorf("%v: %.3f of the naive attack is detected, want at least %.3f", d, naive, c.broken)
		}
		if adaptive := last.Detected.Value(); c.broken > 0 && adaptive > naive/2 || adaptive > naive {
			t.Errorf("%v: detected are %.3f of the adaptive attack and %.3f of the naive one", d, adaptive, naive)
		}
	}
}

// chance returns between which counts all but 0.2 % of the numbers of m inputs lie that are above the threshold which n
// others have set for a rate: these follow a beta-binomial distribution, whatever that of the scores.
func chance(n int, rate float64, m int) (lo, hi int) {
	k := math.Ceil(float64(n+1) * (1 - rate))
	a, b := float64(n+1)-k, k
	log := func(x float64) float64 { v, _ := math.Lgamma(x); return v }
	beta := func(x, y float64) float64 { return log(x) + log(y) - log(x+y) }
	sum := 0.
	for i := range m + 1 {
		x := float64(i)
		p := math.Exp(beta(x+a, float64(m)-x+b) - beta(a, b) + log(float64(m)+1) - log(x+1) - log(float64(m)-x+1))
		if sum < 0.001 {
			lo = i
		}
		if sum += p; sum < 0.999 {
			hi = i + 1
		}
	}
	return lo, hi
}

// TestBehind: a detector of features goes with them, to the same weights, not to others.
func TestBehind(t *testing.T) {
	s := digitsSubject(t, "go")
	d := detect.MustScreen(t.Context(), s.classifier, detect.KernelDensity{}, s.data)
	m := zoo.MLP(50, 50)
	m.Backend = s.classifier.Backend()
	same := m.MustFit(t.Context(), s.data.Train)
	if _, err := d.Behind(same); err != nil {
		t.Error(err)
	}
	m.Seed = 5
	m.Epochs = 2
	if _, err := d.Behind(m.MustFit(t.Context(), s.data.Train)); err == nil || !strings.Contains(err.Error(), "other features") {
		t.Errorf("another model: %v", err)
	}
	m.Build = zoo.MLP(20).Build
	if _, err := d.Behind(m.MustFit(t.Context(), s.data.Train)); err == nil || !strings.Contains(err.Error(), "other features") {
		t.Errorf("another architecture: %v", err)
	}
}
