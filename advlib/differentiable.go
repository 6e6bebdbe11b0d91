package advlib

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"advlab/advlib/internal/option"

	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

// GoMLX v0.28.8 has no gradient for these, and refuses a model with them. Those that are constant but for jumps have
// the gradient 0, as in PyTorch and ONNX; a model in which nothing else is left is refused by
// [Classifier.Differentiable], before an attack looks for what is not there. The others are smooth.
func init() {
	for _, t := range flat {
		VJPRegistration[t] = zeroGradient
	}
	one := func(rule func(n, v *Node) []*Node) VJP {
		return func(n *Node, v []*Node, _ shapes.Shape) []*Node { return rule(n, v[0]) }
	}
	VJPRegistration[NodeTypeIdentity] = one(func(_, v *Node) []*Node { return []*Node{v} })
	VJPRegistration[NodeTypeRsqrt] = one(func(n, v *Node) []*Node {
		return []*Node{MulScalar(Mul(v, Div(n, n.Inputs()[0])), -0.5)} // ∂x^(−1/2) = −½·x^(−1/2)/x
	})
	VJPRegistration[NodeTypeExpm1] = one(func(n, v *Node) []*Node { return []*Node{Mul(v, OnePlus(n))} })
	rule := VJPRegistration[NodeTypeConvertDType]
	VJPRegistration[NodeTypeConvertDType] = func(n *Node, v []*Node, outputShape shapes.Shape) []*Node {
		if isWhole(n) {
			return zeroGradient(n, v, outputShape) // GoMLX's rule would round the gradient, too
		}
		return rule(n, v, outputShape)
	}
}

// flat are the operators whose gradient is 0 wherever they have one.
var flat = []NodeType{
	NodeTypeFloor, NodeTypeCeil, NodeTypeRound, NodeTypeSign, NodeTypeArgMinMax, NodeTypeIsFinite, NodeTypeIsNaN,
	NodeTypeEqual, NodeTypeNotEqual, NodeTypeLessThan, NodeTypeLessOrEqual, NodeTypeGreaterThan, NodeTypeGreaterOrEqual,
}

// rounding are the names of those that keep a value up to rounding.
var rounding = []string{"Floor", "Ceil", "Round", "ConvertDType"}

func zeroGradient(n *Node, _ []*Node, _ shapes.Shape) []*Node { return make([]*Node, len(n.Inputs())) }

// isWhole tells conversions of real numbers to whole ones or truth values, which are flat too.
func isWhole(n *Node) bool {
	return n.Type() == NodeTypeConvertDType && n.Inputs()[0].DType().IsFloat() && !n.DType().IsFloat() && !n.DType().IsComplex()
}

// NoGradientError says that a classifier's gradient is 0 everywhere, or not defined.
type NoGradientError struct {
	// Classifier is its name.
	Classifier string
	// Operators are those that let no gradient pass, such as "Floor".
	Operators []string
}

// withoutGradientName is what to do with a classifier that has no gradient.
const withoutGradientName = option.Name(
	"take an attack that needs none, attack.Square, or give attack.BPDA a stand-in for it, as by attack.StraightThrough")

// Error names the operators, and says what to do.
func (e *NoGradientError) Error() string {
	return fmt.Sprintf("%s has no gradient, as %s has none: %v", e.Classifier, strings.Join(e.Operators, ", "),
		withoutGradientName)
}

// slopes is what a classifier's graph says of its gradient.
type slopes struct {
	err     error
	stopped []string // operators that let none pass, beside others that do
}

// Differentiable returns a [NoGradientError] if operators without a gradient, such as Floor, Round or Sign, stand on
// every way from the inputs to the logits, or if one has no gradient in GoMLX. Where some ways are open, the gradient
// is that of these ways. What the model stops by StopGradient is meant so, and no error: the gradient is 0 there.
func (c *Classifier) Differentiable() error { return c.slopes().err }

// slopes looks at the graph once.
func (c *Classifier) slopes() slopes {
	type key struct{}
	c.memoMu.Lock()
	s, known := c.memo[key{}].(slopes)
	c.memoMu.Unlock()
	if known {
		return s
	}
	var w gradientWalk
	err := c.Trace(func(g *Graph) {
		x := Parameter(g, "x", shapeOf(float32Type, append([]int{Bucket(1)}, c.spec.Input...)...))
		z := c.LogitsGraph(x)
		w.from(z, x)
		Gradient(ReduceAllSum(z), x)
	})
	switch {
	case len(w.missing) > 0 && err != nil:
		s.err = &NoGradientError{c.Name(), w.missing}
	case err != nil:
		s.err = fmt.Errorf("the gradient of %s cannot be built: %w", c.Name(), err)
	case !w.open && !w.asked && len(w.stopped) > 0:
		s.err = &NoGradientError{c.Name(), w.stopped}
	case w.open:
		// Signs and comparisons are part of what has a gradient, such as a magnitude or a mask; what rounds hides one.
		s.stopped = slices.DeleteFunc(w.stopped, func(name string) bool { return !slices.Contains(rounding, name) })
	}
	c.memoMu.Lock()
	defer c.memoMu.Unlock()
	if c.memo == nil {
		c.memo = map[any]any{}
	}
	c.memo[key{}] = s
	return s
}

// stopped returns the operators of a victim that let no gradient pass, beside others that do.
func stopped(v Victim) []string {
	c, err := WhiteBox(v)
	if err != nil {
		return nil
	}
	return c.slopes().stopped
}

// gradientWalk follows the gradient from the logits back to the inputs.
type gradientWalk struct {
	open, asked      bool // a way was found; StopGradient ended one
	stopped, missing []string
}

func (w *gradientWalk) from(z, x *Node) {
	seen := map[NodeId]bool{}
	note := func(list *[]string, n *Node) {
		if name := strings.TrimPrefix(n.Type().String(), "NodeType"); !slices.Contains(*list, name) {
			*list = append(*list, name)
		}
	}
	depends := dependents(z, x)
	for stack := []*Node{z}; len(stack) > 0; {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[n.Id()] || !depends[n.Id()] {
			continue
		}
		seen[n.Id()] = true
		inputs := n.Inputs()
		switch {
		case n == x:
			w.open = true
			continue
		case n.CustomGradient() != nil:
		case slices.Contains(flat, n.Type()) || isWhole(n):
			note(&w.stopped, n)
			continue
		case n.StopGradient():
			w.asked = true
			continue
		case n.Type() == NodeTypeWhere:
			inputs = inputs[1:] // a condition has no gradient, and needs none
		case VJPRegistration[n.Type()] == nil && n.Type() != NodeTypeSplitNode:
			note(&w.missing, n)
		}
		stack = append(stack, inputs...)
	}
}

// dependents returns the nodes that z is computed from and that depend on x.
func dependents(z, x *Node) map[NodeId]bool {
	depends := map[NodeId]bool{x.Id(): true}
	seen := map[NodeId]bool{x.Id(): true}
	var visit func(n *Node) bool
	visit = func(n *Node) bool {
		if seen[n.Id()] {
			return depends[n.Id()]
		}
		seen[n.Id()] = true
		for _, in := range n.Inputs() {
			if visit(in) {
				depends[n.Id()] = true
			}
		}
		return depends[n.Id()]
	}
	visit(z)
	return depends
}

// withoutGradient returns the operators for which a classifier has no gradient; nil if it has one.
func (c *Classifier) withoutGradient() []string {
	var none *NoGradientError
	if errors.As(c.Differentiable(), &none) {
		return none.Operators
	}
	return nil
}
