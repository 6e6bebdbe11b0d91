package certify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/backend"
	"advlab/advlib/internal/option"
)

// Query asks for lower bounds of linear functions of a network's outputs over regions of its inputs.
type Query struct {
	Regions Regions
	// Rows are the specification: Rows[i] are the linear functions of the K outputs for region i, all of one number S ≥ 1. With
	// one entry only it is for every region.
	Rows [][][]float64
	// Slopes asks for Answer.Slopes.
	Slopes bool
	// Enough, if it is not nil, has for each of the S rows what its bound needs to exceed: [AlphaCROWN] leaves a bound alone once
	// it does.
	Enough []float64
}

// Answer holds lower bounds for the regions and rows of a [Query].
type Answer struct {
	// Lower[i][s] ≤ ⟨Rows[i][s], f(x')⟩ for all x' in region i, where f is the network in the arithmetic that Method.Rounding
	// names. -Inf means that nothing could be shown; it is never NaN.
	Lower [][]float64
	// Slack[i][s] is what rounding took from the bound in its last pass.
	Slack [][]float64
	// Slopes[i][s] is Λ with ⟨Rows[i][s], f(x')⟩ ≥ ⟨Λ, x'⟩ + constant in the region, one number for each coordinate of the input:
	// how much each moves the bound. It is zero where IBP stops at an operation that is not affine.
	Slopes [][][]float64
	// Method is what was asked for.
	Method Method
}

// forwardKey and rowsKey are what a compiled graph depends on besides the shapes of its inputs.
type (
	forwardKey struct {
		ibp      bool
		rounding Rounding
		ball     bool
	}
	rowsKey struct {
		start    int // a node's place in walk.nodes; -1 for the outputs
		ibp      bool
		ball     bool
		rounding Rounding
	}
	tableKey struct{ start int }
)

// Bound bounds all rows over all regions.
func (n *Network) Bound(ctx context.Context, q Query, m Method) (*Answer, error) {
	a, err := n.bound(ctx, q, m)
	if err != nil {
		return nil, fmt.Errorf("certify: %v: model %q: %w", m, n.name, err)
	}
	return a, nil
}

func (n *Network) bound(ctx context.Context, q Query, m Method) (*Answer, error) {
	if err := n.check(q, m); err != nil {
		return nil, err
	}
	if m.best {
		return n.bestOf(ctx, q, m)
	}
	regions := q.Regions
	if m.rounding != RealArithmetic {
		regions = regions.outward()
	}
	q.Regions = regions
	c, err := n.small(q, m)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return n.general(ctx, q, m)
	}
	a, err := c.answer(ctx, q, m)
	if err != nil || !m.tuned {
		return a, err
	}
	// What is not enough yet is tuned, and may be better than what both begin with, or worse by rounding.
	var left []int
	for i, row := range a.Lower {
		for s, v := range row {
			if q.Enough == nil || !(v > q.Enough[s]) {
				left = append(left, i)
				break
			}
		}
	}
	if len(left) == 0 {
		return a, nil
	}
	some := q
	some.Regions = regions.Select(left)
	if len(q.Rows) > 1 {
		some.Rows = nil
		for _, i := range left {
			some.Rows = append(some.Rows, q.Rows[i])
		}
	}
	tuned, err := n.general(ctx, some, m)
	if err != nil {
		return nil, err
	}
	for k, i := range left {
		a.better(i, tuned, k)
	}
	return a, nil
}

// better takes over bounds of region k of another answer for region i where they are larger: both hold.
func (a *Answer) better(i int, other *Answer, k int) {
	for s, v := range other.Lower[k] {
		if v > a.Lower[i][s] {
			a.Lower[i][s], a.Slack[i][s] = v, other.Slack[k][s]
			if a.Slopes != nil {
				a.Slopes[i][s] = other.Slopes[k][s]
			}
		}
	}
}

// general bounds by graphs, whatever the model.
func (n *Network) general(ctx context.Context, q Query, m Method) (*Answer, error) {
	answer, regions := &Answer{Method: m}, q.Regions
	for first := 0; first < regions.Len(); {
		size := n.batch(regions.Len()-first, m)
		which := make([]int, min(size, regions.Len()-first))
		for i := range which {
			which[i] = first + i
		}
		part := regions.Select(which)
		rows := make([][][]float64, len(which))
		for i := range rows {
			rows[i] = q.Rows[0]
			if len(q.Rows) > 1 {
				rows[i] = q.Rows[which[i]]
			}
		}
		r := &run{ctx: ctx, n: n, m: m, regions: part, size: size, slopes: q.Slopes, enough: q.Enough}
		if err := r.do(rows, answer); err != nil {
			return nil, err
		}
		first += len(which)
	}
	return answer, nil
}

