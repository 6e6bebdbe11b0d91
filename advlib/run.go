package advlib

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib/internal/notebook"
	"advlab/advlib/report"
)

// Settings are the conditions of a measurement. The zero value is a good one.
type Settings struct {
	// Seed keys all randomness; the same seed gives the same numbers. An example's random streams depend on it and on the
	// content of the example's input, so another order of the examples gives each the same bits. Another size of the
	// batches, or some of the examples alone, gives the same up to rounding, except where a classifier's logits are
	// random: their draws are for a batch.
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
	// Price is what 1000 inputs cost that are sent to a victim, in whatever currency: a report of attacks that only ask
	// says what they cost. 0 means that it is not known.
	Price float64
	// Draws is how often a random victim is asked about each original, and about each point that an attack returns, to
	// judge it: what counts is the mean over so many fresh draws. 0 means 20, which is the least.
	Draws int
	// OnResult, if set, is called by Evaluate with each attack's result on examples that it was run on, the adversarial
	// examples included, which are not kept otherwise: pieces of it, where there are many. It must not keep tensors.
	OnResult func(*Result)
	// Strict makes an example for which the model's logits are not finite an error. Otherwise such examples are left out
	// of the measurement, which counts and names them.
	Strict bool
	// Journal, if set, keeps what is found, so that a measurement that was killed continues. Package lab has one, which
	// lab.Run and lab.Evaluate set.
	Journal Journal
}

// Run measures one attack under default settings; see [Settings.Run].
func Run(ctx context.Context, v Victim, e *Examples, a Attack) (*Result, error) {
	return Settings{}.Run(ctx, v, e, a)
}

// MustRun is [Run] for notebooks, examples and tests: it panics on an error.
func MustRun(ctx context.Context, v Victim, e *Examples, a Attack) *Result {
	return must(Run(ctx, v, e, a))
}

// MustRun is [Settings.Run] for notebooks, examples and tests: it panics on an error.
func (s Settings) MustRun(ctx context.Context, v Victim, e *Examples, a Attack) *Result {
	return must(s.Run(ctx, v, e, a))
}

// Run runs an attack on examples and measures what comes out: it checks everything before it computes anything, leaves
// out examples on which nothing needs to be done, clips candidates to the box and pulls them into the ball (they may
// be outside by rounding only: farther out is an error of the attack), and recomputes success on the victim itself.
//
// A failed attack is a result, not an error: Success is false and the original is returned. When ctx is done, the
// result so far is returned together with ctx.Err().
//
// An attack succeeds on an untargeted example if the victim's answer to what it returns is a class, and not the label.
// To reject it is no success, and an original that is rejected is left out: the victim gets it wrong, but there is no
// answer to change.
//
// A random victim is judged by several fresh draws of its answers, [Settings.Draws], independent of those that the
// attack saw. Result.Reached counts those that reach the goal, and the rates are means over the draws; Success tells
// whether the most frequent answer reaches it. A single lucky draw is no success. An original that only some draws get
// wrong is attacked in a ball, even where these are most of them.
func (s Settings) Run(ctx context.Context, v Victim, e *Examples, a Attack) (*Result, error) {
	res, err := s.runAlone(ctx, v, e, a)
	if err != nil {
		err = fmt.Errorf("advlib: %s: %w", nameOf(a), err)
	}
	s.tell()
	return res, err
}

