package attack

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() { register[WorstOf](Wrapper) }

// WorstOf runs several attacks one after the other, each only on what still stands: the worst case over all of them,
// example by example.
//
// All have one norm, one goal, and those with a budget one radius. Attacks of minimal norm may stand beside attacks
// with a budget: what they find counts when it lies in the ball. When all are of minimal norm, each is run on every
// example and the nearest adversarial example is kept.
//
// What stands of a random victim is not told by a single answer. There each candidate is judged by 32 draws that the
// attacks have not seen: in a ball the one is kept that most of them go wrong for, and an example is left alone when
// all do; of minimal norm, the nearest for which more than half do.
type WorstOf struct {
	// Attacks are what is run, the cheapest first.
	Attacks []advlib.Attack
}

// Describe implements [craft.Described].
func (a *WorstOf) Describe(d *craft.Description) {
	names := make([]string, len(a.Attacks))
	for i, one := range a.Attacks {
		names[i] = nameOf(one)
	}
	d.Name("worst of (%s)", strings.Join(names, "; "))
	d.Refuse(len(a.Attacks) == 0, "there are no Attacks to take the worst of: give at least one")
	for i, one := range a.Attacks {
		d.Refuse(one == nil, "attack %d of %d is nil", i, len(a.Attacks))
	}
	if v := d.Victim(); v != nil && len(a.Attacks) > 0 && !slices.Contains(a.Attacks, nil) {
		d.Threat(a.threat(v))
		for _, one := range a.Attacks {
			d.Inner(v, one, 1)
		}
	}
}

// String returns for example "worst of (FGM Linf ≤ 0.1; PGD-40 Linf ≤ 0.1)".
func (a WorstOf) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a WorstOf) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a WorstOf) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return craft.Plan(a, v)
}

