package advlib

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib/internal/notebook"
	"advlab/advlib/report"
)

// Settings are the conditions of a measurement. The zero value is a good one.
type Settings struct {
	// Seed keys all randomness; the same seed gives the same numbers. An example's random streams depend on it and on the
	// content of the example's input, so another order of the examples gives each the same bits. Another size of the batches, or
	// some of the examples alone, gives the same up to rounding, except where a classifier's logits are random: their draws are
	// for a batch.
	Seed uint64
	// BatchSize is the largest number of examples that an attack is given at once; 0 means 512.
	BatchSize int
	// OnProgress, if set, is called as examples are done, and from time to time in between. It must not call back.
	OnProgress func(Progress)
	// Alone makes Evaluate run each attack on all examples, for tables that compare attacks. Otherwise an attack is
	// run only on what those before it left standing, which is cheaper and has the same worst case; see
	// [Settings.Evaluate].
	Alone bool
	// Balls are reported besides those of the attacks with a budget: for attacks of minimal norm, whose distances tell
	// the robust accuracy in any ball.
	Balls []Ball
	// Strict makes an example for which the model's logits are not finite an error. Otherwise such examples are left out of the measurement, which
	// counts and names them.
	Strict bool
	// Journal, if set, keeps what is found, so that a measurement that was killed continues. Package lab has one, which
	// lab.Run and lab.Evaluate set.
	Journal Journal
}

// Prediction is a classifier's answer: the class of the largest logit and its softmax probability.
type Prediction struct {
	Class      int32
	Confidence float64
}

// Stats are the cost of a run.
type Stats struct {
	// Forward and Backward count passes of single examples through the model, those of measurement left out.
	Forward, Backward int64
	// NonFinite counts entries of gradients that were infinite or not a number, of all that were taken.
	NonFinite Rate
	// Programs counts what had to be compiled, or loaded, by the size of the batch.
	Programs []Programs
	// Elapsed is the wall time, compilation included.
	Elapsed time.Duration
}

func (s Stats) plus(o Stats) Stats {
	return Stats{s.Forward + o.Forward, s.Backward + o.Backward, s.NonFinite.Plus(o.NonFinite), report.AddPrograms(s.Programs, o.Programs), s.Elapsed + o.Elapsed}
}

// minus returns what was added to o.
func (s Stats) minus(o Stats) Stats {
	d := Stats{Forward: s.Forward - o.Forward, Backward: s.Backward - o.Backward, Elapsed: s.Elapsed - o.Elapsed}
	d.NonFinite = Rate{Count: s.NonFinite.Count - o.NonFinite.Count, Of: s.NonFinite.Of - o.NonFinite.Of}
	before := map[int]Programs{}
	for _, p := range o.Programs {
		before[p.Batch] = p
	}
	for _, p := range s.Programs {
		if b := before[p.Batch]; p != b {
			d.Programs = append(d.Programs, Programs{Batch: p.Batch, Compiled: p.Compiled - b.Compiled, Loaded: p.Loaded - b.Loaded})
		}
	}
	return d
}

// Result is one attack, measured on examples. Slices have one entry for each example.
type Result struct {
	// Attack is the attack's name with its hyper-parameters.
	Attack string
	// Threat is what it was allowed to change, and what it wanted.
	Threat Threat
	// Examples are those it was run on.
	Examples *Examples
	// Box is the classifier's: where originals and adversarial examples live.
	Box Box
	// Adversarial are the adversarial examples, [n, d...]. Where the attack failed it is the original.
	Adversarial *tensors.Tensor
	// Attempted is false for examples that were left out: those whose label is the target, those for which the logits are not finite, and those
	// not reached when the context was cancelled. An example already misclassified counts as attempted: nothing needs changing.
	Attempted []bool
	// Success tells whether the returned example reaches the goal, as computed on the classifier itself.
	Success []bool
	// Distance is the perturbation's norm: 0 for examples already misclassified, +Inf where the attack failed.
	Distance []float64
	// Clean and Final are the classifier's answers on the original and the returned example; of class -1 where the logits are not finite.
	Clean, Final []Prediction
	// Stats are the cost.
	Stats Stats
	// LeftOut are the examples for which the logits are not finite.
	LeftOut []NotFinite
	// Warnings are sentences on what looks wrong with the set-up.
	Warnings []string

	saturation string       // a warning about the examples, of which Evaluate has one about all
	lost       map[int]bool // examples that the attack moved to where the logits are not finite
}

