package certify

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/certify/internal/propagate"
	"advlab/advlib/certify/internal/search"
)

// graphSplitter bounds branches of any network, many at once, by the same steps as α-CROWN with multipliers β for the
// signs that are given (β-CROWN). Intervals are those of the whole problem, so that a sign changes the lines of its own
// ReLU alone.
type graphSplitter struct {
	n       *Network
	problem *search.Problem
	run     *run              // with lines of the problem's only region
	units   []propagate.Taken // by rows from the outputs
	relus   []relus           // of those that are bent
}

// A branch of a graph is cheap to bound beside another one, and its parent's tuning is a good one: so it has few steps,
// and few ReLUs are tried. On one example of the reference CNN a minute was enough for 6167 branches with 5 steps and
// one ReLU by each score, which decided it; with 30 and 4 it was enough for 763.
const (
	graphSteps      = 5
	graphCandidates = 1
)

// relus are the ReLUs of one unit that is bent.
type relus struct {
	dims []int // for one branch
	// slope are the lower slopes to begin with, and lower and upper the interval of t where it may have either sign; 0
	// elsewhere.
	slope, lower, upper []float64
}

// open tells whether a ReLU is neither linear nor has a sign.
func (u *relus) open(i int, signs []int8) bool { return u.upper[i] > 0 && signs[i] == 0 }

// newGraphSplitter takes the lines of a run that has one region.
func newGraphSplitter(r *run, p *search.Problem) *graphSplitter {
	s := &graphSplitter{n: r.n, problem: p, run: r, units: r.n.needed(outputs, false, r.layout)}
	for _, t := range r.n.bentOf(s.units) {
		var lines [3][]float64
		for part := range lines {
			lines[part] = tensors.MustCopyFlatData[float64](r.found[t.Lines[part]])
		}
		u := relus{dims: r.dims(t.Lines[0], 1), slope: lines[0]}
		u.lower, u.upper = make([]float64, len(u.slope)), make([]float64, len(u.slope))
		for i, b := range lines[2] {
			// a = u/(u−l) and b = −l·a: scores need no more than that.
			if a := lines[1][i]; b > 0 && a > 0 && a < 1 {
				u.lower[i], u.upper[i] = -b/a, b/(1-a)
			}
		}
		s.relus = append(s.relus, u)
	}
	return s
}

// Most is how many branches are judged at once.
func (s *graphSplitter) Most() int { return s.batch(largestBatch) }

// largestBatch is the most rows that go through one call: with more, branches are chosen less well.
const largestBatch = 64

// batch returns how many rows, padded, go through one call: few sizes, because each compiles again.
func (s *graphSplitter) batch(rows int) int {
	for _, size := range []int{largestBatch, 8} {
		if (rows > 8 || size == 8) && 8*copiesTuned*s.n.numbers*size <= s.n.allowed() {
			return size
		}
	}
	return 1
}

// Size is about how many numbers a branch holds: a cell, signs, which are bytes, and with its sibling α and β.
func (s *graphSplitter) Size() int {
	n := 2 * s.n.Size()
	for _, u := range s.relus {
		n += len(u.slope)/8 + len(u.slope)
	}
	return n
}

func (s *graphSplitter) noSigns() (signs [][]int8) {
	for _, u := range s.relus {
		signs = append(signs, make([]int8, len(u.slope)))
	}
	return signs
}

// newTuning starts with the lower slopes of the method's line and β = 0.
func (s *graphSplitter) newTuning() *search.Tuning {
	t := &search.Tuning{}
	for _, u := range s.relus {
		t.Alpha, t.Beta = append(t.Alpha, u.slope), append(t.Beta, make([]float64, len(u.slope)))
	}
	return t
}

// bounded is a row of a branch that is to be bounded, and what came out.
type bounded struct {
	cell   search.Cell
	row    []float64
	limit  float64
	signs  [][]int8
	begin  *search.Tuning
	lower  float64
	slope  []float64      // Λ at the input
	x      []float64      // where the bound is least
	tuning *search.Tuning // at the end
}

