package propagate

import (
	"fmt"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

const (
	// unitRoundoff is that of float32.
	unitRoundoff = 0x1p-24
	// Tiny is the smallest normal float32: what a flushed denormal may have been.
	Tiny = 0x1p-126
	// Largest is the largest float32: what exceeds it overflows.
	Largest = 0x1.fffffep127
	// Own stands for the rounding of the bounds themselves, in float64, where the model sums and multiplies: their errors
	// are those of the same sums and products, with a roundoff 2⁻²⁹ times that of float32. See ownRounding for the rest.
	Own = 1 + 1e-4
	// ownUnit is a relative error that no single float64 operation of the bounds, or one of XLA's functions in float64,
	// exceeds.
	ownUnit = 0x1p-44
)

// Arithmetic is what a pass knows of the deployed arithmetic.
type Arithmetic struct {
	Real bool
	// Operand is the unit roundoff to which operands of products that are summed are rounded; 0 for none.
	Operand float64
	// ExactVariables tells that variables have the values of the deployed model.
	ExactVariables bool
	Library        library
}

// Gamma is γ_k = ku/(1−ku), the relative error of a product of k factors 1+δ, |δ| ≤ u (Higham 2002, Accuracy and
// Stability of Numerical Algorithms, lemma 3.1), and so that of every term of a sum of k of them in any order.
func Gamma(k int) float64 {
	ku := float64(k) * unitRoundoff
	if ku >= 0.5 {
		panic(fmt.Errorf("a sum of %d terms in float32 has no useful error bound", k))
	}
	return ku / (1 - ku) * Own
}

// relative returns u·m + terms·2⁻¹²⁶ for results, or operands, of magnitude m that are rounded a few times.
func relative(m *Node, roundings, flushed int) *Node {
	return AddScalar(MulScalar(m, Gamma(roundings)), float64(flushed)*Tiny*Own)
}

// finite replaces the error by +∞ where a magnitude with it is not below the largest float32, or is NaN.
func finite(E, magnitude *Node) *Node {
	magnitude = BroadcastToDims(magnitude, E.Shape().Dimensions...)
	fits := LessOrEqual(Add(magnitude, E), Scalar(E.Graph(), E.DType(), Largest))
	return Where(fits, E, BroadcastToDims(Infinity(E.Graph(), E.DType(), 1), E.Shape().Dimensions...))
}

// ownRounding returns what the bounds themselves may lose by their rounding, in float64, where what the model does
// rounds less: nil for nothing. A row of the specification is a sum of all coordinates of u, and one of its inputs gets
// a sum of as many terms of u's as use it, and of the terms of all its other users; what is left of either may be far
// smaller than its terms. As |Λ|·E is subtracted for the terms, E has, for each of so many additions, 2⁻⁵² of what they
// multiply.
func (p *Pass) ownRounding(u *Unit, in []Interval, out Interval) *Node {
	n := u.Node
	rows := p.Walk.x.Shape().Dimensions[0]
	fan, uses := 1, 0
	for _, k := range u.perturbed {
		uses = max(uses, p.uses[u.Inputs[k].Id()])
	}
	size := n.Shape().Size() / rows
	m := out.magnitude()
	switch u.Rule.(type) {
	case sum:
		if n.Type() == NodeTypeNeg {
			if uses == 1 {
				return nil
			}
			break
		}
		m = Add(BroadcastToDims(in[0].magnitude(), n.Shape().Dimensions...), BroadcastToDims(in[1].magnitude(), n.Shape().Dimensions...))
		fan = broadcasts(u)
	case placement, conversion:
		if fan = broadcasts(u); fan == 1 && uses == 1 {
			return nil // every coordinate of Λ moves as it is
		}
	case lookup:
		fan = size
	case product, bilinear, quotient, reduction, cumulative, windowSum, batchNorm:
		// These have γ_K·(1 + 10⁻⁴) of the absolute values of all terms.
		for _, h := range u.Inputs {
			fan = max(fan, h.Shape().Size())
		}
		if s, ok := p.sums[n.Id()]; ok {
			m = s.magnitude
		}
	case maxPool:
		fan = SizeOf(Integers(n, "windowDimensions"))
	}
	return MulScalar(m, float64(size+fan+uses+16)*0x1p-52)
}

// broadcasts returns how often u uses a coordinate of an input, at most.
func broadcasts(u *Unit) int {
	fan := 1
	for _, k := range u.perturbed {
		fan = max(fan, u.Node.Shape().Size()/max(1, u.Inputs[k].Shape().Size()))
	}
	return fan
}

// exactTypes are operations that do not round their results.
var exactTypes = map[NodeType]bool{
	NodeTypeReshape: true, NodeTypeTranspose: true, NodeTypeBroadcastInDim: true, NodeTypeSlice: true,
	NodeTypeReverse: true, NodeTypeIdentity: true,
	NodeTypeConvertDType: true, NodeTypeConcatenate: true, NodeTypePad: true, NodeTypeNeg: true, NodeTypeAbs: true,
	NodeTypeMax: true, NodeTypeMin: true,
	NodeTypeSign: true, NodeTypeIota: true, NodeTypeWhere: true, NodeTypeGather: true, NodeTypeReduceMax: true, NodeTypeReduceMin: true,
	NodeTypeEqual: true, NodeTypeNotEqual: true, NodeTypeLessThan: true, NodeTypeLessOrEqual: true,
	NodeTypeGreaterThan: true, NodeTypeGreaterOrEqual: true,
	NodeTypeLogicalAnd: true, NodeTypeLogicalOr: true, NodeTypeLogicalNot: true, NodeTypeLogicalXor: true,
	NodeTypeClamp: true, NodeTypeFloor: true, NodeTypeCeil: true, NodeTypeRound: true,
}

// ConstantError returns how far the deployed value of a node that does not depend on x may be from the node's, nil
// for 0. It panics when that is not known.
func (p *Pass) ConstantError(n *Node) *Node {
	if p.Arithmetic.Real {
		return nil
	}
	if E, ok := p.errors[n.Id()]; ok {
		return E
	}
	E := p.findConstantError(n)
	p.errors[n.Id()] = E
	return E
}

func (p *Pass) findConstantError(n *Node) *Node {
	switch n.Type() {
	case NodeTypeParameter:
		if p.Arithmetic.ExactVariables || !n.DType().IsFloat() {
			return nil
		}
		return representation(n)
	case NodeTypeConstant:
		if n.DType() != dtypes.Float64 || representable(n) { // narrower ones are what the deployed model has
			return nil
		}
		return representation(n)
	}
	in := make([]Interval, len(n.Inputs()))
	exact := true
	for k, h := range n.Inputs() {
		in[k] = p.constant(h)
		exact = exact && in[k].err == nil
	}
	if n.Type() == NodeTypeConvertDType && n.DType().IsFloat() && n.Inputs()[0].DType().IsInt() {
		return representation(n)
	}
	if exact && (exactTypes[n.Type()] || !n.DType().IsFloat()) {
		return nil
	}
	if !n.DType().IsFloat() {
		panic(fmt.Errorf("a constant is computed by %s from values that are rounded", NameOf(n)))
	}
	u := &Unit{Node: n, Inputs: n.Inputs(), Rule: Rules[n.Type()]}
	if Elementwise[n.Type()] != nil && (u.Rule == nil || !u.Rule.Affine()) {
		return constantJet(p, n, in)
	}
	if u.Rule == nil || !u.Rule.Affine() && n.Type() != NodeTypeMax && n.Type() != NodeTypeMin {
		panic(fmt.Errorf("a constant is computed by %s, of whose rounding nothing is known", NameOf(n)))
	}
	E := u.Rule.Rounding(p, u, in, Interval{Lower: n, Upper: n, constant: true})
	if E == nil {
		return nil
	}
	return finite(E, Abs(n))
}

// representation is the error of rounding a value to float32.
func representation(n *Node) *Node {
	return AddScalar(Abs(Sub(n, ConvertDType(ConvertDType(n, dtypes.Float32), n.DType()))), Tiny)
}

// representable tells whether a small constant consists of float32 numbers.
func representable(n *Node) bool {
	t := n.ConstantValue()
	if t == nil || t.DType() != dtypes.Float64 || t.Size() > 256 {
		return false
	}
	for _, v := range tensors.MustCopyFlatData[float64](t) {
		if float64(float32(v)) != v {
			return false
		}
	}
	return true
}
