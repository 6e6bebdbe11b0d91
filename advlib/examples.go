package advlib

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib/internal/option"
)

// Examples are labelled inputs in memory: what a classifier is trained on, attacked on, certified on. Treat them as
// read-only; First, Slice and Select return new ones.
type Examples struct {
	// Name says where they come from, as in "digits/test".
	Name string
	// X are the inputs, float32 [n, d...].
	X *tensors.Tensor
	// Y are the labels, n classes in 0..K-1.
	Y []int32
	// Index is each example's number in its dataset, for messages and reports. Nil means 0, 1, 2, …
	Index []int64
	// Classes are the names of the classes; nil if they have none.
	Classes []string
	// Notes are sentences on how they were read, where there was something to decide; reports have them.
	Notes []string
}

// NewExamples builds examples from flat float32 data: n rows of shape dims each, and n labels.
func NewExamples(name string, x []float32, dims []int, y []int32) (*Examples, error) {
	row := 1
	for _, d := range dims {
		if d <= 0 {
			return nil, fmt.Errorf("advlib: examples %q: the shape %v of a row has a dimension below 1", name, dims)
		}
		row *= d
	}
	if len(y) == 0 {
		return nil, fmt.Errorf("advlib: examples %q: there are none", name)
	}
	if len(x) != len(y)*row {
		return nil, fmt.Errorf("advlib: examples %q: %d values are not %d labels × rows of shape %v (%d values each)", name, len(x),
			len(y), dims, row)
	}
	return &Examples{Name: name, X: tensors.FromFlatDataAndDimensions(x, append([]int{len(y)}, dims...)...), Y: y}, nil
}

// String describes the examples in a line.
func (e *Examples) String() string {
	perClass := map[int32]int{}
	for _, y := range e.Y {
		perClass[y]++
	}
	return fmt.Sprintf("%s: %d examples of shape %v, %d classes", e.Name, e.Len(), e.Shape(), len(perClass))
}

// Len returns the number of examples.
func (e *Examples) Len() int { return len(e.Y) }

// Shape returns the shape of one input, without the batch axis.
func (e *Examples) Shape() []int { return e.X.Shape().Dimensions[1:] }

// First returns the first n examples, or all if there are fewer.
func (e *Examples) First(n int) *Examples { return e.Slice(0, min(max(n, 0), e.Len())) }

// Slice returns the examples lo..hi-1. It panics, as slicing does, when the bounds are out of range.
func (e *Examples) Slice(lo, hi int) *Examples {
	rows := make([]int, 0, max(hi-lo, 0))
	_ = e.Y[lo:hi]
	for i := lo; i < hi; i++ {
		rows = append(rows, i)
	}
	return e.Select(rows)
}

// Select returns the examples of the given rows, in that order. They keep their numbers.
func (e *Examples) Select(rows []int) *Examples {
	s := &Examples{Name: e.Name, Classes: e.Classes, Notes: e.Notes, X: selectRows(e.X, rows), Y: make([]int32, len(rows)),
		Index: make([]int64, len(rows))}
	for i, r := range rows {
		s.Y[i], s.Index[i] = e.Y[r], e.Number(r)
	}
	return s
}

// Number returns an example's number in its dataset.
func (e *Examples) Number(row int) int64 {
	if e.Index == nil {
		return int64(row)
	}
	return e.Index[row]
}

