package certify

import (
	"fmt"

	"advlab/advlib/backend"
	"advlab/advlib/internal/option"
)

// checkArithmetic refuses to speak of an arithmetic that the backend does not have.
func (n *Network) checkArithmetic(r Rounding) error {
	if backend.InfoOf(n.deployed).Name != backend.XLACUDA || r == RealArithmetic {
		return nil
	}
	for _, o := range n.operations {
		switch {
		case o == "ConvGeneral":
			return fmt.Errorf("on CUDA convolutions may run by Winograd's or Fourier transforms, whose rounding has no bound here: certify on the CPU the model deployed there, or use %v, which says nothing about computed outputs", option.Name("certify.RealArithmetic"))
		case o == "DotGeneral" && r == Float32AnyOrder:
			return fmt.Errorf("on CUDA dot products may run in TF32: use %v", option.Name("certify.TF32AnyOrder"))
		}
	}
	return nil
}

// arithmetic of the deployed model on the network's backend.
func (n *Network) arithmetic(r Rounding) (arithmetic, error) {
	a := r.arithmetic()
	a.exactVariables = n.exact
	if !a.real {
		l, err := libraryOf(n.deployed, n.functions)
		if err != nil {
			return a, err
		}
		a.library = l
	}
	return a, nil
}
