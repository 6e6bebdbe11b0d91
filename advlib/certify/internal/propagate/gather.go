package propagate

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

// lookup is Gather with indices that do not depend on x, within each example.
type lookup struct{ linear }

func (lookup) Check(_ *Walk, u *Unit) error {
	n := u.Node
	if err := onlyInput(u, 0); err != nil {
		return fmt.Errorf("where it reads depends on x: %w", err)
	}
	sizes := Integers(n, "sliceSizes")
	out := Integers(n, "offsetOutputAxes")
	if sizes[0] != n.Inputs()[0].Shape().Dimensions[0] || slices.Contains(Integers(n, "startIndexMap"), 0) ||
		slices.Contains(Integers(n, "collapsedSliceAxes"), 0) || len(out) == 0 || out[0] != 0 {
		return fmt.Errorf("it may read from other examples: the batch must be an axis that is taken whole, and stay in front")
	}
	if size := u.Node.Shape().Size() / Probe * (u.Only().Shape().Size() / Probe); size > 1<<24 {
		return fmt.Errorf("it picks %v from %v, more than can be bounded: slice instead", u.Node.Shape().Dimensions[1:],
			u.Only().Shape().Dimensions[1:])
	}
	return nil
}

func (lookup) Forward(_ *Pass, u *Unit, in []Interval) Interval { return Ends(u, in) }

func (lookup) Rounding(p *Pass, u *Unit, in []Interval, _ Interval) *Node {
	p.moved(u, in, 0)
	return nil
}

// Backward multiplies with the matrix of zeros and ones that the operation is on one example: GoMLX has no transpose of
// a general Gather.
func (lookup) Backward(w *Walk, u *Unit, Λ *Node, _ []*Node) (map[int]*Node, *Node) {
	z, g := u.Only(), Λ.Graph()
	rows := w.x.Shape().Dimensions[0]
	from, to := z.Shape().Size()/rows, u.Node.Shape().Size()/rows
	numbers := Iota(g, shapes.Make(Λ.DType(), 1, from), 1)
	numbers = Reshape(BroadcastToDims(numbers, rows, from), z.Shape().Dimensions...)
	at := Slice(Reshape(With(u.Node, map[int]*Node{0: numbers}), rows, to), AxisRange(0, 1))
	matrix := OneHot(Reshape(ConvertDType(at, dtypes.Int32), to), from, Λ.DType()) // [to, from]
	back := DotGeneral(Reshape(Λ, rows, to), []int{1}, nil, matrix, []int{0}, nil)
	return map[int]*Node{0: Reshape(back, z.Shape().Dimensions...)}, nil
}
