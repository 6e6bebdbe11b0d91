package advlib

import (
	"fmt"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
)

// Derive returns a classifier with other logits, built from the model of c by change: the same inputs, box, classes,
// variables and backend. Wrappers attack it in place of c: logits divided by a temperature, averaged, or with another
// gradient.
//
// It is kept under key, with its compiled steps, like a step by [Counted.Compile]: the key must be comparable and
// determine what change builds. Passes through it count as the passes through c that change makes. It is an error if it
// is no classifier; see [NewClassifier].
func (c *Classifier) Derive(key any, name string, change func(m *Model, x *graph.Node) *graph.Node) (*Classifier, error) {
	d, err := c.derive(key, name, c.spec.Classes, change)
	if err == nil && d.Classes() != c.Classes() {
		return nil, fmt.Errorf("advlib: classifier %q has %d classes, %s, from which it is derived, %d", name, d.Classes(), c.Name(), c.Classes())
	}
	return d, err
}

// Extend is [Classifier.Derive] with any number of outputs of at least two, in place of a logit for each class: a
// detector's score beside them, or one more class. Where a [Domain] lets attacks work in other coordinates, the outputs
// are those of the inputs that these stand for; see [Classifier.View].
func (c *Classifier) Extend(key any, name string, change func(m *Model, x *graph.Node) *graph.Node) (*Classifier, error) {
	return c.derive(key, name, nil, change)
}

func (c *Classifier) derive(
	key any, name string, classes []string, change func(m *Model, x *graph.Node) *graph.Node,
) (*Classifier, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.derived[key]; d != nil {
		return d, nil
	}
	spec, cost := c.spec, 0
	spec.Name, spec.Classes = name, classes
	// The store and its scope are those of c, which LogitsGraph takes by itself.
	spec.Logits = func(_ *model.Scope, x *graph.Node) *graph.Node {
		m := &Model{classifier: c}
		z := change(m, x)
		cost = max(1, m.forward) // a model of its own, such as a stand-in for that of c, is one too
		return z
	}
	d, err := NewClassifier(spec)
	if err != nil {
		return nil, fmt.Errorf("derived from %s: %w", c.Name(), err)
	}
	d.cost, d.mu = cost, c.mu
	clear(d.programs) // the one that checked it did not know its cost
	c.derived[key] = d
	return d, nil
}
