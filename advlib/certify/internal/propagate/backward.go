package propagate

import (
	"fmt"
	"maps"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
)

// Backward goes from one node, the start, to x with one linear function of each node for every row (Zhang et al. 2018,
// arXiv:1811.00866; for general graphs Xu et al. 2020, arXiv:2002.12920, algorithm 1). Each row is an example with one
// linear function of the start; the model is built on as many inputs as there are rows, for its shapes and constants
// alone.
type Backward struct {
	Walk       *Walk
	Arithmetic Arithmetic
	Region     Region
	// Box tells that regions are boxes, so that nothing for L1 and L2 balls is computed.
	Box bool
	// Lines and rounding of units are those of each row's example; nil where there are none.
	Lines    map[*Unit][]*Node
	Rounding map[*Unit]*Node
	// Stop, if it is not nil, holds the intervals of the results of units that are not affine: there the minimum over the
	// interval is taken, and the walk ends. That is IBP with the last layer merged with the specification (Gowal et al.
	// 2018, section 3).
	Stop map[*Unit]Interval
	// Λs is what from has found: the linear function of each node that the start needs.
	Λs map[NodeId]*Node
	// Cut, if it is not nil, says that Λ, lines, rounding and the region are patches. The model is then built on the
	// examples, not on rows.
	Cut *Cut
	// Given holds Λ of nodes where it is known already; see [table].
	Given map[NodeId]*Node
}

// end is the node where the pass ends: x, or with patches where they do.
func (b *Backward) end() *Node {
	if b.Cut != nil {
		return b.Cut.End
	}
	return b.Walk.x
}

// bound is a lower bound for each of N rows.
type bound struct {
	Lower *Node // [N]
	Slack *Node // [N], what rounding took from it on the way back
	Slope *Node // Λ at the end, in its shape
}

// From returns lower bounds of ⟨Λ, start⟩ over the region.
func (b *Backward) From(start, Λ *Node) bound {
	w := b.Walk
	rows := b.Region.Lower.Shape().Dimensions[0]
	sumRows := func(v *Node) *Node { return ReduceSum(Reshape(v, rows, -1), 1) }
	zero := ZerosLike(sumRows(Λ))
	total, slack := zero, zero
	Λs := map[NodeId]*Node{start.Id(): Λ}
	b.Λs = Λs
	constants, roundings := sums{}, sums{}
	end := b.end()
	for i := len(w.Units) - 1; i >= 0 && w.Units[i].Node != end; i-- {
		u := w.Units[i]
		Λ := Λs[u.Node.Id()]
		if Λ == nil { // the start does not use it
			continue
		}
		if v, ok := b.Stop[u]; ok {
			// The interval holds the rounding of u.
			total = Add(total, sumRows(Add(Mul(Positive(Λ), v.Lower), Mul(negative(Λ), v.Upper))))
			continue
		}
		if E := b.Rounding[u]; E != nil {
			roundings.add(Mul(Abs(Λ), E))
		}
		parts, constant := b.step(u, Λ)
		if constant != nil {
			constants.add(constant)
		}
		for k, part := range parts {
			id := u.Inputs[k].Id()
			Λs[id] = plus(Λs[id], part) // an input that occurs twice has two parts
			if b.Given[id] != nil {
				Λs[id] = b.Given[id]
			}
		}
	}
	total, slack = plus(constants.of(rows), total), plus(roundings.of(rows), slack)
	slope := Λs[end.Id()]
	if slope == nil {
		slope = ZerosLike(b.Region.Lower)
	} else {
		total = Add(total, b.Region.minimum(slope, b.Box, b.Arithmetic))
	}
	return bound{Lower: Sub(total, slack), Slack: slack, Slope: slope}
}

// sums collects tensors by shape whose elements are to be added up. XLA computes the operands of each sum over a tensor
// again, so it is given one sum for each shape.
type sums map[string]*Node

func (s sums) add(v *Node) {
	dims := fmt.Sprint(v.Shape().Dimensions)
	s[dims] = plus(s[dims], v)
}

// of returns the sums of rows, [rows]; nil if there are none.
func (s sums) of(rows int) (total *Node) {
	for _, dims := range slices.Sorted(maps.Keys(s)) {
		total = plus(total, ReduceSum(Reshape(s[dims], rows, -1), 1))
	}
	return total
}

