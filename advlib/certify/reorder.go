package certify

import (
	. "github.com/gomlx/gomlx/core/graph"
)

// A backend need not compute a model's operations one by one. XLA on the CPU, for one,
//
//   - sums in other orders across operations: a product of a vector and a matrix starts from the bias that is added to it later,
//     (x + a) + b becomes x + (a + b);
//   - multiplies in other orders: (x·a)·b becomes x·(a·b), (x/a)/b becomes x/(a·b), and a convolution times a number becomes one with
//     another kernel, so that products under- or overflow that are none of the model's; x·a + y·a becomes (x + y)·a for powers of 2;
//   - makes exp(a + b) of exp(a)·exp(b).
//
// So an operation that goes on with a sum, or with a product, adds to E what any order of the whole sum or product may do.

// summed describes a node as a sum, of everything that operations without a nonlinear one between them add up.
type summed struct {
	magnitude *Node // the sum of the absolute values of all summands
	roundings int   // the most that one summand goes through, in any order; 0 for a node that is no sum
	counted   bool  // the errors E up to here sum up to γ(roundings)·magnitude at least
}

// summed returns the node h, whose interval is v, as a sum.
func (p *pass) summed(h *Node, v interval) summed {
	if s, ok := p.sums[h.Id()]; ok {
		return s
	}
	return summed{magnitude: v.magnitude()}
}

// share is what is missing for γ(roundings)·magnitude.
func (s summed) share(roundings int) *Node {
	γ := gamma(roundings)
	if s.counted {
		γ -= gamma(s.roundings)
	}
	return MulScalar(s.magnitude, γ)
}

// sumRounding returns E of the sum u of two.
func (p *pass) sumRounding(u *unit, in []interval, out interval) *Node {
	dims := u.n.Shape().Dimensions
	a, b := p.summed(u.inputs[0], in[0]), p.summed(u.inputs[1], in[1])
	R := a.roundings + b.roundings + 1
	S := Add(BroadcastToDims(a.magnitude, dims...), BroadcastToDims(b.magnitude, dims...))
	p.sums[u.n.Id()] = summed{S, R, R > 1}
	if R == 1 { // no other order
		return relative(out.magnitude(), 1, 4)
	}
	E := Add(BroadcastToDims(a.share(R), dims...), BroadcastToDims(b.share(R), dims...))
	return finite(AddScalar(E, float64(4+2*R)*tiny), S)
}

// moved notes that a unit only moves what its input is the sum of.
func (p *pass) moved(u *unit) {
	if s, ok := p.sums[u.inputs[0].Id()]; ok {
		s.magnitude = with(u.n, map[int]*Node{0: s.magnitude})
		p.sums[u.n.Id()] = s
	}
	if s, ok := p.runs[u.inputs[0].Id()]; ok {
		p.runs[u.n.Id()] = s
	}
}

// productRun describes a node as the result of products and sums.
type productRun struct {
	// size is above the absolute value that the run has in any order of its operations, with any of its factors left out that is
	// below 1: one number for each example, [n].
	size  func() *Node
	terms int // how many products it is the sum of
}

// productOf returns the node h, whose interval is v, as such, and whether it is the result of one.
func (p *pass) productOf(h *Node, v interval) (productRun, bool) {
	if r, ok := p.runs[h.Id()]; ok {
		return r, true
	}
	return productRun{func() *Node { return MaxScalar(p.most(v.magnitude(), v.constant), 1) }, 1}, false
}

// most returns the largest number of each example, [n]; of constants, of all.
func (p *pass) most(v *Node, constant bool) *Node {
	if constant {
		return ReduceAllMax(v)
	}
	n := p.w.x.Shape().Dimensions[0]
	return ReduceMax(Reshape(v, n, -1), 1)
}

// spreadOut returns v [n] in the shape of a node whose slowest index is the example.
func (p *pass) spreadOut(v *Node, dims []int) *Node {
	n := p.w.x.Shape().Dimensions[0]
	size := 1
	for _, d := range dims {
		size *= d
	}
	return Reshape(BroadcastToDims(Reshape(v, -1, 1), n, size/n), dims...)
}