// bestOf takes the largest of the bounds by all lower lines and by IBP: each of them holds.
func (n *Network) bestOf(ctx context.Context, q Query, m Method) (*Answer, error) {
	m.best = false
	var best *Answer
	methods := []Method{{rounding: m.rounding, withoutBox: m.withoutBox}}
	for l := Adaptive; l <= SameSlope; l++ {
		methods = append(methods, m.WithLine(l))
	}
	for _, method := range methods {
		a, err := n.bound(ctx, q, method)
		if err != nil {
			return nil, err
		}
		if best == nil {
			best = a
			continue
		}
		for i := range a.Lower {
			best.better(i, a, i)
		}
	}
	m.best = true
	best.Method = m
	return best, nil
}

// check refuses a query before anything is compiled.
func (n *Network) check(q Query, m Method) error {
	if err := q.Regions.check(n.Size()); err != nil {
		return err
	}
	if len(q.Rows) != 1 && len(q.Rows) != q.Regions.Len() {
		return fmt.Errorf("there are rows for %d regions, and %d regions: give rows for each, or one entry for all", len(q.Rows), q.Regions.Len())
	}
	for i, rows := range q.Rows {
		if len(rows) == 0 || len(rows) != len(q.Rows[0]) {
			return fmt.Errorf("region %d has %d rows, the first %d: give as many for each, at least one", i, len(rows), len(q.Rows[0]))
		}
		for s, row := range rows {
			if len(row) != n.outputs {
				return fmt.Errorf("row %d of region %d has %d numbers, the network has %d outputs", s, i, len(row), n.outputs)
			}
			for _, v := range row {
				if math.IsNaN(v) || math.IsInf(v, 0) {
					return fmt.Errorf("row %d of region %d has %g: it must be finite", s, i, v)
				}
			}
		}
	}
	if q.Enough != nil && len(q.Enough) != len(q.Rows[0]) {
		return fmt.Errorf("Enough has %d numbers, there are %d rows: give one for each", len(q.Enough), len(q.Rows[0]))
	}
	if err := m.alpha.check(); err != nil {
		return err
	}
	if err := n.fits(); err != nil {
		return err
	}
	return n.checkArithmetic(m.rounding)
}

// checkArithmetic refuses to speak of an arithmetic that the backend does not have.
func (n *Network) checkArithmetic(r Rounding) error {
	if backend.InfoOf(n.deployed).Name != backend.XLACUDA || r == RealArithmetic {
		return nil
	}
	for _, o := range n.operations {
		switch {
		case o == "ConvGeneral":
			return fmt.Errorf("on CUDA convolutions may run by Winograd's or Fourier transforms, whose rounding has no bound here: certify on the CPU the model deployed there, or use %v, which says nothing about computed outputs", option.Name("certify.RealArithmetic"))
		case o == "DotGeneral" && r == Float32AnyOrder:
			return fmt.Errorf("on CUDA dot products may run in TF32: use %v", option.Name("certify.TF32AnyOrder"))
		}
	}
	return nil
}

// batch returns how many examples, padded, go through a forward pass.
func (n *Network) batch(examples int, m Method) int {
	size := advlib.Bucket(examples)
	for size > 8 && 8*copiesForward*n.numbers*size > n.allowed() {
		size /= 4 // the next smaller bucket
	}
	if 8*copiesForward*n.numbers*size > n.allowed() {
		size = 1
	}
	return size
}

// rowBatch returns how many rows, padded, go through a backward pass, on patches if places are not nil.
func (n *Network) rowBatch(rows int, p *places) int {
	numbers := n.numbers
	if p != nil {
		numbers = p.numbers
	}
	size := 128 // fewer do not pay for another compilation, unless the model is large
	if numbers > 2000 {
		size = 16
	}
	for size < rows && size < 1<<13 {
		size *= 8
	}
	limit := min(n.allowed(), rowMemory)
	for size > 16 && 8*copiesBack*numbers*size > limit {
		size /= 8
	}
	if 8*copiesBack*numbers*size > n.allowed() {
		size = 1
	}
	return size
}

