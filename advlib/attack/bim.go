package attack

import (
	"context"
	"fmt"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// BIM is the basic iterative method of Kurakin et al. (2017), arXiv:1607.02533, section 2.2, also called I-FGSM: [PGD] from the original
// instead of a random start.
//
// The paper steps by 1 of 255 and chooses the number of steps by ε in the same unit; the defaults here, which suit any box and norm, are
// those of other libraries.
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

// String returns for example "BIM-10 Linf ≤ 0.1".
func (a BIM) String() string {
	var α string
	if a.StepSize != 0 {
		α = fmt.Sprintf("α = %.6g", a.StepSize)
	}
	return named(fmt.Sprintf("BIM-%d", a.steps()), a.Ball.String(), a.Goal, lossName(a.Loss), α)
}

func (a BIM) steps() int { return numberOr(a.Steps, 10) }

func (a BIM) stepSize() float64 { return numberOr(a.StepSize, a.Ball.Radius/5) }

// filled implements [indexed].
func (a BIM) filled() any {
	a.Loss, a.Steps, a.StepSize = lossOr(a.Loss, advlib.CrossEntropy), a.steps(), a.stepSize()
	return a
}

// pgd returns the same attack as PGD.
func (a BIM) pgd() PGD {
	return PGD{Ball: a.Ball, Goal: a.Goal, Loss: a.Loss, Steps: a.steps(), StepSize: a.stepSize(), NoRandomStart: true}
}

// Threat implements [advlib.Attack].
func (a BIM) Threat(v advlib.Victim) (advlib.Threat, error) {
	if err := checkBall(a.Ball); err != nil {
		return advlib.Threat{}, err
	}
	return a.pgd().Threat(v)
}

func (a BIM) checkGoal(v advlib.Victim, targeted bool) error {
	return a.pgd().checkGoal(v, targeted)
}

// Perturb implements [advlib.Attack].
func (a BIM) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	return a.pgd().Perturb(ctx, v, b)
}
