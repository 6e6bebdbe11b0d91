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

// conversion is ConvertDType to a type that holds every value of the old one.
type conversion struct{ placement }

func (conversion) check(_ *walk, u *unit) error {
	from, to := u.inputs[0].DType(), u.n.DType()
	if from == to || from.IsFloat() && to == dtypes.Float64 {
		return nil
	}
	return fmt.Errorf("it rounds %s to %s", from, to)
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
