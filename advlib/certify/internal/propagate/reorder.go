package propagate

import (
	. "github.com/gomlx/gomlx/core/graph"
)

// A backend need not compute a model's operations one by one. XLA on the CPU, for one,
//
//   - sums in other orders across operations: a product of a vector and a matrix starts from the bias that is added to
//     it later, (x + a) + b becomes x + (a + b);
//   - multiplies in other orders: (x·a)·b becomes x·(a·b), (x/a)/b becomes x/(a·b), and a convolution times a number
//     becomes one with another kernel, so that products under- or overflow that are none of the model's; x·a + y·a
//     becomes (x + y)·a for powers of 2;
//   - makes exp(a + b) of exp(a)·exp(b), and a power of x·a one of x;
//   - leaves out what changes nothing: a factor of 1, a concatenation of which only one part is taken, the maximum of
//     one element or of two that are the same, the choice between two of which one is sure, the logarithm of an
//     exponential. What stands on either side is then one sum, or one product.
//
// So an operation that goes on with a sum, or with a product, adds to E what any order of the whole sum or product may
// do. What a node is the sum or the product of is noted past every operation that may be left out.

// summed describes a node as a sum, of everything that operations without a nonlinear one between them add up.
type summed struct {
	magnitude *Node // the sum of the absolute values of all summands
	roundings int   // the most that one summand goes through, in any order; 0 for a node that is no sum
	counted   bool  // the errors E up to here sum up to γ(roundings)·magnitude at least
}

// summed returns the node h, whose interval is v, as a sum.
func (p *Pass) summed(h *Node, v Interval) summed {
	if s, ok := p.sums[h.Id()]; ok {
		return s
	}
	return summed{magnitude: v.magnitude()}
}

// share is what is missing for γ(roundings)·magnitude.
func (s summed) share(roundings int) *Node {
	γ := Gamma(roundings)
	if s.counted {
		γ -= Gamma(s.roundings)
	}
	return MulScalar(s.magnitude, γ)
}

// sumRounding returns E of the sum u of two.
func (p *Pass) sumRounding(u *Unit, in []Interval, out Interval) *Node {
	dims := u.Node.Shape().Dimensions
	a, b := p.summed(u.Inputs[0], in[0]), p.summed(u.Inputs[1], in[1])
	R := a.roundings + b.roundings + 1
	S := Add(BroadcastToDims(a.magnitude, dims...), BroadcastToDims(b.magnitude, dims...))
	p.sums[u.Node.Id()] = summed{S, R, R > 1}
	if R == 1 { // no other order
		return relative(out.magnitude(), 1, 4)
	}
	E := Add(BroadcastToDims(a.share(R), dims...), BroadcastToDims(b.share(R), dims...))
	return finite(AddScalar(E, float64(4+2*R)*Tiny), S)
}

// moved notes that each coordinate of u is one of the coordinates of some of its inputs, or 0: what they are the sums
// and products of, it is too.
func (p *Pass) moved(u *Unit, in []Interval, of ...int) {
	build := func(parts map[int]*Node) *Node {
		if r, ok := u.Rule.(assembly); ok {
			return r.among(u, parts)
		}
		return With(u.Node, parts)
	}
	for i, sums := range []map[NodeId]summed{p.sums, p.logarithms} {
		parts, all := map[int]*Node{}, summed{counted: true}
		known, first := false, true
		for _, k := range of {
			s, ok := sums[u.Inputs[k].Id()]
			switch {
			case ok:
			case i == 0:
				s = p.summed(u.Inputs[k], in[k])
			default: // there is no logarithm to be left out
				parts[k] = ZerosLike(u.Inputs[k])
				continue
			}
			parts[k] = s.magnitude
			all.counted = all.counted && s.counted && (first || s.roundings == all.roundings)
			all.roundings = max(all.roundings, s.roundings)
			known, first = known || ok, false
		}
		if known {
			all.magnitude = build(parts)
			sums[u.Node.Id()] = all
		}
	}
	var runs []productRun
	var exponents []func() *Node
	known := false
	for _, k := range of {
		r, ok := p.productOf(u.Inputs[k], in[k])
		known = known || ok
		runs = append(runs, r)
		if e := p.exponentOf(u.Inputs[k]); e != nil {
			exponents = append(exponents, e)
		}
	}
	if known {
		p.runs[u.Node.Id()] = productRun{largestSegment(runs, productRun.wholeOf), largestSegment(runs, productRun.ownOf)}
	}
	if len(exponents) > 0 {
		p.exponents[u.Node.Id()] = largestOf(exponents)
	}
}

