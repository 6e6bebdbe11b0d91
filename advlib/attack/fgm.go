package attack

import (
	"context"

	. "advlab/advlib/internal/equation"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() {
	register[FGM](InBall, Command{Name: "fgm", About: "one step along the gradient of the cross-entropy (FGSM in Linf)",
		Make: func(b advlib.Ball) advlib.Attack {
			return FGM{Ball: b}
		}})
}

// FGM is the fast gradient method of Goodfellow et al. (2015), arXiv:1412.6572, section 4: one step of length ε in the
// direction of the loss's steepest ascent. In the Linf ball it is FGSM, the fast gradient sign method.
//
// In L1 the direction is the coordinate of the largest gradient, ties sharing (see [advlib.ConvexNorm]); foolbox goes
// along the gradient divided by its L1 norm instead, which is not the steepest ascent of that ball.
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

// Describe implements [craft.Described].
func (a *FGM) Describe(d *craft.Description) {
	d.Paper("Goodfellow et al. 2015, arXiv:1412.6572")
	d.Gradients()
	d.ConvexBall(&a.Ball)
	d.Goal(&a.Goal)
	d.Loss(&a.Loss, advlib.CrossEntropy)
	d.Name("FGM")
	d.Passes(1, 1)
}

// String returns for example "FGM Linf ≤ 0.1".
func (a FGM) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a FGM) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a FGM) Plan(v advlib.Victim) (forward, backward float64, known bool) { return craft.Plan(a, v) }

// Perturb implements [advlib.Attack].
func (a FGM) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	key := fgmStep{norm: a.Ball.Norm.(advlib.ConvexNorm), loss: a.Loss}
	step := craft.Compile(v, b, key, key.graph)
	return craft.Each(ctx, b, func(s *craft.Search) error {
		_, err := s.Run(ctx, step, float32(a.Ball.Radius))
		return err
	})
}

// fgmStep determines the graph of FGM.
type fgmStep struct {
	norm advlib.ConvexNorm
	loss advlib.Loss
}

// graph computes x ← clip(x + ε·d), d = argmax ⟨d, ∇ₓL⟩ over ‖d‖ ≤ 1, clipped to the limits.
func (s fgmStep) graph(p *craft.Point, in []*Node) []*Node {
	x, ε := in[0], in[1]
	L := s.loss.Of(p.Logits(x), p.Goal)
	d := s.norm.Ascend(p.Direction(s.norm, L, x))
	return []*Node{p.Clip(Add(x, Mul(ε, d)))}
}
