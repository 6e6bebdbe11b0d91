package certify

import (
	"fmt"

	"advlab/advlib/backend"
	"advlab/advlib/certify/internal/propagate"
	"advlab/advlib/internal/option"
)

// Rounding is the arithmetic of the model that a bound speaks of.
type Rounding int

const (
	// Float32AnyOrder is float32 as a backend may compute it: sums in any order, with or without fused multiply-add,
	// denormals kept or flushed to zero, division as multiplication with the reciprocal, and activations with the errors
	// of the backend's library, which are measured. It is the default.
	Float32AnyOrder Rounding = iota
	// TF32AnyOrder is the same with the operands of dot products and convolutions rounded to 11 significant bits, as
	// NVIDIA GPUs do by default.
	TF32AnyOrder
	// BFloat16AnyOrder is the same with those operands rounded to 8 significant bits.
	BFloat16AnyOrder
	// RealArithmetic is real arithmetic: nothing is said about any computed output, and the rounding of the bounds
	// themselves, in float64, is not accounted for. It is for comparisons.
	RealArithmetic
)

// String returns "float32-any-order", "tf32-any-order", "bfloat16-any-order" or "real".
func (r Rounding) String() string {
	switch r {
	case Float32AnyOrder:
		return "float32-any-order"
	case TF32AnyOrder:
		return "tf32-any-order"
	case BFloat16AnyOrder:
		return "bfloat16-any-order"
	case RealArithmetic:
		return "real"
	}
	return fmt.Sprintf("Rounding(%d)", int(r))
}

func (r Rounding) arithmetic() (a propagate.Arithmetic) {
	switch r {
	case RealArithmetic:
		a.Real = true
	case TF32AnyOrder:
		a.Operand = 0x1p-11
	case BFloat16AnyOrder:
		a.Operand = 0x1p-8
	}
	return a
}

// checkArithmetic refuses to speak of an arithmetic that the backend does not have.
func (n *Network) checkArithmetic(r Rounding) error {
	if backend.InfoOf(n.deployed).Name != backend.XLACUDA || r == RealArithmetic {
		return nil
	}
	for _, o := range n.operations {
		switch {
		case o == "ConvGeneral":
			return fmt.Errorf("on CUDA convolutions may run by Winograd's or Fourier transforms, whose rounding has no bound here: certify on the "+
				"CPU the model deployed there, or use %v, which says nothing about computed outputs", option.Name("certify.RealArithmetic"))
		case o == "DotGeneral" && r == Float32AnyOrder:
			return fmt.Errorf("on CUDA dot products may run in TF32: use %v", option.Name("certify.TF32AnyOrder"))
		}
	}
	return nil
}

// arithmetic of the deployed model on the network's backend.
func (n *Network) arithmetic(r Rounding) (propagate.Arithmetic, error) {
	a := r.arithmetic()
	a.ExactVariables = n.exact
	if !a.Real {
		l, err := propagate.LibraryOf(n.deployed, n.functions)
		if err != nil {
			return a, err
		}
		a.Library = l
	}
	return a, nil
}
