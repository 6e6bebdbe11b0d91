package training

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
)

// Adversary perturbs each batch before the training step on it, so that the model learns from what is left of its
// mistakes: see package defense, which has the ones of the literature. It works in the coordinates that attacks see:
// with an [advlib.Domain] of scales, steps, categories or derived features in encoded ones. What the model learns from
// is always admissible.
type Adversary interface {
	// String names the adversary, with its hyperparameters.
	String() string
	// Check returns an error, before anything is computed, when its hyperparameters make no sense for the classifier,
	// whose weights are not trained yet.
	Check(c *advlib.Classifier) error
	// Rows tells which rows [first, n) of a batch of n it perturbs; those before stay as they are.
	Rows(n int) (first int)
	// Strength is how strong it is, in [0, 1], when the share progress of the training's steps has been made.
	Strength(progress float64) float64
	// Reach is how far it may take an original at that strength.
	Reach(strength float64) advlib.Ball
	// Start moves the flat inputs x of a batch, of limits.Size() coordinates each, to where the perturbation starts. r is
	// the batch's own stream of random numbers.
	Start(r *rand.Rand, limits advlib.Limits, strength float64, x []float32)
	// Steps is how often Step is run.
	Steps() int
	// Step builds one step from the points a.X to the next. The logits of m are those of the model in inference mode, or
	// as [Model].AdversaryMeets says.
	Step(m *advlib.Model, a *Ascent) *graph.Node
}

// Ascent is one step of an [Adversary], in its graph.
type Ascent struct {
	// X0 are the originals, X the points reached, [n, d...].
	X0, X *graph.Node
	// Y are the labels, int32 [n].
	Y *graph.Node
	// Strength is a scalar in [0, 1]: see [Adversary].
	Strength *graph.Node
	// Limits are how far each coordinate may go.
	Limits advlib.Limits
}

// ascentKey names the adversary's step among the programs of the classifier, which has one adversary.
type ascentKey struct{}

// opponent is an adversary at work on the classifier of the weights that are being trained.
type opponent struct {
	Adversary
	classifier *advlib.Classifier
	target     *advlib.Counted
	step       *advlib.Step
	meets      Mode
	seed       uint64
}

func newOpponent(a Adversary, meets Mode, c *advlib.Classifier, seed uint64) *opponent {
	view := c.View()
	o := &opponent{Adversary: a, meets: meets, classifier: c, target: advlib.Count(view), seed: seed}
	o.step = o.target.Compile(ascentKey{}, func(m *advlib.Model, in []*graph.Node) []*graph.Node {
		return []*graph.Node{o.build(m, in)}
	})
	return o
}

// build is a step on x0, x, y [n] and the strength.
func (o *opponent) build(m *advlib.Model, in []*graph.Node) *graph.Node {
	a := &Ascent{X0: in[0], X: in[1], Y: in[2], Strength: in[3], Limits: o.target.Signature().Limits()}
	if o.meets == Inference {
		return o.Step(m, a)
	}
	store, g := o.classifier.Store(), in[0].Graph()
	before := map[*model.Variable]*graph.Node{}
	for v := range store.IterVariables() {
		if v.Name() != model.RNGStateVariableName {
			before[v] = v.NodeValue(g)
		}
	}
	store.SetTraining(g, true)
	next := o.Step(m, a)
	for v, value := range before {
		if v.ChangedInGraph(g) { // an average that these batches would go into
			v.SetNodeValue(value)
		}
	}
	return next
}

// perturb returns the batch x [n, d...] with its perturbed rows; x stays as it is. It is batch k, after the share
// progress of the steps.
func (o *opponent) perturb(ctx context.Context, k uint64, progress float64, x, y *tensors.Tensor) (*tensors.Tensor, error) {
	n := x.Shape().Dimensions[0]
	first := o.Rows(n)
	strength := o.Strength(progress)
	originals := o.classifier.Encode(x)
	if originals != x {
		defer advlib.Free(originals)
	}
	from := tensors.MustCopyFlatData[float32](originals)
	at := append([]float32(nil), from...)
	o.Start(rand.New(rand.NewPCG(o.seed, k)), o.target.Signature().Limits(), strength, at)
	points := tensors.FromFlatDataAndDimensions(at, originals.Shape().Dimensions...)
	for range o.Steps() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		out, err := o.step.Run(n, originals, points, y, float32(strength))
		if err != nil {
			return nil, fmt.Errorf("%v on batch %d: %w", o.Adversary, k, err)
		}
		advlib.Free(points)
		points = out[0]
	}
	at = tensors.MustCopyFlatData[float32](points)
	advlib.Free(points)
	return o.settle(x, from, at, first, o.Reach(strength))
}

// settle returns the inputs that the points stand for; the first rows are the originals.
func (o *opponent) settle(x *tensors.Tensor, from, at []float32, first int, ball advlib.Ball) (*tensors.Tensor, error) {
	flat := tensors.MustCopyFlatData[float32](x)
	n := x.Shape().Dimensions[0]
	size, width := len(flat)/n, len(at)/n
	for i := first; i < n; i++ {
		if o.classifier.Domain() == nil { // the adversary's points are inside of the box
			copy(flat[i*size:(i+1)*size], at[i*size:(i+1)*size])
			continue
		}
		row, u := flat[i*size:(i+1)*size], at[i*width:(i+1)*width]
		settled, err := o.classifier.Settle(u, from[i*width:(i+1)*width], row, advlib.Threat{Norm: ball.Norm, Radius: ball.Radius})
		if err != nil {
			return nil, fmt.Errorf("%v: %w", o.Adversary, err)
		}
		copy(row, settled)
	}
	return tensors.FromFlatDataAndDimensions(flat, x.Shape().Dimensions...), nil
}
