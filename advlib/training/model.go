package training

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/backend"
)

// Model is an architecture, and how it is trained: a value to copy and change. Its zero fields mean the default; only
// Build is needed.
type Model struct {
	// Name is shown in reports; empty means "model".
	Name string
	// Build returns the function that builds the logits of that many classes.
	Build func(classes int) advlib.LogitsFn
	// Outputs, in place of Build, is for a model with more outputs than its logits, such as embeddings, which an
	// objective sees.
	Outputs func(classes int) OutputsFn
	// Box is the range of the inputs; the zero Box means advlib.UnitBox, with a Domain the box around its ranges.
	Box advlib.Box
	// Domain describes each feature of the inputs, as in advlib.Spec; it may be nil. Preprocessing belongs in Build.
	Domain advlib.Domain
	// Epochs is how many times the training sees all examples; 0 means 10.
	Epochs int
	// BatchSize is the number of examples in a step, at most all of them; 0 means 32. What is left of an epoch after
	// the last whole batch is not used, other examples in each epoch.
	BatchSize int
	// LearningRate is Adam's step size α; 0 means its authors' 0.001.
	LearningRate float64
	// Schedule, if set, changes the learning rate during the training.
	Schedule Schedule
	// Seed keys the initial weights, the order of the examples, and the adversary's random numbers.
	Seed uint64
	// Objective is what is minimised; nil means [CrossEntropy].
	Objective Objective
	// Adversary, if set, perturbs each batch before the step that trains on it; see package defense.
	Adversary Adversary
	// AdversaryMeets is how the model runs while the adversary looks for its examples, which matters to a model with batch
	// normalisation or dropout: [Inference], as attackers will meet it, or [BatchStatistics], as it runs while it is
	// trained.
	AdversaryMeets Mode
	// Validation, if it has examples or holds some back, measures the model while it is trained, and keeps the best.
	Validation Validation
	// OnEpoch, if set, is told all that the validation has measured, after each measurement and at the end; of a training
	// that was kept, at once. show.Training() draws it: a live curve in a notebook.
	OnEpoch func(Record)
	// Backend is where the model is trained and runs; nil means backend.Open().
	Backend compute.Backend
	// Progress is where a progress bar is drawn; nil means on the standard output when that is a terminal or a
	// notebook's cell, else nowhere.
	Progress io.Writer
}

// OutputsFn builds a model with several outputs, the first of which are the logits: see [advlib.LogitsFn].
type OutputsFn func(scope *model.Scope, x *graph.Node) []*graph.Node

// Mode is how a model runs: batch normalisation and dropout differ between training and use.
type Mode int

const (
	// Inference takes the averages of batch normalisation, and no dropout: each example is on its own.
	Inference Mode = iota
	// BatchStatistics takes the mean and the variance of the batch itself, and draws dropout, as many authors' code does
	// in its attacks. There the attack's own batches go into the averages too; here only what is trained on does.
	BatchStatistics
)

// String returns "inference" or "batch statistics".
func (m Mode) String() string {
	switch m {
	case Inference:
		return "inference"
	case BatchStatistics:
		return "batch statistics"
	}
	return fmt.Sprintf("mode %d", int(m))
}

// Trained is what comes out of a training.
type Trained struct {
	// Classifier is the trained model.
	Classifier *advlib.Classifier
	// Key is where package lab keeps the weights, for lab.Read(lab.Models, key) and advlib evaluate --store; empty if they
	// are not kept.
	Key string
	Record
}

// Record is what the validation has measured, so far or in all.
type Record struct {
	// Name is the model's.
	Name string
	// Planned is the number of epochs that the training may last.
	Planned int
	// Epochs are the measurements; nil without a validation.
	Epochs []Epoch
	// Stopped is why the training ended before its last epoch; empty if it did not.
	Stopped string
	// Done says that the training has ended.
	Done bool
}

// Best returns the measurement that the trained model's weights are of, unless [Validation].KeepLast kept the last
// ones; false if nothing was measured.
func (r Record) Best() (best Epoch, ok bool) {
	for _, e := range r.Epochs {
		if e.Best {
			best, ok = e, true
		}
	}
	return best, ok
}

// MustFit is [Model.Fit] for notebooks, examples and tests: it panics on an error.
func (m Model) MustFit(ctx context.Context, e *advlib.Examples) *advlib.Classifier {
	c, err := m.Fit(ctx, e)
	if err != nil {
		panic(err)
	}
	return c
}

// Fit trains the model on the examples and returns it as a classifier; see [Model.Train].
func (m Model) Fit(ctx context.Context, e *advlib.Examples) (*advlib.Classifier, error) {
	t, err := m.Train(ctx, e)
	if err != nil {
		return nil, err
	}
	return t.Classifier, nil
}