// SuccessRate is the share of attempted examples on which the attack reached its goal.
func (r *Result) SuccessRate() Rate { return rowOf(r).SuccessRate() }

// MedianDistance is the median perturbation of attempted examples, failures counting as infinite, and examples that
// were misclassified before the attack left out. It is NaN when there are none.
func (r *Result) MedianDistance() float64 { return rowOf(r).MedianDistance() }

// MedianIn is [Result.MedianDistance] as the classifier c measures it by another norm than the attack's.
func (r *Result) MedianIn(norm Norm, c *Classifier) float64 {
	row := rowOf(r)
	for i, d := range r.Distance {
		if r.Success[i] && d > 0 {
			row.Distance[i] = Distance(c.Distance(norm, flatRows(r.Adversarial, []int{i}), flatRows(r.Examples.X, []int{i})))
		}
	}
	return row.MedianDistance()
}

// String says in a line what came out, and in lines of their own what looks wrong with the set-up.
func (r *Result) String() string {
	s := fmt.Sprintf("%s (%v) on %s: success %v of %d, median distance %.4g", r.Attack, r.Threat, r.Examples.Name, r.SuccessRate(), r.SuccessRate().Of, r.MedianDistance())
	for _, w := range r.Warnings {
		s += "\nwarning: " + w
	}
	return s
}

// Run measures one attack under default settings; see [Settings.Run].
func Run(ctx context.Context, c *Classifier, e *Examples, a Attack) (*Result, error) {
	return Settings{}.Run(ctx, c, e, a)
}

// MustRun is [Run] for notebooks, examples and tests: it panics on an error.
func MustRun(ctx context.Context, c *Classifier, e *Examples, a Attack) *Result {
	return must(Run(ctx, c, e, a))
}

// MustRun is [Settings.Run] for notebooks, examples and tests: it panics on an error.
func (s Settings) MustRun(ctx context.Context, c *Classifier, e *Examples, a Attack) *Result {
	return must(s.Run(ctx, c, e, a))
}

// Run runs an attack on examples and measures what comes out: it checks everything before it computes anything, leaves
// out examples on which nothing needs to be done, clips candidates to the box and pulls them into the ball (they may
// be outside by rounding only: farther out is an error of the attack), and recomputes success on the classifier.
//
// A failed attack is a result, not an error: Success is false and the original is returned. When ctx is done, the
// result so far is returned together with ctx.Err().
func (s Settings) Run(ctx context.Context, c *Classifier, e *Examples, a Attack) (*Result, error) {
	var expected float64
	if a != nil && c != nil {
		expected = workOf(a, c)
	}
	res, err := s.run(ctx, c, a, e, newPace(s.OnProgress, part{what: nameOf(a), expected: expected}), 0, true)
	if err != nil {
		err = fmt.Errorf("advlib: %s: %w", nameOf(a), err)
	}
	if res != nil {
		if bad := res.Stats.NonFinite; bad.Count > 0 {
			res.Warnings = append(res.Warnings, fmt.Sprintf("%s of the gradients' entries were infinite or not a number: %s", bad.Fine(), takenInstead))
		}
		for _, w := range []string{res.saturation, looksUnscaled(e.X, c), looksRelabelled(res.Clean, e.Y, c)} {
			if w != "" {
				res.Warnings = append(res.Warnings, w)
			}
		}
	}
	s.tell()
	return res, err
}

// takenInstead says what attacks do about slopes that are not finite; see [Model.Gradient].
const takenInstead = "the attack took the limit of its direction, or the slope beside the point"

// tell tells a notebook's kernel what the numbers of this cell depend on.
func (s Settings) tell() {
	if notebook.Active() {
		notebook.Tell(notebook.Bundle{Seed: &s.Seed})
		_ = notebook.Flush() // a kernel that does not answer is no fault of the measurement
	}
}

func nameOf(a Attack) string {
	if a == nil {
		return "attack"
	}
	return a.String()
}

