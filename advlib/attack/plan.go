package attack

import "advlab/advlib"

// This file has the attacks' [advlib.Planner]: how many passes an example takes when nothing stops early, for an estimate
// of the time left. Searches along a segment at the end, of some ten passes, are left out. CarliniWagnerLinf,
// CarliniWagnerL0 and JSMA announce nothing: how often they begin anew depends on the example.

// planOf returns what an attack announces, with a target for each example or without.
func planOf(a advlib.Attack, v advlib.Victim, targeted bool) (forward, backward float64, known bool) {
	if p, ok := a.(interface {
		plan(v advlib.Victim, targeted bool) (forward, backward float64, known bool)
	}); ok {
		return p.plan(v, targeted)
	}
	if p, ok := a.(advlib.Planner); ok {
		return p.Plan(v)
	}
	return 0, 0, false
}

// gradients is the plan of n steps, each with a gradient.
func gradients(n int) (forward, backward float64, known bool) { return float64(n), float64(n), true }

// boundarySteps is the plan of n steps that look at the boundaries with the given number of other classes, or with the
// target's alone.
func boundarySteps(n, candidates int, v advlib.Victim, targeted bool) (forward, backward float64, known bool) {
	others := min(numberOr(candidates, defaultCandidates), v.Signature().Classes) - 1
	if targeted {
		others = 1
	}
	return float64(n), float64(n * others), true
}

// times is a plan made k times.
func times(k int, a advlib.Attack, v advlib.Victim, targeted bool) (forward, backward float64, known bool) {
	forward, backward, known = planOf(a, v, targeted)
	return float64(k) * forward, float64(k) * backward, known
}

// Plan implements [advlib.Planner].
func (a FGM) Plan(advlib.Victim) (forward, backward float64, known bool) { return gradients(1) }

// Plan implements [advlib.Planner].
func (a PGD) Plan(advlib.Victim) (forward, backward float64, known bool) {
	return gradients((1 + a.Restarts) * a.steps())
}

// Plan implements [advlib.Planner].
func (a BIM) Plan(advlib.Victim) (forward, backward float64, known bool) {
	return gradients(a.steps())
}

// Plan implements [advlib.Planner].
func (a MIFGSM) Plan(advlib.Victim) (forward, backward float64, known bool) {
	return gradients(a.steps())
}

// Plan implements [advlib.Planner].
func (a APGD) Plan(advlib.Victim) (forward, backward float64, known bool) {
	return gradients((1 + a.Restarts) * a.steps())
}

// Plan implements [advlib.Planner].
func (a Square) Plan(advlib.Victim) (forward, backward float64, known bool) {
	return float64((1 + a.Restarts) * a.queries()), 0, true
}

// Plan implements [advlib.Planner].
func (a FAB) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return a.plan(v, a.Goal.IsTargeted())
}

func (a FAB) plan(v advlib.Victim, targeted bool) (forward, backward float64, known bool) {
	forward, backward, known = boundarySteps((1+a.Restarts)*a.steps(), a.Candidates, v, targeted)
	return 2 * forward, backward, known // its step judges one point and linearises at another
}

// Plan implements [advlib.Planner].
func (a DeepFool) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return a.plan(v, a.Goal.IsTargeted())
}

func (a DeepFool) plan(v advlib.Victim, targeted bool) (forward, backward float64, known bool) {
	return boundarySteps(a.steps(), a.Candidates, v, targeted)
}

// Plan implements [advlib.Planner].
func (a FMN) Plan(advlib.Victim) (forward, backward float64, known bool) {
	return gradients(a.steps())
}

// Plan implements [advlib.Planner].
func (a DDN) Plan(advlib.Victim) (forward, backward float64, known bool) {
	return gradients(a.steps())
}

// Plan implements [advlib.Planner].
func (a SigmaZero) Plan(advlib.Victim) (forward, backward float64, known bool) {
	return gradients(a.steps())
}

// Plan implements [advlib.Planner].
func (a EAD) Plan(advlib.Victim) (forward, backward float64, known bool) {
	return gradients(a.searches() * a.steps())
}

// Plan implements [advlib.Planner].
func (a CarliniWagner) Plan(advlib.Victim) (forward, backward float64, known bool) {
	return gradients(a.searches() * a.steps())
}

// Plan implements [advlib.Planner].
func (a AllTargets) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	targets := v.Signature().Classes - 1
	if a.Most > 0 {
		targets = min(targets, a.Most)
	}
	forward, backward, known = times(targets, a.Attack, v, true)
	if a.Untargeted {
		f, b, _ := planOf(a.Attack, v, false)
		forward, backward = forward+f, backward+b
	}
	return forward, backward, known
}

// Plan implements [advlib.Planner].
func (a Repeat) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return a.plan(v, false)
}

func (a Repeat) plan(v advlib.Victim, targeted bool) (forward, backward float64, known bool) {
	return times(a.times(), a.Attack, v, targeted)
}

// Plan implements [advlib.Planner].
func (a WorstOf) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return a.plan(v, false)
}

func (a WorstOf) plan(v advlib.Victim, targeted bool) (forward, backward float64, known bool) {
	for _, one := range a.Attacks {
		f, b, ok := planOf(one, v, targeted)
		if !ok {
			return 0, 0, false
		}
		forward, backward = forward+f, backward+b
	}
	return forward, backward, true
}

// Plan implements [advlib.Planner].
func (a AutoAttack) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return WorstOf{a.Attacks(v.Signature().Classes)}.Plan(v)
}

// Plan implements [advlib.Planner]. How many samples are drawn is not known before, unless it is given.
func (a EOT) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	forward, backward, known = times(a.Samples, a.Attack, v, false)
	return forward, backward, known && a.Samples > 0
}

// Plan implements [advlib.Planner].
func (a BPDA) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return planOf(a.Attack, v, false)
}

// Plan implements [advlib.Planner].
func (a Temperature) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return planOf(a.Attack, v, false)
}

// Plan implements [advlib.Planner].
func (a Lattice8) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return planOf(a.Attack, v, false)
}

// Plan implements [advlib.Planner].
func (a Transfer) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return planOf(a.Attack, v, false)
}
