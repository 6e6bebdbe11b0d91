package advlib

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib/report"
)

// Certifier proves that no perturbation in a ball changes a prediction. Package certify has some. One that has a method
//
//	Check(c *Classifier, ball Ball) error
//
// is asked by it, for each ball, before anything is computed: attacks that take hours should not run first when it
// cannot answer at all.
type Certifier interface {
	// String names the method.
	String() string
	// Certify tells for each example whether its label is proven for the whole ball around it, inside the box.
	// False means unknown.
	Certify(ctx context.Context, c *Classifier, e *Examples, ball Ball) ([]bool, error)
}

// VictimCertifier is a [Certifier] that speaks of victims without a graph, such as one of package smooth, which speaks
// of its own smoothed classifier. Evaluate asks it by these methods instead of the others.
type VictimCertifier interface {
	Certifier
	// CheckVictim refuses a victim, or a ball, of which it cannot speak. It is asked before anything is computed.
	CheckVictim(v Victim, ball Ball) error
	// CertifyVictim is Certify for a victim that CheckVictim has let through.
	CertifyVictim(ctx context.Context, v Victim, e *Examples, ball Ball) ([]bool, error)
}

// Evaluate measures attacks and certificates on the same examples under default settings; see [Settings.Evaluate].
func Evaluate(ctx context.Context, v Victim, e *Examples, attacks []Attack, certifiers ...Certifier) (*Report, error) {
	return Settings{}.Evaluate(ctx, v, e, attacks, certifiers...)
}

// MustEvaluate is [Evaluate] for notebooks, examples and tests: it panics on an error.
func MustEvaluate(ctx context.Context, v Victim, e *Examples, attacks []Attack, certifiers ...Certifier) *Report {
	return must(Evaluate(ctx, v, e, attacks, certifiers...))
}

// MustEvaluate is [Settings.Evaluate] for notebooks, examples and tests: it panics on an error.
func (s Settings) MustEvaluate(ctx context.Context, v Victim, e *Examples, attacks []Attack, certifiers ...Certifier) *Report {
	return must(s.Evaluate(ctx, v, e, attacks, certifiers...))
}

// Evaluate runs attacks and certifiers on the same examples and reports, for each ball among the attacks and in
// Settings.Balls, the robust accuracy, the certified accuracy, the clean accuracy, and a check of the gradients. All
// arguments are checked before anything is computed. There may be no attacks: then certifiers are asked for
// Settings.Balls.
//
// The attacks form a cascade: each is run, always from the original, only on the examples that the attacks before it
// left standing. One that an attack of the same norm has broken within a radius ε is broken in every ball of that norm
// that is at least as large. So budgets run from the smallest to the largest, whatever the order of attacks, and
// otherwise attacks run as given; one of minimal norm runs with the smallest budget of its norm, on what is not broken
// within that: its distances count for all balls. Targeted attacks do not take part: they run on all examples. The
// worst case over attacks, example by example, is the same as if each had run on all examples, which it does with
// Settings.Alone, for tables that compare attacks.
//
// A random victim is judged by several fresh draws of its answers, [Settings.Draws], and each share of the report is
// the mean over them, with the interval of so many examples. It is always attacked as with Alone: no example is broken
// for certain there, so that none is kept from the attacks that follow.
//
// Of a victim without a graph, the check of the gradients is not applicable, nor are certifiers but a
// [VictimCertifier], and the report says so. An example whose original the victim rejects counts as wrong; one on which
// an attack is rejected stands: see [Settings.Run].
//
// Of a victim that is a [Screener], such as detect.Screened, the report has a part on its rejections,
// [Report.Rejection], and on those of what each attack returned. It is always attacked as with Alone: what a detector
// sees of an attack is asked of the attack on all examples. The check of the gradients is that of the classifier
// without the detector.
//
// Examples for which the model's logits are not finite are left out of all numbers: they are in Report.LeftOut, and in
// a warning. With Settings.Strict they are an error.
//
// When ctx is done, the report of what was found so far, that of the attack that was running included, is returned
// together with ctx.Err(); its Interrupted is set.
func (s Settings) Evaluate(ctx context.Context, v Victim, e *Examples, attacks []Attack, certifiers ...Certifier) (*Report, error) {
	on, err := s.checkEvaluate(v, e, attacks, certifiers)
	if err != nil {
		return nil, fmt.Errorf("advlib: evaluate: %w", err)
	}
	on.features = true
	start := time.Now()
	sent, _ := sentBy(v)
	n := int64(e.Len() * max(1, s.draws(on.signature)))
	report, e, said, err := newReport(ctx, s, on, e, attacks)
	if err != nil {
		return nil, fmt.Errorf("advlib: evaluate: %w", err)
	}
	if now, tells := sentBy(v); tells {
		n = now - sent
	}
	err = s.fill(ctx, report, on, e, said, attacks, certifiers)
	if asks(report) {
		report.Originals, report.Price = n, s.Price
	}
	report.Interrupted = err != nil && ctx.Err() != nil
	report.Seconds = time.Since(start).Seconds()
	if err != nil {
		return report, err
	}
	s.tell()
	return report, report.Contradiction()
}

