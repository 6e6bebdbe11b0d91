package detect_test

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/cachedir"
	"advlab/advlib/certify"
	"advlab/advlib/detect"
	"advlab/advlib/lab"
	"advlab/advlib/report"
	"advlab/advlib/transform"
	"advlab/advlib/zoo"
)

// TestEvaluateRejecting has every number by hand; see [TestToy]. Accepted is what is at least 0.09 from ½. FGM moves
// each of the nine that are accepted and right by 0.3:
//
//	0.05 → 0.35, 0.90 → 0.60                 right
//	0.15 → 0.45                              right, and rejected
//	0.25 → 0.55, 0.28 → 0.58, 0.72 → 0.42    misclassified, and rejected
//	0.32 → 0.62, 0.38 → 0.68, 0.65 → 0.35    accepted and misclassified
//
// 0.45 and 0.55 are rejected as they are, and 0.80 is accepted and misclassified as it is.
func TestEvaluateRejecting(t *testing.T) {
	c, e := numbers(t)
	s := detect.MustScreen(t.Context(), c, between{}, detect.Data{Train: e, Clean: e, Rate: 0.2})
	s.Threshold = 0.82
	ball := advlib.Linf.Ball(0.3)
	attacks := []advlib.Attack{s.Shown(attack.FGM{Ball: ball}), s.Adaptive(ball)}
	r, err := advlib.Evaluate(t.Context(), s, e, attacks, s.Certified(certify.IBP))
	if err != nil {
		t.Fatal(err)
	}
	rate := func(k, of int) advlib.Rate { return advlib.Rate{Count: k, Of: of} }
	for what, got := range map[string][2]advlib.Rate{
		"without the detector": {r.WithoutDetector(), rate(11, 12)},
		"clean":                {r.Clean(), rate(9, 12)},
		"rejected":             {r.Rejected(), rate(2, 12)},
		"robust":               {r.Robust(ball), rate(6, 12)},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: %+v, want %+v", what, got[0], got[1])
		}
	}
	for k, adaptive := range []bool{false, true} {
		a := r.Attacks[k]
		changed, detected := r.Changed(a)
		if a.Screened.Adaptive != adaptive || changed != rate(6, 9) || detected != rate(3, 6) {
			t.Errorf("%s: adaptive %t, changed %+v, want 6 of 9; detected %+v, want 3 of 6", a.Name, a.Screened.Adaptive, changed, detected)
		}
		if alone, known := r.RobustTo(a, ball); !known || alone != rate(6, 12) {
			t.Errorf("%s alone: robust %+v, known %t", a.Name, alone, known)
		}
	}
	curve := r.RejectionCurve(report.Linf, false)
	if len(curve) != 2 {
		t.Fatalf("the curve is %+v, want points at 0 and 0.3", curve)
	}
	for i, want := range [][3]int{{9, 1, 2}, {2, 4, 6}} {
		if p := curve[i]; [3]int{p.Right.Count, p.Wrong.Count, p.Rejected.Count} != want {
			t.Errorf("at %g: %+v, want right, wrong, rejected %v", p.Radius, p, want)
		}
	}
	// Example by example: certified ≤ robust ≤ clean.
	certified := []bool{true, true, false, false, false, false, false, false, false, false, true, false}
	for i := range e.Y {
		robust := r.Correct(i) && !r.Attacks[0].Success[i] && !r.Attacks[1].Success[i]
		if r.Certificates[0].Certified[i] != certified[i] || certified[i] && !robust || robust && !r.Correct(i) {
			t.Errorf("example %d: certified %t, want %t; robust %t, clean %t", i, r.Certificates[0].Certified[i], certified[i], robust, r.Correct(i))
		}
	}
	if err := r.Contradiction(); err != nil {
		t.Error(err)
	}
	if r.Sanity.NotApplicable != "" || r.Sanity.Unbounded.Of == 0 {
		t.Errorf("the gradients of the classifier behind were not checked: %+v", r.Sanity)
	}
	fgm := func(b advlib.Ball) advlib.Attack { return attack.FGM{Ball: b} }
	best := func(advlib.Ball) (*advlib.Classifier, error) { return c, nil }
	if err := detect.Plausible(t.Context(), advlib.Settings{}, r, best, e, fgm); err != nil {
		t.Fatal(err)
	}
	// In 0.15 the classifier loses .38 .45 .55 and .65; .8 is wrong from the beginning.
	if got := r.Rejection.Reductions; len(got) != 1 || got[0].Robust != rate(6, 12) || got[0].Best != rate(7, 12) || got[0].Implausible() {
		t.Errorf("reductions %+v", got)
	}
	for _, want := range []string{"clean, accepted and right", "clean, rejected", "robust accuracy with rejection", "naive", "adaptive",
		"what the detector sees: between, threshold 0.82, set to reject 20 % of clean inputs", "plausibility: robust with rejection"} {
		if !strings.Contains(r.String(), want) || want[0] != 'w' && !strings.Contains(r.HTML(), want) {
			t.Errorf("the report does not say %q:\n%v", want, r)
		}
	}
	sameInJSON(t, r)
	if err := detect.Plausible(t.Context(), advlib.Settings{}, r, best, e.First(3), fgm); err == nil {
		t.Error("other examples than those evaluated are no error")
	}
	s.Threshold = math.Inf(-1) // rejects everything
	r = advlib.MustEvaluate(t.Context(), s, e, attacks)
	if r.Robust(ball).Count != 0 || r.Clean().Count != 0 || r.Rejected() != rate(12, 12) || r.WithoutDetector() != rate(11, 12) {
		t.Errorf("a detector that rejects everything is worth something:\n%v", r)
	}
	sameInJSON(t, r)
}