// held is a tensor of a forward pass: on the host, or on the device, where backward passes pick from it.
type held struct {
	flat   []float64
	device *tensors.Tensor
	per    int   // numbers for each example
	dims   []int // of one example: the leading axis is what it is for one
}

// run bounds the rows of one batch of examples.
type run struct {
	ctx     context.Context
	n       *Network
	m       Method
	regions Regions
	size    int // padded
	slopes  bool
	enough  []float64         // as Query.Enough
	region  []*tensors.Tensor // the regions, padded, on the device

	layout *layout
	lines  map[int][]held // by unit
	stops  map[int][2]held
	errors map[int]held
	ends   map[int][2]held // intervals of boundaries, by node
	open   map[int]held    // where a boundary is worth tightening
}

// layout says what a forward pass returns, in order, and names units and nodes by their places in a walk.
type layout struct {
	slots []slot
}

type slot struct {
	what  string // "lines", "stop", "error", "ends", "open"
	place int
	part  int
}

// program is a compiled graph with the layout of its results, known once it is built.
type program struct {
	exec   *model.Exec
	layout *layout
}

func (n *Network) program(key any, build func(p *program, in []*Node) []*Node) *program {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.programs[key]
	if p == nil {
		p = &program{layout: &layout{}}
		exec, err := model.NewExec(n.backend, n.wide.Store(), func(_ *model.Scope, in []*Node) []*Node { return build(p, in) })
		must(err) // fails for a nil store only
		exec.WithName(fmt.Sprintf("%T", key)).SetMaxCache(-1)
		p.exec = exec
		n.programs[key] = p
	}
	return p
}

// call runs a program.
func (n *Network) call(p *program, in []*tensors.Tensor) (out []*tensors.Tensor, err error) {
	args := make([]any, len(in))
	for i, t := range in {
		args[i] = t
	}
	n.wide.Lock()
	defer n.wide.Unlock()
	if n.borrows { // a tensor belongs to one backend at a time
		if err := detach(n.wide.Store()); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, detach(n.wide.Store())) }()
	}
	if panicked := catch(func() { out, err = p.exec.Exec(args...) }); panicked != nil {
		return nil, panicked
	}
	return out, err
}

// arithmetic of the deployed model on the network's backend.
func (n *Network) arithmetic(r Rounding) (arithmetic, error) {
	a := r.arithmetic()
	a.exactVariables = n.exact
	if !a.real {
		l, err := libraryOf(n.deployed, n.functions)
		if err != nil {
			return a, err
		}
		a.library = l
	}
	return a, nil
}

func (r *run) do(rows [][][]float64, answer *Answer) error {
	r.region = r.regionTensors()
	defer func() {
		advlib.Free(r.region...)
		r.free()
	}()
	known := map[int][2]held{}
	if err := r.intervals(known); err != nil {
		return err
	}
	var items []item
	for i := range rows {
		for s, row := range rows[i] {
			items = append(items, item{example: i, row: row, place: s})
		}
	}
	results, err := r.backward(-1, items, true)
	if err != nil {
		return err
	}
	if r.m.tuned {
		if err := r.tune(known, items, results); err != nil {
			return err
		}
	}
	S := len(rows[0])
	for i := range rows {
		lower, slack, slopes := make([]float64, S), make([]float64, S), make([][]float64, S)
		for s := range S {
			res := results[i*S+s]
			lower[s], slack[s], slopes[s] = res.lower, res.slack, res.slope
		}
		answer.Lower, answer.Slack = append(answer.Lower, lower), append(answer.Slack, slack)
		if r.slopes {
			answer.Slopes = append(answer.Slopes, slopes)
		}
	}
	return nil
}

// intervals computes intervals and lines of all units, as the method has them, and notes those of boundaries.
func (r *run) intervals(known map[int][2]held) error {
	if err := r.forward(known); err != nil || r.m.kind != crown {
		return err
	}
	return r.improve(known, func(node int, items []item, _ []result) ([]result, error) { return r.backward(node, items, false) })
}

