package craft

import (
	. "github.com/gomlx/gomlx/core/graph"

	"advlab/advlib"
)

// Point is what the graph of a step sees: the classifier, which gives logits and gradients, and the rows it works on.
type Point struct {
	*advlib.Model
	// X0 are the originals, float32 [n, d...], Limits how far they may be taken.
	X0     *Node
	Limits advlib.Limits
	// Goal is what is wanted of each row, by the batch. A loss takes it, and so obeys [advlib.Batch.Target].
	Goal advlib.GoalNodes
}

// wanted is how a batch's goal shapes a graph.
type wanted struct{ targeted, anyClass bool }

// keyed is what a step is kept by.
type keyed[K comparable] struct {
	key    K
	wanted wanted
}

// Compile returns the step that graph builds, to be run by [Rows.Run] or [Search.Run]: in are the inputs that it is
// given there. The victim keeps it under key, so that it is compiled once: the key must determine everything that graph
// puts into the step. A struct whose method is the graph does, if all that the method needs is in its fields. What
// changes often, such as a radius, is better passed as an input.
func Compile[K comparable](v *advlib.Counted, b advlib.Batch, key K, graph func(p *Point, in []*Node) []*Node) *advlib.Step {
	wanted := wanted{targeted: b.Target != nil, anyClass: b.Target != nil && b.AnyClass}
	limits := v.Signature().Limits()
	return v.Compile(keyed[K]{key, wanted}, func(m *advlib.Model, in []*Node) []*Node {
		p := &Point{Model: m, Limits: limits, X0: in[0], Goal: advlib.GoalNodes{Label: in[1], AnyClass: wanted.anyClass}}
		in = in[2:]
		if wanted.targeted {
			p.Goal.Target, in = in[0], in[1:]
		}
		return graph(p, in)
	})
}

// rounding bounds the difference, relative to the largest logit, between logits of an example that are computed in
// batches of different sizes: 4e-7 was the most seen on a small network.
const rounding = 4e-6

// Rounding returns by how much logits z [n, K] of other batch sizes may differ, [n].
func Rounding(z *Node) *Node { return MulScalar(ReduceMax(Abs(z), -1), rounding) }

// Clearance returns by how much the logits z [n, K] reach the goal beyond rounding: positive where they do, [n].
func (p *Point) Clearance(z *Node) *Node { return Sub(p.Beyond(z), Rounding(z)) }

// Reached tells whether the logits z [n, K] reach the goal by more than rounding explains, [n]. A point on the boundary
// itself may count as adversarial in one batch and not in another.
func (p *Point) Reached(z *Node) *Node {
	c := p.Clearance(z)
	return GreaterThan(c, ZerosLike(c))
}

// Beyond returns by how much the logits z [n, K] reach the goal, whatever the direction to it: [n].
func (p *Point) Beyond(z *Node) *Node {
	goal := p.Goal
	if goal.AnyClass {
		goal = advlib.GoalNodes{Label: goal.Label} // any class but the label is a success
	}
	return advlib.Margin.Of(z, goal)
}

// Clip moves each coordinate of x to the nearest value that the limits allow.
func (p *Point) Clip(x *Node) *Node { return p.Limits.Clip(x, p.X0) }

// Room returns how far each coordinate may fall and rise from the originals: lo ≤ 0 ≤ hi.
func (p *Point) Room() (lo, hi *Node) { return p.Limits.Room(p.X0, p.X0) }

// Project returns the point nearest to x [n, d...] of the intersection of the ball of radius ε at the originals with
// the limits: ε is a scalar or [n].
func (p *Point) Project(norm advlib.ConvexNorm, x, ε *Node) *Node {
	lo, hi := p.Room()
	return p.Clip(Add(p.X0, norm.Project(Sub(x, p.X0), ε, lo, hi))) // x₀ + (Lo − x₀) may round to less than Lo
}

// Nearer replaces the best examples so far by those x that are adversarial and nearer to the originals, all [n, d...];
// reached [n] tells which are adversarial. It returns the distances of x too.
func (p *Point) Nearer(norm advlib.Norm, x, reached, best, bestD *Node) (best2, bestD2, D *Node) {
	D = norm.Of(Sub(x, p.X0))
	closer := LogicalAnd(reached, LessThan(D, bestD))
	return Where(PerRow(closer, x), x, best), Where(closer, D, bestD), D
}

// PerRow returns s [n] broadcast to the shape of like [n, d...].
func PerRow(s, like *Node) *Node {
	dims := like.Shape().Dimensions
	ones := make([]int, len(dims))
	for i := range ones {
		ones[i] = 1
	}
	ones[0] = dims[0]
	return BroadcastToDims(Reshape(s, ones...), dims...)
}

// Flat returns x [n, d...] as [n, Πd].
func Flat(x *Node) *Node { return Reshape(x, x.Shape().Dimensions[0], -1) }

// SumRows returns the sum over each row of x [n, d...], [n].
func SumRows(x *Node) *Node { return ReduceSum(Flat(x), 1) }
