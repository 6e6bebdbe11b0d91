package training

import (
	"context"
	"iter"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/gomlx/ml/train/loss"

	"advlab/advlib"
)

// Objective is what a training minimises: a loss of the model's on a batch. What it may need besides is asked for by
// further methods: [Sampler], [Columner], [Updater], [Adversarial].
//
// The tests of this package show batches chosen by an objective and a model with several outputs (TestEmbedding), an
// average of the weights beside them (TestAveraged), proxies that are trained beside the model (TestProxies), a second
// model as a teacher (TestTeacher), and bounds as a term of the loss (TestBoundsAsATerm).
type Objective interface {
	// String names the objective, with its hyperparameters.
	String() string
	// Check returns an error, before anything is computed, when its hyperparameters make no sense for the classifier,
	// whose weights are not trained yet.
	Check(c *advlib.Classifier) error
	// Loss builds the loss of a batch: a number for each row, whose mean counts, or one for all.
	Loss(s *Step) *graph.Node
}

// Sampler is an [Objective] that chooses the batches: for triplets, say, which need several examples of a class.
// Otherwise each epoch is another order of all examples.
type Sampler interface {
	// Batches returns batches of size rows of the examples each, without end. They must depend on the seed alone.
	Batches(e *advlib.Examples, size int, seed uint64) iter.Seq[[]int]
}

// Columner is an [Objective] that wants something for each example besides its label, such as a teacher's answers.
type Columner interface {
	// Columns returns tensors [n, …] of float32 or int32, computed once before the training, a row for each example.
	Columns(ctx context.Context, e *advlib.Examples) ([]*tensors.Tensor, error)
}

// Updater is an [Objective] that changes variables after each step of the optimizer, such as an average of the weights.
type Updater interface {
	// Update builds the change. The values of variables are those after the step.
	Update(s *Step)
	// Kept returns the path of the variable whose value the trained model gets for the variable at the given path: an
	// average's, or the same path.
	Kept(path string) string
}

// Adversarial is an [Objective] with an adversary of its own, which a [Model] uses if it has none.
type Adversarial interface {
	Adversary() Adversary
}

// Step is one step of a training, in the graph that computes its loss.
type Step struct {
	// X0 are the originals, X what the adversary has made of them, [n, d...]; without an adversary they are one.
	X0, X *graph.Node
	// Y are the labels, int32 [n].
	Y *graph.Node
	// Columns are the batch's rows of what a [Columner] has returned.
	Columns []*graph.Node
	// Progress is the share of the steps that has been made, a scalar in [0, 1).
	Progress *graph.Node
	// Limits are how far each coordinate of an input may go.
	Limits advlib.Limits
	// Classes is the number of classes K.
	Classes int

	scope   *model.Scope
	outputs OutputsFn
}

// Outputs returns the outputs of the model for x [n, d...], in training mode; the first are the logits [n, K].
func (s *Step) Outputs(x *graph.Node) []*graph.Node {
	return s.outputs(s.scope.Store().RootScope(), x)
}

// Logits returns the logits [n, K] of x [n, d...], in training mode.
func (s *Step) Logits(x *graph.Node) *graph.Node { return s.Outputs(x)[0] }

// Inference returns the logits [n, K] of x [n, d...] as the trained model will give them: without dropout and noise,
// with the averages of batch normalisation.
func (s *Step) Inference(x *graph.Node) *graph.Node {
	store, g := s.scope.Store(), x.Graph()
	store.SetTraining(g, false)
	defer store.SetTraining(g, true)
	return s.Logits(x)
}

// Scope is where an objective keeps variables of its own; they are not part of the trained model.
func (s *Step) Scope() *model.Scope { return s.scope.Store().RootScope().In(ownScope) }

// Weights are the model's variables that are trained.
func (s *Step) Weights() []*model.Variable {
	var weights []*model.Variable
	for v := range s.scope.Store().IterVariables() {
		if v.Trainable && v.InUseByGraph(s.X.Graph()) && !own(v) {
			weights = append(weights, v)
		}
	}
	return weights
}

// CrossEntropy is the objective of most trainings: −log of the label's softmax, of what the adversary has made.
type CrossEntropy struct{}

// String implements [Objective].
func (CrossEntropy) String() string { return "cross-entropy" }

// Check implements [Objective].
func (CrossEntropy) Check(*advlib.Classifier) error { return nil }

// Loss implements [Objective].
func (CrossEntropy) Loss(s *Step) *graph.Node {
	z := s.Logits(s.X)
	return loss.SparseCategoricalCrossEntropyLogits([]*graph.Node{graph.InsertAxes(s.Y, -1)}, []*graph.Node{z})
}
