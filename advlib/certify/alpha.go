package certify

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// Alpha says how much [AlphaCROWN] tunes. Slopes are raised along the gradient of their bound by Adam, with a step that shrinks
// by 2 % each time. The zero Alpha has the values named below.
type Alpha struct {
	// Iterations is how many steps are made for each row of the specification; 0 means 20, below 0 none.
	Iterations int
	// Intervals is how many steps are made for each end of the intervals before ReLUs, with slopes of its own, where bounds are
	// not enough with CROWN's; 0 means 5, below 0 none.
	Intervals int
	// Rate is the first step of a slope, which is between 0 and 1; 0 means 0.25.
	Rate float64
}

// String returns for example "40 iterations, rate 0.1".
func (a Alpha) String() string {
	var parts []string
	if a.Iterations != 0 {
		parts = append(parts, fmt.Sprintf("%d iterations", max(a.Iterations, 0)))
	}
	if a.Intervals != 0 {
		parts = append(parts, fmt.Sprintf("%d for intervals", max(a.Intervals, 0)))
	}
	if a.Rate != 0 {
		parts = append(parts, fmt.Sprintf("rate %g", a.Rate))
	}
	return strings.Join(parts, ", ")
}

// filled is a with its defaults.
func (a Alpha) filled() Alpha {
	if a.Iterations == 0 {
		a.Iterations = 20
	}
	if a.Intervals == 0 {
		a.Intervals = 5
	}
	if a.Rate == 0 {
		a.Rate = 0.25
	}
	return a
}

// check refuses what is no step.
func (a Alpha) check() error {
	if !(a.Rate >= 0 && a.Rate <= 1) {
		return fmt.Errorf("the rate of Alpha is %g: it must be between 0 and 1", a.Rate)
	}
	return nil
}

// bent is a rule that is σ(t) = max(t, 0) up to affine maps: the slope a of the line below, lines[0], may be any in [0, 1].
type bent interface {
	// bend returns t for inputs h of u, and Λσ, the part of ⟨Λ, u⟩ that is ⟨Λσ, σ(t)⟩. So a bound grows with a by Λσ⁺·t.
	bend(u *unit, Λ *Node, h []*Node) (Λσ, t *Node)
}

// ascentKey is what the graph of a step depends on besides the shapes of its inputs.
type ascentKey struct {
	start    int // as in rowsKey
	rounding Rounding
}

