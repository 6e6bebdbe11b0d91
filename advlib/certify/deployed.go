package certify

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
)

// deployed is the model as it is used, in its own precision: counterexamples are looked for and replayed on it.
type deployed struct {
	input []int
	size  int
	dtype dtypes.DType
	run   runner
}

// runner compiles a graph with the model in it, once for each key and shapes, and runs it.
type runner interface {
	run(key any, build func(f func(x *Node) *Node, in []*Node) []*Node, rows int, in ...any) ([]*tensors.Tensor, error)
}

// onTarget runs a classifier, and counts.
type onTarget struct{ target *advlib.Counted }

func (r onTarget) run(key any, build func(func(*Node) *Node, []*Node) []*Node, rows int, in ...any) ([]*tensors.Tensor, error) {
	step := r.target.Compile(key, func(m *advlib.Model, in []*Node) []*Node {
		return build(func(x *Node) *Node { return m.Logits(x) }, in)
	})
	return step.Run(rows, in...)
}

// onSource runs a model that need not be a classifier.
type onSource struct {
	graph    advlib.LogitsFn
	store    *model.Store
	backend  compute.Backend
	mu       *sync.Mutex
	programs map[any]*model.Exec
}

func (r onSource) run(key any, build func(func(*Node) *Node, []*Node) []*Node, _ int, in ...any) (out []*tensors.Tensor, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.programs[key]
	if e == nil {
		e, err = model.NewExec(r.backend, r.store, func(_ *model.Scope, in []*Node) []*Node {
			return build(func(x *Node) *Node { return r.graph(r.store.RootScope(), x) }, in)
		})
		if err != nil {
			return nil, err
		}
		e.WithName(fmt.Sprintf("%T", key)).SetMaxCache(-1)
		r.programs[key] = e
	}
	return e.Exec(in...)
}

// keys of compiled graphs.
type (
	outputsKey struct{}
	descentKey struct{}
)

// outputs computes the model on inputs, flat, at most as many at a time as fit a padded batch.
func (d *deployed) outputs(ctx context.Context, x [][]float64) (y [][]float64, err error) {
	const most = 512
	for first := 0; first < len(x); first += most {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		part := x[first:min(first+most, len(x))]
		in := d.tensor(part, advlib.Bucket(len(part)))
		out, err := d.run.run(outputsKey{}, func(f func(*Node) *Node, in []*Node) []*Node { return []*Node{f(in[0])} }, len(part), in)
		advlib.Free(in)
		if err != nil {
			return nil, fmt.Errorf("computing the model on %d inputs: %w", len(part), err)
		}
		y = append(y, wideRows(out[0])[:len(part)]...)
		advlib.Free(out...)
	}
	return y, nil
}

// tensor stacks inputs; behind them the first is repeated up to size.
func (d *deployed) tensor(rows [][]float64, size int) *tensors.Tensor {
	dims := append([]int{size}, d.input...)
	at := func(i, j int) float64 {
		if i >= len(rows) {
			i = 0
		}
		return rows[i][j]
	}
	return d.fill(dims, d.size, at)
}

// fill makes a tensor in the model's type, of rows of the given length.
func (d *deployed) fill(dims []int, per int, at func(i, j int) float64) *tensors.Tensor {
	n := dims[0]
	if d.dtype == dtypes.Float64 {
		flat := make([]float64, n*per)
		for i := range flat {
			flat[i] = at(i/per, i%per)
		}
		return tensors.FromFlatDataAndDimensions(flat, dims...)
	}
	flat := make([]float32, n*per)
	for i := range flat {
		flat[i] = float32(at(i/per, i%per))
	}
	return tensors.FromFlatDataAndDimensions(flat, dims...)
}

// wideRows returns a tensor [n, d...] as n rows, in float64.
func wideRows(t *tensors.Tensor) [][]float64 {
	n := t.Shape().Dimensions[0]
	var flat []float64
	if t.DType() == dtypes.Float64 {
		flat = tensors.MustCopyFlatData[float64](t)
	} else {
		for _, v := range tensors.MustCopyFlatData[float32](t) {
			flat = append(flat, float64(v))
		}
	}
	rows := make([][]float64, n)
	per := len(flat) / n
	for i := range rows {
		rows[i] = flat[i*per : (i+1)*per : (i+1)*per]
	}
	return rows
}

// descent is how counterexamples are looked for: by steps of x against the sign of the gradient of the violation, as PGD
// does (Madry et al. 2018, arXiv:1706.06083), from the centre, corners, and random points, in a box. Without a gradient, it is as many
// random points.
type descent struct {
	starts, steps int
	seed          uint64
}