// sameInJSON compares a report with what is read of what is written of it.
func sameInJSON(t *testing.T, r *advlib.Report) {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	back := new(advlib.Report)
	if err := json.Unmarshal(text, back); err != nil {
		t.Fatal(err)
	}
	if back.String() != r.String() || !reflect.DeepEqual(back.Rejection, r.Rejection) ||
		!reflect.DeepEqual(back.Attacks[0].Screened, r.Attacks[0].Screened) {
		t.Errorf("what comes back from JSON is not the report:\n%v\nis\n%v", r, back)
	}
}

// memory is a journal.
type memory struct {
	kept     map[string]advlib.Outcome
	recalled int
}

func (m *memory) key(p advlib.Piece) string { return fmt.Sprint(p.By, p.On.Y, p.On.Seed, p.In) }

func (m *memory) Recall(p advlib.Piece, accept func(advlib.Outcome) error) bool {
	o, ok := m.kept[m.key(p)]
	if ok = ok && accept(o) == nil; ok {
		m.recalled++
	}
	return ok
}

func (m *memory) Keep(p advlib.Piece, o advlib.Outcome) { m.kept[m.key(p)] = o }

// TestEvaluateRejectingResumes: what was rejected is recalled, too; and package lab knows a screened classifier.
func TestEvaluateRejectingResumes(t *testing.T) {
	c, e := numbers(t)
	s := detect.MustScreen(t.Context(), c, between{}, detect.Data{Train: e, Clean: e, Rate: 0.2})
	s.Threshold = 0.82
	ball := advlib.Linf.Ball(0.3)
	m := &memory{kept: map[string]advlib.Outcome{}}
	settings := advlib.Settings{Journal: m, BatchSize: 4}
	attacks := []advlib.Attack{s.Shown(attack.FGM{Ball: ball}), s.Adaptive(ball)}
	first := settings.MustEvaluate(t.Context(), s, e, attacks, s.Certified(certify.IBP))
	again := settings.MustEvaluate(t.Context(), s, e, attacks, s.Certified(certify.IBP))
	if m.recalled != len(m.kept) || m.recalled < 3 {
		t.Errorf("%d of %d pieces were recalled", m.recalled, len(m.kept))
	}
	for k := range first.Attacks {
		if !reflect.DeepEqual(first.Attacks[k].Screened, again.Attacks[k].Screened) {
			t.Errorf("%s: %+v, recalled %+v", first.Attacks[k].Name, first.Attacks[k].Screened, again.Attacks[k].Screened)
		}
	}
	// An attack is described with the detector that it knows: by its graph, its threshold and what it was fitted to.
	texts := map[string]float64{}
	for _, threshold := range []float64{0.82, 0.8} {
		s.Threshold = threshold
		text, err := lab.Describe(attacks[1])
		if err != nil {
			t.Fatal(err)
		}
		texts[text] = threshold
		if victim, err := lab.Victim(s); err != nil || victim == "" {
			t.Errorf("lab knows no text for the victim: %v", err)
		}
	}
	if len(texts) != 2 {
		t.Errorf("attacks on two thresholds have %d texts", len(texts))
	}
	if _, err := lab.Describe(attacks[0]); err != nil {
		t.Error(err)
	}
}

