package attack

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// WorstOf runs several attacks one after the other, each only on what still stands: the worst case over all of them, example by example.
//
// All have one norm, one goal, and those with a budget one radius. Attacks of minimal norm may stand beside attacks with a budget: what
// they find counts when it lies in the ball. When all are of minimal norm, each is run on every example and the nearest adversarial
// example is kept.
type WorstOf struct {
	// Attacks are what is run, the cheapest first.
	Attacks []advlib.Attack
}

// String returns for example "worst of (FGM Linf ≤ 0.1; PGD-40 Linf ≤ 0.1)".
func (a WorstOf) String() string {
	names := make([]string, len(a.Attacks))
	for i, one := range a.Attacks {
		names[i] = "nothing"
		if one != nil {
			names[i] = one.String()
		}
	}
	return "worst of (" + strings.Join(names, "; ") + ")"
}

// Threat implements [advlib.Attack].
func (a WorstOf) Threat(v advlib.Victim) (advlib.Threat, error) {
	if len(a.Attacks) == 0 {
		return advlib.Threat{}, fmt.Errorf("there are no Attacks to take the worst of: give at least one")
	}
	all := advlib.Threat{Radius: math.Inf(1)}
	for i, one := range a.Attacks {
		if one == nil {
			return all, fmt.Errorf("attack %d of %d is nil", i, len(a.Attacks))
		}
		threat, err := one.Threat(v)
		if err != nil {
			return all, fmt.Errorf("%v: %w", one, err)
		}
		switch {
		case i == 0:
			all = threat
		case threat.Norm != all.Norm:
			return all, fmt.Errorf("%v is in %v, the attacks before in %v: distances in different norms cannot be compared", one, threat.Norm, all.Norm)
		case threat.Goal.String() != all.Goal.String():
			return all, fmt.Errorf("%v is %v, the attacks before are %v: give all the same goal", one, threat.Goal, all.Goal)
		case all.Minimal():
			all.Radius = threat.Radius
		case !threat.Minimal() && threat.Radius != all.Radius:
			return all, fmt.Errorf("%v has the radius %g, the attacks before %g: give all the same ball", one, threat.Radius, all.Radius)
		}
	}
	return all, nil
}

func (a WorstOf) checkGoal(v advlib.Victim, targeted bool) error {
	for _, one := range a.Attacks {
		if err := checkGoalOf(one, v, targeted); err != nil {
			return err
		}
	}
	return nil
}

// checkGoalOf asks an attack whether it can be given a goal; one that does not say can.
func checkGoalOf(a advlib.Attack, v advlib.Victim, targeted bool) error {
	if g, ok := a.(goalChecker); ok {
		return g.checkGoal(v, targeted)
	}
	return nil
}

// Perturb implements [advlib.Attack].
func (a WorstOf) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	threat, err := a.Threat(v)
	if err != nil {
		return nil, err
	}
	c := newContest(b, threat)
	for _, one := range a.Attacks {
		if err := c.enter(ctx, v, one, b.Seed); err != nil {
			return c.end(ctx, err)
		}
	}
	return c.best.tensor(), nil
}

// contest holds several attacks on one batch against each other, and keeps the best candidate for each row.
type contest struct {
	batch    advlib.Batch
	threat   advlib.Threat
	best     *candidates
	distance []float64
	standing []int
}

func newContest(b advlib.Batch, threat advlib.Threat) *contest {
	c := &contest{batch: b, threat: threat, best: newCandidates(b), distance: make([]float64, b.Len()), standing: make([]int, b.Len())}
	for i := range c.distance {
		c.distance[i], c.standing[i] = math.Inf(1), i
	}
	return c
}

// enter runs an attack on the rows that still stand, with the given seed.
func (c *contest) enter(ctx context.Context, v *advlib.Counted, a advlib.Attack, seed uint64) error {
	if len(c.standing) == 0 {
		return nil
	}
	b := c.batch.Select(c.standing)
	b.Seed = seed
	adv, err := a.Perturb(ctx, v, b)
	if adv == nil {
		return err
	}
	threat, threatErr := a.Threat(v)
	if threatErr != nil {
		return threatErr
	}
	if judgeErr := c.judge(ctx, v, b, adv, threat.Minimal()); judgeErr != nil {
		return judgeErr
	}
	advlib.Free(b.X, adv)
	return err
}

// judge takes the candidates that reach the goal inside the ball, if they are nearer than what there is. What attacks with a budget return
// may lie outside by rounding, which advlib.Run undoes; what attacks of minimal norm return may lie anywhere.
func (c *contest) judge(ctx context.Context, v *advlib.Counted, b advlib.Batch, adv *tensors.Tensor, minimal bool) error {
	z, err := v.Logits(context.WithoutCancel(ctx), adv)
	if err != nil {
		return err
	}
	x := tensors.MustCopyFlatData[float32](b.X)
	found := &candidates{flat: tensors.MustCopyFlatData[float32](adv), dims: adv.Shape().Dimensions}
	var left []int
	for i, row := range c.standing {
		at := found.row(i)
		d := c.threat.Norm.Distance(at, x[i*len(at):(i+1)*len(at)])
		if b.Reached(i, z[i]) && d < c.distance[row] && (!minimal || d <= c.threat.Radius) {
			c.distance[row] = d
			copy(c.best.row(row), at)
		}
		if c.threat.Minimal() || math.IsInf(c.distance[row], 1) {
			left = append(left, row)
		}
	}
	c.standing = left
	return nil
}

// end returns what there is when an attack returned an error: with the error if it was cancelled, else nothing.
func (c *contest) end(ctx context.Context, err error) (*tensors.Tensor, error) {
	if ctx.Err() == nil {
		return nil, err
	}
	return c.best.tensor(), err
}
