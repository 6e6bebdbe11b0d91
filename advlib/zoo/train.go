package zoo

import (
	"context"
	"fmt"
	"math/rand"

	"github.com/gomlx/compute/dtypes"
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
	"advlab/advlib/lab"
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

// recipe says what the trained weights are made of: the step that the trainer repeats, traced; the weights that it begins
// with; the examples and their order; and how often.
func (t *training) recipe() (lab.Recipe, error) {
	x := t.examples.X.Shape().Clone()
	x.Dimensions[0] = t.batch
	store := model.NewStore()
	step, err := lab.Trace(t.Backend, store, []shapes.Shape{x, shapes.Make(dtypes.Int32, t.batch, 1)}, func(scope *model.Scope, in []*graph.Node) []*graph.Node {
		g := in[0].Graph()
		store.SetTraining(g, true)
		z := t.logits(scope, in[0])
		train.AddMainLoss(graph.ReduceAllMean(loss.SparseCategoricalCrossEntropyLogits([]*graph.Node{in[1]}, []*graph.Node{z})))
		total := train.TotalLoss(g) // with what the model's layers added
		t.adam().UpdateGraph(store.RootScope(), g, total)
		return []*graph.Node{z, total}
	})
	if err != nil {
		return lab.Recipe{}, err
	}
	weights, err := lab.Variables(t.store)
	if err != nil {
		return lab.Recipe{}, err
	}
	r := lab.Recipe{Name: t.Name + " on " + t.examples.Name, Backend: t.Backend, Parts: map[string]string{
		"step":            step,
		"initial weights": weights,
		"data":            t.examples.Hash(),
		"order":           fmt.Sprintf("shuffled by seed %d in batches of %d", t.Seed, t.batch),
		"steps":           fmt.Sprint(t.steps),
		"learning rate":   fmt.Sprintf("Adam, %x", t.LearningRate), // a variable of the step, so not in its text
	}}
	if t.Adversary == nil {
		return r, nil
	}
	y := shapes.Make(dtypes.Int32, t.batch, 1)
	if r.Parts["adversary's step"], err = lab.Trace(t.Backend, model.NewStore(), []shapes.Shape{x, x, y, shapes.Make(dtypes.Float32)}, t.adversaryStep); err != nil {
		return lab.Recipe{}, err
	}
	r.Parts["adversary"] = fmt.Sprintf("%#v", t.Adversary) // where it starts, and how often it steps
	return r, nil
}

// weights returns the kept weights, or trains.
func (t *training) weights(ctx context.Context) (*model.Store, error) {
	recipe, err := t.recipe()
	if err != nil {
		lab.Notify(fmt.Sprintf("%s is trained each time: %v", t.Name, err))
		return t.run(ctx)
	}
	trained := false
	store, err := lab.Keep(ctx, lab.Models, recipe, func(ctx context.Context) (*model.Store, error) {
		trained = true
		return t.run(ctx)
	})
	if err == nil && !trained {
		if e, ok := lab.Kept(lab.Models, recipe); ok {
			fmt.Fprintf(t.out(), "%s: trained before on %s; kept as %.12s\n", t.Name, t.examples.Name, e.Key)
		}
	}
	return store, err
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
	source, err := t.perturb(ctx, store, batches)
	if err != nil {
		return nil, err
	}
	if _, err := loop.RunSteps(source, t.steps); err != nil {
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
