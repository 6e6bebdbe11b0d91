package training

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"math/rand"
	"slices"
	"strings"
	"time"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	inmemory "github.com/gomlx/gomlx/ml/dataset"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/gomlx/ml/train"
	"github.com/gomlx/gomlx/ml/train/optimizer"
	"github.com/gomlx/gomlx/support/exceptions"

	"advlab/advlib"
	"advlab/advlib/lab"
)

// run is a model about to be trained.
type run struct {
	Model    // with its defaults filled in
	spec     advlib.Spec
	outputs  OutputsFn
	classes  int
	examples *advlib.Examples
	columns  []*tensors.Tensor
	batch    int
	steps    int
	store    *model.Store // initial weights
}

// ownScope is where an objective's variables are.
const ownScope = "objective"

// own tells variables of the objective from those of the model.
func own(v *model.Variable) bool { return strings.HasPrefix(v.Path(), "/"+ownScope+"/") }

// outcome is what a training gives.
type outcome struct {
	store *model.Store
	key   string // of package lab; empty: it is not kept
	record
}

// record is what is kept beside the weights.
type record struct {
	epochs  []Epoch
	stopped string
}

// recordJSON is a record as package lab keeps it.
type recordJSON struct {
	Epochs  []Epoch
	Stopped string
}

var records = lab.Values[recordJSON]("training")

// prepare builds the model once, which shows whether it can be built, draws its initial weights, and asks everything
// that has to do with the training whether it fits.
func (m Model) prepare(ctx context.Context, spec advlib.Spec, outputs OutputsFn, classes int, e *advlib.Examples) (*run, error) {
	r := &run{Model: m, spec: spec, outputs: outputs, classes: classes, examples: e, batch: min(m.BatchSize, e.Len()), store: model.NewStore()}
	r.steps = m.Epochs * (e.Len() / r.batch)
	if err := r.store.SetRNGStateFromSeed(int64(m.Seed)); err != nil {
		return nil, fmt.Errorf("seed %d: %w", m.Seed, err)
	}
	x := r.shape()
	err := exceptions.TryCatch[error](func() {
		g := graph.NewGraph(m.Backend, m.Name)
		defer g.Finalize()
		r.store.SetTraining(g, true)
		r.outputs(r.store.RootScope(), graph.Parameter(g, "x", x))
	})
	if err != nil {
		return nil, fmt.Errorf("the model cannot be built for inputs of shape %v: %w", x.Dimensions, err)
	}
	if err := r.store.InitializeVariables(m.Backend, nil); err != nil {
		return nil, fmt.Errorf("drawing the initial weights: %w", err)
	}
	if err := r.checkAll(); err != nil {
		return nil, err
	}
	if c, ok := m.Objective.(Columner); ok {
		if r.columns, err = c.Columns(ctx, e); err != nil {
			return nil, fmt.Errorf("its objective %v: %w", m.Objective, err)
		}
		for i, column := range r.columns {
			if column.Rank() == 0 || column.Shape().Dimensions[0] != e.Len() {
				return nil, fmt.Errorf("its objective %v: column %d is %v for %d examples: it must have a row for each", m.Objective, i,
					column.Shape(), e.Len())
			}
		}
	}
	return r, nil
}

// checkAll asks the objective, the adversary and the validation, by a classifier with the initial weights. The plain
// training asks nobody, and needs none.
func (r *run) checkAll() error {
	if r.Objective == (CrossEntropy{}) && r.Adversary == nil && r.Validation == (Validation{}) {
		return nil
	}
	c, err := r.classifier(r.store)
	if err != nil {
		return err
	}
	if err := r.Objective.Check(c); err != nil {
		return fmt.Errorf("its objective %v: %w", r.Objective, err)
	}
	if r.Adversary != nil {
		if err := r.Adversary.Check(c); err != nil {
			return fmt.Errorf("its adversary %v: %w", r.Adversary, err)
		}
	}
	return r.Validation.check(c, r.spec)
}

// classifier returns the model with the weights of a store.
func (r *run) classifier(store *model.Store) (*advlib.Classifier, error) {
	spec := r.spec
	spec.Store = store
	return advlib.NewClassifier(spec)
}

