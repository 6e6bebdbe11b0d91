package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
)

// schema names the form that MarshalJSON writes. It changes when a field changes its name or meaning.
const schema = "advlab.report/2"

// plainReport is a Report without its methods.
type plainReport Report

// reportJSON is what is read; what is written has the verdicts, too.
type reportJSON struct {
	Schema string `json:"schema"`
	plainReport
}

// verdictsJSON are the [Verdict]s of a ball, in columns.
type verdictsJSON struct {
	Ball
	Status []Status `json:"status"`
	Margin []Bound  `json:"margin"`
	Method []string `json:"method"`
	Attack []string `json:"attack"`
}

// MarshalJSON writes the report in the form "advlab.report/2", an object of
//
//	schema        "advlab.report/2"
//	classifier, data, backend, key   strings; key is empty when nothing was kept
//	box           {lo, hi}
//	domain        string: the constraints on single features; absent if there are none
//	notes         array of strings: what the classifier is made of, such as a normalisation inside of it; absent if there
//	              is nothing to say
//	seed          integer, up to 2⁶⁴−1
//	cascade       true: each attack was run only on what those before it left standing, in the order of [Report.Order]
//	interrupted   true: not everything that was planned was done
//	asked         array of {norm, radius}: balls besides those of the attacks with a budget
//	index, label, predicted          arrays of integers, one entry for each of n examples
//	draws, right  of a random victim: how many draws judge a point, and an array of n, in how many of them each original
//	              is right
//	left_out      array of {index, label, logit, value}: examples for which the logits are not finite, that are in none
//	              of the arrays; value is "NaN", "+Inf" or "-Inf"; absent if there are none
//	attacks       array of {name, norm, radius, goal, targeted, attempted, success, distance, skipped, non_finite,
//	              forward, backward, programs, seconds}; radius is null for an attack of minimal norm; attempted,
//	              success, distance and skipped are arrays of n; a distance is null where the attack failed. Where
//	              skipped is true the attack was not run because one before it had broken the example, attempted and
//	              success are false, and distance is the nearest found before. forward and backward are passes of
//	              single examples in total; programs is an array of {batch, compiled, loaded}; non_finite {count, of}
//	              are the entries of gradients that were infinite or not a number, of all. Of attacks that only asked,
//	              also queries, an array of n with how many inputs were answered about each example, progress, an array
//	              of n arrays of [query, distance], with which of them nearer examples were found, shared, the queries
//	              about no example in particular, and sent, the inputs that were sent. Of a random victim also draws, and
//	              reached, an array of n, in how many of them the goal is reached; success then goes by the most frequent
//	              answer
//	              Where the attack succeeded on anything, also changes, an array of n, null but for successes, of
//	              {l0, l1, l2, linf, features, image: {psnr, ssim, window}}; features, how far the activations of the
//	              penultimate layer moved, in their lengths, is absent where there are none to look at, image where the
//	              inputs are no images; psnr is null where no value differs, ssim of images below 7 pixels
//	certificates  array of {method, norm, radius, certified, seconds}; certified is an array of n; where the method tells
//	              them, also margin, an array of n with null for "nothing shown", distance, an array of n with that of a
//	              counterexample or null, rounding, a string, and slack
//	rejection     of a victim that rejects inputs for a score: {detector, threshold, rate, class, score, reductions};
//	              rate is the share of clean inputs that the threshold was set to reject; class and score are arrays
//	              of n: of each original the class that would be answered were nothing rejected, −1 for none, and its
//	              score, above the threshold where it is rejected. A score or threshold that is not finite is a string,
//	              such as "+Inf". reductions, absent where none was asked for, is an array of {ball, robust, classifier,
//	              attack, best}. Then each attack has screened, {adaptive, class, score}: whether it knows the detector,
//	              and the same two arrays of what it returned, which is the original where it was not run or found none
//	verdicts      array of {norm, radius, status, margin, method, attack}, one for each ball that was asked a certificate
//	              for; the last four are arrays of n, and follow from the rest: see [Verdict]. Reading ignores them
//	sanity        {non_finite: {count, of}, zero_gradient: {count, of}, unbounded: {count, of}}; no_gradient, an array of
//	              strings, if the model has none because of these operators; not_applicable, a string, if nothing was
//	              checked, such as "no graph"
//	originals, price   where something only asked: inputs sent to have the originals answered, and what 1000 cost
//	warnings      array of strings
//	seconds       number
//
// A norm is "L0", "L1", "L2" or "Linf", or the name that a norm of the user's own gives itself. Arrays are never null,
// and numbers are written with all their digits. Form 1, of earlier versions, had no cascade: its attacks were run on
// all examples, and their passes were printed for each example and not for each one attacked.
func (r Report) MarshalJSON() ([]byte, error) {
	p := plainReport(r)
	p.Index, p.Label, p.Predicted = orEmpty(p.Index), orEmpty(p.Label), orEmpty(p.Predicted)
	p.Attacks, p.Certificates = slices.Clone(orEmpty(p.Attacks)), slices.Clone(orEmpty(p.Certificates))
	p.Asked, p.Warnings = orEmpty(p.Asked), orEmpty(p.Warnings)
	if q := p.Rejection; q != nil {
		full := *q
		full.Class, full.Score = orEmpty(q.Class), orEmpty(q.Score)
		p.Rejection = &full
	}
	for i := range p.Attacks {
		a := &p.Attacks[i]
		if q := a.Screened; q != nil {
			a.Screened = &Screened{q.Adaptive, orEmpty(q.Class), orEmpty(q.Score)}
		}
		a.Attempted, a.Success = orEmpty(a.Attempted), orEmpty(a.Success)
		a.Distance, a.Programs = orEmpty(a.Distance), orEmpty(a.Programs)
		a.Progress = slices.Clone(a.Progress)
		for i := range a.Progress {
			a.Progress[i] = orEmpty(a.Progress[i])
		}
		if a.Skipped == nil {
			a.Skipped = make([]bool, len(a.Attempted))
		}
	}
	for i := range p.Certificates {
		p.Certificates[i].Certified = orEmpty(p.Certificates[i].Certified)
	}
	verdicts := []verdictsJSON{}
	whole := Report(p)
	var balls []Ball
	if whole.check() == nil { // what does not fit together has no verdicts, and is written as it is
		balls = whole.certifiedBalls()
	}
	for _, ball := range balls {
		v := verdictsJSON{Ball: ball}
		for _, one := range whole.Verdicts(ball) {
			v.Status, v.Margin = append(v.Status, one.Status), append(v.Margin, one.Margin)
			v.Method, v.Attack = append(v.Method, one.Method), append(v.Attack, one.Attack)
		}
		verdicts = append(verdicts, v)
	}
	return json.Marshal(struct {
		reportJSON
		Verdicts []verdictsJSON `json:"verdicts"`
	}{reportJSON{schema, p}, verdicts})
}

