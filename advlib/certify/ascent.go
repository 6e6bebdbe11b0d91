package certify

import (
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/certify/internal/propagate"
)

// tune raises the results of the items, rows of the specification. Those that are not enough yet are bounded once more,
// over intervals that are tuned as well.
func (r *run) tune(known map[int]*span, items []item, results []result) error {
	alpha := r.m.alpha.filled()
	if err := r.ascend(outputs, items, results, alpha.Iterations); err != nil {
		return err
	}
	if alpha.Intervals < 0 {
		return nil
	}
	var examples []int // with something left
	var left []int     // items
	for i, it := range items {
		if r.isEnough(it, results[i]) {
			continue
		}
		left = append(left, i)
		if len(examples) == 0 || examples[len(examples)-1] != it.example {
			examples = append(examples, it.example)
		}
	}
	if len(left) == 0 {
		return nil
	}
	s := r.n.begin(r.ctx, r.m, r.regions.Select(examples), r.n.batch(len(examples), r.m))
	s.slopes, s.enough = r.slopes, r.enough
	defer s.close()
	intervals := map[int]*span{}
	for node, k := range known {
		intervals[node] = k.of(examples, s.size)
	}
	if err := s.forward(intervals); err != nil {
		return err
	}
	if err := s.tuneIntervals(intervals, alpha.Intervals); err != nil {
		return err
	}
	again, better := make([]item, len(left)), make([]result, len(left))
	for j, i := range left {
		again[j], better[j] = items[i], results[i]
		again[j].example = slices.Index(examples, items[i].example)
	}
	if err := s.ascend(outputs, again, better, alpha.Iterations); err != nil {
		return err
	}
	for j, i := range left {
		results[i] = better[j]
	}
	return nil
}

// isEnough tells whether a bound is as good as was asked for.
func (r *run) isEnough(it item, res result) bool {
	return r.enough != nil && it.row != nil && res.lower > r.enough[it.place]
}

// tuneIntervals raises the bounds of all boundaries' open coordinates, one boundary after the other.
func (r *run) tuneIntervals(known map[int]*span, iterations int) error {
	return r.improve(known, func(node int, items []item, results []result) ([]result, error) {
		return results, r.ascend(node, items, results, iterations)
	})
}

// Decay of the step, and Adam's averages (Kingma and Ba 2015, arXiv:1412.6980).
const (
	decayAlpha   = 0.98
	beta1, beta2 = 0.9, 0.999
)

// perSlope is how many tensors of a bent unit go from step to step: slopes, and Adam's two averages.
const perSlope = 3

// ascend replaces results of items, bounds of linear functions of a node as [run.back] has them, by better ones, if it
// finds them in so many steps.
//
// A bound is the minimum over x of a network of straight lines, those that its pass back chose. With x* where it is
// least, its derivative with respect to the lower slope a_i of a ReLU is Λ_i⁺·t_i, where t_i is what that network has
// at x* as the ReLU's input (Danskin's theorem). So the bound goes backward, x* forward, and nothing is differentiated.
// What rounding takes from the bound is left out of its derivative, not out of the bound.
func (r *run) ascend(start int, items []item, results []result, iterations int) error {
	var which []group // each item by itself
	for i, it := range items {
		if !r.isEnough(it, results[i]) {
			g := group{items: []int{i}}
			if p := r.n.places[start]; p != nil {
				g.place, _ = p.Split(it.at)
			}
			which = append(which, g)
		}
	}
	if len(which) == 0 || iterations < 0 {
		return nil
	}
	y, err := r.way(start)
	if err != nil {
		return err
	}
	p := r.n.program(ascentKey{start, !y.box, r.m.rounding}, func(_ *program, in []*Node) []*Node { return y.ascent(in) })
	for len(which) > 0 {
		size := r.n.ascentBatch(len(which), r.n.places[start])
		part := which[:min(size, len(which))]
		which = which[len(part):]
		if err := r.ascendPart(y, p, items, results, part, size, iterations); err != nil {
			return err
		}
	}
	return nil
}

// ascendPart is ascend for rows that fit into one call.
func (r *run) ascendPart(y way, p *program, items []item, results []result, part []group, size, iterations int) error {
	rate := r.m.alpha.filled().Rate
	fixed := r.rowTensors(y.start, items, part, size, 1)
	defer advlib.Free(fixed...)
	given, state := r.taken(y.units), r.zeroSlopes(y, size)
	defer func() { advlib.Free(state...) }()
	for step := range iterations + 1 {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		scalars := []*tensors.Tensor{tensors.FromScalar(float64(step)), tensors.FromScalar(rate * math.Pow(decayAlpha, float64(step)))}
		out, err := r.n.call(p, slices.Concat(scalars, r.region, fixed, given, state))
		advlib.Free(scalars...)
		if err != nil {
			return fmt.Errorf("tuning %d rows: %w", size, err)
		}
		open := r.collectBetter(out[:3], y.start, items, part, results)
		advlib.Free(out[:3]...)
		advlib.Free(state...)
		state = out[3:]
		if !open {
			break
		}
	}
	return nil
}

