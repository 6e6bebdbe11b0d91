package propagate

import (
	. "github.com/gomlx/gomlx/core/graph"
)

// softmax is the group exp(z − m)/Σ exp(z − m) along the last axis, where m is the maximum of z: in real arithmetic it
// does not depend on m, which its operations, bounded one by one, would not know. It is for attention; a classifier is
// bounded by its logits.
type softmax struct{}

// softmaxes finds the groups of the decomposed softmax, by their result.
func (w *Walk) softmaxes() map[NodeId]*Unit {
	groups := map[NodeId]*Unit{}
	last := func(n *Node) bool {
		axes := Integers(n, "axes")
		return len(axes) == 1 && axes[0] == n.Inputs()[0].Rank()-1
	}
	for _, n := range w.Nodes {
		if n.Type() != NodeTypeDiv {
			continue
		}
		e, total := n.Inputs()[0], origin(n.Inputs()[1])
		if e.Type() != NodeTypeExp || total.Type() != NodeTypeReduceSum || !last(total) || total.Inputs()[0] != e ||
			e.Inputs()[0].Type() != NodeTypeSub {
			continue
		}
		shifted := e.Inputs()[0]
		z, m := shifted.Inputs()[0], origin(shifted.Inputs()[1])
		if m.Type() != NodeTypeReduceMax || !last(m) || m.Inputs()[0] != z || !w.perturbed(z) || !z.Shape().Equal(n.Shape()) || z.Rank() < 2 {
			continue
		}
		groups[n.Id()] = &Unit{Node: n, Inputs: []*Node{z}, Rule: softmax{}, inner: w.between(z, n)}
	}
	return groups
}

// origin follows operations that only reshape or broadcast, or change nothing, backwards.
func origin(n *Node) *Node {
	for {
		switch n.Type() {
		case NodeTypeReshape, NodeTypeBroadcastInDim, NodeTypeIdentity:
			n = n.Inputs()[0]
		default:
			return n
		}
	}
}

func (softmax) Affine() bool { return false }

func (softmax) Check(*Walk, *Unit) error { return nil }

// shifted returns the interval of z − c, where the constants c, one for each softmax, are the largest upper end, so
// that nothing overflows.
func (softmax) shifted(z Interval) Interval {
	c := ReduceAndKeep(z.Upper, ReduceMax, -1)
	return Interval{Lower: Sub(z.Lower, c), Upper: Sub(z.Upper, c)}
}

// others returns for each element the sum of all others along the last axis.
func (softmax) others(v *Node) *Node {
	K := v.Shape().Dimensions[v.Rank()-1]
	mask := LogicalNot(Diagonal(v.Graph(), K))
	flat := Reshape(v, -1, K)
	return Reshape(DotGeneral(flat, []int{1}, nil, ConvertDType(mask, v.DType()), []int{0}, nil), v.Shape().Dimensions...)
}

// Forward is e^l_i/(e^l_i + Σ_{j≠i} e^u_j) and e^u_i/(e^u_i + Σ_{j≠i} e^l_j).
func (r softmax) Forward(_ *Pass, _ *Unit, in []Interval) Interval {
	t := r.shifted(in[0])
	l, h := Exp(t.Lower), Exp(t.Upper)
	return Interval{Lower: Div(l, Add(l, r.others(h))), Upper: Div(h, Add(h, r.others(l)))}
}

// Rounding: z − m is off by u·|z − m| ≤ u·(max u − min l) and flushing, which the exponential makes relative; its own
// error, the sum's and the quotient's are relative too.
func (r softmax) Rounding(p *Pass, u *Unit, in []Interval, out Interval) *Node {
	K := in[0].Lower.Shape().Dimensions[in[0].Lower.Rank()-1]
	span := Sub(ReduceAndKeep(in[0].Upper, ReduceMax, -1), ReduceAndKeep(in[0].Lower, ReduceMin, -1))
	span = Max(span, ZerosLike(span))
	shift := relative(span, 1, 4)
	// e^δ − 1 for the numerator, and for each term of the sum.
	each := AddScalar(MulScalar(Sub(Exp(shift), OnesLike(shift)), 1.001), p.Arithmetic.Library[NodeTypeExp].relative)
	total := AddScalar(MulScalar(each, 2), Gamma(K+4))
	total = Add(total, MulScalar(Square(total), 2)) // products of relative errors
	E := AddScalar(Mul(out.Upper, total), float64(8*(K+4))*Tiny)
	return Add(E, MulScalar(out.magnitude(), ownUnit))
}

