package attack

import (
	. "advlab/advlib/internal/equation"

	"github.com/gomlx/compute/shapes"

	"advlab/advlib/attack/craft"
)

// largest returns δ [n, d...] with all but the count [n] coordinates of largest magnitude set to 0, in each row.
func largest(δ, count *Node) *Node { return Where(first(Abs(δ), count), δ, ZerosLike(δ)) }

// first marks the count [n] largest coordinates of each row of v [n, d...]; of equal ones the first.
func first(v, count *Node) *Node {
	all := craft.Flat(v)
	n, d := all.Shape().Dimensions[0], all.Shape().Dimensions[1]
	across := func(s *Node) *Node { return BroadcastToDims(Reshape(s, n, 1), n, d) }
	rank := Iota(v.Graph(), shapes.Make(v.DType(), n, d), 1)
	count = MinScalar(count, float64(d))
	sorted := Sort(all, 1, false)
	last := Equal(rank, across(AddScalar(count, -1)))
	least := across(ReduceSum(Where(last, sorted, ZerosLike(sorted)), 1)) // of those marked
	above := GreaterThan(all, least)
	equal := Equal(all, least)
	room := Sub(count, ReduceSum(ConvertDType(above, v.DType()), 1))
	mark := LogicalOr(above, LogicalAnd(equal, LessOrEqual(CumSum(ConvertDType(equal, v.DType()), 1), across(room))))
	return Reshape(LogicalAnd(mark, GreaterThan(across(count), ZerosLike(all))), v.Shape().Dimensions...)
}
