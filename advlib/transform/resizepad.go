package transform

import (
	"fmt"

	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
)

// ResizePad shrinks the image to a random size, by the nearest pixel, and puts it at a random place on a background of
// the box's lowest value: Xie et al. (2018), arXiv:1711.01991. There the image grows from 299 to 310..330 pixels, on a
// background of 331, for a model of that size; here a model keeps its size, and the image becomes smaller.
type ResizePad struct {
	// Least is the least share of the height and the width that is left, in (0, 1].
	Least float64
}

// String returns for example "resized to 0.9..1 and padded".
func (t ResizePad) String() string { return fmt.Sprintf("resized to %.6g..1 and padded", t.Least) }

// Check implements [Transform].
func (t ResizePad) Check(input []int) error {
	if err := checkImage(input); err != nil {
		return err
	}
	if !(t.Least > 0 && t.Least <= 1) {
		return fmt.Errorf("Least = %g is not in (0, 1]: it is the least share of height and width that is left", t.Least)
	}
	return nil
}

// Graph implements [Transform]. Height and width shrink by the same share.
func (t ResizePad) Graph(scope *model.Scope, x *Node, box advlib.Box) *Node {
	h, w := sideOf(x)
	x = AddScalar(x, -box.Lo) // so that the background is 0
	u := scope.RandomUniform(x.Graph(), shapes.Make(x.DType(), x.Shape().Dimensions[0], 1))
	share := AddScalar(MulScalar(u, 1-t.Least), t.Least)
	x = taken(x, 1, t.positions(scope, x, share, h))
	x = taken(x, 2, t.positions(scope, x, share, w))
	return AddScalar(x, box.Lo)
}

// positions returns for each image the positions along a side of n pixels that its n pixels take, −1 of the background.
func (t ResizePad) positions(scope *model.Scope, x, share *Node, n int) *Node {
	size := MaxScalar(Round(MulScalar(share, float64(n))), 1) // [images, 1]
	u := scope.RandomUniform(x.Graph(), size.Shape())
	room := Sub(Scalar(x.Graph(), x.DType(), float64(n)), size)
	start := Min(Floor(Mul(u, AddScalar(room, 1))), room)
	at := Sub(Iota(x.Graph(), shapes.Make(x.DType(), x.Shape().Dimensions[0], n), 1), start)
	from := Floor(Div(MulScalar(AddScalar(at, 0.5), float64(n)), size))
	inside := LogicalAnd(GreaterOrEqual(at, ZerosLike(at)), LessThan(at, size))
	return Where(inside, from, AddScalar(ZerosLike(from), -1))
}

// Traits implements [Transform].
func (ResizePad) Traits() Traits { return Traits{Random: true} }
