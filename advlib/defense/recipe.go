package defense

import (
	"context"
	"fmt"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/training"
)

// Recipe fills in what a model leaves open of its training, so that it becomes robust without a search for how long and
// how fast to train. Each Fit and Train of this package does so; for an objective of one's own call it:
//
//	m.Objective, m.Adversary = mine{}, defense.AdversarialTraining{Ball: ball}
//	clf, err := defense.Recipe(m, ball, train.Len()).Fit(ctx, train)
//
// Fields that are set stay. The others become
//
//   - BatchSize: 64, of fewer than 2000 examples 32;
//   - Epochs: as many as make 4500 steps, at least 10 and at most 60, as robustness takes longer to learn than classes;
//   - LearningRate: 0.003, and Schedule: [training.Triangle], which rises to that and falls to 0;
//   - Objective: its moving average over a twentieth of the steps, at most 200 of them: see [training.Averaged];
//   - Validation: a tenth of the examples is held back and attacked by PGD-20 in the ball after each epoch, and the
//     best weights are kept, as long training overfits in robust accuracy (Rice et al. 2020, arXiv:2002.11569). Of
//     fewer than 100 examples none are held back. To train on all, set its None.
func Recipe(m training.Model, ball advlib.Ball, examples int) training.Model {
	if m.Validation == (training.Validation{}) && examples >= leastHeld {
		m.Validation = training.Validation{Held: 0.1, Attack: attack.PGD{Ball: ball, Steps: 20}}
	}
	examples -= int(m.Validation.Held * float64(examples))
	if m.BatchSize == 0 {
		const many = 2000
		if m.BatchSize = 64; examples < many {
			m.BatchSize = 32
		}
	}
	perEpoch := max(1, examples/max(1, m.BatchSize))
	if m.Epochs == 0 {
		const steps, least, most = 4500, 10, 60
		m.Epochs = min(max(steps/perEpoch, least), most)
	}
	if m.LearningRate == 0 {
		m.LearningRate = 0.003
	}
	if m.Schedule == nil {
		m.Schedule = training.Triangle{}
	}
	const span, most = 20, 200 // the average goes over a share of 1/span of the steps
	if n := min(m.Epochs*perEpoch/span, most); n > 1 {
		if _, updates := m.Objective.(training.Updater); !updates {
			m.Objective = training.Averaged{Objective: m.Objective, Decay: 1 - 1/float64(n)}
		}
	}
	return m
}

// leastHeld is how many examples there must be for some to be held back.
const leastHeld = 100

// hardening is a defence by its parts.
type hardening struct {
	by    fmt.Stringer // the defence
	short string       // what the model's name says of it
	ball  advlib.Ball
}

// train trains a model that has its objective and adversary, and refuses what has learned nothing.
func (h hardening) train(ctx context.Context, m training.Model, e *advlib.Examples) (*training.Trained, error) {
	if m.Name == "" {
		m.Name = "model"
	}
	m.Name += fmt.Sprintf(" (%s, %v)", h.short, h.ball)
	if e != nil && h.ball.Check() == nil { // what is wrong with either the training itself says
		m = Recipe(m, h.ball, e.Len())
	}
	t, err := m.Train(ctx, e)
	if err != nil {
		return nil, err
	}
	if err := checkLearned(t.Classifier, e.First(collapseExamples)); err != nil {
		return nil, fmt.Errorf("defense: %v: %w", h.by, err)
	}
	return t, nil
}

// minimise trains a model with an objective that has its own adversary, or needs none.
func (h hardening) minimise(ctx context.Context, o training.Objective, m training.Model, e *advlib.Examples) (*training.Trained, error) {
	switch {
	case m.Adversary != nil:
		return nil, fmt.Errorf("defense: %v: the model has the adversary %v already: leave one of the two out", o, m.Adversary)
	case m.Objective != nil:
		return nil, fmt.Errorf("defense: %v: the model has the objective %v already: leave one of the two out", o, m.Objective)
	}
	m.Objective = o
	return h.train(ctx, m, e)
}

// fitted is the classifier of a training.
func fitted(t *training.Trained, err error) (*advlib.Classifier, error) {
	if err != nil {
		return nil, err
	}
	return t.Classifier, nil
}
