package certify

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

// lookup is Gather with indices that do not depend on x, within each example.
type lookup struct{ linear }

func (lookup) check(_ *walk, u *unit) error {
	n := u.n
	if err := onlyInput(u, 0); err != nil {
		return fmt.Errorf("where it reads depends on x: %w", err)
	}
	sizes := integers(n, "sliceSizes")
	out := integers(n, "offsetOutputAxes")
	if sizes[0] != n.Inputs()[0].Shape().Dimensions[0] || slices.Contains(integers(n, "startIndexMap"), 0) || slices.Contains(integers(n, "collapsedSliceAxes"), 0) || len(out) == 0 || out[0] != 0 {
		return fmt.Errorf("it may read from other examples: the batch must be an axis that is taken whole, and stay in front")
	}
	if size := u.n.Shape().Size() / probe * (u.the().Shape().Size() / probe); size > 1<<24 {
		return fmt.Errorf("it picks %v from %v, more than can be bounded: slice instead", u.n.Shape().Dimensions[1:], u.the().Shape().Dimensions[1:])
	}
	return nil
}

func (lookup) forward(_ *pass, u *unit, in []interval) interval { return ends(u, in) }

func (lookup) rounding(p *pass, u *unit, in []interval, _ interval) *Node {
	p.moved(u, in, 0)
	return nil
}

// backward multiplies with the matrix of zeros and ones that the operation is on one example: GoMLX has no transpose of a
// general Gather.
func (lookup) backward(w *walk, u *unit, Λ *Node, _ []*Node) (map[int]*Node, *Node) {
	z, g := u.the(), Λ.Graph()
	rows := w.x.Shape().Dimensions[0]
	from, to := z.Shape().Size()/rows, u.n.Shape().Size()/rows
	numbers := Iota(g, shapes.Make(Λ.DType(), 1, from), 1)
	numbers = Reshape(BroadcastToDims(numbers, rows, from), z.Shape().Dimensions...)
	at := Slice(Reshape(with(u.n, map[int]*Node{0: numbers}), rows, to), AxisRange(0, 1))
	matrix := OneHot(Reshape(ConvertDType(at, dtypes.Int32), to), from, Λ.DType()) // [to, from]
	back := DotGeneral(Reshape(Λ, rows, to), []int{1}, nil, matrix, []int{0}, nil)
	return map[int]*Node{0: Reshape(back, z.Shape().Dimensions...)}, nil
}
