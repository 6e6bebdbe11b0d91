package transform

import (
	"fmt"
	"math"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
)

// JPEG codes the image as a baseline JPEG file and decodes it again, as a defence first by Dziugaite, Ghahramani & Roy
// (2016), arXiv:1608.00853, and by Guo et al. (2018), arXiv:1711.00117. An image of three channels is RGB and coded as
// YCbCr; with any other number of channels, each is coded as a gray image.
//
// What a file loses, it loses in rounding: of colours, of halved chroma planes, and of the coefficients of the cosine
// transform of blocks of 8 × 8 pixels. That, with the tables, edges and interpolation of libjpeg, is computed here in
// the model's graph, for whole batches; the lossless part, which makes the file short, is left out, because it changes
// nothing. So it is what Pillow, which uses libjpeg, makes of the image, up to rounding, and has what a file has not: a
// stand-in for its gradient. Go's own image/jpeg writes no colours but 4:2:0.
type JPEG struct {
	// Quality is libjpeg's, 1 to 100.
	Quality int
	// Chroma says at which resolution colours are kept. It has no effect on images that are not RGB.
	Chroma Chroma
}

// Chroma is the chroma subsampling of a [JPEG].
type Chroma int

// The zero value is the usual one, and Pillow's.
const (
	// Chroma420 halves the colours' width and height.
	Chroma420 Chroma = iota
	// Chroma422 halves their width.
	Chroma422
	// Chroma444 leaves them as they are.
	Chroma444
)

// String returns for example "4:2:0".
func (c Chroma) String() string {
	switch c {
	case Chroma420:
		return "4:2:0"
	case Chroma422:
		return "4:2:2"
	case Chroma444:
		return "4:4:4"
	}
	return fmt.Sprintf("Chroma(%d)", int(c))
}

// String returns for example "JPEG 75, 4:2:0".
func (t JPEG) String() string { return fmt.Sprintf("JPEG %d, %v", t.Quality, t.Chroma) }

// Check implements [Transform].
func (t JPEG) Check(input []int) error {
	if t.Quality < 1 || t.Quality > 100 {
		return fmt.Errorf("Quality = %d is not in 1..100", t.Quality)
	}
	if t.Chroma < Chroma420 || t.Chroma > Chroma444 {
		return fmt.Errorf("Chroma = %d is none of Chroma420, Chroma422 and Chroma444", int(t.Chroma))
	}
	return checkImage(input)
}

// Traits implements [Transform].
func (JPEG) Traits() Traits { return Traits{Flat: true} }

// Graph implements [Transform].
func (t JPEG) Graph(_ *model.Scope, x *Node, box advlib.Box) *Node {
	return t.coded(x, box, rounding{
		whole: func(v *Node) *Node { return Floor(AddScalar(v, 0.5)) },
		// The coder rounds halves away from 0.
		level: func(v *Node) *Node { return Mul(Sign(v), Floor(AddScalar(Abs(v), 0.5))) },
		clip:  func(v *Node) *Node { return ClipScalar(v, 0, 255) },
	})
}

// Backward implements [Backward]: a fifth of the identity, which Athalye et al. (2018), arXiv:1802.00420,
// take alone, and four fifths of the file, with colours and pixels as they are, and coefficients rounded by what Shin &
// Song (2017) put in place of rounding, ⌊v⌉ + (v − ⌊v⌉)³. Its gradient is small for what would be rounded away. At
// quality 30, PGD left 42 of 100 digits at Linf 0.1, and 66 with the identity (TestStandIns).
func (t JPEG) Backward(_ *model.Scope, x *Node, box advlib.Box) *Node {
	same := func(v *Node) *Node { return v }
	file := t.coded(x, box, rounding{whole: same, clip: same, level: func(v *Node) *Node {
		to := StopGradient(Round(v))
		return Add(to, PowScalar(Sub(v, to), 3))
	}})
	return Add(MulScalar(x, 0.2), MulScalar(file, 0.8))
}

// rounding is where a file loses something.
type rounding struct {
	whole func(v *Node) *Node // of colours and pixels
	level func(v *Node) *Node // of coefficients
	clip  func(v *Node) *Node // of pixels to 0..255
}

