package transform

import (
	"fmt"
	"math"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
)

// Gaussian blurs the image, channel by channel, with the weights exp(−d²/2σ²) along each axis, cut off at 4·σ pixels
// and summing to 1, the image mirrored at its edges: scipy.ndimage.gaussian_filter with mode reflect.
type Gaussian struct {
	// Sigma is σ, in pixels, above 0.
	Sigma float64
}

// String returns for example "Gaussian blur σ = 1".
func (t Gaussian) String() string { return fmt.Sprintf("Gaussian blur σ = %.6g", t.Sigma) }

// radius is how far the weights reach.
func (t Gaussian) radius() int { return int(4*t.Sigma + 0.5) }

// Check implements [Transform].
func (t Gaussian) Check(input []int) error {
	if err := checkPositive("Sigma", t.Sigma, "it is the width of the blur in pixels"); err != nil {
		return err
	}
	if err := checkImage(input); err != nil {
		return err
	}
	return checkReach(t.radius(), input)
}

// Graph implements [Transform].
func (t Gaussian) Graph(_ *model.Scope, x *Node, _ advlib.Box) *Node {
	h, w := sideOf(x)
	r := t.radius()
	weights, sum := make([]float64, 2*r+1), 0.
	for k := range weights {
		weights[k] = math.Exp(-float64((k-r)*(k-r)) / (2 * t.Sigma * t.Sigma))
		sum += weights[k]
	}
	wide := mirrored(x, r, r)
	rows := ZerosLike(shifted(wide, 0, 0, h, w+2*r))
	for k, v := range weights {
		rows = Add(rows, MulScalar(shifted(wide, k, 0, h, w+2*r), v/sum))
	}
	blurred := ZerosLike(x)
	for k, v := range weights {
		blurred = Add(blurred, MulScalar(shifted(rows, 0, k, h, w), v/sum))
	}
	return blurred
}

// Traits implements [Transform].
func (Gaussian) Traits() Traits { return Traits{} }
