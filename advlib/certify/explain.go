package certify

import (
	"fmt"
	"strings"

	"github.com/gomlx/gomlx/core/graph"

	"advlab/advlib"
)

// Operation is an operation of a model that depends on its input.
type Operation struct {
	// Node is its number in the graph, Name its type in GoMLX, such as "DotGeneral".
	Node int
	Name string
	// Shape is the shape of its result for one example, the batch axis left out.
	Shape []int
	// Line is the file and line of the model that built it, or the operator of a file in ONNX; empty if that is not known.
	Line string
	// Problem tells why it cannot be bounded; it is empty for an operation that can.
	Problem string
}

// Supported tells whether the operation can be bounded.
func (o Operation) Supported() bool { return o.Problem == "" }

// String returns for example "#12 Tanh [100] at model.go:31: there is no rule for it".
func (o Operation) String() string {
	s := fmt.Sprintf("#%d %s %v", o.Node, o.Name, o.Shape)
	if o.Line != "" {
		s += " at " + o.Line
	}
	if !o.Supported() {
		s += ": " + o.Problem
	}
	return s
}

// Explain lists the operations of the classifier's model that depend on its input, in the order of computation, and
// tells of each whether it can be bounded. Nothing is compiled or computed.
func Explain(c *advlib.Classifier) ([]Operation, error) {
	if c == nil {
		return nil, fmt.Errorf("certify: explain: the classifier is nil")
	}
	wide, err := c.Wide()
	if err == nil {
		n := &Network{name: c.Name(), input: c.Input(), deployed: c.Backend(), backend: c.Backend(), wide: wide, build: c.LogitsGraph}
		var ops []Operation
		if ops, err = n.explain(); err == nil {
			return ops, nil
		}
	}
	return nil, fmt.Errorf("certify: explain: classifier %q: %w", c.Name(), err)
}

func operation(n *graph.Node, examples int, problem string) Operation {
	dims := n.Shape().Dimensions
	if len(dims) > 0 {
		dims = append([]int{dims[0] / examples}, dims[1:]...)
		if dims[0] == 1 {
			dims = dims[1:]
		}
	}
	return Operation{Node: int(n.Id()), Name: nameOf(n), Shape: dims, Line: lineOf(n), Problem: problem}
}

// nameOf names the operation; GoMLX leaves those of control flow without a name.
func nameOf(n *graph.Node) string {
	switch n.Type() {
	case graph.NodeTypeCall:
		return "Call"
	case graph.NodeTypeIf:
		return "If"
	case graph.NodeTypeWhile:
		return "While"
	case graph.NodeTypeSort:
		return "Sort"
	}
	return n.Type().String()
}

// instead says what to do about them.
const instead = "replace it in the model, or certify the model under noise, which needs outputs only: package smooth"

// refuse returns an error that names every operation that cannot be bounded.
func refuse(ops []Operation) error {
	var bad []string
	for _, o := range ops {
		if !o.Supported() {
			bad = append(bad, o.String())
		}
	}
	switch len(bad) {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("the model has an operation that cannot be bounded: %s; %s", bad[0], instead)
	}
	return fmt.Errorf("the model has %d operations that cannot be bounded:\n\t%s\n%s", len(bad), strings.Join(bad, "\n\t"), instead)
}