// Train trains the model on the examples, or takes the weights of the same training from package lab's store;
// lab.Fresh(ctx) trains again. The number of classes is that of the examples' class names, or, without names, one more
// than the largest label.
//
// It is an error, before anything is trained, if a field is out of range or the examples do not fit: inputs outside of
// the box, NaN, labels out of range, a shape that the model cannot be built for. A loss that becomes infinite or NaN
// ends the training: with a validation the best weights before are kept, and Stopped says so; without one, or before
// its first measurement, it is an error. When ctx is done, training stops and ctx.Err() is returned.
func (m Model) Train(ctx context.Context, e *advlib.Examples) (*Trained, error) {
	t, err := m.train(ctx, e)
	if err != nil {
		return nil, fmt.Errorf("training: %s: %w", m.defaults().Name, err)
	}
	return t, nil
}

func (m Model) defaults() Model {
	set := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	set(&m.Epochs, 10)
	set(&m.BatchSize, 32)
	if m.LearningRate == 0 {
		m.LearningRate = 0.001
	}
	if m.Name == "" {
		m.Name = "model"
	}
	if m.Box == (advlib.Box{}) && m.Domain == nil {
		m.Box = advlib.UnitBox
	}
	if m.Objective == nil {
		m.Objective = CrossEntropy{}
	}
	if o, ok := m.Objective.(Adversarial); ok && m.Adversary == nil {
		m.Adversary = o.Adversary()
	}
	return m
}

// outputs returns the function that builds the model.
func (m Model) outputs(classes int) OutputsFn {
	if m.Outputs != nil {
		return m.Outputs(classes)
	}
	logits := m.Build(classes)
	return func(scope *model.Scope, x *graph.Node) []*graph.Node { return []*graph.Node{logits(scope, x)} }
}

func (m Model) train(ctx context.Context, e *advlib.Examples) (*Trained, error) {
	r, err := m.ready(ctx, e)
	if err != nil {
		return nil, err
	}
	trained, err := r.weights(ctx)
	if err != nil {
		return nil, err
	}
	c, err := r.classifier(trained.store)
	if err != nil {
		return nil, err
	}
	t := &Trained{Classifier: c, Key: trained.key, Record: r.record(trained.record, true)}
	if r.OnEpoch != nil && len(t.Epochs) > 0 {
		r.OnEpoch(t.Record)
	}
	return t, nil
}

// record is what the world is told of what was measured.
func (r *run) record(of record, done bool) Record {
	return Record{Name: r.Name, Planned: r.Epochs, Epochs: slices.Clone(of.epochs), Stopped: of.stopped, Done: done}
}

// ready returns the model about to be trained on the examples, with its initial weights.
func (m Model) ready(ctx context.Context, e *advlib.Examples) (*run, error) {
	m = m.defaults()
	classes, err := m.check(e)
	if err != nil {
		return nil, err
	}
	if m.Backend == nil {
		if m.Backend, err = backend.Open(); err != nil {
			return nil, err
		}
	}
	if e, m.Validation, err = m.Validation.Split(e, m.Seed); err != nil {
		return nil, err
	}
	outputs := m.outputs(classes)
	spec := advlib.Spec{Name: m.Name, Input: e.Shape(), Box: m.Box, Domain: m.Domain, Classes: e.Classes, Backend: m.Backend,
		Logits: func(scope *model.Scope, x *graph.Node) *graph.Node { return outputs(scope, x)[0] }}
	return m.prepare(ctx, spec, outputs, classes, e)
}

// check returns the number of classes, or what is wrong with the fields or the examples.
func (m Model) check(e *advlib.Examples) (classes int, err error) {
	switch {
	case m.Build == nil && m.Outputs == nil:
		return 0, fmt.Errorf("its Build is nil: start from zoo.MLP or zoo.CNN, or give a function that returns the model's")
	case m.Build != nil && m.Outputs != nil:
		return 0, fmt.Errorf("it has both Build and Outputs: leave one of the two out")
	case m.Epochs < 0:
		return 0, fmt.Errorf("%d epochs: give a positive number, or 0 for the default", m.Epochs)
	case m.BatchSize < 0:
		return 0, fmt.Errorf("a batch size of %d: give a positive number, or 0 for the default", m.BatchSize)
	case !(m.LearningRate > 0) || math.IsInf(m.LearningRate, 0):
		return 0, fmt.Errorf("a learning rate of %g: give a finite positive number, or 0 for the default", m.LearningRate)
	case m.AdversaryMeets != Inference && m.AdversaryMeets != BatchStatistics:
		return 0, fmt.Errorf("the adversary meets %v: give training.Inference or training.BatchStatistics", m.AdversaryMeets)
	case e == nil:
		return 0, fmt.Errorf("there are no examples: give at least one")
	}
	if m.Schedule != nil {
		if err := m.Schedule.Check(); err != nil {
			return 0, fmt.Errorf("its schedule %v: %w", m.Schedule, err)
		}
	}
	classes = len(e.Classes)
	if classes == 0 {
		for _, y := range e.Y {
			classes = max(classes, int(y)+1)
		}
	}
	if classes < 2 {
		return 0, fmt.Errorf("the examples %s have %d classes: a classifier needs at least 2", e.Name, classes)
	}
	var input []int
	if e.X != nil && e.X.Rank() > 0 {
		input = e.Shape()
	}
	if err := e.Check(advlib.Spec{Name: m.Name, Input: input, Box: m.Box, Domain: m.Domain}, classes); err != nil {
		return 0, err
	}
	return classes, nil
}
