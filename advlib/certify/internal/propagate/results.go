package propagate

import (
	"slices"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
)

// Layout says what the results of a pass forward are, by their numbers.
type Layout struct {
	Units []UnitResults // by places in Walk.Units
	Open  []OpenResult  // the last results, which the host wants
	Count int           // how many come before those
}

// UnitResults are the numbers of what was found of a unit: one for its rounding error or none, and unless it is affine
// those of its lines or, for IBP, of the ends of its interval.
type UnitResults struct {
	Rounding, Ends, Lines []int
}

// All returns the numbers in the order in which graphs take the results as inputs.
func (u UnitResults) All() []int { return slices.Concat(u.Rounding, u.Ends, u.Lines) }

// OpenResult is where a boundary is worth tightening: 1 for such coordinates, else 0.
type OpenResult struct{ Node, Number int }

// Results lists what rows need of a pass on their way back, and where boundaries are open.
func (p *Pass) Results(ibp bool) (l *Layout, out []*Node) {
	l = &Layout{}
	add := func(n *Node) []int {
		out = append(out, ConvertDType(n, dtypes.Float64))
		return []int{len(out) - 1}
	}
	open := map[int]*Node{}
	for i, u := range p.Walk.Units {
		var found UnitResults
		if E := p.rounding[i]; E != nil {
			found.Rounding = add(E)
		}
		switch {
		case u.Rule.Affine():
		case ibp:
			v := p.All[u.Node.Id()]
			found.Ends = append(add(v.Lower), add(v.Upper)...)
		default:
			lines, some := u.Rule.Relax(p, u, p.inputs(u))
			for _, line := range lines {
				found.Lines = append(found.Lines, add(line)...)
			}
			p.opened(u, some, open)
		}
		l.Units = append(l.Units, found)
	}
	if len(out) == 0 { // GoMLX refuses a graph without results
		v := p.All[p.Walk.x.Id()]
		add(Add(v.Lower, v.Upper))
	}
	l.Count = len(out)
	for j := range p.Walk.Nodes {
		if open[j] != nil && j > 0 {
			l.Open = append(l.Open, OpenResult{j, add(open[j])[0]})
		}
	}
	return l, out
}

// opened notes of the inputs of u, by their places in Walk.Nodes, where tighter intervals would give tighter lines:
// where some says so, or wherever they are no points.
func (p *Pass) opened(u *Unit, some *Node, open map[int]*Node) {
	for _, k := range u.Tightened() {
		j := p.Walk.Index[u.Inputs[k].Id()]
		worth := some
		if worth == nil {
			v := p.All[u.Inputs[k].Id()]
			worth = Where(LessThan(v.Lower, v.Upper), OnesLike(v.Lower), ZerosLike(v.Lower))
		}
		if open[j] != nil {
			worth = Max(worth, open[j])
		}
		open[j] = worth
	}
}

// Taken is what rows on their way back take of what a pass forward found: of a unit, by its place in Walk.Units.
type Taken struct {
	Unit int
	UnitResults
}

// Take gives a pass back what it needs of the units, off the front of a graph's inputs. of makes of a value of a node
// for all regions that for all rows.
func (b *Backward) Take(units []Taken, of func(n, v *Node) *Node, in []*Node) (rest []*Node) {
	for _, t := range units {
		u := b.Walk.Units[t.Unit]
		next := func() *Node {
			v := of(u.Node, in[0])
			in = in[1:]
			return v
		}
		for range t.Rounding {
			b.Rounding[u] = next()
		}
		if len(t.Ends) > 0 {
			b.Stop[u] = Interval{Lower: next(), Upper: next()}
		}
		for range t.Lines {
			b.Lines[u] = append(b.Lines[u], next())
		}
	}
	return in
}
