package craft

import (
	"context"
	"math"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// MaxRows is the most rows that are attacked at once, the largest [advlib.Bucket].
const MaxRows = 512

// Pieces returns the rows of a batch in the order of their content, at most [MaxRows] in each piece. What computes in
// this order gives a row the same bits wherever it stands in the batch.
func Pieces(b advlib.Batch) [][]int { return slices.Collect(slices.Chunk(b.Order(), MaxRows)) }

// Rows are some rows of a batch on the device, padded to a bucket: what is constant while an attack works on them.
type Rows struct {
	// Batch is where they come from, At their numbers in it.
	Batch advlib.Batch
	At    []int
	// Size is their number with the padding, Active the number of those that passes are counted for.
	Size, Active int
	// X0 are the originals, [Size, d...].
	X0 *tensors.Tensor

	label, target *tensors.Tensor // target is nil if untargeted
}

// NewRows puts the given rows of a batch on the device. Free releases them.
func NewRows(b advlib.Batch, at []int) *Rows {
	r := &Rows{Batch: b, At: at, Size: advlib.Bucket(len(at)), Active: len(at)}
	r.X0 = advlib.TakeRows(b.X, at, r.Size)
	r.label = Padded(r, b.Y)
	if b.Target != nil {
		r.target = Padded(r, b.Target)
	}
	return r
}

// Run runs a step of [Compile] on the rows: its inputs are what in holds.
func (r *Rows) Run(step *advlib.Step, in ...any) ([]*tensors.Tensor, error) {
	return step.Run(r.Active, r.inputs(in)...)
}

// Ask is Run for a step that asks the victim about a point of each row, of those for which asks says so: nil stands for
// all. So queries are counted for each example, and the victim's budget is kept: see [advlib.Step.Ask].
func (r *Rows) Ask(step *advlib.Step, asks func(row int) bool, in ...any) ([]*tensors.Tensor, error) {
	of := make([]int64, r.Size)
	for i := range of {
		of[i] = -1
		if i < len(r.At) && (asks == nil || asks(r.At[i])) {
			of[i] = r.Batch.Number(r.At[i])
		}
	}
	return step.Ask(of, r.inputs(in)...)
}

// inputs are all inputs of a step's graph: x₀, y and, with a target, t come first.
func (r *Rows) inputs(in []any) []any {
	all := make([]any, 0, 3+len(in))
	all = append(all, r.X0, r.label)
	if r.target != nil {
		all = append(all, r.target)
	}
	return append(all, in...)
}

// Originals returns a copy of the originals.
func (r *Rows) Originals() *tensors.Tensor { return advlib.TakeRows(r.Batch.X, r.At, r.Size) }

// Zeros returns zeros in the shape of the originals.
func (r *Rows) Zeros() *tensors.Tensor { return tensors.FromShape(r.X0.Shape()) }

// Fill returns the number v for each row, [Size].
func (r *Rows) Fill(v float64) *tensors.Tensor {
	return tensors.FromFlatDataAndDimensions(slices.Repeat([]float32{float32(v)}, r.Size), r.Size)
}

// Each calls f for each row, without the padding, with its part of x, which has the shape of the originals: to draw
// where a row starts, say. Writing to it changes x.
func (r *Rows) Each(x *tensors.Tensor, f func(i int, row []float32)) {
	size := x.Shape().Size() / r.Size
	tensors.MustMutableFlatData(x, func(flat []float32) {
		for i := range r.At {
			f(i, flat[i*size:(i+1)*size])
		}
	})
}

// Free releases the memory on the device.
func (r *Rows) Free() { advlib.Free(r.X0, r.label, r.target) }

// Padded returns the rows' values, of one for each row of their batch, as a tensor [Size]. The padding repeats the
// first.
func Padded[T int32 | float32 | bool](r *Rows, ofBatch []T) *tensors.Tensor {
	v := make([]T, r.Size)
	for i := range v {
		v[i] = ofBatch[r.At[0]]
		if i < len(r.At) {
			v[i] = ofBatch[r.At[i]]
		}
	}
	return tensors.FromFlatDataAndDimensions(v, r.Size)
}

// Best are the points that an attack returns, on the host: the originals at first. For each row of the batch it also
// holds the loss, −∞ at first, and whether the point is adversarial.
type Best struct {
	Loss   []float32
	Solved []bool
	// All keeps rows in play that are solved; see Standing.
	All bool

	flat []float32
	dims []int
}

// NewBest returns the originals of a batch.
func NewBest(b advlib.Batch) *Best {
	return &Best{
		Loss: slices.Repeat([]float32{float32(math.Inf(-1))}, b.Len()), Solved: make([]bool, b.Len()),
		flat: tensors.MustCopyFlatData[float32](b.X), dims: b.X.Shape().Dimensions,
	}
}

// Row returns the point of a row, flat; writing to it changes it.
func (b *Best) Row(row int) []float32 {
	size := len(b.flat) / b.dims[0]
	return b.flat[row*size : (row+1)*size]
}

// Put copies the leading rows of x to the given rows: those for which take is true, or all where it is nil.
func (b *Best) Put(rows []int, x *tensors.Tensor, take []bool) {
	size := len(b.flat) / b.dims[0]
	tensors.MustConstFlatData(x, func(flat []float32) {
		for i, row := range rows {
			if take == nil || take[i] {
				copy(b.Row(row), flat[i*size:(i+1)*size])
			}
		}
	})
}

// Of returns the points of some rows on the device, padded as they are.
func (b *Best) Of(r *Rows) *tensors.Tensor {
	flat := make([]float32, 0, r.Size*len(b.Row(0)))
	for i := range r.Size {
		row := r.At[0]
		if i < len(r.At) {
			row = r.At[i]
		}
		flat = append(flat, b.Row(row)...)
	}
	return tensors.FromFlatDataAndDimensions(flat, append([]int{r.Size}, b.dims[1:]...)...)
}

// Standing returns those of the rows that are not solved, or all of them if All is set.
func (b *Best) Standing(rows []int) []int {
	if b.All {
		return rows
	}
	var standing []int
	for _, row := range rows {
		if !b.Solved[row] {
			standing = append(standing, row)
		}
	}
	return standing
}

// Tensor returns the points in the shape of the batch.
func (b *Best) Tensor() *tensors.Tensor { return tensors.FromFlatDataAndDimensions(b.flat, b.dims...) }

// Runs lets run work on the rows of a batch, piece by piece, and again on those that still stand, once for each
// restart. What run finds it leaves in best, which Runs returns: when ctx is done, with its error; nothing with another
// error.
func Runs(ctx context.Context, b advlib.Batch, best *Best, restarts int, run func(at []int, restart int) error) (*tensors.Tensor, error) {
	for _, at := range Pieces(b) {
		for restart := range 1 + restarts {
			if at = best.Standing(at); len(at) == 0 {
				break
			}
			if err := run(at, restart); err != nil {
				if ctx.Err() == nil {
					return nil, err
				}
				return best.Tensor(), err
			}
		}
	}
	return best.Tensor(), nil
}
