package zoo

import (
	"context"
	"fmt"
	"math/rand"

	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	inmemory "github.com/gomlx/gomlx/ml/dataset"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/gomlx/ml/train"
	"github.com/gomlx/gomlx/ml/train/loss"
	"github.com/gomlx/gomlx/ml/train/optimizer"
	"github.com/gomlx/gomlx/support/exceptions"

	"advlab/advlib"
)

// training is a model about to be trained.
type training struct {
	Model    // with its defaults filled in
	logits   func(scope *model.Scope, x *graph.Node) *graph.Node
	examples *advlib.Examples
	batch    int
	steps    int
	store    *model.Store // initial weights
}

// prepare builds the model once, which shows whether it can be built, and draws its initial weights.
func (m Model) prepare(logits advlib.LogitsFn, e *advlib.Examples) (*training, error) {
	t := &training{Model: m, logits: logits, examples: e, batch: min(m.BatchSize, e.Len()), store: model.NewStore()}
	t.steps = m.Epochs * (e.Len() / t.batch)
	if err := t.store.SetRNGStateFromSeed(int64(m.Seed)); err != nil {
		return nil, fmt.Errorf("seed %d: %w", m.Seed, err)
	}
	x := t.examples.X.Shape().Clone()
	x.Dimensions[0] = t.batch
	err := exceptions.TryCatch[error](func() {
		g := graph.NewGraph(m.Backend, m.Name)
		defer g.Finalize()
		t.store.SetTraining(g, true)
		t.logits(t.store.RootScope(), graph.Parameter(g, "x", x))
	})
	if err != nil {
		return nil, fmt.Errorf("the model cannot be built for inputs of shape %v: %w", x.Dimensions, err)
	}
	if err := t.store.InitializeVariables(m.Backend, nil); err != nil {
		return nil, fmt.Errorf("drawing the initial weights: %w", err)
	}
	return t, nil
}

// run trains, and returns the model's variables without those of the optimizer.
func (t *training) run(ctx context.Context) (*model.Store, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var names []string
	for v := range t.store.IterVariables() {
		if v.Name() != model.RNGStateVariableName {
			names = append(names, v.Path())
		}
	}
	store, err := t.store.Clone()
	if err != nil {
		return nil, err
	}
	defer store.Finalize()

	// Copies, because the trainer leaves what it is given on the backend's device.
	x, err := t.examples.X.LocalClone()
	if err != nil {
		return nil, err
	}
	y := tensors.FromFlatDataAndDimensions(append([]int32(nil), t.examples.Y...), t.examples.Len(), 1)
	batches, err := inmemory.InMemoryFromData(t.Backend, "train", []any{x}, []any{y})
	if err != nil {
		return nil, err
	}
	defer batches.FinalizeAll()
	batches.BatchSize(t.batch, true).Shuffle().WithRand(rand.New(rand.NewSource(int64(t.Seed)))).Infinite(true)

	bar := newBar(t)
	defer bar.close()
	loop := train.NewLoop(train.NewTrainer(t.Backend, store, t.logits, loss.SparseCategoricalCrossEntropyLogits, t.adam(), nil, nil))
	loop.OnStep("zoo", 0, func(l *train.Loop, metrics []*tensors.Tensor) error {
		bar.step(shapes.ConvertTo[float64](metrics[1].Value()))
		return ctx.Err()
	})
	if _, err := loop.RunSteps(batches, t.steps); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("training failed after %d of %d steps: %w", loop.LoopStep, t.steps, err)
	}

	trained := model.NewStore()
	for _, name := range names {
		v := store.GetVariable(name)
		value, err := v.MustValue().LocalClone()
		if err != nil {
			return nil, err
		}
		kept, err := trained.CreateVariable(name, value)
		if err != nil {
			return nil, err
		}
		kept.SetTrainable(v.Trainable)
	}
	return trained, nil
}

func (t *training) adam() optimizer.Interface {
	return optimizer.Adam().LearningRate(t.LearningRate).Done()
}
