package attack

import (
	"context"
	"fmt"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() { register[AllTargets](Wrapper) }

// AllTargets runs an attack towards every class but the label, one after the other, the most likely first by the logits
// of the original. Leaving the label is what counts, whatever class is reached; the class only gives the direction. The
// nearest boundary is not always the one towards the runner-up: Croce & Hein (2020), arXiv:2003.01690, section 4
// ("multi-targeted").
//
// For an attack in a ball, each class is tried only on what still stands; for one of minimal norm, every class is tried
// on every example and the nearest adversarial example is kept.
type AllTargets struct {
	// Attack is what is run; its own goal must be untargeted.
	Attack advlib.Attack
	// Most is how many classes are tried at most; 0 means all but the label.
	Most int
	// Untargeted runs the attack without a target too, first of all: where two boundaries meet, neither target may lead to
	// the nearest example that an attack which is free to choose finds.
	Untargeted bool
}

// Describe implements [craft.Described].
func (a *AllTargets) Describe(d *craft.Description) {
	d.Paper("Croce & Hein 2020, arXiv:2003.01690")
	d.Count(&a.Most, 0)
	what := "all targets"
	if a.Most > 0 {
		what = fmt.Sprintf("%d targets", a.Most)
	}
	if a.Untargeted {
		what = "untargeted and " + what
	}
	d.Name("%s, %s", nameOf(a.Attack), what)
	d.Untargeted("it chooses its targets itself")
	d.Refuse(a.Attack == nil, "the Attack to run towards all targets is nil")
	v := d.Victim()
	if v == nil || a.Attack == nil {
		return
	}
	d.Scores()
	threat, err := a.Attack.Threat(v)
	d.Threat(threat, err)
	d.Refuse(threat.Goal.IsTargeted(), "the attack %v has the goal %v, but all targets are tried: leave its Goal out", a.Attack, threat.Goal)
	d.Check(craft.CheckTargeted(a.Attack, v))
	forward, backward, known := craft.PlanOf(a.Attack, v, true)
	d.PassesOf(a.targets(v), forward, backward, known)
	if a.Untargeted {
		forward, backward, known = craft.PlanOf(a.Attack, v, false)
		d.PassesOf(1, forward, backward, known)
	}
}

// targets is how many classes are tried.
func (a AllTargets) targets(v advlib.Victim) int {
	n := v.Signature().Classes - 1
	if a.Most > 0 {
		n = min(n, a.Most)
	}
	return n
}

// String returns for example "PGD-40 Linf ≤ 0.1, Margin, all targets".
func (a AllTargets) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a AllTargets) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a AllTargets) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return craft.Plan(a, v)
}

// Perturb implements [advlib.Attack].
func (a AllTargets) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	threat, err := a.Attack.Threat(v)
	if err != nil {
		return nil, err
	}
	clean, err := a.clean(ctx, v, b)
	if err != nil {
		return nil, err
	}
	c := newContest(b, threat)
	if a.Attack, err = sized(ctx, v, b, a.Attack); err != nil {
		return c.end(ctx, err)
	}
	if a.Untargeted {
		if err := c.enter(ctx, v, a.Attack, nil, nil); err != nil {
			return c.end(ctx, err)
		}
	}
	heard := hearing{size: b.X.Shape().Size() / b.Len()}
	for k := range a.targets(v) {
		towards := func(b *advlib.Batch) {
			b.AnyClass, b.Target = true, make([]int32, b.Len())
			for i, row := range c.standing {
				b.Target[i] = likely(clean[row], b.Y[i])[k]
			}
		}
		if err := c.enter(ctx, v, a.Attack, towards, heard.listen); err != nil {
			return c.end(ctx, err)
		}
	}
	if heard.nothing() {
		v.Warn(fmt.Sprintf("%v gives the same candidates whatever class it is asked for: it ignores Batch.Target, so that all targets are one "+
			"(what a step wants must come from the Goal of its Point, not from the labels), or the gradient is 0", a.Attack))
	}
	return c.best.Tensor(), nil
}

// clean returns the logits of the originals, by which classes are likely. A row without a query left has none, and is
// in any order.
func (a AllTargets) clean(ctx context.Context, v *advlib.Counted, b advlib.Batch) ([][]float32, error) {
	said, err := judged(ctx, v, b, b.X)
	if err != nil {
		return nil, err
	}
	classes := v.Signature().Classes
	z := make([][]float32, b.Len())
	for i, a := range said {
		if a != nil {
			z[i] = a.Logits(classes)
		}
		if z[i] == nil {
			z[i] = make([]float32, classes)
		}
	}
	return z, nil
}

// hearing compares the candidates of one class with those of the class before, to notice an attack that ignores which
// is wanted.
type hearing struct {
	size      int // of a row
	before    map[int][]float32
	same      int // coordinates that moved, and to the same value for both classes
	different bool
}

// listen takes the candidates x of some rows, whose originals are x0.
func (h *hearing) listen(rows []int, x, x0 []float32) {
	now := make(map[int][]float32, len(rows))
	for i, row := range rows {
		at := x[i*h.size : (i+1)*h.size]
		now[row] = at
		before, ok := h.before[row]
		switch {
		case !ok:
		case !slices.Equal(at, before):
			h.different = true
		default:
			for j, v := range at {
				if v != x0[i*h.size+j] {
					h.same++
				}
			}
		}
	}
	h.before = now
}

// enough is how many coordinates must have moved to the same values for two classes to be no chance.
const enough = 64

func (h *hearing) nothing() bool { return !h.different && h.same >= enough }

// likely returns all classes but y, the largest logit first; of equal ones the first.
func likely(z []float32, y int32) []int32 {
	classes := make([]int32, 0, len(z)-1)
	for k := range z {
		if int32(k) != y {
			classes = append(classes, int32(k))
		}
	}
	slices.SortStableFunc(classes, func(i, j int32) int {
		switch {
		case z[i] > z[j]:
			return -1
		case z[i] < z[j]:
			return 1
		}
		return 0
	})
	return classes
}