// shape is that of a batch of inputs.
func (r *run) shape() shapes.Shape {
	x := r.examples.X.Shape().Clone()
	x.Dimensions[0] = r.batch
	return x
}

// inputs are the shapes of what a step takes: the original x₀, then, with an adversary, what it has made of it, the
// labels [n], the columns, and the progress.
func (r *run) inputs() []shapes.Shape {
	in := []shapes.Shape{r.shape()}
	if r.Adversary != nil {
		in = append(in, r.shape())
	}
	in = append(in, shapes.Make(dtypes.Int32, r.batch))
	for _, column := range r.columns {
		shape := column.Shape().Clone()
		shape.Dimensions[0] = r.batch
		in = append(in, shape)
	}
	return append(in, shapes.Make(dtypes.Float32))
}

// step reads the inputs of a step.
func (r *run) step(scope *model.Scope, in []*graph.Node) *Step {
	limits := advlib.Signature{Input: r.spec.Input, Box: r.spec.Box, Domain: r.spec.Domain}.Limits()
	s := &Step{X0: in[0], X: in[0], Limits: limits, Classes: r.classes, scope: scope, outputs: r.outputs}
	rest := in[1:]
	if r.Adversary != nil {
		s.X, rest = rest[0], rest[1:]
	}
	s.Y, s.Columns, s.Progress = rest[0], rest[1:len(rest)-1], rest[len(rest)-1]
	return s
}

// trainer returns what makes the steps: loss builds the loss of the inputs, and the optimizer changes the weights after
// it.
func (r *run) trainer() (loss func(scope *model.Scope, in []*graph.Node) *graph.Node, o optimizer.Interface) {
	var latest *Step
	loss = func(scope *model.Scope, in []*graph.Node) *graph.Node {
		latest = r.step(scope, in)
		return r.Objective.Loss(latest)
	}
	o = optimizer.Adam().LearningRate(r.LearningRate).Done()
	if u, ok := r.Objective.(Updater); ok {
		o = updating{o, func() { u.Update(latest) }}
	}
	return loss, o
}

// updating is an optimizer with an [Updater] behind it.
type updating struct {
	optimizer.Interface
	update func()
}

// UpdateGraph implements [optimizer.Interface].
func (u updating) UpdateGraph(scope *model.Scope, g *graph.Graph, loss *graph.Node) {
	u.Interface.UpdateGraph(scope, g, loss)
	u.update()
}

// recipe says what the trained weights are made of: the step that the trainer repeats, traced; the weights that it
// begins with; the examples and their order; and how often.
func (r *run) recipe() (lab.Recipe, error) {
	store := model.NewStore()
	loss, o := r.trainer()
	step, err := lab.Trace(r.Backend, store, r.inputs(), func(scope *model.Scope, in []*graph.Node) []*graph.Node {
		g := in[0].Graph()
		store.SetTraining(g, true)
		train.AddMainLoss(graph.ReduceAllMean(loss(scope, in)))
		total := train.TotalLoss(g) // with what the model's layers added
		o.UpdateGraph(store.RootScope(), g, total)
		return []*graph.Node{total}
	})
	if err != nil {
		return lab.Recipe{}, err
	}
	weights, err := lab.Variables(r.store)
	if err != nil {
		return lab.Recipe{}, err
	}
	parts := map[string]string{
		"step":            step,
		"initial weights": weights,
		"data":            r.examples.Hash(),
		"objective":       r.Objective.String(), // what it chooses batches by
		"order":           fmt.Sprintf("shuffled by seed %d in batches of %d", r.Seed, r.batch),
		"steps":           fmt.Sprint(r.steps),
		"learning rate":   fmt.Sprintf("Adam, %x", r.LearningRate), // a variable of the step, so not in its text
	}
	if r.Schedule != nil {
		parts["schedule"] = r.Schedule.String()
	}
	for i, column := range r.columns {
		h := sha256.New()
		if err := column.ConstBytes(func(b []byte) { h.Write(b) }); err != nil {
			return lab.Recipe{}, err
		}
		parts[fmt.Sprintf("column %d", i)] = fmt.Sprintf("%v %x", column.Shape(), h.Sum(nil))
	}
	if v := r.Validation; v.Examples != nil {
		attack, err := lab.Describe(v.Attack)
		if err != nil {
			return lab.Recipe{}, err
		}
		parts["validation"] = fmt.Sprintf("%s by %s, every %d, keep the last %v, stop %v", v.Examples.Hash(), attack, v.every(),
			v.KeepLast, v.Stop)
	}
	if r.Adversary != nil {
		if parts["adversary's step"], err = r.traceAdversary(); err != nil {
			return lab.Recipe{}, err
		}
		parts["adversary"] = fmt.Sprintf("%#v", r.Adversary) // where it starts, and how often it steps
		if r.AdversaryMeets != Inference {
			parts["adversary meets"] = r.AdversaryMeets.String()
		}
	}
	return lab.Recipe{Name: r.Name + " on " + r.examples.Name, Backend: r.Backend, Parts: parts}, nil
}