// tune raises the results of the items, rows of the specification.
func (r *run) tune(known map[int][2]held, items []item, results []result) error {
	alpha := r.m.alpha.filled()
	if err := r.ascend(-1, items, true, results, alpha.Iterations); err != nil {
		return err
	}
	if alpha.Intervals < 0 {
		return nil
	}
	// What is left open is bounded again, with intervals that are tuned as well.
	var examples []int
	var left []int
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
	s := &run{ctx: r.ctx, n: r.n, m: r.m, regions: r.regions.Select(examples), size: r.n.batch(len(examples), r.m), slopes: r.slopes, enough: r.enough}
	s.region = s.regionTensors()
	defer func() {
		advlib.Free(s.region...)
		s.free()
	}()
	intervals := map[int][2]held{}
	for node, pair := range known {
		for part, k := range pair {
			pair[part].flat = make([]float64, k.per*s.size)
			for i := range s.size {
				e := examples[min(i, len(examples)-1)]
				copy(pair[part].flat[i*k.per:(i+1)*k.per], k.flat[e*k.per:])
			}
		}
		intervals[node] = pair
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
	if err := s.ascend(-1, again, true, better, alpha.Iterations); err != nil {
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
func (r *run) tuneIntervals(known map[int][2]held, iterations int) error {
	return r.improve(known, func(node int, items []item, results []result) ([]result, error) {
		return results, r.ascend(node, items, false, results, iterations)
	})
}

// Decay of the step, and Adam's averages (Kingma and Ba 2015, arXiv:1412.6980).
const (
	decayAlpha   = 0.98
	beta1, beta2 = 0.9, 0.999
)

// ascend replaces results of items, bounds of linear functions of a node as [run.backward] has them, by better ones, if it finds
// them in so many steps.
//
// A bound is the minimum over x of a network of straight lines, those that its backward pass chose. With x* where it is least, its
// derivative with respect to the lower slope a_i of a ReLU is Λ_i⁺·t_i, where t_i is what that network has at x* as the ReLU's
// input (Danskin's theorem). So the bound goes backward, x* forward, and nothing is differentiated. What rounding takes from the
// bound is left out of its derivative, not out of the bound.
func (r *run) ascend(start int, items []item, dense bool, results []result, iterations int) error {
	var which []int
	for i, it := range items {
		if !r.isEnough(it, results[i]) {
			which = append(which, i)
		}
	}
	if len(which) == 0 || iterations < 0 {
		return nil
	}
	n, m := r.n, r.m
	a, err := n.arithmetic(m.rounding)
	if err != nil {
		return err
	}
	slots := n.needed(start, false, r.layout)
	p := n.program(ascentKey{start, m.rounding}, func(_ *program, in []*Node) []*Node {
		return n.ascent(a, start, dense, slots, in)
	})
	alpha := m.alpha.filled()
	for first := 0; first < len(which); {
		size := n.ascentBatch(len(which)-first, n.places[start])
		part := which[first:min(first+size, len(which))]
		first += len(part)
		if err := r.ascendPart(p, slots, start, items, dense, results, part, size, iterations, alpha.Rate); err != nil {
			return err
		}
	}
	return nil
}

// ascentBatch returns how many rows, padded, go through a step.
func (n *Network) ascentBatch(rows int, p *places) int {
	numbers := n.numbers
	if p != nil {
		numbers = p.numbers
	}
	size := n.rowBatch(rows, p)
	for size > 16 && 8*copiesTuned*numbers*size > n.allowed() {
		size /= 8
	}
	return size
}

func (r *run) ascendPart(p *program, slots []slot, start int, items []item, dense bool, results []result, part []int, size, iterations int, rate float64) error {
	at := func(i int) item { return items[part[min(i, len(part)-1)]] }
	examples := make([]int32, size)
	for i := range examples {
		examples[i] = int32(at(i).example)
	}
	places := r.n.places[start]
	fixed := []*tensors.Tensor{tensors.FromFlatDataAndDimensions(examples, size)}
	if dense {
		var rows [][]float64
		for _, i := range part {
			rows = append(rows, items[i].row)
		}
		fixed = append(fixed, stack(rows, size, []int{r.n.outputs}))
	} else {
		numbers, where, signs := make([]int32, size), make([]int32, size), make([]float64, size)
		for i := range numbers {
			numbers[i], signs[i] = int32(at(i).at), at(i).sign
			if places != nil {
				place, number := places.split(at(i).at)
				where[i], numbers[i] = int32(place), int32(number)
			}
		}
		fixed = append(fixed, tensors.FromFlatDataAndDimensions(numbers, size), tensors.FromFlatDataAndDimensions(signs, size))
		if places != nil {
			fixed = append(fixed, tensors.FromFlatDataAndDimensions(where, size))
		}
	}
	defer advlib.Free(fixed...)
	var lines, state []*tensors.Tensor
	for _, s := range slots {
		switch s.what {
		case "lines":
			h := r.lines[s.place][s.part]
			lines = append(lines, h.device)
			if s.part == 0 && r.n.units[s.place].bent {
				dims := leading(h.dims, size)
				if places != nil {
					dims = r.n.patches[start][s.place].dims(size)
				}
				for range 3 {
					state = append(state, tensors.FromFlatDataAndDimensions(make([]float64, sizeOf(dims)), dims...))
				}
			}
		case "error":
			lines = append(lines, r.errors[s.place].device)
		}
	}
	defer func() { advlib.Free(state...) }()
	for step := range iterations + 1 {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		scalars := []*tensors.Tensor{tensors.FromScalar(float64(step)), tensors.FromScalar(rate * math.Pow(decayAlpha, float64(step)))}
		out, err := r.n.call(p, slices.Concat(scalars, r.region, fixed, lines, state))
		advlib.Free(scalars...)
		if err != nil {
			return fmt.Errorf("tuning %d rows: %w", size, err)
		}
		lower, slack := tensors.MustCopyFlatData[float64](out[0]), tensors.MustCopyFlatData[float64](out[1])
		var slopes []float64
		open := false
		for j, i := range part {
			if lower[j] > results[i].lower && !math.IsInf(lower[j], 1) { // false for NaN
				results[i].lower, results[i].slack = lower[j], slack[j]
				if dense && r.slopes {
					if slopes == nil {
						slopes = tensors.MustCopyFlatData[float64](out[2])
					}
					d := r.n.Size()
					results[i].slope = slices.Clone(slopes[j*d : (j+1)*d])
				}
			}
			open = open || !r.isEnough(items[i], results[i])
		}
		advlib.Free(out[:3]...)
		advlib.Free(state...)
		state = out[3:]
		if !open {
			break
		}
	}
	return nil
}

// ascent is the graph of one step: lower, slack and Λ at x as [backward.from] has them, and then for each unit that is bent
// its next slopes and Adam's two averages.
func (n *Network) ascent(a arithmetic, start int, dense bool, slots []slot, in []*Node) []*Node {
	step, rate, in := in[0], in[1], in[2:]
	b, from, Λ, state := n.rows(a, start, dense, slots, in)
	w := b.w
	first := Equal(step, ScalarZero(step.Graph(), step.DType()))
	// slopes of a unit, with Adam's averages, open where the slope may be chosen.
	type tuned struct{ α, m, v, open *Node }
	slopes := map[*unit]tuned{}
	for _, s := range slots {
		if s.what != "lines" || s.part != 0 || !n.units[s.place].bent {
			continue
		}
		u := w.units[s.place]
		lines := slices.Clone(b.lines[u])
		open := GreaterThan(lines[2], ZerosLike(lines[2])) // the intercept above
		begin := BroadcastToDims(first, open.Shape().Dimensions...)
		α := Where(LogicalAnd(open, LogicalNot(begin)), state[0], lines[0])
		lines[0] = α
		b.lines[u] = lines
		slopes[u] = tuned{α, state[1], state[2], open}
		state = state[3:]
	}
	bound := b.from(from, Λ)
	out := []*Node{bound.lower, bound.slack, bound.slope}

	h := b.follow(b.r.lowest(bound.slope), from)
	for _, s := range slots {
		u := w.units[s.place]
		o, ok := slopes[u]
		if s.what != "lines" || s.part != 0 || !ok {
			continue
		}
		if b.Λs[u.n.Id()] == nil { // an interval on the way cuts it off
			out = append(out, o.α, o.m, o.v)
			continue
		}
		Λσ, t := b.bend(u, h)
		g := Where(o.open, Mul(positive(Λσ), t), ZerosLike(t))
		d, m, v := adam(step, g, o.m, o.v)
		α := clipped(Add(o.α, Mul(d, rate)))
		out = append(out, Where(o.open, α, o.α), m, v)
	}
	for i, v := range out {
		out[i] = ConvertDType(v, dtypes.Float64)
	}
	return out
}

// rows takes a graph's inputs for backward passes of rows from a node, and returns the pass, its start with Λ, and the inputs
// that are left. Each row is a group by itself; with patches, it is given where its neuron is.
func (n *Network) rows(a arithmetic, start int, dense bool, slots []slot, in []*Node) (b *backward, from, Λ *Node, rest []*Node) {
	all, in := regionOf(in)
	g := groups{examples: in[0], rows: in[0].Shape().Dimensions[0], all: all.lower.Shape().Dimensions[0]}
	function, in := in[1], in[2:]
	b = &backward{a: a, r: all.map_(g.of), lines: map[*unit][]*Node{}, rounding: map[*unit]*Node{}}
	of := func(_, v *Node) *Node { return g.of(v) }
	switch {
	case dense:
		b.w = n.walk(b.r.lower)
		from, Λ = b.w.out, function
	case n.places[start] == nil:
		b.w = n.walk(b.r.lower)
		from = b.w.nodes[start]
		Λ, in = Reshape(unitRows(function, in[0], from.Shape().Size()/g.rows), from.Shape().Dimensions...), in[1:]
	default:
		b.w = n.walk(all.lower)
		from = b.w.nodes[start]
		b.cut = b.w.receptive(from).cut(g, in[1])
		of = b.cut.take
		x := func(v *Node) *Node { return of(b.cut.end, b.w.rearrange(b.cut.end, v)) }
		b.r = region{lower: x(all.lower), upper: x(all.upper), centre: x(all.centre), radius: g.of(all.radius), norm: all.norm}
		p := b.cut.of[from.Id()]
		Λ, in = Reshape(unitRows(function, in[0], p.numbers()), p.dims(g.rows)...), in[2:]
	}
	for i, s := range slots {
		u := b.w.units[s.place]
		v := of(u.n, in[i])
		switch s.what {
		case "lines":
			b.lines[u] = append(b.lines[u], v)
		case "error":
			b.rounding[u] = v
		}
	}
	return b, from, Λ, in[len(slots):]
}

// adam returns the direction of a step, and the averages after it; step counts from 0 (Kingma and Ba 2015, algorithm 1).
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

// follow returns the values that the lines, as from chose them, have for an input x: of all nodes that the start needs.
func (b *backward) follow(x, start *Node) map[NodeId]*Node {
	end := b.end()
	h := map[NodeId]*Node{end.Id(): x}
	for _, u := range b.w.units {
		if Λ := b.Λs[u.n.Id()]; Λ != nil && u.n != end {
			in := b.inputs(u, h)
			if b.cut != nil {
				h[u.n.Id()] = b.cut.inside(u.n, u.rule.(local).followPatch(b.cut, u, Λ, in, b.lines[u]))
			} else {
				h[u.n.Id()] = u.rule.follow(u, Λ, in, b.lines[u])
			}
		}
		if u.n == start {
			break
		}
	}
	return h
}

// inputs returns values of the inputs of u, which are in h if they depend on x: on patches, of what its patch reaches.
func (b *backward) inputs(u *unit, h map[NodeId]*Node) []*Node {
	in := slices.Clone(u.inputs)
	for _, k := range u.perturbed {
		in[k] = h[u.inputs[k].Id()]
		if b.cut != nil {
			p := u.rule.(local).reach(u, k, b.cut.of[u.n.Id()])
			in[k] = p.within(in[k], b.cut.of[u.inputs[k].Id()])
		}
	}
	return in
}

// bend returns what [bent] has for u.
func (b *backward) bend(u *unit, h map[NodeId]*Node) (Λσ, t *Node) {
	in := b.inputs(u, h)
	if b.cut != nil {
		u2, in := b.cut.small(u, in)
		return u.rule.(bent).bend(u2, b.Λs[u.n.Id()], in)
	}
	return u.rule.(bent).bend(u, b.Λs[u.n.Id()], in)
}
