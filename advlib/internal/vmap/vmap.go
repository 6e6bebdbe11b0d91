// Package vmap maps a function of one example over the rows of a batch, in the graph: JAX has vmap for it, GoMLX v0.28
// nothing. What it builds are GoMLX's ordinary operations, so that gradients, bounds and batches need to know nothing
// of it.
//
//	sums := vmap.Rows(x, func(row *Node) []*Node { return []*Node{ReduceAllSum(row)} })[0] // [n]
package vmap

import (
	"fmt"
	"slices"

	"github.com/gomlx/gomlx/core/graph"
)

// Rows returns, for x of shape [n, d...], what f returns for each row [d...] of x, stacked: [n, e...] for each result
// of shape [e...]. Row i of a result depends on row i of x alone. The functions f may do anything with its axes, such
// as merge them or reduce over all. It panics, as graph functions do, where f has an operation that cannot be mapped,
// and names it.
func Rows(x *graph.Node, f func(row *graph.Node) []*graph.Node) []*graph.Node {
	row := graph.Reshape(graph.Slice(x, graph.AxisRange(0, 1)), x.Shape().Dimensions[1:]...)
	out := f(row)
	m := &mapping{n: x.Shape().Dimensions[0], row: map[graph.NodeId]*graph.Node{row.Id(): x}}
	for _, n := range between(row, out) {
		m.row[n.Id()] = m.node(n)
	}
	stacked := make([]*graph.Node, len(out))
	for i, n := range out {
		stacked[i] = m.repeated(n)
	}
	return stacked
}

// between returns the nodes that depend on x and that the outputs need, x left out, each after its inputs.
func between(x *graph.Node, outputs []*graph.Node) []*graph.Node {
	seen := map[graph.NodeId]bool{}
	var all []*graph.Node
	for stack := slices.Clone(outputs); len(stack) > 0; {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[n.Id()] {
			continue
		}
		seen[n.Id()] = true
		all = append(all, n)
		stack = append(stack, n.Inputs()...)
	}
	// A node's number is above those of its inputs.
	slices.SortFunc(all, func(a, b *graph.Node) int { return int(a.Id()) - int(b.Id()) })
	depends := map[graph.NodeId]bool{x.Id(): true}
	return slices.DeleteFunc(all, func(n *graph.Node) bool {
		depends[n.Id()] = depends[n.Id()] || slices.ContainsFunc(n.Inputs(), func(in *graph.Node) bool { return depends[in.Id()] })
		return !depends[n.Id()] || n.Id() == x.Id()
	})
}

// mapping is a graph while it is mapped.
type mapping struct {
	n   int                          // rows
	row map[graph.NodeId]*graph.Node // what a node of the row's graph is for all rows: with a leading axis of n
}

// node maps an operation that depends on the row.
func (m *mapping) node(n *graph.Node) *graph.Node {
	rule := rules[n.Type()]
	if rule == nil || n.CustomGradient() != nil {
		panic(fmt.Errorf("GoMLX's operation %s cannot be mapped over the examples", n.Type()))
	}
	out := rule(m, n)
	if want := append([]int{m.n}, n.Shape().Dimensions...); !slices.Equal(out.Shape().Dimensions, want) {
		panic(fmt.Errorf("GoMLX's operation %s, mapped over %d examples, has the shape %v instead of %v", n.Type(), m.n,
			out.Shape().Dimensions, want))
	}
	if n.StopGradient() && !out.StopGradient() {
		out = graph.StopGradient(out)
	}
	return out
}

// mapped returns what n is for all rows, nil if it is the same for each.
func (m *mapping) mapped(n *graph.Node) *graph.Node { return m.row[n.Id()] }

// repeated returns n for all rows, with the leading axis also where it is the same for each.
func (m *mapping) repeated(n *graph.Node) *graph.Node {
	if all := m.mapped(n); all != nil {
		return all
	}
	return graph.BroadcastPrefix(n, m.n)
}

// aligned returns n in a form in which it can be combined with others element by element: with the leading axis of the
// rows, and as many axes behind it as rank, of size 1 where n is broadcast. A single number for all rows stays one.
func (m *mapping) aligned(n *graph.Node, rank int) *graph.Node {
	lead, all := m.n, m.mapped(n)
	if all == nil {
		if n.IsScalar() {
			return n
		}
		lead, all = 1, n
	}
	if all.Rank() == rank+1 {
		return all
	}
	dims := append([]int{lead}, slices.Repeat([]int{1}, rank-n.Rank())...)
	return graph.Reshape(all, append(dims, n.Shape().Dimensions...)...)
}

// only returns what the first input of n is for all rows. It panics if one of the others depends on the row.
func (m *mapping) only(n *graph.Node) *graph.Node {
	for _, in := range n.Inputs()[1:] {
		if m.mapped(in) != nil {
			panic(fmt.Errorf("GoMLX's operation %s, with parameters that depend on the example, cannot be mapped over the examples", n.Type()))
		}
	}
	return m.mapped(n.Inputs()[0])
}

// behind returns the axes behind the leading one.
func behind(axes []int) []int {
	out := make([]int, len(axes))
	for i, a := range axes {
		out[i] = a + 1
	}
	return out
}