// look gives unsafe inputs to take, with their outputs as computed apart from the descent, until that is enough. Of those that are found
// at once it gives the deepest.
func (a descent) look(ctx context.Context, d *deployed, p *problem, take func(x, y []float64) (enough bool)) error {
	check := func(points [][]float64) (bool, error) {
		var allowed [][]float64
		for _, x := range points {
			if x, ok := p.admits(x); ok {
				allowed = append(allowed, x)
			}
		}
		outputs, err := d.outputs(ctx, allowed)
		if err != nil {
			return false, err
		}
		best, deepest := -1, 0.
		for i, y := range outputs {
			if !p.is(y) {
				continue
			}
			if depth := p.depth(y); best < 0 || depth > deepest {
				best, deepest = i, depth
			}
		}
		return best >= 0 && take(allowed[best], outputs[best]), nil
	}
	points := a.points(p)
	if enough, err := check(points); enough || err != nil || len(p.rows) == 0 {
		return err
	}
	n, K := len(points), len(p.rows[0])
	R := len(p.rows)
	of := func(i int) []int { return p.unsafe[i%len(p.unsafe)] }
	dims := append([]int{n}, d.input...)
	lower := d.fill(dims, d.size, func(_, j int) float64 { return p.cell.lower[j] })
	upper := d.fill(dims, d.size, func(_, j int) float64 { return p.cell.upper[j] })
	rows := d.fill([]int{R, K}, K, func(r, k int) float64 { return p.rows[r][k] })
	limits := d.fill([]int{1, R}, R, func(_, r int) float64 { return p.limits[r] })
	ignored := d.fill([]int{n, R}, R, func(i, r int) float64 {
		if slices.Contains(of(i), r) {
			return 0
		}
		return -1e30
	})
	defer advlib.Free(lower, upper, rows, limits, ignored)
	at := d.tensor(points, n)
	for t := range a.steps {
		if err := ctx.Err(); err != nil {
			break
		}
		// From a quarter of the box down to a thousandth.
		α := 0.25 * math.Pow(0.004, float64(t)/float64(a.steps))
		var size any = float32(α)
		if d.dtype == dtypes.Float64 {
			size = α
		}
		out, err := d.run.run(descentKey{}, descend, n, at, lower, upper, rows, limits, ignored, size)
		if err != nil && t == 0 && ctx.Err() == nil { // the model was computed, so it is its gradient that cannot be
			advlib.Free(at)
			return a.sample(p, check)
		}
		if err != nil {
			advlib.Free(at)
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
		if enough, err := check(near); enough || err != nil {
			advlib.Free(at)
			return err
		}
	}
	advlib.Free(at)
	return ctx.Err()
}

// sample checks as many points as a descent does, at random.
func (a descent) sample(p *problem, check func(points [][]float64) (bool, error)) error {
	for t := range a.steps {
		a.seed += uint64(t + 1)
		if enough, err := check(a.points(p)); enough || err != nil {
			return err
		}
	}
	return nil
}

// descend is a step: inputs x [n, d...], the box [n, d...] twice, rows [R, K], limits [1, R], what is added to conditions that
// do not count [n, R], and the step size; results the new x, and for each the largest ⟨row, y⟩ − limit before the step,
// [n, 1].
func descend(f func(*Node) *Node, in []*Node) []*Node {
	x, lower, upper, rows, limits, ignored, α := in[0], in[1], in[2], in[3], in[4], in[5], in[6]
	h := Add(Sub(Dot(f(x), Transpose(rows, 0, 1)).Product(), limits), ignored)
	worst := ReduceMax(h, 1)
	g := advlib.LimitOf(advlib.Linf, Gradient(ReduceAllSum(worst), x)[0])
	x = Sub(x, Mul(Mul(Sub(upper, lower), α), Sign(g)))
	return []*Node{Min(Max(x, lower), upper), InsertAxes(worst, -1)}
}

// points are where the descent starts: what the problem begins with, the centre, the two extreme corners, then corners and
// points at random.
func (a descent) points(p *problem) [][]float64 {
	c := p.cell
	r := rand.New(rand.NewPCG(a.seed, 0x6365727469667900))
	points := [][]float64{c.centre(), c.lower, c.upper}
	if p.first != nil {
		points = append([][]float64{p.first}, points...)
	}
	for i := len(points); i < a.starts; i++ {
		x := make([]float64, len(c.lower))
		for j := range x {
			t := r.Float64()
			if i%2 == 1 {
				t = math.Round(t)
			}
			x[j] = min(max(c.lower[j]+t*(c.upper[j]-c.lower[j]), c.lower[j]), c.upper[j])
		}
		points = append(points, x)
	}
	return points
}