// Judge bounds branches, and splits those that are left.
func (s *graphSplitter) Judge(ctx context.Context, batch []*search.Branch) ([]search.Judged, error) {
	// The condition that is farthest from being met is tuned.
	var rows []*bounded
	var choices [][]*bounded
	for _, b := range batch {
		if b.Signs == nil {
			b.Signs, b.Tuned = s.noSigns(), s.newTuning()
		}
		var own []*bounded
		for _, r := range s.problem.Unsafe[b.Conjunction] {
			own = append(own, &bounded{cell: b.Cell, row: s.problem.Rows[r], limit: s.problem.Limits[r], signs: b.Signs, begin: b.Tuned})
		}
		choices = append(choices, own)
		if len(own) > 1 {
			rows = append(rows, own...)
		}
	}
	if err := s.bound(ctx, rows, 0); err != nil {
		return nil, err
	}
	rows = rows[:0]
	steps := graphSteps
	for i, own := range choices {
		if len(own) == 0 { // every output meets no condition
			own = []*bounded{{cell: batch[i].Cell, row: make([]float64, s.n.outputs), limit: math.Inf(1), signs: batch[i].Signs,
				begin: batch[i].Tuned}}
		}
		rows = append(rows, slices.MaxFunc(own, func(a, b *bounded) int { return cmp.Compare(a.lower-a.limit, b.lower-b.limit) }))
		if batch[i].Depth == 0 {
			steps = search.FirstSteps
		}
	}
	if err := s.bound(ctx, rows, steps); err != nil {
		return nil, err
	}
	out := make([]search.Judged, len(batch))
	var tried []candidate
	for i, r := range rows {
		out[i] = search.Judged{Margin: max(r.lower-r.limit, batch[i].Margin), X: r.x}
		if out[i].Margin > 0 {
			out[i].Closed = true
			continue
		}
		tried = append(tried, s.candidates(i, r)...)
		r.tuning.Λ = nil // which nobody needs any more
	}
	if err := s.try(ctx, rows, tried); err != nil {
		return nil, err
	}
	best := make([]*candidate, len(batch))
	for k := range tried {
		c := &tried[k]
		if best[c.of] == nil || c.value > best[c.of].value {
			best[c.of] = c
		}
	}
	for i, b := range batch {
		switch c := best[i]; {
		case out[i].Closed:
		case c == nil:
			out[i].Children = search.Halves(b, out[i].Margin, rows[i].slope)
		default:
			out[i].Children = search.Signed(b, out[i].Margin, rows[i].tuning, c.unit, c.at)
		}
		for _, child := range out[i].Children {
			child.Tuned = rows[i].tuning
		}
	}
	return out, nil
}

// candidate is a ReLU that may be split.
type candidate struct {
	of, unit, at   int
	intercept, gap float64
	value          float64
}

// candidates returns those of the open ReLUs of branch number i with the best scores, as [chain.Splitter.choose] has
// them.
func (s *graphSplitter) candidates(i int, r *bounded) (tried []candidate) {
	var all []candidate
	for k := range s.relus {
		u := &s.relus[k]
		for at, Λ := range r.tuning.Λ[k] {
			if !u.open(at, r.signs[k]) {
				continue
			}
			l, h := u.lower[at], u.upper[at]
			c := candidate{of: i, unit: k, at: at, gap: math.Abs(Λ) * min(-l, h)}
			if Λ < 0 {
				c.intercept = -Λ * -l * h / (h - l)
			}
			all = append(all, c)
		}
	}
	for _, by := range []func(a, b candidate) int{
		func(a, b candidate) int { return cmp.Compare(b.intercept, a.intercept) },
		func(a, b candidate) int { return cmp.Compare(b.gap, a.gap) },
	} {
		slices.SortFunc(all, by)
		for _, c := range all[:min(graphCandidates, len(all))] {
			if !slices.ContainsFunc(tried, func(o candidate) bool { return o.unit == c.unit && o.at == c.at }) {
				tried = append(tried, c)
			}
		}
	}
	return tried
}

// try gives each candidate, of branches that have several, the bound of its worse half, with slopes as they are.
func (s *graphSplitter) try(ctx context.Context, rows []*bounded, tried []candidate) error {
	several := map[int]int{}
	for _, c := range tried {
		several[c.of]++
	}
	var halves []*bounded
	var which []int
	for k, c := range tried {
		if several[c.of] == 1 { // nothing to choose
			continue
		}
		which = append(which, k)
		r := rows[c.of]
		for _, sign := range []int8{1, -1} {
			halves = append(halves, &bounded{cell: r.cell, row: r.row, signs: search.WithSign(r.signs, c.unit, c.at, sign), begin: r.tuning})
		}
	}
	if err := s.bound(ctx, halves, 0); err != nil {
		return err
	}
	for i, k := range which {
		a, b := halves[2*i].lower, halves[2*i+1].lower
		tried[k].value = min(a, b) + 1e-3*(a+b)
	}
	return nil
}

// bound bounds rows, and tunes them in so many steps.
func (s *graphSplitter) bound(ctx context.Context, rows []*bounded, steps int) error {
	for first := 0; first < len(rows); {
		size := s.batch(len(rows) - first)
		if steps == 0 {
			size = s.Most()
		}
		part := rows[first:min(first+size, len(rows))]
		first += len(part)
		if err := s.boundPart(ctx, part, size, steps); err != nil {
			return err
		}
	}
	return nil
}

// perUnit is how many tensors of a unit go from step to step: slopes, multipliers, and Adam's averages of both, which a
// graph without steps does not have. The signs follow.
const perUnit = 6

