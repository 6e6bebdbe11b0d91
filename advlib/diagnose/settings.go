package diagnose

import (
	"context"
	"fmt"
	"maps"
	"math"
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
	// Samples is how many points at random are tried around each of the 16 examples that a first tenth of them, around
	// every example that stands, brings nearest to falling; 0 means 10000.
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

// DefaultAttack is the attack on a victim where none is given: [attack.APGD] with 50 steps on the margin towards each
// of the nine most likely classes, on a random victim [attack.PGD] without these and in expectation, [attack.EOT], on
// one without a gradient [attack.Square], and on one that tells labels only [attack.HopSkipJump]. A defence that has an
// attack of its own, such as detect.Screened, is attacked by that.
//
// APGD and not PGD: of 200 images and a network that was trained on adversarial examples of MNIST at 0.3, PGD with as
// many steps and targets left 4 to Square that it does not find, and APGD after it one.
func DefaultAttack(v advlib.Victim, ball advlib.Ball) advlib.Attack {
	if d, ok := v.(knowing); ok {
		return d.Adaptive(ball)
	}
	c, err := advlib.WhiteBox(v)
	if err != nil || c.Differentiable() != nil {
		return asking(v, ball, 5000)
	}
	if v.Signature().Random { // what is barely adversarial in one draw is not in the next
		return attack.EOT{Attack: attack.PGD{Ball: ball, Loss: advlib.Margin, Steps: 50, KeepGoing: true}}
	}
	return attack.AllTargets{Attack: attack.APGD{Ball: ball, Loss: advlib.Margin, Steps: 50}, Most: 9}
}

// asking is the attack on a victim of which only answers are of use.
func asking(v advlib.Victim, ball advlib.Ball, queries int) advlib.Attack {
	if v.Signature().Returns == advlib.Label && ball.Norm != advlib.L1 {
		return attack.HopSkipJump{Norm: ball.Norm, Queries: queries}
	}
	return attack.Square{Ball: ball, Queries: queries}
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
	x := &examiner{Settings: s, victim: v, all: e, attacks: map[string]*outcome{}, contests: map[contest][]float64{}, cut: math.NaN()}
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
	again := map[int]func(){} // what checks conclude, once all p-values are known
	for _, c := range checklist {
		f := Finding{Number: c.Number, Name: c.Name, Threshold: c.Passes, Decides: c.Decides, Verdict: NotRun}
		switch {
		case len(s.Only) > 0 && !slices.Contains(s.Only, c.Name) || slices.Contains(s.Skip, c.Name):
			f.Why = "it was left out by the settings"
		case ctx.Err() != nil:
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
			x.conclude = nil
			err := c.run(ctx, x, &f)
			f.Seconds = time.Since(begun).Seconds()
			if x.conclude != nil {
				again[len(d.Findings)] = x.conclude
			}
			if err != nil {
				f.Verdict, f.Why = NotRun, err.Error()
				if ctx.Err() != nil {
					f.Why = "the diagnosis was interrupted in it"
				}
			}
		}
		d.Findings = append(d.Findings, f)
	}
	x.holm(d.Findings, again)
	for i := range d.Findings {
		if f := &d.Findings[i]; f.Verdict == Failed {
			f.advise(x.victim, checklist[i].next(x))
		}
	}
	d.Clean, d.Robust, d.Worst = x.clean, x.standing(x.base().hit), x.standing(x.worst())
	d.Threat = threatModel(x.victim, s.Ball, x.ran)
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
	// said are the answers about them, classes those about all; rejected counts the examples that were rejected.
	said     []advlib.Answer
	classes  []int32
	rejected int
	// attacks has, by the name of each attack in the ball that was run, what it did; adversarial what the attack that is
	// diagnosed returned; passes how many passes it took for each.
	attacks     map[string]*outcome
	adversarial *tensors.Tensor
	passes      int
	// ran are all attacks that were run, for the threat model.
	ran []advlib.Attack
	// surrogate is what was trained to transfer from.
	surrogate *advlib.Classifier

	// thorough lets noise try all points around each example.
	thorough bool
	// See chance.go.
	contests map[contest][]float64
	cut      float64
	conclude func()
}

// outcome is what an attack did to the examples that are classified correctly, of which not all need have been tried.
type outcome struct {
	tried, hit []bool
	// reached counts, of a random victim, the draws that misclassify what the attack returned.
	reached []int
}

// begin asks about the originals, and runs the attack that is diagnosed.
func (x *examiner) begin(ctx context.Context) error {
	said, err := x.victim.Query(ctx, x.all.X)
	if err != nil {
		return err
	}
	if x.victim.Signature().Random { // the usual answer of 20
		draws := [][]advlib.Answer{said}
		for range 19 {
			again, err := x.victim.Query(ctx, x.all.X)
			if err != nil {
				return err
			}
			draws = append(draws, again)
		}
		for i := range said {
			said[i] = usual(draws, i)
		}
	}
	var right []int
	for i, a := range said {
		if a.Kind == advlib.Rejected {
			x.rejected++
		}
		x.classes = append(x.classes, a.Class())
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
	res, _, err := x.measure(ctx, x.Attack, nil)
	if err != nil {
		return err
	}
	x.adversarial = res.Adversarial
	x.passes = max(1, int(res.Stats.Forward+res.Stats.Backward)/x.on.Len())
	return nil
}

// usual returns an answer about input i with its most frequent class.
func usual(draws [][]advlib.Answer, i int) advlib.Answer {
	times := map[int32]int{}
	best := draws[0][i]
	for _, d := range draws {
		if times[d[i].Class()]++; times[d[i].Class()] > times[best.Class()] {
			best = d[i]
		}
	}
	return best
}

// measure runs an attack on those rows of the examples that are classified correctly; nil stands for all. An attack
// that stays in the ball is remembered.
func (x *examiner) measure(ctx context.Context, a advlib.Attack, rows []int) (*advlib.Result, *outcome, error) {
	on, n := x.on, x.on.Len()
	if rows != nil {
		on = x.on.Select(rows)
		defer advlib.Free(on.X)
	} else {
		for i := range n {
			rows = append(rows, i)
		}
	}
	res, err := advlib.Settings{Seed: x.Seed, Journal: x.Journal, Draws: x.draws()}.Run(ctx, x.victim, on, a)
	if err != nil {
		return nil, nil, err
	}
	x.ran = append(x.ran, a)
	inside := res.Threat.Norm == x.Ball.Norm && (res.Threat.Minimal() || res.Threat.Radius <= x.Ball.Radius)
	o := x.attacks[a.String()]
	if o == nil || !inside {
		o = &outcome{tried: make([]bool, n), hit: make([]bool, n), reached: make([]int, n)}
	}
	for k, i := range rows {
		near := !inside || res.Distance[k] <= x.Ball.Radius || !res.Success[k]
		o.tried[i], o.hit[i] = true, res.Success[k] && near
		if res.Reached != nil && near {
			o.reached[i] = res.Reached[k]
		}
	}
	if inside {
		x.attacks[a.String()] = o
	}
	return res, o, nil
}

// breaks tells which of the examples an attack breaks within its own radius. What was run is not run again.
func (x *examiner) breaks(ctx context.Context, a advlib.Attack) (*outcome, error) {
	if o := x.attacks[a.String()]; o != nil && !slices.Contains(o.tried, false) {
		return o, nil
	}
	_, o, err := x.measure(ctx, a, nil)
	return o, err
}

// against tries an attack on at most so many of the examples that the diagnosed one leaves, the first; 0 means all.
func (x *examiner) against(ctx context.Context, a advlib.Attack, most int) (*outcome, error) {
	rows := x.open(most)
	if len(rows) == 0 {
		none := make([]bool, x.on.Len())
		return &outcome{tried: none, hit: none, reached: make([]int, x.on.Len())}, nil
	}
	if o := x.attacks[a.String()]; o != nil && !slices.ContainsFunc(rows, func(i int) bool { return !o.tried[i] }) {
		return o, nil
	}
	_, o, err := x.measure(ctx, a, rows)
	return o, err
}

// open are the first examples that the diagnosed attack leaves, at most so many; 0 means all.
func (x *examiner) open(most int) []int {
	var rows []int
	for i, hit := range x.base().hit {
		if !hit && (most == 0 || len(rows) < most) {
			rows = append(rows, i)
		}
	}
	return rows
}

// closely is how many of the examples that stand the costly versions of the attack are tried on.
const closely = 100

// base is what the diagnosed attack did.
func (x *examiner) base() *outcome {
	if o := x.attacks[x.Attack.String()]; o != nil {
		return o
	}
	return &outcome{} // nothing could be attacked
}

// worst tells which examples any of the attacks in the ball has broken; those of a random victim beyond chance.
func (x *examiner) worst() []bool {
	all := x.base().hit
	for _, name := range slices.Sorted(maps.Keys(x.attacks)) {
		if name != x.Attack.String() {
			all = union(all, x.alone(name))
		}
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
