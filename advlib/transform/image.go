package transform

import (
	"fmt"
	"math"

	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
)

// # Windows of images
//
// Images are x [n, h, w, c]. A filter pads its image and looks at it shifted by each offset of its window: a list of
// nodes of the shape of x.

// checkImage refuses what is no image.
func checkImage(input []int) error {
	if len(input) != 3 {
		return fmt.Errorf("inputs of shape %v are no images: this transform takes [height, width, channels]; BitDepth, Noise and "+
			"Thermometer take inputs of any shape", input)
	}
	return nil
}

// checkReach refuses a window that reaches farther out of the image than the image is large.
func checkReach(reach int, input []int) error {
	if reach > input[0] || reach > input[1] {
		return fmt.Errorf("a window that reaches %d pixels is too large for images of %d × %d", reach, input[0], input[1])
	}
	return nil
}

// checkPositive refuses a field that is no finite number above 0.
func checkPositive(name string, v float64, hint string) error {
	if math.IsNaN(v) || math.IsInf(v, 0) || v <= 0 {
		return fmt.Errorf("%s = %g is not a finite number above 0: %s", name, v, hint)
	}
	return nil
}

// mirrored pads an image by some pixels before and after, along both axes, with its mirror image, the pixels of the
// edge repeated: d c b a | a b c d | d c b a.
func mirrored(x *Node, before, after int) *Node {
	for axis := 1; axis <= 2; axis++ {
		n := x.Shape().Dimensions[axis]
		parts := []*Node{x}
		if before > 0 {
			parts = append([]*Node{Reverse(SliceAxis(x, axis, AxisRange(0, before)), axis)}, parts...)
		}
		if after > 0 {
			parts = append(parts, Reverse(SliceAxis(x, axis, AxisRange(n-after, n)), axis))
		}
		if len(parts) > 1 {
			x = Concatenate(parts, axis)
		}
	}
	return x
}

// shifted returns the part of a padded image, of the given height and width, that begins at row i and column j.
func shifted(x *Node, i, j, h, w int) *Node {
	return Slice(x, AxisRange(), AxisRange(i, i+h), AxisRange(j, j+w), AxisRange())
}

// sideOf returns height and width.
func sideOf(x *Node) (h, w int) { return x.Shape().Dimensions[1], x.Shape().Dimensions[2] }

// taken returns the image with the pixels along an axis that positions [n, m] name, m the new size of the axis; where a
// position is outside of the image, pixels are 0.
func taken(x *Node, axis int, positions *Node) *Node {
	n, size, m := x.Shape().Dimensions[0], x.Shape().Dimensions[axis], positions.Shape().Dimensions[1]
	dims := []int{n, m, size}
	at := BroadcastToDims(InsertAxes(positions, -1), dims...)
	pick := ConvertDType(Equal(at, Iota(x.Graph(), shapes.Make(x.DType(), dims...), 2)), x.DType())
	if axis == 1 {
		return Einsum("nmi,niwc->nmwc", pick, x)
	}
	return Einsum("nmj,nhjc->nhmc", pick, x)
}

// whole draws a whole number from 0 to n−1 for each image: [images, 1].
func whole(scope *model.Scope, x *Node, n int) *Node {
	u := scope.RandomUniform(x.Graph(), shapes.Make(x.DType(), x.Shape().Dimensions[0], 1))
	return MinScalar(Floor(MulScalar(u, float64(n))), float64(n-1)) // u may round to 1
}

// ranked returns the k-th smallest of the values at each place, counted from 0. They go through Batcher's odd-even
// merge sorting network (1968), of minima and maxima, so that there is a gradient: that of the value that is chosen.
func ranked(values []*Node, k int) *Node {
	v := append([]*Node(nil), values...)
	n := len(v)
	for p := 1; p < n; p *= 2 {
		for q := p; q >= 1; q /= 2 {
			for j := q % p; j+q < n; j += 2 * q {
				for i := range min(q, n-j-q) {
					if a, b := i+j, i+j+q; a/(2*p) == b/(2*p) {
						v[a], v[b] = Min(v[a], v[b]), Max(v[a], v[b])
					}
				}
			}
		}
	}
	return v[k]
}

// neighbours returns the pixels around each one, from some rows and columns before it to some after it: [n, k, h, w,
// c], row by row, of an image that was padded by as much on each side.
func neighbours(wide *Node, before, after, h, w int) *Node {
	k := before + after + 1
	var rows, all []*Node
	for i := range k {
		rows = append(rows, InsertAxes(SliceAxis(wide, 1, AxisRange(i, i+h)), 1))
	}
	stack := Concatenate(rows, 1) // [n, k, h, w+k−1, c]
	for j := range k {
		all = append(all, InsertAxes(SliceAxis(stack, 3, AxisRange(j, j+w)), 2))
	}
	dims := stack.Shape().Dimensions
	return Reshape(Concatenate(all, 2), dims[0], k*k, h, w, dims[4])
}

// repeated pads an image at the end of an axis, to n pixels, with its last pixel.
func repeated(x *Node, axis, n int) *Node {
	dims := x.Shape().Clone().Dimensions
	last := dims[axis]
	if n == last {
		return x
	}
	dims[axis] = n - last
	return Concatenate([]*Node{x, BroadcastToDims(SliceAxis(x, axis, AxisRange(last-1, last)), dims...)}, axis)
}

// reflected pads an image by r pixels on each side with its mirror image, the pixels of the edge not repeated:
// d c b | a b c d.
func reflected(x *Node, r int) *Node {
	for axis := 1; axis <= 2; axis++ {
		n := x.Shape().Dimensions[axis]
		before := Reverse(SliceAxis(x, axis, AxisRange(1, r+1)), axis)
		after := Reverse(SliceAxis(x, axis, AxisRange(n-1-r, n-1)), axis)
		x = Concatenate([]*Node{before, x, after}, axis)
	}
	return x
}

// zeroPadded pads an image by r pixels on each side with 0.
func zeroPadded(x *Node, r int) *Node {
	around := PadAxis{Start: r, End: r}
	return Pad(x, ScalarZero(x.Graph(), x.DType()), PadAxis{}, around, around, PadAxis{})
}
