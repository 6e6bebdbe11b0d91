package zoo

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/gomlx/ml/train"

	"advlab/advlib"
)

// Adversary perturbs each batch before the training step on it, so that the model learns from what is left of its mistakes: see
// package defense, which has the ones of the literature.
type Adversary interface {
	// String names the adversary, with its hyperparameters.
	String() string
	// Check returns an error, before anything is computed, when its hyperparameters make no sense for inputs in the box and that many
	// classes.
	Check(box advlib.Box, classes int) error
	// Rows tells which rows [first, n) of a batch of n it perturbs; those before stay as they are.
	Rows(n int) (first int)
	// Strength is how strong it is, in [0, 1], when the share progress of the training's steps has been made.
	Strength(progress float64) float64
	// Start moves the flat inputs x of a batch to where the perturbation starts; each row has size coordinates. r is the batch's own
	// stream of random numbers.
	Start(r *rand.Rand, box advlib.Box, strength float64, x []float32, size int)
	// Steps is how often Step is run.
	Steps() int
	// Step builds one step from the points x to the next, for the originals x0, the labels y, int32 [n], and the strength, a scalar. The
	// logits are those of the model in inference mode.
	Step(logits func(x *graph.Node) *graph.Node, box advlib.Box, x0, x, y, strength *graph.Node) *graph.Node
}

// adversaryStep is Step as the executor and the recipe take it: on x0, x, y [n, 1] and the strength.
func (t *training) adversaryStep(scope *model.Scope, in []*graph.Node) []*graph.Node {
	logits := func(x *graph.Node) *graph.Node { return t.logits(scope, x) }
	return []*graph.Node{t.Adversary.Step(logits, t.Box, in[0], in[1], graph.Squeeze(in[2], -1), in[3])}
}

// perturbed is a dataset whose batches an adversary perturbs as they are taken, against the weights that the store has at that moment.
type perturbed struct {
	train.Dataset
	ctx  context.Context
	t    *training
	step *model.Exec
}

// perturb puts the training's adversary, if it has one, between the batches and the trainer, which trains the variables of the store.
func (t *training) perturb(ctx context.Context, store *model.Store, batches train.Dataset) (train.Dataset, error) {
	if t.Adversary == nil {
		return batches, nil
	}
	step, err := model.NewExec(t.Backend, store, t.adversaryStep)
	if err != nil {
		return nil, err
	}
	return &perturbed{Dataset: batches, ctx: ctx, t: t, step: step.WithName(t.Adversary.String())}, nil
}

// Iter implements [train.Dataset].
func (p *perturbed) Iter() iter.Seq2[train.Batch, error] {
	return func(yield func(train.Batch, error) bool) {
		k := uint64(0)
		for batch, err := range p.Dataset.Iter() {
			if err == nil {
				batch.Inputs[0], err = p.attack(k, batch.Inputs[0], batch.Labels[0])
			}
			if !yield(batch, err) || err != nil {
				return
			}
			k++
		}
	}
}

// attack returns the batch x with its perturbed rows; x is used up.
func (p *perturbed) attack(k uint64, x, y *tensors.Tensor) (*tensors.Tensor, error) {
	a, dims := p.t.Adversary, x.Shape().Dimensions
	first := a.Rows(dims[0])
	if first >= dims[0] {
		return x, nil
	}
	flat := tensors.MustCopyFlatData[float32](x)
	size := len(flat) / dims[0]
	clean := append([]float32(nil), flat[:first*size]...)
	strength := a.Strength(float64(k) / float64(p.t.steps))
	a.Start(rand.New(rand.NewPCG(p.t.Seed, k)), p.t.Box, strength, flat, size)
	at := tensors.FromFlatDataAndDimensions(flat, dims...)
	for range a.Steps() {
		if err := p.ctx.Err(); err != nil {
			return nil, err
		}
		out, err := p.step.Exec(x, at, y, float32(strength))
		if err != nil {
			return nil, fmt.Errorf("%v on batch %d: %w", a, k, err)
		}
		advlib.Free(at)
		at = out[0]
	}
	advlib.Free(x)
	if first == 0 {
		return at, nil
	}
	flat = tensors.MustCopyFlatData[float32](at)
	advlib.Free(at)
	copy(flat, clean)
	return tensors.FromFlatDataAndDimensions(flat, dims...), nil
}
