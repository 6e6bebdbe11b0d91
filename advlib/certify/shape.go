package certify

import (
	"fmt"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
)

// placement is an operation that only moves, drops or repeats coordinates: Reshape, Transpose, BroadcastInDim, Slice,
// Reverse, Identity.
type placement struct{}

func (placement) affine() bool             { return true }
func (placement) check(*walk, *Node) error { return nil }

func (placement) forward(w *walk, n *Node, in []interval) interval {
	v := ends(w, n, in)
	// A larger result repeats coordinates.
	if s := in[0].spread; s != nil && n.Shape().Size() <= n.Inputs()[0].Shape().Size() {
		move := func(h *Node) *Node { return with(n, map[int]*Node{0: h}) }
		v.spread = &spread{centre: move(s.centre), up: move(s.up), down: move(s.down)}
	}
	return v
}

func (placement) backward(w *walk, n, Λ *Node, _ []interval) (map[int]*Node, *Node) {
	return adjoint(w, n, Λ), nil
}

// conversion is ConvertDType to a type that holds every value of the old one.
type conversion struct{ placement }

func (conversion) check(_ *walk, n *Node) error {
	from, to := n.Inputs()[0].DType(), n.DType()
	if from == to || from.IsFloat() && to == dtypes.Float64 || from.IsFloat16() && to == dtypes.Float32 {
		return nil
	}
	return fmt.Errorf("it rounds %s to %s", from, to)
}

// assembly is Concatenate, of perturbed tensors and constants, and Pad with a constant.
type assembly struct{}

func (assembly) affine() bool { return true }

func (assembly) check(w *walk, n *Node) error {
	if n.Type() == NodeTypePad {
		return onlyInput(w, n, 0)
	}
	return nil
}

func (assembly) forward(w *walk, n *Node, in []interval) interval {
	v := ends(w, n, in)
	perturbed := w.perturbedInputs(n)
	k := perturbed[0]
	if s := in[k].spread; s != nil && len(perturbed) == 1 { // several could share coordinates of δ
		still := map[int]*Node{} // constants do not move
		for j, c := range n.Inputs() {
			still[j] = ZerosLike(c)
		}
		move := func(u *Node) *Node {
			still[k] = u
			return with(n, still)
		}
		v.spread = &spread{centre: with(n, map[int]*Node{k: s.centre}), up: move(s.up), down: move(s.down)}
	}
	return v
}

func (assembly) backward(w *walk, n, Λ *Node, _ []interval) (map[int]*Node, *Node) {
	return adjoint(w, n, Λ), offset(w, n, Λ)
}
