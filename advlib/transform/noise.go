package transform

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
)

// Noise adds Gaussian noise to each value, new each time, and clips to the box. It takes inputs of any shape.
type Noise struct {
	// Sigma is the standard deviation, in units of the box, above 0.
	Sigma float64
}

// String returns for example "noise σ = 0.1".
func (t Noise) String() string { return fmt.Sprintf("noise σ = %.6g", t.Sigma) }

// Check implements [Transform].
func (t Noise) Check([]int) error {
	return checkPositive("Sigma", t.Sigma, "it is in units of the box")
}

// Graph implements [Transform].
func (t Noise) Graph(scope *model.Scope, x *Node, box advlib.Box) *Node {
	return box.Clip(Add(x, MulScalar(scope.RandomNormal(x.Graph(), x.Shape()), t.Sigma)))
}

// Traits implements [Transform].
func (Noise) Traits() Traits { return Traits{Random: true} }
