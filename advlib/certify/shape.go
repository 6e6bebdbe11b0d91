package certify

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
)

// placement is an operation that only moves, drops or repeats coordinates: Reshape, Transpose, BroadcastInDim, Slice,
// Reverse, Identity.
type placement struct{ linear }

func (placement) check(_ *walk, u *unit) error {
	if u.n.Type() == NodeTypeReverse && slices.Contains(integers(u.n, "axes"), 0) {
		return fmt.Errorf("it reverses the order of examples")
	}
	return nil
}

func (placement) forward(_ *pass, u *unit, in []interval) interval {
	v := ends(u, in)
	// A larger result repeats coordinates.
	if s := in[0].spread; s != nil && u.n.Shape().Size() <= u.inputs[0].Shape().Size() {
		v.spread = s.map_(func(h *Node) *Node { return with(u.n, map[int]*Node{0: h}) })
	}
	return v
}

func (placement) rounding(p *pass, u *unit, in []interval, _ interval) *Node {
	p.moved(u, in, 0)
	if e := in[0].err; e != nil {
		return with(u.n, map[int]*Node{0: e})
	}
	return nil
}

func (placement) backward(_ *walk, u *unit, Λ *Node, _ []*Node) (map[int]*Node, *Node) {
	return adjoint(u, Λ), nil
}

func (placement) windows(*unit) []int { return nil }

// reach: a slice moves patches, and takes an axis that is whole to one that is. Of other operations those that leave alone where a patch is.
func (placement) reach(u *unit, _ int, p patch) patch {
	switch u.n.Type() {
	case NodeTypeIdentity:
		return p
	case NodeTypeReverse:
		for _, axis := range integers(u.n, "axes") {
			if p[axis-1] != whole(u.n, axis-1) {
				return nil
			}
		}
		return p
	case NodeTypeSlice:
		from := make(patch, len(p))
		for i, e := range p {
			start, stride := sliceOf(u.n, i+1)
			from[i] = extent{e.stride * stride, start + e.first*stride, (e.size-1)*stride + 1}
			if e == whole(u.n, i) {
				from[i] = whole(u.the(), i)
			}
		}
		return from
	}
	return nil
}

// sliceOf returns which elements of an axis a Slice takes.
func sliceOf(n *Node, axis int) (start, stride int) {
	stride = 1
	if s := integers(n, "strides"); len(s) > 0 {
		stride = s[axis]
	}
	return integers(n, "starts")[axis], stride
}

func (placement) backwardPatch(c *cut, u *unit, Λ *Node, _ []*Node) (map[int]*Node, *Node) {
	switch u.n.Type() {
	case NodeTypeReverse:
		Λ = Reverse(Λ, integers(u.n, "axes")...)
	case NodeTypeSlice:
		pads := make([]PadAxis, Λ.Rank())
		for i, e := range c.of[u.n.Id()] {
			start, stride := sliceOf(u.n, i+1)
			pads[i+1] = PadAxis{Interior: stride - 1}
			if e == whole(u.n, i) {
				pads[i+1].Start, pads[i+1].End = start, u.the().Shape().Dimensions[i+1]-start-(e.size-1)*stride-1
			}
		}
		Λ = Pad(Λ, ScalarZero(Λ.Graph(), Λ.DType()), pads...)
	}
	return map[int]*Node{0: Λ}, nil
}

func (placement) followPatch(c *cut, u *unit, _ *Node, h, _ []*Node) *Node {
	v := h[0]
	switch u.n.Type() {
	case NodeTypeReverse:
		v = Reverse(v, integers(u.n, "axes")...)
	case NodeTypeSlice:
		ranges := []SliceAxisSpec{AxisRange()}
		for i, e := range c.of[u.n.Id()] {
			start, stride := sliceOf(u.n, i+1)
			if e != whole(u.n, i) {
				start = 0
			}
			ranges = append(ranges, AxisRange(start, start+(e.size-1)*stride+1).Stride(stride))
		}
		v = Slice(v, ranges...)
	}
	return v
}

// conversion is ConvertDType to a type that holds every value of the old one: of conditions, whose values are 0 and 1, any.
type conversion struct{ placement }

func (conversion) check(_ *walk, u *unit) error { return checkConversion(u.n) }

func checkConversion(n *Node) error {
	from, to := n.Inputs()[0].DType(), n.DType()
	switch {
	case from == to, from.IsFloat() && to == dtypes.Float64:
	case from == dtypes.Bool && (to.IsInt() || to == dtypes.Float64), from.IsInt() && to == dtypes.Float64: // the number was a condition
	default:
		return fmt.Errorf("it rounds %s to %s", from, to)
	}
	return nil
}

// forward: intervals of whatever type have ends in float64.
func (r conversion) forward(p *pass, u *unit, in []interval) interval {
	if !u.inputs[0].DType().IsFloat() {
		return interval{lower: in[0].lower, upper: in[0].upper}
	}
	return r.placement.forward(p, u, in)
}

func (r conversion) backward(w *walk, u *unit, Λ *Node, lines []*Node) (map[int]*Node, *Node) {
	if !u.inputs[0].DType().IsFloat() {
		return map[int]*Node{0: Λ}, nil
	}
	return r.placement.backward(w, u, Λ, lines)
}