// improve replaces the bounds of each boundary's open coordinates, from the input on, by what better makes of them, and computes what lies
// behind anew. better is given the boundary's node, both ends of its open coordinates, and their bounds in known.
func (r *run) improve(known map[int][2]held, better func(node int, items []item, results []result) ([]result, error)) error {
	for _, b := range r.n.boundaries {
		if b.exact && r.regions.Norm != advlib.L1 {
			continue
		}
		open, k := r.open[b.node], known[b.node]
		var items []item
		var results []result
		for i := range r.regions.Len() {
			for at, v := range open.flat[i*open.per : (i+1)*open.per] {
				if v > 0 {
					items = append(items, item{example: i, at: at, sign: 1}, item{example: i, at: at, sign: -1})
					results = append(results, result{lower: k[0].flat[i*open.per+at]}, result{lower: -k[1].flat[i*open.per+at]})
				}
			}
		}
		if len(items) == 0 {
			continue
		}
		results, err := better(b.node, items, results)
		if err != nil {
			return err
		}
		for j, it := range items {
			at := it.example*open.per + it.at
			if it.sign > 0 {
				k[0].flat[at] = results[j].lower
			} else {
				k[1].flat[at] = -results[j].lower
			}
		}
		if err := r.forward(known); err != nil {
			return err
		}
	}
	return nil
}

// stack puts rows of numbers together as [size, d...]; behind the given rows the first is repeated.
func stack(rows [][]float64, size int, dims []int) *tensors.Tensor {
	per := len(rows[0])
	flat := make([]float64, size*per)
	for i := range size {
		row := rows[0]
		if i < len(rows) {
			row = rows[i]
		}
		copy(flat[i*per:], row)
	}
	return tensors.FromFlatDataAndDimensions(flat, append([]int{size}, dims...)...)
}

// regionTensors are the inputs of a graph that describe the regions.
func (r *run) regionTensors() []*tensors.Tensor {
	centre, radius := r.regions.Lower, make([]float64, r.size)
	if r.regions.Norm != nil {
		centre = r.regions.Centre
		copy(radius, r.regions.Radius)
	}
	return []*tensors.Tensor{
		stack(r.regions.Lower, r.size, r.n.input), stack(r.regions.Upper, r.size, r.n.input), stack(centre, r.size, r.n.input),
		tensors.FromFlatDataAndDimensions(radius, r.size), tensors.FromScalar(normCode(r.regions.Norm)),
	}
}

// free releases what the last forward pass left on the device.
func (r *run) free() {
	for _, lines := range r.lines {
		for _, h := range lines {
			advlib.Free(h.device)
		}
	}
	for _, pair := range r.stops {
		advlib.Free(pair[0].device, pair[1].device)
	}
	for _, h := range r.errors {
		advlib.Free(h.device)
	}
}

// regionOf takes the region's nodes off the front of a graph's inputs.
func regionOf(in []*Node) (r region, rest []*Node) {
	r = region{lower: in[0], upper: in[1], centre: in[2], radius: in[3], norm: in[4]}
	if mutateRegion != nil {
		r = mutateRegion(r)
	}
	return r, in[5:]
}

// forward computes intervals and lines of all units, with what is known of boundaries, and brings them to the host.
func (r *run) forward(known map[int][2]held) error {
	n, m := r.n, r.m
	a, err := n.arithmetic(m.rounding)
	if err != nil {
		return err
	}
	ball := r.regions.Norm != nil
	p := n.program(forwardKey{m.kind == ibp, m.rounding, ball}, func(prog *program, in []*Node) []*Node {
		region, in := regionOf(in)
		w := n.walk(region.lower)
		pass := &pass{w: w, a: a, line: in[0], known: map[NodeId]interval{}, intersect: in[1]}
		in = in[2:]
		if m.kind != ibp {
			for _, b := range n.boundaries {
				pass.known[w.nodes[b.node].Id()] = interval{lower: in[0], upper: in[1]}
				in = in[2:]
			}
		}
		pass.run(region, ball)
		return pass.results(m.kind == ibp, prog.layout)
	})
	var in []*tensors.Tensor
	intersect := int32(0)
	if m.intersect {
		intersect = 1
	}
	in = append(in, tensors.FromScalar(int32(m.line)), tensors.FromScalar(intersect))
	if m.kind != ibp {
		for _, b := range n.boundaries {
			for part := range 2 {
				k, ok := known[b.node]
				if !ok {
					k = unknown(b, r.size)
					known[b.node] = k
				}
				in = append(in, tensors.FromFlatDataAndDimensions(k[part].flat, leading(b.dims, r.size)...))
			}
		}
	}
	out, err := n.call(p, slices.Concat(r.region, in))
	advlib.Free(in...)
	if err != nil {
		return fmt.Errorf("bounding %d regions: %w", r.regions.Len(), err)
	}
	r.free()
	r.layout = p.layout
	r.lines, r.stops, r.errors = map[int][]held{}, map[int][2]held{}, map[int]held{}
	r.ends, r.open = map[int][2]held{}, map[int]held{}
	for i, s := range p.layout.slots {
		dims := slices.Clone(out[i].Shape().Dimensions)
		dims[0] /= r.size
		h := held{device: out[i], dims: dims, per: out[i].Size() / r.size}
		if s.what == "ends" || s.what == "open" || s.what == "nothing" {
			h.flat, h.device = tensors.MustCopyFlatData[float64](out[i]), nil
			advlib.Free(out[i])
		}
		switch s.what {
		case "lines":
			r.lines[s.place] = append(r.lines[s.place], h)
		case "error":
			r.errors[s.place] = h
		case "stop", "ends":
			into := r.stops
			if s.what == "ends" {
				into = r.ends
			}
			pair := into[s.place]
			pair[s.part] = h
			into[s.place] = pair
		case "open":
			r.open[s.place] = h
		}
	}
	return nil
}

