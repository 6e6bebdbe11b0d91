package certify

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
)

// threshold is max(z, k) and min(z, k) with a constant k. A ReLU is max(z, 0); clipping is one after the other.
type threshold struct{ pointwise }

func (threshold) affine() bool { return false }

func (threshold) check(_ *walk, u *unit) error {
	if err := onlyInput(u, 0, 1); err != nil {
		return err
	}
	if z := u.the(); !z.Shape().Equal(u.n.Shape()) {
		return fmt.Errorf("it broadcasts what depends on x from %v to %v: broadcast it before", z.Shape().Dimensions, u.n.Shape().Dimensions)
	}
	return nil
}

func (threshold) forward(_ *pass, u *unit, in []interval) interval { return ends(u, in) }

// rounding: the operation is exact, but may flush; the error of the bounds stands for that of the lines.
func (threshold) rounding(_ *pass, u *unit, in []interval, out interval) *Node {
	if len(u.perturbed) == 0 {
		E := plus(in[0].err, in[1].err)
		if E == nil {
			return nil
		}
		return BroadcastToDims(E, u.n.Shape().Dimensions...)
	}
	p := u.perturbed[0]
	E := AddScalar(MulScalar(Add(in[p].magnitude(), in[1-p].magnitude()), ownUnit), 2*tiny)
	if e := in[1-p].err; e != nil {
		E = Add(E, e)
	}
	return E
}

// relax returns the lines of σ(t) = max(t, 0), to which both operations are reduced: max(z, k) = k + σ(z − k) and
// min(z, k) = k − σ(k − z).
func (r threshold) relax(p *pass, u *unit, in []interval) (lines []*Node, open *Node) {
	z := in[u.perturbed[0]]
	k := r.constant(u)
	l, h := Sub(z.lower, k), Sub(z.upper, k)
	if u.n.Type() == NodeTypeMin {
		l, h = Sub(k, z.upper), Sub(k, z.lower)
	}
	lines = reluLines(l, h, p.line)
	return lines[:3], lines[3]
}

func (threshold) constant(u *unit) *Node {
	return BroadcastToDims(u.inputs[1-u.perturbed[0]], u.n.Shape().Dimensions...)
}

func (r threshold) backward(_ *walk, u *unit, Λ *Node, lines []*Node) (map[int]*Node, *Node) {
	p, k := u.perturbed[0], r.constant(u)
	if u.n.Type() == NodeTypeMin {
		// ⟨Λ, k − σ(t)⟩ ≥ ⟨Λ, k⟩ + ⟨s, t⟩ + b with t = k − z, and s, b from −Λ.
		s, b := reluBackward(Neg(Λ), lines)
		return map[int]*Node{p: Neg(s)}, Add(b, Mul(Add(Λ, s), k))
	}
	s, b := reluBackward(Λ, lines)
	return map[int]*Node{p: s}, Add(b, Mul(Sub(Λ, s), k))
}

func (r threshold) follow(u *unit, Λ *Node, h, lines []*Node) *Node {
	Λσ, t := r.bend(u, Λ, h)
	if u.n.Type() == NodeTypeMin {
		return Sub(r.constant(u), reluFollow(Λσ, t, lines))
	}
	return Add(r.constant(u), reluFollow(Λσ, t, lines))
}

func (r threshold) bend(u *unit, Λ *Node, h []*Node) (Λσ, t *Node) {
	z, k := h[u.perturbed[0]], r.constant(u)
	if u.n.Type() == NodeTypeMin {
		return Neg(Λ), Sub(k, z)
	}
	return Λ, Sub(z, k)
}

// The lines below a ReLU whose input may have either sign: with slope 1 if u > −l, else 0; with slope 0; with slope 1; with that of the upper
// line.
const (
	adaptiveLine = iota
	zeroLine
	oneLine
	sameSlopeLine
)

// reluLines returns the slopes a_L and a_U and the intercept b_U with a_L·t ≤ σ(t) ≤ a_U·t + b_U for l ≤ t ≤ u, where
// σ(t) = max(t, 0) (Zhang et al. 2018, table 2):
//
//	l ≥ 0:      σ(t) = t
//	u ≤ 0:      σ(t) = 0
//	l < 0 < u:  a_U = u/(u−l), b_U = −l·a_U, a_L as line says, a scalar such as [adaptiveLine]
//
// The last result is 1 where l < 0 < u, else 0.
func reluLines(l, u, line *Node) []*Node {
	zero, one := ZerosLike(l), OnesLike(l)
	unstable := LogicalAnd(LessThan(l, zero), GreaterThan(u, zero))
	stable := Where(GreaterOrEqual(l, zero), one, zero)
	// Halves, because u − l may overflow; and b_U not from a_U, which XLA flushes to 0 when it is denormal. An infinite l or
	// u makes b_U NaN, and so nothing is certified.
	l2, u2 := MulScalar(l, 0.5), MulScalar(u, 0.5)
	width := Where(unstable, Sub(u2, l2), one)
	aU := Where(unstable, Div(u2, width), stable)
	bU := Where(unstable, Mul(u, Div(Neg(l2), width)), zero)
	is := func(v int) *Node {
		return BroadcastToDims(Equal(line, Scalar(line.Graph(), line.DType(), v)), l.Shape().Dimensions...)
	}
	a := Where(GreaterThan(u, Neg(l)), one, zero)
	a = Where(is(zeroLine), zero, Where(is(oneLine), one, Where(is(sameSlopeLine), aU, a)))
	return []*Node{Where(unstable, a, stable), aU, bU, Where(unstable, one, zero)}
}

// reluBackward returns slopes s and intercepts b with ⟨Λ, σ(t)⟩ ≥ ⟨s, t⟩ + ⟨1, b⟩. A fourth line, if there is one, is ±β with β ≥ 0
// where it is given that ±t ≥ 0, 0 elsewhere: so −⟨±β, t⟩ ≤ 0 may be added (Wang et al. 2021, arXiv:2103.06624, section 3.2).
func reluBackward(Λ *Node, lines []*Node) (s, b *Node) {
	aL, aU, bU := lines[0], lines[1], lines[2]
	s = Add(Mul(positive(Λ), aL), Mul(negative(Λ), aU))
	if len(lines) > 3 {
		s = Sub(s, lines[3])
	}
	return s, Mul(negative(Λ), bU)
}

// reluFollow returns the value of the line that reluBackward takes.
func reluFollow(Λ, t *Node, lines []*Node) *Node {
	return above0(Λ, Mul(lines[0], t), Add(Mul(lines[1], t), lines[2]))
}