func (r conversion) follow(u *unit, Λ *Node, h, lines []*Node) *Node {
	if !u.inputs[0].DType().IsFloat() {
		return h[0]
	}
	return r.placement.follow(u, Λ, h, lines)
}

// assembly is Concatenate, of perturbed tensors and constants, and Pad with a constant.
type assembly struct{ linear }

func (assembly) check(_ *walk, u *unit) error {
	if u.n.Type() == NodeTypePad {
		return onlyInput(u, 0)
	}
	return nil
}

func (r assembly) forward(_ *pass, u *unit, in []interval) interval {
	v := ends(u, in)
	k := u.perturbed[0]
	if s := in[k].spread; s != nil && len(u.perturbed) == 1 { // several could share coordinates of δ
		move := func(h *Node) *Node { return r.among(u, map[int]*Node{k: h}) }
		t := s.map_(move)
		t.centre = with(u.n, map[int]*Node{k: s.centre})
		v.spread = t
	}
	return v
}

// among returns the operation on the given inputs and zeros for all others.
func (assembly) among(u *unit, parts map[int]*Node) *Node {
	all := map[int]*Node{}
	for j, c := range u.inputs {
		if all[j] = parts[j]; all[j] == nil {
			all[j] = ZerosLike(c)
		}
	}
	return with(u.n, all)
}

func (r assembly) rounding(p *pass, u *unit, in []interval, _ interval) *Node {
	all := make([]int, len(in))
	for k := range in {
		all[k] = k
	}
	p.moved(u, in, all...)
	errors := map[int]*Node{}
	for k, v := range in {
		if v.err != nil {
			errors[k] = v.err
		}
	}
	if len(errors) == 0 {
		return nil
	}
	return r.among(u, errors)
}

func (assembly) backward(_ *walk, u *unit, Λ *Node, _ []*Node) (map[int]*Node, *Node) {
	return adjoint(u, Λ), offset(u, Λ)
}

func (assembly) windows(*unit) []int { return nil }

// reach: padding moves patches, but leaves an axis that is whole so. Axes on which tensors are put together must be.
func (assembly) reach(u *unit, k int, p patch) patch {
	from := slices.Clone(p)
	if u.n.Type() == NodeTypeConcatenate {
		i := int(parameter(u.n, "axis").Int()) - 1
		if p[i] != whole(u.n, i) {
			return nil
		}
		from[i] = whole(u.inputs[k], i)
		return from
	}
	for i, pad := range padsOf(u.n) {
		if pad.Interior != 0 || pad.Start < 0 || pad.End < 0 {
			return nil
		}
		from[i].first -= pad.Start
		if p[i] == whole(u.n, i) {
			from[i] = whole(u.inputs[k], i)
		}
	}
	return from
}

// padsOf returns how a Pad pads all axes but the first.
func padsOf(n *Node) (pads []PadAxis) {
	all := parameter(n, "axesConfig")
	for axis := 1; axis < n.Rank(); axis++ {
		var p PadAxis
		if axis < all.Len() {
			v := all.Index(axis)
			p = PadAxis{Start: int(v.FieldByName("Start").Int()), End: int(v.FieldByName("End").Int()), Interior: int(v.FieldByName("Interior").Int())}
		}
		pads = append(pads, p)
	}
	return pads
}

func (r assembly) backwardPatch(c *cut, u *unit, Λ *Node, _ []*Node) (parts map[int]*Node, constant *Node) {
	if v := atZero(u); v != nil {
		constant = Mul(Λ, c.take(u.n, v))
	}
	parts = map[int]*Node{}
	p := c.of[u.n.Id()]
	if u.n.Type() == NodeTypePad { // what is padding ends here
		in := r.among(u, map[int]*Node{0: OnesLike(u.inputs[0])})
		Λ = Mul(Λ, c.take(u.n, in))
	}
	for _, k := range u.perturbed {
		ranges := []SliceAxisSpec{AxisRange()}
		for i, e := range r.reach(u, k, p) {
			first := r.start(u, k, i, p)
			ranges = append(ranges, AxisRange(first, first+e.size))
		}
		parts[k] = Slice(Λ, ranges...)
	}
	return parts, constant
}

// start returns where, in the patch p of u, what it reaches of input k begins on an axis.
func (assembly) start(u *unit, k, i int, p patch) (start int) {
	switch {
	case u.n.Type() == NodeTypePad:
		if p[i] == whole(u.n, i) {
			start = padsOf(u.n)[i].Start
		}
	case i == int(parameter(u.n, "axis").Int())-1:
		for _, in := range u.inputs[:k] {
			start += in.Shape().Dimensions[i+1]
		}
	}
	return start
}

func (r assembly) followPatch(c *cut, u *unit, _ *Node, h, _ []*Node) (v *Node) {
	p := c.of[u.n.Id()]
	for _, k := range u.perturbed {
		pads := []PadAxis{{}}
		for i, e := range r.reach(u, k, p) {
			first := r.start(u, k, i, p)
			pads = append(pads, PadAxis{Start: first, End: p[i].size - first - e.size})
		}
		v = plus(v, Pad(h[k], ScalarZero(u.n.Graph(), u.n.DType()), pads...))
	}
	if constant := atZero(u); constant != nil {
		v = Add(v, c.take(u.n, constant))
	}
	return v
}
