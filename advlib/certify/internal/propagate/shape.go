package propagate

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
)

// placement is an operation that only moves, drops or repeats coordinates: Reshape, Transpose, BroadcastInDim, Slice,
// Reverse, Identity.
type placement struct{ linear }

func (placement) Check(_ *Walk, u *Unit) error {
	if u.Node.Type() == NodeTypeReverse && slices.Contains(Integers(u.Node, "axes"), 0) {
		return fmt.Errorf("it reverses the order of examples")
	}
	return nil
}

func (placement) Forward(_ *Pass, u *Unit, in []Interval) Interval {
	v := Ends(u, in)
	// A larger result repeats coordinates.
	if s := in[0].Spread; s != nil && u.Node.Shape().Size() <= u.Inputs[0].Shape().Size() {
		v.Spread = s.map_(func(h *Node) *Node { return With(u.Node, map[int]*Node{0: h}) })
	}
	return v
}

func (placement) Rounding(p *Pass, u *Unit, in []Interval, _ Interval) *Node {
	p.moved(u, in, 0)
	if e := in[0].err; e != nil {
		return With(u.Node, map[int]*Node{0: e})
	}
	return nil
}

func (placement) Backward(_ *Walk, u *Unit, Λ *Node, _ []*Node) (map[int]*Node, *Node) {
	return adjoint(u, Λ), nil
}

func (placement) Windows(*Unit) []int { return nil }

// Reach: a slice moves patches, and takes an axis that is whole to one that is. Of other operations those that leave
// alone where a patch is.
func (placement) Reach(u *Unit, _ int, p Patch) Patch {
	switch u.Node.Type() {
	case NodeTypeIdentity:
		return p
	case NodeTypeReverse:
		for _, axis := range Integers(u.Node, "axes") {
			if p[axis-1] != whole(u.Node, axis-1) {
				return nil
			}
		}
		return p
	case NodeTypeSlice:
		from := make(Patch, len(p))
		for i, e := range p {
			start, stride := sliceOf(u.Node, i+1)
			from[i] = extent{e.Stride * stride, start + e.First*stride, (e.size-1)*stride + 1}
			if e == whole(u.Node, i) {
				from[i] = whole(u.Only(), i)
			}
		}
		return from
	}
	return nil
}

// sliceOf returns which elements of an axis a Slice takes.
func sliceOf(n *Node, axis int) (start, stride int) {
	stride = 1
	if s := Integers(n, "strides"); len(s) > 0 {
		stride = s[axis]
	}
	return Integers(n, "starts")[axis], stride
}

func (placement) BackwardPatch(c *Cut, u *Unit, Λ *Node, _ []*Node) (map[int]*Node, *Node) {
	switch u.Node.Type() {
	case NodeTypeReverse:
		Λ = Reverse(Λ, Integers(u.Node, "axes")...)
	case NodeTypeSlice:
		pads := make([]PadAxis, Λ.Rank())
		for i, e := range c.Of[u.Node.Id()] {
			start, stride := sliceOf(u.Node, i+1)
			pads[i+1] = PadAxis{Interior: stride - 1}
			if e == whole(u.Node, i) {
				pads[i+1].Start, pads[i+1].End = start, u.Only().Shape().Dimensions[i+1]-start-(e.size-1)*stride-1
			}
		}
		Λ = Pad(Λ, ScalarZero(Λ.Graph(), Λ.DType()), pads...)
	}
	return map[int]*Node{0: Λ}, nil
}

func (placement) FollowPatch(c *Cut, u *Unit, _ *Node, h, _ []*Node) *Node {
	v := h[0]
	switch u.Node.Type() {
	case NodeTypeReverse:
		v = Reverse(v, Integers(u.Node, "axes")...)
	case NodeTypeSlice:
		ranges := []SliceAxisSpec{AxisRange()}
		for i, e := range c.Of[u.Node.Id()] {
			start, stride := sliceOf(u.Node, i+1)
			if e != whole(u.Node, i) {
				start = 0
			}
			ranges = append(ranges, AxisRange(start, start+(e.size-1)*stride+1).Stride(stride))
		}
		v = Slice(v, ranges...)
	}
	return v
}

// conversion is ConvertDType to a type that holds every value of the old one: of conditions, whose values are 0 and 1,
// any.
type conversion struct{ placement }

func (conversion) Check(_ *Walk, u *Unit) error { return checkConversion(u.Node) }

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

// Forward: intervals of whatever type have ends in float64.
func (r conversion) Forward(p *Pass, u *Unit, in []Interval) Interval {
	if !u.Inputs[0].DType().IsFloat() {
		return Interval{Lower: in[0].Lower, Upper: in[0].Upper}
	}
	return r.placement.Forward(p, u, in)
}

func (r conversion) Backward(w *Walk, u *Unit, Λ *Node, lines []*Node) (map[int]*Node, *Node) {
	if !u.Inputs[0].DType().IsFloat() {
		return map[int]*Node{0: Λ}, nil
	}
	return r.placement.Backward(w, u, Λ, lines)
}

