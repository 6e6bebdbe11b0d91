package attack

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// AllTargets runs an attack towards every class but the label, one after the other, the most likely first by the logits of the
// original. Leaving the label is what counts, whatever class is reached; the class only gives the direction. The nearest boundary
// is not always the one towards the runner-up: Croce & Hein (2020), arXiv:2003.01690, section 4 ("multi-targeted").
//
// For an attack in a ball, each class is tried only on what still stands; for one of minimal norm, every class is tried on
// every example and the nearest adversarial example is kept.
type AllTargets struct {
	// Attack is what is run; its own goal must be untargeted.
	Attack advlib.Attack
	// Most is how many classes are tried at most; 0 means all but the label.
	Most int
	// Untargeted runs the attack without a target too, first of all: where two boundaries meet, neither target may lead to the
	// nearest example that an attack which is free to choose finds.
	Untargeted bool
}

// String returns for example "PGD-40 Linf ≤ 0.1, Margin, all targets".
func (a AllTargets) String() string {
	name := "nothing"
	if a.Attack != nil {
		name = a.Attack.String()
	}
	if a.Untargeted {
		name += ", untargeted and"
	} else {
		name += ","
	}
	if a.Most > 0 {
		return fmt.Sprintf("%s %d targets", name, a.Most)
	}
	return name + " all targets"
}

// goalChecker is what attacks of this package implement, so that a wrapper can refuse goals it would give them.
type goalChecker interface {
	checkGoal(v advlib.Victim, targeted bool) error
}

// Threat implements [advlib.Attack].
func (a AllTargets) Threat(v advlib.Victim) (advlib.Threat, error) {
	if a.Attack == nil {
		return advlib.Threat{}, fmt.Errorf("the Attack to run towards all targets is nil")
	}
	threat, err := a.Attack.Threat(v)
	if err != nil {
		return threat, err
	}
	if threat.Goal.IsTargeted() {
		return threat, fmt.Errorf("the attack %v has the goal %v, but all targets are tried: leave its Goal out", a.Attack, threat.Goal)
	}
	if err := checkCount("Most", a.Most); err != nil {
		return threat, err
	}
	if g, ok := a.Attack.(goalChecker); ok {
		return threat, g.checkGoal(v, true)
	}
	return threat, nil
}

// Perturb implements [advlib.Attack].
func (a AllTargets) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	threat, err := a.Attack.Threat(v)
	if err != nil {
		return nil, err
	}
	if b.Target != nil {
		return nil, fmt.Errorf("%v was given a batch with targets, but chooses them itself", a)
	}
	clean, err := v.Logits(ctx, b.X)
	if err != nil {
		return nil, err
	}
	best := newCandidates(b)
	distance := make([]float64, b.Len())
	standing := make([]int, b.Len())
	for i := range distance {
		distance[i], standing[i] = math.Inf(1), i
	}
	classes := v.Signature().Classes - 1
	if a.Most > 0 {
		classes = min(classes, a.Most)
	}
	first := 0
	if a.Untargeted {
		first = -1
	}
	for k := first; k < classes; k++ {
		if len(standing) == 0 {
			break
		}
		towards := b.Select(standing)
		if k >= 0 {
			towards.AnyClass, towards.Target = true, make([]int32, len(standing))
			for i, row := range standing {
				towards.Target[i] = likely(clean[row], b.Y[row])[k]
			}
		}
		adv, err := a.Attack.Perturb(ctx, v, towards)
		if adv == nil {
			return nil, err
		}
		if judgeErr := a.keep(ctx, v, towards, standing, adv, threat, best, distance); judgeErr != nil {
			return nil, judgeErr
		}
		advlib.Free(towards.X, adv)
		if err != nil {
			return best.tensor(), err
		}
		if !threat.Minimal() {
			standing = slices.DeleteFunc(standing, func(row int) bool { return !math.IsInf(distance[row], 1) })
		}
	}
	return best.tensor(), nil
}

// keep takes the candidates that succeed, and are nearer than what there is.
func (a AllTargets) keep(ctx context.Context, v *advlib.Counted, b advlib.Batch, rows []int, adv *tensors.Tensor, threat advlib.Threat, best *candidates, distance []float64) error {
	z, err := v.Logits(context.WithoutCancel(ctx), adv)
	if err != nil {
		return err
	}
	found := &candidates{flat: tensors.MustCopyFlatData[float32](adv), dims: adv.Shape().Dimensions}
	original := tensors.MustCopyFlatData[float32](b.X)
	for i, row := range rows {
		at := found.row(i)
		if !b.Reached(i, z[i]) {
			continue
		}
		size := len(at)
		if d := threat.Norm.Distance(at, original[i*size:(i+1)*size]); d < distance[row] {
			distance[row] = d
			copy(best.row(row), at)
		}
	}
	return nil
}

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
