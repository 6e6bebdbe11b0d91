package propagate

import (
	. "github.com/gomlx/gomlx/core/graph"
)

// product is an operation that is linear in its one perturbed input h, the other being a constant W: Mul, Div by a
// constant, DotGeneral and ConvGeneral.
type product struct{ linear }

// sums tells whether the operation adds up products of several coordinates.
func (product) sums(n *Node) bool {
	return n.Type() == NodeTypeDotGeneral || n.Type() == NodeTypeConvGeneral
}

// terms returns how many products are added up for one coordinate of the result.
func (product) terms(n *Node) int {
	size := 1
	switch n.Type() {
	case NodeTypeDotGeneral:
		for _, axis := range Integers(n, "lhsContractingAxes") {
			size *= n.Inputs()[0].Shape().Dimensions[axis]
		}
	case NodeTypeConvGeneral:
		kernel := n.Inputs()[1].Shape()
		size = kernel.Size() / kernel.Dimensions[parameter(n, "axes.KernelOutputChannels").Int()]
	}
	return size
}

func (product) Check(_ *Walk, u *Unit) error {
	if u.Node.Type() == NodeTypeDiv || u.Node.Type() == NodeTypeConvGeneral {
		return onlyInput(u, 0)
	}
	return onlyInput(u, 0, 1)
}

// Forward is μ' = Wμ, r' = |W|r (Gowal et al. 2018, equation 6).
func (op product) Forward(_ *Pass, u *Unit, in []Interval) Interval {
	n, k := u.Node, u.perturbed[0]
	W := u.Inputs[1-k]
	apply := func(h, W *Node) *Node {
		if Unfolded(n) {
			return convolve(n, h, W)
		}
		return With(n, map[int]*Node{k: h, 1 - k: W})
	}
	c, r := in[k].Centred()
	μ, radius := apply(c, W), apply(r, Abs(W))
	v := Interval{Lower: Sub(μ, radius), Upper: Add(μ, radius)}
	s := in[k].Spread
	if s == nil {
		return v
	}
	if !op.sums(n) {
		if !u.Inputs[k].Shape().Equal(n.Shape()) {
			return v
		}
		// Wh = Wc + (Ws)⊙δ, which falls where W < 0 and s⊙δ rises.
		square := func(h *Node) *Node { return apply(apply(h, W), W) }
		flips := LessThan(W, ZerosLike(W))
		if !flips.Shape().EqualDimensions(n.Shape()) {
			flips = BroadcastToDims(flips, n.Shape().Dimensions...)
		}
		v.Spread = &spread{Centre: apply(s.Centre, W), Up: square(Where(flips, s.down, s.Up)), down: square(Where(flips, s.Up, s.down))}
		if s.slack != nil {
			v.Spread.slack = apply(s.slack, Abs(W))
		}
		return v
	}
	// max ⟨W_j, s⊙δ⟩ over ‖δ‖₂ ≤ ε is ε‖W_j⊙s‖₂ (Cauchy-Schwarz). Coordinates that cannot move in the direction of the
	// sign of W_j contribute nothing to the maximum.
	rises, falls := Square(Positive(W)), Square(negative(W))
	up := Sqrt(Add(apply(s.Up, rises), apply(s.down, falls)))
	down := Sqrt(Add(apply(s.down, rises), apply(s.Up, falls)))
	if s.slack != nil {
		slack := apply(s.slack, Abs(W))
		up, down = Add(up, slack), Add(down, slack)
	}
	μ = apply(s.Centre, W)
	return v.widened().intersect(Interval{Lower: Sub(μ, down), Upper: Add(μ, up)}.widened())
}

// Rounding of a sum of K products, each with its operands rounded to the arithmetic of products, is γ_K Σ|W||h| in any
// order (Higham 2002, section 3.1), and K·2⁻¹²⁶ for flushed results. A flushed operand changes the result by
// 2⁻¹²⁶ times the other one: for that both are raised by 2⁻¹²⁶/u.
//
// A quotient may be computed as a product with the reciprocal.
func (op product) Rounding(p *Pass, u *Unit, in []Interval, out Interval) *Node {
	n := u.Node
	a, b := in[0].magnitude(), in[1].magnitude()
	apply := func(a, b *Node) *Node {
		if Unfolded(n) {
			return convolve(n, a, b)
		}
		return With(n, map[int]*Node{0: a, 1: b})
	}
	switch {
	case n.Type() == NodeTypeDiv:
		low := BroadcastToDims(leastMagnitude(in[1]), n.Shape().Dimensions...) // a divisor that may be 0 gives no bound
		if s, ok := p.sums[u.Inputs[0].Id()]; ok {
			S := BroadcastToDims(s.magnitude, n.Shape().Dimensions...)
			if s.counted {
				a = S
			}
			p.sums[n.Id()] = summed{Div(S, low), s.roundings + 3, s.counted}
		}
		quotient := Div(BroadcastToDims(a, n.Shape().Dimensions...), low)
		E := relative(quotient, 3, 4)
		E = Add(E, MulScalar(Add(OnesLike(a), a), 2*Tiny)) // the flushed operand, the flushed reciprocal
		E = Add(E, MulScalar(Inverse(low), 2*Tiny))
		E = plus(E, p.exponentRounding(u, quotient))
		if e := in[0].err; e != nil {
			E = Add(E, Div(e, low))
		}
		if e := in[1].err; e != nil {
			E = Add(E, Mul(quotient, Div(e, low)))
		}
		return finite(E, quotient)
	case !op.sums(n):
		a, b = p.scaled(u, a, b, apply)
		product := apply(a, b)
		E := Add(relative(product, 1, 2), MulScalar(Add(a, b), 2*Tiny))
		E = plus(E, p.exponentRounding(u, product))
		return finite(op.operandErrors(E, in, a, b, apply), product)
	}
	K := op.terms(n)
	const raised = Tiny / unitRoundoff
	if K == 1 {
		a, b = p.scaled(u, a, b, apply)
	}
	product := apply(AddScalar(a, raised), AddScalar(b, raised))
	γ := Gamma(K)
	if o := p.Arithmetic.Operand; o > 0 {
		γ += (2*o + o*o) * (1 + γ) * Own
	}
	if _, ok := p.sums[n.Id()]; !ok {
		p.sums[n.Id()] = summed{product, K, true}
	}
	E := AddScalar(MulScalar(product, γ), 3*float64(K)*Tiny)
	if K == 1 {
		E = plus(E, p.exponentRounding(u, product))
	}
	return finite(op.operandErrors(E, in, a, b, apply), product)
}