// asks tells whether one of the attacks only asked.
func asks(r *Report) bool {
	return slices.ContainsFunc(r.Attacks, report.AttackRow.Asks)
}

// notApplicable is what a report says of what needs a graph, where there is none.
const notApplicable = "no graph"

// fill runs what a report is made of.
func (s Settings) fill(
	ctx context.Context, r *Report, v *subject, e *Examples, said *opinions, attacks []Attack, certifiers []Certifier,
) error {
	balls, err := s.balls(r, v.victim, attacks)
	if err != nil {
		return fmt.Errorf("advlib: evaluate: %w", err)
	}
	for _, b := range balls {
		if b.Radius == 0 && !curve(b.Norm, balls) {
			r.Warn(b.zero())
		}
	}
	if v.white == nil {
		var able []Certifier
		for _, method := range certifiers {
			if _, ok := method.(VictimCertifier); ok {
				able = append(able, method)
				continue
			}
			r.Warn(fmt.Sprintf("%v is not applicable: %s has %s", method, v.victim.Name(), notApplicable))
		}
		certifiers = able
	}
	order := r.Order()
	var parts []part
	for _, k := range order {
		parts = append(parts, part{what: r.Attacks[k].Name, expected: workOf(attacks[k], v.victim)})
	}
	for range balls {
		for _, method := range certifiers {
			parts = append(parts, part{what: method.String(), expected: noWork, total: e.Len()})
		}
	}
	parts = append(parts, part{what: "check of the gradients", expected: noWork})
	p := newPace(s.OnProgress, parts...)

	if err := s.attacks(ctx, r, balls, v, e, said, attacks, p); err != nil {
		return err
	}
	n := len(order)
	for _, ball := range balls {
		for _, method := range certifiers {
			p.begin(n, e.Len(), 0)
			n++
			cert, err := s.certify(ctx, v, e, method, ball)
			if err != nil {
				return fmt.Errorf("advlib: evaluate: %v: %w", method, err)
			}
			r.Certificates = append(r.Certificates, cert)
			p.advance(e.Len(), false)
		}
	}
	white, err := v.seen()
	if err != nil {
		return fmt.Errorf("advlib: evaluate: %w", err)
	}
	if white == nil {
		r.Sanity = report.Sanity{NotApplicable: notApplicable}
		return nil
	}
	p.begin(n, min(len(r.Label), sanityExamples), 0)
	right := func(i int) bool { return r.Predicted[i] == e.Y[i] }
	if r.Sanity, err = s.sanity(ctx, white, e, right, p.step); err != nil {
		return fmt.Errorf("advlib: evaluate: the check of the gradients: %w", err)
	}
	p.advance(r.Sanity.Unbounded.Of, false)
	return nil
}

