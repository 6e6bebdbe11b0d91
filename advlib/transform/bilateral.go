package transform

import (
	"fmt"
	"math"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
)

// Bilateral is the filter of Tomasi & Manduchi (1998), equation 5: each pixel becomes a mean of the square window
// around it, in which a pixel counts less the farther away it is and the more its colour differs,
//
//	exp(−‖p − q‖²/2σs²) · exp(−(‖x_p − x_q‖/C)²/2σc²)
//
// with the image mirrored at its edges, the edge pixel repeated. It is skimage.restoration.denoise_bilateral with mode
// symmetric and a large number of bins, but for a defect of its 0.26: the table of exp(−‖p − q‖²/2σs²) has one row and
// one column more than it is read with, so that pixels get the weights of others. As there, the distance of two colours
// is divided by the number of channels C.
type Bilateral struct {
	// SigmaColor is σc, in units of the box, and SigmaSpatial σs, in pixels; both above 0.
	SigmaColor, SigmaSpatial float64
	// Size is the side of the window in pixels, odd, 3 to 21; 0 means max(5, 2⌈3σs⌉ + 1), as there.
	Size int
}

// String returns for example "bilateral σ = 0.1, 1 px".
func (t Bilateral) String() string {
	return fmt.Sprintf("bilateral σ = %.6g, %.6g px", t.SigmaColor, t.SigmaSpatial)
}

// side returns the side of the window.
func (t Bilateral) side() int {
	if t.Size != 0 {
		return t.Size
	}
	return max(5, 2*int(math.Ceil(3*t.SigmaSpatial))+1)
}

// Check implements [Transform].
func (t Bilateral) Check(input []int) error {
	if err := checkPositive("SigmaColor", t.SigmaColor, "it is in units of the box"); err != nil {
		return err
	}
	if err := checkPositive("SigmaSpatial", t.SigmaSpatial, "it is in pixels"); err != nil {
		return err
	}
	if err := checkImage(input); err != nil {
		return err
	}
	side := t.side()
	if side < 3 || side > 21 || side%2 == 0 {
		return fmt.Errorf("a window of %d×%d pixels: Size must be odd and in 3..21, or 0 for max(5, 2⌈3·SigmaSpatial⌉ + 1), which is "+
			"in that range up to SigmaSpatial = 3.33", side, side)
	}
	return checkReach(side/2, input)
}

// Graph implements [Transform].
func (t Bilateral) Graph(_ *model.Scope, x *Node, _ advlib.Box) *Node {
	h, w := sideOf(x)
	r, c := t.side()/2, float64(x.Shape().Dimensions[3])
	near := make([]float64, 0, t.side()*t.side()) // −‖p − q‖²/2σs²
	for i := -r; i <= r; i++ {
		for j := -r; j <= r; j++ {
			near = append(near, -float64(i*i+j*j)/(2*t.SigmaSpatial*t.SigmaSpatial))
		}
	}
	window := neighbours(mirrored(x, r, r), r, r, h, w)
	apart := ReduceAndKeep(Square(Sub(window, InsertAxes(x, 1))), ReduceSum, -1)
	exponent := Reshape(ConstAsDType(x.Graph(), x.DType(), near), 1, len(near), 1, 1, 1)
	weight := Exp(Sub(exponent, MulScalar(apart, 1/(2*c*c*t.SigmaColor*t.SigmaColor))))
	return Div(ReduceSum(Mul(window, weight), 1), ReduceSum(weight, 1))
}

// Traits implements [Transform].
func (Bilateral) Traits() Traits { return Traits{} }
