package smooth

import (
	"context"
	"fmt"
	"math"
	"time"

	"advlab/advlib"
	"advlab/advlib/backend"
)

// Abstain stands for a class where none was found with the wanted confidence.
const Abstain int32 = -1

// Certificate is what is known of the smoothed classifier at an example.
type Certificate struct {
	// Class is its class in the ball, or Abstain.
	Class int32 `json:"class"`
	// Count of N noisy copies were classified as the class that was tried, which Class is unless it is Abstain.
	Count int `json:"count"`
	// P is a lower confidence bound on the probability of that.
	P float64 `json:"p"`
	// Radius is R: for all ‖δ‖₂ < R the smoothed classifier says Class at x + δ. It is 0 for an abstention.
	Radius float64 `json:"radius"`
	// NotFinite of the N copies gave logits that are not finite: they count for no class.
	NotFinite int `json:"not_finite,omitempty"`
}

// Certify is CERTIFY of Cohen et al. (2019), section 3.2.2 (Pseudocode), for each example: N0 noisy copies choose a
// class, N other ones bound its probability from below, p ≤ P with probability 1 − α (Clopper & Pearson 1934). If p >
// 1/2, the smoothed classifier's class is certified within σΦ⁻¹(p), less Certified.Slack; else it abstains.
//
// Everything is checked before anything is computed; an N with which all would be abstentions is refused. When ctx is
// done, the report of the examples so far is returned together with ctx.Err().
func (s Gaussian) Certify(ctx context.Context, e *advlib.Examples) (*Certified, error) {
	r, err := s.certify(ctx, e)
	if err != nil {
		err = fmt.Errorf("smooth: certify %v: %w", s, err)
	}
	return r, err
}

// MustCertify is [Gaussian.Certify] for notebooks, examples and tests: it panics on an error.
func (s Gaussian) MustCertify(ctx context.Context, e *advlib.Examples) *Certified {
	r, err := s.Certify(ctx, e)
	if err != nil {
		panic(err)
	}
	return r
}

func (s Gaussian) certify(ctx context.Context, e *advlib.Examples) (*Certified, error) {
	s = s.defaults()
	if err := s.check(e, leastToCertify); err != nil {
		return nil, err
	}
	start := time.Now()
	r := &Certified{
		Base: s.Base.Name(), Data: e.Name, Backend: backend.InfoOf(s.Base.Backend()).Name, Box: s.Base.Box(), Notes: s.Base.Notes(),
		Sigma: s.Sigma, N0: s.N0, N: s.N, Alpha: s.Alpha, Seed: s.Seed, Slack: s.slack(),
		Index: []int64{}, Label: []int32{}, Certificates: []Certificate{},
	}
	t := advlib.Count(s.Base)
	defer func() {
		r.Forward, _ = t.Passes()
		r.Seconds = time.Since(start).Seconds()
	}()
	bounds := map[int]float64{} // by count of failures
	for i := range e.Y {
		chosen, err := s.counts(ctx, t, e, i, chooseStream, s.N0)
		if err != nil {
			return r, err
		}
		class, _ := top(chosen[:s.Base.Classes()])
		counted, err := s.counts(ctx, t, e, i, estimateStream, s.N)
		if err != nil {
			return r, err
		}
		lost := counted[s.Base.Classes()]
		if lost > 0 && s.Strict {
			return r, fmt.Errorf("the logits of %s are not finite for %d of %d noisy copies of example %d; without Gaussian.Strict these count "+
				"for no class", s.Base.Name(), lost, s.N, e.Number(i))
		}
		failures := s.N - counted[class]
		q, known := bounds[failures]
		if !known {
			q = FailureBound(failures, s.N, s.Alpha)
			bounds[failures] = q
		}
		c := Certificate{Class: int32(class), Count: counted[class], P: below(q), Radius: radius(s.Sigma, q) - r.Slack, NotFinite: lost}
		if !(c.Radius > 0) {
			c.Class, c.Radius = Abstain, 0
		}
		r.Index, r.Label, r.Certificates = append(r.Index, e.Number(i)), append(r.Label, e.Y[i]), append(r.Certificates, c)
		s.progress("certifying "+s.String(), i+1, e.Len(), start)
	}
	return r, nil
}

func (s Gaussian) progress(what string, done, total int, start time.Time) {
	if s.OnProgress != nil {
		s.OnProgress(advlib.Progress{What: what, Done: done, Total: total, Elapsed: time.Since(start)})
	}
}

// below returns 1 − q, rounded down.
func below(q float64) float64 {
	p := 1 - q
	if p > 0 && 1-p < q { // exact, since p ≥ 1/2 or q ≥ 1/2
		p = math.Nextafter(p, 0)
	}
	return p
}

// top returns the first of the largest counts, and the largest of the others.
func top(counts []int) (first, second int) {
	for k, c := range counts {
		if c > counts[first] {
			first = k
		}
	}
	second = -1
	for k, c := range counts {
		if k != first && (second < 0 || c > counts[second]) {
			second = k
		}
	}
	return first, second
}

// Vote is the smoothed classifier's answer.
type Vote struct {
	// Class is the answer, or Abstain.
	Class int32
	// First and Second are how many of N noisy copies were classified as the most frequent class and as the next one.
	First, Second int
	// PValue is that of the two being equally probable; above α the answer is Abstain.
	PValue float64
}

// Predict is PREDICT of Cohen et al. (2019), section 3.2.1, for each example: the class that most of N noisy copies are
// classified as, unless the next one could as well be the most probable. Where it answers, the answer is that of the
// smoothed classifier with probability 1 − α.
func (s Gaussian) Predict(ctx context.Context, e *advlib.Examples) ([]Vote, error) {
	s = s.defaults()
	if err := s.check(e, leastToPredict); err != nil {
		return nil, fmt.Errorf("smooth: predict %v: %w", s, err)
	}
	start := time.Now()
	var answers []Vote
	for i := range e.Y {
		counts, err := s.counts(ctx, advlib.Count(s.Base), e, i, predictStream, s.N)
		if err != nil {
			return answers, fmt.Errorf("smooth: predict %v: %w", s, err)
		}
		first, second := top(counts[:s.Base.Classes()])
		p := Vote{Class: int32(first), First: counts[first], Second: counts[second]}
		if p.PValue = pValue(p.First, p.Second); p.PValue > s.Alpha {
			p.Class = Abstain
		}
		answers = append(answers, p)
		s.progress("predicting by "+s.String(), i+1, e.Len(), start)
	}
	return answers, nil
}