// leading returns dims with as many examples.
func leading(dims []int, size int) []int {
	dims = slices.Clone(dims)
	dims[0] *= size
	return dims
}

// unknown is an interval of a boundary that says nothing.
func unknown(b boundary, size int) (k [2]held) {
	per := 1
	for _, d := range b.dims {
		per *= d
	}
	for part, sign := range []int{-1, 1} {
		flat := make([]float64, per*size)
		for i := range flat {
			flat[i] = math.Inf(sign)
		}
		k[part] = held{flat: flat, per: per, dims: b.dims}
	}
	return k
}

// results lists what the host needs of a pass.
func (p *pass) results(ibp bool, l *layout) (out []*Node) {
	l.slots = nil
	add := func(n *Node, what string, place, part int) {
		out = append(out, ConvertDType(n, dtypes.Float64))
		l.slots = append(l.slots, slot{what, place, part})
	}
	open := map[int]*Node{}
	for i, u := range p.w.units {
		if E := p.rounding[i]; E != nil {
			add(E, "error", i, 0)
		}
		if u.rule.affine() {
			continue
		}
		if ibp {
			v := p.all[u.n.Id()]
			add(v.lower, "stop", i, 0)
			add(v.upper, "stop", i, 1)
			continue
		}
		lines, some := u.rule.relax(p, u, p.inputs(u))
		for part, line := range lines {
			add(line, "lines", i, part)
		}
		for _, k := range u.tightened() {
			j := p.w.index[u.inputs[k].Id()]
			v := p.all[u.inputs[k].Id()]
			worth := some
			if worth == nil {
				worth = Where(LessThan(v.lower, v.upper), OnesLike(v.lower), ZerosLike(v.lower))
			}
			if open[j] != nil {
				worth = Max(worth, open[j])
			}
			open[j] = worth
		}
	}
	if len(out) == 0 { // GoMLX refuses a graph without results
		v := p.all[p.w.x.Id()]
		add(Add(v.lower, v.upper), "nothing", 0, 0)
	}
	if ibp {
		return out
	}
	for j := range p.w.nodes {
		if open[j] == nil || j == 0 {
			continue
		}
		v := p.all[p.w.nodes[j].Id()]
		add(v.lower, "ends", j, 0)
		add(v.upper, "ends", j, 1)
		add(open[j], "open", j, 0)
	}
	return out
}

// item is a row of a backward pass: an example with a linear function of the start, dense or of one coordinate.
type item struct {
	example int
	row     []float64
	place   int // of the row among those of its example
	at      int
	sign    float64
}

type result struct {
	lower, slack float64
	slope        []float64
}

