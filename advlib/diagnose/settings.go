package diagnose

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/report"
)

// Settings say what is diagnosed, and how thoroughly. Only the Ball must be set.
type Settings struct {
	// Ball is the threat model: the norm is L1, L2 or Linf.
	Ball advlib.Ball
	// Attack is the attack in the ball that the robust accuracy rests on; nil means [DefaultAttack].
	Attack advlib.Attack
	// Surrogate is a classifier to transfer attacks from; nil means that one is trained on the victim's answers about the
	// examples.
	Surrogate *advlib.Classifier
	// Only are the names of the checks to run, Skip of those to leave out; see [Checks]. What is left out is "not run".
	Only, Skip []string
	// Queries is the budget of black-box attacks for each example; 0 means 1000.
	Queries int
	// Samples is how many points around each example that stands are tried at random; 0 means 10000.
	Samples int
	// Points is how many examples the binarisation test takes; 0 means 64.
	Points int
	// Seed keys all randomness.
	Seed uint64
	// Journal, if set, keeps what each attack found, so that a diagnosis that was killed continues; see package lab.
	Journal advlib.Journal
	// OnCheck, if set, is called before each check with its place among those to run, from 1, and their number.
	OnCheck func(c Check, at, of int)
}

// DefaultAttack is the attack on a victim where none is given: [attack.PGD] with 50 steps on the margin towards each of
// the nine most likely classes, on a random victim without these and in expectation, [attack.EOT], and on one without a
// gradient [attack.Square]. A defence that has an attack of its own, such as detect.Screened, is attacked by that.
func DefaultAttack(v advlib.Victim, ball advlib.Ball) advlib.Attack {
	if d, ok := v.(knowing); ok {
		return d.Adaptive(ball)
	}
	c, err := advlib.WhiteBox(v)
	if err != nil || c.Differentiable() != nil {
		return attack.Square{Ball: ball}
	}
	pgd := attack.PGD{Ball: ball, Loss: advlib.Margin, Steps: 50}
	if v.Signature().Random { // what is barely adversarial in one draw is not in the next
		pgd.KeepGoing = true
		return attack.EOT{Attack: pgd}
	}
	return attack.AllTargets{Attack: pgd, Most: 9}
}

// knowing is a victim that says how it is attacked by who knows all about it, as a defense.Defended does.
type knowing interface {
	Adaptive(ball advlib.Ball) advlib.Attack
}

// check refuses settings before anything is computed, and fills in defaults.
func (s Settings) check(v advlib.Victim, e *advlib.Examples) (Settings, error) {
	if v == nil {
		return s, fmt.Errorf("the victim is nil")
	}
	if err := s.Ball.Check(); err != nil {
		return s, err
	}
	if _, ok := s.Ball.Norm.(advlib.ConvexNorm); !ok || !(s.Ball.Radius > 0) {
		return s, fmt.Errorf("the ball is %v: give one of L1, L2 or Linf with a radius above 0", s.Ball)
	}
	if s.Attack == nil {
		s.Attack = DefaultAttack(v, s.Ball)
	}
	threat, err := s.Attack.Threat(v)
	if err != nil {
		return s, fmt.Errorf("%v: %w", s.Attack, err)
	}
	if threat.Goal.IsTargeted() {
		return s, fmt.Errorf("%v is targeted: robust accuracy is about any other class, so give an untargeted one", s.Attack)
	}
	if !threat.Minimal() && threat.Ball() != s.Ball {
		return s, fmt.Errorf("%v attacks in %v, and what is diagnosed is %v: give both the same ball", s.Attack, threat.Ball(), s.Ball)
	}
	for name, n := range map[string]int{"Queries": s.Queries, "Samples": s.Samples, "Points": s.Points} {
		if n < 0 {
			return s, fmt.Errorf("%s is %d: give a number above 0, or 0 for the default", name, n)
		}
	}
	for _, name := range slices.Concat(s.Only, s.Skip) {
		if !slices.ContainsFunc(checklist, func(c Check) bool { return c.Name == name }) {
			return s, fmt.Errorf("there is no check %q: there are %s", name, strings.Join(Names(), ", "))
		}
	}
	s.Queries, s.Samples, s.Points = or(s.Queries, 1000), or(s.Samples, 10_000), or(s.Points, 64)
	return s, e.Check(advlib.Spec{Name: v.Name(), Input: v.Signature().Input, Box: v.Signature().Box, Domain: v.Signature().Domain},
		v.Signature().Classes)
}

