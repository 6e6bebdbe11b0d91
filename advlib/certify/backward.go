package certify

import (
	"fmt"
	"maps"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
)

// backward goes from one node, the start, to x with one linear function of each node for every row (Zhang et al. 2018,
// arXiv:1811.00866; for general graphs Xu et al. 2020, arXiv:2002.12920, algorithm 1). Each row is an example with one
// linear function of the start; the model is built on as many inputs as there are rows, for its shapes and constants
// alone.
type backward struct {
	w *walk
	a arithmetic
	r region
	// box tells that regions are boxes, so that nothing for L1 and L2 balls is computed.
	box bool
	// lines and rounding of units are those of each row's example; nil where there are none.
	lines    map[*unit][]*Node
	rounding map[*unit]*Node
	// stop, if it is not nil, holds the intervals of the results of units that are not affine: there the minimum over
	// the interval is taken, and the walk ends. That is IBP with the last layer merged with the specification (Gowal et al.
	// 2018, section 3).
	stop map[*unit]interval
	// Λs is what from has found: the linear function of each node that the start needs.
	Λs map[NodeId]*Node
	// cut, if it is not nil, says that Λ, lines, rounding and the region are patches. The model is then built on the examples, not
	// on rows.
	cut *cut
	// given holds Λ of nodes where it is known already; see [table].
	given map[NodeId]*Node
}

// end is the node where the pass ends: x, or with patches where they do.
func (b *backward) end() *Node {
	if b.cut != nil {
		return b.cut.end
	}
	return b.w.x
}

// bound is a lower bound for each of N rows.
type bound struct {
	lower *Node // [N]
	slack *Node // [N], what rounding took from it on the way back
	slope *Node // Λ at the end, in its shape
}

// from returns lower bounds of ⟨Λ, start⟩ over the region.
func (b *backward) from(start, Λ *Node) bound {
	w := b.w
	rows := b.r.lower.Shape().Dimensions[0]
	sumRows := func(v *Node) *Node { return ReduceSum(Reshape(v, rows, -1), 1) }
	zero := ZerosLike(sumRows(Λ))
	total, slack := zero, zero
	Λs := map[NodeId]*Node{start.Id(): Λ}
	b.Λs = Λs
	constants, roundings := sums{}, sums{}
	end := b.end()
	for i := len(w.units) - 1; i >= 0 && w.units[i].n != end; i-- {
		u := w.units[i]
		Λ := Λs[u.n.Id()]
		if Λ == nil { // the start does not use it
			continue
		}
		if v, ok := b.stop[u]; ok {
			// The interval holds the rounding of u.
			total = Add(total, sumRows(Add(Mul(positive(Λ), v.lower), Mul(negative(Λ), v.upper))))
			continue
		}
		if E := b.rounding[u]; E != nil {
			roundings.add(Mul(Abs(Λ), E))
		}
		parts, constant := b.step(u, Λ)
		if constant != nil {
			constants.add(constant)
		}
		for k, part := range parts {
			id := u.inputs[k].Id()
			Λs[id] = plus(Λs[id], part) // an input that occurs twice has two parts
			if b.given[id] != nil {
				Λs[id] = b.given[id]
			}
		}
	}
	total, slack = plus(constants.of(rows), total), plus(roundings.of(rows), slack)
	slope := Λs[end.Id()]
	if slope == nil {
		slope = ZerosLike(b.r.lower)
	} else {
		total = Add(total, b.r.minimum(slope, b.box, b.a))
	}
	return bound{lower: Sub(total, slack), slack: slack, slope: slope}
}

// sums collects tensors by shape whose elements are to be added up. XLA computes the operands of each sum over a tensor again, so it is
// given one sum for each shape.
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
func (b *backward) step(u *unit, Λ *Node) (parts map[int]*Node, constant *Node) {
	if b.cut == nil {
		return u.rule.backward(b.w, u, Λ, b.lines[u])
	}
	l := u.rule.(local)
	parts, constant = l.backwardPatch(b.cut, u, Λ, b.lines[u])
	for k, part := range parts {
		in := u.inputs[k]
		parts[k] = l.reach(u, k, b.cut.of[u.n.Id()]).place(part, b.cut.of[in.Id()])
		if len(l.windows(u)) > 0 {
			parts[k] = b.cut.inside(in, parts[k])
		}
	}
	return parts, constant
}

// follow returns the values that the lines, as from chose them, have for an input x: of all nodes that the start needs.
func (b *backward) follow(x, start *Node) map[NodeId]*Node {
	end := b.end()
	h := map[NodeId]*Node{end.Id(): x}
	for _, u := range b.w.units {
		if Λ := b.Λs[u.n.Id()]; Λ != nil && u.n != end {
			in := b.inputs(u, h)
			if b.cut != nil {
				h[u.n.Id()] = b.cut.inside(u.n, u.rule.(local).followPatch(b.cut, u, Λ, in, b.lines[u]))
			} else {
				h[u.n.Id()] = u.rule.follow(u, Λ, in, b.lines[u])
			}
		}
		if u.n == start {
			break
		}
	}
	return h
}

// inputs returns values of the inputs of u, which are in h if they depend on x: on patches, of what its patch reaches.
func (b *backward) inputs(u *unit, h map[NodeId]*Node) []*Node {
	in := slices.Clone(u.inputs)
	for _, k := range u.perturbed {
		in[k] = h[u.inputs[k].Id()]
		if b.cut != nil {
			p := u.rule.(local).reach(u, k, b.cut.of[u.n.Id()])
			in[k] = p.within(in[k], b.cut.of[u.inputs[k].Id()])
		}
	}
	return in
}

// bend returns what [bent] has for u.
func (b *backward) bend(u *unit, h map[NodeId]*Node) (Λσ, t *Node) {
	in := b.inputs(u, h)
	if b.cut != nil {
		u2, in := b.cut.small(u, in)
		return u.rule.(bent).bend(u2, b.Λs[u.n.Id()], in)
	}
	return u.rule.(bent).bend(u, b.Λs[u.n.Id()], in)
}

// ancestors returns the units that are needed for a node, in order, without those behind others at which the walk stops.
func (w *walk) ancestors(start *Node, stops func(*unit) bool) (units []*unit) {
	needed := map[NodeId]bool{start.Id(): true}
	for i := len(w.units) - 1; i >= 0; i-- {
		u := w.units[i]
		if !needed[u.n.Id()] {
			continue
		}
		units = append(units, u)
		if stops(u) {
			continue
		}
		for _, k := range u.perturbed {
			needed[u.inputs[k].Id()] = true
		}
	}
	return units
}

// sumsBefore counts, for each node, the sums on the way to it from x; 2 stands for more than one, and for two ways.
func (w *walk) sumsBefore() map[NodeId]int {
	sums := map[NodeId]int{w.x.Id(): 0}
	for _, u := range w.units {
		count := 2
		if u.rule.affine() && len(u.perturbed) == 1 {
			count = sums[u.the().Id()]
			switch u.n.Type() {
			case NodeTypeDotGeneral, NodeTypeConvGeneral, NodeTypeReduceSum, NodeTypeReduceWindow, NodeTypeCumSum:
				count = min(count+1, 2)
			}
			if u.n.Shape().Size() > u.the().Shape().Size() && count == 0 {
				count = 1 // repeated coordinates
			}
		}
		sums[u.n.Id()] = count
	}
	return sums
}
