package attack

import (
	"context"
	"fmt"
	"math"
	"slices"

	. "advlab/advlib/internal/equation"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// DeepFool is the attack of Moosavi-Dezfooli et al. (2016), arXiv:1511.04599, algorithm 2: each step goes to the nearest of the
// boundaries with the most likely other classes, as if the classifier were linear, until the label is left.
//
// As in foolbox, whose constants are those of the paper's authors, 10 classes with the label are looked at, the most likely by the
// logits of the original; the point judged is x₀ + (1 + overshoot)·Σ rᵢ, clipped to the box; and an example is left alone
// once it is adversarial. With a target, which the paper does not have, the only boundary looked at is that with the target. Its
// result is the first adversarial example, not the nearest: other attacks of minimal norm come nearer.
type DeepFool struct {
	// Norm is what is minimised: L2 or Linf. It must be set.
	Norm advlib.Norm
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Steps at most; 0 means 50.
	Steps int
	// Candidates is how many classes are looked at, with the label; 0 means 10. More cost more passes.
	Candidates int
	// Overshoot is η, by how much more than to the boundary the example is moved; 0 means 0.02.
	Overshoot float64
}

// String returns for example "DeepFool-50 L2 minimal".
func (a DeepFool) String() string {
	var classes, η string
	if a.Candidates != 0 {
		classes = fmt.Sprintf("%d classes", a.Candidates)
	}
	if a.Overshoot != 0 {
		η = fmt.Sprintf("overshoot %g", a.Overshoot)
	}
	return named(fmt.Sprintf("DeepFool-%d", a.steps()), minimalIn(a.Norm), a.Goal, classes, η)
}

func (a DeepFool) steps() int      { return numberOr(a.Steps, 50) }
func (a DeepFool) candidates() int { return numberOr(a.Candidates, defaultCandidates) }
func (a DeepFool) η() float64      { return numberOr(a.Overshoot, 0.02) }

// filled implements [indexed].
func (a DeepFool) filled() any {
	a.Steps, a.Candidates, a.Overshoot = a.steps(), a.candidates(), a.η()
	return a
}

// Threat implements [advlib.Attack].
func (a DeepFool) Threat(v advlib.Victim) (advlib.Threat, error) {
	if err := checkGradient(v); err != nil {
		return advlib.Threat{}, err
	}
	threat := advlib.Threat{Norm: a.Norm, Radius: math.Inf(1), Goal: a.Goal}
	if err := checkNorm(a.Norm, advlib.L2, advlib.Linf); err != nil {
		return threat, err
	}
	if err := checkCount("Steps", a.Steps); err != nil {
		return threat, err
	}
	if err := checkCandidates(a.Candidates); err != nil {
		return threat, err
	}
	return threat, checkSize("Overshoot", a.Overshoot)
}

func (a DeepFool) checkGoal(advlib.Victim, bool) error { return nil } // it needs no loss

// Perturb implements [advlib.Attack].
func (a DeepFool) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	limits := v.Signature().Limits()
	key := deepFoolStep{wish: wishOf(b), norm: a.Norm.(advlib.ConvexNorm), η: a.η()}
	key.others = min(a.candidates(), v.Signature().Classes) - 1
	step := v.Compile(key, func(m *advlib.Model, in []*Node) []*Node { return key.graph(m, limits, in) })
	clean, err := v.Logits(ctx, b.X)
	if err != nil {
		return nil, err
	}
	return eachPiece(ctx, b, func(s *iteration) error {
		classes := s.others(b, clean, key.others)
		defer advlib.Free(classes)
		s.push(s.zeros())
		for k := range a.steps() + 1 { // the last one judges
			if err := ctx.Err(); err != nil {
				return err
			}
			out, err := s.run(step, classes)
			if err != nil {
				return fmt.Errorf("step %d on %d examples: %w", k, len(s.rows), err)
			}
			standing := tensors.MustCopyFlatData[bool](out[0])[:len(s.rows)]
			advlib.Free(out...)
			if !slices.Contains(standing, true) {
				break
			}
		}
		return nil
	})
}

// deepFoolStep determines the graph of a step.
type deepFoolStep struct {
	wish   wish
	norm   advlib.ConvexNorm
	others int // classes looked at, but the label
	η      float64
}

// deepFoolε is added to the length of a step in widths of the box, so that it ends beyond the boundary (foolbox's constant).
const deepFoolε = 1e-4

// graph is one iteration of Moosavi-Dezfooli et al. (2016), algorithm 2, lines 5 to 11, with r = Σ rᵢ:
//
//	x = clip(x₀ + (1 + η)·r),  k̂ = argmin |f_k|/‖w_k‖_q,  r ← r + (|f_k̂|/‖w_k̂‖_q)·d,  d = argmax ⟨d, w_k̂⟩ over ‖d‖_p ≤ 1
//
// in L2 d = w/‖w‖₂, in Linf d = sign(w) (section 3.3, equations 10 to 12). It also returns which rows are not adversarial yet.
func (s deepFoolStep) graph(m *advlib.Model, limits advlib.Limits, in []*Node) []*Node {
	x0, aim, rest := s.wish.read(in)
	best, bestD, r, classes := rest[0], rest[1], rest[2], rest[3]

	x := limits.Clip(Add(x0, MulScalar(r, 1+s.η)), x0)
	z := m.Logits(x)
	hit := GreaterThan(clearance(z, aim), ZerosLike(bestD))
	best, bestD, _ = nearer(s.norm, x, x0, hit, best, bestD)
	standing := Equal(bestD, Infinity(bestD.Graph(), bestD.DType(), 1))

	f, w := boundaries(m, s.norm, z, x, classes, aim)
	slope := s.norm.Dual().Of(w)
	flat := Equal(slope, ZerosLike(slope))
	length := AddScalar(Div(Abs(f), Where(flat, OnesLike(slope), slope)), deepFoolε*limits.Width())
	r = Where(perRow(standing, r), Add(r, Mul(perRow(length, r), s.norm.Ascend(w))), r)
	return []*Node{best, bestD, r, standing}
}