// traceAdversary is the text of the adversary's step.
func (r *run) traceAdversary() (string, error) {
	c, err := r.classifier(r.store)
	if err != nil {
		return "", err
	}
	o := newOpponent(r.Adversary, r.AdversaryMeets, c, r.Seed)
	view := c.View()
	x := shapes.Make(dtypes.Float32, append([]int{r.batch}, view.Input()...)...)
	y := shapes.Make(dtypes.Int32, r.batch)
	return lab.Trace(r.Backend, r.store, []shapes.Shape{x, x, y, shapes.Make(dtypes.Float32)},
		func(_ *model.Scope, in []*graph.Node) []*graph.Node {
			return []*graph.Node{o.build(advlib.NewModel(view), in)}
		})
}

// weights returns the kept weights, or trains.
func (r *run) weights(ctx context.Context) (*outcome, error) {
	start := time.Now()
	recipe, err := r.recipe()
	if err != nil {
		lab.Notify(fmt.Sprintf("%s is trained each time: %v", r.Name, err))
		o, err := r.train(ctx)
		if err == nil {
			account(ctx, lab.Recipe{}, time.Since(start))
		}
		return o, err
	}
	var fresh *outcome
	store, err := lab.Keep(ctx, lab.Models, recipe, func(ctx context.Context) (*model.Store, error) {
		o, err := r.train(ctx)
		if err != nil {
			return nil, err
		}
		fresh = o
		return o.store, nil
	})
	if err != nil {
		return nil, err
	}
	account(ctx, recipe, time.Since(start))
	kept := &outcome{store: store}
	if e, ok := lab.Kept(lab.Models, recipe); ok {
		kept.key = e.Key
	}
	if fresh == nil {
		fmt.Fprintf(r.out(), "%s: trained before on %s; kept as %.12s\n", r.Name, r.examples.Name, kept.key)
		fresh = &outcome{}
	}
	if r.Validation.Examples == nil {
		return kept, nil
	}
	keep := ctx
	if fresh.epochs != nil {
		keep = lab.Fresh(ctx) // the record of these weights
	}
	of, err := lab.Keep(keep, records, recipe, func(context.Context) (recordJSON, error) {
		return recordJSON{fresh.epochs, fresh.stopped}, nil
	})
	kept.record = record{of.Epochs, of.Stopped}
	return kept, err
}

