package transform

import (
	"fmt"
	"math"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
)

// NonLocalMeans is the filter of Buades, Coll & Morel (2005), section 3: each pixel becomes a mean of the pixels q
// around it, which count the more the more alike the patches around both are,
//
//	exp(−max(0, d(p, q) − 2σ²/h²)),   d(p, q) = Σ_t g_t ‖x_{p+t} − x_{q+t}‖² / (C h²),   Σ_t g_t = 1
//
// with Gaussian weights g of standard deviation (PatchSize − 1)/4, C channels, and the image mirrored at its edges, the
// edge pixel not repeated. It was a defence as the third squeezer of Xu, Evans & Qi (2018), arXiv:1704.01155, section
// III-B.
//
// It is skimage.restoration.denoise_nl_means with fast_mode=False, the original filter. As there, a pixel does not
// count at all when d exceeds 5 before the last row of the patches, and the exponential is that of Schraudolph (1999),
// Neural Computation 11(4), which is up to 4 % off. Its fast mode is another filter: it counts the pixel itself twice,
// and its patches are one pixel less in width and height than it says.
type NonLocalMeans struct {
	// PatchSize is the side of a patch, odd, 3 to 15.
	PatchSize int
	// PatchDistance is how many rows and columns away a pixel may be, 1 to 15.
	PatchDistance int
	// H is h, in units of the box, above 0: the larger, the more is averaged.
	H float64
	// Sigma is the standard deviation σ of the noise that is expected, in units of the box; 0 if none is.
	Sigma float64
}

// String returns for example "non-local means 3, 13 px, h = 0.1".
func (t NonLocalMeans) String() string {
	s := fmt.Sprintf("non-local means %d, %d px, h = %.6g", t.PatchSize, t.PatchDistance, t.H)
	if t.Sigma > 0 {
		s += fmt.Sprintf(", σ = %.6g", t.Sigma)
	}
	return s
}

// Check implements [Transform].
func (t NonLocalMeans) Check(input []int) error {
	if t.PatchSize < 3 || t.PatchSize > 15 || t.PatchSize%2 == 0 {
		return fmt.Errorf("PatchSize = %d is not odd and in 3..15: it is the side of a patch in pixels", t.PatchSize)
	}
	if t.PatchDistance < 1 || t.PatchDistance > 15 {
		return fmt.Errorf("PatchDistance = %d is not in 1..15: it is how many pixels away others are looked at", t.PatchDistance)
	}
	if err := checkPositive("H", t.H, "it is in units of the box"); err != nil {
		return err
	}
	if math.IsNaN(t.Sigma) || math.IsInf(t.Sigma, 0) || t.Sigma < 0 {
		return fmt.Errorf("Sigma = %g is not a finite number from 0: it is in units of the box", t.Sigma)
	}
	if err := checkImage(input); err != nil {
		return err
	}
	return checkReach(t.PatchSize/2+1, input) // the edge pixel is not repeated
}

// Graph implements [Transform].
func (t NonLocalMeans) Graph(_ *model.Scope, x *Node, _ advlib.Box) *Node {
	g, r, d := x.Graph(), t.PatchSize/2, t.PatchDistance
	h, w := sideOf(x)
	c := float64(x.Shape().Dimensions[3])
	d = min(d, max(h, w)-1)
	// Where the pixel looked at is outside of the image, it does not count; what stands there is of no matter.
	others := neighbours(zeroPadded(reflected(x, r), d), d, d, h+2*r, w+2*r)
	inside := neighbours(zeroPadded(OnesLike(SliceAxis(x, 3, AxisRange(0, 1))), d), d, d, h, w)

	weights, sum := make([]float64, t.PatchSize), 0. // along an axis
	a := float64(t.PatchSize-1) / 4
	for k := range weights {
		weights[k] = math.Exp(-float64((k-r)*(k-r)) / (2 * a * a))
		sum += weights[k]
	}
	apart := ReduceAndKeep(Square(Sub(others, InsertAxes(reflected(x, r), 1))), ReduceSum, -1)
	if t.Sigma > 0 {
		apart = AddScalar(apart, -2*t.Sigma*t.Sigma*c)
	}
	scale := 1 / (c * t.H * t.H * sum * sum)
	rows := ZerosLike(SliceAxis(apart, 3, AxisRange(0, w)))
	for k, v := range weights {
		rows = Add(rows, MulScalar(SliceAxis(apart, 3, AxisRange(k, k+w)), v*scale))
	}
	distance := ZerosLike(SliceAxis(rows, 2, AxisRange(0, h)))
	counts := GreaterThan(inside, ZerosLike(inside))
	for k, v := range weights {
		counts = LogicalAnd(counts, LessOrEqual(distance, Scalar(g, x.DType(), 5)))
		distance = Add(distance, MulScalar(SliceAxis(rows, 2, AxisRange(k, k+h)), v))
	}
	values := Slice(others, AxisRange(), AxisRange(), AxisRange(r, r+h), AxisRange(r, r+w), AxisRange())
	weight := Where(counts, chords(Neg(MaxScalar(distance, 0))), ZerosLike(distance))
	return Div(ReduceSum(Mul(values, weight), 1), ReduceSum(weight, 1))
}

// chords is nearly exp(y): what the bits of a float64 say when they are linear in y, that is 2^u between whole numbers
// u by chords, where u = y/ln 2 − 60801/2²⁰.
func chords(y *Node) *Node {
	u := AddScalar(MulScalar(y, 1/math.Ln2), -60801./(1<<20))
	k := Floor(u)
	return Mul(Exp(MulScalar(k, math.Ln2)), AddScalar(Sub(u, k), 1))
}

// Traits implements [Transform].
func (NonLocalMeans) Traits() Traits { return Traits{} }
