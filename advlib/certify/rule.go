package certify

import (
	"fmt"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
)

// rule bounds one kind of operation. Each family of operations has a file with its rules.
type rule interface {
	// check tells why the rule does not hold for a unit of w; nil if it does.
	check(w *walk, u *unit) error
	// forward returns the interval of u in real arithmetic; in holds those of its inputs. Constants are taken by the
	// values of their nodes.
	forward(p *pass, u *unit, in []interval) interval
	// rounding returns E ≥ |û − u|: how far what the deployed model computes from given perturbed inputs is from u in real
	// arithmetic, of the same inputs and of constants by the values of their nodes. It is in the shape of u, or nil for 0;
	// out is u's interval without it. It is not called for real arithmetic.
	rounding(p *pass, u *unit, in []interval, out interval) *Node
	// affine tells whether backward is an equation that holds for all inputs.
	affine() bool
	// relax returns what backward needs to know of the intervals in: tensors whose leading axis holds the examples as that
	// of u does; none for an affine rule. In open, if it is not nil, those coordinates of the only perturbed input are 1 whose
	// tighter interval would give tighter lines, others 0.
	relax(p *pass, u *unit, in []interval) (lines []*Node, open *Node)
	// backward returns Λ' for the perturbed inputs h of u, by position, and a constant b in the shape of u or nil, with
	//
	//	⟨Λ, u⟩ ≥ Σ ⟨Λ', h⟩ + ⟨1, b⟩
	//
	// for all h in the intervals of which relax made lines.
	backward(w *walk, u *unit, Λ *Node, lines []*Node) (Λs map[int]*Node, b *Node)
	// follow returns what backward puts in the place of u at inputs h, all of them: the value v there of the lines that it
	// chooses by the sign of Λ, in the shape of u, with ⟨Λ, v⟩ = Σ ⟨Λ', h⟩ + ⟨1, b⟩. It is the derivative of the right side with
	// respect to Λ, where that exists.
	follow(u *unit, Λ *Node, h, lines []*Node) *Node
}

// bent is a rule that is σ(t) = max(t, 0) up to affine maps: the slope a of the line below, lines[0], may be any in [0, 1].
type bent interface {
	// bend returns t for inputs h of u, and Λσ, the part of ⟨Λ, u⟩ that is ⟨Λσ, σ(t)⟩. So a bound grows with a by Λσ⁺·t.
	bend(u *unit, Λ *Node, h []*Node) (Λσ, t *Node)
}

// rules are the operations that can be bounded. Whatever is missing is an error that names it.
var rules map[NodeType]rule

func init() {
	rules = map[NodeType]rule{
		NodeTypeAdd:         sum{},
		NodeTypeSub:         sum{},
		NodeTypeNeg:         sum{},
		NodeTypeMul:         product{},
		NodeTypeDiv:         product{},
		NodeTypeDotGeneral:  product{},
		NodeTypeConvGeneral: product{},

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
		NodeTypeCumSum:         cumulative{},
		NodeTypeReduceWindow:   windowSum{},
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

func (linear) affine() bool                                    { return true }
func (linear) relax(*pass, *unit, []interval) ([]*Node, *Node) { return nil, nil }
func (linear) check(*walk, *unit) error                        { return nil }
func (linear) follow(u *unit, _ *Node, h, _ []*Node) *Node     { return at(u, h) }

// at returns the operation of u on other perturbed inputs.
func at(u *unit, h []*Node) *Node {
	replace := map[int]*Node{}
	for _, k := range u.perturbed {
		replace[k] = h[k]
	}
	return with(u.n, replace)
}

// above0 chooses, element by element, by the sign of Λ.
func above0(Λ, up, down *Node) *Node {
	dims := Λ.Shape().Dimensions
	return Where(GreaterThan(Λ, ZerosLike(Λ)), BroadcastToDims(up, dims...), BroadcastToDims(down, dims...))
}

// ends returns the operation of u applied to the lower and to the upper ends of its perturbed inputs: its interval, if
// it is monotone and increases with each of them.
func ends(u *unit, in []interval) interval {
	lower, upper := map[int]*Node{}, map[int]*Node{}
	for _, k := range u.perturbed {
		lower[k], upper[k] = in[k].lower, in[k].upper
	}
	return interval{lower: with(u.n, lower), upper: with(u.n, upper)}
}

// adjoint is the backward step of an affine operation without a constant part.
func adjoint(u *unit, Λ *Node) map[int]*Node {
	all := transpose(u.n, Λ)
	Λs := map[int]*Node{}
	for _, k := range u.perturbed {
		if all[k] == nil || !all[k].Shape().EqualDimensions(u.inputs[k].Shape()) {
			panic(fmt.Errorf("GoMLX's transpose of %s has no value of shape %v for input %d", u.n.Type(), u.inputs[k].Shape(), k))
		}
		Λs[k] = all[k]
	}
	return Λs
}

// offset is the constant part ⟨Λ, u(0)⟩ of an affine operation, before it is summed.
func offset(u *unit, Λ *Node) *Node {
	if v := atZero(u); v != nil {
		return Mul(Λ, v)
	}
	return nil
}

// atZero returns u(0), nil if no input is a constant.
func atZero(u *unit) *Node {
	zeros := map[int]*Node{}
	for _, k := range u.perturbed {
		zeros[k] = ZerosLike(u.inputs[k])
	}
	if len(zeros) == len(u.inputs) {
		return nil
	}
	return with(u.n, zeros)
}

// onlyInput returns an error unless exactly one input of u depends on x, and it is one of the given positions.
func onlyInput(u *unit, positions ...int) error {
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
func (w *walk) ruleOf(n *Node) (rule, []*Node) {
	in := n.Inputs()
	perturbed := w.perturbedInputs(n)
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
	return rules[n.Type()], in
}
