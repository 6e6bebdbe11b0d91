package vmap

import (
	"slices"

	. "github.com/gomlx/gomlx/core/graph"

	"advlab/advlib/internal/inspect"
)

// Fate says what becomes of the rows of a batch in a graph that was built for one row and is given many.
type Fate int

const (
	// Unclear means that the rows may mix, or meet numbers that belong to others: nobody looked further.
	Unclear Fate = iota
	// Apart means that each row of the result depends on its row of the input, in the same way for each.
	Apart
	// Lost means that somewhere nothing is left of the rows: they were added up, or one was taken.
	Lost
)

// Follow tells what becomes of the rows of x [n, d...] on the way to out. It goes by shapes, so n must be a prime that
// no other axis is a multiple of.
func Follow(x, out *Node) Fate {
	batch := x.Shape().Dimensions[0]
	axis := map[NodeId]int{x.Id(): 0}
	for _, n := range between(x, []*Node{out}) {
		var rows []int
		for a, d := range n.Shape().Dimensions {
			if d%batch == 0 {
				rows = append(rows, a)
			}
		}
		switch {
		case len(rows) == 0:
			return Lost
		case len(rows) > 1 || !follows(n, axis, rows[0]):
			return Unclear
		}
		axis[n.Id()] = rows[0]
	}
	if _, depends := axis[out.Id()]; !depends {
		return Unclear
	}
	return Apart
}

// follows tells whether the rows, which lie along the given axes of the inputs of n, lie along axis p of n, in the same
// order.
func follows(n *Node, axis map[NodeId]int, p int) bool {
	batch := 0
	for k, in := range n.Inputs() {
		a, depends := axis[in.Id()]
		switch {
		case depends:
			batch = in.Shape().Dimensions[a]
		case k > 0 && n.Type() != NodeTypeDotGeneral && !isElements(n.Type()) && n.Type() != NodeTypeConcatenate && n.Type() != NodeTypePad &&
			n.Type() != NodeTypeConvGeneral && n.Type() != NodeTypeGather:
			return false
		}
	}
	if n.Type() != NodeTypeReshape && n.Shape().Dimensions[p] != batch {
		return false
	}
	first := n.Inputs()[0]
	a, depends := axis[first.Id()]
	switch t := n.Type(); {
	case isElements(t) || t == NodeTypeConcatenate:
		if t == NodeTypeConcatenate && int(inspect.Parameter(n, "axis").Int()) == p {
			return false
		}
		return !slices.ContainsFunc(n.Inputs(), func(in *Node) bool {
			a, depends := axis[in.Id()]
			return depends && a != p || !depends && !constantAlong(in, p)
		})
	case t == NodeTypeDotGeneral:
		return followsDot(n, axis, p)
	case !depends || len(axesOf(n.Inputs()[1:], axis)) > 0:
		return false
	case t == NodeTypeReshape:
		return product(first.Shape().Dimensions[:a]) == product(n.Shape().Dimensions[:p])
	case t == NodeTypeTranspose:
		return inspect.Integers(n, "permutation")[p] == a
	case t == NodeTypeBroadcastInDim:
		return inspect.Integers(n, "broadcastAxes")[a] == p
	case t == NodeTypeReduceSum, t == NodeTypeReduceMax, t == NodeTypeReduceMin, t == NodeTypeReduceProduct,
		t == NodeTypeReduceLogicalAnd, t == NodeTypeReduceLogicalOr:
		return without(a, inspect.Integers(n, "axes")) == p
	case t == NodeTypeArgMinMax:
		return without(a, []int{int(inspect.Parameter(n, "axis").Int())}) == p
	case t == NodeTypeSlice, t == NodeTypePad:
		return a == p
	case t == NodeTypeReverse:
		return a == p && !slices.Contains(inspect.Integers(n, "axes"), p)
	case t == NodeTypeCumSum:
		return a == p && int(inspect.Parameter(n, "axis").Int()) != p
	case t == NodeTypeReduceWindow:
		return a == p && inspect.Integers(n, "windowDimensions")[p] == 1
	case t == NodeTypeConvGeneral:
		return int(inspect.Parameter(n, "axes.InputBatch").Int()) == a && int(inspect.Parameter(n, "axes.OutputBatch").Int()) == p
	case t == NodeTypeGather:
		collapsed := inspect.Integers(n, "collapsedSliceAxes")
		return !slices.Contains(inspect.Integers(n, "startIndexMap"), a) && !slices.Contains(collapsed, a) &&
			inspect.Integers(n, "offsetOutputAxes")[without(a, collapsed)] == p
	}
	return false
}

// followsDot is follows for a product: its result has the batch axes, then what is left of the left side, then of the
// right.
func followsDot(n *Node, axis map[NodeId]int, p int) bool {
	var at []int
	free := 0
	for k, name := range []string{"lhs", "rhs"} {
		in := n.Inputs()[k]
		contracted, batch := inspect.Integers(n, name+"ContractingAxes"), inspect.Integers(n, name+"BatchAxes")
		a, depends := axis[in.Id()]
		switch {
		case depends:
			if i := slices.Index(batch, a); i >= 0 {
				at = append(at, i)
			} else {
				at = append(at, len(batch)+free+without(a, slices.Concat(contracted, batch)))
			}
		case p < len(batch) && !constantAlong(in, batch[p]):
			return false
		}
		free += in.Rank() - len(contracted) - len(batch)
	}
	return !slices.ContainsFunc(at, func(q int) bool { return q != p })
}

// constantAlong tells whether a node that does not depend on the rows is the same all along an axis, as far as can be
// seen.
func constantAlong(n *Node, axis int) bool {
	if n.IsScalar() || n.Shape().Dimensions[axis] == 1 {
		return true
	}
	switch t := n.Type(); {
	case t == NodeTypeBroadcastInDim:
		i := slices.Index(inspect.Integers(n, "broadcastAxes"), axis)
		return i < 0 || constantAlong(n.Inputs()[0], i)
	case isElements(t), t == NodeTypeConcatenate && int(inspect.Parameter(n, "axis").Int()) != axis:
		return !slices.ContainsFunc(n.Inputs(), func(in *Node) bool { return !constantAlong(in, axis) })
	}
	return false
}

// isElements tells whether an operation is on elements.
func isElements(t NodeType) bool { return elementwise[t] || t == NodeTypeWhere || t == NodeTypeClamp }

// axesOf returns the axes of the rows in those of the nodes that have them.
func axesOf(nodes []*Node, axis map[NodeId]int) (axes []int) {
	for _, n := range nodes {
		if a, depends := axis[n.Id()]; depends {
			axes = append(axes, a)
		}
	}
	return axes
}

// without returns the place of axis a when others are gone.
func without(a int, gone []int) int {
	place := a
	for _, g := range gone {
		if g < a {
			place--
		}
	}
	return place
}

func product(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}
