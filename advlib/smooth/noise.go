package smooth

import (
	"math"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

// threefry is Threefry-2x32-20 of Salmon et al. (2011), "Parallel random numbers: as easy as 1, 2, 3": two random words
// for each counter (c0, c1), by the key (k0, k1). All are uint32; the keys are scalars or have the counters' shape.
func threefry(k0, k1, c0, c1 *Node) (x0, x1 *Node) {
	const parity = 0x1BD11BDA
	rotations := [2][4]int{{13, 15, 26, 6}, {17, 29, 16, 24}}
	ks := [3]*Node{k0, k1, BitwiseXor(BitwiseXor(k0, k1), Const(k0.Graph(), uint32(parity)))}
	x0, x1 = Add(c0, ks[0]), Add(c1, ks[1])
	for i := range 5 {
		for _, r := range rotations[i%2] {
			x0 = Add(x0, x1)
			x1 = BitwiseXor(x0, BitwiseOr(BitwiseShiftLeftScalar(x1, uint32(r)), BitwiseShiftRightLogicalScalar(x1, uint32(32-r))))
		}
		x0 = Add(x0, ks[(i+1)%3])
		x1 = Add(x1, Add(ks[(i+2)%3], Const(x1.Graph(), uint32(i+1))))
	}
	return x0, x1
}

// normals returns draws first, first+1, … of a stream of standard normal vectors of the given length: float32 [draws,
// length]. Coordinates i and i + ⌈length/2⌉ of draw j are made by Box & Muller (1958) from the two words of the counter
// (i, j):
//
//	u = (w + 1/2)/2³²,  r = √(−2 ln u₀),  r cos 2πu₁ and r sin 2πu₁
func normals(k0, k1, first *Node, draws, length int) *Node {
	g := k0.Graph()
	half := (length + 1) / 2
	shape := shapes.Make(dtypes.Uint32, draws, half)
	w0, w1 := threefry(k0, k1, Iota(g, shape, 1), Add(Iota(g, shape, 0), first))
	uniform := func(w *Node) *Node {
		return AddScalar(MulScalar(ConvertDType(w, dtypes.Float32), 0x1p-32), 0x1p-33)
	}
	r := Sqrt(MulScalar(Log(uniform(w0)), -2))
	θ := MulScalar(uniform(w1), 2*math.Pi)
	both := Concatenate([]*Node{Mul(r, Cos(θ)), Mul(r, Sin(θ))}, 1)
	return Slice(both, AxisRange(), AxisRange(0, length))
}

// onGrid rounds to the nearest multiple of a step that is a power of two.
func onGrid(x *Node, step float64) *Node { return MulScalar(Round(MulScalar(x, 1/step)), step) }