// threat is that of all, if they have one in common.
func (a WorstOf) threat(v advlib.Victim) (advlib.Threat, error) {
	all := advlib.Threat{Radius: math.Inf(1)}
	for i, one := range a.Attacks {
		threat, err := one.Threat(v)
		if err != nil {
			return all, fmt.Errorf("%v: %w", one, err)
		}
		switch {
		case i == 0:
			all = threat
		case threat.Norm != all.Norm:
			return all, fmt.Errorf("%v is in %v, the attacks before in %v: distances in different norms cannot be compared", one,
				threat.Norm, all.Norm)
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

// Perturb implements [advlib.Attack].
func (a WorstOf) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	threat, err := a.Threat(v)
	if err != nil {
		return nil, err
	}
	c := newContest(b, threat)
	for _, one := range a.Attacks {
		if err := c.enter(ctx, v, one, nil, nil); err != nil {
			return c.end(ctx, err)
		}
	}
	return c.best.Tensor(), nil
}

// contest holds several attacks on one batch against each other, and keeps the best candidate for each row.
type contest struct {
	batch    advlib.Batch
	threat   advlib.Threat
	best     *craft.Best
	distance []float64
	share    []float64 // of the draws in which the best candidate reaches the goal: 0 or 1 where nothing is random
	standing []int
}

// contestDraws is how often a random victim is asked about a candidate.
const contestDraws = 32

func newContest(b advlib.Batch, threat advlib.Threat) *contest {
	c := &contest{batch: b, threat: threat, best: craft.NewBest(b), distance: make([]float64, b.Len()), share: make([]float64, b.Len()),
		standing: make([]int, b.Len())}
	for i := range c.distance {
		c.distance[i], c.standing[i] = math.Inf(1), i
	}
	return c
}

// enter runs an attack on the rows that still stand. If they are not nil, change changes their batch first, another
// seed or target say, and listen is told what came out for which rows, and their originals.
func (c *contest) enter(
	ctx context.Context, v *advlib.Counted, a advlib.Attack, change func(b *advlib.Batch), listen func(rows []int, x, x0 []float32),
) error {
	if len(c.standing) == 0 {
		return nil
	}
	b := c.batch.Select(c.standing)
	if change != nil {
		change(&b)
	}
	adv, err := a.Perturb(ctx, v, b)
	if adv == nil {
		return err
	}
	threat, threatErr := a.Threat(v)
	if threatErr != nil {
		return threatErr
	}
	if listen != nil {
		listen(c.standing, tensors.MustCopyFlatData[float32](adv), tensors.MustCopyFlatData[float32](b.X))
	}
	if judgeErr := c.judge(ctx, v, b, adv, threat.Minimal()); judgeErr != nil {
		return judgeErr
	}
	advlib.Free(b.X, adv)
	return err
}

// judge takes the candidates that reach the goal inside the ball, if they are nearer than what there is. What attacks
// with a budget return may lie outside by rounding, which advlib.Run undoes; what attacks of minimal norm return may
// lie anywhere.
func (c *contest) judge(ctx context.Context, v *advlib.Counted, b advlib.Batch, adv *tensors.Tensor, minimal bool) error {
	shares, err := shareReached(context.WithoutCancel(ctx), v, b, adv)
	if err != nil {
		return err
	}
	x := tensors.MustCopyFlatData[float32](b.X)
	found := tensors.MustCopyFlatData[float32](adv)
	size := len(x) / b.Len()
	var left []int
	for i, row := range c.standing {
		at := found[i*size : (i+1)*size]
		d := c.threat.Norm.Distance(at, x[i*size:(i+1)*size])
		within := !minimal || d <= c.threat.Radius
		if math.IsNaN(shares[i]) {
			if within && c.share[row] == 0 {
				copy(c.best.Row(row), at) // nobody knows; the measurement at the end will
			}
			continue // the attacks that follow have no query either
		}
		if within && c.beats(row, shares[i], d) {
			c.distance[row], c.share[row] = d, shares[i]
			copy(c.best.Row(row), at)
		}
		if c.threat.Minimal() || c.share[row] < 1 {
			left = append(left, row)
		}
	}
	c.standing = left
	return nil
}

// beats tells whether a candidate for a row, which reaches the goal in a share of the draws and is d away, is better
// than the best so far.
func (c *contest) beats(row int, share, d float64) bool {
	if c.threat.Minimal() {
		return share > 0.5 && d < c.distance[row]
	}
	return share > c.share[row] || share > 0 && share == c.share[row] && d < c.distance[row]
}

// shareReached returns for each candidate of a batch in which share of a random victim's draws it reaches the goal, and
// 0 or 1 for other victims; not a number for those whose budget of queries is used up. Each draw costs a query.
func shareReached(ctx context.Context, v *advlib.Counted, b advlib.Batch, adv *tensors.Tensor) ([]float64, error) {
	draws := 1
	if v.Signature().Random {
		draws = contestDraws
	}
	reached, asked := make([]float64, b.Len()), make([]float64, b.Len())
	for range draws {
		said, err := judged(ctx, v, b, adv)
		if err != nil {
			return nil, err
		}
		for i, a := range said {
			if a == nil {
				continue
			}
			asked[i]++
			if b.ReachedBy(i, *a) {
				reached[i]++
			}
		}
	}
	for i, n := range asked {
		reached[i] /= n // 0/0 is not a number
	}
	return reached, nil
}

// judged returns what the victim says about the candidates of a batch; nil about those whose budget of queries is used
// up. Each costs a query.
func judged(ctx context.Context, v *advlib.Counted, b advlib.Batch, adv *tensors.Tensor) ([]*advlib.Answer, error) {
	var rows []int
	var of []int64
	for i := range b.Len() {
		if e := b.Number(i); v.Left(e) > 0 {
			rows, of = append(rows, i), append(of, e)
		}
	}
	said := make([]*advlib.Answer, b.Len())
	if len(rows) == 0 {
		return said, nil
	}
	if len(rows) < b.Len() {
		adv = advlib.TakeRows(adv, rows, len(rows))
		defer advlib.Free(adv)
	}
	answers, err := v.Ask(ctx, of, adv)
	if err != nil {
		return nil, err
	}
	for i, row := range rows {
		said[row] = &answers[i]
	}
	return said, nil
}

// end returns what there is when an attack returned an error: with the error if it was cancelled, else nothing.
func (c *contest) end(ctx context.Context, err error) (*tensors.Tensor, error) {
	if ctx.Err() == nil {
		return nil, err
	}
	return c.best.Tensor(), err
}