// attacks runs the attacks of a report in their order. What is not reached is not in it.
func (s Settings) attacks(
	ctx context.Context, r *Report, balls []Ball, v *subject, e *Examples, said *opinions, attacks []Attack, p *pace,
) error {
	planned, order := r.Attacks, r.Order()
	reached := map[int]bool{}
	defer func() {
		rows := planned[:0:0]
		for k, row := range planned {
			if reached[k] {
				rows = append(rows, row)
			}
		}
		r.Attacks = rows
	}()
	r.Attacks = nil
	for n, k := range order {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("advlib: evaluate: %w", err)
		}
		for m := n; m < len(order); m++ { // no more examples than stand for them now
			p.parts[m].total = len(standing(r, &planned[order[m]], balls))
		}
		row := &planned[k]
		begun, err := s.attack(ctx, r, row, balls, v, e, said, attacks[k], p, n)
		if reached[k] = err == nil || begun && ctx.Err() != nil; reached[k] {
			r.Attacks = append(r.Attacks, *row)
		}
		if err != nil {
			return fmt.Errorf("advlib: %v: %w", attacks[k], err)
		}
	}
	return nil
}

// attack runs part n, an attack, on what stands for it, and fills in its row. It tells whether there was anything to
// attack that it came to: the row of an attack that was cancelled has what was found.
func (s Settings) attack(
	ctx context.Context, report *Report, row *report.AttackRow, balls []Ball, v *subject, e *Examples, said *opinions, a Attack, p *pace,
	n int,
) (begun bool, err error) {
	standing := standing(report, row, balls)
	prepare(report, row, standing, balls)
	p.begin(n, len(standing), 0)
	var stats Stats
	for _, piece := range s.pieces(e, standing, copied) {
		on := e
		if len(piece) < e.Len() {
			on = e.Select(piece)
		}
		var res *Result
		var known *opinions
		if v.white == nil { // a classifier costs nothing
			some := said.pick(piece)
			known = &some
		}
		res, err = s.run(ctx, v, a, on, known, p, p.pass, s.OnResult != nil)
		if res != nil && s.OnResult != nil && res.Adversarial != nil {
			s.OnResult(res)
		}
		if on != e {
			Free(on.X)
		}
		if res == nil {
			return begun, err
		}
		stats = stats.plus(res.Stats)
		if known == nil && res.Queries != nil {
			stats.Sent -= int64(on.Len() * max(1, report.Draws)) // the originals, which are in the report once
		}
		got := rowOf(res)
		for i, at := range piece {
			row.Attempted[at], row.Success[at], row.Distance[at] = got.Attempted[i], got.Success[i], got.Distance[i]
			if report.Draws > 0 {
				row.Reached[at] = got.Reached[i]
			}
			if res.behind != nil && res.behind[i] != nil {
				row.Screened.Class[at], row.Screened.Score[at] = res.behind[i].class, res.behind[i].score
			}
			row.CopyQueries(at, got, i, e.Len())
			if i < len(got.Changes) {
				row.SetChange(at, got.Changes[i], e.Len())
			}
			begun = begun || got.Attempted[i] && got.Distance[i] > 0
		}
		for _, w := range res.Warnings {
			if zero := res.Threat.Ball(); zero.Radius > 0 || w != zero.zero() || !curve(zero.Norm, balls) {
				report.Warn(w)
			}
		}
		if err != nil {
			break
		}
	}
	row.Forward, row.Backward, row.NonFinite = stats.Forward, stats.Backward, stats.NonFinite
	row.Programs, row.Seconds = stats.Programs, stats.Elapsed.Seconds()
	row.Shared, row.Sent = stats.Shared, stats.Sent
	if row.NonFinite.Count > 0 { // without a share, so that the warnings of parts are the same sentence
		report.Warn("some of the gradients' entries were infinite or not a number: " + takenInstead)
	}
	return begun, err
}

// copied is how many bytes of the data may be copied at once.
const copied = 32 << 20

// pieces cuts the rows of e that an attack is run on, so that not more than most bytes of the data are copied at once,
// or one batch. All rows are not copied, and one piece. The pieces of others follow the order in which they are
// attacked, and hold whole batches.
func (s Settings) pieces(e *Examples, rows []int, most int) [][]int {
	size := 4 * e.X.Shape().Size() / max(1, e.Len())
	switch {
	case len(rows) == 0:
		return nil
	case len(rows) == e.Len() || len(rows)*size <= most:
		return [][]int{rows}
	}
	chosen := make(map[int]bool, len(rows))
	for _, i := range rows {
		chosen[i] = true
	}
	ordered := slices.DeleteFunc(e.batch(s.Seed).Order(), func(i int) bool { return !chosen[i] })
	batch := cmp.Or(s.BatchSize, maxBucket)
	return slices.Collect(slices.Chunk(ordered, batch*max(1, most/size/batch)))
}

