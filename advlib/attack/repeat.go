package attack

import (
	"context"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() { register[Repeat](Wrapper) }

// Repeat runs an attack several times, each time with other random draws, on what still stands. For an attack of
// minimal norm every run is on every example, and the nearest adversarial example is kept. An attack without randomness
// does the same each time.
type Repeat struct {
	// Attack is what is run.
	Attack advlib.Attack
	// Times is how often; 0 means 5.
	Times int
}

// Describe implements [craft.Described].
func (a *Repeat) Describe(d *craft.Description) {
	d.Count(&a.Times, 5)
	d.Name("%s, %d times", nameOf(a.Attack), a.Times)
	d.Runs(a.Attack, a.Times, "to repeat")
}

// String returns for example "PGD-40 Linf ≤ 0.1, 5 times".
func (a Repeat) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a Repeat) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a Repeat) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return craft.Plan(a, v)
}

// Perturb implements [advlib.Attack].
func (a Repeat) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	threat, err := a.Attack.Threat(v)
	if err != nil {
		return nil, err
	}
	c := newContest(b, threat)
	if a.Attack, err = sized(ctx, v, b, a.Attack); err != nil {
		return c.end(ctx, err)
	}
	for k := range a.Times {
		if err := c.enter(ctx, v, a.Attack, func(b *advlib.Batch) { b.Seed += uint64(k) * seedStep }, nil); err != nil {
			return c.end(ctx, err)
		}
	}
	return c.best.Tensor(), nil
}

// seedStep is the distance of the seeds of two runs: odd, so that no two of 2⁶⁴ runs have the same, and large, so that
// they are not those of users, who count from 0.
const seedStep = 0x9e3779b97f4a7c15