// run is Run as part k of what p follows. The adversarial examples, which take as much memory as the examples, are kept if they are wanted.
func (s Settings) run(ctx context.Context, c *Classifier, a Attack, e *Examples, p *pace, k int, wanted bool) (*Result, error) {
	switch {
	case a == nil:
		return nil, fmt.Errorf("the attack is nil")
	case c == nil:
		return nil, fmt.Errorf("the classifier is nil")
	case s.BatchSize < 0:
		return nil, fmt.Errorf("the batch size %d is below 0: leave it at 0 for the default, or give a positive one", s.BatchSize)
	}
	threat, err := a.Threat(c)
	if err != nil {
		return nil, err
	}
	if err := threat.check(); err != nil {
		return nil, err
	}
	if err := e.check(c); err != nil {
		return nil, err
	}
	targets, err := threat.Goal.targets(e.Y, c.Classes())
	if err != nil {
		return nil, err
	}
	n := e.Len()
	res := &Result{Attack: a.String(), Threat: threat, Examples: e, Box: c.Box(), Attempted: make([]bool, n), Success: make([]bool, n), Distance: make([]float64, n), lost: map[int]bool{}}
	res.Warnings = append(res.Warnings, c.spec.Warnings...)
	if !threat.Minimal() {
		if w := threat.Ball().warning(c.Limits(), c.Domain()); w != "" {
			res.Warnings = append(res.Warnings, w)
		}
	}

	start := time.Now()
	all := e.batch(s.Seed)
	clean, err := s.clean(c, all)
	if err != nil {
		return nil, err
	}
	bad, out, err := s.notFinite(c, e, clean)
	if err != nil {
		return nil, err
	}
	if res.LeftOut = out; len(out) > 0 {
		res.Warnings = append(res.Warnings, leftOut(out, n))
	}
	res.Clean = predictions(clean)
	res.saturation = c.saturation(clean)
	res.Final = append([]Prediction(nil), res.Clean...)
	if wanted {
		if res.Adversarial, err = e.X.LocalClone(); err != nil {
			return nil, err
		}
	}
	view := c.View()
	all.X, all.Target = c.Encode(e.X), targets
	var todo []int
	for _, i := range all.Order() { // so that another order of the examples makes the same batches
		switch {
		case targets != nil && targets[i] == e.Y[i] || slices.Contains(bad, i): // nothing to attack
			res.Distance[i] = math.Inf(1)
		case all.Reached(i, clean[i]):
			res.Attempted[i], res.Success[i] = true, true
		default:
			res.Distance[i] = math.Inf(1)
			todo = append(todo, i)
		}
	}

	t := Count(view)
	t.passes.onStep = p.step
	p.begin(k, n, n-len(todo))
	batch := s.BatchSize
	if batch == 0 {
		batch = maxBucket
	}
	var cancelled error
	for lo := 0; lo < len(todo) && cancelled == nil; lo += batch {
		rows := todo[lo:min(lo+batch, len(todo))]
		b := all.Select(rows)
		if s.recall(res, c, a, b, rows) {
			Free(b.X)
			p.advance(len(rows), true)
			continue
		}
		before := t.stats(start)
		if err := reseed(c, b, streamOfAttack); err != nil {
			return nil, err
		}
		adv, err := a.Perturb(ctx, t, b)
		if err != nil {
			if ctx.Err() == nil || adv == nil {
				return res.finish(t, start), err
			}
			cancelled = err
		}
		if err := reseed(c, b, streamOfJudge); err != nil {
			return nil, err
		}
		if err := res.judge(c, b, rows, adv); err != nil {
			return nil, err
		}
		if cancelled == nil && s.Journal != nil {
			s.Journal.Keep(Piece{By: a, On: b}, res.outcome(c, rows, adv, t.stats(start).minus(before)))
		}
		Free(b.X)
		p.advance(len(rows), false)
	}
	return res.finish(t, start), cancelled
}

// The streams of a random classifier's draws: an attack must not see those by which it is judged.
const (
	streamOfAttack = 1<<62 + iota
	streamOfJudge
)

// clean returns the logits of what is attacked; those of a random classifier are the same in each run, whatever the order.
func (s Settings) clean(c *Classifier, b Batch) ([][]float32, error) {
	if c.Random() {
		if err := c.Store().SetRNGStateFromSeed(int64(s.Seed)); err != nil {
			return nil, err
		}
	}
	return Count(c).logits(context.Background(), b.X, b.Order())
}