// curve tells whether balls are asked for at several radii of a norm, as for accuracy against ε: then 0 is one of them
// on purpose.
func curve(norm Norm, balls []Ball) bool {
	return slices.ContainsFunc(balls, func(b Ball) bool { return b.Norm.String() == norm.String() && b.Radius > 0 })
}

// certify asks a certifier, or recalls what it said.
func (s Settings) certify(ctx context.Context, v *subject, e *Examples, method Certifier, ball Ball) (report.CertifierRow, error) {
	cert := report.CertifierRow{Method: method.String(), Norm: ball.Norm.String(), Radius: ball.Radius}
	piece := Piece{By: method, On: e.batch(s.Seed), In: ball}
	_, tells := method.(Prover)
	take := func(o Outcome) error {
		p := o.Proof
		switch {
		case p == nil || len(p.Certified) != e.Len() || len(p.Margin) != 0 && len(p.Margin) != e.Len():
			return fmt.Errorf("%v did not return a verdict for each of %d examples: this is a mistake in the certifier", method, e.Len())
		case len(p.Distance) != 0 && len(p.Distance) != e.Len():
			return fmt.Errorf("%v told %d distances of counterexamples for %d examples: this is a mistake in the certifier", method,
				len(p.Distance), e.Len())
		case tells && p.Rounding == "":
			return fmt.Errorf("%v did not say for which arithmetic its verdicts hold", method)
		}
		cert.Certified, cert.Margin, cert.Distance = p.Certified, p.Margin, p.Distance
		cert.Rounding, cert.Slack, cert.Seconds = p.Rounding, p.Slack, o.Stats.Elapsed.Seconds()
		return nil
	}
	if s.Journal != nil && s.Journal.Recall(piece, take) {
		return cert, nil
	}
	start := time.Now()
	proof, err := prove(ctx, method, v, e, ball)
	if err != nil {
		return cert, err
	}
	o := Outcome{Proof: proof, Stats: Stats{Elapsed: time.Since(start)}}
	if err := take(o); err != nil {
		return cert, err
	}
	if s.Journal != nil {
		s.Journal.Keep(piece, o)
	}
	return cert, nil
}

// prove returns the certifier's proof, or its verdicts alone.
func prove(ctx context.Context, method Certifier, v *subject, e *Examples, ball Ball) (*Proof, error) {
	if m, ok := method.(VictimCertifier); ok {
		certified, err := m.CertifyVictim(ctx, v.victim, e, ball)
		return &Proof{Certified: certified}, err
	}
	if p, ok := method.(Prover); ok {
		return p.Prove(ctx, v.white, e, ball)
	}
	certified, err := method.Certify(ctx, v.white, e, ball)
	return &Proof{Certified: certified}, err
}

// balls returns the balls of a report with their norms, of which the report knows the names.
func (s Settings) balls(r *Report, v Victim, attacks []Attack) ([]Ball, error) {
	norms, err := s.norms(v, attacks)
	var balls []Ball
	for _, b := range r.Balls() {
		balls = append(balls, Ball{norms[b.Norm], b.Radius})
	}
	return balls, err
}

// norms returns the norms of balls and attacks by name. Two different ones that have the same name are an error.
func (s Settings) norms(v Victim, attacks []Attack) (map[string]Norm, error) {
	var all []Norm
	for _, b := range s.Balls {
		all = append(all, b.Norm)
	}
	for _, a := range attacks {
		threat, err := a.Threat(v)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", a, err)
		}
		all = append(all, threat.Norm)
	}
	norms := map[string]Norm{}
	for _, n := range all {
		if other, met := norms[n.String()]; met && other != n {
			return nil, fmt.Errorf("two different norms, a %T and a %T, call themselves %s: a report knows them by their names", other, n, n)
		}
		norms[n.String()] = n
	}
	return norms, nil
}

