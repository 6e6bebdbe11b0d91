package transform

import (
	"fmt"
	"strings"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
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

// Traits are what an attack has to know of a [Transform].
type Traits struct {
	// Flat says that the gradient is 0 or missing, as that of rounding: an adaptive attack takes that of the identity in
	// its place.
	Flat bool
	// Random says that the same input is changed otherwise each time: an adaptive attack goes along the mean of several
	// gradients.
	Random bool
}

// Defended is a classifier behind transforms.
type Defended struct {
	// Classifier is what is defended, and attacked.
	Classifier *advlib.Classifier
	// Through has the same logits, and the gradient of the identity where a transform has none. It is Classifier if all
	// have one.
	Through *advlib.Classifier
	// Random says that a transform draws random numbers.
	Random bool

	undefended *advlib.Classifier
}

// Before returns the classifier behind the transforms, the first of which sees the input first. It shares the
// classifier's weights.
func Before(c *advlib.Classifier, all ...Transform) (*Defended, error) {
	fail := func(err error) (*Defended, error) {
		return nil, fmt.Errorf("transform: before %s: %w", c.Name(), err)
	}
	if len(all) == 0 {
		return fail(fmt.Errorf("there are no transforms: give at least one"))
	}
	if c.Domain() != nil {
		return fail(fmt.Errorf("the inputs have a domain (%v), which transforms of images do not keep to", c.Domain()))
	}
	names := make([]string, len(all))
	d, flat := &Defended{Random: c.Random(), undefended: c}, false
	for i, t := range all {
		if err := t.Check(c.Input()); err != nil {
			return fail(fmt.Errorf("%v: %w", t, err))
		}
		names[i] = t.String()
		flat, d.Random = flat || t.Traits().Flat, d.Random || t.Traits().Random
	}
	spec := advlib.Spec{
		Name:  fmt.Sprintf("%s behind %s", c.Name(), strings.Join(names, ", ")),
		Input: c.Input(), Box: c.Box(), Classes: c.Signature().ClassNames, Store: c.Store(), Backend: c.Backend(), Random: d.Random,
		Notes: c.Notes(),
	}
	behind := func(through bool) (*advlib.Classifier, error) {
		s := spec
		if through {
			s.Name += ", straight through"
		}
		s.Logits = func(scope *model.Scope, x *Node) *Node {
			for _, t := range all {
				change := func(x *Node) *Node { return t.Graph(scope, x, c.Box()) }
				if through && t.Traits().Flat {
					change = attack.StraightThrough(change, Identity)
				}
				x = change(x)
			}
			return c.LogitsGraph(x)
		}
		return advlib.NewClassifier(s)
	}
	var err error
	if d.Classifier, err = behind(false); err != nil {
		return fail(err)
	}
	if d.Through = d.Classifier; flat {
		if d.Through, err = behind(true); err != nil {
			return fail(err)
		}
	}
	return d, nil
}

// MustBefore is [Before] for notebooks, examples and tests: it panics on an error.
func MustBefore(c *advlib.Classifier, all ...Transform) *Defended {
	d, err := Before(c, all...)
	if err != nil {
		panic(err)
	}
	return d
}

// Naive is the attack of who does not know the transforms: PGD with 40 steps on the margin of the classifier without
// them, whose results are shown to the whole.
func (d *Defended) Naive(b advlib.Ball) advlib.Attack {
	return attack.Transfer{Attack: d.pgd(b), From: d.undefended}
}

func (d *Defended) pgd(b advlib.Ball) advlib.Attack {
	return attack.PGD{Ball: b, Steps: 40, Loss: advlib.Margin}
}

// Adaptive is the same PGD on the whole, with BPDA where a transform has no gradient, and EOT, as many samples
// as it measures, where one is random.
func (d *Defended) Adaptive(b advlib.Ball) advlib.Attack {
	a := d.pgd(b)
	if d.Random {
		a = attack.EOT{Attack: a}
	}
	if d.Through != d.Classifier {
		a = attack.BPDA{Attack: a, Through: d.Through}
	}
	return a
}
