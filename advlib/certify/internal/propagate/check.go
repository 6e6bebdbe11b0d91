package propagate

import (
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

// pair is a model built on some examples and on more of them, to see what grows with the batch. Rows of a batch are
// bounded independently, so examples must stay the slowest index of every node.
type pair struct{ once, again *Walk }

// Problems tells of each unit of a model why it has no bound; "" for one that has. The model is built on [Probe]
// examples, and again on [Repeats] times as many. exact tells that its variables are those of the deployed model.
// Nothing is computed.
func Problems(once, again *Walk, exact bool) []string {
	p := pair{once, again}
	all, sound := make([]string, len(once.Units)), true
	for i := range all {
		if err := p.check(i); err != nil {
			all[i], sound = err.Error(), false
		}
	}
	if sound {
		if i, err := once.rehearse(exact); err != nil {
			all[i] = err.Error()
		}
	}
	return all
}

// rehearse builds what the passes forward and backward do with each unit, and returns the first one, and why, with
// which it fails. Rules panic at what only shows then, such as a constant of whose rounding nothing is known.
func (w *Walk) rehearse(exact bool) (failed int, err error) {
	a := Arithmetic{}
	a.ExactVariables = exact
	p := &Pass{Walk: w, Arithmetic: a, Line: Scalar(w.x.Graph(), dtypes.Int32, 0)}
	p.Begin(Interval{Lower: w.x, Upper: w.x})
	for i, u := range w.Units {
		err := Catch(func() {
			p.step(u)
			if !u.Rule.Affine() {
				lines, _ := u.Rule.Relax(p, u, p.inputs(u))
				u.Rule.Backward(w, u, zeros(u.Node), lines)
			}
		})
		if err != nil {
			return i, brief(err)
		}
	}
	return 0, nil
}

// zeros stands for Λ of a node.
func zeros(n *Node) *Node {
	return Zeros(n.Graph(), shapes.Make(dtypes.Float64, n.Shape().Dimensions...))
}

// brief is the first line of an error, and says of one of Go's own what it means here.
func brief(err error) error {
	first, _, _ := strings.Cut(err.Error(), "\n")
	var own runtime.Error
	if errors.As(err, &own) {
		return fmt.Errorf("its rule does not fit it (%s): please report it", first)
	}
	return errors.New(first)
}

// Check tells why unit i has no bound, nil if it has one.
func (p pair) check(i int) error {
	u, more := p.once.Units[i], p.again.Units[i]
	if u.Rule == nil {
		return fmt.Errorf("there is no rule for it")
	}
	nodes, others := u.Nodes(), more.Nodes()
	if len(nodes) != len(others) {
		return fmt.Errorf("it is a group of %d operations for some batch sizes and of %d for others: the model must not depend on the batch "+
			"size", len(nodes), len(others))
	}
	for k := range nodes {
		if err := p.checkRows(nodes[k], others[k]); err != nil {
			return err
		}
	}
	if err := checkType(u); err != nil {
		return err
	}
	if err := u.Rule.Check(p.once, u); err != nil || !u.Rule.Affine() {
		return err
	}
	// GoMLX has no transpose for some parameters, such as padding beyond the kernel.
	if err := Catch(func() { u.Rule.Backward(p.once, u, zeros(u.Node), nil) }); err != nil {
		return fmt.Errorf("GoMLX has no transpose of it: %w", brief(err))
	}
	return nil
}

// checkRows tells whether, given that it holds for the inputs, the examples are the slowest index in the flat order of
// a node: n is the node for some examples, m the same for more. Else neither repetition of intervals nor sums by row
// would be right.
//
// A reshape keeps the flat order. Every other operation must keep the length of the leading axis: then no other axis
// can have taken its place, because no other axis grows with the batch.
func (p pair) checkRows(n, m *Node) error {
	if n.Type() != m.Type() || len(n.Inputs()) != len(m.Inputs()) {
		return fmt.Errorf("it is %s for some batch sizes and %s for others: the model must not depend on the batch size", n.Type(), m.Type())
	}
	grows := func(n, m *Node) bool {
		a, b := n.Shape().Dimensions, m.Shape().Dimensions
		if len(a) == 0 || len(a) != len(b) || b[0] != Repeats*a[0] || a[0]%p.once.x.Shape().Dimensions[0] != 0 {
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
		return fmt.Errorf("it moves the examples out of the leading axis, or mixes them (its shape is %v for %d examples, %v for %d): keep the "+
			"batch in front", n.Shape().Dimensions, p.once.x.Shape().Dimensions[0], m.Shape().Dimensions, p.again.x.Shape().Dimensions[0])
	}
	if n.Type() == NodeTypeReshape {
		return nil
	}
	for k, in := range n.Inputs() {
		other := m.Inputs()[k]
		switch {
		case p.once.perturbed(in) != p.again.perturbed(other):
			return fmt.Errorf("its input %d depends on x for some batch sizes only", k)
		case p.once.perturbed(in) && (in.Rank() == 0 || in.Shape().Dimensions[0] != n.Shape().Dimensions[0]):
			return fmt.Errorf("it changes the leading axis, where the examples are, from %v to %v", in.Shape().Dimensions, n.Shape().Dimensions)
		case !p.once.perturbed(in) && (n.Type() == NodeTypeDotGeneral || n.Type() == NodeTypeConvGeneral) && !in.Shape().Equal(other.Shape()):
			return fmt.Errorf("its weights change shape with the batch, from %v to %v", in.Shape().Dimensions, other.Shape().Dimensions)
		}
	}
	return nil
}

// checkType refuses what is neither computed in float64, nor a condition, nor the number 0 or 1 that is made of one.
func checkType(u *Unit) error {
	t := u.Node.DType()
	if t == dtypes.Float64 {
		return nil
	}
	switch Rules[u.Node.Type()].(type) {
	case conversion:
		return nil // says itself what it rounds
	case condition, placement:
		if t == dtypes.Bool || t.IsInt() {
			return nil
		}
	}
	if t == dtypes.Bool {
		return fmt.Errorf("there is no rule for it on conditions")
	}
	return fmt.Errorf("it computes in %v what depends on x: only float64, in which models are built here, can be bounded", t)
}
