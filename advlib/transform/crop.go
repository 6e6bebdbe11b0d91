package transform

import (
	"fmt"

	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
)

// Crop cuts a window out of the image at a random place, another for each image, and stretches it to the image's size,
// by the nearest pixel: the random crops of Guo et al. (2018), arXiv:1711.00117, section 3.1.
type Crop struct {
	// Height and Width are those of the window, at least 1 and at most the image's.
	Height, Width int
}

// String returns for example "random crop 24×24".
func (t Crop) String() string { return fmt.Sprintf("random crop %d×%d", t.Height, t.Width) }

// Check implements [Transform].
func (t Crop) Check(input []int) error {
	if err := checkImage(input); err != nil {
		return err
	}
	if t.Height < 1 || t.Width < 1 || t.Height > input[0] || t.Width > input[1] {
		return fmt.Errorf("a window of %d×%d does not fit into images of %d×%d", t.Height, t.Width, input[0], input[1])
	}
	return nil
}

// Graph implements [Transform].
func (t Crop) Graph(scope *model.Scope, x *Node, _ advlib.Box) *Node {
	h, w := sideOf(x)
	x = taken(x, 1, stretched(scope, x, h, t.Height))
	return taken(x, 2, stretched(scope, x, w, t.Width))
}

// stretched returns for each image the positions that n pixels take, of a window of some pixels at a random place:
// float32 [images, n].
func stretched(scope *model.Scope, x *Node, n, window int) *Node {
	start := whole(scope, x, n-window+1)
	at := Iota(x.Graph(), shapes.Make(x.DType(), x.Shape().Dimensions[0], n), 1)
	return Add(start, Floor(MulScalar(AddScalar(at, 0.5), float64(window)/float64(n))))
}

// Traits implements [Transform].
func (Crop) Traits() Traits { return Traits{Random: true} }