// train trains, and returns the model's variables without those of the optimizer and of the objective.
func (r *run) train(ctx context.Context) (*outcome, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	store, err := r.store.Clone()
	if err != nil {
		return nil, err
	}
	defer store.Finalize()
	var rival *opponent
	if r.Adversary != nil {
		c, err := r.classifier(store)
		if err != nil {
			return nil, err
		}
		rival = newOpponent(r.Adversary, r.AdversaryMeets, c, r.Seed)
	}
	valid, err := r.validator()
	if err != nil {
		return nil, err
	}

	bar := newBar(r)
	defer bar.close()
	loss, o := r.trainer()
	build := func(scope *model.Scope, in []*graph.Node) []*graph.Node { return []*graph.Node{loss(scope, in)} }
	first := func(_, predictions []*graph.Node) *graph.Node { return predictions[0] }
	trainer := train.NewTrainer(r.Backend, store, build, first, o, nil, nil)
	perEpoch := r.steps / r.Epochs
	stopped, k := "", 0
	var diverged divergence
	for rows, err := range r.batches() {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		if err := r.setLearningRate(store, k); err != nil {
			return nil, err
		}
		moving, err := r.advance(ctx, trainer, rival, k, rows)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if valid != nil && valid.best != nil && errors.As(err, &diverged) {
				stopped = valid.instead(diverged)
				break
			}
			return nil, fmt.Errorf("training failed after %d of %d steps: %w", k, r.steps, err)
		}
		bar.step(moving)
		k++
		if epoch := k / perEpoch; valid != nil && k%perEpoch == 0 && (epoch%valid.every() == 0 || k == r.steps) {
			stopped, err = valid.measure(ctx, store, epoch, moving)
			switch {
			case valid.best != nil && errors.As(err, &diverged):
				stopped = valid.instead(diverged)
			case err != nil:
				return nil, fmt.Errorf("training failed after %d of %d steps: %w", k, r.steps, err)
			default:
				bar.measured(record{valid.epochs, stopped})
			}
		}
		if k == r.steps || stopped != "" {
			break
		}
	}
	bar.stopped = stopped
	if valid != nil && valid.best != nil {
		return &outcome{store: valid.best, record: record{valid.epochs, stopped}}, nil
	}
	kept, err := copied(store, r.store, r.kept())
	if err == nil {
		if err = finite(kept); err != nil {
			err = fmt.Errorf("training failed in the last of %d steps: %w", r.steps, err)
		}
	}
	return &outcome{store: kept}, err
}

// kept returns where the value of a variable of the trained model is.
func (r *run) kept() func(path string) string {
	if u, ok := r.Objective.(Updater); ok {
		return u.Kept
	}
	return func(path string) string { return path }
}

// validator returns what measures the training; nil: nobody.
func (r *run) validator() (*validator, error) {
	if r.Validation.Examples == nil {
		return nil, nil
	}
	store, err := copied(r.store, r.store, func(path string) string { return path })
	if err != nil {
		return nil, err
	}
	c, err := r.classifier(store)
	if err != nil {
		return nil, err
	}
	return &validator{Validation: r.Validation, classifier: c, store: store, kept: r.kept(), seed: r.Seed}, nil
}

// copied returns the variables that like has, with their values in from, each at the path that at says. Random numbers
// are left out.
func copied(from, like *model.Store, at func(path string) string) (*model.Store, error) {
	to := model.NewStore()
	for l := range like.IterVariables() {
		if l.Name() == model.RNGStateVariableName {
			continue
		}
		v := from.GetVariable(at(l.Path()))
		if v == nil || !v.HasValue() {
			v = from.GetVariable(l.Path()) // one that is not trained, such as the averages of batch normalisation
		}
		value, err := v.MustValue().LocalClone()
		if err != nil {
			return nil, err
		}
		kept, err := to.CreateVariable(l.Path(), value)
		if err != nil {
			return nil, err
		}
		kept.SetTrainable(l.Trainable)
	}
	return to, nil
}

// setLearningRate follows the schedule, before step k.
func (r *run) setLearningRate(store *model.Store, k int) error {
	if r.Schedule == nil {
		return nil
	}
	rate := float32(r.LearningRate * r.Schedule.Factor(float64(k)/float64(r.steps)))
	path := "/" + optimizer.Scope + "/" + optimizer.ParamLearningRate
	if v := store.GetVariable(path); v != nil {
		return v.SetValue(tensors.FromScalar(rate))
	}
	_, err := store.CreateVariable(path, tensors.FromScalar(rate))
	return err
}

// minibatch is a batch of x [n, d...], y [n] and the columns.
type minibatch struct {
	x, y    *tensors.Tensor
	columns []*tensors.Tensor
}

