package report

import (
	"fmt"
	"slices"
)

// Merge returns the report of r's examples followed by other's. Both must report the same evaluation: the same
// classifier, seed, attacks and certificates.
func (r *Report) Merge(other *Report) (*Report, error) {
	if !r.sameEvaluation(other) {
		return nil, fmt.Errorf("report: %s on %s and %s on %s are not parts of one evaluation: classifier, data, seed, attacks, "+
			"balls, certificates, and whether attacks ran alone or in a cascade, must agree", r.Classifier, r.Data, other.Classifier, other.Data)
	}
	m := *r
	m.Key = ""
	m.Interrupted = r.Interrupted || other.Interrupted
	m.Index = slices.Concat(r.Index, other.Index)
	m.Label = slices.Concat(r.Label, other.Label)
	m.Predicted = slices.Concat(r.Predicted, other.Predicted)
	m.Right = slices.Concat(r.Right, other.Right)
	m.LeftOut = slices.Concat(r.LeftOut, other.LeftOut)
	m.Attacks = slices.Clone(r.Attacks)
	for i, o := range other.Attacks {
		m.Attacks[i] = m.Attacks[i].merge(o)
	}
	m.Certificates = slices.Clone(r.Certificates)
	for i, o := range other.Certificates {
		m.Certificates[i] = m.Certificates[i].merge(o)
	}
	m.Rejection = r.Rejection.merge(other.Rejection)
	m.Sanity.NonFinite = r.Sanity.NonFinite.Plus(other.Sanity.NonFinite)
	m.Sanity.ZeroGradient = r.Sanity.ZeroGradient.Plus(other.Sanity.ZeroGradient)
	m.Sanity.Unbounded = r.Sanity.Unbounded.Plus(other.Sanity.Unbounded)
	m.Warnings = slices.Clone(r.Warnings)
	m.Warn(other.Warnings...)
	m.Seconds += other.Seconds
	m.Originals += other.Originals
	return &m, nil
}

// sameEvaluation tells whether two reports differ in their examples only.
func (r *Report) sameEvaluation(other *Report) bool {
	return r.Classifier == other.Classifier && r.Data == other.Data && r.Box == other.Box && r.Domain == other.Domain &&
		slices.Equal(r.Notes, other.Notes) && r.Seed == other.Seed && r.Draws == other.Draws && r.Cascade == other.Cascade &&
		slices.Equal(r.Asked, other.Asked) && r.Rejection.same(other.Rejection) &&
		slices.EqualFunc(r.Attacks, other.Attacks, func(a, b AttackRow) bool { return a.Name == b.Name && a.Goal == b.Goal }) &&
		slices.EqualFunc(r.Certificates, other.Certificates, func(a, b CertifierRow) bool { return a.Method == b.Method && a.ball() == b.ball() })
}

// merge returns the row of a's examples followed by b's.
func (a AttackRow) merge(b AttackRow) AttackRow {
	a.Attempted = slices.Concat(a.Attempted, b.Attempted)
	a.Success = slices.Concat(a.Success, b.Success)
	a.Distance = slices.Concat(a.Distance, b.Distance)
	a.Skipped = slices.Concat(a.Skipped, b.Skipped)
	a.Reached = slices.Concat(a.Reached, b.Reached)
	a.Forward, a.Backward, a.Seconds = a.Forward+b.Forward, a.Backward+b.Backward, a.Seconds+b.Seconds
	a.NonFinite = a.NonFinite.Plus(b.NonFinite)
	a.Programs = AddPrograms(a.Programs, b.Programs)
	a.Shared, a.Sent = a.Shared+b.Shared, a.Sent+b.Sent
	if a.Screened != nil && b.Screened != nil {
		a.Screened = &Screened{a.Screened.Adaptive, slices.Concat(a.Screened.Class, b.Screened.Class),
			slices.Concat(a.Screened.Score, b.Screened.Score)}
	}
	if len(a.Changes)+len(b.Changes) > 0 {
		n := len(a.Attempted) - len(b.Attempted)
		a.Changes = slices.Concat(padded(a.Changes, n), padded(b.Changes, len(b.Attempted)))
	}
	if a.Asks() || b.Asks() { // one of the two may have come to no example
		n := len(a.Attempted) - len(b.Attempted)
		a.Queries = slices.Concat(padded(a.Queries, n), padded(b.Queries, len(b.Attempted)))
		a.Progress = slices.Concat(padded(a.Progress, n), padded(b.Progress, len(b.Attempted)))
	}
	return a
}

// merge returns the row of c's examples followed by d's.
func (c CertifierRow) merge(d CertifierRow) CertifierRow {
	c.Certified = slices.Concat(c.Certified, d.Certified)
	c.Margin = slices.Concat(c.Margin, d.Margin)
	c.Distance = slices.Concat(c.Distance, d.Distance)
	c.Slack = max(c.Slack, d.Slack)
	c.Seconds += d.Seconds
	return c
}

// padded returns s, or n zeros where it is empty.
func padded[T any](s []T, n int) []T {
	if len(s) == 0 {
		return make([]T, n)
	}
	return s
}