func (r conversion) Follow(u *Unit, Λ *Node, h, lines []*Node) *Node {
	if !u.Inputs[0].DType().IsFloat() {
		return h[0]
	}
	return r.placement.Follow(u, Λ, h, lines)
}

// assembly is Concatenate, of perturbed tensors and constants, and Pad with a constant.
type assembly struct{ linear }

func (assembly) Check(_ *Walk, u *Unit) error {
	if u.Node.Type() == NodeTypePad {
		return onlyInput(u, 0)
	}
	return nil
}

func (r assembly) Forward(_ *Pass, u *Unit, in []Interval) Interval {
	v := Ends(u, in)
	k := u.perturbed[0]
	if s := in[k].Spread; s != nil && len(u.perturbed) == 1 { // several could share coordinates of δ
		move := func(h *Node) *Node { return r.among(u, map[int]*Node{k: h}) }
		t := s.map_(move)
		t.Centre = With(u.Node, map[int]*Node{k: s.Centre})
		v.Spread = t
	}
	return v
}

// among returns the operation on the given inputs and zeros for all others.
func (assembly) among(u *Unit, parts map[int]*Node) *Node {
	all := map[int]*Node{}
	for j, c := range u.Inputs {
		if all[j] = parts[j]; all[j] == nil {
			all[j] = ZerosLike(c)
		}
	}
	return With(u.Node, all)
}

func (r assembly) Rounding(p *Pass, u *Unit, in []Interval, _ Interval) *Node {
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

func (assembly) Backward(_ *Walk, u *Unit, Λ *Node, _ []*Node) (map[int]*Node, *Node) {
	return adjoint(u, Λ), offset(u, Λ)
}

func (assembly) Windows(*Unit) []int { return nil }

// Reach: padding moves patches, but leaves an axis that is whole so. Axes on which tensors are put together must be.
func (assembly) Reach(u *Unit, k int, p Patch) Patch {
	from := slices.Clone(p)
	if u.Node.Type() == NodeTypeConcatenate {
		i := int(parameter(u.Node, "axis").Int()) - 1
		if p[i] != whole(u.Node, i) {
			return nil
		}
		from[i] = whole(u.Inputs[k], i)
		return from
	}
	for i, pad := range padsOf(u.Node) {
		if pad.Interior != 0 || pad.Start < 0 || pad.End < 0 {
			return nil
		}
		from[i].First -= pad.Start
		if p[i] == whole(u.Node, i) {
			from[i] = whole(u.Inputs[k], i)
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
			p = PadAxis{Start: int(v.FieldByName("Start").Int()), End: int(v.FieldByName("End").Int()),
				Interior: int(v.FieldByName("Interior").Int())}
		}
		pads = append(pads, p)
	}
	return pads
}

func (r assembly) BackwardPatch(c *Cut, u *Unit, Λ *Node, _ []*Node) (parts map[int]*Node, constant *Node) {
	if v := atZero(u); v != nil {
		constant = Mul(Λ, c.Take(u.Node, v))
	}
	parts = map[int]*Node{}
	p := c.Of[u.Node.Id()]
	if u.Node.Type() == NodeTypePad { // what is padding ends here
		in := r.among(u, map[int]*Node{0: OnesLike(u.Inputs[0])})
		Λ = Mul(Λ, c.Take(u.Node, in))
	}
	for _, k := range u.perturbed {
		ranges := []SliceAxisSpec{AxisRange()}
		for i, e := range r.Reach(u, k, p) {
			first := r.start(u, k, i, p)
			ranges = append(ranges, AxisRange(first, first+e.size))
		}
		parts[k] = Slice(Λ, ranges...)
	}
	return parts, constant
}

// start returns where, in the patch p of u, what it reaches of input k begins on an axis.
func (assembly) start(u *Unit, k, i int, p Patch) (start int) {
	switch {
	case u.Node.Type() == NodeTypePad:
		if p[i] == whole(u.Node, i) {
			start = padsOf(u.Node)[i].Start
		}
	case i == int(parameter(u.Node, "axis").Int())-1:
		for _, in := range u.Inputs[:k] {
			start += in.Shape().Dimensions[i+1]
		}
	}
	return start
}

func (r assembly) FollowPatch(c *Cut, u *Unit, _ *Node, h, _ []*Node) (v *Node) {
	p := c.Of[u.Node.Id()]
	for _, k := range u.perturbed {
		pads := []PadAxis{{}}
		for i, e := range r.Reach(u, k, p) {
			first := r.start(u, k, i, p)
			pads = append(pads, PadAxis{Start: first, End: p[i].size - first - e.size})
		}
		v = plus(v, Pad(h[k], ScalarZero(u.Node.Graph(), u.Node.DType()), pads...))
	}
	if constant := atZero(u); constant != nil {
		v = Add(v, c.Take(u.Node, constant))
	}
	return v
}
