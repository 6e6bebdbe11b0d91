package propagate

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/compute/support/envutil"
	"github.com/gomlx/gomlx/core/graph"

	"advlab/advlib/internal/inspect"
	"advlab/advlib/internal/operator"
)

// This file and package inspect are all that depends on how GoMLX v0.28 lets a graph be inspected and rebuilt.

// Walk is a model's graph between x and its outputs.
type Walk struct {
	x, Out *graph.Node
	// Nodes are those that depend on x, each after its inputs: x is the first, the outputs are the last.
	Nodes []*graph.Node
	// Index is each node's place in nodes.
	Index map[graph.NodeId]int
	// Units are nodes, or groups of them, with one rule each, in the order of their results; those that the outputs do
	// not need are left out. x has none.
	Units []*Unit
	// unitOf is the unit whose result is a node.
	unitOf map[graph.NodeId]*Unit
	// ends are units of several nodes, or of functions element by element, by their results. decides tells of nodes what
	// decidable does.
	ends    map[graph.NodeId]*Unit
	decides map[graph.NodeId]bool
	// Forbidden is a node, perturbed or not, with which rows would mix or results be random; nil if there is none.
	Forbidden *graph.Node
}

// NewWalk builds the model on x and walks its nodes.
func NewWalk(b compute.Backend, build func(x *graph.Node) *graph.Node, x *graph.Node) *Walk {
	w := &Walk{x: x, Index: map[graph.NodeId]int{}, unitOf: map[graph.NodeId]*Unit{}, decides: map[graph.NodeId]bool{}}
	withoutFusion(b, func() { w.Out = build(x) })
	depends := map[graph.NodeId]bool{x.Id(): true}
	seen := map[graph.NodeId]bool{x.Id(): true}
	w.Nodes = []*graph.Node{x}
	// A node's number is above those of its inputs, so visiting ancestors by number is a topological order.
	var ancestors []*graph.Node
	for stack := []*graph.Node{w.Out}; len(stack) > 0; {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[n.Id()] {
			continue
		}
		seen[n.Id()] = true
		ancestors = append(ancestors, n)
		stack = append(stack, n.Inputs()...)
	}
	slices.SortFunc(ancestors, func(a, b *graph.Node) int { return int(a.Id()) - int(b.Id()) })
	for _, n := range ancestors {
		switch n.Type() {
		case graph.NodeTypeRNGBitGenerator, graph.NodeTypeBatchNormForTraining:
			w.Forbidden = n
		}
		for _, in := range n.Inputs() {
			if depends[in.Id()] {
				depends[n.Id()] = true
			}
		}
		if depends[n.Id()] {
			w.Nodes = append(w.Nodes, n)
		}
	}
	for i, n := range w.Nodes {
		w.Index[n.Id()] = i
	}
	w.group()
	return w
}

// perturbed tells whether n depends on x.
func (w *Walk) perturbed(n *graph.Node) bool {
	_, ok := w.Index[n.Id()]
	return ok
}

// PerturbedInputs returns the positions of the inputs of n that depend on x.
func (w *Walk) PerturbedInputs(n *graph.Node) (positions []int) {
	for k, in := range n.Inputs() {
		if w.perturbed(in) {
			positions = append(positions, k)
		}
	}
	return positions
}

// parameter returns a parameter of an operation.
func parameter(n *graph.Node, name string) reflect.Value { return inspect.Parameter(n, name) }

// Integers returns a parameter that is a list of numbers.
func Integers(n *graph.Node, name string) []int { return inspect.Integers(n, name) }

// With returns the operation of n on other inputs: replace gives the new ones by position, the others stay.
func With(n *graph.Node, replace map[int]*graph.Node) *graph.Node {
	inputs := slices.Clone(n.Inputs())
	for k, in := range replace {
		inputs[k] = in
	}
	return n.CloneWithInputs(inputs...)
}

// transpose returns, for an operation n that is affine in each perturbed input, Λ times its linear part, one for each
// input. It panics when GoMLX has no rule.
func transpose(n, Λ *graph.Node) []*graph.Node {
	if n.Type() == graph.NodeTypeIdentity { // GoMLX's autodiff passes over it, so it has no rule for it
		return []*graph.Node{Λ}
	}
	rule := graph.VJPRegistration[n.Type()]
	if rule == nil {
		panic(fmt.Errorf("GoMLX has no transpose of %s", n.Type()))
	}
	// The last argument is the shape of what is differentiated, which matters to forward accumulation only.
	return rule(n, []*graph.Node{Λ}, shapes.Make(Λ.DType()))
}

// CheckFusion refuses a model of which the backend, with its fused operations, computes another one than is read: GoMLX
// v0.28.8's nn.Dense leaves out activations that the fused operation does not have.
func CheckFusion(b compute.Backend, build func(x *graph.Node) *graph.Node, x *graph.Node) error {
	fusion.Lock() // not in the moment when another graph is built without them
	defer fusion.Unlock()
	if enabled, err := envutil.ReadBool(graph.FusionEnv, true); !enabled || err != nil ||
		!b.Capabilities().Operations[compute.OpTypeFusedDense] {
		return err
	}
	seen := map[graph.NodeId]bool{}
	for stack := []*graph.Node{build(x)}; len(stack) > 0; {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[n.Id()] {
			continue
		}
		seen[n.Id()] = true
		if n.Type() == graph.NodeTypeFusedDense {
			return fmt.Errorf("GoMLX fuses its dense layers, and may leave out their activations: open the backend by backend.Open, or set %s=0",
				graph.FusionEnv)
		}
		stack = append(stack, n.Inputs()...)
	}
	return nil
}

var fusion sync.Mutex

// withoutFusion builds a part of a graph without the fused operations of the Go backend, such as FusedDense: they have
// no transpose. The environment is the only switch that GoMLX has for it, which package backend turns off too. It is
// changed for the moment of building only, and only for backends that have such operations.
func withoutFusion(b compute.Backend, build func()) {
	if !b.Capabilities().Operations[compute.OpTypeFusedDense] {
		build()
		return
	}
	fusion.Lock()
	defer fusion.Unlock()
	old, was := os.LookupEnv(graph.FusionEnv)
	must(os.Setenv(graph.FusionEnv, "0"))
	defer func() {
		if was {
			must(os.Setenv(graph.FusionEnv, old))
		} else {
			must(os.Unsetenv(graph.FusionEnv))
		}
	}()
	build()
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// LineOf returns file and line of the model that created n, or the operator of its file in ONNX; "" when the graph was
// not traced.
func LineOf(n *graph.Node) string {
	if n.Trace() == nil {
		return ""
	}
	if by := operator.Of(n); by != "" {
		return by
	}
	// The stack is printed as pairs of lines: a function, then its indented place.
	return ModelLine(fmt.Sprintf("%+v", n.Trace()))
}

// ModelLine finds the first place in a printed stack that is neither GoMLX's nor past the model.
func ModelLine(stack string) string {
	lines := strings.Split(stack, "\n")
	for i, function := range lines[:len(lines)-1] {
		place, ok := strings.CutPrefix(lines[i+1], "\t")
		switch {
		case !ok, strings.HasPrefix(function, "github.com/gomlx/"):
			continue
		case strings.HasPrefix(function, "advlab/advlib."): // past the model
			return ""
		}
		return filepath.Base(place)
	}
	return ""
}

// NameOf names the operation; GoMLX leaves those of control flow without a name.
func NameOf(n *graph.Node) string {
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
