package propagate

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
)

// univariate is a unit that is a function of one perturbed tensor z, element by element: an activation such as tanh, or
// a group of operations such as x·Φ(x), which is bounded far better as one function than as a product of two tensors
// that know nothing of each other.
//
// The interval of z is cut into pieces. On each, bounds of the function and of its slope are computed (see [Jet]); by
// the mean value theorem these give bounds of f(t) − a·t for any slope a, and so a line below and one above with the
// best of some slopes: the one that is nearest to the function in the middle of the interval, and so on average.
type univariate struct{ pointwise }

// sidePieces is the number of pieces on either side of 0, where activations have their kinks.
const sidePieces = 8

func (univariate) Affine() bool { return false }

func (r univariate) Check(w *Walk, u *Unit) error {
	if len(u.perturbed) != 1 {
		return fmt.Errorf("%d of its inputs depend on x: only one may", len(u.perturbed))
	}
	z := u.Only()
	for _, n := range u.Nodes() {
		if Elementwise[n.Type()] == nil {
			return fmt.Errorf("there is no rule for %s in a function of one tensor", n.Type())
		}
		if t := n.DType(); t.IsInt() && n.Type() != NodeTypeConvertDType {
			return fmt.Errorf("%s computes in %v what depends on x: only comparisons of that can be bounded", n.Type(), t)
		}
		if n.Type() == NodeTypeAtan2 && (w.perturbed(n.Inputs()[1]) || !isOne(n.Inputs()[1])) {
			return fmt.Errorf("it is the angle of two numbers: only the arc tangent of one, Atan2(x, 1), can be bounded")
		}
		if n.Type() == NodeTypePow {
			if _, ok := wholeExponent(n); !ok || w.perturbed(n.Inputs()[1]) {
				return fmt.Errorf("it is a power whose exponent is no constant whole number from 2 to 4")
			}
		}
		if n.Type() == NodeTypeConvertDType {
			if err := checkConversion(n); err != nil {
				return err
			}
		}
		for _, in := range n.Inputs() {
			if w.perturbed(in) && !in.Shape().EqualDimensions(u.Node.Shape()) {
				return fmt.Errorf("it broadcasts what depends on x from %v to %v: broadcast it before", in.Shape().Dimensions,
					u.Node.Shape().Dimensions)
			}
		}
	}
	if !z.Shape().Equal(u.Node.Shape()) {
		return fmt.Errorf("its input has the shape %v, its result %v: they must be equal", z.Shape(), u.Node.Shape())
	}
	return nil
}

// pieces cuts the interval of z.
func (univariate) pieces(p *Pass, z Interval) *Pieces {
	lower, upper := z.Lower, z.Upper
	if !p.Arithmetic.Real { // a flushed denormal
		lower, upper = AddScalar(lower, -2*Tiny), AddScalar(upper, 2*Tiny)
	}
	middle := Min(Max(ZerosLike(lower), lower), upper)
	var starts, stops []*Node
	for side := range 2 {
		from, to := lower, middle
		if side == 1 {
			from, to = middle, upper
		}
		at := func(i int) *Node {
			switch i {
			case 0:
				return from
			case sidePieces:
				return to
			}
			share := float64(i) / sidePieces
			return Min(Max(Add(MulScalar(from, 1-share), MulScalar(to, share)), from), to)
		}
		for i := range sidePieces {
			starts, stops = append(starts, at(i)), append(stops, at(i+1))
		}
	}
	a, b := Concatenate(starts, 0), Concatenate(stops, 0)
	return &Pieces{p: p, a: a, b: b, half: MulScalar(Sub(b, a), 0.5*(1+ownUnit)), count: 2 * sidePieces}
}

// evaluated is what a pass has of a unit: its values and slopes on pieces.
type evaluated struct {
	s *Pieces
	j Jet
}

// jets returns the pieces of a unit, and what it is on them, which a pass computes once.
func (r univariate) jets(p *Pass, u *Unit, in []Interval) (*Pieces, Jet) {
	e, ok := p.evaluated[u]
	if !ok {
		e.s = r.pieces(p, in[u.perturbed[0]])
		e.j = r.jet(p, u, e.s)
		p.evaluated[u] = e
	}
	return e.s, e.j
}

