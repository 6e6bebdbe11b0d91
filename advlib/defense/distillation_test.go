package defense_test

import (
	"slices"
	"strings"
	"testing"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/dataset"
	"advlab/advlib/defense"
	"advlab/advlib/training"
	"advlab/advlib/zoo"
)

// TestDistillation: what is left under the cross-entropy alone falls under each attack that does not meet the saturated
// softmax.
func TestDistillation(t *testing.T) {
	train, test := dataset.Digits()
	d := defense.Distillation{T: 100}
	m := zoo.MLP(60)
	m.Epochs = 40
	c := d.MustFit(t.Context(), m, train)
	ball := advlib.Linf.Ball(0.2)
	left := func(a advlib.Attack) float64 {
		res := advlib.MustRun(t.Context(), c, test, a)
		n := 0
		for i, success := range res.Success {
			if !success && res.Clean[i].Class == test.Y[i] {
				n++
			}
		}
		return float64(n) / float64(test.Len())
	}
	naive := left(d.Naive(ball))
	t.Logf("%v: %.3f left", d.Naive(ball), naive)
	if naive < 0.7 {
		t.Errorf("%.3f are left under %v: the softmax does not saturate", naive, d.Naive(ball))
	}
	for _, a := range d.Break(ball, 10) {
		is := left(a)
		t.Logf("%v: %.3f left", a, is)
		if is > 0.05 {
			t.Errorf("%.3f are left under %v", is, a)
		}
	}
}

func TestDistillationRefuses(t *testing.T) {
	train, _ := dataset.Digits()
	for want, T := range map[string]float64{"T = 0 is not": 0, "T = -1 is not": -1} {
		if _, err := (defense.Distillation{T: T}).Fit(t.Context(), zoo.MLP(4), train); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("T = %g: %v", T, err)
		}
	}
	m := zoo.MLP(4)
	m.Objective = training.CrossEntropy{}
	if _, err := (defense.Distillation{T: 10}).Fit(t.Context(), m, train); err == nil || !strings.Contains(err.Error(), "leave it out") {
		t.Errorf("a model with an objective: %v", err)
	}
	if n := len((defense.Distillation{T: 10}).Break(advlib.Linf.Ball(0.1), 2)); n != 2 {
		t.Errorf("%d attacks for two classes, want 2: DLR needs three", n)
	}
	if _, err := attack.JSON((defense.Distillation{T: 10}).Naive(advlib.Linf.Ball(0.1))); err != nil {
		t.Error(err)
	}
}

// TestTheTeacherSeesNothingHeldBack: labels of what is held back change nothing of the student.
func TestTheTeacherSeesNothingHeldBack(t *testing.T) {
	train, _ := dataset.Digits()
	train = train.First(200)
	m := zoo.MLP(8)
	m.Epochs, m.Validation = 2, training.Validation{Held: 0.25, KeepLast: true}
	_, v, err := m.Validation.Split(train, m.Seed)
	if err != nil {
		t.Fatal(err)
	}
	held := map[int64]bool{}
	for i := range v.Examples.Len() {
		held[v.Examples.Number(i)] = true
	}
	other := *train
	other.Y = slices.Clone(train.Y)
	for i := range other.Y {
		if held[train.Number(i)] {
			other.Y[i] = (other.Y[i] + 1) % 10
		}
	}
	logits := func(e *advlib.Examples) [][]float32 {
		z, err := (defense.Distillation{T: 20}).MustFit(t.Context(), m, e).Logits(train.X)
		if err != nil {
			t.Fatal(err)
		}
		return z
	}
	a, b := logits(train), logits(&other)
	for i := range a {
		if !slices.Equal(a[i], b[i]) {
			t.Fatalf("example %d: logits %v, and %v with other labels held back", i, a[i], b[i])
		}
	}
	if len(held) != 50 {
		t.Errorf("%d of 200 examples are held back, want 50", len(held))
	}
}