// Hash returns a sha256 over shape, inputs, labels and numbers, in hexadecimal: equal examples have equal hashes.
func (e *Examples) Hash() string {
	h := sha256.New()
	write := func(v any) { _ = binary.Write(h, binary.LittleEndian, v) } // a hash does not fail
	for _, d := range e.X.Shape().Dimensions {
		write(int64(d))
	}
	tensors.MustConstFlatData(e.X, func(flat []float32) {
		for piece := range slices.Chunk(flat, 1<<14) { // binary.Write takes as much memory again
			write(piece)
		}
	})
	write(e.Y)
	for i := range e.Y {
		write(e.Number(i))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Key returns what the random streams of an example are keyed by: a hash of its input's float32 values, the same on
// every platform. It does not depend on the example's label, its place or its number, so the order of a file does not
// matter, and equal inputs draw equal random numbers.
func (e *Examples) Key(row int) uint64 { return contentKeys(e.X, row, row+1)[0] }

// contentKeys returns the first 64 bits of the sha256 of each of the rows lo..hi-1 of x [n, d...].
func contentKeys(x *tensors.Tensor, lo, hi int) []uint64 {
	keys := make([]uint64, 0, hi-lo)
	size := x.Shape().Size() / max(x.Shape().Dimensions[0], 1)
	text := make([]byte, 0, 4*size)
	tensors.MustConstFlatData(x, func(flat []float32) {
		for i := lo; i < hi; i++ {
			text = text[:0]
			for _, v := range flat[i*size : (i+1)*size] {
				text = binary.LittleEndian.AppendUint32(text, math.Float32bits(v))
			}
			sum := sha256.Sum256(text)
			keys = append(keys, binary.LittleEndian.Uint64(sum[:]))
		}
	})
	return keys
}

// batch returns all examples as one batch.
func (e *Examples) batch(seed uint64) Batch {
	b := Batch{X: e.X, Y: e.Y, Index: make([]int64, e.Len()), Key: contentKeys(e.X, 0, e.Len()), Seed: seed}
	for i := range b.Index {
		b.Index[i] = e.Number(i)
	}
	return b
}

// Check returns an error when a classifier of that name, input shape, box, domain and number of classes cannot be
// trained or measured on the examples: there are none, shapes or lengths do not match, a label is out of range, an
// input is NaN or outside of the box or the domain.
func (e *Examples) Check(spec Spec, classes int) error {
	if e == nil || e.X == nil || len(e.Y) == 0 {
		return fmt.Errorf("there are no examples: give at least one")
	}
	shape := e.X.Shape()
	if shape.DType != dtypes.Float32 {
		return fmt.Errorf("the inputs are %v: convert them to float32", shape.DType)
	}
	want := shapes.Make(dtypes.Float32, append([]int{len(e.Y)}, spec.Input...)...)
	if !shape.Equal(want) {
		if shape.Rank() > 0 && shape.Dimensions[0] != len(e.Y) {
			return fmt.Errorf("%d labels do not match inputs of shape %v: there must be one label for each row", len(e.Y), shape.Dimensions)
		}
		return fmt.Errorf("the inputs have shape %v, the classifier %s takes %v (first axis: examples)", shape.Dimensions, spec.Name,
			append([]int{len(e.Y)}, spec.Input...))
	}
	if e.Index != nil && len(e.Index) != len(e.Y) {
		return fmt.Errorf("%d numbers in Index do not match %d labels", len(e.Index), len(e.Y))
	}
	for i, y := range e.Y {
		if y < 0 || int(y) >= classes {
			return fmt.Errorf("the label %d of example %d is not in 0..%d: the classifier %s has %d classes%s", y, i, classes-1,
				spec.Name, classes, countedFromOne(e.Y, classes))
		}
	}
	if spec.Domain != nil {
		return checkDomain(e.X, spec)
	}
	return checkInside(e.X, spec.Box.rounded())
}

// checkDomain refuses NaN and values that the domain does not admit, naming the first feature.
func checkDomain(x *tensors.Tensor, spec Spec) error {
	l, err := spec.Domain.layout(spec.Box.rounded(), spec.Input)
	if err != nil {
		return err
	}
	tensors.MustConstFlatData(x, func(flat []float32) {
		row := len(flat) / x.Shape().Dimensions[0]
		for i := 0; i < len(flat) && err == nil; i += row {
			for j, v := range flat[i : i+row] {
				if v != v {
					err = fmt.Errorf("the input of example %d is NaN at position %d, %s", i/row, j, strings.TrimSuffix(l.name(l.feature(j)), ","))
					return
				}
			}
			if err = l.check(flat[i : i+row]); err != nil {
				err = fmt.Errorf("the input of example %d is not in the domain: %w", i/row, err)
			}
		}
	})
	return err
}

// extremes returns the smallest and the largest value of each coordinate of x [n, d...].
func extremes(x *tensors.Tensor) (lo, hi []float64, err error) {
	tensors.MustConstFlatData(x, func(flat []float32) {
		row := len(flat) / x.Shape().Dimensions[0]
		for i, v := range flat {
			switch j := i % row; {
			case v != v || math.IsInf(float64(v), 0):
				err = fmt.Errorf("the input of example %d is %g at position %d", i/row, v, j)
				return
			case i < row:
				lo, hi = append(lo, float64(v)), append(hi, float64(v))
			default:
				lo[j], hi[j] = min(lo[j], float64(v)), max(hi[j], float64(v))
			}
		}
	})
	return lo, hi, err
}

// checkInside refuses NaN and values outside of the box, naming the first and the range seen.
func checkInside(x *tensors.Tensor, box Box) error {
	var err error
	tensors.MustConstFlatData(x, func(flat []float32) {
		row := len(flat) / x.Shape().Dimensions[0]
		lo, hi := math.Inf(1), math.Inf(-1)
		bad := -1
		for i, v := range flat {
			if v != v {
				err = fmt.Errorf("the input of example %d is NaN at position %d", i/row, i%row)
				return
			}
			lo, hi = min(lo, float64(v)), max(hi, float64(v))
			if bad < 0 && !box.Contains(v) {
				bad = i
			}
		}
		if bad >= 0 {
			err = fmt.Errorf("the input of example %d is %g at position %d, outside of the box %v (values range from %g to %g): %v",
				bad/row, flat[bad], bad%row, box, lo, hi, option.Name("scale the data to the box, or give the classifier the box of its data"))
		}
	})
	return err
}

// selectRows returns the given rows of x [n, d...] as a new tensor.
func selectRows(x *tensors.Tensor, rows []int) *tensors.Tensor {
	if len(rows) > 0 {
		return TakeRows(x, rows, len(rows))
	}
	return tensors.FromFlatDataAndDimensions([]float32{}, append([]int{0}, x.Shape().Dimensions[1:]...)...)
}

// flatRows returns the values of the given rows of x [n, d...].
func flatRows(x *tensors.Tensor, rows []int) []float32 {
	size := x.Shape().Size() / x.Shape().Dimensions[0]
	out := make([]float32, 0, len(rows)*size)
	tensors.MustConstFlatData(x, func(flat []float32) {
		for _, r := range rows {
			out = append(out, flat[r*size:(r+1)*size]...)
		}
	})
	return out
}

func shapeOf(dtype dtypes.DType, dims ...int) shapes.Shape { return shapes.Make(dtype, dims...) }