// jet evaluates the unit on pieces.
func (univariate) jet(p *Pass, u *Unit, s *Pieces) Jet {
	mid := MulScalar(Add(s.a, s.b), 0.5)
	root := Jet{mid: mid, lower: s.a, upper: s.b, least: OnesLike(mid), most: OnesLike(mid), root: true}
	if !p.Arithmetic.Real {
		root.Err = MulScalar(OnesLike(mid), 2*Tiny)
	}
	dims := u.Node.Shape().Dimensions
	if r, ok := p.runs[u.Only().Id()]; ok {
		root.size = s.repeat(p.spreadOut(r.own.size(), dims), dims)
	}
	if e, ok := p.exponents[u.Only().Id()]; ok {
		v := e()
		if v.Rank() == 0 {
			v = BroadcastToDims(v, p.Walk.x.Shape().Dimensions[0])
		}
		root.exponent = s.repeat(p.spreadOut(v, dims), dims)
	}
	repeat := func(v summed, ok bool) *summed {
		if !ok {
			return nil
		}
		v.magnitude = s.repeat(v.magnitude, dims)
		return &v
	}
	sum, ok := p.sums[u.Only().Id()]
	root.sum = repeat(sum, ok)
	sum, ok = p.logarithms[u.Only().Id()]
	root.logarithm = repeat(sum, ok)
	known := map[NodeId]Jet{u.Only().Id(): root}
	var last Jet
	for _, n := range u.Nodes() {
		in := make([]Jet, len(n.Inputs()))
		for k, h := range n.Inputs() {
			if j, ok := known[h.Id()]; ok {
				in[k] = j
			} else {
				in[k] = s.constant(p.constant(h), dims)
				if e := constantExponent(h); e != nil && !p.Arithmetic.Real {
					in[k].exponent = s.repeat(e, dims)
				}
			}
		}
		last = Elementwise[n.Type()](s, n, in)
		known[n.Id()] = last
	}
	return last
}

// over reduces a value of each piece to one of each element.
func (s *Pieces) over(v *Node, dims []int, reduce func(*Node, ...int) *Node) *Node {
	return Reshape(reduce(Reshape(v, s.count, -1), 0), dims...)
}

func (r univariate) Forward(p *Pass, u *Unit, in []Interval) Interval {
	s, j := r.jets(p, u, in)
	dims := u.Node.Shape().Dimensions
	nan := func(v *Node, sign int) *Node {
		return Where(IsNaN(v), BroadcastToDims(Infinity(v.Graph(), v.DType(), sign), v.Shape().Dimensions...), v)
	}
	return Interval{Lower: s.over(nan(j.lower, -1), dims, ReduceMin), Upper: s.over(nan(j.upper, 1), dims, ReduceMax)}
}

// Rounding is the largest error of the deployed function on any piece, and that of the lines.
func (r univariate) Rounding(p *Pass, u *Unit, in []Interval, out Interval) *Node {
	s, j := r.jets(p, u, in)
	r.note(p, u, s, j)
	E := j.Err
	if E == nil { // a condition made a number
		E = ZerosLike(j.mid)
	}
	inf := BroadcastToDims(Infinity(E.Graph(), E.DType(), 1), E.Shape().Dimensions...)
	E = s.over(Where(IsNaN(E), inf, E), u.Node.Shape().Dimensions, ReduceMax)
	return Add(E, MulScalar(Add(in[u.perturbed[0]].magnitude(), out.magnitude()), ownUnit))
}

// note tells what the unit is the sum, and the product, of: what stands behind it may be one with that.
func (univariate) note(p *Pass, u *Unit, s *Pieces, j Jet) {
	dims, id := u.Node.Shape().Dimensions, u.Node.Id()
	each := func(v *Node) func() *Node {
		return once(func() *Node { return p.most(s.over(v, dims, ReduceMax), false) })
	}
	if j.sum != nil {
		p.sums[id] = summed{s.over(j.sum.magnitude, dims, ReduceMax), j.sum.roundings, j.sum.counted}
	}
	if j.logarithm != nil {
		p.logarithms[id] = summed{s.over(j.logarithm.magnitude, dims, ReduceMax), j.logarithm.roundings, j.logarithm.counted}
	}
	if j.size != nil {
		const terms = 8 // times as many in jets' own share
		g := segment{each(j.size), terms}
		p.runs[id] = productRun{g, g}
	}
	if j.exponent != nil {
		p.exponents[id] = each(j.exponent)
	}
}

