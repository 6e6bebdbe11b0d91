package certify

import (
	"context"
	"fmt"
	"math"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

const float32Type = dtypes.Float32

// Method is a way to bound a classifier's outputs, and an [advlib.Certifier]. The zero Method is [IBP].
type Method struct {
	linear     bool
	withoutBox bool
}

// The methods, from fast and loose to slow and tight. Bounds by CROWN-IBP are not tighter than those by IBP in each
// case: both hold, so the better one may be taken.
var (
	// IBP is interval bound propagation (Gowal et al. 2018, arXiv:1810.12715).
	IBP = Method{}
	// CROWNIBP is a backward pass of linear bounds over intermediate intervals by IBP (Zhang et al. 2020,
	// arXiv:1906.06316), with adaptive lower slopes.
	CROWNIBP = Method{linear: true}
)

var _ advlib.Certifier = Method{}

// WithoutBox returns the method for plain L1 and L2 balls, which may lie partly outside of the box of the inputs, as
// auto_LiRPA has it. It proves less: no attack can leave the box. Linf balls are always cut by the box.
func (m Method) WithoutBox() Method {
	m.withoutBox = true
	return m
}

// String returns for example "CROWN-IBP", or "IBP (without box)".
func (m Method) String() string {
	name := "IBP"
	if m.linear {
		name = "CROWN-IBP"
	}
	if m.withoutBox {
		name += " (without box)"
	}
	return name
}

// Certify tells for each example whether its label is proven for the whole ball around it: whether the lower bounds of
// all margins are above 0. Its arguments and the model's operations are checked before anything is computed.
func (m Method) Certify(ctx context.Context, c *advlib.Classifier, e *advlib.Examples, ball advlib.Ball) ([]bool, error) {
	margins, err := Margins(ctx, c, e, ball, m)
	if err != nil {
		return nil, err
	}
	certified := make([]bool, len(margins))
	for i, row := range margins {
		certified[i] = true
		for _, lower := range row {
			certified[i] = certified[i] && lower > 0 // false for NaN
		}
	}
	return certified, nil
}

// Margins returns for each example the K−1 lower bounds of logit_y − logit_j over the ball, j ≠ y in increasing order; y
// is the label. -Inf means that nothing could be shown.
func Margins(ctx context.Context, c *advlib.Classifier, e *advlib.Examples, ball advlib.Ball, m Method) ([][]float64, error) {
	numbers, err := check(c, e, ball)
	if err != nil {
		return nil, m.wrap("margins", err)
	}
	K := c.Classes()
	lower, err := m.bounds(ctx, c, e, c.Enclosing(ball), numbers, K-1, func(i, k int) []float32 { return marginRow(e.Y[i], k, K) })
	if err != nil {
		return nil, m.wrap("margins", err)
	}
	return lower, nil
}

// Bounds returns for each example bounds of its K logits over the ball: lower[i][k] ≤ f_k(x') ≤ upper[i][k] for all x' in
// the ball around example i. Infinite ones mean that nothing could be shown. Differences of these are looser than
// [Margins].
func Bounds(ctx context.Context, c *advlib.Classifier, e *advlib.Examples, ball advlib.Ball, m Method) (lower, upper [][]float64, err error) {
	numbers, err := check(c, e, ball)
	if err != nil {
		return nil, nil, m.wrap("bounds", err)
	}
	K := c.Classes()
	both, err := m.bounds(ctx, c, e, c.Enclosing(ball), numbers, 2*K, func(_, k int) []float32 { return signedRow(k, K) })
	if err != nil {
		return nil, nil, m.wrap("bounds", err)
	}
	lower, upper = make([][]float64, len(both)), make([][]float64, len(both))
	for i, row := range both {
		lower[i], upper[i] = row[:K:K], row[K:]
		for k, v := range upper[i] {
			upper[i][k] = -v // max f_k = −min(−f_k)
		}
	}
	return lower, upper, nil
}

func (m Method) wrap(what string, err error) error {
	return fmt.Errorf("certify: %v: %s: %w", m, what, err)
}

// marginRow is e_y − e_j for the k-th class j other than y.
func marginRow(y int32, k, classes int) []float32 {
	row := make([]float32, classes)
	if k >= int(y) {
		k++
	}
	row[y], row[k] = 1, -1
	return row
}

// signedRow is e_k for k below the number of classes, then −e_k.
func signedRow(k, classes int) []float32 {
	row := make([]float32, classes)
	if k < classes {
		row[k] = 1
	} else {
		row[k-classes] = -1
	}
	return row
}

// programKey is what a compiled bound depends on besides the shapes of its inputs.
type programKey struct {
	method Method
	norm   advlib.Norm
}

// check refuses what cannot be bounded, before anything is compiled. It returns how many numbers the perturbed nodes of
// the model hold for one example.
func check(c *advlib.Classifier, e *advlib.Examples, ball advlib.Ball) (numbers int, err error) {
	if c == nil {
		return 0, fmt.Errorf("the classifier is nil")
	}
	if err := ball.Check(); err != nil {
		return 0, err
	}
	if _, ok := ball.Norm.(advlib.ConvexNorm); !ok {
		return 0, fmt.Errorf("there are no bounds over %v balls: use L1, L2 or Linf", ball.Norm)
	}
	if err := e.Check(advlib.Spec{Name: c.Name(), Input: c.Input(), Box: c.Box(), Domain: c.Domain()}, c.Classes()); err != nil {
		return 0, err
	}
	ops, numbers, err := explain(c)
	if err != nil {
		return 0, err
	}
	return numbers, refuse(ops)
}

// bounds returns for each example i the lower bounds of ⟨row(i, k), f(x')⟩ for k < S over the ball.
func (m Method) bounds(ctx context.Context, c *advlib.Classifier, e *advlib.Examples, ball advlib.Ball, numbers, S int, row func(i, k int) []float32) ([][]float64, error) {
	lower := make([][]float64, e.Len())
	for i := range lower {
		lower[i] = make([]float64, 0, S)
	}
	step := advlib.NewTarget(c).Compile(programKey{m, ball.Norm}, func(_ *advlib.Model, in []*graph.Node) []*graph.Node {
		return []*graph.Node{m.lowerBound(c, ball.Norm, in[0], in[1], in[2])}
	})
	radius := roundUp(ball.Radius)
	for first := 0; first < e.Len(); {
		size, perCall := chunk(e.Len()-first, S, numbers)
		rows := make([]int, min(size, e.Len()-first))
		for i := range rows {
			rows[i] = first + i
		}
		x := advlib.TakeRows(e.X, rows, size)
		for k := 0; k < S; k += perCall {
			if err := ctx.Err(); err != nil {
				advlib.Free(x)
				return nil, err
			}
			C := specification(rows, size, perCall, c.Classes(), func(i, s int) []float32 { return row(i, min(k+s, S-1)) })
			out, err := step.Run(len(rows), x, radius, C)
			if err != nil {
				return nil, fmt.Errorf("bounding %d rows of %d outputs: %w", size, perCall, err)
			}
			flat := tensors.MustCopyFlatData[float32](out[0])
			for r, i := range rows {
				for _, v := range flat[r*perCall : r*perCall+min(perCall, S-k)] {
					if v != v {
						v = float32(math.Inf(-1))
					}
					lower[i] = append(lower[i], float64(v))
				}
			}
			advlib.Free(C, out[0])
		}
		advlib.Free(x)
		first += len(rows)
	}
	return lower, nil
}

// lowerBound is the compiled graph: inputs x [n, d...], the radius, and the specification C [n, S, K]; result [n·S].
func (m Method) lowerBound(c *advlib.Classifier, norm advlib.Norm, x, radius, C *graph.Node) *graph.Node {
	n, S, K := C.Shape().Dimensions[0], C.Shape().Dimensions[1], C.Shape().Dimensions[2]
	p := newPair(c, x, S)
	for i := range p.once.nodes { // again, for a model that is another for other batch sizes
		if err := p.check(i); err != nil {
			panic(fmt.Errorf("%v: %w", p.once.nodes[i].Type(), err))
		}
	}
	withoutBox := m.withoutBox && dualNorm(norm) != nil
	r := newRegion(norm, x, radius, c.Box(), withoutBox)
	if !withoutBox {
		r = r.within(c)
	}
	return p.lowerBound(r, graph.Reshape(C, n*S, K), m.linear)
}

// specification returns the rows of size examples, perCall for each, as a tensor [size, perCall, K]; the padding
// repeats the first example.
func specification(rows []int, size, perCall, classes int, row func(i, s int) []float32) *tensors.Tensor {
	flat := make([]float32, 0, size*perCall*classes)
	for r := range size {
		i := rows[0]
		if r < len(rows) {
			i = rows[r]
		}
		for s := range perCall {
			flat = append(flat, row(i, s)...)
		}
	}
	return tensors.FromFlatDataAndDimensions(flat, size, perCall, classes)
}

// memory is what the tensors of one call may take, in bytes. It is estimated: as if every node of the repeated model
// were alive at once, in float32.
var memory = 1 << 30

// chunk returns how many examples, padded, and how many rows of the specification of each are bounded in one call.
func chunk(examples, specs, numbers int) (size, perCall int) {
	fits := func(size, perCall int) bool { return 4*numbers*size*perCall <= memory }
	size, perCall = advlib.Bucket(examples), max(2, specs)
	for size > 8 && !fits(size, perCall) {
		size /= 4 // the next smaller bucket
	}
	for perCall > 2 && !fits(size, perCall) {
		perCall = max(2, (perCall+1)/2)
	}
	if !fits(size, perCall) {
		size = 1
	}
	return size, perCall
}

// roundUp returns a float32 that is not below the radius.
func roundUp(radius float64) float32 {
	r := float32(radius)
	if float64(r) < radius {
		r = math.Nextafter32(r, float32(math.Inf(1)))
	}
	return r
}
