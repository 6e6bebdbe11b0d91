package propagate

import (
	. "github.com/gomlx/gomlx/core/graph"
)

// windowSum is ReduceWindow that adds up; with a Mul or Div by a constant behind it, mean pooling.
type windowSum struct {
	reduction
	pooling
}

func (windowSum) Check(_ *Walk, u *Unit) error { return checkWindow(u.Node) }

func (r windowSum) Backward(_ *Walk, u *Unit, Λ *Node, _ []*Node) (map[int]*Node, *Node) {
	parts, _ := r.BackwardPatch(nil, u, Λ, nil)
	return r.unpadded(u, parts), nil
}

func (windowSum) BackwardPatch(_ *Cut, u *Unit, Λ *Node, _ []*Node) (map[int]*Node, *Node) {
	var sum *Node
	for _, w := range windows(u.Node) {
		sum = plus(sum, w.back(Λ))
	}
	return map[int]*Node{0: sum}, nil
}

func (windowSum) FollowPatch(c *Cut, u *Unit, _ *Node, h, _ []*Node) (sum *Node) {
	for _, w := range windows(u.Node) {
		sum = plus(sum, w.among(h[0], c.Of[u.Node.Id()].Dims(c.groups.Rows)))
	}
	return sum
}