// productRounding returns what other orders of products may add to E of u, nil for nothing, and notes u's run.
func (p *pass) productRounding(u *unit, in []interval) *Node {
	if u.inner != nil || len(u.inputs) != len(u.n.Inputs()) { // a group has jets instead
		return nil
	}
	runs := make([]productRun, len(in))
	linked, all, terms := false, true, 1
	for k, v := range in {
		var ok bool
		runs[k], ok = p.productOf(u.inputs[k], v)
		linked, all = linked || ok, all && ok
		terms *= runs[k].terms
	}
	factors := func() *Node {
		size := runs[0].size()
		for _, r := range runs[1:] {
			size = Mul(size, r.size())
		}
		return size
	}
	var size func() *Node
	switch u.n.Type() {
	case NodeTypeAdd, NodeTypeSub:
		linked = all
		size = func() *Node { return Add(runs[0].size(), runs[1].size()) }
		terms = runs[0].terms + runs[1].terms
	case NodeTypeNeg:
		linked, size = false, runs[0].size
	case NodeTypeMul:
		size = factors
	case NodeTypeDiv:
		size = func() *Node {
			return Mul(factors(), MaxScalar(p.most(Inverse(leastMagnitude(in[1])), in[1].constant), 1))
		}
	case NodeTypeDotGeneral, NodeTypeConvGeneral:
		K := (product{}).terms(u.n)
		terms *= K
		size = func() *Node { return MulScalar(factors(), float64(K)) }
	case NodeTypeReduceSum, NodeTypeReduceWindow:
		if u.n.Type() == NodeTypeReduceWindow && windowKind(u.n) != sumWindow {
			return nil
		}
		K := reduction{}.terms(u.n)
		terms *= K
		linked = false
		size = func() *Node { return MulScalar(runs[0].size(), float64(K)) }
	case NodeTypeBatchNormForInference:
		size = func() *Node {
			zero, one := ZerosLike(u.inputs[0]), OnesLike(u.inputs[0])
			inverse := with(u.n, map[int]*Node{0: one, 1: OnesLike(u.inputs[1]), 2: ZerosLike(u.inputs[2]), 3: ZerosLike(u.inputs[3])})
			mean := with(u.n, map[int]*Node{0: zero, 1: OnesLike(u.inputs[1]), 2: ZerosLike(u.inputs[2])})
			h := Add(runs[0].size(), MaxScalar(p.most(Abs(mean), true), 1))
			return Add(Mul(Mul(h, runs[1].size()), MaxScalar(p.most(inverse, true), 1)), runs[2].size())
		}
		linked, terms = false, 2
		_, linked = p.productOf(u.inputs[0], in[0])
	default:
		return nil
	}
	var known *Node
	once := func() *Node {
		if known == nil {
			known = size()
		}
		return known
	}
	p.runs[u.n.Id()] = productRun{once, terms}
	if !linked {
		return nil
	}
	U := once()
	if U.Rank() == 0 {
		U = BroadcastToDims(U, p.w.x.Shape().Dimensions[0])
	}
	// Whatever is flushed on the way is below 2⁻¹²⁶, times what is left to multiply.
	E := MulScalar(U, 8*float64(terms)*tiny)
	return p.spreadOut(finite(E, U), u.n.Shape().Dimensions)
}

// exponential tells whether n is an exponential, or a product or quotient of such.
func exponential(n *Node) bool {
	n = origin(n)
	switch n.Type() {
	case NodeTypeExp:
		return true
	case NodeTypeMul, NodeTypeDiv:
		return exponential(n.Inputs()[0]) && exponential(n.Inputs()[1])
	}
	return false
}

// exponentRounding returns what it may add to E of n, the product or quotient of two exponentials of given values, that the sum of the
// exponents is rounded instead; nil for nothing. out is the magnitude of the result.
func exponentRounding(n *Node, out *Node, values ...*Node) *Node {
	if !exponential(n) {
		return nil
	}
	var sum *Node
	for _, v := range values {
		sum = plus(sum, Abs(Log(v)))
	}
	// e^δ − 1 with |δ| ≤ 2u·(|a| + |b|); as much again for its second order.
	return Mul(out, MulScalar(sum, 4*unitRoundoff))
}
