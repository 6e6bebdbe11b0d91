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
	"advlab/advlib/certify/internal/propagate"
)

// outputs stands for the network's outputs where rows start from a node, given by its place in Walk.Nodes.
const outputs = -1

// item is a row of a pass back: a region, by its number, with a linear function of the start. From the outputs that is
// any, row; from another node it is a coordinate with a sign.
type item struct {
	example int
	row     []float64
	place   int // of the row among those of its region
	at      int
	sign    float64
}

// result is a lower bound of an item's function, what rounding took from it, and Λ at the input where that is asked
// for.
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
func grouped(items []item, perGroup int, p *propagate.Places) (groups []group) {
	last := map[[2]int]int{} // the group that is being filled
	for j, it := range items {
		key := [2]int{it.example}
		if p != nil {
			key[1], _ = p.Split(it.at)
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
func (n *Network) needed(start int, ibp bool, l *propagate.Layout) (units []propagate.Taken) {
	way := n.reach[start]
	if ibp {
		way = n.reachIBP
	}
	for i, found := range l.Units {
		if ibp && !n.units[i].affine { // the interval at which it stops holds its error
			found.Rounding = nil
		}
		if way[i] && len(found.All()) > 0 {
			units = append(units, propagate.Taken{Unit: i, UnitResults: found})
		}
	}
	return units
}

// taken returns the results themselves.
func (r *run) taken(units []propagate.Taken) (in []*tensors.Tensor) {
	for _, t := range units {
		for _, i := range t.All() {
			in = append(in, r.found[i])
		}
	}
	return in
}

// way says how rows go back from a node.
type way struct {
	n     *Network
	a     propagate.Arithmetic
	start int
	units []propagate.Taken
	// ibp ends it at the first units that are not affine; box tells that regions are boxes.
	ibp, box bool
	// tables lets it pick rows from tables; see [propagate.Walk.Table].
	tables bool
}

// way returns how rows of the run go back from a node.
func (r *run) way(start int) (way, error) {
	a, err := r.n.arithmetic(r.m.rounding)
	ibp := r.m.kind == ibp
	return way{n: r.n, a: a, start: start, units: r.n.needed(start, ibp, r.layout), ibp: ibp, box: r.regions.Norm == nil}, err
}

// build takes a graph's inputs, and returns the pass back with its start and Λ there, and the inputs that are left.
// Those that it takes are the regions, the rows as [run.rowTensors] has them, the table if there is one, and what the
// units have.
func (y way) build(in []*Node) (b *propagate.Backward, from, Λ *Node, rest []*Node) {
	all, in := regionOf(in)
	g := propagate.Groups{Examples: in[0], Rows: in[1].Shape().Dimensions[0], All: all.Lower.Shape().Dimensions[0]}
	b = &propagate.Backward{Arithmetic: y.a, Box: y.box, Lines: map[*propagate.Unit][]*Node{}, Rounding: map[*propagate.Unit]*Node{}}
	if y.ibp {
		b.Stop = map[*propagate.Unit]propagate.Interval{}
	}
	of := func(_, v *Node) *Node { return g.Of(v) }
	switch function := in[1]; {
	case y.start == outputs:
		b.Region = all.Map(g.Of)
		b.Walk = y.n.model.Walk(b.Region.Lower)
		from, Λ, in = b.Walk.Out, function, in[2:]
	case y.n.places[y.start] == nil:
		b.Region = all.Map(g.Of)
		from, Λ, in = y.whole(b, all, g, in[1:])
	default:
		from, Λ, in = y.patches(b, all, g, in[1:])
		of = b.Cut.Take
	}
	return b, from, Λ, b.Take(y.units, of, in)
}

// whole begins rows of coordinates of the start: in are their numbers and signs, and the table, if there is one.
func (y way) whole(b *propagate.Backward, all propagate.Region, g propagate.Groups, in []*Node) (from, Λ *Node, rest []*Node) {
	at, sign, in := in[0], in[1], in[2:]
	b.Walk = y.n.model.Walk(b.Region.Lower)
	from = b.Walk.Nodes[y.start]
	dims, size := from.Shape().Dimensions, from.Shape().Size()/g.Rows
	Λ = Reshape(unitRows(at, sign, size), dims...)
	if !y.tables {
		return from, Λ, in
	}
	affine := b.Walk.AffineWay(from)
	var table *Node
	switch {
	case y.n.tabled[y.start]:
		table, in = in[0], in[1:]
	case len(affine) > 0 && 8*size <= g.Rows: // small beside the rows
		table = y.n.tableOn(all.Lower.Graph(), y.start, size)
	}
	if table != nil {
		end := affine[len(affine)-1].Only()
		b.Given = map[NodeId]*Node{end.Id(): Reshape(propagate.Picked(table, at, sign), end.Shape().Dimensions...)}
	}
	return from, Λ, in
}

// patches begins rows of coordinates on patches: in are the coordinates' numbers among those of one place, their signs,
// and the places of groups.
func (y way) patches(b *propagate.Backward, all propagate.Region, g propagate.Groups, in []*Node) (from, Λ *Node, rest []*Node) {
	at, sign, place := in[0], in[1], in[2]
	b.Walk = y.n.model.Walk(all.Lower)
	from = b.Walk.Nodes[y.start]
	b.Cut = b.Walk.Receptive(from).Cut(g, place)
	x := func(v *Node) *Node { return b.Cut.Take(b.Cut.End, b.Walk.Rearrange(b.Cut.End, v)) }
	b.Region = propagate.Region{Lower: x(all.Lower), Upper: x(all.Upper), Centre: x(all.Centre), Radius: g.Of(all.Radius), Norm: all.Norm}
	p := b.Cut.Of[from.Id()]
	Λ = Reshape(unitRows(at, sign, p.Numbers()), p.Dims(g.Rows)...)
	if !y.tables {
		return from, Λ, in[3:]
	}
	if end, table := b.Cut.Table(b.Walk, from); end != from {
		Λ := Reshape(propagate.Picked(table, at, sign), b.Cut.Of[end.Id()].Dims(g.Rows)...)
		b.Given = map[NodeId]*Node{end.Id(): b.Cut.Inside(end, Λ)}
	}
	return from, Λ, in[3:]
}

// unitRows returns rows with the given sign at the given coordinate, 0 elsewhere.
func unitRows(at, sign *Node, size int) *Node {
	return Mul(OneHot(at, size, sign.DType()), InsertAxes(sign, -1))
}

// rowTensors are the inputs of a graph that describe rows from a node: for each of count groups its region; for each of
// their rows, perGroup each, the linear function of the outputs, or the coordinate's number and its sign; with patches,
// for each group its place. Groups and rows that are missing are the last one again.
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
			_, rest := places.Split(it.at)
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
var mutateBackward func(*propagate.Backward)

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
		if mutateBackward != nil && b.Cut != nil {
			mutateBackward(b)
		}
		v := b.From(from, Λ)
		if start != outputs {
			return []*Node{v.Lower, v.Slack}
		}
		return []*Node{v.Lower, v.Slack, v.Slope}
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
			size = propagate.SizeOf(b.dims)
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
	_, table := w.Table(w.Nodes[start])
	return Reshape(table, size, -1)
}