// zeroSlopes are the slopes and averages of rows before the first step, which sets the slopes.
func (r *run) zeroSlopes(y way, size int) (state []*tensors.Tensor) {
	for _, t := range r.n.bentOf(y.units) {
		dims := r.dims(t.Lines[0], size)
		if r.n.places[y.start] != nil {
			dims = r.n.patches[y.start][t.Unit].Dims(size)
		}
		for range perSlope {
			state = append(state, tensors.FromFlatDataAndDimensions(make([]float64, propagate.SizeOf(dims)), dims...))
		}
	}
	return state
}

// dims is the shape of a result of the pass forward for as many rows.
func (r *run) dims(result, rows int) []int {
	dims := slices.Clone(r.found[result].Shape().Dimensions)
	dims[0] = dims[0] / r.size * rows
	return dims
}

// bentOf returns those of the units that are [propagate.Bent].
func (n *Network) bentOf(units []propagate.Taken) (some []propagate.Taken) {
	for _, t := range units {
		if n.units[t.Unit].bent && len(t.Lines) > 0 {
			some = append(some, t)
		}
	}
	return some
}

// collectBetter reads results that are better than those so far, and tells whether some of them are not enough yet.
func (r *run) collectBetter(out []*tensors.Tensor, start int, items []item, part []group, results []result) (open bool) {
	lower, slack := tensors.MustCopyFlatData[float64](out[0]), tensors.MustCopyFlatData[float64](out[1])
	var slopes []float64
	d := r.n.Size()
	for j, g := range part {
		i := g.items[0]
		if lower[j] > results[i].lower && !math.IsInf(lower[j], 1) { // false for NaN
			results[i].lower, results[i].slack = lower[j], slack[j]
			if start == outputs && r.slopes {
				if slopes == nil {
					slopes = tensors.MustCopyFlatData[float64](out[2])
				}
				results[i].slope = slices.Clone(slopes[j*d : (j+1)*d])
			}
		}
		open = open || !r.isEnough(items[i], results[i])
	}
	return open
}

// ascent is the graph of one step: lower, slack and Λ at x as [propagate.Backward.From] has them, and then for each
// unit that is bent its next slopes and Adam's two averages.
func (y way) ascent(in []*Node) []*Node {
	step, rate, in := in[0], in[1], in[2:]
	b, from, Λ, state := y.build(in)
	first := Equal(step, ScalarZero(step.Graph(), step.DType()))
	// slopes of a unit, with Adam's averages, open where the slope may be chosen.
	type tuned struct {
		u             *propagate.Unit
		α, m, v, open *Node
	}
	var slopes []tuned
	for _, t := range y.n.bentOf(y.units) {
		u := b.Walk.Units[t.Unit]
		lines := slices.Clone(b.Lines[u])
		open := GreaterThan(lines[2], ZerosLike(lines[2])) // the intercept above
		begin := BroadcastToDims(first, open.Shape().Dimensions...)
		α := Where(LogicalAnd(open, LogicalNot(begin)), state[0], lines[0])
		lines[0] = α
		b.Lines[u] = lines
		slopes = append(slopes, tuned{u, α, state[1], state[2], open})
		state = state[perSlope:]
	}
	bound := b.From(from, Λ)
	out := []*Node{bound.Lower, bound.Slack, bound.Slope}
	h := b.Follow(b.Region.Lowest(bound.Slope), from)
	for _, s := range slopes {
		if b.Λs[s.u.Node.Id()] == nil { // an interval on the way cuts it off
			out = append(out, s.α, s.m, s.v)
			continue
		}
		Λσ, t := b.Bend(s.u, h)
		g := Where(s.open, Mul(propagate.Positive(Λσ), t), ZerosLike(t))
		d, m, v := adam(step, g, s.m, s.v)
		α := clipped(Add(s.α, Mul(d, rate)))
		out = append(out, Where(s.open, α, s.α), m, v)
	}
	for i, v := range out {
		out[i] = ConvertDType(v, dtypes.Float64)
	}
	return out
}

// adam returns the direction of a step, and the averages after it; step counts from 0 (Kingma and Ba 2015, algorithm
// 1).
func adam(step, g, m, v *Node) (d, m1, v1 *Node) {
	m = Add(MulScalar(m, beta1), MulScalar(g, 1-beta1))
	v = Add(MulScalar(v, beta2), MulScalar(Square(g), 1-beta2))
	count := OnePlus(step)
	power := func(β float64) *Node { return OneMinus(Exp(MulScalar(count, math.Log(β)))) }
	return Div(Div(m, power(beta1)), AddScalar(Sqrt(Div(v, power(beta2))), 1e-12)), m, v
}

// mutateSlopes, if it is not nil, changes slopes. Tests of the tests plant mistakes with it.
var mutateSlopes func(α *Node) *Node

// clipped keeps slopes between 0 and 1: these lines are below a ReLU. NaN stays.
func clipped(α *Node) *Node {
	if mutateSlopes != nil {
		return mutateSlopes(α)
	}
	return Where(GreaterThan(α, OnesLike(α)), OnesLike(α), Where(LessThan(α, ZerosLike(α)), ZerosLike(α), α))
}
