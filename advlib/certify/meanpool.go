package certify

import (
	. "github.com/gomlx/gomlx/core/graph"
)

// windowSum is ReduceWindow that adds up; with a Mul or Div by a constant behind it, mean pooling.
type windowSum struct {
	reduction
	pooling
}

func (windowSum) check(_ *walk, u *unit) error { return checkWindow(u.n) }

func (r windowSum) backward(_ *walk, u *unit, Λ *Node, _ []*Node) (map[int]*Node, *Node) {
	parts, _ := r.backwardPatch(nil, u, Λ, nil)
	return r.unpadded(u, parts), nil
}

func (windowSum) backwardPatch(_ *cut, u *unit, Λ *Node, _ []*Node) (map[int]*Node, *Node) {
	var sum *Node
	for _, w := range windows(u.n) {
		sum = plus(sum, w.back(Λ))
	}
	return map[int]*Node{0: sum}, nil
}

func (windowSum) followPatch(c *cut, u *unit, _ *Node, h, _ []*Node) (sum *Node) {
	for _, w := range windows(u.n) {
		sum = plus(sum, w.among(h[0], c.of[u.n.Id()].dims(c.groups.rows)))
	}
	return sum
}
