package transform

import (
	"fmt"
	"slices"
	"strings"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/internal/operator"
)

// Transform changes a batch of inputs before the model sees it. It is a comparable value, whose fields determine it.
type Transform interface {
	// String names the transform, with its parameters.
	String() string
	// Check returns an error when it makes no sense for inputs of the given shape, without the batch axis.
	Check(input []int) error
	// Graph builds the change of x [n, d...], in the given box; the shape stays. The scope is there to draw random numbers
	// from.
	Graph(scope *model.Scope, x *Node, box advlib.Box) *Node
	// Traits says what an attack has to know.
	Traits() Traits
}

// Backward is a [Transform] without a gradient that has a stand-in for it, nearer than the identity.
type Backward interface {
	Transform
	// Backward builds a smooth function of x whose gradient an adaptive attack takes in place of the transform's. It has
	// the shape of what Graph builds.
	Backward(scope *model.Scope, x *Node, box advlib.Box) *Node
}

// Coder is a [Transform] whose results have another shape than its inputs, such as a code with several channels for
// each value. The model behind it takes the code.
type Coder interface {
	Transform
	// Decoded returns the shape of the inputs whose code has the given shape, both without the batch axis.
	Decoded(code []int) (input []int, err error)
}

// Traits are what an attack has to know of a [Transform].
type Traits struct {
	// Flat says that the gradient is 0 or missing, as that of rounding: an adaptive attack takes that of a stand-in, see
	// [Backward], or else of the identity, in its place.
	Flat bool
	// Random says that the same input is changed otherwise each time: an adaptive attack goes along the mean of several
	// gradients.
	Random bool
}

// Defended is a classifier behind transforms. It is a defense.Defended.
type Defended struct {
	// Classifier is what is defended, and attacked.
	Classifier *advlib.Classifier
	// Through has the same logits, and the gradient of a stand-in where a transform has none. It is Classifier if all
	// have one.
	Through *advlib.Classifier
	// Surrogate is whose adversarial examples the naive attack shows: the classifier without the transforms, or, where
	// that takes codes, nil until it is set.
	Surrogate *advlib.Classifier
	// Random says that a transform draws random numbers.
	Random bool

	name string
}

// Before returns the classifier behind the transforms, the first of which sees the input first. It shares the
// classifier's weights.
func Before(c *advlib.Classifier, all ...Transform) (*Defended, error) {
	if c == nil {
		return nil, fmt.Errorf("transform: there is no classifier to go before: it is nil")
	}
	d, err := before(c, all)
	if err != nil {
		return nil, fmt.Errorf("transform: before %s: %w", c.Name(), err)
	}
	return d, nil
}

func before(c *advlib.Classifier, all []Transform) (*Defended, error) {
	if err := given(all); err != nil {
		return nil, err
	}
	if c.Domain() != nil {
		return nil, fmt.Errorf("the inputs have a domain (%v), which transforms of images do not keep to", c.Domain())
	}
	input, names := c.Input(), make([]string, len(all))
	d, flat := &Defended{Random: c.Random(), Surrogate: c}, false
	for i, t := range slices.Backward(all) {
		var err error
		if coder, ok := t.(Coder); ok {
			d.Surrogate = nil
			if input, err = coder.Decoded(input); err != nil {
				return nil, fmt.Errorf("%v: %w", t, err)
			}
		}
		if err := t.Check(input); err != nil {
			return nil, fmt.Errorf("%v: %w", t, err)
		}
		names[i] = t.String()
		flat, d.Random = flat || t.Traits().Flat, d.Random || t.Traits().Random
	}
	d.name = strings.Join(names, ", ")
	spec := advlib.Spec{
		Name: fmt.Sprintf("%s behind %s", c.Name(), d.name), Input: input, Box: c.Box(), Classes: c.Signature().ClassNames,
		Store: c.Store(), Backend: c.Backend(), Random: d.Random, Notes: c.Notes(), Logits: logitsBehind(c, all, false),
	}
	var err error
	if d.Classifier, err = advlib.NewClassifier(spec); err != nil {
		return nil, err
	}
	if d.Through = d.Classifier; flat {
		spec.Name, spec.Logits = spec.Name+", straight through", logitsBehind(c, all, true)
		if d.Through, err = advlib.NewClassifier(spec); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// given refuses a list without transforms, or with one that is nil.
func given(all []Transform) error {
	if len(all) == 0 {
		return fmt.Errorf("there are no transforms: give at least one")
	}
	for i, t := range all {
		if t == nil {
			return fmt.Errorf("transform %d of %d is nil: leave it out", i+1, len(all))
		}
	}
	return nil
}

// logitsBehind builds the logits of c behind the transforms: with their own gradients, or, where they have none, those
// of their stand-ins.
func logitsBehind(c *advlib.Classifier, all []Transform, through bool) advlib.LogitsFn {
	return func(scope *model.Scope, x *Node) *Node {
		for _, t := range all {
			change := func(x *Node) *Node { return t.Graph(scope, x, c.Box()) }
			if through && t.Traits().Flat {
				standIn := Identity
				if b, ok := t.(Backward); ok {
					standIn = func(x *Node) *Node { return b.Backward(scope, x, c.Box()) }
				}
				change = attack.StraightThrough(change, standIn)
			}
			x = change(x)
			if x.Trace() != nil { // for who is told which operation has no bound
				operator.Mark(x, t.String())
			}
		}
		z := c.LogitsGraph(x)
		if z.Trace() != nil {
			operator.Mark(z, "") // what came since then is no transform's
		}
		return z
	}
}

// MustBefore is [Before] for notebooks, examples and tests: it panics on an error.
func MustBefore(c *advlib.Classifier, all ...Transform) *Defended {
	d, err := Before(c, all...)
	if err != nil {
		panic(err)
	}
	return d
}

// String names the transforms, for example "3 bits, median 3×3".
func (d *Defended) String() string { return d.name }

// Victim is the classifier behind the transforms.
func (d *Defended) Victim() advlib.Victim { return d.Classifier }

// Naive is the attack of who does not know the transforms: PGD with 40 steps on the margin of the Surrogate, whose
// results are shown to the whole. Without a surrogate it is the same PGD on the whole as it is, without stand-ins.
func (d *Defended) Naive(b advlib.Ball) advlib.Attack {
	pgd := attack.PGD{Ball: b, Steps: 40, Loss: advlib.Margin}
	if d.Surrogate == nil {
		return pgd
	}
	return attack.Transfer{Attack: pgd, From: d.Surrogate}
}

// Adaptive is what broke such defences (Athalye et al. 2018, arXiv:1802.00420): PGD on the whole, towards each of the
// nine most likely classes, with BPDA where a transform has no gradient, and EOT, as many samples as it measures, where
// one is random, of the draws' probabilities. There it goes on past the first adversarial point, which only some draws
// would take for one, and of what it finds towards the classes that is kept which most draws take for one. A stand-in's
// gradient leads into dead ends that the true one has not, so what stands is attacked from three other starts.
func (d *Defended) Adaptive(b advlib.Ball) advlib.Attack {
	pgd := attack.PGD{Ball: b, Steps: 40, Loss: advlib.Margin, KeepGoing: d.Random}
	if d.Through != d.Classifier && !d.Random {
		pgd.Restarts = 3
	}
	var a advlib.Attack = pgd
	if d.Random {
		a = attack.EOT{Attack: a, Probabilities: true}
	}
	a = attack.AllTargets{Attack: a, Most: 9}
	if d.Through != d.Classifier {
		a = attack.BPDA{Attack: a, Through: d.Through}
	}
	return a
}