// largestOf returns the largest of several numbers.
func largestOf(of []func() *Node) func() *Node {
	return once(func() *Node {
		m := of[0]()
		for _, f := range of[1:] {
			m = Max(m, f())
		}
		return m
	})
}

func largestSegment(runs []productRun, of func(productRun) segment) segment {
	s := segment{}
	var sizes []func() *Node
	for _, r := range runs {
		sizes, s.terms = append(sizes, of(r).size), max(s.terms, of(r).terms)
	}
	s.size = largestOf(sizes)
	return s
}

// segment is a part of the products and sums of which a node is the result.
type segment struct {
	// size is above the absolute value that the segment has in any order of its operations, with any of its factors left
	// out that is below 1: one number for each example, [n], or a scalar for constants.
	size func() *Node
	// terms is how many products it is the sum of, up to rounding: of a product of many sums it is beyond any integer.
	terms float64
}

// productRun describes a node as the result of products and sums. A number that a tensor is multiplied with may join
// the weights of a dot product or convolution before it or behind it, but goes no farther. So own is what there is
// since the last of these, whose result counts by its magnitude (one of a single product is one of the factors), and
// whole is what there is since the one before, with the weights of the last.
type productRun struct{ whole, own segment }

func (r productRun) wholeOf() segment { return r.whole }
func (r productRun) ownOf() segment   { return r.own }

// productOf returns the node h, whose interval is v, as such, and whether it is the result of one.
func (p *Pass) productOf(h *Node, v Interval) (productRun, bool) {
	if r, ok := p.runs[h.Id()]; ok {
		return r, true
	}
	s := segment{once(func() *Node { return MaxScalar(p.most(v.magnitude(), v.constant), 1) }), 1}
	return productRun{s, s}, false
}

// most returns the largest number of each example, [n]; of constants, of all.
func (p *Pass) most(v *Node, constant bool) *Node {
	if constant {
		return ReduceAllMax(v)
	}
	n := p.Walk.x.Shape().Dimensions[0]
	return ReduceMax(Reshape(v, n, -1), 1)
}

// spreadOut returns v [n] in the shape of a node whose slowest index is the example.
func (p *Pass) spreadOut(v *Node, dims []int) *Node {
	n := p.Walk.x.Shape().Dimensions[0]
	size := 1
	for _, d := range dims {
		size *= d
	}
	return Reshape(BroadcastToDims(Reshape(v, -1, 1), n, size/n), dims...)
}

// productRounding returns what other orders of products may add to E of u, nil for nothing, and notes u's run.
func (p *Pass) productRounding(u *Unit, in []Interval) *Node {
	if u.inner != nil || len(u.Inputs) != len(u.Node.Inputs()) { // a group has jets instead
		return nil
	}
	if _, ok := p.runs[u.Node.Id()]; ok { // see moved
		return nil
	}
	runs := make([]productRun, len(in))
	linked, all := false, true
	for k, v := range in {
		var ok bool
		runs[k], ok = p.productOf(u.Inputs[k], v)
		linked, all = linked || ok, all && ok
	}
	n, dot := u.Node, false
	switch n.Type() {
	case NodeTypeAdd, NodeTypeSub:
		linked = all
	case NodeTypeMul, NodeTypeDiv:
	case NodeTypeDotGeneral, NodeTypeConvGeneral:
		dot = product{}.terms(n) > 1
	case NodeTypeNeg, NodeTypeReduceSum, NodeTypeCumSum:
		linked = false
	case NodeTypeReduceWindow:
		if windowKind(n) != sumWindow {
			return nil
		}
		linked = false
	case NodeTypeBatchNormForInference:
		_, linked = p.productOf(u.Inputs[0], in[0])
	default:
		return nil
	}
	whole := p.segmentOf(u, in, runs, productRun.wholeOf)
	own := p.segmentOf(u, in, runs, productRun.ownOf)
	if dot {
		S := p.sums[n.Id()].magnitude
		reset := segment{once(func() *Node { return MaxScalar(p.most(S, false), 1) }), float64(product{}.terms(n))}
		p.runs[n.Id()] = productRun{own, reset}
	} else {
		p.runs[n.Id()] = productRun{whole, own}
	}
	if !linked {
		return nil
	}
	U := whole.size()
	if U.Rank() == 0 {
		U = BroadcastToDims(U, p.Walk.x.Shape().Dimensions[0])
	}
	// Whatever is flushed on the way is below 2⁻¹²⁶, times what is left to multiply.
	E := MulScalar(U, 8*whole.terms*Own*Tiny)
	return p.spreadOut(finite(E, U), n.Shape().Dimensions)
}

