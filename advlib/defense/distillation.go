package defense

import (
	"cmp"
	"context"
	"fmt"
	"math"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/training"
)

// Distillation is the defensive distillation of Papernot et al. (2016), arXiv:1511.04508, section IV: a teacher is
// trained at the temperature T, and a student of the same architecture, from other weights, learns the teacher's
// answers at that temperature,
//
//	min_θ E[ −Σ_k p_k log softmax(z_θ(x)/T)_k ],   p = softmax(z_teacher(x)/T)
//
// The student answers at T = 1. Its logits are then about T times as large, its softmax is 0 and 1 in float32, and the
// gradient of the cross-entropy is exactly 0: attacks that follow it stand still. The model is no more robust for that:
// what does not saturate breaks it (Carlini & Wagner 2016, arXiv:1607.04311), as [Distillation.Break] does. It is here
// to be seen, not to be relied on.
type Distillation struct {
	// T is the temperature, above 0; it must be set. The paper goes up to 100.
	T float64
	// Seed is added to the model's for the student's initial weights; 0 means 1.
	Seed uint64
}

// String returns for example "distillation at T = 100".
func (d Distillation) String() string { return fmt.Sprintf("distillation at T = %.6g", d.T) }

func (d Distillation) check() error {
	if math.IsNaN(d.T) || math.IsInf(d.T, 0) || d.T <= 0 {
		return fmt.Errorf("the temperature T = %g is not a finite number above 0: the paper takes 1 to 100", d.T)
	}
	return nil
}

// Fit trains the teacher and the student, each with the model's epochs, batches and learning rate, and returns the
// student. Both are kept. Where the model does not say, it is 30 epochs at a learning rate of 0.005, as logits that are
// divided by T have far to go.
func (d Distillation) Fit(ctx context.Context, m training.Model, e *advlib.Examples) (*advlib.Classifier, error) {
	return fitted(d.Train(ctx, m, e))
}

// Train is Fit, and returns what was measured of the student on the way.
func (d Distillation) Train(ctx context.Context, m training.Model, e *advlib.Examples) (*training.Trained, error) {
	if err := d.check(); err != nil {
		return nil, fmt.Errorf("defense: distillation: %w", err)
	}
	if m.Objective != nil {
		return nil, fmt.Errorf("defense: %v: the model has the objective %v already: leave it out", d, m.Objective)
	}
	m.Name, m.Epochs, m.LearningRate = cmp.Or(m.Name, "model"), cmp.Or(m.Epochs, 30), cmp.Or(m.LearningRate, 0.005)
	// What is held back is unknown to the teacher, too: its answers would tell the student of it.
	var err error
	if e, m.Validation, err = m.Validation.Split(e, m.Seed); err != nil {
		return nil, fmt.Errorf("defense: %v: %w", d, err)
	}
	teacher, student := m, m
	teacher.Name += fmt.Sprintf(" (teacher at T = %.6g)", d.T)
	teacher.Objective = tempered{T: d.T}
	// What is validated is the student: a teacher says nothing of it.
	teacher.Validation = training.Validation{}
	t, err := teacher.Fit(ctx, e)
	if err != nil {
		return nil, err
	}
	student.Name += fmt.Sprintf(" (distilled at T = %.6g)", d.T)
	student.Seed += cmp.Or(d.Seed, 1)
	student.Objective = tempered{T: d.T, teacher: t}
	return student.Train(ctx, e)
}

// MustFit is [Distillation.Fit] for notebooks, examples and tests: it panics on an error.
func (d Distillation) MustFit(ctx context.Context, m training.Model, e *advlib.Examples) *advlib.Classifier {
	return must(d.Fit(ctx, m, e))
}

// tempered is the cross-entropy at a temperature: with the labels, or with what a teacher says.
type tempered struct {
	T       float64
	teacher *advlib.Classifier // nil for the labels
}

// String implements [training.Objective].
func (t tempered) String() string {
	if t.teacher == nil {
		return fmt.Sprintf("cross-entropy at T = %.6g", t.T)
	}
	return fmt.Sprintf("cross-entropy with the teacher's answers at T = %.6g", t.T)
}

// Check implements [training.Objective].
func (tempered) Check(*advlib.Classifier) error { return nil }

// Columns implements [training.Columner]: the probabilities p [n, K] of the teacher.
func (t tempered) Columns(_ context.Context, e *advlib.Examples) ([]*tensors.Tensor, error) {
	if t.teacher == nil {
		return nil, nil
	}
	z, err := t.teacher.Logits(e.X)
	if err != nil {
		return nil, err
	}
	p := make([]float32, 0, len(z)*len(z[0]))
	for _, row := range z {
		p = append(p, softmax(row, t.T)...)
	}
	return []*tensors.Tensor{tensors.FromFlatDataAndDimensions(p, len(z), len(z[0]))}, nil
}

// softmax is that of z/T, computed in float64.
func softmax(z []float32, T float64) []float32 {
	most, sum := math.Inf(-1), 0.
	for _, v := range z {
		most = max(most, float64(v))
	}
	p := make([]float32, len(z))
	for _, v := range z {
		sum += math.Exp((float64(v) - most) / T)
	}
	for k, v := range z {
		p[k] = float32(math.Exp((float64(v)-most)/T) / sum)
	}
	return p
}

// Loss implements [training.Objective].
func (t tempered) Loss(s *training.Step) *Node {
	z := DivScalar(s.Logits(s.X), t.T)
	if t.teacher == nil {
		return crossEntropy(z, s.Y)
	}
	return Neg(ReduceSum(Mul(s.Columns[0], LogSoftmax(z, -1)), -1))
}

// Naive is the attack that the defence looks good under: PGD with 40 steps, from the original, on the cross-entropy.
func (d Distillation) Naive(b advlib.Ball) advlib.Attack {
	return attack.PGD{Ball: b, Steps: 40, NoRandomStart: true}
}

// Break returns attacks that the saturated softmax does not stop: the same PGD on the margin, on the difference of
// logits ratio where there are enough classes for it, and on the cross-entropy of the logits divided by T.
func (d Distillation) Break(b advlib.Ball, classes int) []advlib.Attack {
	pgd := attack.PGD{Ball: b, Steps: 40, NoRandomStart: true}
	margin, ratio := pgd, pgd
	margin.Loss, ratio.Loss = advlib.Margin, advlib.DLR
	all := []advlib.Attack{margin}
	if classes >= advlib.DLR.MinClasses(false) {
		all = append(all, ratio)
	}
	return append(all, attack.Temperature{Attack: pgd, T: d.T})
}
