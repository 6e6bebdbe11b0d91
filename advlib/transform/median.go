package transform

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
)

// Median replaces each pixel by the median of the square window around it, channel by channel, with the image mirrored
// at its edges, the edge pixel repeated: scipy.ndimage.median_filter with mode reflect, the second squeezer of Xu,
// Evans & Qi (2018), arXiv:1704.01155, section III-B. Of an even number of values it is the upper one, and an even
// window reaches farther up and left, as SciPy has it. Its gradient is that of the pixel that is the median.
type Median struct {
	// Size is the side of the window, 2 to 7.
	Size int
}

// String returns for example "median 3×3".
func (t Median) String() string { return fmt.Sprintf("median %d×%d", t.Size, t.Size) }

// Check implements [Transform].
func (t Median) Check(input []int) error {
	if t.Size < 2 || t.Size > 7 {
		return fmt.Errorf("Size = %d is not in 2..7: it is the side of the window in pixels", t.Size)
	}
	if err := checkImage(input); err != nil {
		return err
	}
	return checkReach(t.Size/2, input)
}

// Graph implements [Transform].
func (t Median) Graph(_ *model.Scope, x *Node, _ advlib.Box) *Node {
	h, w := sideOf(x)
	before := t.Size / 2
	wide := mirrored(x, before, t.Size-1-before)
	var window []*Node
	for i := range t.Size {
		for j := range t.Size {
			window = append(window, shifted(wide, i, j, h, w))
		}
	}
	return ranked(window, t.Size*t.Size/2)
}

// Traits implements [Transform].
func (Median) Traits() Traits { return Traits{} }
