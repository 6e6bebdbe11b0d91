package propagate

import (
	. "github.com/gomlx/gomlx/core/graph"
)

// univariateTypes are the nonlinear operations that are units of this kind by themselves.
var univariateTypes = map[NodeType]bool{
	NodeTypeAbs: true, NodeTypeExp: true, NodeTypeExpm1: true, NodeTypeLog: true, NodeTypeLog1p: true, NodeTypeSqrt: true, NodeTypeRsqrt: true,
	NodeTypeLogistic: true, NodeTypeTanh: true, NodeTypeErf: true, NodeTypePow: true, NodeTypeClamp: true,
	NodeTypeSin: true, NodeTypeCos: true,
	NodeTypeAtan2: true, NodeTypeFloor: true, NodeTypeCeil: true, NodeTypeRound: true, NodeTypeSign: true,
}

// chooses tells whether n makes a number of a condition that depends on x.
func (w *Walk) chooses(n *Node) bool {
	in := n.Inputs()[0]
	return w.perturbed(in) && (n.Type() == NodeTypeWhere || n.Type() == NodeTypeConvertDType && !in.DType().IsFloat())
}

// longest is the largest group of operations that is taken as one function.
const longest = 40

// composites finds the groups that are functions of one tensor, by their result.
func (w *Walk) composites() map[NodeId]*Unit {
	groups := map[NodeId]*Unit{}
	// chain[n] are the nodes z, in order, of which n is a function element by element, with n itself.
	chain := map[NodeId][]*Node{w.x.Id(): {w.x}}
	for _, n := range w.Nodes[1:] {
		chain[n.Id()] = []*Node{n}
		if Elementwise[n.Type()] == nil {
			continue
		}
		var common []*Node
		several, same := 0, true
		for _, k := range w.PerturbedInputs(n) {
			in := n.Inputs()[k]
			same = same && in.Shape().EqualDimensions(n.Shape())
			if several++; several == 1 {
				common = chain[in.Id()]
				continue
			}
			common = intersection(common, chain[in.Id()])
		}
		if !same || len(common) == 0 {
			continue
		}
		if len(common) > longest {
			common = common[len(common)-longest:]
		}
		chain[n.Id()] = append(append([]*Node{}, common...), n)
		inverse := n.Type() == NodeTypeDiv && w.perturbed(n.Inputs()[1])
		if several == 1 && !univariateTypes[n.Type()] && !inverse && !w.chooses(n) || !n.DType().IsFloat() {
			continue
		}
		for len(common) > 1 && !common[len(common)-1].DType().IsFloat() {
			common = common[:len(common)-1]
		}
		z := common[len(common)-1] // the nearest number
		if !z.DType().IsFloat() || !z.Shape().Equal(n.Shape()) {
			continue
		}
		inner := w.between(z, n)
		if (n.Type() == NodeTypeAdd || n.Type() == NodeTypeSub) && !worthGrouping(inner) {
			continue
		}
		groups[n.Id()] = &Unit{Node: n, Inputs: []*Node{z}, Rule: univariate{}, inner: inner}
	}
	return groups
}

// Winds tells whether u is a function of one tensor with a product of two tensors in it, of more operations than that
// and another.
func (w *Walk) Winds(u *Unit) bool {
	if _, ok := u.Rule.(univariate); !ok || len(u.Nodes()) <= 2 {
		return false
	}
	for _, v := range u.Nodes() {
		if v.Type() == NodeTypeMul && len(w.PerturbedInputs(v)) == 2 {
			return true
		}
	}
	return false
}

// worthGrouping tells whether the operations on the way bend: sums of what is affine, or of one ReLU, are better left
// alone.
func worthGrouping(inner []*Node) bool {
	bends := 0
	for _, n := range inner {
		switch n.Type() {
		case NodeTypeMax, NodeTypeMin:
			bends++
		case NodeTypeAdd, NodeTypeSub, NodeTypeNeg, NodeTypeIdentity, NodeTypeConvertDType:
		case NodeTypeMul, NodeTypeDiv:
		default:
			bends += 2
		}
	}
	return bends > 1
}

func intersection(a, b []*Node) (common []*Node) {
	in := map[NodeId]bool{}
	for _, n := range b {
		in[n.Id()] = true
	}
	for _, n := range a {
		if in[n.Id()] {
			common = append(common, n)
		}
	}
	return common
}

// between returns the perturbed nodes from z, without it, to n, in order.
func (w *Walk) between(z, n *Node) (inner []*Node) {
	needed := map[NodeId]bool{n.Id(): true}
	for i := w.Index[n.Id()]; i > w.Index[z.Id()]; i-- {
		v := w.Nodes[i]
		if !needed[v.Id()] {
			continue
		}
		inner = append([]*Node{v}, inner...)
		for _, in := range v.Inputs() {
			if in != z {
				needed[in.Id()] = true
			}
		}
	}
	return inner
}
