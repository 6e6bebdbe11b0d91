package defense_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/backend"
	"advlab/advlib/dataset"
	"advlab/advlib/defense"
	"advlab/advlib/show"
	"advlab/advlib/training"
	"advlab/advlib/zoo"
)

// hardened is what TestMethods trains by, with its defaults.
type hardened struct {
	method interface {
		fmt.Stringer
		Train(context.Context, training.Model, *advlib.Examples) (*training.Trained, error)
	}
	behind float64 // how far the robust accuracy may be behind that of adversarial training
}

func hardenedBy(ball advlib.Ball) []hardened {
	at := defense.AdversarialTraining{Ball: ball}
	return []hardened{
		{at, 0},
		{defense.TRADES{Ball: ball}, 0.03},
		{defense.Free{Ball: ball}, 0.1},
		{defense.ByObjective{Objective: defense.AWP{}, Adversary: at}, 0.1},
		{defense.MART{Ball: ball}, 0.1},
		{defense.Fast{Ball: ball}, 1},
	}
}

// TestMethods: with nothing but the ball given, every method makes a model robust. On MNIST (ADVLAB_FULL=1, and
// dataset.Variable) the zoo's convolutional network, Linf 0.3 and AutoAttack on the last 1000 images, for which
// CURVES.md has the numbers and the time; else digits, a small network and PGD.
func TestMethods(t *testing.T) {
	train, test := dataset.Digits()
	m, ball, full := zoo.MLP(40), advlib.Linf.Ball(0.15), false
	least, natural := 0.55, 0.3
	attacked := func(c *advlib.Classifier) float64 { return robust(t, c, test, ball) }
	if os.Getenv("ADVLAB_FULL") != "" {
		var missing *dataset.MissingError
		most, rest, err := dataset.MNISTSmall(t.Context())
		switch {
		case errors.As(err, &missing):
			t.Logf("digits instead of MNIST: %v", err)
		case err != nil:
			t.Fatal(err)
		default:
			train, test, full, m, ball, least, natural = most, rest.Slice(1000, 2000), true, zoo.CNN(), advlib.Linf.Ball(0.3), 0.8, 0.05
			attacked = func(c *advlib.Classifier) float64 {
				r, err := advlib.Evaluate(t.Context(), c, test, []advlib.Attack{attack.AutoAttack{Ball: ball}})
				if err != nil {
					t.Fatal(err)
				}
				return r.Robust(ball).Value()
			}
		}
	}
	if !full { // which needs no compiling
		opened, err := backend.OpenNamed(backend.Go)
		if err != nil {
			t.Fatal(err)
		}
		m.Backend = opened
	}
	without := attacked(m.MustFit(t.Context(), train))
	if without > natural {
		t.Errorf("without a defence %.3f stand", without)
	}
	var at float64
	for k, h := range hardenedBy(ball) {
		trained, err := h.method.Train(t.Context(), m, train)
		if err != nil {
			t.Fatal(err)
		}
		got := attacked(trained.Classifier)
		best, ok := trained.Best()
		t.Logf("%v: %.3f stand of %d; %v", h.method, got, test.Len(), best)
		if !ok {
			t.Errorf("%v: nothing was measured on the way", h.method)
		}
		if full {
			if picture, err := show.Learning(trained.Record); err == nil {
				t.Log("\n" + picture.String())
			}
		}
		if k == 0 {
			at = got
		}
		if got < at-h.behind || got < without+0.2 || k == 0 && got < least {
			t.Errorf("%v: %.3f stand, adversarial training leaves %.3f, and no defence %.3f", h.method, got, at, without)
		}
	}
}

// TestFastCollapses: with the paper's step of 1.25·ε, no warm-up and a rate of 0.003, fast training of a convolutional
// network on MNIST ends in a model that withstands nothing. Without NoStop what is kept is the best before. It is for
// ADVLAB_FULL alone: on digits it has not been seen. [training.Collapse] itself has a test in its package.
func TestFastCollapses(t *testing.T) {
	if os.Getenv("ADVLAB_FULL") == "" {
		t.Skip("ADVLAB_FULL=1 trains on MNIST, for some minutes")
	}
	train, _, err := dataset.MNISTSmall(t.Context())
	var missing *dataset.MissingError
	if errors.As(err, &missing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	m := zoo.CNN()
	m.Epochs, m.LearningRate = 24, 0.003
	trained := map[bool]*training.Trained{}
	for _, noStop := range []bool{true, false} {
		rough := defense.Fast{Ball: advlib.Linf.Ball(0.3), NoWarmUp: true, NoStop: noStop}
		if trained[noStop], err = rough.Train(t.Context(), m, train); err != nil {
			t.Fatal(err)
		}
		best, _ := trained[noStop].Best()
		t.Logf("no stop: %t; best %v; last %v; %s", noStop, best, trained[noStop].Epochs[len(trained[noStop].Epochs)-1], trained[noStop].Stopped)
	}
	all := trained[true].Epochs
	last := all[len(all)-1]
	if last.Robust > 0.01 || last.Clean < 0.9 {
		t.Errorf("nothing collapsed: %v", all)
	}
	if best, _ := trained[false].Best(); best.Robust <= last.Robust {
		t.Errorf("what is kept, %v, is no better than what has collapsed, %v", best, last)
	}
}

// TestRecipe: what is set stays, what is open follows from the number of examples.
func TestRecipe(t *testing.T) {
	ball := advlib.Linf.Ball(0.1)
	for _, c := range []struct {
		examples, epochs, batch int
		decay                   string
		held                    float64
	}{
		{8000, 40, 64, "0.995", 0.1},
		{60000, 10, 64, "0.995", 0.1},
		{1285, 60, 32, "0.990741", 0.1},
		{50, 60, 32, "0.666667", 0},
	} {
		m := defense.Recipe(training.Model{}, ball, c.examples)
		if m.Epochs != c.epochs || m.BatchSize != c.batch || m.Validation.Held != c.held || m.LearningRate != 0.003 ||
			!strings.HasSuffix(m.Objective.String(), "averaged by "+c.decay) || m.Schedule != training.Schedule(training.Triangle{}) {
			t.Errorf("%d examples: %+v", c.examples, m)
		}
	}
	set := training.Model{Epochs: 3, BatchSize: 7, LearningRate: 1, Schedule: training.Cosine{}, Objective: training.Averaged{Decay: 0.5},
		Validation: training.Validation{None: true}}
	if got := defense.Recipe(set, ball, 8000); got.Epochs != 3 || got.BatchSize != 7 || got.LearningRate != 1 ||
		got.Schedule != set.Schedule || got.Objective != set.Objective || got.Validation != set.Validation {
		t.Errorf("what was set became %+v", got)
	}
}
