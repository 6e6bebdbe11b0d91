package training

import (
	"context"
	"fmt"
	"math"

	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
)

// Validation measures the model while it is trained, on examples that it is not trained on. The weights of the best
// measurement are those that the trained model gets. The zero Validation measures nothing, and keeps the last weights.
type Validation struct {
	// Examples are what it is measured on.
	Examples *advlib.Examples
	// Attack, if set, measures robust accuracy too, and that is what the best is chosen by. An attack that is much weaker
	// than what the model is to withstand chooses models that fool it.
	Attack advlib.Attack
	// Every is the number of epochs between two measurements; 0 means 1. The last epoch is always measured.
	Every int
	// KeepLast keeps the last weights, whatever was better.
	KeepLast bool
	// Stop, if set, may end the training early.
	Stop Stop
}

// Epoch is one measurement.
type Epoch struct {
	// Number counts the epochs, from 1.
	Number int
	// Loss is the moving average of the loss over the last hundred steps or so.
	Loss float64
	// Clean and Robust are accuracies on the validation's examples, in [0, 1]; Robust is −1 without an attack.
	Clean, Robust float64
	// Best says that it is the best so far.
	Best bool
}

// String says what was measured: "epoch 3: loss 0.21, clean 0.953, robust 0.702".
func (e Epoch) String() string {
	s := fmt.Sprintf("epoch %d: loss %.3g, clean %.3f", e.Number, e.Loss, e.Clean)
	if e.Robust >= 0 {
		s += fmt.Sprintf(", robust %.3f", e.Robust)
	}
	if e.Best {
		s += ", the best so far"
	}
	return s
}

// score is what the best is chosen by.
func (e Epoch) score() float64 {
	if e.Robust >= 0 {
		return e.Robust
	}
	return e.Clean
}

// Stop is a condition to end a training before its last epoch.
type Stop interface {
	// String names the condition, with its parameters.
	String() string
	// Check returns an error when the parameters make no sense.
	Check() error
	// Reason returns why the training should end after what was measured so far, or "" if it should go on.
	Reason(epochs []Epoch) string
}

// Patience stops when that many measurements, one after the other, were not better than the best before them.
type Patience int

// String implements [Stop].
func (p Patience) String() string { return fmt.Sprintf("patience %d", int(p)) }

// Check implements [Stop].
func (p Patience) Check() error {
	if p < 1 {
		return fmt.Errorf("a patience of %d: give the number of measurements without a better one, at least 1", int(p))
	}
	return nil
}

// Reason implements [Stop].
func (p Patience) Reason(epochs []Epoch) string {
	since := 0
	for _, e := range epochs {
		if since++; e.Best {
			since = 0
		}
	}
	if since >= int(p) {
		return fmt.Sprintf("%d measurements were no better than the best before", since)
	}
	return ""
}

// Collapse stops when the robust accuracy falls from the best by more than a share of it at once, as in catastrophic
// overfitting of fast adversarial training (Wong et al. 2020, arXiv:2001.03994, section 5.4): 0.5 for a fall to below
// half. A fall by less than 0.1 is none: at the beginning of a training the accuracy is near 0, and moves by chance.
type Collapse float64

// leastFall is what a collapse loses at least.
const leastFall = 0.1

// String implements [Stop].
func (c Collapse) String() string { return fmt.Sprintf("collapse by %.6g", float64(c)) }

// Check implements [Stop].
func (c Collapse) Check() error {
	if !(c > 0 && c < 1) {
		return fmt.Errorf("a collapse of %g is not in (0, 1): it is the share of the best accuracy that is lost", float64(c))
	}
	return nil
}

// Reason implements [Stop].
func (c Collapse) Reason(epochs []Epoch) string {
	best := 0.
	for _, e := range epochs {
		best = max(best, e.score())
	}
	if last := epochs[len(epochs)-1]; best-last.score() >= leastFall && last.score() < (1-float64(c))*best {
		return fmt.Sprintf("the accuracy has collapsed from %.3f to %.3f: catastrophic overfitting", best, last.score())
	}
	return ""
}

func (v Validation) every() int {
	if v.Every == 0 {
		return 1
	}
	return v.Every
}

// check refuses what cannot be measured on the classifier, whose weights are not trained yet.
func (v Validation) check(c *advlib.Classifier, spec advlib.Spec) error {
	switch {
	case v.Examples == nil && (v.Attack != nil || v.Every != 0 || v.KeepLast || v.Stop != nil):
		return fmt.Errorf("its validation has no examples: give some that it is not trained on")
	case v.Examples == nil:
		return nil
	case v.Every < 0:
		return fmt.Errorf("its validation is after every %d epochs: give a positive number, or 0 for 1", v.Every)
	}
	if err := v.Examples.Check(spec, c.Classes()); err != nil {
		return fmt.Errorf("its validation's examples: %w", err)
	}
	if v.Attack != nil {
		if _, err := v.Attack.Threat(c); err != nil {
			return fmt.Errorf("its validation's attack %v: %w", v.Attack, err)
		}
	}
	if v.Stop != nil {
		if err := v.Stop.Check(); err != nil {
			return fmt.Errorf("its validation stops by %w", err)
		}
	}
	return nil
}

// validator measures weights as they are trained: of their values, copies are judged.
type validator struct {
	Validation
	classifier *advlib.Classifier
	store      *model.Store // of the classifier
	kept       func(path string) string
	seed       uint64

	epochs []Epoch
	best   *model.Store
}

// measure takes the weights from the store of the training, and returns a reason to stop, or "".
func (v *validator) measure(ctx context.Context, training *model.Store, epoch int, loss float64) (stop string, err error) {
	weights, err := copied(training, v.store, v.kept)
	if err != nil {
		return "", err
	}
	for variable := range weights.IterVariables() {
		value, err := variable.MustValue().LocalClone()
		if err != nil {
			return "", err
		}
		if err := v.store.GetVariable(variable.Path()).SetValue(value); err != nil {
			return "", err
		}
	}
	e := Epoch{Number: epoch, Loss: loss, Robust: -1}
	if e.Clean, err = accuracy(v.classifier, v.Examples); err != nil {
		return "", err
	}
	if v.Attack != nil {
		res, err := advlib.Settings{Seed: v.seed}.Run(ctx, v.classifier, v.Examples, v.Attack)
		if err != nil {
			return "", err
		}
		right := 0
		for i, broken := range res.Success {
			if !broken && res.Clean[i].Class == v.Examples.Y[i] {
				right++
			}
		}
		e.Robust = float64(right) / float64(v.Examples.Len())
	}
	best := math.Inf(-1)
	for _, before := range v.epochs {
		best = max(best, before.score())
	}
	e.Best = e.score() > best
	v.epochs = append(v.epochs, e)
	if e.Best || v.KeepLast {
		if v.best != nil {
			v.best.Finalize()
		}
		v.best = weights
	} else {
		weights.Finalize()
	}
	if v.Stop != nil {
		stop = v.Stop.Reason(v.epochs)
	}
	return stop, nil
}

// accuracy is the share of examples that the classifier gets right.
func accuracy(c *advlib.Classifier, e *advlib.Examples) (float64, error) {
	z, err := c.Logits(e.X)
	if err != nil {
		return 0, err
	}
	right := 0
	for i, row := range z {
		best := 0
		for k, v := range row {
			if v > row[best] {
				best = k
			}
		}
		if int32(best) == e.Y[i] {
			right++
		}
	}
	return float64(right) / float64(e.Len()), nil
}
