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
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.derived[key]; d != nil {
		return d, nil
	}
	spec, cost := c.spec, 0
	spec.Name = name
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
	if d.Classes() != c.Classes() {
		return nil, fmt.Errorf("advlib: classifier %q has %d classes, %s, from which it is derived, %d", name, d.Classes(), c.Name(), c.Classes())
	}
	d.cost, d.mu, d.wide = cost, c.mu, c.wide
	clear(d.programs) // the one that checked it did not know its cost
	c.derived[key] = d
	return d, nil
}