// scaled returns the magnitudes a and b of the factors of u, one product for each coordinate, and notes what u is the
// sum of if one factor is a constant and the other a sum: the constant may move to each summand.
func (p *Pass) scaled(u *Unit, a, b *Node, apply func(a, b *Node) *Node) (*Node, *Node) {
	if len(u.perturbed) != 1 {
		return a, b
	}
	s, ok := p.sums[u.Only().Id()]
	if !ok {
		return a, b
	}
	A, B := s.magnitude, b
	if u.perturbed[0] == 1 {
		A, B = a, s.magnitude
	}
	p.sums[u.Node.Id()] = summed{apply(A, B), s.roundings + 1, s.counted}
	if s.counted {
		return A, B
	}
	return a, b
}

// leastMagnitude returns the smallest absolute value in the interval, of the deployed value for a constant, less what
// is flushed: a divisor that is a denormal number may count as 0.
func leastMagnitude(v Interval) *Node {
	zero := ZerosLike(v.Lower)
	low := Max(Max(v.Lower, Neg(v.Upper)), zero)
	if v.constant {
		low = Abs(v.Lower)
		if v.err != nil {
			low = Sub(low, v.err)
		}
	}
	return Max(AddScalar(low, -2*Tiny), zero)
}

// operandErrors adds what errors of constant operands cause.
func (product) operandErrors(E *Node, in []Interval, a, b *Node, apply func(a, b *Node) *Node) *Node {
	if e := in[0].err; e != nil {
		E = Add(E, apply(e, b))
	}
	if e := in[1].err; e != nil {
		E = Add(E, apply(a, e))
	}
	return E
}

func (product) Backward(_ *Walk, u *Unit, Λ *Node, _ []*Node) (map[int]*Node, *Node) {
	if Unfolded(u.Node) {
		f, cut := FilterOf(u.Node), make([][2]int, u.Node.Rank())
		for i, p := range f.padding {
			cut[f.input[i+1]] = p
		}
		return map[int]*Node{0: unpadded(convolveBack(u.Node, Λ), u.Inputs[0].Shape().Dimensions, cut)}, nil
	}
	return adjoint(u, Λ), nil
}

func (product) Follow(u *Unit, _ *Node, h, _ []*Node) *Node {
	if Unfolded(u.Node) {
		return convolve(u.Node, h[0], h[1])
	}
	return at(u, h)
}

// Windows: a convolution has some, other products on patches are those element by element.
func (product) Windows(u *Unit) []int {
	if !Unfolded(u.Node) {
		return nil
	}
	f := FilterOf(u.Node)
	return f.Output[1 : len(f.Output)-1]
}

func (product) Reach(u *Unit, k int, p Patch) Patch {
	switch {
	case Unfolded(u.Node):
		return FilterOf(u.Node).patch(u.Node, p)
	case u.Node.Type() == NodeTypeMul || u.Node.Type() == NodeTypeDiv:
		return pointwise{}.Reach(u, k, p)
	}
	return nil
}

func (product) BackwardPatch(c *Cut, u *Unit, Λ *Node, lines []*Node) (map[int]*Node, *Node) {
	if Unfolded(u.Node) {
		return map[int]*Node{0: convolveBack(u.Node, Λ)}, nil
	}
	return pointwise{}.BackwardPatch(c, u, Λ, lines)
}

func (product) FollowPatch(c *Cut, u *Unit, Λ *Node, h, lines []*Node) *Node {
	if !Unfolded(u.Node) {
		return pointwise{}.FollowPatch(c, u, Λ, h, lines)
	}
	f := FilterOf(u.Node)
	return f.convolve(channelsLast(h[0], f.input), channelsLast(h[1], f.kernel), c.Of[u.Node.Id()].Dims(c.groups.Rows))
}