// backward bounds the items' linear functions of a node, -1 for the outputs, from below.
func (r *run) backward(start int, items []item, dense bool) ([]result, error) {
	n, m := r.n, r.m
	a, err := n.arithmetic(m.rounding)
	if err != nil {
		return nil, err
	}
	slots := n.needed(start, m.kind == ibp, r.layout)
	places := n.places[start]
	p := n.program(rowsKey{start, m.kind == ibp, r.regions.Norm != nil, m.rounding}, func(_ *program, in []*Node) []*Node {
		all, in := regionOf(in)
		g := groups{examples: in[0], rows: in[1].Shape().Dimensions[0], all: all.lower.Shape().Dimensions[0]}
		function, in := in[1], in[2:]
		b := &backward{a: a, r: all, box: r.regions.Norm == nil, lines: map[*unit][]*Node{}, rounding: map[*unit]*Node{}}
		of := func(_, v *Node) *Node { return g.of(v) }
		var from, Λ *Node
		switch {
		case dense:
			b.r = all.map_(g.of)
			b.w = n.walk(b.r.lower)
			from, Λ = b.w.out, function
		case places == nil:
			b.r = all.map_(g.of)
			b.w = n.walk(b.r.lower)
			from = b.w.nodes[start]
			Λ = Reshape(unitRows(function, in[0], from.Shape().Size()/g.rows), from.Shape().Dimensions...)
			sign := in[0]
			in = in[1:]
			way, size := b.w.affineWay(from), from.Shape().Size()/g.rows
			var table *Node
			switch {
			case n.tabled[start]:
				table, in = in[0], in[1:]
			case len(way) > 0 && 8*size <= g.rows: // small beside the rows
				table = n.tableOn(all.lower.Graph(), start, size)
			}
			if table != nil {
				end := way[len(way)-1].the()
				b.given = map[NodeId]*Node{end.Id(): Reshape(picked(table, function, sign), end.Shape().Dimensions...)}
			}
		default:
			b.w = n.walk(all.lower)
			from = b.w.nodes[start]
			b.cut = b.w.receptive(from).cut(g, in[1])
			of = b.cut.take
			x := func(v *Node) *Node { return of(b.cut.end, b.w.rearrange(b.cut.end, v)) }
			b.r = region{lower: x(all.lower), upper: x(all.upper), centre: x(all.centre), radius: g.of(all.radius), norm: all.norm}
			p := b.cut.of[from.Id()]
			Λ = Reshape(unitRows(function, in[0], p.numbers()), p.dims(g.rows)...)
			if end, table := b.cut.table(b.w, from); end != from {
				Λ := Reshape(picked(table, function, in[0]), b.cut.of[end.Id()].dims(g.rows)...)
				b.given = map[NodeId]*Node{end.Id(): b.cut.inside(end, Λ)}
			}
			in = in[2:]
		}
		if m.kind == ibp {
			b.stop = map[*unit]interval{}
		}
		for i, s := range slots {
			u := b.w.units[s.place]
			v := of(u.n, in[i])
			switch s.what {
			case "lines":
				b.lines[u] = append(b.lines[u], v)
			case "error":
				b.rounding[u] = v
			case "stop":
				pair := b.stop[u]
				if s.part == 0 {
					pair.lower = v
				} else {
					pair.upper = v
				}
				b.stop[u] = pair
			}
		}
		if mutateBackward != nil && b.cut != nil {
			mutateBackward(b)
		}
		v := b.from(from, Λ)
		if !dense {
			return []*Node{v.lower, v.slack}
		}
		return []*Node{v.lower, v.slack, v.slope}
	})
	var table *tensors.Tensor
	if !dense && n.tabled[start] {
		if table, err = n.table(start); err != nil {
			return nil, err
		}
		defer advlib.Free(table)
	}
	perGroup := 8
	if dense {
		perGroup = min(perGroup, len(items)/r.regions.Len())
	}
	all := grouped(items, perGroup, places)
	results := make([]result, len(items))
	for len(all) > 0 {
		if err := r.ctx.Err(); err != nil {
			return nil, err
		}
		size := n.rowBatch(len(all)*perGroup, places)
		count := max(1, size/perGroup)
		part := all[:min(count, len(all))]
		all = all[len(part):]
		rows := make([]int, 0, count*perGroup) // items, those that fill up repeated
		examples, at := make([]int32, count), make([]int32, count)
		for i := range count {
			g := part[min(i, len(part)-1)]
			examples[i], at[i] = int32(items[g.items[0]].example), int32(g.place)
			for k := range perGroup {
				rows = append(rows, g.items[min(k, len(g.items)-1)])
			}
		}
		in := []*tensors.Tensor{tensors.FromFlatDataAndDimensions(examples, count)}
		if dense {
			in = append(in, stack(rowsOf(items, rows), len(rows), []int{n.outputs}))
		} else {
			number, sign := make([]int32, len(rows)), make([]float64, len(rows))
			for i, k := range rows {
				number[i], sign[i] = int32(items[k].at), items[k].sign
				if places != nil {
					_, rest := places.split(items[k].at)
					number[i] = int32(rest)
				}
			}
			in = append(in, tensors.FromFlatDataAndDimensions(number, len(rows)), tensors.FromFlatDataAndDimensions(sign, len(rows)))
			if places != nil {
				in = append(in, tensors.FromFlatDataAndDimensions(at, count))
			}
		}
		args := slices.Concat(r.region, in)
		if table != nil {
			args = append(args, table)
		}
		for _, s := range slots {
			switch s.what {
			case "lines":
				args = append(args, r.lines[s.place][s.part].device)
			case "error":
				args = append(args, r.errors[s.place].device)
			case "stop":
				args = append(args, r.stops[s.place][s.part].device)
			}
		}
		out, err := n.call(p, args)
		advlib.Free(in...)
		if err != nil {
			return nil, fmt.Errorf("bounding %d rows: %w", size, err)
		}
		lower, slack := tensors.MustCopyFlatData[float64](out[0]), tensors.MustCopyFlatData[float64](out[1])
		var slopes []float64
		if dense && r.slopes {
			slopes = tensors.MustCopyFlatData[float64](out[2])
		}
		for i, g := range part {
			for k, j := range g.items {
				row := i*perGroup + k
				res := result{lower: lower[row], slack: slack[row]}
				if math.IsNaN(res.lower) || math.IsInf(res.lower, 1) {
					res.lower = math.Inf(-1)
				}
				if slopes != nil {
					d := n.Size()
					res.slope = slopes[row*d : (row+1)*d : (row+1)*d]
				}
				results[j] = res
			}
		}
		advlib.Free(out...)
	}
	return results, nil
}

