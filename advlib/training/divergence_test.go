package training_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/layers/norm"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/dataset"
	"advlab/advlib/defense"
	"advlab/advlib/lab"
	"advlab/advlib/training"
	"advlab/advlib/zoo"
)

// TestHeld: what is held back is not trained on, is the same for the same seed, and is what is measured.
func TestHeld(t *testing.T) {
	train, _ := digits(t)
	m := zoo.MLP(10)
	m.Epochs, m.Progress = 2, &strings.Builder{}
	m.Validation = training.Validation{Held: 0.25}
	var told []training.Record
	m.OnEpoch = func(r training.Record) { told = append(told, r) }
	trained, err := m.Train(t.Context(), train)
	if err != nil {
		t.Fatal(err)
	}
	said := m.Progress.(*strings.Builder).String()
	if !strings.Contains(said, "240 examples × 2 epochs") || !strings.Contains(said, "MLP-10: epoch 2: loss") {
		t.Errorf("of 320 examples, a quarter held back: %q", said)
	}
	if len(told) != 3 || told[0].Done || len(told[0].Epochs) != 1 || len(told[1].Epochs) != 2 || !told[2].Done || told[2].Planned != 2 ||
		!slices.Equal(told[2].Epochs, trained.Epochs) {
		t.Errorf("told of %+v", told)
	}
	// What is measured are the examples that are left: the shares of right answers are whole numbers of 80.
	for _, e := range trained.Epochs {
		if n := e.Clean * 80; n != float64(int(n)) {
			t.Errorf("%v: of 80 examples?", e)
		}
	}
	told = nil
	again, err := m.Train(t.Context(), train)
	if err != nil || len(told) != 1 || !told[0].Done || again.Key != trained.Key || len(again.Key) < 12 {
		t.Errorf("of a training that was kept, told of %+v, key %q: %v", told, again.Key, err)
	}
	for want, v := range map[string]training.Validation{
		"a share of 0.001 of 320 examples is 0":   {Held: 0.001},
		"a share of 0.999 of 320 examples is 320": {Held: 0.999},
		"Held = 1 is not in (0, 1)":               {Held: 1},
		"leave one of the two out":                {Held: 0.5, Examples: train},
		"None and says what to measure":           {None: true, Every: 2},
		"there are no examples":                   {Examples: train.First(0)},
	} {
		m.Validation = v
		if _, err := m.Train(t.Context(), train); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want one that says %q", v, err, want)
		}
	}
}

// exploding multiplies the loss by infinity in the last half of the training.
type exploding struct{ training.CrossEntropy }

func (exploding) String() string { return "exploding" }
func (exploding) Loss(s *training.Step) *Node {
	late := GreaterThan(s.Progress, Scalar(s.Progress.Graph(), s.Progress.DType(), 0.5))
	factor := Where(late, Infinity(s.X.Graph(), s.X.DType(), 1), ScalarOne(s.X.Graph(), s.X.DType()))
	return Mul(training.CrossEntropy{}.Loss(s), factor)
}

// TestDivergence: a training that leaves all numbers is stopped, the best weights before are kept, and it is said. With
// nothing measured before it is an error.
func TestDivergence(t *testing.T) {
	train, test := digits(t)
	for _, adversary := range []training.Adversary{nil, defense.AdversarialTraining{Ball: advlib.Linf.Ball(0.05), Ascents: 2}} {
		said := &strings.Builder{}
		m := zoo.MLP(20)
		m.Epochs, m.Objective, m.Adversary, m.Progress = 8, exploding{}, adversary, said
		m.Validation = training.Validation{Examples: test, Attack: attack.PGD{Ball: advlib.Linf.Ball(0.05), Steps: 3}}
		trained, err := m.Train(t.Context(), train)
		if err != nil {
			t.Fatalf("%v: %v", adversary, err)
		}
		best, ok := trained.Best()
		if !ok || len(trained.Epochs) != 4 || !strings.Contains(trained.Stopped, "the loss is +Inf") ||
			!strings.Contains(trained.Stopped, fmt.Sprintf("the weights after epoch %d are kept", best.Number)) ||
			!strings.Contains(said.String(), trained.Stopped) {
			t.Errorf("%v: %v, stopped %q, said %q", adversary, trained.Epochs, trained.Stopped, said)
		}
		if got := accuracy(t, trained.Classifier, test); got != best.Clean {
			t.Errorf("%v: the model's accuracy is %g, the best measured was %v", adversary, got, best)
		}
	}
	m := zoo.MLP(20)
	m.Epochs, m.Objective = 8, exploding{}
	_, err := m.Train(t.Context(), train)
	if err == nil || !strings.Contains(err.Error(), "the loss is +Inf: a smaller learning rate may help") {
		t.Errorf("without a validation: error %v", err)
	}
	// The weights of a last step are looked at, too: its loss was that of those before.
	m = zoo.MLP(20)
	m.Epochs, m.BatchSize, m.LearningRate = 1, 320, 1e38
	m.Objective = amplified{}
	if _, err := m.Train(t.Context(), train); err == nil || !strings.Contains(err.Error(), "a weight of") {
		t.Errorf("weights that overflow in the last step: error %v", err)
	}
}

