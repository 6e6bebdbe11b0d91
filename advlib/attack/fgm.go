package attack

import (
	"context"
	"fmt"

	. "advlab/advlib/internal/equation"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// FGM is the fast gradient method of Goodfellow et al. (2015), arXiv:1412.6572, section 4: one step of length ε in the direction
// of the loss's steepest ascent. In the Linf ball it is FGSM, the fast gradient sign method.
//
// In L1 the direction is the coordinate of the largest gradient, ties sharing (see [advlib.ConvexNorm]); foolbox goes along the
// gradient divided by its L1 norm instead, which is not the steepest ascent of that ball.
type FGM struct {
	// Ball is what may be changed; its norm is L1, L2 or Linf. It must be set.
	Ball advlib.Ball
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Loss is ascended; nil means cross-entropy.
	Loss advlib.Loss
}

// FGSM returns the fast gradient sign method with budget ε: FGM in the Linf ball.
func FGSM(ε float64) FGM { return FGM{Ball: advlib.Linf.Ball(ε)} }

// String returns for example "FGM Linf ≤ 0.1".
func (a FGM) String() string { return named("FGM", a.Ball.String(), a.Goal, lossName(a.Loss)) }

// lossName names a loss that is not the default.
func lossName(l advlib.Loss) string {
	if l == nil || l == advlib.CrossEntropy {
		return ""
	}
	return l.String()
}

func (a FGM) loss() advlib.Loss { return lossOr(a.Loss, advlib.CrossEntropy) }

// filled implements [indexed].
func (a FGM) filled() any {
	a.Loss = a.loss()
	return a
}

// Threat implements [advlib.Attack].
func (a FGM) Threat(v advlib.Victim) (advlib.Threat, error) {
	if err := checkGradient(v); err != nil {
		return advlib.Threat{}, err
	}
	if err := checkBall(a.Ball); err != nil {
		return advlib.Threat{}, err
	}
	return advlib.Threat{Norm: a.Ball.Norm, Radius: a.Ball.Radius, Goal: a.Goal}, a.checkGoal(v, a.Goal.IsTargeted())
}

func (a FGM) checkGoal(v advlib.Victim, targeted bool) error {
	return checkLoss(a.loss(), v.Signature().Classes, targeted)
}

// fgmStep determines the graph of FGM.
type fgmStep struct {
	norm advlib.ConvexNorm
	loss advlib.Loss
	wish wish
}

// graph computes x ← clip(x₀ + ε·d), d = argmax ⟨d, ∇ₓL⟩ over ‖d‖ ≤ 1, clipped to the limits.
func (s fgmStep) graph(m *advlib.Model, limits advlib.Limits, in []*Node) []*Node {
	x, aim, rest := s.wish.read(in)
	ε := rest[0]
	L := s.loss.Of(m.Logits(x), aim)
	d := s.norm.Ascend(m.Direction(s.norm, L, x))
	return []*Node{limits.Clip(Add(x, Mul(ε, d)), x)}
}

// Perturb implements [advlib.Attack].
func (a FGM) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	limits := v.Signature().Limits()
	if err := a.checkGoal(v, b.Target != nil); err != nil {
		return nil, err
	}
	key := fgmStep{norm: a.Ball.Norm.(advlib.ConvexNorm), loss: a.loss(), wish: wishOf(b)}
	step := v.Compile(key, func(m *advlib.Model, in []*Node) []*Node { return key.graph(m, limits, in) })
	adv := newCandidates(b)
	for _, rows := range pieces(b) {
		if err := ctx.Err(); err != nil {
			return adv.tensor(), err
		}
		g := newGroup(b, rows)
		out, err := step.Run(len(rows), append(g.inputs(), float32(a.Ball.Radius))...)
		if err != nil {
			return nil, fmt.Errorf("the step on %d examples: %w", len(rows), err)
		}
		adv.put(rows, out[0], nil)
		g.free()
		advlib.Free(out...)
	}
	return adv.tensor(), nil
}