// runAlone is Run without the name of the attack in its error.
func (s Settings) runAlone(ctx context.Context, v Victim, e *Examples, a Attack) (*Result, error) {
	on, err := subjectOf(v)
	if err != nil {
		return nil, err
	}
	var expected float64
	if a != nil {
		expected = workOf(a, v)
	}
	p := newPace(s.OnProgress, part{what: nameOf(a), expected: expected})
	res, err := s.run(ctx, on, a, e, nil, p, func(done int) { p.begin(0, e.Len(), done) }, true)
	if res == nil {
		return nil, err
	}
	if bad := res.Stats.NonFinite; bad.Count > 0 {
		res.Warnings = append(res.Warnings, fmt.Sprintf("%s of the gradients' entries were infinite or not a number: %s", bad.Fine(),
			takenInstead))
	}
	for _, w := range []string{res.saturation, looksUnscaled(e.X, on.signature), looksRelabelled(res.Clean, e.Y, on.signature)} {
		if w != "" {
			res.Warnings = append(res.Warnings, w)
		}
	}
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

// subject is a victim that is measured.
type subject struct {
	victim    Victim
	signature Signature // resolved
	view      Victim    // what attacks work on
	white     *Classifier
	screener  Screener // nil of victims that are none
	features  bool     // says to measure how far what was found moved in the classifier's features
}

// subjectOf checks a victim.
func subjectOf(v Victim) (*subject, error) {
	if c, ok := v.(*Classifier); v == nil || ok && c == nil {
		return nil, fmt.Errorf("the victim is nil: give a classifier, or whatever else answers inputs")
	}
	s, err := v.Signature().resolved()
	switch {
	case err != nil:
	case s.Classes < 2:
		err = fmt.Errorf("it has %d classes: there must be at least 2", s.Classes)
	case len(s.ClassNames) != 0 && len(s.ClassNames) != s.Classes:
		err = fmt.Errorf("it has %d class names for %d classes", len(s.ClassNames), s.Classes)
	case s.Returns != Logits && s.Returns != Probabilities && s.Returns != TopClasses && s.Returns != Label:
		err = fmt.Errorf("it says that it returns %v: there are %v, %v, %v and %v", s.Returns, Logits, Probabilities, TopClasses, Label)
	case s.Queries < 0:
		err = fmt.Errorf("it answers %d queries for each example: give a positive number, or 0 for any", s.Queries)
	}
	if err != nil {
		return nil, fmt.Errorf("the victim %s: %w", v.Name(), err)
	}
	white, _ := WhiteBox(v)
	screener, _ := v.(Screener)
	return &subject{victim: v, signature: s, view: viewOf(v, s), white: white, screener: screener}, nil
}

// unseeded tells a victim whose random draws no seed governs.
func (v *subject) unseeded() bool { return v.white == nil && v.signature.Random }

// check refuses what the victim cannot be measured on.
func (v *subject) check(e *Examples) error {
	s := v.signature
	return e.Check(Spec{Name: v.victim.Name(), Input: s.Input, Box: s.Box, Domain: s.Domain}, s.Classes)
}

// clean returns what is said about the originals; the draws of a random classifier are the same in each run, whatever
// the order.
func (v *subject) clean(ctx context.Context, b Batch, draws int) (opinions, error) {
	if v.white == nil {
		said, err := v.opinions(ctx, b.X, draws, func() ([]Answer, error) { return v.answers(ctx, b.X) })
		if err == nil && v.signature.Returns == Logits && looksLikeProbabilities(said.each) {
			err = fmt.Errorf("what %s returns as logits look like probabilities (rows ≥ 0 that sum to 1): let its signature say Returns: "+
				"%v", v.victim.Name(), Probabilities)
		}
		return said, err
	}
	if v.signature.Random {
		if err := v.white.Store().SetRNGStateFromSeed(int64(b.Seed)); err != nil {
			return opinions{}, err
		}
	}
	return v.opinions(ctx, b.X, draws, func() ([]Answer, error) {
		z, err := Count(v.white).logits(b.X, b.Order(), false)
		return answers(z), err
	})
}

// answers asks the victim itself, for a measurement.
func (v *subject) answers(ctx context.Context, x *tensors.Tensor) ([]Answer, error) {
	if v.white != nil {
		return v.white.Query(ctx, x)
	}
	all := make([]Answer, 0, x.Shape().Dimensions[0])
	rows := make([]int, cap(all))
	for i := range rows {
		rows[i] = i
	}
	for chunk := range slices.Chunk(rows, maxBucket) {
		in := TakeRows(x, chunk, len(chunk))
		ask := Count(v.victim).ask
		if v.screener != nil {
			ask = v.screened
		}
		some, err := ask(ctx, in)
		Free(in)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// The streams of a random classifier's draws: an attack must not see those by which it is judged.
const (
	streamOfAttack = 1<<62 + iota
	streamOfJudge
)

// reseed makes what a random classifier draws next depend on the seed and the batch alone, not on the batches before,
// which may have been recalled.
func (v *subject) reseed(b Batch, stream uint64) error {
	if v.white == nil || !v.signature.Random {
		return nil
	}
	return v.white.Store().SetRNGStateFromSeed(b.Rand(0, stream).Int64())
}

// trial is one attack on examples while it is measured.
type trial struct {
	*subject
	settings Settings
	attack   Attack
	all      Batch // of the examples, as attacks see them
	draws    int   // by which a random victim is judged; 0 of others
	result   *Result
	account  account
}

// run is Run as a part of what p follows; begin is told how many examples need no attack. Said are the answers about
// the examples; nil if the victim is to be asked. The adversarial examples, which take as much memory as the examples,
// are kept if they are wanted.
func (s Settings) run(
	ctx context.Context, v *subject, a Attack, e *Examples, said *opinions, p *pace, begin func(done int), wanted bool,
) (*Result, error) {
	t, targets, err := s.prepare(v, a, e)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	on := Count(v.view)
	todo, err := t.begin(ctx, said, targets, wanted)
	if err != nil && ctx.Err() != nil {
		return t.nothing(), err
	}
	if err != nil {
		return nil, err
	}
	on.passes.onStep = p.step
	begin(e.Len() - len(todo))
	batch := s.BatchSize
	if batch == 0 {
		batch = maxBucket
	}
	for lo := 0; lo < len(todo) && err == nil; lo += batch {
		if err = t.piece(ctx, on, todo[lo:min(lo+batch, len(todo))], start, p); err != nil && ctx.Err() == nil {
			return t.finish(on, start), err
		}
	}
	return t.finish(on, start), err
}

// prepare checks everything before anything is computed.
func (s Settings) prepare(v *subject, a Attack, e *Examples) (*trial, []int32, error) {
	switch {
	case a == nil:
		return nil, nil, fmt.Errorf("the attack is nil")
	case s.BatchSize < 0:
		return nil, nil, fmt.Errorf("the batch size %d is below 0: leave it at 0 for the default, or give a positive one", s.BatchSize)
	}
	if err := s.checkDraws(); err != nil {
		return nil, nil, err
	}
	threat, err := a.Threat(v.victim)
	if err != nil {
		return nil, nil, err
	}
	if err := threat.check(); err != nil {
		return nil, nil, err
	}
	if err := v.check(e); err != nil {
		return nil, nil, err
	}
	targets, err := threat.Goal.targets(e.Y, v.signature.Classes)
	if err != nil {
		return nil, nil, err
	}
	n := e.Len()
	r := &Result{
		Attack: a.String(), Threat: threat, Examples: e, Box: v.signature.Box,
		Attempted: make([]bool, n), Success: make([]bool, n), Distance: make([]float64, n), lost: map[int]bool{},
		changes: make([]*report.Change, n),
	}
	draws := s.draws(v.signature)
	if r.Draws = draws; draws > 0 {
		r.Reached = make([]int, n)
	}
	if v.screener != nil {
		r.behind = make([]*behind, n)
	}
	r.Warnings = append(r.Warnings, v.signature.Warnings...)
	if v.unseeded() {
		r.Warnings = append(r.Warnings, v.drawnAnew())
	}
	if !threat.Minimal() {
		if w := threat.Ball().warning(v.signature.Limits(), v.signature.Domain); w != "" {
			r.Warnings = append(r.Warnings, w)
		}
	}
	t := &trial{settings: s, subject: v, attack: a, all: e.batch(s.Seed), draws: draws, result: r}
	t.account = account{asked: make([]int64, n), progress: make([][]Improvement, n), checked: make([]bool, n)}
	return t, targets, nil
}

// drawnAnew is the warning about a victim whose random draws no seed governs.
func (v *subject) drawnAnew() string {
	return fmt.Sprintf("%s answers at random, and no seed governs its draws: numbers differ from run to run, and a run that was "+
		"interrupted begins anew", v.victim.Name())
}

// begin asks about the originals, if clean does not have the answers, and returns the rows that are to be attacked.
func (t *trial) begin(ctx context.Context, said *opinions, targets []int32, wanted bool) ([]int, error) {
	r := t.result
	e := r.Examples
	if said == nil {
		asked, err := t.clean(ctx, t.all, t.draws)
		if err != nil {
			return nil, err
		}
		t.account.clean, said = true, &asked
	}
	clean := said.each
	bad, out, err := t.settings.notFinite(t.victim, e, clean)
	if err != nil {
		return nil, err
	}
	if r.LeftOut = out; len(out) > 0 {
		r.Warnings = append(r.Warnings, leftOut(out, e.Len()))
	}
	r.Clean = predictions(clean)
	r.saturation = t.saturation(clean)
	r.Final = append([]Prediction(nil), r.Clean...)
	if wanted {
		if r.Adversarial, err = e.X.LocalClone(); err != nil {
			return nil, err
		}
	}
	t.all.X, t.all.Target = t.signature.space.encode(e.X), targets
	var todo []int
	for _, i := range t.all.Order() { // so that another order of the examples makes the same batches
		switch {
		case targets != nil && targets[i] == e.Y[i], slices.Contains(bad, i), clean[i].Kind == Rejected: // nothing to attack
			r.Distance[i] = math.Inf(1)
		case t.all.ReachedBy(i, clean[i]):
			r.Attempted[i], r.Success[i] = true, true
			if t.draws == 0 {
				continue
			}
			r.Reached[i] = said.count(i, func(a Answer) bool { return t.all.ReachedBy(i, a) })
			if r.Reached[i] < t.draws && !r.Threat.Minimal() { // it stands in some draws, which count
				todo = append(todo, i)
			}
		default:
			r.Distance[i] = math.Inf(1)
			todo = append(todo, i)
		}
	}
	return todo, nil
}

// nothing is the result where not even the originals were answered.
func (t *trial) nothing() *Result {
	r := t.result
	r.Clean = slices.Repeat([]Prediction{{Class: -1}}, r.Examples.Len())
	r.Final, r.Adversarial = r.Clean, r.Examples.X
	for i := range r.Distance {
		r.Distance[i] = math.Inf(1)
	}
	return r
}

// piece attacks some rows at once, or recalls what came out. What was found until the context was done is judged, too.
func (t *trial) piece(ctx context.Context, on *Counted, rows []int, start time.Time, p *pace) error {
	b := t.all.Select(rows)
	defer Free(b.X)
	if t.recall(ctx, b, rows) {
		p.advance(len(rows), true)
		return nil
	}
	before := on.stats(start)
	if err := t.reseed(b, streamOfAttack); err != nil {
		return err
	}
	adv, err := t.attack.Perturb(ctx, on.within(ctx), b)
	if err != nil && (adv == nil || ctx.Err() == nil && !errors.Is(err, ErrBudget)) {
		return err
	}
	if errors.Is(err, ErrBudget) {
		err = nil // that was all that it could do
	}
	t.note(on, b, rows)
	if judged := t.judge(context.WithoutCancel(ctx), b, rows, adv); judged != nil {
		return judged
	}
	if err == nil && t.settings.Journal != nil && !t.unseeded() {
		t.settings.Journal.Keep(Piece{By: t.attack, On: b}, t.outcome(rows, adv, on.stats(start).minus(before)))
	}
	p.advance(len(rows), false)
	return err
}

// judge takes an attack's candidates for the rows of b into the result.
func (t *trial) judge(ctx context.Context, b Batch, rows []int, adv *tensors.Tensor) error {
	r := t.result
	if adv == nil || !adv.Shape().Equal(b.X.Shape()) {
		shape := "nothing"
		if adv != nil {
			shape = adv.Shape().String()
		}
		return fmt.Errorf("the attack returned %s for inputs of shape %v: this is a mistake in the attack", shape, b.X.Shape())
	}
	if err := t.reseed(b, streamOfJudge); err != nil {
		return err
	}
	originals := flatRows(r.Examples.X, rows)
	size := len(originals) / len(rows)
	got := make([]float32, 0, len(rows)*size)
	points, from := tensors.MustCopyFlatData[float32](adv), tensors.MustCopyFlatData[float32](b.X)
	limits := t.view.Signature().Limits()
	for i, row := range rows {
		width := len(points) / len(rows)
		x, err := t.signature.space.settle(limits, points[i*width:(i+1)*width], from[i*width:(i+1)*width], originals[i*size:(i+1)*size], r.Threat)
		if err != nil {
			return fmt.Errorf("example %d: %w", row, err)
		}
		got = append(got, x...)
	}
	return t.check(ctx, b, rows, got, originals)
}

// check asks about what an attack returned for the rows of b, and takes what reaches the goal into the result. Where
// that is the original, the answer is known, unless the draws of a classifier are to be others.
func (t *trial) check(ctx context.Context, b Batch, rows []int, got, originals []float32) error {
	r, size := t.result, len(got)/len(rows)
	part := func(of []float32, i int) []float32 { return of[i*size : (i+1)*size] }
	var ask []int
	var flat []float32
	for i, row := range rows {
		r.Attempted[row] = true
		same := slices.Equal(part(got, i), part(originals, i))
		if (!same || t.white != nil && t.signature.Random) && t.leftToCheck(row) {
			ask, flat = append(ask, i), append(flat, part(got, i)...)
		}
	}
	if len(ask) == 0 {
		return nil
	}
	// A new tensor, because Perturb may return b.X itself.
	x := tensors.FromFlatDataAndDimensions(flat, append([]int{len(ask)}, t.signature.Input...)...)
	judged, err := t.opinions(ctx, x, t.draws, func() ([]Answer, error) { return t.answers(ctx, x) })
	if err != nil {
		return err
	}
	said := judged.each
	final := predictions(said)
	var changed []int // of rows
	for k, i := range ask {
		row := rows[i]
		t.account.checked[row] = true
		if r.behind != nil {
			r.behind[row] = said[k].behind
		}
		// Where most draws get the original wrong, and not what the attack makes of it, there is the original.
		if t.draws > 0 && (!r.Success[row] || b.ReachedBy(i, said[k])) {
			r.Reached[row] = judged.count(k, func(a Answer) bool { return b.ReachedBy(i, a) })
		}
		if notFinite(said[k].Scores) >= 0 { // no answer, so none that is wrong
			r.lost[row] = true
			continue
		}
		if !b.ReachedBy(i, said[k]) {
			continue
		}
		r.Distance[row] = t.signature.space.distance(r.Threat.Norm, part(got, i), part(originals, i))
		r.Success[row], r.Final[row] = true, final[k]
		if r.changes[row] = changeOf(part(originals, i), part(got, i), t.signature); r.changes[row] != nil {
			changed = append(changed, i)
		}
		r.keep(row, part(got, i))
	}
	return t.inFeatures(ctx, changed, rows, got, originals)
}

// inFeatures measures how far the inputs that were changed moved in the features, if that is wanted.
func (t *trial) inFeatures(ctx context.Context, changed, rows []int, got, originals []float32) error {
	if !t.features || t.white == nil || len(changed) == 0 {
		return nil
	}
	take := func(of []float32) *tensors.Tensor {
		size, flat := len(of)/len(rows), []float32(nil)
		for _, i := range changed {
			flat = append(flat, of[i*size:(i+1)*size]...)
		}
		return tensors.FromFlatDataAndDimensions(flat, append([]int{len(changed)}, t.signature.Input...)...)
	}
	x, y := take(originals), take(got)
	defer Free(x, y)
	d, err := FeatureDistances(ctx, t.white, x, y)
	for k := range d {
		if !math.IsNaN(d[k]) {
			t.result.changes[rows[changed[k]]].Features = &d[k]
		}
	}
	return err
}

// predictions turns answers into classes and confidences: softmax probabilities are computed in float64.
func predictions(said []Answer) []Prediction {
	ps := make([]Prediction, len(said))
	for i, a := range said {
		ps[i] = Prediction{Class: a.Class(), Confidence: a.confidence()}
	}
	return ps
}