// checkEvaluate checks all arguments before anything is computed.
func (s Settings) checkEvaluate(v Victim, e *Examples, attacks []Attack, certifiers []Certifier) (*subject, error) {
	on, err := subjectOf(v)
	if err != nil {
		return nil, err
	}
	if len(attacks) == 0 && len(certifiers) == 0 {
		return nil, fmt.Errorf("there are no attacks: give at least one, such as attack.PGD")
	}
	if err := on.check(e); err != nil {
		return nil, err
	}
	for _, ball := range s.Balls {
		if err := ball.Check(); err != nil {
			return nil, fmt.Errorf("Settings.Balls: %w", err)
		}
	}
	if !(s.Price >= 0) || math.IsInf(s.Price, 1) {
		return nil, fmt.Errorf("the price %g of 1000 inputs is not a finite number ≥ 0", s.Price)
	}
	if s.BatchSize < 0 {
		return nil, fmt.Errorf("the batch size %d is below 0: leave it at 0 for the default, or give a positive one", s.BatchSize)
	}
	if err := s.checkDraws(); err != nil {
		return nil, err
	}
	balls := slices.Clone(s.Balls)
	for _, a := range attacks {
		if a == nil {
			return nil, fmt.Errorf("one of the attacks is nil")
		}
		threat, err := a.Threat(v)
		if err == nil {
			err = threat.check()
		}
		if err == nil {
			_, err = threat.Goal.targets(e.Y, on.signature.Classes)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", a, err)
		}
		if !threat.Minimal() && !threat.Goal.IsTargeted() {
			balls = append(balls, threat.Ball())
		}
	}
	if _, err := s.norms(v, attacks); err != nil {
		return nil, err
	}
	return on, checkCertifiers(on, balls, certifiers)
}

// checkCertifiers refuses certifiers that cannot answer for one of the balls. Those that need a graph where there is
// none are not asked, which the report says.
func checkCertifiers(v *subject, balls []Ball, certifiers []Certifier) error {
	for _, m := range certifiers {
		if m == nil {
			return fmt.Errorf("one of the certifiers is nil")
		}
		if len(balls) == 0 {
			return fmt.Errorf("there is no ball for which %v could certify: none of the attacks is untargeted with a budget; name balls "+
				"in Settings.Balls", m)
		}
		check := func(Ball) error { return nil }
		if own, ok := m.(VictimCertifier); ok {
			check = func(b Ball) error { return own.CheckVictim(v.victim, b) }
		} else if checker, ok := m.(interface{ Check(*Classifier, Ball) error }); ok && v.white != nil {
			check = func(b Ball) error { return checker.Check(v.white, b) }
		}
		for _, ball := range balls {
			if err := check(ball); err != nil {
				return fmt.Errorf("%v: %w", m, err)
			}
		}
	}
	return nil
}

// sanityExamples and sanitySteps keep the check of the gradients cheap beside any attack.
const (
	sanityExamples = 128
	sanitySteps    = 20
)

// zeroKey and ascendKey name the two graphs of the check.
type (
	zeroKey   struct{}
	ascendKey struct{}
)

// Sanity is the cheap part of a diagnosis, see package diagnose, and the line "sanity" of a [Report]: how many entries
// of the gradient of the cross-entropy are not finite, on how many examples is it zero, and do 20 steps of sign ascent
// on the margin break every example when the whole box is allowed (Carlini et al. 2019, arXiv:1902.06705, section 5.2:
// an unbounded attack should reach 100 %). It looks at the first 128 examples, in an order that their own content
// decides, that are classified correctly. Of a victim without a graph it says so.
func (s Settings) Sanity(ctx context.Context, v Victim, e *Examples) (report.Sanity, error) {
	on, err := subjectOf(v)
	if err == nil {
		err = on.check(e)
	}
	if err != nil {
		return report.Sanity{}, fmt.Errorf("advlib: sanity: %w", err)
	}
	white, err := on.seen()
	if err != nil {
		return report.Sanity{}, fmt.Errorf("advlib: sanity: %w", err)
	}
	if white == nil {
		return report.Sanity{NotApplicable: notApplicable}, nil
	}
	said, err := on.clean(ctx, e.batch(s.Seed), s.draws(on.signature))
	if err != nil {
		return report.Sanity{}, fmt.Errorf("advlib: sanity: %w", err)
	}
	return s.sanity(ctx, white, e, func(i int) bool { return said.each[i].Class() == e.Y[i] }, nil)
}