// segmentOf returns what u makes of segments of its inputs.
func (p *Pass) segmentOf(u *Unit, in []Interval, runs []productRun, of func(productRun) segment) segment {
	n := u.Node
	size := func(k int) *Node { return of(runs[k]).size() }
	terms := 1.
	for _, r := range runs {
		terms *= of(r).terms
	}
	factors := func() *Node {
		all := size(0)
		for k := range runs[1:] {
			all = Mul(all, size(k+1))
		}
		return all
	}
	switch n.Type() {
	case NodeTypeAdd, NodeTypeSub:
		return segment{once(func() *Node { return Add(size(0), size(1)) }), of(runs[0]).terms + of(runs[1]).terms}
	case NodeTypeDiv:
		return segment{once(func() *Node {
			return Mul(factors(), MaxScalar(p.most(Inverse(leastMagnitude(in[1])), in[1].constant), 1))
		}), terms}
	case NodeTypeDotGeneral, NodeTypeConvGeneral:
		K := product{}.terms(n)
		return segment{once(func() *Node { return MulScalar(factors(), float64(K)) }), terms * float64(K)}
	case NodeTypeReduceSum, NodeTypeReduceWindow, NodeTypeCumSum:
		K := reduction{}.terms(n)
		return segment{once(func() *Node { return MulScalar(size(0), float64(K)) }), terms * float64(K)}
	case NodeTypeBatchNormForInference:
		return segment{once(func() *Node {
			zero, one := ZerosLike(u.Inputs[0]), OnesLike(u.Inputs[0])
			inverse := With(n, map[int]*Node{0: one, 1: OnesLike(u.Inputs[1]), 2: ZerosLike(u.Inputs[2]), 3: ZerosLike(u.Inputs[3])})
			mean := With(n, map[int]*Node{0: zero, 1: OnesLike(u.Inputs[1]), 2: ZerosLike(u.Inputs[2])})
			h := Add(size(0), MaxScalar(p.most(Abs(mean), true), 1))
			return Add(Mul(Mul(h, size(1)), MaxScalar(p.most(inverse, true), 1)), size(2))
		}), 2}
	}
	return segment{once(factors), terms} // Neg and Mul
}

// once computes a node when it is first asked for.
func once(f func() *Node) func() *Node {
	var known *Node
	return func() *Node {
		if known == nil {
			known = f()
		}
		return known
	}
}

// exponentOf returns the largest sum of absolute exponents of which h is a product of exponentials, and of anything
// else: a number for each example, [n], or a scalar for constants. It is nil where there is no exponential.
func (p *Pass) exponentOf(h *Node) func() *Node {
	if p.Walk.perturbed(h) {
		return p.exponents[h.Id()]
	}
	if e := constantExponent(h); e != nil {
		return func() *Node { return e }
	}
	return nil
}

// constantExponent is exponentOf a constant.
func constantExponent(n *Node) *Node {
	n = origin(n)
	switch n.Type() {
	case NodeTypeExp:
		return ReduceAllMax(Abs(n.Inputs()[0]))
	case NodeTypeMul, NodeTypeDiv:
		return plus(constantExponent(n.Inputs()[0]), constantExponent(n.Inputs()[1]))
	}
	return nil
}

// exponentRounding returns what it may add to E of u, the product or quotient of two nodes, that the sum of the
// exponents of their factors is rounded instead; nil for nothing. It notes those of u; out is the magnitude of the
// result.
func (p *Pass) exponentRounding(u *Unit, out *Node) *Node {
	a, b := p.exponentOf(u.Inputs[0]), p.exponentOf(u.Inputs[1])
	switch {
	case a == nil && b == nil:
		return nil
	case a == nil:
		p.exponents[u.Node.Id()] = b
		return nil
	case b == nil:
		p.exponents[u.Node.Id()] = a
		return nil
	}
	sum := func() *Node { return Add(a(), b()) }
	p.exponents[u.Node.Id()] = sum
	s := sum()
	if s.Rank() == 0 {
		return Mul(out, MulScalar(s, exponentError))
	}
	return Mul(out, p.spreadOut(MulScalar(s, exponentError), u.Node.Shape().Dimensions))
}

// exponentError is above (e^δ − 1)/Σ with |δ| ≤ 2u·Σ: half of it is for the second order.
const exponentError = 4 * unitRoundoff
