package certify

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"

	"advlab/advlib"
)

// pair is a model built twice: on n examples, and on each of them repeated several times in a row, once for each row
// of the specification. Operations keep the static shapes with which they were built, so that one graph cannot serve
// both. Intervals, which do not depend on the specification, are computed on the first and repeated for the second.
type pair struct {
	once, repeated *walk
	times          int
}

// newPair builds the model on x [n, d...] and on x repeated times ≥ 2 times.
func newPair(c *advlib.Classifier, x *Node, times int) *pair {
	p := &pair{once: newWalk(c, x), repeated: newWalk(c, repeat(x, times)), times: times}
	n := x.Shape().Dimensions[0]
	if len(p.once.nodes) != len(p.repeated.nodes) {
		panic(fmt.Errorf("the model has %d operations on x for %d examples and %d for %d: it must not depend on the batch size", len(p.once.nodes), n, len(p.repeated.nodes), n*times))
	}
	if last := p.once.nodes[len(p.once.nodes)-1]; last != p.once.logits {
		panic(fmt.Errorf("the logits do not depend on the input x in the graph: no perturbation would change them, and a bound would mean nothing"))
	}
	return p
}

// repeat returns v, whose flat order has n examples as its slowest index, with every example repeated: row i becomes
// rows i·times to (i+1)·times−1.
func repeat(v *Node, times int) *Node { return repeatRows(v, v.Shape().Dimensions[0], times) }

func repeatRows(v *Node, n, times int) *Node {
	dims := v.Shape().Clone().Dimensions
	size := v.Shape().Size() / n
	dims[0] *= times
	return Reshape(BroadcastToDims(Reshape(v, n, 1, size), n, times, size), dims...)
}

// check tells why node i has no bound, nil if it has one.
func (p *pair) check(i int) error {
	n, m := p.once.nodes[i], p.repeated.nodes[i]
	if i == 0 {
		return nil
	}
	rule := rules[n.Type()]
	if rule == nil {
		return fmt.Errorf("there is no rule for it")
	}
	if err := p.checkRows(n, m); err != nil {
		return err
	}
	return rule.check(p.once, n)
}

// attempt builds the backward step of node i, if it is affine, and returns the error: GoMLX has no transpose for some
// parameters, such as padding beyond the kernel.
func (p *pair) attempt(i int) error {
	n := p.once.nodes[i]
	rule := rules[n.Type()]
	if !rule.affine() {
		return nil
	}
	return catch(func() { rule.backward(p.once, n, ZerosLike(n), nil) })
}

// catch returns what a graph function panics with as an error.
func catch(build func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("GoMLX has no transpose of it: %v", r)
		}
	}()
	build()
	return nil
}

// checkRows tells whether, given that it holds for the inputs, the examples are the slowest index in the flat order of
// a node: n is the node for some examples, m the same with each example repeated. Else neither repetition of
// intervals nor sums by row would be right.
//
// A reshape keeps the flat order. Every other operation must keep the length of the leading axis: then no other axis
// can have taken its place, because no other axis grows with the repetition.
func (p *pair) checkRows(n, m *Node) error {
	if n.Type() != m.Type() || len(n.Inputs()) != len(m.Inputs()) {
		return fmt.Errorf("it is %s for some batch sizes and %s for others: the model must not depend on the batch size", n.Type(), m.Type())
	}
	grows := func(n, m *Node) bool {
		a, b := n.Shape().Dimensions, m.Shape().Dimensions
		if len(a) == 0 || len(a) != len(b) || b[0] != p.times*a[0] || a[0]%p.once.x.Shape().Dimensions[0] != 0 {
			return false
		}
		for k := 1; k < len(a); k++ {
			if a[k] != b[k] {
				return false
			}
		}
		return true
	}
	if !grows(n, m) {
		return fmt.Errorf("it moves the examples out of the leading axis, or mixes them (its shape is %v for %d examples, %v for %d): keep the batch in front", n.Shape().Dimensions, p.once.x.Shape().Dimensions[0], m.Shape().Dimensions, p.repeated.x.Shape().Dimensions[0])
	}
	if n.Type() == NodeTypeReshape {
		return nil
	}
	for k, in := range n.Inputs() {
		other := m.Inputs()[k]
		switch {
		case p.once.perturbed(in) != p.repeated.perturbed(other):
			return fmt.Errorf("its input %d depends on x for some batch sizes only", k)
		case p.once.perturbed(in) && in.Shape().Dimensions[0] != n.Shape().Dimensions[0]:
			return fmt.Errorf("it changes the leading axis, where the examples are, from %d to %d", in.Shape().Dimensions[0], n.Shape().Dimensions[0])
		case !p.once.perturbed(in) && (n.Type() == NodeTypeDotGeneral || n.Type() == NodeTypeConvGeneral) && !in.Shape().Equal(other.Shape()):
			return fmt.Errorf("its weights change shape with the batch, from %v to %v", in.Shape().Dimensions, other.Shape().Dimensions)
		}
	}
	return nil
}

// repeatInterval returns the bounds of a node of p.once for its counterpart in p.repeated.
func (p *pair) repeatInterval(v interval) interval {
	n := p.once.x.Shape().Dimensions[0]
	return interval{lower: repeatRows(v.lower, n, p.times), upper: repeatRows(v.upper, n, p.times)}
}
