package attack

import (
	"context"
	"fmt"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() { register[AutoAttack](InBall) }

// AutoAttackVersion is one of the sets of attacks that AutoAttack comes in.
type AutoAttackVersion int

// The versions of [AutoAttack].
const (
	// VersionStandard is APGD on the cross-entropy, APGD-T, FAB-T and Square, in this order: what RobustBench reports.
	VersionStandard AutoAttackVersion = iota
	// VersionPlus is APGD on the cross-entropy and on DLR, with five runs each, FAB with five, Square, APGD-T and FAB-T.
	VersionPlus
	// VersionRand is APGD on the cross-entropy and on DLR, one run each, for classifiers with random logits: give it to
	// [EOT].
	VersionRand
)

// String returns "standard", "plus" or "rand".
func (v AutoAttackVersion) String() string {
	switch v {
	case VersionStandard:
		return "standard"
	case VersionPlus:
		return "plus"
	case VersionRand:
		return "rand"
	}
	return fmt.Sprintf("version %d", int(v))
}

// MarshalText returns what String does.
func (v AutoAttackVersion) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads what String returns.
func (v *AutoAttackVersion) UnmarshalText(text []byte) error {
	all := []AutoAttackVersion{VersionStandard, VersionPlus, VersionRand}
	found, err := oneOf("version of AutoAttack", string(text), all)
	if err == nil {
		*v = found
	}
	return err
}

// AutoAttack is the ensemble of Croce & Hein (2020), arXiv:2003.01690, section 5, with the numbers of its authors'
// code; each attack runs only on what still stands. It is untargeted. Attacks returns its members, for a table with a
// column for each.
//
// Where there are fewer than 4 classes, for which the targeted DLR loss is not defined, APGD-T ascends the margin; with
// fewer than 3, where DLR is not defined at all, so does APGD-DLR. The members are those of this package, and depart
// from the authors' as their comments say; above all, FAB looks for the nearest example, and counts when it lies in the
// ball.
type AutoAttack struct {
	// Ball is what may be changed; its norm is L1, L2 or Linf. It must be set.
	Ball advlib.Ball
	// Version is standard if zero.
	Version AutoAttackVersion
}

// Describe implements [craft.Described].
func (a *AutoAttack) Describe(d *craft.Description) {
	d.Paper("Croce & Hein 2020, arXiv:2003.01690")
	d.Gradients()
	d.Ball(&a.Ball, convexNorms...)
	d.Name("AutoAttack %v", a.Version)
	d.Untargeted("it chooses its targets itself")
	d.Refuse(a.Version < VersionStandard || a.Version > VersionRand, "%v is not one of VersionStandard, VersionPlus and VersionRand",
		a.Version)
	if v := d.Victim(); v != nil && a.Ball.Norm != nil {
		all := WorstOf{a.Attacks(v.Signature().Classes)}
		d.Threat(all.Threat(v))
		forward, backward, known := all.Plan(v)
		d.PassesOf(1, forward, backward, known)
	}
}

// String returns for example "AutoAttack standard Linf ≤ 0.1".
func (a AutoAttack) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a AutoAttack) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a AutoAttack) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return craft.Plan(a, v)
}

// Attacks returns the members of the ensemble for a classifier with the given number of classes, in the order in which
// they run.
func (a AutoAttack) Attacks(classes int) []advlib.Attack {
	sparse := a.Ball.Norm == advlib.Norm(advlib.L1)
	dlr := func(targeted bool) advlib.Loss {
		if classes < advlib.DLR.MinClasses(targeted) {
			return advlib.Margin
		}
		return advlib.DLR
	}
	apgd := func(l advlib.Loss, runs int, larger bool) APGD {
		return APGD{Ball: a.Ball, Loss: l, Restarts: runs - 1, LargerRadii: larger}
	}
	apgdT := func(targets int, larger bool) advlib.Attack {
		return AllTargets{Attack: apgd(dlr(true), 1, larger), Most: targets}
	}
	// The authors count 5000 questions of the search alone, Square the original and the returned point, too.
	square := Square{Ball: a.Ball, Queries: 5002}
	switch a.Version {
	case VersionPlus:
		return []advlib.Attack{
			apgd(nil, 5, false), apgd(dlr(false), 5, false), FAB{Norm: a.Ball.Norm, Restarts: 4}, square, apgdT(9, false), FABT(a.Ball.Norm),
		}
	case VersionRand:
		return []advlib.Attack{apgd(nil, 1, false), apgd(dlr(false), 1, false)}
	}
	if sparse {
		return []advlib.Attack{apgd(nil, 5, true), apgdT(5, true), FABT(a.Ball.Norm), square}
	}
	return []advlib.Attack{apgd(nil, 1, false), apgdT(9, false), FABT(a.Ball.Norm), square}
}

// Perturb implements [advlib.Attack].
func (a AutoAttack) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	return WorstOf{a.Attacks(v.Signature().Classes)}.Perturb(ctx, v, b)
}
