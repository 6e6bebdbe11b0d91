package attack

import (
	. "advlab/advlib/internal/equation"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

// defaultCandidates is how many classes are looked at, with the label (DeepFool's authors' choice).
const defaultCandidates = 10

// candidates describes the field that says how many classes are looked at, with the label.
func candidates(d *craft.Description, n *int) {
	d.Refuse(*n == 1, "Candidates = 1 is the label alone: leave it at 0 for %d, or give at least 2", defaultCandidates)
	d.Count(n, defaultCandidates).As("%d classes")
}

// boundariesSeen is with how many classes a step looks at the boundary.
func boundariesSeen(d *craft.Description, candidates int) int {
	v := d.Victim()
	if v == nil || d.Targeted() {
		return 1
	}
	return min(candidates, v.Signature().Classes) - 1
}

// others returns the count most likely classes but the label for each row, by the logits of the originals: int32
// [count, n].
func others(s *craft.Rows, clean [][]float32, count int) *tensors.Tensor {
	classes := make([]int32, count*s.Size)
	for i := range s.Size {
		r := s.At[0]
		if i < len(s.At) {
			r = s.At[i]
		}
		for j, k := range likely(clean[r], s.Batch.Y[r])[:count] {
			classes[j*s.Size+i] = k
		}
	}
	return tensors.FromFlatDataAndDimensions(classes, count, s.Size)
}

// boundaries linearises the model at x and returns, of the boundaries that lead to the goal, the one that is nearest to
// x by |f|/‖w‖_q, q dual to the norm: f [n] is the margin of the class beyond it over the one before, negative if x is
// before it, and w = ∇f [n, d...].
//
// Untargeted these are the boundaries of the label with the classes, [count, n]; towards a target it is that of the
// target with the label if any class will do, else with the most likely other class.
func boundaries(p *craft.Point, norm advlib.ConvexNorm, z, x, classes *Node) (f, w *Node) {
	if p.Goal.Target != nil {
		f = advlib.Margin.Of(z, p.Goal)
		return f, p.Ascent(f, x)
	}
	var nearest *Node
	for j := range classes.Shape().Dimensions[0] {
		fj := Sub(advlib.At(z, Reshape(Slice(classes, AxisElem(j)), -1)), advlib.At(z, p.Goal.Label))
		wj := p.Ascent(fj, x)
		slope := norm.Dual().Of(wj)
		flat := Equal(slope, ZerosLike(slope)) // no way to that boundary
		dj := Where(flat, Infinity(z.Graph(), z.DType(), 1), Div(Abs(fj), Where(flat, OnesLike(slope), slope)))
		if j == 0 {
			f, w, nearest = fj, wj, dj
			continue
		}
		closer := LessThan(dj, nearest)
		f, w, nearest = Where(closer, fj, f), Where(craft.PerRow(closer, w), wj, w), Where(closer, dj, nearest)
	}
	return f, w
}
