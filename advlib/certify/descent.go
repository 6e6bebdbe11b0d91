package certify

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/certify/internal/search"
)

// descent is how counterexamples are looked for: by steps of x against the sign of the gradient of the violation, as
// PGD does (Madry et al. 2018, arXiv:1706.06083), from the centre, corners, and random points, in a box. Without a
// gradient, it is as many random points.
type descent struct {
	starts, steps int
	seed          uint64
}

// hunt is a descent on a problem of a deployed model.
type hunt struct {
	descent
	ctx  context.Context
	d    *deployed
	p    *search.Problem
	take func(x, y []float64) (enough bool)
}

// look gives unsafe inputs to take, with their outputs as computed apart from the descent, until that is enough. Of
// those that are found at once it gives the deepest.
func (a descent) look(ctx context.Context, d *deployed, p *search.Problem, take func(x, y []float64) (enough bool)) error {
	h := hunt{a, ctx, d, p, take}
	points := a.points(p)
	if enough, err := h.check(points); enough || err != nil || len(p.Rows) == 0 {
		return err
	}
	fixed := h.tensors(len(points))
	defer advlib.Free(fixed...)
	at := d.tensor(points, len(points))
	defer func() { advlib.Free(at) }()
	for t := range a.steps {
		if ctx.Err() != nil {
			break
		}
		out, err := d.run.run(descentKey{}, descend, len(points), h.inputs(at, fixed, t)...)
		if err != nil && t == 0 && ctx.Err() == nil { // the model was computed, so it is its gradient that cannot be
			return h.sample()
		}
		if err != nil {
			return fmt.Errorf("looking for a counterexample: %w", err)
		}
		worst := wideRows(out[1]) // of the inputs before the step
		var near [][]float64
		if slices.ContainsFunc(worst, func(v []float64) bool { return v[0] <= 0 }) {
			for i, x := range wideRows(at) {
				if worst[i][0] <= 0 {
					near = append(near, x)
				}
			}
		}
		advlib.Free(at, out[1])
		at = out[0]
		if t == a.steps-1 {
			near = append(near, wideRows(at)...)
		}
		if enough, err := h.check(near); enough || err != nil {
			return err
		}
	}
	return ctx.Err()
}

// tensors are the inputs of a step that stay: the box, the conditions, and for each of n points which of them count.
func (h hunt) tensors(n int) []*tensors.Tensor {
	d, p := h.d, h.p
	R, K := len(p.Rows), len(p.Rows[0])
	dims := append([]int{n}, d.input...)
	return []*tensors.Tensor{
		d.fill(dims, d.size, func(_, j int) float64 { return p.Cell.Lower[j] }),
		d.fill(dims, d.size, func(_, j int) float64 { return p.Cell.Upper[j] }),
		d.fill([]int{R, K}, K, func(r, k int) float64 { return p.Rows[r][k] }),
		d.fill([]int{1, R}, R, func(_, r int) float64 { return p.Limits[r] }),
		d.fill([]int{n, R}, R, func(i, r int) float64 {
			if slices.Contains(p.Unsafe[i%len(p.Unsafe)], r) {
				return 0
			}
			return -1e30
		}),
	}
}

// inputs are those of step t: its size goes from a quarter of the box down to a thousandth.
func (h hunt) inputs(at *tensors.Tensor, fixed []*tensors.Tensor, t int) []any {
	in := []any{at}
	for _, f := range fixed {
		in = append(in, f)
	}
	α := 0.25 * math.Pow(0.004, float64(t)/float64(h.steps))
	if h.d.dtype == dtypes.Float64 {
		return append(in, α)
	}
	return append(in, float32(α))
}

// check computes the model on those of the points that are allowed, and takes the deepest of the unsafe ones.
func (h hunt) check(points [][]float64) (enough bool, err error) {
	var allowed [][]float64
	for _, x := range points {
		if x, ok := h.p.Admits(x); ok {
			allowed = append(allowed, x)
		}
	}
	outputs, err := h.d.outputs(h.ctx, allowed)
	if err != nil {
		return false, err
	}
	best, deepest := -1, 0.
	for i, y := range outputs {
		if !h.p.IsUnsafe(y) {
			continue
		}
		if depth := h.p.Depth(y); best < 0 || depth > deepest {
			best, deepest = i, depth
		}
	}
	return best >= 0 && h.take(allowed[best], outputs[best]), nil
}

// sample checks as many points as a descent does, at random.
func (h hunt) sample() error {
	for t := range h.steps {
		h.seed += uint64(t + 1)
		if enough, err := h.check(h.points(h.p)); enough || err != nil {
			return err
		}
	}
	return nil
}

// descend is a step: inputs x [n, d...], the box [n, d...] twice, rows [R, K], limits [1, R], what is added to
// conditions that do not count [n, R], and the step size; results the new x, and for each the largest ⟨row, y⟩ − limit
// before the step, [n, 1].
func descend(f func(*Node) *Node, in []*Node) []*Node {
	x, lower, upper, rows, limits, ignored, α := in[0], in[1], in[2], in[3], in[4], in[5], in[6]
	h := Add(Sub(Dot(f(x), Transpose(rows, 0, 1)).Product(), limits), ignored)
	worst := ReduceMax(h, 1)
	g := advlib.LimitOf(advlib.Linf, Gradient(ReduceAllSum(worst), x)[0])
	x = Sub(x, Mul(Mul(Sub(upper, lower), α), Sign(g)))
	return []*Node{Min(Max(x, lower), upper), InsertAxes(worst, -1)}
}

// points are where the descent starts: what the problem begins with, the centre, the two extreme corners, then corners
// and points at random.
func (a descent) points(p *search.Problem) [][]float64 {
	c := p.Cell
	r := rand.New(rand.NewPCG(a.seed, 0x6365727469667900))
	points := [][]float64{c.Centre(), c.Lower, c.Upper}
	if p.First != nil {
		points = append([][]float64{p.First}, points...)
	}
	for i := len(points); i < a.starts; i++ {
		x := make([]float64, len(c.Lower))
		for j := range x {
			t := r.Float64()
			if i%2 == 1 {
				t = math.Round(t)
			}
			x[j] = min(max(c.Lower[j]+t*(c.Upper[j]-c.Lower[j]), c.Lower[j]), c.Upper[j])
		}
		points = append(points, x)
	}
	return points
}
