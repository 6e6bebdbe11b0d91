package training

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
)

// Validation measures the model while it is trained, on examples that it is not trained on. The weights of the best
// measurement are those that the trained model gets. The zero Validation measures nothing, and keeps the last weights.
//
//	m.Validation = training.Validation{Held: 0.1, Attack: attack.PGD{Ball: ball, Steps: 20}}
type Validation struct {
	// Examples are what it is measured on. Held, in place of them, is the share of the training's examples, in (0, 1),
	// that is held back for it, drawn by the model's seed.
	Examples *advlib.Examples
	Held     float64
	// None measures nothing where a defence of package defense would hold examples back by itself.
	None bool
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

// Split holds examples back where Held says so, by the seed of the model: it returns the others, which are to be
// trained on, and a validation that has what is held back as Examples. What trains several models for one, each of
// which must not see what the last is measured on, calls it itself; [Model.Train] does so otherwise. An empty part is
// an error.
func (v Validation) Split(e *advlib.Examples, seed uint64) (*advlib.Examples, Validation, error) {
	switch {
	case v.Held == 0:
		return e, v, nil
	case v.Examples != nil || v.None:
		return nil, v, fmt.Errorf("its validation has Examples or is None, and holds a share of %g back: leave one of the two out", v.Held)
	case !(v.Held > 0 && v.Held < 1):
		return nil, v, fmt.Errorf("its validation's Held = %g is not in (0, 1): it is the share of the examples that is held back", v.Held)
	}
	n := int(math.Round(v.Held * float64(e.Len())))
	if n == 0 || n == e.Len() {
		return nil, v, fmt.Errorf("its validation is empty, or all there is: a share of %g of %d examples is %d: give more examples, or "+
			"another share", v.Held, e.Len(), n)
	}
	order := rand.New(rand.NewPCG(seed, uint64(n))).Perm(e.Len())
	held, rest := order[:n], order[n:]
	slices.Sort(held)
	slices.Sort(rest)
	v.Examples, v.Held = e.Select(held), 0
	return e.Select(rest), v, nil
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
	case v.None && (v.Examples != nil || v.Attack != nil || v.Every != 0 || v.KeepLast || v.Stop != nil):
		return fmt.Errorf("its validation is None and says what to measure, too: leave one of the two out")
	case v.Examples == nil && (v.Attack != nil || v.Every != 0 || v.KeepLast || v.Stop != nil):
		return fmt.Errorf("its validation has no examples: give some that it is not trained on, or hold a share of them back by Held")
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

// measure takes the weights from the store of the training, and returns a reason to stop, or "". Weights that are not
// finite are no measurement, but a [divergence].
func (v *validator) measure(ctx context.Context, training *model.Store, epoch int, loss float64) (stop string, err error) {
	weights, err := copied(training, v.store, v.kept)
	if err != nil {
		return "", err
	}
	if err := finite(weights); err != nil {
		weights.Finalize()
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

// instead says what is kept of a training that diverged.
func (v *validator) instead(d divergence) string {
	kept, _ := Record{Epochs: v.epochs}.Best()
	if v.KeepLast {
		kept = v.epochs[len(v.epochs)-1]
	}
	return fmt.Sprintf("%v; the weights after epoch %d are kept", d, kept.Number)
}

// finite returns a [divergence] if a weight is not finite.
func finite(weights *model.Store) error {
	for v := range weights.IterVariables() {
		if v.Shape().DType != dtypes.Float32 {
			continue
		}
		bad := float32(0)
		tensors.MustConstFlatData(v.MustValue(), func(flat []float32) {
			for _, w := range flat {
				if w-w != 0 {
					bad = w
				}
			}
		})
		if bad != 0 {
			return divergence{fmt.Sprintf("a weight of %s is %g", v.Path(), bad)}
		}
	}
	return nil
}

// divergence is a training that has left all sense.
type divergence struct{ what string }

// Error says what is not finite.
func (d divergence) Error() string {
	return d.what + ": a smaller learning rate may help, or a warm-up"
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