func or(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return n
}

// Run diagnoses a victim on examples. All arguments are checked before anything is computed. When ctx is done, what was
// found so far is returned together with ctx.Err(); checks that were not reached are "not run".
func (s Settings) Run(ctx context.Context, v advlib.Victim, e *advlib.Examples) (*Diagnosis, error) {
	s, err := s.check(v, e)
	if err != nil {
		return nil, fmt.Errorf("diagnose: %w", err)
	}
	start := time.Now()
	x := &examiner{Settings: s, victim: v, all: e, attacks: map[string][]bool{}}
	if x.white, _ = advlib.WhiteBox(v); x.white != nil {
		x.blind = x.white.Differentiable()
	}
	d := &Diagnosis{
		Classifier: v.Name(), Data: e.Name, Ball: s.Ball.Named(), Attack: s.Attack.String(), Seed: s.Seed,
	}
	if err := x.begin(ctx); err != nil {
		return nil, fmt.Errorf("diagnose: %w", err)
	}
	defer advlib.Free(x.on.X)
	n := 0
	var failed error
	for _, c := range checklist {
		f := Finding{Number: c.Number, Name: c.Name, Threshold: c.Passes, Decides: c.Decides, Verdict: NotRun}
		switch {
		case len(s.Only) > 0 && !slices.Contains(s.Only, c.Name) || slices.Contains(s.Skip, c.Name):
			f.Why = "it was left out by the settings"
		case ctx.Err() != nil || failed != nil:
			f.Why = "the diagnosis was interrupted before it"
		case c.white && x.white == nil:
			f.Verdict, f.Why = NotApplicable, fmt.Sprintf("%s only answers: it has no graph", v.Name())
		case c.white && x.blind != nil && c.Name != "gradients":
			f.Verdict, f.Why = NotApplicable, "there is no gradient to follow: see gradients"
		case x.on.Len() == 0:
			f.Why = "no example is classified correctly: there is nothing to attack"
		default:
			if n++; s.OnCheck != nil {
				s.OnCheck(c, n, s.planned())
			}
			begun := time.Now()
			err := c.run(ctx, x, &f)
			f.Seconds = time.Since(begun).Seconds()
			if err != nil {
				f.Verdict, f.Why = NotRun, err.Error()
				if ctx.Err() != nil {
					f.Why = "the diagnosis was interrupted in it"
				}
			}
			if f.Verdict == Failed {
				f.Next = c.next(x)
			}
		}
		d.Findings = append(d.Findings, f)
	}
	d.Clean, d.Robust, d.Worst = x.clean, x.standing(x.attacks[s.Attack.String()]), x.standing(x.worst())
	d.ThreatModel = ThreatModel(v, s.Ball, x.ran)
	d.Interrupted = ctx.Err() != nil
	d.Seconds = time.Since(start).Seconds()
	return d, ctx.Err()
}

// planned is how many checks are run at most.
func (s Settings) planned() int {
	n := 0
	for _, c := range checklist {
		if (len(s.Only) == 0 || slices.Contains(s.Only, c.Name)) && !slices.Contains(s.Skip, c.Name) {
			n++
		}
	}
	return n
}

