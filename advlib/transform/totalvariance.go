package transform

import (
	"fmt"
	"math"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
)

// TotalVariance is the total variance minimisation of Guo et al. (2018), arXiv:1711.00117, equation 2: it drops pixels
// at random, others each time, and takes the simplest image that agrees with those that are left. With X = 1 where a
// value is dropped, it is, channel by channel,
//
//	min_z ‖(1 − X) ⊙ (z − x)‖₂ + Weight · (Σ_i ‖z_i − z_{i−1}‖₂ + Σ_j ‖z_j − z_{j−1}‖₂)
//
// of rows z_i and columns z_j, clipped to the box. It is minimised by the primal-dual method of Chambolle & Pock
// (2011), algorithm 1, which takes the corners of these norms as they are. Quasi-Newton methods, which others use here,
// stop at them: from z = x, where the first norm has one, L-BFGS-B leaves an image as it is when Weight is small.
//
// It has no gradient: an adaptive attack takes that of the identity (Athalye et al. 2018, arXiv:1802.00420), and the
// mean of several draws.
type TotalVariance struct {
	// Drop is the probability with which a value is dropped, in [0, 1).
	Drop float64
	// Weight is λ, what the total variation counts, above 0.
	Weight float64
	// Iterations is how many there are; 0 means 200.
	Iterations int
}

func (t TotalVariance) iterations() int {
	if t.Iterations == 0 {
		return 200
	}
	return t.Iterations
}

// String returns for example "total variance 0.03, 0.5 dropped".
func (t TotalVariance) String() string {
	s := fmt.Sprintf("total variance %.6g, %.6g dropped", t.Weight, t.Drop)
	if t.iterations() != 200 {
		s += fmt.Sprintf(" (%d iterations)", t.Iterations)
	}
	return s
}

// Check implements [Transform].
func (t TotalVariance) Check(input []int) error {
	if !(t.Drop >= 0 && t.Drop < 1) {
		return fmt.Errorf("Drop = %g is not in [0, 1): it is the probability with which a value is dropped", t.Drop)
	}
	if err := checkPositive("Weight", t.Weight, "it is what the total variation counts"); err != nil {
		return err
	}
	if t.Iterations < 0 {
		return fmt.Errorf("Iterations = %d: give a positive number, or 0 for the default", t.Iterations)
	}
	return checkImage(input)
}

// Traits implements [Transform].
func (t TotalVariance) Traits() Traits { return Traits{Flat: true, Random: t.Drop > 0} }

// Graph implements [Transform].
func (t TotalVariance) Graph(scope *model.Scope, x *Node, box advlib.Box) *Node {
	kept := OnesLike(x)
	if t.Drop > 0 {
		drawn := scope.RandomUniform(x.Graph(), x.Shape())
		kept = ConvertDType(GreaterOrEqual(drawn, Scalar(x.Graph(), x.DType(), t.Drop)), x.DType())
	}
	return box.Clip(t.minimum(x, kept))
}

// minimum returns z for an image and 1 − X.
//
// With M = 1 − X, K z = (M z, λ ∇ z), and duals q of norm at most 1, that of all pixels, of each row, of each column,
//
//	q ← P(q + σ K(z̄ − x or z̄)),   z⁺ = z − τ Kᵀq,   z̄ = 2z⁺ − z,   τσ‖K‖² ≤ 1
func (t TotalVariance) minimum(x, kept *Node) *Node {
	// ‖K‖² is at most 1 + 8λ². The ratio of the steps is where most pictures converged fastest.
	const ratio = 0.3
	norm := math.Sqrt(1 + 8*t.Weight*t.Weight)
	tau, sigma := ratio/norm, 1/(ratio*norm)
	none := ZerosLike(x)
	state := []*Node{x, x, none, none, none}
	return iterated(t.iterations(), state, []*Node{x, kept}, func(_ *Node, s, constants []*Node) []*Node {
		z, ahead, pixels, rows, cols := s[0], s[1], s[2], s[3], s[4]
		x, kept := constants[0], constants[1]
		down, right := differences(ahead)
		pixels = unit(Add(pixels, times(Mul(kept, Sub(ahead, x)), sigma)), 1, 2)
		rows = unit(Add(rows, times(down, sigma*t.Weight)), 2)
		cols = unit(Add(cols, times(right, sigma*t.Weight)), 1)
		slope := Add(Mul(kept, pixels), times(transposed(rows, cols), t.Weight))
		next := Sub(z, times(slope, tau))
		return []*Node{next, Sub(times(next, 2), z), pixels, rows, cols}
	}, nil)[0]
}

// unit shortens vectors along axes to the norm 1 at most.
func unit(q *Node, axes ...int) *Node {
	norm := Sqrt(summed(Square(q), axes...))
	return Div(q, Max(norm, number(norm, 1)))
}
