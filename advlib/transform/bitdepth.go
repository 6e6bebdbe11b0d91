package transform

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
)

// BitDepth rounds each value to one of 2^Bits levels of the box, evenly spaced from its lowest to its highest value:
// the first squeezer of Xu, Evans & Qi (2018), arXiv:1704.01155, section III-A. It has no gradient. It takes inputs of
// any shape.
type BitDepth struct {
	// Bits is the number of bits of a value, 1 to 16.
	Bits int
}

// String returns for example "3 bits".
func (t BitDepth) String() string {
	if t.Bits == 1 {
		return "1 bit"
	}
	return fmt.Sprintf("%d bits", t.Bits)
}

// Check implements [Transform].
func (t BitDepth) Check([]int) error {
	if t.Bits < 1 || t.Bits > 16 {
		return fmt.Errorf("Bits = %d is not in 1..16", t.Bits)
	}
	return nil
}

// Graph implements [Transform].
func (t BitDepth) Graph(_ *model.Scope, x *Node, box advlib.Box) *Node {
	steps := float64(int(1)<<t.Bits - 1)
	level := Round(MulScalar(AddScalar(x, -box.Lo), steps/box.Width()))
	return AddScalar(MulScalar(level, box.Width()/steps), box.Lo)
}

// Traits implements [Transform].
func (BitDepth) Traits() Traits { return Traits{Flat: true} }