// examiner is a diagnosis in progress.
type examiner struct {
	Settings
	victim advlib.Victim
	white  *advlib.Classifier // nil for a victim that only answers
	blind  error              // why it has no gradient, nil if it has one
	all    *advlib.Examples
	// on are the examples that are classified correctly: the only ones that are attacked. clean counts them.
	on    *advlib.Examples
	clean report.Rate
	// said are the answers about them; rejected counts the examples that were rejected.
	said     []advlib.Answer
	rejected int
	// attacks has, by the name of each attack in the ball that was run, which of them it broke; adversarial what the
	// attack that is diagnosed returned; passes how many passes it took for each.
	attacks     map[string][]bool
	adversarial *tensors.Tensor
	passes      int
	// ran are all attacks that were run, for the threat model.
	ran []advlib.Attack
	// surrogate is what was trained to transfer from.
	surrogate *advlib.Classifier
}

// begin asks about the originals, and runs the attack that is diagnosed.
func (x *examiner) begin(ctx context.Context) error {
	said, err := x.victim.Query(ctx, x.all.X)
	if err != nil {
		return err
	}
	var right []int
	for i, a := range said {
		if a.Kind == advlib.Rejected {
			x.rejected++
		}
		if a.Class() == x.all.Y[i] {
			right = append(right, i)
			x.said = append(x.said, a)
		}
	}
	x.clean = report.Rate{Count: len(right), Of: x.all.Len()}
	if len(right) == 0 {
		x.on = &advlib.Examples{Name: x.all.Name, Classes: x.all.Classes}
		return nil
	}
	x.on = x.all.Select(right)
	res, err := x.measure(ctx, x.Attack)
	if err != nil {
		return err
	}
	x.adversarial = res.Adversarial
	x.passes = max(1, int(res.Stats.Forward+res.Stats.Backward)/x.on.Len())
	return nil
}

// measure runs an attack on the examples that are classified correctly.
func (x *examiner) measure(ctx context.Context, a advlib.Attack) (*advlib.Result, error) {
	res, err := advlib.Settings{Seed: x.Seed, Journal: x.Journal}.Run(ctx, x.victim, x.on, a)
	if err != nil {
		return nil, err
	}
	x.ran = append(x.ran, a)
	hit := make([]bool, x.on.Len())
	for i, s := range res.Success {
		hit[i] = s && res.Distance[i] <= x.Ball.Radius
	}
	if t := res.Threat; t.Norm == x.Ball.Norm && (t.Minimal() || t.Radius <= x.Ball.Radius) {
		x.attacks[a.String()] = hit
	}
	return res, nil
}

// breaks tells which of the examples an attack breaks within its own radius. What was run is not run again.
func (x *examiner) breaks(ctx context.Context, a advlib.Attack) ([]bool, error) {
	if hit, ok := x.attacks[a.String()]; ok {
		return hit, nil
	}
	res, err := x.measure(ctx, a)
	if err != nil {
		return nil, err
	}
	if hit, ok := x.attacks[a.String()]; ok {
		return hit, nil
	}
	return res.Success, nil
}

// base tells which examples the diagnosed attack breaks.
func (x *examiner) base() []bool { return x.attacks[x.Attack.String()] }

// worst tells which examples any of the attacks in the ball has broken.
func (x *examiner) worst() []bool {
	var all []bool
	for _, hit := range x.attacks {
		all = union(all, hit)
	}
	return all
}

// standing is the accuracy that is left of all examples where those are broken.
func (x *examiner) standing(broken []bool) report.Rate {
	r := report.Rate{Of: x.all.Len()}
	for i := range x.on.Len() {
		if i >= len(broken) || !broken[i] {
			r.Count++
		}
	}
	return r
}

// slack is how many examples a threshold of a share lets pass: at least one, for on few examples one is more than any
// share that means something.
func (x *examiner) slack(share float64) int { return max(1, int(share*float64(x.on.Len()))) }

func union(a, b []bool) []bool {
	u := slices.Clone(b)
	for i := range a {
		u[i] = u[i] || a[i]
	}
	return u
}

// more counts what holds of a and not of b.
func more(a, b []bool) int {
	n := 0
	for i := range a {
		if a[i] && !b[i] {
			n++
		}
	}
	return n
}