// coded returns the decoded images.
func (t JPEG) coded(x *Node, box advlib.Box, r rounding) *Node {
	v := r.clip(r.whole(MulScalar(AddScalar(x, -box.Lo), 255/box.Width())))
	if x.Shape().Dimensions[3] != 3 {
		v = t.plane(v, luminance, r)
	} else {
		y, cb, cr := toYCC(v, r)
		y = t.plane(y, luminance, r)
		chroma := t.chroma(Concatenate([]*Node{cb, cr}, 3), r)
		cb, cr = channel(chroma, 0), channel(chroma, 1)
		v = toRGB(y, cb, cr, r)
	}
	return AddScalar(MulScalar(v, box.Width()/255), box.Lo)
}

func channel(x *Node, k int) *Node { return SliceAxis(x, 3, AxisRange(k, k+1)) }

// toYCC and toRGB are the conversions of JFIF 1.02, page 3, with libjpeg's weights, in units of 1/65536.
func toYCC(v *Node, r rounding) (y, cb, cr *Node) {
	mix := func(red, green, blue, plus float64) *Node {
		sum := Add(MulScalar(channel(v, 0), red), MulScalar(channel(v, 1), green))
		return r.whole(MulScalar(AddScalar(Add(sum, MulScalar(channel(v, 2), blue)), plus), 1./65536))
	}
	const middle = 128*65536 - 1 // a half is rounded down
	return mix(19595, 38470, 7471, 0), mix(-11059, -21709, 32768, middle), mix(32768, -27439, -5329, middle)
}

func toRGB(y, cb, cr *Node, r rounding) *Node {
	cb, cr = AddScalar(cb, -128), AddScalar(cr, -128)
	plus := func(colour *Node) *Node { return Add(y, r.whole(MulScalar(colour, 1./65536))) }
	green := Add(MulScalar(cb, -22554), MulScalar(cr, -46802))
	return r.clip(Concatenate([]*Node{plus(MulScalar(cr, 91881)), plus(green), plus(MulScalar(cb, 116130))}, 3))
}

// The quantisation tables of ITU-T T.81, annex K.1.
var luminance = [64]int{
	16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
	18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
}

var chrominance = [64]int{
	17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
	99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
}

// steps returns a table at the quality, as libjpeg scales it.
func (t JPEG) steps(table [64]int) []float64 {
	scale := 200 - 2*t.Quality
	if t.Quality < 50 {
		scale = 5000 / t.Quality
	}
	steps := make([]float64, 64)
	for k, v := range table {
		steps[k] = float64(min(max((v*scale+50)/100, 1), 255))
	}
	return steps
}

// cosines are those of libjpeg's accurate integer transform, 8192·√2·cos((2i + 1)kπ/16), by row k, and for k = 0 8192:
// whole numbers, some of which are one off the nearest, because of the order in which it adds.
var cosines = [][]float64{
	{8192, 8192, 8192, 8192, 8192, 8192, 8192, 8192},
	{11363, 9633, 6437, 2260, -2260, -6437, -9633, -11363},
	{10703, 4433, -4433, -10703, -10703, -4433, 4433, 10703},
	{9633, -2259, -11362, -6436, 6436, 11362, 2259, -9633},
	{8192, -8192, -8192, 8192, 8192, -8192, -8192, 8192},
	{6437, -11362, 2261, 9633, -9633, -2261, 11362, -6437},
	{4433, -10704, 10704, -4433, -4433, 10704, -10704, 4433},
	{2260, -6436, 9633, -11363, 11363, -9633, 6436, -2260},
}

