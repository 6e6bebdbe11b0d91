package transform

import (
	"fmt"
	"math"

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
	if math.IsNaN(t.Sigma) || math.IsInf(t.Sigma, 0) || t.Sigma <= 0 {
		return fmt.Errorf("Sigma = %g is not a finite number above 0: it is in units of the box", t.Sigma)
	}
	return nil
}

// Graph implements [Transform].
func (t Noise) Graph(scope *model.Scope, x *Node, box advlib.Box) *Node {
	return box.Clip(Add(x, MulScalar(scope.RandomNormal(x.Graph(), x.Shape()), t.Sigma)))
}

// Traits implements [Transform].
func (Noise) Traits() Traits { return Traits{Random: true} }
