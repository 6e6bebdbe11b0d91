package certify

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
)

// Derivative is of a bound with respect to a slope: as α-CROWN has it, and by central differences.
type Derivative struct{ Given, Differences float64 }

// Ascent is a step of α-CROWN taken apart, at random slopes.
type Ascent struct {
	// Backward is the bound, Forward what the lines have at the input where it is least.
	Backward, Forward float64
	Derivatives       []Derivative
	// Open is how many slopes there are.
	Open int
}

// TakeApart does so for the first row of a query of one region, with up to count slopes.
func (n *Network) TakeApart(ctx context.Context, q Query, count int, rnd *rand.Rand) (*Ascent, error) {
	const δ = 1e-6
	m := AlphaCROWN.In(RealArithmetic)
	r := n.begin(ctx, m, q.Regions, n.batch(1, m))
	defer r.close()
	if err := r.forward(map[int]*span{}); err != nil {
		return nil, err
	}
	y, err := r.way(outputs)
	if err != nil {
		return nil, err
	}
	// The slopes: of all units that are bent, and where each of them is.
	var α [][]float64
	var dims [][]int
	type place struct{ unit, at int }
	var open []place
	lines := r.taken(y.units)
	for _, t := range n.bentOf(y.units) {
		above := tensors.MustCopyFlatData[float64](r.found[t.Lines[2]])
		slopes := make([]float64, len(above)/r.size)
		for i := range slopes {
			slopes[i] = 0.1 + 0.8*rnd.Float64()
			if above[i] > 0 {
				open = append(open, place{len(α), i})
			}
		}
		α, dims = append(α, slopes), append(dims, r.dims(t.Lines[0], 1))
	}
	answer := &Ascent{Open: len(open)}
	rnd.Shuffle(len(open), func(i, j int) { open[i], open[j] = open[j], open[i] })
	open = open[:min(count, len(open))]
	// Row 0 has the slopes, each pair of rows behind it one of them moved.
	size := 1 + 2*len(open)
	states := make([]*tensors.Tensor, 0, 3*len(α))
	for k, slopes := range α {
		flat := make([]float64, 0, size*len(slopes))
		for row := range size {
			moved := slices.Clone(slopes)
			if row > 0 && open[(row-1)/2].unit == k {
				moved[open[(row-1)/2].at] += δ * float64(1-2*((row-1)%2))
			}
			flat = append(flat, moved...)
		}
		zeros := func() *tensors.Tensor {
			return tensors.FromFlatDataAndDimensions(make([]float64, len(flat)), leading(dims[k], size)...)
		}
		states = append(states, tensors.FromFlatDataAndDimensions(flat, leading(dims[k], size)...), zeros(), zeros())
	}
	fixed := []*tensors.Tensor{tensors.FromFlatDataAndDimensions(make([]int32, size), size), stack(q.Rows[0][:1], size, []int{n.outputs})}
	ask := func(build func(in []*Node) []*Node, front ...*tensors.Tensor) ([]*tensors.Tensor, error) {
		exec, err := model.NewExec(n.model.Backend, n.model.Wide.Store(), func(_ *model.Scope, in []*Node) []*Node { return build(in) })
		if err != nil {
			return nil, err
		}
		return n.call(&program{exec: exec}, slices.Concat(front, r.region, fixed, lines, states))
	}
	out, err := ask(func(in []*Node) []*Node { return y.ascent(in) }, tensors.FromScalar(1.), tensors.FromScalar(0.))
	if err != nil {
		return nil, err
	}
	lower := tensors.MustCopyFlatData[float64](out[0])
	answer.Backward = lower[0]
	for i, p := range open {
		average := tensors.MustCopyFlatData[float64](out[3+3*p.unit+1])
		answer.Derivatives = append(answer.Derivatives, Derivative{average[p.at] / (1 - beta1), (lower[1+2*i] - lower[2+2*i]) / (2 * δ)})
	}
	out, err = ask(func(in []*Node) []*Node {
		b, from, Λ, state := y.build(in)
		for _, t := range n.bentOf(y.units) {
			u := b.Walk.Units[t.Unit]
			b.Lines[u][0] = Where(GreaterThan(b.Lines[u][2], ZerosLike(b.Lines[u][2])), state[0], b.Lines[u][0])
			state = state[perSlope:]
		}
		bound := b.From(from, Λ)
		h := b.Follow(b.Region.Lowest(bound.Slope), from)
		return []*Node{ReduceSum(Reshape(Mul(Λ, h[from.Id()]), size, -1), 1)}
	})
	if err != nil {
		return nil, err
	}
	answer.Forward = tensors.MustCopyFlatData[float64](out[0])[0]
	return answer, nil
}

// Close tells whether two numbers are equal but for rounding.
func Close(a, b, tolerance float64) bool {
	return math.Abs(a-b) <= tolerance*max(1, math.Abs(a), math.Abs(b))
}
