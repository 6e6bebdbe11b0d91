package attack

import (
	"context"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() {
	register[BIM](InBall, Command{Name: "bim", About: "10 steps along the gradient, from the original",
		Make: func(b advlib.Ball) advlib.Attack {
			return BIM{Ball: b}
		}})
}

// BIM is the basic iterative method of Kurakin et al. (2017), arXiv:1607.02533, section 2.2, also called I-FGSM: [PGD]
// from the original instead of a random start.
//
// The paper steps by 1 of 255 and chooses the number of steps by ε in the same unit; the defaults here, which suit any
// box and norm, are those of other libraries.
type BIM struct {
	// Ball is what may be changed; its norm is L1, L2 or Linf. It must be set.
	Ball advlib.Ball
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Loss is ascended; nil means cross-entropy.
	Loss advlib.Loss
	// Steps is the number of steps; 0 means 10.
	Steps int
	// StepSize is α, the length of a step in the ball's norm, in units of the box; 0 means ε/5.
	StepSize float64
}

// Describe implements [craft.Described].
func (a *BIM) Describe(d *craft.Description) {
	d.Paper("Kurakin et al. 2017, arXiv:1607.02533")
	d.Gradients()
	d.ConvexBall(&a.Ball)
	d.Goal(&a.Goal)
	d.Loss(&a.Loss, advlib.CrossEntropy)
	d.Count(&a.Steps, 10)
	d.Size(&a.StepSize, a.Ball.Radius/5).As("α = %.6g")
	d.Name("BIM-%d", a.Steps)
	d.Passes(a.Steps, a.Steps)
}

// String returns for example "BIM-10 Linf ≤ 0.1".
func (a BIM) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a BIM) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a BIM) Plan(v advlib.Victim) (forward, backward float64, known bool) { return craft.Plan(a, v) }

// Perturb implements [advlib.Attack].
func (a BIM) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	pgd := PGD{Ball: a.Ball, Goal: a.Goal, Loss: a.Loss, Steps: a.Steps, StepSize: a.StepSize, NoRandomStart: true}
	return pgd.Perturb(ctx, v, b)
}
