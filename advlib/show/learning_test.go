package show

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"advlab/advlib/training"
)

// made is a training that has been measured five times, the fourth being the best.
func made() training.Record {
	r := training.Record{Name: "CNN <&>", Planned: 10, Stopped: "5 measurements were no better", Done: true}
	for k, robust := range []float64{0.1, 0.2, 0.35, 0.5, 0.45} {
		r.Epochs = append(r.Epochs, training.Epoch{Number: k + 1, Loss: 1 / float64(k+1), Clean: 0.9 + 0.01*float64(k), Robust: robust,
			Best: k < 4})
	}
	return r
}

func TestLearning(t *testing.T) {
	p := must[Picture](t)(Learning(made()))
	goldenPicture(t, "learning", p)
	wellFormed(t, p.SVG())
	for _, want := range []string{"epoch 5 of 10", "50.0 %", "45.0 %", "93.0 %"} {
		if !strings.Contains(p.String(), want) {
			t.Errorf("the picture says %q, without %q", p, want)
		}
	}
	long := made()
	long.Name = "CNN-16-32, hardened by adversarial training, PGD-10 Linf ≤ 0.3 of α = 0.075, with weights averaged"
	if s := must[Picture](t)(Learning(long)).SVG(); !strings.Contains(s, "epoch 5 of 10") || !strings.Contains(s, "averaged<") {
		t.Errorf("a long name is cut, or hides the epoch")
	}
	natural := made()
	for i := range natural.Epochs {
		natural.Epochs[i].Robust = -1
	}
	if s := must[Picture](t)(Learning(natural)).String(); strings.Contains(s, "-100") || strings.Contains(s, "50.0 %") {
		t.Errorf("without an attack the picture has a robust accuracy: %s", s)
	}
	if _, err := Learning(training.Record{Name: "m"}); err == nil || !strings.Contains(err.Error(), "give the model a Validation") {
		t.Errorf("without a measurement: error %v", err)
	}
}

// TestLiveTraining: five pictures a second at most, and always the last.
func TestLiveTraining(t *testing.T) {
	clock := time.Unix(0, 0)
	var drawn []string
	l := &live{now: func() time.Time { return clock }, draw: func(p Picture, done bool) {
		title, _, _ := strings.Cut(p.Title(), " of")
		drawn = append(drawn, fmt.Sprint(title[len(title)-1:], done))
	}}
	all := made()
	for k := range all.Epochs {
		clock = clock.Add(150 * time.Millisecond)
		part := all
		part.Epochs, part.Done = all.Epochs[:k+1], false
		l.update(part)
	}
	l.update(all)
	if want := "1false|3false|5false|5true"; strings.Join(drawn, "|") != want {
		t.Errorf("drawn %s, want %s", strings.Join(drawn, "|"), want)
	}
}