// seen is the classifier whose gradients are looked at: the victim's own, or the one that a screen is before; nil where
// there is none.
func (v *subject) seen() (*Classifier, error) {
	if v.screener != nil {
		return v.screener.Classifier()
	}
	return v.white, nil
}

// sanity is Sanity where it is known which examples are classified correctly.
func (s Settings) sanity(
	ctx context.Context, c *Classifier, e *Examples, right func(i int) bool, onStep func(stepCost),
) (report.Sanity, error) {
	var rows []int
	for _, i := range e.batch(s.Seed).Order() { // the same ones in another order of the examples
		if right(i) && len(rows) < sanityExamples {
			rows = append(rows, i)
		}
	}
	if none := c.withoutGradient(); none != nil {
		return report.Sanity{NoGradient: none}, nil
	}
	sanity := report.Sanity{ZeroGradient: Rate{Of: len(rows)}, Unbounded: Rate{Of: len(rows)}}
	if len(rows) == 0 {
		return sanity, nil
	}
	t, size := Count(c), Bucket(len(rows))
	t.passes.onStep = onStep
	x := TakeRows(e.X, rows, size)
	y := TakeRows(tensors.FromFlatDataAndDimensions(e.Y, len(e.Y)), rows, size)
	defer Free(y)
	if err := zeroGradients(t, x, y, &sanity); err != nil {
		return sanity, err
	}
	broken, err := unbounded(ctx, t, x, y, pick(e.Y, rows), c.ranges())
	if err != nil {
		return sanity, err
	}
	for _, b := range broken {
		if b {
			sanity.Unbounded.Count++
		}
	}
	return sanity, nil
}

// zeroGradients counts the examples on which the gradient of the cross-entropy is zero, and its entries that are not
// finite.
func zeroGradients(t *Counted, x, y *tensors.Tensor, sanity *report.Sanity) error {
	step := t.Compile(zeroKey{}, func(m *Model, in []*Node) []*Node {
		x := in[0]
		return []*Node{Linf.Of(m.Gradient(CrossEntropy.Of(m.Logits(x), GoalNodes{Label: in[1]}), x))}
	})
	n := sanity.ZeroGradient.Of
	sizes, err := step.Run(n, x, y)
	if err != nil {
		return err
	}
	defer Free(sizes...)
	for _, g := range tensors.MustCopyFlatData[float32](sizes[0])[:n] {
		if g == 0 {
			sanity.ZeroGradient.Count++
		}
	}
	sanity.NonFinite = t.stats(time.Now()).NonFinite
	return nil
}

// unbounded tells which rows of x, with the given labels, sign ascent on the margin breaks in the whole box. It takes x
// over.
func unbounded(ctx context.Context, t *Counted, x, y *tensors.Tensor, labels []int32, ranges Limits) ([]bool, error) {
	step := t.Compile(ascendKey{}, func(m *Model, in []*Node) []*Node {
		x := in[0]
		z := m.Logits(x)
		m.freely = true // of fixed features too
		g := m.Direction(Linf, Margin.Of(z, GoalNodes{Label: in[1]}), x)
		step := ranges.Times(Sign(g), func(r Box) float64 { return r.Width() / 10 })
		return []*Node{ranges.Clip(Add(x, step), x), ArgMax(z, -1)}
	})
	broken := make([]bool, len(labels))
	for range sanitySteps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		out, err := step.Run(len(labels), x, y)
		if err != nil {
			return nil, err
		}
		for i, class := range tensors.MustCopyFlatData[int32](out[1])[:len(labels)] {
			broken[i] = broken[i] || class != labels[i]
		}
		Free(x, out[1])
		x = out[0]
	}
	Free(x)
	return broken, nil
}