// reseed makes what a random classifier draws next depend on the seed and the batch alone, not on the batches before,
// which may have been recalled.
func reseed(c *Classifier, b Batch, stream uint64) error {
	if !c.Random() {
		return nil
	}
	return c.Store().SetRNGStateFromSeed(b.Rand(0, stream).Int64())
}

// judge takes an attack's candidates for the rows of b into the result.
func (r *Result) judge(c *Classifier, b Batch, rows []int, adv *tensors.Tensor) error {
	if adv == nil || !adv.Shape().Equal(b.X.Shape()) {
		shape := "nothing"
		if adv != nil {
			shape = adv.Shape().String()
		}
		return fmt.Errorf("the attack returned %s for inputs of shape %v: this is a mistake in the attack", shape, b.X.Shape())
	}
	originals := flatRows(r.Examples.X, rows)
	size := len(originals) / len(rows)
	got := make([]float32, 0, len(rows)*size)
	points, from := tensors.MustCopyFlatData[float32](adv), tensors.MustCopyFlatData[float32](b.X)
	for i, row := range rows {
		width := len(points) / len(rows)
		x, err := c.Settle(points[i*width:(i+1)*width], from[i*width:(i+1)*width], originals[i*size:(i+1)*size], r.Threat)
		if err != nil {
			return fmt.Errorf("example %d: %w", row, err)
		}
		got = append(got, x...)
	}
	// A new tensor, because Perturb may return b.X itself.
	z, err := Count(c).Logits(context.Background(), tensors.FromFlatDataAndDimensions(got, append([]int{len(rows)}, c.Input()...)...))
	if err != nil {
		return err
	}
	final := predictions(z)
	for i, row := range rows {
		r.Attempted[row] = true
		if notFinite(z[i]) >= 0 { // no answer, so none that is wrong
			r.lost[row] = true
			continue
		}
		if !b.Reached(i, z[i]) {
			continue
		}
		r.Distance[row] = c.Distance(r.Threat.Norm, got[i*size:(i+1)*size], originals[i*size:(i+1)*size])
		r.Success[row], r.Final[row] = true, final[i]
		r.keep(row, got[i*size:(i+1)*size])
	}
	return nil
}

// keep puts x in place of a row of the adversarial examples, if these are wanted.
func (r *Result) keep(row int, x []float32) {
	if r.Adversarial != nil {
		tensors.MustMutableFlatData(r.Adversarial, func(flat []float32) { copy(flat[row*len(x):], x) })
	}
}

func (r *Result) finish(v *Counted, start time.Time) *Result {
	r.Stats = r.Stats.plus(v.stats(start))
	if stopped := stopped(v); r.Stats.NonFinite.Of > 0 && len(stopped) > 0 {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%s lets no gradient pass: gradients are those of the other ways from the inputs to the logits; an attack "+
			"that needs none, such as Square, or BPDA with a stand-in, may find more", strings.Join(stopped, ", ")))
	}
	if len(r.lost) > 0 {
		first := slices.Min(slices.Collect(maps.Keys(r.lost)))
		r.Warnings = append(r.Warnings, fmt.Sprintf("%s moved %d examples, such as example %d, to where the model's logits are not finite: these count neither as right nor as wrong, and so not as broken", r.Attack, len(r.lost), r.Examples.Number(first)))
	}
	return r
}

// stats are the cost up to now of what began at start.
func (v *Counted) stats(start time.Time) Stats {
	forward, backward := v.Passes()
	bad := Rate{Count: int(v.passes.nonFinite.Load()), Of: int(v.passes.entries.Load())}
	return Stats{Forward: forward, Backward: backward, NonFinite: bad, Programs: v.Programs(), Elapsed: time.Since(start)}
}

// predictions turns logits into classes and softmax probabilities, computed in float64; where a logit is not finite, into class -1.
func predictions(logits [][]float32) []Prediction {
	ps := make([]Prediction, len(logits))
	for i, z := range logits {
		if notFinite(z) >= 0 {
			ps[i] = Prediction{Class: -1}
			continue
		}
		k := argmax(z)
		var sum float64
		for _, v := range z {
			sum += math.Exp(float64(v) - float64(z[k]))
		}
		ps[i] = Prediction{Class: k, Confidence: 1 / sum}
	}
	return ps
}