// boundPart is bound for rows that fit into one call.
func (s *graphSplitter) boundPart(ctx context.Context, part []*bounded, size, steps int) error {
	n, m := s.n, s.run.m
	a, err := n.arithmetic(m.rounding)
	if err != nil {
		return err
	}
	tuned := steps > 0
	p := n.program(branchKey{m.rounding, tuned}, func(_ *program, in []*Node) []*Node { return n.branchStep(a, s.units, tuned, in) })
	fixed := s.rowTensors(part, size)
	state, signs := s.stateTensors(part, size, tuned)
	defer func() {
		advlib.Free(fixed...)
		advlib.Free(signs...)
		advlib.Free(state...)
	}()
	given := s.run.taken(s.units)
	for _, r := range part {
		r.lower = math.Inf(-1)
	}
	for step := range steps + 1 {
		if err := ctx.Err(); err != nil {
			return err
		}
		scale := math.Pow(search.Decay, float64(step))
		scalars := []*tensors.Tensor{tensors.FromScalar(float64(step)), tensors.FromScalar(search.Rateα * scale),
			tensors.FromScalar(search.Rateβ * scale)}
		out, err := n.call(p, slices.Concat(scalars, fixed, given, state, signs))
		advlib.Free(scalars...)
		if err != nil {
			return fmt.Errorf("bounding %d branches: %w", len(part), err)
		}
		if !tuned {
			raise(part, tensors.MustCopyFlatData[float64](out[0]))
			advlib.Free(out...)
			return nil
		}
		next, functions := out[3:3+len(state)], out[3+len(state):]
		last := !s.collect(out[:3], part) || step == steps
		if last {
			s.keepTunings(part, state, functions)
		}
		advlib.Free(out[:3]...)
		advlib.Free(functions...)
		advlib.Free(state...)
		state = next
		if last {
			break
		}
	}
	return nil
}

// rowTensors are the inputs that describe rows: their regions and functions. The last row is repeated up to the size.
func (s *graphSplitter) rowTensors(part []*bounded, size int) []*tensors.Tensor {
	cells, functions := make([]search.Cell, size), make([][]float64, size)
	for i := range size {
		r := part[min(i, len(part)-1)]
		cells[i], functions[i] = r.cell, r.row
	}
	regions := regionsOf(s.problem, cells)
	if s.run.m.rounding != RealArithmetic {
		regions = regions.outward()
	}
	return append(s.n.regionTensors(regions, size), stack(functions, size, []int{s.n.outputs}))
}

// stateTensors are what goes from step to step, as it begins, and the signs of ReLUs.
func (s *graphSplitter) stateTensors(part []*bounded, size int, tuned bool) (state, signs []*tensors.Tensor) {
	for k, u := range s.relus {
		tensor := func(of func(*bounded) []float64) *tensors.Tensor {
			flat := make([]float64, size*len(u.slope))
			for i := range size {
				copy(flat[i*len(u.slope):], of(part[min(i, len(part)-1)]))
			}
			return tensors.FromFlatDataAndDimensions(flat, leading(u.dims, size)...)
		}
		state = append(state, tensor(func(r *bounded) []float64 { return r.begin.Alpha[k] }),
			tensor(func(r *bounded) []float64 { return r.begin.Beta[k] }))
		if tuned {
			for range perUnit - 2 {
				state = append(state, tensor(func(*bounded) []float64 { return nil }))
			}
		}
		signs = append(signs, tensor(func(r *bounded) []float64 {
			wide := make([]float64, len(u.slope))
			for i, v := range r.signs[k] {
				wide[i] = float64(v)
			}
			return wide
		}))
	}
	return state, signs
}

// raise takes over bounds that are larger.
func raise(part []*bounded, lower []float64) {
	for i, r := range part {
		if lower[i] > r.lower && !math.IsInf(lower[i], 1) { // false for NaN
			r.lower = lower[i]
		}
	}
}

// collect reads what a step has found: bounds that are larger, with Λ at the input and where they are least. It tells
// whether some are not above their limits yet.
func (s *graphSplitter) collect(out []*tensors.Tensor, part []*bounded) (left bool) {
	lower, slope := tensors.MustCopyFlatData[float64](out[0]), tensors.MustCopyFlatData[float64](out[1])
	x := tensors.MustCopyFlatData[float64](out[2])
	d := s.n.Size()
	for i, r := range part {
		before := r.lower
		raise(part[i:i+1], lower[i:])
		if r.lower > before || r.x == nil {
			r.slope, r.x = slices.Clone(slope[i*d:(i+1)*d]), slices.Clone(x[i*d:(i+1)*d])
		}
		left = left || !(r.lower > r.limit)
	}
	return left
}

