package propagate

import (
	"fmt"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
)

// Rule bounds one kind of operation. Each family of operations has a file with its rules.
type Rule interface {
	// Check tells why the rule does not hold for a unit of w; nil if it does.
	Check(w *Walk, u *Unit) error
	// Forward returns the interval of u in real arithmetic; in holds those of its inputs. Constants are taken by the
	// values of their nodes.
	Forward(p *Pass, u *Unit, in []Interval) Interval
	// Rounding returns E ≥ |û − u|: how far what the deployed model computes from given perturbed inputs is from u in real
	// arithmetic, of the same inputs and of constants by the values of their nodes. It is in the shape of u, or nil for 0;
	// out is u's interval without it. It is not called for real arithmetic.
	Rounding(p *Pass, u *Unit, in []Interval, out Interval) *Node
	// Affine tells whether Backward is an equation that holds for all inputs.
	Affine() bool
	// Relax returns what Backward needs to know of the intervals in: tensors whose leading axis holds the examples as that
	// of u does; none for an affine rule. In open, if it is not nil, those coordinates of the only perturbed input are 1
	// whose tighter interval would give tighter lines, others 0.
	Relax(p *Pass, u *Unit, in []Interval) (lines []*Node, open *Node)
	// Backward returns Λ' for the perturbed inputs h of u, by position, and a constant b in the shape of u or nil, with
	//
	//	⟨Λ, u⟩ ≥ Σ ⟨Λ', h⟩ + ⟨1, b⟩
	//
	// for all h in the intervals of which Relax made lines.
	Backward(w *Walk, u *Unit, Λ *Node, lines []*Node) (Λs map[int]*Node, b *Node)
	// Follow returns what Backward puts in the place of u at inputs h, all of them: the value v there of the lines that it
	// chooses by the sign of Λ, in the shape of u, with ⟨Λ, v⟩ = Σ ⟨Λ', h⟩ + ⟨1, b⟩. It is the derivative of the right
	// side with respect to Λ, where that exists.
	Follow(u *Unit, Λ *Node, h, lines []*Node) *Node
}

// Bent is a rule that is σ(t) = max(t, 0) up to affine maps: the slope a of the line below, lines[0], may be any in [0,
// 1].
type Bent interface {
	// Bend returns t for inputs h of u, and Λσ, the part of ⟨Λ, u⟩ that is ⟨Λσ, σ(t)⟩. So a bound grows with a by Λσ⁺·t.
	Bend(u *Unit, Λ *Node, h []*Node) (Λσ, t *Node)
}

// Rules are the operations that can be bounded. Whatever is missing is an error that names it.
var Rules map[NodeType]Rule

func init() {
	Rules = map[NodeType]Rule{
		NodeTypeAdd:         sum{},
		NodeTypeSub:         sum{},
		NodeTypeNeg:         sum{},
		NodeTypeMul:         product{},
		NodeTypeDiv:         product{},
		NodeTypeDotGeneral:  product{},
		NodeTypeConvGeneral: product{},

		NodeTypeMax: threshold{}, // ReLU
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
		NodeTypeCumSum:         cumulative{},
		NodeTypeReduceWindow:   windowSum{}, // mean pool; a max pool is a [maxPool], see ruleOf
		NodeTypeReduceMax:      maximum{},
		NodeTypeReduceMin:      maximum{},
		NodeTypeWhere:          selection{},
		NodeTypeGather:         lookup{},

		NodeTypeGreaterThan:    condition{},
		NodeTypeGreaterOrEqual: condition{},
		NodeTypeLessThan:       condition{},
		NodeTypeLessOrEqual:    condition{},
		NodeTypeEqual:          condition{},
		NodeTypeNotEqual:       condition{},
		NodeTypeIsFinite:       condition{},
		NodeTypeIsNaN:          condition{},
		NodeTypeLogicalAnd:     condition{},
		NodeTypeLogicalOr:      condition{},
		NodeTypeLogicalXor:     condition{},
		NodeTypeLogicalNot:     condition{},

		NodeTypeBatchNormForInference: batchNorm{},
	}
}

// linear is embedded by rules for affine operations.
type linear struct{}