// step takes Λ back over one unit.
func (b *Backward) step(u *Unit, Λ *Node) (parts map[int]*Node, constant *Node) {
	if b.Cut == nil {
		return u.Rule.Backward(b.Walk, u, Λ, b.Lines[u])
	}
	l := u.Rule.(Local)
	parts, constant = l.BackwardPatch(b.Cut, u, Λ, b.Lines[u])
	for k, part := range parts {
		in := u.Inputs[k]
		parts[k] = l.Reach(u, k, b.Cut.Of[u.Node.Id()]).place(part, b.Cut.Of[in.Id()])
		if len(l.Windows(u)) > 0 {
			parts[k] = b.Cut.Inside(in, parts[k])
		}
	}
	return parts, constant
}

// Follow returns the values that the lines, as from chose them, have for an input x: of all nodes that the start needs.
func (b *Backward) Follow(x, start *Node) map[NodeId]*Node {
	end := b.end()
	h := map[NodeId]*Node{end.Id(): x}
	for _, u := range b.Walk.Units {
		if Λ := b.Λs[u.Node.Id()]; Λ != nil && u.Node != end {
			in := b.inputs(u, h)
			if b.Cut != nil {
				h[u.Node.Id()] = b.Cut.Inside(u.Node, u.Rule.(Local).FollowPatch(b.Cut, u, Λ, in, b.Lines[u]))
			} else {
				h[u.Node.Id()] = u.Rule.Follow(u, Λ, in, b.Lines[u])
			}
		}
		if u.Node == start {
			break
		}
	}
	return h
}

// inputs returns values of the inputs of u, which are in h if they depend on x: on patches, of what its patch reaches.
func (b *Backward) inputs(u *Unit, h map[NodeId]*Node) []*Node {
	in := slices.Clone(u.Inputs)
	for _, k := range u.perturbed {
		in[k] = h[u.Inputs[k].Id()]
		if b.Cut != nil {
			p := u.Rule.(Local).Reach(u, k, b.Cut.Of[u.Node.Id()])
			in[k] = p.within(in[k], b.Cut.Of[u.Inputs[k].Id()])
		}
	}
	return in
}

// Bend returns what [Bent] has for u.
func (b *Backward) Bend(u *Unit, h map[NodeId]*Node) (Λσ, t *Node) {
	in := b.inputs(u, h)
	if b.Cut != nil {
		u2, in := b.Cut.small(u, in)
		return u.Rule.(Bent).Bend(u2, b.Λs[u.Node.Id()], in)
	}
	return u.Rule.(Bent).Bend(u, b.Λs[u.Node.Id()], in)
}

// Ancestors returns the units that are needed for a node, in order, without those behind others at which the walk
// stops.
func (w *Walk) Ancestors(start *Node, stops func(*Unit) bool) (units []*Unit) {
	needed := map[NodeId]bool{start.Id(): true}
	for i := len(w.Units) - 1; i >= 0; i-- {
		u := w.Units[i]
		if !needed[u.Node.Id()] {
			continue
		}
		units = append(units, u)
		if stops(u) {
			continue
		}
		for _, k := range u.perturbed {
			needed[u.Inputs[k].Id()] = true
		}
	}
	return units
}

// SumsBefore counts, for each node, the sums on the way to it from x; 2 stands for more than one, and for two ways.
func (w *Walk) SumsBefore() map[NodeId]int {
	sums := map[NodeId]int{w.x.Id(): 0}
	for _, u := range w.Units {
		count := 2
		if u.Rule.Affine() && len(u.perturbed) == 1 {
			count = sums[u.Only().Id()]
			switch u.Node.Type() {
			case NodeTypeDotGeneral, NodeTypeConvGeneral, NodeTypeReduceSum, NodeTypeReduceWindow, NodeTypeCumSum:
				count = min(count+1, 2)
			}
			if u.Node.Shape().Size() > u.Only().Shape().Size() && count == 0 {
				count = 1 // repeated coordinates
			}
		}
		sums[u.Node.Id()] = count
	}
	return sums
}