// keepTunings notes with which slopes and multipliers a step was made, and Λσ of ReLUs.
func (s *graphSplitter) keepTunings(part []*bounded, state, functions []*tensors.Tensor) {
	for _, r := range part {
		r.tuning = &search.Tuning{}
	}
	for k, u := range s.relus {
		for which, t := range []*tensors.Tensor{state[k*perUnit], state[k*perUnit+1], functions[k]} {
			flat := tensors.MustCopyFlatData[float64](t)
			for i, r := range part {
				into := []*[][]float64{&r.tuning.Alpha, &r.tuning.Beta, &r.tuning.Λ}[which]
				*into = append(*into, slices.Clone(flat[i*len(u.slope):(i+1)*len(u.slope)]))
			}
		}
	}
}

// branchStep is [way.ascent] for rows that have regions and signs of their own, and the lines of one example. It
// returns bounds alone, or with tuned also Λ at the input and the input where they are least, then what goes from step
// to step, and then Λσ of each unit that is bent.
func (n *Network) branchStep(a propagate.Arithmetic, units []propagate.Taken, tuned bool, in []*Node) []*Node {
	step, rateα, rateβ, in := in[0], in[1], in[2], in[3:]
	region, in := regionOf(in)
	Λ, in := in[0], in[1:]
	rows := Λ.Shape().Dimensions[0]
	b := &propagate.Backward{Walk: n.model.Walk(region.Lower), Arithmetic: a, Region: region, Lines: map[*propagate.Unit][]*Node{},
		Rounding: map[*propagate.Unit]*Node{}}
	g := propagate.Groups{Examples: Zeros(Λ.Graph(), shapes.Make(dtypes.Int32, rows)), Rows: rows, All: 1}
	state := b.Take(units, func(_, v *Node) *Node { return g.Of(v) }, in)
	var relus []*bentUnit
	per := perUnit
	if !tuned {
		per = 2
	}
	bent := n.bentOf(units)
	signs := state[per*len(bent):]
	for k, t := range bent {
		u := &bentUnit{u: b.Walk.Units[t.Unit], sign: signs[k], state: state[k*per : (k+1)*per]}
		b.Lines[u.u] = u.lines(b.Lines[u.u])
		relus = append(relus, u)
	}
	bound := b.From(b.Walk.Out, Λ)
	if !tuned {
		return []*Node{ConvertDType(bound.Lower, dtypes.Float64)}
	}
	x := b.Region.Lowest(bound.Slope)
	h := b.Follow(x, b.Walk.Out)
	out := []*Node{bound.Lower, bound.Slope, x}
	var functions []*Node
	for _, u := range relus {
		next, Λσ := u.next(b, h, step, rateα, rateβ)
		out, functions = append(out, next...), append(functions, Λσ)
	}
	out = append(out, functions...)
	for i, v := range out {
		out[i] = ConvertDType(v, dtypes.Float64)
	}
	return out
}

// bentUnit is a unit of ReLUs in a step of branches.
type bentUnit struct {
	u     *propagate.Unit
	sign  *Node
	state []*Node // α, β, and with steps Adam's averages of both
	open  *Node   // where the slope may be chosen
}

// lines are those of the unit, with the signs that are given and the slopes that are tuned, and the multipliers behind
// them.
func (u *bentUnit) lines(lines []*Node) []*Node {
	zero := ZerosLike(u.sign)
	given := NotEqual(u.sign, zero)
	linear := ConvertDType(GreaterThan(u.sign, zero), u.sign.DType())
	u.open = LogicalAnd(GreaterThan(lines[2], zero), LogicalNot(given))
	return []*Node{
		Where(given, linear, Where(u.open, u.state[0], lines[0])), Where(given, linear, lines[1]), Where(given, zero, lines[2]),
		Mul(u.sign, u.state[1]),
	}
}

// next returns the state after a step, and Λσ; h is what the lines have where the bounds are least.
func (u *bentUnit) next(b *propagate.Backward, h map[NodeId]*Node, step, rateα, rateβ *Node) (state []*Node, Λσ *Node) {
	s := u.state
	if b.Λs[u.u.Node.Id()] == nil { // an interval on the way cuts it off
		return s, ZerosLike(s[0])
	}
	Λσ, t := b.Bend(u.u, h)
	up, mα, vα := adam(step, Where(u.open, Mul(propagate.Positive(Λσ), t), ZerosLike(t)), s[2], s[3])
	α := Where(u.open, clipped(Add(s[0], Mul(up, rateα))), s[0])
	up, mβ, vβ := adam(step, Neg(Mul(u.sign, t)), s[4], s[5])
	β := Add(s[1], Mul(up, rateβ))
	β = Where(LessThan(β, ZerosLike(β)), ZerosLike(β), β) // NaN stays
	return []*Node{α, β, mα, vα, mβ, vβ}, Λσ
}
