package attack_test

import (
	"context"
	"testing"

	"advlab/advlib"
	"advlab/advlib/attack"
)

// A higher confidence is kept by the logits of what is returned, and costs distance.
func TestCarliniWagnerConfidence(t *testing.T) {
	r := digits(t)
	e := r.Examples.First(16)
	quick := attack.CarliniWagner{BinarySearchSteps: 6, Steps: 200, InitialConst: 0.1}
	for _, goal := range []advlib.Goal{advlib.Untargeted, advlib.TargetedBy(3)} {
		var distances []float64
		for _, κ := range []float64{0, 1, 4} {
			a := quick
			a.Confidence, a.Goal = κ, goal
			res, err := advlib.Run(context.Background(), r.Classifier, e, a)
			if err != nil {
				t.Fatal(err)
			}
			z, err := r.Classifier.Logits(res.Adversarial)
			if err != nil {
				t.Fatal(err)
			}
			var found []float64
			for i := range z {
				if !res.Success[i] || res.Distance[i] == 0 {
					continue
				}
				wanted := int(res.Final[i].Class)
				for k, v := range z[i] {
					if k != wanted && goal.IsTargeted() && z[i][wanted]-v < float32(κ) {
						t.Errorf("%v: example %d: class %d leads class %d by %g only", a, i, wanted, k, z[i][wanted]-v)
					}
				}
				if lead := z[i][wanted] - z[i][e.Y[i]]; lead < float32(κ) {
					t.Errorf("%v: example %d: the label is %g behind only", a, i, lead)
				}
				found = append(found, res.Distance[i])
			}
			if len(found) < 14 {
				t.Errorf("%v: %d of %d found", a, len(found), e.Len())
			}
			distances = append(distances, median(found))
		}
		if !(distances[0] < distances[1] && distances[1] < distances[2]) {
			t.Errorf("%v: median distances %v do not grow with the confidence", goal, distances)
		}
	}
}

// Examples nearer to their boundary than Adam's first steps are long, as one at 0.014 here, are adversarial in passing
// with any c: that must not end the search for the c whose solution is. When it did, one was left 1.64 times too far.
func TestCarliniWagnerInPassing(t *testing.T) {
	const largest = 1.05
	l := linear(t, linearSpecs[0])
	s, err := l.ScoreMinimal(context.Background(), attack.CarliniWagner{Steps: 300})
	if err != nil {
		t.Fatal(err)
	}
	if s.Max() > largest {
		t.Errorf("the largest ratio is %.4f, more than %g", s.Max(), largest)
	}
}

// The constants mean the same in any box: with pixels in [0, 255] distances are 255 times as large.
func TestCarliniWagnerBox(t *testing.T) {
	r := digits(t)
	e := r.Examples.First(8)
	scaled, big := inBytes(t, r.Classifier, e)
	a := attack.CarliniWagner{BinarySearchSteps: 5, Steps: 200, InitialConst: 0.1}
	unit, err := advlib.Run(context.Background(), r.Classifier, e, a)
	if err != nil {
		t.Fatal(err)
	}
	bytes, err := advlib.Run(context.Background(), scaled, big, a)
	if err != nil {
		t.Fatal(err)
	}
	for i := range unit.Success {
		if !unit.Success[i] || !bytes.Success[i] {
			t.Errorf("example %d: success %v in [0, 1], %v in [0, 255]", i, unit.Success[i], bytes.Success[i])
			continue
		}
		if ratio := bytes.Distance[i] / unit.Distance[i]; unit.Distance[i] > 0 && (ratio < 254 || ratio > 256) {
			t.Errorf("example %d: distance %g in [0, 1], %g in [0, 255]", i, unit.Distance[i], bytes.Distance[i])
		}
	}
}

// Giving up examples whose loss no longer falls saves passes and costs almost no distance.
func TestCarliniWagnerAbort(t *testing.T) {
	r := digits(t)
	e := r.Examples.First(16)
	a := attack.CarliniWagner{BinarySearchSteps: 5, Steps: 500, InitialConst: 0.1}
	early, err := advlib.Run(context.Background(), r.Classifier, e, a)
	if err != nil {
		t.Fatal(err)
	}
	a.NoAbort = true
	late, err := advlib.Run(context.Background(), r.Classifier, e, a)
	if err != nil {
		t.Fatal(err)
	}
	if early.Stats.Forward >= late.Stats.Forward {
		t.Errorf("%d passes with giving up, %d without", early.Stats.Forward, late.Stats.Forward)
	}
	if ratio := median(early.Distance) / median(late.Distance); ratio > 1.005 {
		t.Errorf("the median distance is %.4f times that without giving up", ratio)
	}
}
