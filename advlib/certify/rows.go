package certify

import (
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// outputs stands for the network's outputs where rows start from a node, given by its place in walk.nodes.
const outputs = -1

// item is a row of a pass back: a region, by its number, with a linear function of the start. From the outputs that is any, row; from another
// node it is a coordinate with a sign.
type item struct {
	example int
	row     []float64
	place   int // of the row among those of its region
	at      int
	sign    float64
}

// result is a lower bound of an item's function, what rounding took from it, and Λ at the input where that is asked for.
type result struct {
	lower, slack float64
	slope        []float64
}

// group is items of one region and, with patches, one place.
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

// needed returns what rows from a node take, in order.
func (n *Network) needed(start int, ibp bool, l *layout) (units []taken) {
	way := n.reach[start]
	if ibp {
		way = n.reachIBP
	}
	for i, found := range l.units {
		if ibp && !n.units[i].affine { // the interval at which it stops holds its error
			found.error = nil
		}
		if way[i] && len(found.all()) > 0 {
			units = append(units, taken{i, found})
		}
	}
	return units
}

// taken returns the results themselves.
func (r *run) taken(units []taken) (in []*tensors.Tensor) {
	for _, t := range units {
		for _, i := range t.all() {
			in = append(in, r.found[i])
		}
	}
	return in
}

// way says how rows go back from a node.
type way struct {
	n     *Network
	a     arithmetic
	start int
	units []taken
	// ibp ends it at the first units that are not affine; box tells that regions are boxes.
	ibp, box bool
	// tables lets it pick rows from tables; see [walk.table].
	tables bool
}

// way returns how rows of the run go back from a node.
func (r *run) way(start int) (way, error) {
	a, err := r.n.arithmetic(r.m.rounding)
	ibp := r.m.kind == ibp
	return way{n: r.n, a: a, start: start, units: r.n.needed(start, ibp, r.layout), ibp: ibp, box: r.regions.Norm == nil}, err
}

// build takes a graph's inputs, and returns the pass back with its start and Λ there, and the inputs that are left. Those that it takes are
// the regions, the rows as [run.rowTensors] has them, the table if there is one, and what the units have.
func (y way) build(in []*Node) (b *backward, from, Λ *Node, rest []*Node) {
	all, in := regionOf(in)
	g := groups{examples: in[0], rows: in[1].Shape().Dimensions[0], all: all.lower.Shape().Dimensions[0]}
	b = &backward{a: y.a, box: y.box, lines: map[*unit][]*Node{}, rounding: map[*unit]*Node{}}
	if y.ibp {
		b.stop = map[*unit]interval{}
	}
	of := func(_, v *Node) *Node { return g.of(v) }
	switch function := in[1]; {
	case y.start == outputs:
		b.r = all.map_(g.of)
		b.w = y.n.model.Walk(b.r.lower)
		from, Λ, in = b.w.out, function, in[2:]
	case y.n.places[y.start] == nil:
		b.r = all.map_(g.of)
		from, Λ, in = y.whole(b, all, g, in[1:])
	default:
		from, Λ, in = y.patches(b, all, g, in[1:])
		of = b.cut.take
	}
	return b, from, Λ, b.take(y.units, of, in)
}

// whole begins rows of coordinates of the start: in are their numbers and signs, and the table, if there is one.
func (y way) whole(b *backward, all region, g groups, in []*Node) (from, Λ *Node, rest []*Node) {
	at, sign, in := in[0], in[1], in[2:]
	b.w = y.n.model.Walk(b.r.lower)
	from = b.w.nodes[y.start]
	dims, size := from.Shape().Dimensions, from.Shape().Size()/g.rows
	Λ = Reshape(unitRows(at, sign, size), dims...)
	if !y.tables {
		return from, Λ, in
	}
	affine := b.w.affineWay(from)
	var table *Node
	switch {
	case y.n.tabled[y.start]:
		table, in = in[0], in[1:]
	case len(affine) > 0 && 8*size <= g.rows: // small beside the rows
		table = y.n.tableOn(all.lower.Graph(), y.start, size)
	}
	if table != nil {
		end := affine[len(affine)-1].the()
		b.given = map[NodeId]*Node{end.Id(): Reshape(picked(table, at, sign), end.Shape().Dimensions...)}
	}
	return from, Λ, in
}

// patches begins rows of coordinates on patches: in are the coordinates' numbers among those of one place, their signs, and the places of
// groups.
func (y way) patches(b *backward, all region, g groups, in []*Node) (from, Λ *Node, rest []*Node) {
	at, sign, place := in[0], in[1], in[2]
	b.w = y.n.model.Walk(all.lower)
	from = b.w.nodes[y.start]
	b.cut = b.w.receptive(from).cut(g, place)
	x := func(v *Node) *Node { return b.cut.take(b.cut.end, b.w.rearrange(b.cut.end, v)) }
	b.r = region{lower: x(all.lower), upper: x(all.upper), centre: x(all.centre), radius: g.of(all.radius), norm: all.norm}
	p := b.cut.of[from.Id()]
	Λ = Reshape(unitRows(at, sign, p.numbers()), p.dims(g.rows)...)
	if !y.tables {
		return from, Λ, in[3:]
	}
	if end, table := b.cut.table(b.w, from); end != from {
		Λ := Reshape(picked(table, at, sign), b.cut.of[end.Id()].dims(g.rows)...)
		b.given = map[NodeId]*Node{end.Id(): b.cut.inside(end, Λ)}
	}
	return from, Λ, in[3:]
}

// unitRows returns rows with the given sign at the given coordinate, 0 elsewhere.
func unitRows(at, sign *Node, size int) *Node {
	return Mul(OneHot(at, size, sign.DType()), InsertAxes(sign, -1))
}

// rowTensors are the inputs of a graph that describe rows from a node: for each of count groups its region; for each of their rows, perGroup
// each, the linear function of the outputs, or the coordinate's number and its sign; with patches, for each group its place. Groups and rows that
// are missing are the last one again.
func (r *run) rowTensors(start int, items []item, part []group, count, perGroup int) []*tensors.Tensor {
	rows := make([]item, 0, count*perGroup)
	examples, at := make([]int32, count), make([]int32, count)
	for i := range count {
		g := part[min(i, len(part)-1)]
		examples[i], at[i] = int32(items[g.items[0]].example), int32(g.place)
		for k := range perGroup {
			rows = append(rows, items[g.items[min(k, len(g.items)-1)]])
		}
	}
	in := []*tensors.Tensor{tensors.FromFlatDataAndDimensions(examples, count)}
	if start == outputs {
		functions := make([][]float64, len(rows))
		for i, it := range rows {
			functions[i] = it.row
		}
		return append(in, stack(functions, len(rows), []int{r.n.outputs}))
	}
	places := r.n.places[start]
	number, sign := make([]int32, len(rows)), make([]float64, len(rows))
	for i, it := range rows {
		number[i], sign[i] = int32(it.at), it.sign
		if places != nil {
			_, rest := places.split(it.at)
			number[i] = int32(rest)
		}
	}
	in = append(in, tensors.FromFlatDataAndDimensions(number, len(rows)), tensors.FromFlatDataAndDimensions(sign, len(rows)))
	if places != nil {
		in = append(in, tensors.FromFlatDataAndDimensions(at, count))
	}
	return in
}

// mutateBackward, if it is not nil, changes a pass on patches. Tests of the tests plant mistakes with it.
var mutateBackward func(*backward)

// back bounds the items' linear functions of a node, or of the [outputs], from below.
func (r *run) back(start int, items []item) ([]result, error) {
	n := r.n
	y, err := r.way(start)
	if err != nil {
		return nil, err
	}
	y.tables = true
	p := n.program(rowsKey{start, y.ibp, !y.box, r.m.rounding}, func(_ *program, in []*Node) []*Node {
		b, from, Λ, _ := y.build(in)
		if mutateBackward != nil && b.cut != nil {
			mutateBackward(b)
		}
		v := b.from(from, Λ)
		if start != outputs {
			return []*Node{v.lower, v.slack}
		}
		return []*Node{v.lower, v.slack, v.slope}
	})
	var table []*tensors.Tensor
	if n.tabled[start] {
		t, err := n.table(start)
		if err != nil {
			return nil, err
		}
		table = []*tensors.Tensor{t}
		defer advlib.Free(t)
	}
	perGroup := 8
	if start == outputs {
		perGroup = min(perGroup, len(items)/r.regions.Len())
	}
	given := r.taken(y.units)
	results := make([]result, len(items))
	for all := grouped(items, perGroup, n.places[start]); len(all) > 0; {
		if err := r.ctx.Err(); err != nil {
			return nil, err
		}
		size := n.rowBatch(len(all)*perGroup, n.places[start])
		count := max(1, size/perGroup)
		part := all[:min(count, len(all))]
		all = all[len(part):]
		in := r.rowTensors(start, items, part, count, perGroup)
		out, err := n.call(p, slices.Concat(r.region, in, table, given))
		advlib.Free(in...)
		if err != nil {
			return nil, fmt.Errorf("bounding %d rows: %w", size, err)
		}
		r.collect(out, part, perGroup, results)
		advlib.Free(out...)
	}
	return results, nil
}

// collect reads the results of a part of the rows.
func (r *run) collect(out []*tensors.Tensor, part []group, perGroup int, results []result) {
	lower, slack := tensors.MustCopyFlatData[float64](out[0]), tensors.MustCopyFlatData[float64](out[1])
	var slopes []float64
	if len(out) > 2 && r.slopes {
		slopes = tensors.MustCopyFlatData[float64](out[2])
	}
	d := r.n.Size()
	for i, g := range part {
		for k, j := range g.items {
			row := i*perGroup + k
			res := result{lower: lower[row], slack: slack[row]}
			if math.IsNaN(res.lower) || math.IsInf(res.lower, 1) {
				res.lower = math.Inf(-1)
			}
			if slopes != nil {
				res.slope = slopes[row*d : (row+1)*d : (row+1)*d]
			}
			results[j] = res
		}
	}
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
	w := n.model.Walk(Zeros(g, shapes.Make(dtypes.Float64, append([]int{size}, n.model.Input...)...)))
	_, table := w.table(w.nodes[start])
	return Reshape(table, size, -1)
}