// TestKeep: what is kept comes back as it was, with what it has learnt, and refuses other features.
func TestKeep(t *testing.T) {
	t.Setenv(cachedir.Variable, t.TempDir())
	s := digitsSubject(t, "go")
	taught := s.data
	taught.Attack = attack.PGD{Ball: s.ball, Steps: 10, Loss: advlib.Margin}
	m := zoo.MLP(20)
	m.Backend, m.Epochs = s.classifier.Backend(), 2
	other := m.MustFit(t.Context(), s.data.Train)
	for _, c := range []struct {
		method detect.Method
		data   detect.Data
		looks  bool // at what the classifier makes of an input
	}{
		{s.squeezing, s.data, true}, {detect.LID{K: 10, Batch: 50}, taught, true}, {detect.KernelDensity{Bandwidth: 2}, s.data, true},
		{detect.MagNet{Epochs: 2, BatchSize: 64}, s.data, true}, {detect.Binary{}, taught, false},
	} {
		d := detect.MustScreen(t.Context(), s.classifier, c.method, c.data)
		d.Threshold *= 1.01
		key, err := d.Keep(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		back, err := detect.Restore(t.Context(), s.classifier, key[:12])
		if err != nil {
			t.Fatal(err)
		}
		want, err := d.Verdicts(t.Context(), s.test.X)
		if err != nil {
			t.Fatal(err)
		}
		got, err := back.Verdicts(t.Context(), s.test.X)
		if err != nil || !reflect.DeepEqual(got, want) || back.Threshold != d.Threshold || back.String() != d.String() {
			t.Errorf("%v: what comes back says %v, not %v (%v)", d, got, want, err)
		}
		if again, err := back.Keep(t.Context()); err != nil || again != key {
			t.Errorf("%v: kept again it is %s, not %s (%v)", d, again, key, err)
		}
		if _, err := detect.Restore(t.Context(), other, key); c.looks != (err != nil && strings.Contains(err.Error(), "has other features")) {
			t.Errorf("%v before another model: %v", d, err)
		}
	}
	if _, err := detect.Restore(t.Context(), s.classifier, "0123"); err == nil {
		t.Error("a key of nothing is no error")
	}
}

// TestJSON: methods come back from JSON, and what cannot be a method is refused.
func TestJSON(t *testing.T) {
	for _, n := range detect.Methods() {
		text, err := detect.JSON(n.Method)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := detect.FromJSON(text); err != nil || !reflect.DeepEqual(back, n.Method) {
			t.Errorf("%s became %v (%v)", text, back, err)
		}
	}
	whole := detect.FeatureSqueezing{Squeezers: []transform.Transform{transform.BitDepth{Bits: 3}, transform.Gaussian{Sigma: 0.5}}}
	text, err := detect.JSON(whole)
	want := `{"method":"FeatureSqueezing","Squeezers":[{"transform":"BitDepth","Bits":3},{"transform":"Gaussian","Sigma":0.5}]}`
	if back, errBack := detect.FromJSON(text); err != nil || errBack != nil || string(text) != want || !reflect.DeepEqual(back, whole) {
		t.Errorf("%s became %v (%v, %v)", text, back, err, errBack)
	}
	for bad, want := range map[string]string{
		`{"method": "LDI"}`:                 `there is no method "LDI": there are FeatureSqueezing, Consistency`,
		`{"method": "LID", "k": 3}`:         `LID: there is no field "k": there are K, Batch, Layers`,
		`{"method": "LID", "K": "many"}`:    "LID: K: ",
		`{"K": 3}`:                          "there is no name of a method",
		`{"method": "Binary", "Model": {}}`: `there is no field "Model"`,
		`{"method": "FeatureSqueezing", "Squeezers": [{"transform": "Noise"}]}`: `there is no transform "Noise"`,
		`[]`: "cannot unmarshal",
	} {
		if _, err := detect.FromJSON([]byte(bad)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v does not say %q", bad, err, want)
		}
	}
	if _, err := detect.JSON(between{}); err == nil {
		t.Error("a method of one's own has a form in JSON")
	}
	if _, err := detect.JSON(detect.Binary{Model: zoo.MLP(5)}); err == nil {
		t.Error("a model has a form in JSON")
	}
}
