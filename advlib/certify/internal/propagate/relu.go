package propagate

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
)

// threshold is max(z, k) and min(z, k) with a constant k. A ReLU is max(z, 0); clipping is one after the other.
type threshold struct{ pointwise }

func (threshold) Affine() bool { return false }

func (threshold) Check(_ *Walk, u *Unit) error {
	if err := onlyInput(u, 0, 1); err != nil {
		return err
	}
	if z := u.Only(); !z.Shape().Equal(u.Node.Shape()) {
		return fmt.Errorf("it broadcasts what depends on x from %v to %v: broadcast it before", z.Shape().Dimensions, u.Node.Shape().Dimensions)
	}
	return nil
}

func (threshold) Forward(_ *Pass, u *Unit, in []Interval) Interval { return Ends(u, in) }

// Rounding: the operation is exact, but may flush; the error of the bounds stands for that of the lines.
func (threshold) Rounding(_ *Pass, u *Unit, in []Interval, out Interval) *Node {
	if len(u.perturbed) == 0 {
		E := plus(in[0].err, in[1].err)
		if E == nil {
			return nil
		}
		return BroadcastToDims(E, u.Node.Shape().Dimensions...)
	}
	p := u.perturbed[0]
	E := AddScalar(MulScalar(Add(in[p].magnitude(), in[1-p].magnitude()), ownUnit), 2*Tiny)
	if e := in[1-p].err; e != nil {
		E = Add(E, e)
	}
	return E
}

// Relax returns the lines of σ(t) = max(t, 0), to which both operations are reduced: max(z, k) = k + σ(z − k) and
// min(z, k) = k − σ(k − z).
func (r threshold) Relax(p *Pass, u *Unit, in []Interval) (lines []*Node, open *Node) {
	z := in[u.perturbed[0]]
	k := r.constant(u)
	l, h := Sub(z.Lower, k), Sub(z.Upper, k)
	if u.Node.Type() == NodeTypeMin {
		l, h = Sub(k, z.Upper), Sub(k, z.Lower)
	}
	lines = reluLines(l, h, p.Line)
	return lines[:3], lines[3]
}

func (threshold) constant(u *Unit) *Node {
	return BroadcastToDims(u.Inputs[1-u.perturbed[0]], u.Node.Shape().Dimensions...)
}

func (r threshold) Backward(_ *Walk, u *Unit, Λ *Node, lines []*Node) (map[int]*Node, *Node) {
	p, k := u.perturbed[0], r.constant(u)
	if u.Node.Type() == NodeTypeMin {
		// ⟨Λ, k − σ(t)⟩ ≥ ⟨Λ, k⟩ + ⟨s, t⟩ + b with t = k − z, and s, b from −Λ.
		s, b := reluBackward(Neg(Λ), lines)
		return map[int]*Node{p: Neg(s)}, Add(b, Mul(Add(Λ, s), k))
	}
	s, b := reluBackward(Λ, lines)
	return map[int]*Node{p: s}, Add(b, Mul(Sub(Λ, s), k))
}

func (r threshold) Follow(u *Unit, Λ *Node, h, lines []*Node) *Node {
	Λσ, t := r.Bend(u, Λ, h)
	if u.Node.Type() == NodeTypeMin {
		return Sub(r.constant(u), reluFollow(Λσ, t, lines))
	}
	return Add(r.constant(u), reluFollow(Λσ, t, lines))
}

func (r threshold) Bend(u *Unit, Λ *Node, h []*Node) (Λσ, t *Node) {
	z, k := h[u.perturbed[0]], r.constant(u)
	if u.Node.Type() == NodeTypeMin {
		return Neg(Λ), Sub(k, z)
	}
	return Λ, Sub(z, k)
}

// The lines below a ReLU whose input may have either sign: with slope 1 if u > −l, else 0; with slope 0; with slope 1;
// with that of the upper line.
const (
	AdaptiveLine = iota
	ZeroLine
	OneLine
	SameSlopeLine
)

// reluLines returns the slopes a_L and a_U and the intercept b_U with a_L·t ≤ σ(t) ≤ a_U·t + b_U for l ≤ t ≤ u, where
// σ(t) = max(t, 0) (Zhang et al. 2018, table 2):
//
//	l ≥ 0:      σ(t) = t
//	u ≤ 0:      σ(t) = 0
//	l < 0 < u:  a_U = u/(u−l), b_U = −l·a_U, a_L as line says, a scalar such as [AdaptiveLine]
//
// The last result is 1 where l < 0 < u, else 0.
func reluLines(l, u, line *Node) []*Node {
	zero, one := ZerosLike(l), OnesLike(l)
	unstable := LogicalAnd(LessThan(l, zero), GreaterThan(u, zero))
	stable := Where(GreaterOrEqual(l, zero), one, zero)
	// Halves, because u − l may overflow; and b_U not from a_U, which XLA flushes to 0 when it is denormal. An infinite l
	// or u makes b_U NaN, and so nothing is certified.
	l2, u2 := MulScalar(l, 0.5), MulScalar(u, 0.5)
	width := Where(unstable, Sub(u2, l2), one)
	aU := Where(unstable, Div(u2, width), stable)
	bU := Where(unstable, Mul(u, Div(Neg(l2), width)), zero)
	is := func(v int) *Node {
		return BroadcastToDims(Equal(line, Scalar(line.Graph(), line.DType(), v)), l.Shape().Dimensions...)
	}
	a := Where(GreaterThan(u, Neg(l)), one, zero)
	a = Where(is(ZeroLine), zero, Where(is(OneLine), one, Where(is(SameSlopeLine), aU, a)))
	return []*Node{Where(unstable, a, stable), aU, bU, Where(unstable, one, zero)}
}

// reluBackward returns slopes s and intercepts b with ⟨Λ, σ(t)⟩ ≥ ⟨s, t⟩ + ⟨1, b⟩. A fourth line, if there is one, is
// ±β with β ≥ 0 where it is given that ±t ≥ 0, 0 elsewhere: so −⟨±β, t⟩ ≤ 0 may be added (Wang et al. 2021,
// arXiv:2103.06624, section 3.2).
func reluBackward(Λ *Node, lines []*Node) (s, b *Node) {
	aL, aU, bU := lines[0], lines[1], lines[2]
	s = Add(Mul(Positive(Λ), aL), Mul(negative(Λ), aU))
	if len(lines) > 3 {
		s = Sub(s, lines[3])
	}
	return s, Mul(negative(Λ), bU)
}

// reluFollow returns the value of the line that reluBackward takes.
func reluFollow(Λ, t *Node, lines []*Node) *Node {
	return above0(Λ, Mul(lines[0], t), Add(Mul(lines[1], t), lines[2]))
}
