package advlib

import (
	"context"
	"fmt"
	"math"
	"slices"

	"advlab/advlib/backend"
	"advlab/advlib/report"
)

// What an evaluation returns is declared in package report, which reads and prints it without XLA. What functions of
// this package take or return has its name here, too.
type (
	// Report holds the numbers of an evaluation: see [report.Report].
	Report = report.Report
	// Rate is a count out of a number of examples, with a confidence interval.
	Rate = report.Rate
	// Distance is a perturbation's norm; +Inf where an attack failed.
	Distance = report.Distance
	// Bound is a lower bound; -Inf where nothing could be shown.
	Bound = report.Bound
	// Improvement is a nearer adversarial example, and the query that found it.
	Improvement = report.Improvement
	// Programs counts programs that were compiled or loaded, for batches of one size.
	Programs = report.Programs
	// NotFinite is an example for which the model's logits are not finite.
	NotFinite = report.NotFinite
	// Status is what is known of an example, or of a property: [Unknown], [Verified] or [Falsified].
	Status = report.Status
)

// What is known of an example, or of a property.
const (
	// Unknown: neither was shown.
	Unknown = report.Unknown
	// Verified: what was asked is proven.
	Verified = report.Verified
	// Falsified: there is a counterexample.
	Falsified = report.Falsified
)

// ErrContradiction is returned, together with the report, when an attack broke an example that was certified, or one
// was certified that is misclassified as it is: one of the two is wrong, and neither number can be trusted. See
// [report.Report.Contradiction].
var ErrContradiction = report.ErrContradiction

// newReport returns the report of an evaluation in which no attack has run yet, the examples that it is of, those for
// which the victim has an answer, and these answers.
func newReport(ctx context.Context, s Settings, v *subject, e *Examples, attacks []Attack) (*Report, *Examples, *opinions, error) {
	draws := s.draws(v.signature)
	said, err := v.clean(ctx, e.batch(s.Seed), draws)
	if err != nil {
		return nil, nil, nil, err
	}
	bad, out, err := s.notFinite(v.victim, e, said.each)
	if err != nil {
		return nil, nil, nil, err
	}
	all := e.Len()
	if len(bad) > 0 {
		var rows []int
		for i := range said.each {
			if !slices.Contains(bad, i) {
				rows = append(rows, i)
			}
		}
		e, said = e.Select(rows), said.pick(rows)
	}
	about := v.signature
	r := &Report{
		Classifier: v.victim.Name(), Data: e.Name, Backend: "none", Box: report.Box(about.Box),
		Notes: append(slices.Clone(about.Notes), e.Notes...),
		Seed:  s.Seed, Cascade: !s.Alone && !about.Random && v.screener == nil, Label: slices.Clone(e.Y), LeftOut: out, Draws: draws,
	}
	if about.Domain != nil {
		r.Domain = about.Domain.String()
	}
	lost := ""
	if seen, err := v.seen(); err == nil && seen != nil {
		where := backend.InfoOf(seen.Backend())
		r.Backend, lost = where.Name, where.Lost
	}
	r.Rejection = v.newRejection(said.each)
	clean := predictions(said.each)
	r.Warn(leftOut(out, all))
	r.Warn(about.Warnings...)
	r.Warn(v.saturation(said.each), looksUnscaled(e.X, about), looksRelabelled(clean, e.Y, about), lost)
	if draws > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("its answers are random: shares are means over %d fresh draws, and the worst case over "+
			"several attacks takes each example's smallest, which is a little too low", draws))
		for i := range e.Y {
			r.Right = append(r.Right, said.count(i, func(a Answer) bool { return a.Class() == e.Y[i] }))
		}
	}
	for _, b := range s.Balls {
		r.Asked = append(r.Asked, b.Named())
	}
	for i, p := range clean {
		r.Index = append(r.Index, e.Number(i))
		r.Predicted = append(r.Predicted, p.Class)
	}
	n := e.Len()
	for _, a := range attacks {
		threat, err := a.Threat(v.victim)
		if err != nil {
			return nil, nil, nil, err
		}
		row := report.AttackRow{
			Name: a.String(), Norm: threat.Norm.String(), Radius: Distance(threat.Radius),
			Goal: threat.Goal.String(), Targeted: threat.Goal.IsTargeted(),
			Attempted: make([]bool, n), Success: make([]bool, n), Skipped: make([]bool, n),
			Distance: slices.Repeat([]Distance{Distance(math.Inf(1))}, n), Draws: draws,
			Screened: v.screenedRow(a, r.Rejection),
		}
		if draws > 0 {
			row.Reached = make([]int, n)
		}
		r.Attacks = append(r.Attacks, row)
	}
	return r, e, &said, nil
}

