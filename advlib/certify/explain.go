package certify

import (
	"fmt"
	"strings"

	"github.com/gomlx/compute/shapes"
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
	// Line is the file and line of the model that built it; empty if that is not known.
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
	ops, _, err := explain(c)
	if err != nil {
		return nil, fmt.Errorf("certify: explain: classifier %q: %w", c.Name(), err)
	}
	return ops, nil
}

// explain also returns how many numbers all nodes hold for one example.
func explain(c *advlib.Classifier) (ops []Operation, numbers int, err error) {
	// Two batch sizes that no other axis is likely to have; they only matter to error messages.
	const n, times = 3, 5
	err = c.Trace(func(g *graph.Graph) {
		x := graph.Parameter(g, "x", shapes.Make(float32Type, append([]int{n}, c.Input()...)...))
		g.SetTraced(true)
		p := newPair(c, x, times)
		if f := p.once.forbidden; f != nil {
			ops = append(ops, operation(f, n, "rows would mix or be random: build the model in inference mode, without dropout"))
		}
		for i, v := range p.once.nodes {
			numbers += v.Shape().Size() / n
			if i == 0 {
				continue
			}
			err := p.check(i)
			if err == nil {
				err = p.attempt(i)
			}
			problem := ""
			if err != nil {
				problem = err.Error()
			}
			ops = append(ops, operation(v, n, problem))
		}
	})
	return ops, numbers, err
}

func operation(n *graph.Node, examples int, problem string) Operation {
	dims := n.Shape().Dimensions
	if len(dims) > 0 {
		dims = append([]int{dims[0] / examples}, dims[1:]...)
		if dims[0] == 1 {
			dims = dims[1:]
		}
	}
	return Operation{Node: int(n.Id()), Name: n.Type().String(), Shape: dims, Line: lineOf(n), Problem: problem}
}

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
		return fmt.Errorf("the model has an operation that cannot be bounded: %s", bad[0])
	}
	return fmt.Errorf("the model has %d operations that cannot be bounded:\n\t%s", len(bad), strings.Join(bad, "\n\t"))
}