// Relax returns lines of e^(z − c), then lines of the inverse of their sum with what McCormick's planes need, then the
// interval of the result, and where it is better than the planes.
func (r softmax) Relax(_ *Pass, u *Unit, in []Interval) (lines []*Node, open *Node) {
	t := r.shifted(in[0])
	eL, eU := Exp(t.Lower), Exp(t.Upper)
	sum := func(v *Node) *Node { return ReduceAndKeep(v, ReduceSum, -1) }
	S := Interval{Lower: sum(eL), Upper: sum(eU)}

	// The exponential: tangent below, chord above.
	d := Min(MulScalar(Add(t.Lower, t.Upper), 0.5), AddScalar(t.Lower, 0.99))
	tangent := Exp(d)
	width := Sub(t.Upper, t.Lower)
	wide := GreaterThan(width, MulScalar(OnesLike(width), 1e-9))
	chord := Where(wide, Div(Sub(eU, eL), Where(wide, width, OnesLike(width))), eU)
	// For a point, and nearly one, the tangent at the upper end plus the error of going to the lower one.
	over := Where(wide, Sub(eL, Mul(chord, t.Lower)), Sub(eU, Mul(chord, t.Upper)))
	over = Add(over, Where(wide, ZerosLike(over), MulScalar(Mul(eU, Abs(width)), 1)))
	slip := MulScalar(Mul(eU, OnePlus(Add(Abs(in[0].Lower), Abs(in[0].Upper)))), ownUnit) // of computing z − c
	over = Add(over, slip)
	exp := []*Node{tangent, Sub(Sub(tangent, Mul(tangent, d)), slip), chord, over}
	// In terms of z, of which t is a shift.
	c := Sub(t.Lower, in[0].Lower)
	for i := range 2 {
		exp[2*i+1] = Add(exp[2*i+1], Mul(exp[2*i], c))
	}
	inv := inverseLines(S)
	R := inverse(S)

	out := r.Forward(nil, u, in)
	// In the middle of z, are the planes better than the interval?
	zc := MulScalar(Add(in[0].Lower, in[0].Upper), 0.5)
	low, high := Add(Mul(exp[0], zc), exp[1]), Add(Mul(exp[2], zc), exp[3])
	rl, rh := Add(Mul(inv[0], sum(high)), inv[1]), Add(Mul(inv[2], sum(low)), inv[3])
	below := Sub(Add(Mul(R.Lower, low), Mul(eL, rl)), Mul(eL, R.Lower))
	above := Sub(Add(Mul(R.Upper, high), Mul(eL, rh)), Mul(eL, R.Upper))
	useL := ConvertDType(GreaterThan(below, out.Lower), zc.DType())
	useU := ConvertDType(LessThan(above, out.Upper), zc.DType())
	lines = append(exp, inv...)
	return append(lines, eL, R.Lower, R.Upper, out.Lower, out.Upper, useL, useU), nil
}

func (r softmax) Backward(_ *Walk, u *Unit, Λ *Node, lines []*Node) (map[int]*Node, *Node) {
	exp, inv := lines[:4], lines[4:8]
	eL, rL, rU, outL, outU, useL, useU := lines[8], lines[9], lines[10], lines[11], lines[12], lines[13], lines[14]
	up, down := Positive(Λ), negative(Λ)
	b := Add(Mul(Mul(up, OneMinus(useL)), outL), Mul(Mul(down, OneMinus(useU)), outU))
	up, down = Mul(up, useL), Mul(down, useU)
	// e/S = e·(1/S): see quotient.
	Λe := Add(Mul(up, rL), Mul(down, rU))
	b = Sub(b, Mul(eL, Λe))
	Λr := ReduceAndKeep(Mul(Add(up, down), eL), ReduceSum, -1)
	parts, constant := linesBackward(0, Λr, inv)
	K := float64(Λ.Shape().Dimensions[Λ.Rank()-1])
	b = Add(b, MulScalar(BroadcastToDims(constant, Λ.Shape().Dimensions...), 1/K)) // once for each softmax
	Λe = Add(Λe, BroadcastToDims(parts[0], Λ.Shape().Dimensions...))
	parts, constant = linesBackward(0, Λe, exp)
	return parts, Add(b, constant)
}

func (r softmax) Follow(_ *Unit, Λ *Node, h, lines []*Node) *Node {
	exp, inv := lines[:4], lines[4:8]
	eL, rL, rU, outL, outU, useL, useU := lines[8], lines[9], lines[10], lines[11], lines[12], lines[13], lines[14]
	up, down := Mul(Positive(Λ), useL), Mul(negative(Λ), useU)
	Λr := ReduceAndKeep(Mul(Add(up, down), eL), ReduceSum, -1)
	parts, _ := linesBackward(0, Λr, inv)
	Λe := Add(Add(Mul(up, rL), Mul(down, rU)), BroadcastToDims(parts[0], Λ.Shape().Dimensions...))
	e := linesFollow(Λe, h[0], exp)
	inverse := linesFollow(Λr, ReduceAndKeep(e, ReduceSum, -1), inv)
	plane := Add(Mul(Sub(e, eL), above0(Λ, rL, rU)), Mul(eL, inverse))
	use := above0(Λ, useL, useU)
	return Add(Mul(use, plane), Mul(OneMinus(use), above0(Λ, outL, outU)))
}