// batches returns the batches without end: another order of the examples in each epoch, or those that the objective
// chooses.
func (r *run) batches() iter.Seq2[minibatch, error] {
	if s, ok := r.Objective.(Sampler); ok {
		if chosen := s.Batches(r.examples, r.batch, r.Seed); chosen != nil {
			return r.chosen(chosen)
		}
	}
	return func(yield func(minibatch, error) bool) {
		// Copies, because the trainer leaves what it is given on the backend's device.
		var inputs []any
		for _, t := range append([]*tensors.Tensor{r.examples.X}, r.columns...) {
			c, err := t.LocalClone()
			if err != nil {
				yield(minibatch{}, err)
				return
			}
			inputs = append(inputs, c)
		}
		y := tensors.FromFlatDataAndDimensions(slices.Clone(r.examples.Y), r.examples.Len())
		all, err := inmemory.InMemoryFromData(r.Backend, "train", inputs, []any{y})
		if err != nil {
			yield(minibatch{}, err)
			return
		}
		defer all.FinalizeAll()
		all.BatchSize(r.batch, true).Shuffle().WithRand(rand.New(rand.NewSource(int64(r.Seed)))).Infinite(true)
		for b, err := range all.Iter() {
			if err != nil {
				yield(minibatch{}, err)
				return
			}
			if !yield(minibatch{b.Inputs[0], b.Labels[0], b.Inputs[1:]}, nil) {
				return
			}
		}
	}
}

// chosen makes batches of the rows that an objective chooses.
func (r *run) chosen(rows iter.Seq[[]int]) iter.Seq2[minibatch, error] {
	return func(yield func(minibatch, error) bool) {
		y := tensors.FromFlatDataAndDimensions(slices.Clone(r.examples.Y), r.examples.Len())
		for batch := range rows {
			if len(batch) != r.batch {
				yield(minibatch{}, fmt.Errorf("the objective %v has chosen a batch of %d rows, %d were wanted", r.Objective, len(batch), r.batch))
				return
			}
			for _, row := range batch {
				if row < 0 || row >= r.examples.Len() {
					yield(minibatch{}, fmt.Errorf("the objective %v has chosen the row %d of %d examples", r.Objective, row, r.examples.Len()))
					return
				}
			}
			b := minibatch{x: advlib.TakeRows(r.examples.X, batch, r.batch), y: advlib.TakeRows(y, batch, r.batch)}
			for _, column := range r.columns {
				b.columns = append(b.columns, advlib.TakeRows(column, batch, r.batch))
			}
			if !yield(b, nil) {
				return
			}
		}
		yield(minibatch{}, fmt.Errorf("the objective %v has no more batches: they must be without end", r.Objective))
	}
}

// trainedOn, if a test sets it, is shown what an adversary has made of each batch.
var trainedOn func(x *tensors.Tensor)

// advance makes step k, and returns the moving average of the loss.
func (r *run) advance(ctx context.Context, trainer *train.Trainer, rival *opponent, k int, b minibatch) (loss float64, err error) {
	progress := float64(k) / float64(r.steps)
	inputs := []*tensors.Tensor{b.x}
	if rival != nil {
		var x *tensors.Tensor
		if first := rival.Rows(r.batch); first < r.batch {
			x, err = rival.perturb(ctx, uint64(k), progress, b.x, b.y)
		} else {
			x, err = b.x.LocalClone()
		}
		if err != nil {
			return 0, err
		}
		if trainedOn != nil {
			trainedOn(x)
		}
		inputs = append(inputs, x)
	}
	inputs = append(append(append(inputs, b.y), b.columns...), tensors.FromScalar(float32(progress)))
	metrics, err := trainer.TrainStep(train.Batch{Inputs: inputs})
	if err != nil {
		return 0, err
	}
	defer advlib.Free(metrics...)
	if last := shapes.ConvertTo[float64](metrics[0].Value()); last != last || last-last != 0 {
		return 0, divergence{fmt.Sprintf("the loss is %g", last)}
	}
	return shapes.ConvertTo[float64](metrics[1].Value()), nil
}