// amplified has a gradient that is not finite, and a loss that is.
type amplified struct{ training.CrossEntropy }

func (amplified) String() string { return "amplified" }
func (amplified) Loss(s *training.Step) *Node {
	z := training.CrossEntropy{}.Loss(s)
	return Add(z, Sqrt(MulScalar(Square(Sub(z, z)), 1)))
}

// normalised is a model with batch normalisation in GoMLX's decomposed form, through which gradients go in inference.
func normalised(classes int) advlib.LogitsFn {
	return func(scope *model.Scope, x *Node) *Node {
		h := Reshape(x, x.Shape().Dimensions[0], -1)
		h = norm.BatchNorm(scope, h, -1).UseBackendInference(false).Momentum(0.5).Done()
		w := scope.In("dense").VariableWithShape("w", shapeOf(x, h.Shape().Dimensions[1], classes)).NodeValue(x)
		return DotProduct(h, w)
	}
}

// TestAdversaryMeets: the adversary meets the averages of batch normalisation, or the statistics of the batch, by
// choice; and however often it looks, only what is trained on goes into the averages.
func TestAdversaryMeets(t *testing.T) {
	train, _ := dataset.Digits()
	train = train.First(64)
	ball := advlib.Linf.Ball(0.1)
	m := training.Model{Name: "normalised", Build: normalised, Epochs: 2, BatchSize: 16}
	averages := func(c *advlib.Classifier) []float32 {
		t.Helper()
		for v := range c.Store().IterVariables() {
			if strings.HasSuffix(v.Path(), "batch_normalization/mean") {
				return tensors.MustCopyFlatData[float32](v.MustValue())
			}
		}
		t.Fatal("the model has no averages")
		return nil
	}
	trained := map[training.Mode]*advlib.Classifier{}
	for _, mode := range []training.Mode{training.Inference, training.BatchStatistics} {
		m.AdversaryMeets = mode
		var natural []float32
		for _, ascents := range []int{0, 5} {
			// A ball so small that what is trained on is the originals: the averages are then those of natural training.
			m.Adversary = nil
			if ascents > 0 {
				m.Adversary = defense.AdversarialTraining{Ball: advlib.Linf.Ball(1e-30), Ascents: ascents, NoRandomStart: true}
			}
			now := averages(m.MustFit(lab.Fresh(t.Context()), train))
			if natural == nil {
				natural = now
			}
			for k, v := range now {
				if d := math.Abs(float64(v - natural[k])); d > 1e-6 {
					t.Errorf("%v: with %d ascents the average of feature %d differs by %g", mode, ascents, k, d)
					break
				}
			}
		}
		m.Adversary = defense.AdversarialTraining{Ball: ball, Ascents: 3, NoWarmUp: true}
		trained[mode] = m.MustFit(t.Context(), train)
	}
	if d, same := largest(weights(trained[training.Inference]), weights(trained[training.BatchStatistics])); !same || d == 0 {
		t.Errorf("both modes give the same weights: the mode has no effect, or is taken from the store")
	}
	// With a batch's own statistics, a shift of all its examples is invisible: the step along the gradient of one example
	// then depends on the others.
	m.AdversaryMeets = training.BatchStatistics
	whole, c, err := m.Perturbed(t.Context(), train, 1)
	if err != nil {
		t.Fatal(err)
	}
	half, _, err := m.Perturbed(t.Context(), train.First(32), 1)
	if err != nil {
		t.Fatal(err)
	}
	n := 32 * c.Limits().Size()
	if slices.Equal(tensors.MustCopyFlatData[float32](whole)[:n], tensors.MustCopyFlatData[float32](half)) {
		t.Errorf("by the batch's own statistics the adversary does the same in another batch")
	}
	m.AdversaryMeets = training.Inference
	if whole, _, err = m.Perturbed(t.Context(), train, 1); err != nil {
		t.Fatal(err)
	}
	if half, _, err = m.Perturbed(t.Context(), train.First(32), 1); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(tensors.MustCopyFlatData[float32](whole)[:n], tensors.MustCopyFlatData[float32](half)) {
		t.Errorf("in inference mode the adversary does something else in another batch")
	}
	m.AdversaryMeets = 7
	if _, err := m.Fit(context.Background(), train); err == nil || !strings.Contains(err.Error(), "the adversary meets mode 7") {
		t.Errorf("mode 7: error %v", err)
	}
}