// table computes the table of a boundary.
func (n *Network) table(start int) (*tensors.Tensor, error) {
	p := n.program(tableKey{start}, func(_ *program, in []*Node) []*Node {
		return []*Node{n.tableOn(in[0].Graph(), start, in[0].Shape().Dimensions[0])}
	})
	size := 1
	for _, b := range n.boundaries {
		if b.node == start {
			size = sizeOf(b.dims)
		}
	}
	rows := tensors.FromShape(shapes.Make(dtypes.Float64, size)) // for its size
	defer advlib.Free(rows)
	out, err := n.call(p, []*tensors.Tensor{rows})
	if err != nil {
		return nil, fmt.Errorf("tabling %d neurons: %w", size, err)
	}
	return out[0], nil
}

// tableOn builds the table of a boundary, [size, ...].
func (n *Network) tableOn(g *Graph, start, size int) *Node {
	w := n.walk(Zeros(g, shapes.Make(dtypes.Float64, append([]int{size}, n.input...)...)))
	_, table := w.table(w.nodes[start])
	return Reshape(table, size, -1)
}

// unitRows returns rows with the given sign at the given coordinate, 0 elsewhere.
func unitRows(at, sign *Node, size int) *Node {
	return Mul(OneHot(at, size, sign.DType()), InsertAxes(sign, -1))
}

// group is items of one example and, with patches, one place.
type group struct {
	place int
	items []int
}

// grouped puts items into groups of at most perGroup.
func grouped(items []item, perGroup int, p *places) (groups []group) {
	last := map[[2]int]int{} // the group that is being filled
	for j, it := range items {
		key := [2]int{it.example}
		if p != nil {
			key[1], _ = p.split(it.at)
		}
		i, ok := last[key]
		if !ok || len(groups[i].items) == perGroup {
			i = len(groups)
			last[key] = i
			groups = append(groups, group{place: key[1]})
		}
		groups[i].items = append(groups[i].items, j)
	}
	return groups
}

func rowsOf(items []item, which []int) [][]float64 {
	rows := make([][]float64, len(which))
	for i, j := range which {
		rows[i] = items[j].row
	}
	return rows
}

// needed returns those of a layout's slots that a backward pass from a node takes, in order.
func (n *Network) needed(start int, ibp bool, l *layout) (slots []slot) {
	units := n.reach[start]
	if ibp {
		units = n.reachIBP
	}
	for _, s := range l.slots {
		switch s.what {
		case "lines", "stop":
			if units[s.place] {
				slots = append(slots, s)
			}
		case "error":
			if units[s.place] && !(ibp && !n.units[s.place].affine) {
				slots = append(slots, s)
			}
		}
	}
	return slots
}
