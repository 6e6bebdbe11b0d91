package attack

import (
	"context"
	"fmt"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// Repeat runs an attack several times, each time with other random draws, on what still stands. For an attack of minimal norm every run is on
// every example, and the nearest adversarial example is kept. An attack without randomness does the same each time.
type Repeat struct {
	// Attack is what is run.
	Attack advlib.Attack
	// Times is how often; 0 means 5.
	Times int
}

// String returns for example "PGD-40 Linf ≤ 0.1, 5 times".
func (a Repeat) String() string {
	name := "nothing"
	if a.Attack != nil {
		name = a.Attack.String()
	}
	return fmt.Sprintf("%s, %d times", name, a.times())
}

func (a Repeat) times() int { return numberOr(a.Times, 5) }

// filled implements [indexed].
func (a Repeat) filled() any {
	a.Times = a.times()
	return a
}

// Threat implements [advlib.Attack].
func (a Repeat) Threat(v advlib.Victim) (advlib.Threat, error) {
	if a.Attack == nil {
		return advlib.Threat{}, fmt.Errorf("the Attack to repeat is nil")
	}
	if err := checkCount("Times", a.Times); err != nil {
		return advlib.Threat{}, err
	}
	return a.Attack.Threat(v)
}

func (a Repeat) checkGoal(v advlib.Victim, targeted bool) error {
	return checkGoalOf(a.Attack, v, targeted)
}

// Perturb implements [advlib.Attack].
func (a Repeat) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	threat, err := a.Threat(v)
	if err != nil {
		return nil, err
	}
	c := newContest(b, threat)
	for k := range a.times() {
		if err := c.enter(ctx, v, a.Attack, b.Seed+uint64(k)*seedStep); err != nil {
			return c.end(ctx, err)
		}
	}
	return c.best.tensor(), nil
}

// seedStep is the distance of the seeds of two runs: odd, so that no two of 2⁶⁴ runs have the same, and large, so that they are not those of
// users, who count from 0.
const seedStep = 0x9e3779b97f4a7c15
