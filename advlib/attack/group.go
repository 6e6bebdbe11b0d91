package attack

import (
	"slices"

	. "advlab/advlib/internal/equation"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// maxRows is the most rows that are attacked at once, the largest advlib.Bucket.
const maxRows = 512

// pieces returns the rows of a batch in the order of their content, at most maxRows in each piece.
func pieces(b advlib.Batch) [][]int { return slices.Collect(slices.Chunk(b.Order(), maxRows)) }

// group is some rows of a batch, padded to a bucket: what is constant while an attack works on them.
type group struct {
	rows []int // of the batch
	size int   // of the bucket
	x    *tensors.Tensor
	y    *tensors.Tensor
	t    *tensors.Tensor // nil if untargeted
}

func newGroup(b advlib.Batch, rows []int) *group {
	g := &group{rows: rows, size: advlib.Bucket(len(rows))}
	g.x = advlib.TakeRows(b.X, rows, g.size)
	g.y = padded(b.Y, rows, g.size)
	if b.Target != nil {
		g.t = padded(b.Target, rows, g.size)
	}
	return g
}

// inputs are the first inputs of every step: x₀, y and, with a target, t.
func (g *group) inputs() []any {
	if g.t == nil {
		return []any{g.x, g.y}
	}
	return []any{g.x, g.y, g.t}
}

func (g *group) free() { advlib.Free(g.x, g.y, g.t) }

// wish is how the goal of a batch shapes a graph.
type wish struct{ targeted, anyClass bool }

func wishOf(b advlib.Batch) wish {
	return wish{targeted: b.Target != nil, anyClass: b.Target != nil && b.AnyClass}
}

// read takes what group.inputs gave from the inputs of a graph: x₀, the aim, and the other inputs.
func (w wish) read(in []*Node) (x0 *Node, aim advlib.Aim, rest []*Node) {
	aim = advlib.Aim{Label: in[1], AnyClass: w.anyClass}
	if w.targeted {
		aim.Target = in[2]
		return in[0], aim, in[3:]
	}
	return in[0], aim, in[2:]
}

// rounding bounds the difference, relative to the largest logit, between logits of an example that are computed in batches
// of different sizes: 4e-7 was the most seen on a small network.
const rounding = 4e-6

// clearance returns by how much the logits z [n, K] reach the goal beyond rounding: positive where they do, [n].
func clearance(z *Node, aim advlib.Aim) *Node {
	return Sub(beyond(z, aim), MulScalar(ReduceMax(Abs(z), -1), rounding))
}

// beyond returns by how much the logits z [n, K] reach the goal, whatever the direction: [n].
func beyond(z *Node, aim advlib.Aim) *Node {
	if aim.AnyClass {
		aim = advlib.Aim{Label: aim.Label} // any class but the label is a success
	}
	return advlib.Margin.Of(z, aim)
}

// finite replaces what has overflowed in the product of a gradient with something large, such as C&W's constant, by 0. Gradients
// themselves are finite: see [advlib.Model.Gradient].
func finite(g *Node) *Node { return Where(IsFinite(g), g, ZerosLike(g)) }

// perRow returns s [n] broadcast to the shape of like [n, d...].
func perRow(s, like *Node) *Node {
	dims := like.Shape().Dimensions
	ones := make([]int, len(dims))
	for i := range ones {
		ones[i] = 1
	}
	ones[0] = dims[0]
	return BroadcastToDims(Reshape(s, ones...), dims...)
}

// sumRows returns the sum over each row of x [n, d...], [n].
func sumRows(x *Node) *Node { return ReduceSum(Reshape(x, x.Shape().Dimensions[0], -1), 1) }

// squared returns x²; the package's Square is the attack.
func squared(x *Node) *Node { return Mul(x, x) }

// padded returns the given elements of v as a tensor of the given size; behind them the first is repeated.
func padded[T int32 | float32 | bool](v []T, rows []int, size int) *tensors.Tensor {
	p := make([]T, size)
	for i := range p {
		p[i] = v[rows[0]]
		if i < len(rows) {
			p[i] = v[rows[i]]
		}
	}
	return tensors.FromFlatDataAndDimensions(p, size)
}

// candidates are the points that an attack will return, on the host: the originals at first.
type candidates struct {
	flat []float32
	dims []int
}

func newCandidates(b advlib.Batch) *candidates {
	return &candidates{flat: tensors.MustCopyFlatData[float32](b.X), dims: b.X.Shape().Dimensions}
}

// put copies the leading rows of x to the given rows, those for which take is true; nil takes all.
func (c *candidates) put(rows []int, x *tensors.Tensor, take []bool) {
	size := len(c.flat) / c.dims[0]
	tensors.MustConstFlatData(x, func(flat []float32) {
		for i, r := range rows {
			if take == nil || take[i] {
				copy(c.flat[r*size:(r+1)*size], flat[i*size:(i+1)*size])
			}
		}
	})
}

// row returns the candidate of a row.
func (c *candidates) row(r int) []float32 {
	size := len(c.flat) / c.dims[0]
	return c.flat[r*size : (r+1)*size]
}

// take returns the candidates of the given rows as a tensor, padded to the given size.
func (c *candidates) take(rows []int, size int) *tensors.Tensor {
	flat := make([]float32, 0, size*len(c.row(0)))
	for i := range size {
		r := rows[0]
		if i < len(rows) {
			r = rows[i]
		}
		flat = append(flat, c.row(r)...)
	}
	return tensors.FromFlatDataAndDimensions(flat, append([]int{size}, c.dims[1:]...)...)
}

func (c *candidates) tensor() *tensors.Tensor {
	return tensors.FromFlatDataAndDimensions(c.flat, c.dims...)
}