// rowOf returns a result's numbers.
func rowOf(res *Result) report.AttackRow {
	row := report.AttackRow{
		Name: res.Attack, Norm: res.Threat.Norm.String(), Radius: Distance(res.Threat.Radius),
		Goal: res.Threat.Goal.String(), Targeted: res.Threat.Goal.IsTargeted(),
		Attempted: res.Attempted, Success: res.Success, Distance: make([]Distance, len(res.Distance)), Skipped: make([]bool, len(res.Distance)),
		Forward: res.Stats.Forward, Backward: res.Stats.Backward, NonFinite: res.Stats.NonFinite,
		Programs: res.Stats.Programs, Seconds: res.Stats.Elapsed.Seconds(),
		Queries: res.Queries, Progress: res.Progress, Shared: res.Stats.Shared, Sent: res.Stats.Sent,
		Reached: res.Reached, Draws: res.Draws,
	}
	for i, d := range res.Distance {
		row.Distance[i] = Distance(d)
	}
	for i, c := range res.Changes() {
		row.SetChange(i, c, len(res.Distance))
	}
	return row
}

// standing returns the examples that an attack is to be run on, after those that are in the report.
func standing(r *Report, row *report.AttackRow, balls []Ball) []int {
	ball := brokenIn(row, balls)
	var rows []int
	for i := range r.Label {
		if r.Cascade && r.Draws > 0 && !row.Targeted && !row.Minimal() {
			if r.Stands(i, ball) > 0 { // what some draws get right counts
				rows = append(rows, i)
			}
			continue
		}
		if !r.Cascade || row.Targeted || r.Correct(i) && r.Nearest(row.Norm, i) > ball.Radius {
			rows = append(rows, i)
		}
	}
	return rows
}

// brokenIn returns the ball in which what is broken is broken for an attack: its own, or the smallest of its norm.
func brokenIn(row *report.AttackRow, balls []Ball) report.Ball {
	b := report.Ball{Norm: row.Norm, Radius: float64(row.Radius)}
	if row.Minimal() {
		b.Radius = 0
		if k := slices.IndexFunc(balls, func(b Ball) bool { return b.Norm.String() == row.Norm }); k >= 0 {
			b.Radius = balls[k].Radius // they are sorted
		}
	}
	return b
}

// prepare fills in the row of an attack for the examples that it is not run on: misclassified, or broken before.
func prepare(r *Report, row *report.AttackRow, standing []int, balls []Ball) {
	run := make([]bool, len(r.Label))
	for _, i := range standing {
		run[i] = true
	}
	for i := range r.Label {
		switch {
		case run[i]:
		case r.Predicted[i] < 0: // rejected: wrong, but no success of the attack
			row.Distance[i] = Distance(math.Inf(1))
		case !r.Correct(i):
			row.Attempted[i], row.Success[i], row.Distance[i] = true, true, 0
		default:
			row.Skipped[i], row.Distance[i] = true, Distance(r.Nearest(row.Norm, i))
		}
		if !run[i] && r.Draws > 0 {
			row.Reached[i] = r.Draws - r.Stands(i, brokenIn(row, balls))
		}
	}
}