// Relax returns a_L, b_L, a_U, b_U with a_L·t + b_L ≤ f(t) ≤ a_U·t + b_U.
func (r univariate) Relax(p *Pass, u *Unit, in []Interval) (lines []*Node, open *Node) {
	z := in[u.perturbed[0]]
	s, j := r.jets(p, u, in)
	dims := u.Node.Shape().Dimensions
	m := s.count
	table := func(v *Node) *Node { return Reshape(v, m, -1) } // [m, elements]
	mid, half, value := table(MulScalar(Add(s.a, s.b), 0.5)), table(s.half), table(j.mid)
	least, most := j.slope()
	low, high, down, up := table(j.lower), table(j.upper), table(least), table(most)
	a, b := table(s.a), table(s.b)

	// Slopes to choose from: those in the middle of pieces, the chord's, and 0.
	finiteOr0 := func(v *Node) *Node { return Where(IsFinite(v), v, ZerosLike(v)) }
	first, last := Slice(low, AxisRange(0, 1)), Slice(high, AxisRange(m-1, m))
	chord := Div(Sub(last, first), Sub(Slice(b, AxisRange(m-1, m)), Slice(a, AxisRange(0, 1))))
	slopes := Concatenate([]*Node{finiteOr0(MulScalar(Add(down, up), 0.5)), finiteOr0(chord), ZerosLike(chord)}, 0)
	k := InsertAxes(slopes, 1) // [slopes, 1, elements]
	each := func(v *Node) *Node { return InsertAxes(v, 0) }
	// f(t) − kt on a piece: from the middle with the slopes' bounds, or from the bounds of the values.
	reach := Mul(each(half), Max(Abs(Sub(each(down), k)), Abs(Sub(each(up), k))))
	centre := Sub(each(value), Mul(k, each(mid)))
	ka, kb := Mul(k, each(a)), Mul(k, each(b))
	below := larger(Sub(centre, reach), Sub(each(low), Max(ka, kb)))
	above := Neg(larger(Neg(Add(centre, reach)), Neg(Sub(each(high), Min(ka, kb)))))
	inf := func(v *Node, sign int) *Node {
		return BroadcastToDims(Infinity(v.Graph(), v.DType(), sign), v.Shape().Dimensions...)
	}
	below, above = Where(IsNaN(below), inf(below, -1), below), Where(IsNaN(above), inf(above, 1), above)
	bL, bU := ReduceMin(below, 1), ReduceMax(above, 1) // [slopes, elements]
	if !p.Arithmetic.Real {                            // a denormal number may count as 0, on the other side of a jump
		reach := MulScalar(Abs(slopes), 2*Tiny)
		bL, bU = Sub(bL, reach), Add(bU, reach)
	}

	// The line whose value in the middle of the interval is best. Slopes that are equally good are averaged: that line
	// holds too.
	flat := func(v *Node) *Node { return Reshape(v, 1, -1) }
	middle := MulScalar(Add(flat(z.Lower), flat(z.Upper)), 0.5)
	choose := func(intercepts *Node, better func(*Node, ...int) *Node) (slope, intercept *Node) {
		at := Add(Mul(slopes, middle), intercepts)
		best := InsertAxes(better(at, 0), 0)
		chosen := ConvertDType(Equal(at, best), at.DType())
		weight := Div(chosen, InsertAxes(ReduceSum(chosen, 0), 0))
		pick := func(v *Node) *Node {
			return Reshape(ReduceSum(Where(GreaterThan(weight, ZerosLike(weight)), Mul(weight, v), ZerosLike(v)), 0), dims...)
		}
		return pick(slopes), pick(intercepts)
	}
	aL, cL := choose(bL, ReduceMax)
	aU, cU := choose(bU, ReduceMin)
	return []*Node{aL, cL, aU, cU}, nil
}

// larger is the maximum, or the one that is not NaN.
func larger(a, b *Node) *Node {
	return Where(IsNaN(a), b, Where(IsNaN(b), a, Max(a, b)))
}

func (univariate) Backward(_ *Walk, u *Unit, Λ *Node, lines []*Node) (map[int]*Node, *Node) {
	return linesBackward(u.perturbed[0], Λ, lines)
}

// linesBackward is the step for lines a_L, b_L below and a_U, b_U above each element.
func linesBackward(at int, Λ *Node, lines []*Node) (map[int]*Node, *Node) {
	up, down := Positive(Λ), negative(Λ)
	return map[int]*Node{at: Add(Mul(up, lines[0]), Mul(down, lines[2]))}, Add(Mul(up, lines[1]), Mul(down, lines[3]))
}

func (univariate) Follow(u *Unit, Λ *Node, h, lines []*Node) *Node {
	return linesFollow(Λ, h[u.perturbed[0]], lines)
}

// linesFollow returns the value of the line that linesBackward takes.
func linesFollow(Λ, z *Node, lines []*Node) *Node {
	return above0(Λ, Add(Mul(lines[0], z), lines[1]), Add(Mul(lines[2], z), lines[3]))
}
