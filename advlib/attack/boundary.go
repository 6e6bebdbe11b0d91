package attack

import (
	"fmt"

	. "advlab/advlib/internal/equation"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// defaultCandidates is how many classes are looked at, with the label (DeepFool's authors' choice).
const defaultCandidates = 10

// checkCandidates refuses numbers of classes that leave none but the label.
func checkCandidates(n int) error {
	if n == 1 {
		return fmt.Errorf("Candidates = 1 is the label alone: leave it at 0 for %d, or give at least 2", defaultCandidates)
	}
	return checkCount("Candidates", n)
}

// others returns the count most likely classes but the label for each row, by the logits of the originals: int32 [count, n].
func (s *iteration) others(b advlib.Batch, clean [][]float32, count int) *tensors.Tensor {
	classes := make([]int32, count*s.size)
	for i := range s.size {
		r := s.rows[0]
		if i < len(s.rows) {
			r = s.rows[i]
		}
		for j, k := range likely(clean[r], b.Y[r])[:count] {
			classes[j*s.size+i] = k
		}
	}
	return tensors.FromFlatDataAndDimensions(classes, count, s.size)
}

// boundaries linearises the model at x and returns, of the boundaries that lead to the goal, the one that is nearest to x by
// |f|/‖w‖_q, q dual to the norm: f [n] is the margin of the class beyond it over the one before, negative if x is before it, and
// w = ∇f [n, d...].
//
// Untargeted these are the boundaries of the label with the classes, [count, n]; towards a target it is that of the target with the
// label if any class will do, else with the most likely other class.
func boundaries(m *advlib.Model, norm advlib.ConvexNorm, z, x, classes *Node, aim advlib.Aim) (f, w *Node) {
	if aim.Target != nil {
		f = advlib.Margin.Of(z, aim)
		return f, m.Ascent(f, x)
	}
	var nearest *Node
	for j := range classes.Shape().Dimensions[0] {
		fj := Sub(advlib.At(z, Reshape(Slice(classes, AxisElem(j)), -1)), advlib.At(z, aim.Label))
		wj := m.Ascent(fj, x)
		slope := norm.Dual().Of(wj)
		flat := Equal(slope, ZerosLike(slope)) // no way to that boundary
		dj := Where(flat, Infinity(z.Graph(), z.DType(), 1), Div(Abs(fj), Where(flat, OnesLike(slope), slope)))
		if j == 0 {
			f, w, nearest = fj, wj, dj
			continue
		}
		closer := LessThan(dj, nearest)
		f, w, nearest = Where(closer, fj, f), Where(perRow(closer, w), wj, w), Where(closer, dj, nearest)
	}
	return f, w
}