// plane codes and decodes planes [n, h, w, c], each on its own: the cosine transform of ITU-T T.81, A.3.3, quantised.
//
// A coefficient that a coder rounds up and another down changes 64 pixels, at low quality by much. So the transform has
// the intermediate roundings of libjpeg's, along rows, then columns, and back, in float64, which holds its whole
// numbers.
func (t JPEG) plane(v *Node, table [64]int, r rounding) *Node {
	g, h, w := v.Graph(), v.Shape().Dimensions[1], v.Shape().Dimensions[2]
	n, c := v.Shape().Dimensions[0], v.Shape().Dimensions[3]
	rows, cols := (h+7)/8, (w+7)/8
	dtype := v.DType()
	v = ConvertDType(repeated(repeated(v, 1, rows*8), 2, cols*8), dtypes.Float64)
	blocks := TransposeAllAxes(Reshape(v, n, rows, 8, cols, 8, c), 0, 1, 3, 5, 2, 4)
	blocks = Reshape(AddScalar(blocks, -128), -1, 8, 8)
	m, steps := Const(g, cosines), Reshape(Const(g, t.steps(table)), 1, 8, 8)
	pass := func(equation string, v *Node, bits int) *Node {
		return r.whole(MulScalar(Einsum(equation, v, m), math.Pow(2, -float64(bits))))
	}
	along := pass("nij,lj->nil", blocks, 11)
	coefficients := pass("nil,ki->nkl", along, 15) // times 8
	levels := Mul(r.level(Div(coefficients, MulScalar(steps, 8))), steps)
	along = pass("nkl,ki->nil", levels, 11)
	blocks = r.clip(AddScalar(pass("nil,lj->nij", along, 18), 128))
	v = TransposeAllAxes(Reshape(blocks, n, rows, cols, c, 8, 8), 0, 1, 4, 2, 5, 3)
	v = ConvertDType(Reshape(v, n, rows*8, cols*8, c), dtype)
	return Slice(v, AxisRange(), AxisRange(0, h), AxisRange(0, w), AxisRange())
}

// chroma codes and decodes the colours' planes, at their resolution.
func (t JPEG) chroma(v *Node, r rounding) *Node {
	if t.Chroma == Chroma444 {
		return t.plane(v, chrominance, r)
	}
	h, w := sideOf(v)
	high := 1 // how many rows become one
	if t.Chroma == Chroma420 {
		high = 2
	}
	// The coder repeats the last column up to whole blocks before it halves, the last row after.
	v = repeated(repeated(v, 2, (w+15)/16*16), 1, (h+high-1)/high*high)
	n, rows, cols, c := v.Shape().Dimensions[0], v.Shape().Dimensions[1], v.Shape().Dimensions[2], v.Shape().Dimensions[3]
	v = ReduceSum(Reshape(v, n, rows/high, high, cols/2, 2, c), 2, 4)
	even := -0.5 // libjpeg rounds halves, and quarters, by turns
	if high == 2 {
		even = -0.25
	}
	v = r.whole(Add(DivScalar(v, float64(2*high)), byColumn(v, even, 0)))
	v = t.plane(v, chrominance, r)
	narrow := (w + 1) / 2
	v = SliceAxis(v, 2, AxisRange(0, narrow))
	// The decoder interpolates, but not the narrowest images.
	if narrow > 2 {
		even, odd := -0.25, 0.
		if high == 2 {
			v = interpolated(v, 1)
			even, odd = 0, -1./16
		}
		v = interpolated(v, 2)
		v = r.whole(Add(v, byColumn(v, even, odd)))
	} else {
		if high == 2 {
			v = interleaved(v, v, 1)
		}
		v = interleaved(v, v, 2)
	}
	return Slice(v, AxisRange(), AxisRange(0, h), AxisRange(0, w), AxisRange())
}

// byColumn returns one value for even columns and another for odd ones: [1, 1, w, 1].
func byColumn(v *Node, even, odd float64) *Node {
	values := make([]float64, v.Shape().Dimensions[2])
	for j := range values {
		values[j] = even
		if j%2 == 1 {
			values[j] = odd
		}
	}
	return Reshape(ConstAsDType(v.Graph(), v.DType(), values), 1, 1, len(values), 1)
}

// interpolated doubles an axis: each new pixel is 3/4 of the old one that it lies in, and 1/4 of the one next to it.
func interpolated(v *Node, axis int) *Node {
	n := v.Shape().Dimensions[axis]
	before := Concatenate([]*Node{SliceAxis(v, axis, AxisRange(0, 1)), SliceAxis(v, axis, AxisRange(0, n-1))}, axis)
	after := Concatenate([]*Node{SliceAxis(v, axis, AxisRange(1, n)), SliceAxis(v, axis, AxisRange(n-1, n))}, axis)
	near := MulScalar(v, 0.75)
	return interleaved(Add(near, MulScalar(before, 0.25)), Add(near, MulScalar(after, 0.25)), axis)
}

// interleaved returns the entries of two tensors along an axis by turns.
func interleaved(a, b *Node, axis int) *Node {
	dims := a.Shape().Clone().Dimensions
	dims[axis] *= 2
	return Reshape(Stack([]*Node{a, b}, axis+1), dims...)
}
