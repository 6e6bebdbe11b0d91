package certify

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/graph"

	"advlab/advlib"
	"advlab/advlib/certify/internal/propagate"
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
	n, err := unreadOf(c)
	if err == nil {
		var ops []Operation
		if ops, err = n.explain(); err == nil {
			return ops, nil
		}
	}
	return nil, fmt.Errorf("certify: explain: classifier %q: %w", c.Name(), err)
}

// explain lists the operations, each with its problem, if there is one.
func (n *Network) explain() (ops []Operation, err error) {
	err = n.model.Trace(func(g *graph.Graph) {
		g.SetTraced(true) // before x, by which package onnx sees that its nodes are to be named
		x := n.model.Parameter(g, "x", propagate.Probe)
		once, err := n.traced(x)
		if err != nil {
			panic(err)
		}
		g.SetTraced(false)
		out := once.Out.Shape()
		if out.Rank() != 2 || out.Dimensions[0] != propagate.Probe || out.DType != dtypes.Float64 {
			panic(fmt.Errorf("its outputs are %v for inputs of shape %v: they must be [%d, K] and of the type of the inputs", out,
				x.Shape().Dimensions, propagate.Probe))
		}
		n.outputs = out.Dimensions[1]
		// Not to be built a second time: GoMLX keeps constants of the first closures, which the second ones may not use.
		for _, v := range once.Nodes {
			switch v.Type() {
			case graph.NodeTypeWhile, graph.NodeTypeIf, graph.NodeTypeCall:
				panic(refuse([]Operation{operation(v, propagate.Probe, "there is no rule for it: unroll loops, and write branches by Where")}))
			}
		}
		if err := propagate.CheckFusion(n.deployed, n.model.Build, n.model.Parameter(g, "fused", propagate.Probe)); err != nil {
			panic(err)
		}
		again := n.model.Walk(n.model.Parameter(g, "again", propagate.Probe*propagate.Repeats))
		if len(once.Nodes) != len(again.Nodes) || len(once.Units) != len(again.Units) {
			panic(fmt.Errorf("the model has %d operations on x for %d examples and %d for %d: it must not depend on the batch size",
				len(once.Nodes), propagate.Probe, len(again.Nodes), propagate.Probe*propagate.Repeats))
		}
		if f := once.Forbidden; f != nil {
			ops = append(ops, operation(f, propagate.Probe, "rows would mix or be random: build the model in inference mode, without dropout"))
		}
		problems := propagate.Problems(once, again, n.exact)
		for i, u := range once.Units {
			for _, v := range u.Nodes() {
				ops = append(ops, operation(v, propagate.Probe, problems[i]))
			}
		}
		if refuse(ops) == nil {
			n.describe(once)
		}
	})
	return ops, err
}

// traced walks the model; an error in building it names the line.
func (n *Network) traced(x *graph.Node) (w *propagate.Walk, err error) {
	err = propagate.Catch(func() { w = n.model.Walk(x) })
	if err == nil {
		return w, nil
	}
	if errors.Is(err, propagate.ErrIndependent) {
		return nil, err
	}
	text := fmt.Sprintf("%+v", err) // with the stack, if GoMLX gave it one
	first, _, _ := strings.Cut(err.Error(), "\n")
	if line := propagate.ModelLine(text); line != "" {
		first += ", at " + line
	}
	for _, name := range []string{"Float32", "float32"} {
		if strings.Contains(text, name) {
			return nil, fmt.Errorf("it cannot be built in float64, as bounds need it: a constant of it seems to be of type float32: make it of "+
				"the type of x, as in ConstAsDType(g, x.DType(), values) or AddScalar(x, 1): %s", first)
		}
	}
	return nil, fmt.Errorf("it cannot be built in float64, as bounds need it: %s", first)
}

func operation(n *graph.Node, examples int, problem string) Operation {
	dims := n.Shape().Dimensions
	if len(dims) > 0 {
		dims = append([]int{dims[0] / examples}, dims[1:]...)
		if dims[0] == 1 {
			dims = dims[1:]
		}
	}
	return Operation{Node: int(n.Id()), Name: propagate.NameOf(n), Shape: dims, Line: propagate.LineOf(n), Problem: problem}
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