// UnmarshalJSON reads what MarshalJSON writes. It refuses another schema, arrays whose lengths disagree, and balls
// without a norm, and leaves r alone when it does. A norm that is not one of advlib's is carried by its name.
func (r *Report) UnmarshalJSON(text []byte) error {
	var j reportJSON
	if err := json.Unmarshal(text, &j); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if j.Schema != schema {
		return fmt.Errorf("report: the schema is %q, this version reads %q", j.Schema, schema)
	}
	read := Report(j.plainReport)
	if err := read.check(); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	*r = read
	return nil
}

// check refuses reports whose parts do not fit together.
func (r *Report) check() error {
	n := len(r.Label)
	length := func(what, of string, got int) error {
		if got != n {
			return fmt.Errorf("%s%s has %d entries for %d labels", what, of, got, n)
		}
		return nil
	}
	if err := cmp.Or(length("index", "", len(r.Index)), length("predicted", "", len(r.Predicted))); err != nil {
		return err
	}
	if r.Draws < 0 || r.Draws > 0 && len(r.Right) != n {
		return fmt.Errorf("right has %d entries for %d draws of %d labels", len(r.Right), r.Draws, n)
	}
	if q := r.Rejection; q != nil {
		if err := cmp.Or(length("class", " of the rejection", len(q.Class)), length("score", " of the rejection", len(q.Score))); err != nil {
			return err
		}
	}
	for _, a := range r.Attacks {
		if (a.Screened != nil) != (r.Rejection != nil) {
			return fmt.Errorf("the attack %s is screened, or not, where the report has a rejection, or none: it must have both or neither", a.Name)
		}
		if a.Norm == "" {
			return fmt.Errorf("the attack %s has no norm", a.Name)
		}
		of := " of the attack " + a.Name
		if err := cmp.Or(length("attempted", of, len(a.Attempted)), length("success", of, len(a.Success)),
			length("distance", of, len(a.Distance)), length("skipped", of, len(a.Skipped))); err != nil {
			return err
		}
		if a.Draws != r.Draws || r.Draws > 0 && len(a.Reached) != n {
			return fmt.Errorf("%d draws, of which %d examples are known%s, for %d draws of %d labels", a.Draws, len(a.Reached), of, r.Draws, n)
		}
		if q := a.Screened; q != nil {
			if err := cmp.Or(length("class", of, len(q.Class)), length("score", of, len(q.Score))); err != nil {
				return err
			}
		}
		if len(a.Changes) > 0 {
			if err := length("changes", of, len(a.Changes)); err != nil {
				return err
			}
		}
		if a.Asks() {
			if err := cmp.Or(length("queries", of, len(a.Queries)), length("progress", of, len(a.Progress))); err != nil {
				return err
			}
		}
	}
	for _, b := range r.Asked {
		if b.Norm == "" {
			return fmt.Errorf("a ball of radius %g that was asked for has no norm", b.Radius)
		}
	}
	for _, c := range r.Certificates {
		if c.Norm == "" {
			return fmt.Errorf("the certificate %s has no norm", c.Method)
		}
		of := " of " + c.Method
		err := length("certified", of, len(c.Certified))
		if len(c.Margin) > 0 {
			err = cmp.Or(err, length("margin", of, len(c.Margin)))
		}
		if len(c.Distance) > 0 {
			err = cmp.Or(err, length("distance", of, len(c.Distance)))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// orEmpty returns s, or an empty slice for nil, which JSON writes as [] and not as null.
func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
