package transform

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
)

// Translate moves the image by some pixels, the same for each: what leaves it is gone, and what comes in is its mirror
// image, the pixels of the edge repeated.
type Translate struct {
	// Down and Right are the number of pixels, negative to go up and left.
	Down, Right int
}

// String returns for example "translation (1, 0)".
func (t Translate) String() string { return fmt.Sprintf("translation (%d, %d)", t.Down, t.Right) }

// Check implements [Transform].
func (t Translate) Check(input []int) error {
	if t == (Translate{}) {
		return fmt.Errorf("Down and Right are both 0: give at least one")
	}
	if err := checkImage(input); err != nil {
		return err
	}
	return checkReach(t.reach(), input)
}

func (t Translate) reach() int { return max(t.Down, -t.Down, t.Right, -t.Right) }

// Graph implements [Transform].
func (t Translate) Graph(_ *model.Scope, x *Node, _ advlib.Box) *Node {
	h, w := sideOf(x)
	r := t.reach()
	return shifted(mirrored(x, r, r), r-t.Down, r-t.Right, h, w)
}

// Traits implements [Transform].
func (Translate) Traits() Traits { return Traits{} }
