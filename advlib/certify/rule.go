package certify

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
)

// rule bounds one kind of operation. Each family of operations has a file with its rules.
type rule interface {
	// check tells why the rule does not hold for n, a node of w that depends on x; nil if it does.
	check(w *walk, n *Node) error
	// forward returns the interval of n; in holds those of its inputs, and is empty for inputs that do not depend on x.
	forward(w *walk, n *Node, in []interval) interval
	// backward returns Λ' for the perturbed inputs h of n, by position, and a constant b in the shape of n or nil, with
	//
	//	⟨Λ, n⟩ ≥ Σ ⟨Λ', h⟩ + ⟨1, b⟩
	//
	// for all h in the intervals in, which only a rule that is not affine looks at.
	backward(w *walk, n, Λ *Node, in []interval) (Λs map[int]*Node, b *Node)
	// affine tells whether backward is an equation that holds for all h.
	affine() bool
}

// rules are the operations that can be bounded. Whatever is missing is an error that names it.
var rules = map[NodeType]rule{
	NodeTypeAdd:         sum{},
	NodeTypeSub:         sum{},
	NodeTypeNeg:         sum{},
	NodeTypeMul:         product{},
	NodeTypeDiv:         product{},
	NodeTypeDotGeneral:  product{sums: true},
	NodeTypeConvGeneral: product{sums: true},

	NodeTypeMax: threshold{},
	NodeTypeMin: threshold{},

	NodeTypeReshape:        placement{},
	NodeTypeTranspose:      placement{},
	NodeTypeBroadcastInDim: placement{},
	NodeTypeSlice:          placement{},
	NodeTypeReverse:        placement{},
	NodeTypeIdentity:       placement{},
	NodeTypeConvertDType:   conversion{},
	NodeTypeConcatenate:    assembly{},
	NodeTypePad:            assembly{},
	NodeTypeReduceSum:      reduction{},
}

// ends returns the operation of n applied to the lower and to the upper ends of its perturbed inputs: its interval, if
// it is monotone and increases with each of them.
func ends(w *walk, n *Node, in []interval) interval {
	lower, upper := map[int]*Node{}, map[int]*Node{}
	for _, k := range w.perturbedInputs(n) {
		lower[k], upper[k] = in[k].lower, in[k].upper
	}
	return interval{lower: with(n, lower), upper: with(n, upper)}
}

// adjoint is the backward step of an affine operation n without a constant part.
func adjoint(w *walk, n, Λ *Node) map[int]*Node {
	all := transpose(n, Λ)
	Λs := map[int]*Node{}
	for _, k := range w.perturbedInputs(n) {
		if all[k] == nil || !all[k].Shape().EqualDimensions(n.Inputs()[k].Shape()) {
			panic(fmt.Errorf("GoMLX's transpose of %s has no value of shape %v for input %d", n.Type(), n.Inputs()[k].Shape(), k))
		}
		Λs[k] = all[k]
	}
	return Λs
}

// offset is the constant part ⟨Λ, n(0)⟩ of an affine operation n, before it is summed.
func offset(w *walk, n, Λ *Node) *Node {
	zeros := map[int]*Node{}
	for _, k := range w.perturbedInputs(n) {
		zeros[k] = ZerosLike(n.Inputs()[k])
	}
	if len(zeros) == len(n.Inputs()) {
		return nil
	}
	return Mul(Λ, with(n, zeros))
}

// onlyInput returns an error unless exactly one input of n depends on x, and it is one of the given positions.
func onlyInput(w *walk, n *Node, positions ...int) error {
	got := w.perturbedInputs(n)
	if len(got) > 1 {
		return fmt.Errorf("%d of its inputs depend on x: only one may", len(got))
	}
	for _, k := range positions {
		if got[0] == k {
			return nil
		}
	}
	return fmt.Errorf("its input %d depends on x: only input %v may", got[0], positions)
}