func (linear) Affine() bool                                    { return true }
func (linear) Relax(*Pass, *Unit, []Interval) ([]*Node, *Node) { return nil, nil }
func (linear) Check(*Walk, *Unit) error                        { return nil }
func (linear) Follow(u *Unit, _ *Node, h, _ []*Node) *Node     { return at(u, h) }

// at returns the operation of u on other perturbed inputs.
func at(u *Unit, h []*Node) *Node {
	replace := map[int]*Node{}
	for _, k := range u.perturbed {
		replace[k] = h[k]
	}
	return With(u.Node, replace)
}

// above0 chooses, element by element, by the sign of Λ.
func above0(Λ, up, down *Node) *Node {
	dims := Λ.Shape().Dimensions
	return Where(GreaterThan(Λ, ZerosLike(Λ)), BroadcastToDims(up, dims...), BroadcastToDims(down, dims...))
}

// Ends returns the operation of u applied to the lower and to the upper ends of its perturbed inputs: its interval, if
// it is monotone and increases with each of them.
func Ends(u *Unit, in []Interval) Interval {
	lower, upper := map[int]*Node{}, map[int]*Node{}
	for _, k := range u.perturbed {
		lower[k], upper[k] = in[k].Lower, in[k].Upper
	}
	return Interval{Lower: With(u.Node, lower), Upper: With(u.Node, upper)}
}

// adjoint is the backward step of an affine operation without a constant part.
func adjoint(u *Unit, Λ *Node) map[int]*Node {
	all := transpose(u.Node, Λ)
	Λs := map[int]*Node{}
	for _, k := range u.perturbed {
		if all[k] == nil || !all[k].Shape().EqualDimensions(u.Inputs[k].Shape()) {
			panic(fmt.Errorf("GoMLX's transpose of %s has no value of shape %v for input %d", u.Node.Type(), u.Inputs[k].Shape(), k))
		}
		Λs[k] = all[k]
	}
	return Λs
}

// offset is the constant part ⟨Λ, u(0)⟩ of an affine operation, before it is summed.
func offset(u *Unit, Λ *Node) *Node {
	if v := atZero(u); v != nil {
		return Mul(Λ, v)
	}
	return nil
}

// atZero returns u(0), nil if no input is a constant.
func atZero(u *Unit) *Node {
	zeros := map[int]*Node{}
	for _, k := range u.perturbed {
		zeros[k] = ZerosLike(u.Inputs[k])
	}
	if len(zeros) == len(u.Inputs) {
		return nil
	}
	return With(u.Node, zeros)
}

// onlyInput returns an error unless exactly one input of u depends on x, and it is one of the given positions.
func onlyInput(u *Unit, positions ...int) error {
	if len(u.perturbed) > 1 {
		return fmt.Errorf("%d of its inputs depend on x: only one may", len(u.perturbed))
	}
	for _, k := range positions {
		if u.perturbed[0] == k {
			return nil
		}
	}
	return fmt.Errorf("its input %d depends on x: only input %v may", u.perturbed[0], positions)
}

// ruleOf returns the rule for a node by itself, and the inputs that matter to it.
func (w *Walk) ruleOf(n *Node) (Rule, []*Node) {
	in := n.Inputs()
	perturbed := w.PerturbedInputs(n)
	switch n.Type() {
	case NodeTypeMul, NodeTypeDotGeneral:
		if len(perturbed) == 2 {
			return bilinear{}, in
		}
	case NodeTypeDiv:
		if slices.Contains(perturbed, 1) {
			return quotient{}, in
		}
	case NodeTypeMax, NodeTypeMin:
		if len(perturbed) == 2 {
			return larger2{}, in
		}
	case NodeTypeReduceWindow:
		if windowKind(n) != sumWindow {
			return maxPool{}, in
		}
	case NodeTypeWhere:
		switch sameRank := in[0].Rank() == n.Rank() && in[1].Rank() == n.Rank() && in[2].Rank() == n.Rank(); {
		case !w.perturbed(in[0]):
		case sameRank && w.decidable(in[0]):
			return choice{}, in
		default:
			return hull{}, in[1:]
		}
	}
	return Rules[n.Type()], in
}
