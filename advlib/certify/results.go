package certify

import (
	"slices"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
)

// layout says what the results of a pass forward are, by their numbers.
type layout struct {
	units []unitResults // by places in walk.units
	open  []openResult  // the last results, which the host wants
	count int           // how many come before those
}

// unitResults are the numbers of what was found of a unit. A unit may have no error, and has lines or, for IBP, the ends of its interval, unless
// it is affine.
type unitResults struct {
	error, ends, lines []int
}

// all returns the numbers in the order in which graphs take the results as inputs.
func (u unitResults) all() []int { return slices.Concat(u.error, u.ends, u.lines) }

// openResult is where a boundary is worth tightening: 1 for such coordinates, else 0.
type openResult struct{ node, number int }

// results lists what rows need of a pass on their way back, and where boundaries are open.
func (p *pass) results(ibp bool) (l *layout, out []*Node) {
	l = &layout{}
	add := func(n *Node) []int {
		out = append(out, ConvertDType(n, dtypes.Float64))
		return []int{len(out) - 1}
	}
	open := map[int]*Node{}
	for i, u := range p.w.units {
		var found unitResults
		if E := p.rounding[i]; E != nil {
			found.error = add(E)
		}
		switch {
		case u.rule.affine():
		case ibp:
			v := p.all[u.n.Id()]
			found.ends = append(add(v.lower), add(v.upper)...)
		default:
			lines, some := u.rule.relax(p, u, p.inputs(u))
			for _, line := range lines {
				found.lines = append(found.lines, add(line)...)
			}
			p.opened(u, some, open)
		}
		l.units = append(l.units, found)
	}
	if len(out) == 0 { // GoMLX refuses a graph without results
		v := p.all[p.w.x.Id()]
		add(Add(v.lower, v.upper))
	}
	l.count = len(out)
	for j := range p.w.nodes {
		if open[j] != nil && j > 0 {
			l.open = append(l.open, openResult{j, add(open[j])[0]})
		}
	}
	return l, out
}

// opened notes of the inputs of u, by their places in walk.nodes, where tighter intervals would give tighter lines: where some says so, or
// wherever they are no points.
func (p *pass) opened(u *unit, some *Node, open map[int]*Node) {
	for _, k := range u.tightened() {
		j := p.w.index[u.inputs[k].Id()]
		worth := some
		if worth == nil {
			v := p.all[u.inputs[k].Id()]
			worth = Where(LessThan(v.lower, v.upper), OnesLike(v.lower), ZerosLike(v.lower))
		}
		if open[j] != nil {
			worth = Max(worth, open[j])
		}
		open[j] = worth
	}
}

// taken is what rows on their way back take of what a pass forward found: of a unit, by its place in walk.units.
type taken struct {
	unit int
	unitResults
}

// take gives a pass back what it needs of the units, off the front of a graph's inputs. of makes of a value of a node for all regions that
// for all rows.
func (b *backward) take(units []taken, of func(n, v *Node) *Node, in []*Node) (rest []*Node) {
	for _, t := range units {
		u := b.w.units[t.unit]
		next := func() *Node {
			v := of(u.n, in[0])
			in = in[1:]
			return v
		}
		for range t.error {
			b.rounding[u] = next()
		}
		if len(t.ends) > 0 {
			b.stop[u] = interval{lower: next(), upper: next()}
		}
		for range t.lines {
			b.lines[u] = append(b.lines[u], next())
		}
	}
	return in
}
