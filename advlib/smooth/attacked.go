package smooth

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"advlab/advlib"
	"advlab/advlib/report"
)

// surrogateDraws are those of the surrogate that [Gaussian.Attacked] attacks.
const surrogateDraws = 16

// Attacked attacks the smoothed classifier on the examples that it was certified on, and returns both in the form of
// other reports, as [Certified.Plain] does, with a row for each attack: what package show draws as a sandwich. The
// attacks run on [Gaussian.Surrogate] with 16 draws; what they find is then put to [Gaussian.Predict]. An example is
// broken where that answers another class than the label, which is wrong with probability α; where it abstains, the
// example still stands, and so does one that the surrogate gets wrong as it is, which no attack on the surrogate then
// looks at. So the robust accuracy is an upper bound, as ever.
//
// It is an error, before anything is computed, if r is not s.Certify(ctx, e).
func (s Gaussian) Attacked(ctx context.Context, r *Certified, e *advlib.Examples, attacks ...advlib.Attack) (*advlib.Report, error) {
	p, err := s.attacked(ctx, r, e, attacks)
	if err != nil {
		return p, fmt.Errorf("smooth: attack %v: %w", s, err)
	}
	return p, nil
}

// MustAttacked is [Gaussian.Attacked] for notebooks, examples and tests: it panics on an error.
func (s Gaussian) MustAttacked(ctx context.Context, r *Certified, e *advlib.Examples, attacks ...advlib.Attack) *advlib.Report {
	p, err := s.Attacked(ctx, r, e, attacks...)
	if err != nil {
		panic(err)
	}
	return p
}

func (s Gaussian) attacked(ctx context.Context, r *Certified, e *advlib.Examples, attacks []advlib.Attack) (*advlib.Report, error) {
	s = s.defaults()
	if err := s.check(e, leastToPredict); err != nil {
		return nil, err
	}
	switch {
	case r == nil:
		return nil, fmt.Errorf("the report is nil: certify the examples first")
	case len(attacks) == 0:
		return nil, fmt.Errorf("there are no attacks: give at least one, such as attack.PGD in L2; a report without attacks is Certified.Plain")
	case r.Base != s.Base.Name() || r.Sigma != s.Sigma || r.Data != e.Name || !slices.Equal(r.Label, e.Y):
		return nil, fmt.Errorf("the report is of %s with σ = %g on %d examples of %s, and not of these %d of %s: give what Certify returned "+
			"for them", r.Base, r.Sigma, len(r.Label), r.Data, e.Len(), e.Name)
	}
	surrogate, err := s.Surrogate(surrogateDraws)
	if err != nil {
		return nil, err
	}
	p := r.Plain()
	n := e.Len()
	for _, a := range attacks {
		start := time.Now()
		res, err := advlib.Settings{Seed: s.Seed}.Run(ctx, surrogate, e, a)
		if err != nil {
			return nil, err
		}
		if res.Threat.Goal.IsTargeted() {
			return nil, fmt.Errorf("%v is targeted: robust accuracy is about any other class", a)
		}
		row := report.AttackRow{
			Name: res.Attack, Norm: res.Threat.Norm.String(), Radius: advlib.Distance(res.Threat.Radius), Goal: res.Threat.Goal.String(),
			Attempted: make([]bool, n), Success: make([]bool, n), Skipped: make([]bool, n), Distance: make([]advlib.Distance,
				n), Programs: res.Stats.Programs,
		}
		var found []int
		for i := range n {
			row.Attempted[i], row.Distance[i] = true, advlib.Distance(math.Inf(1))
			switch {
			case p.Predicted[i] != e.Y[i]:
				row.Success[i], row.Distance[i] = true, 0
			case res.Success[i] && res.Distance[i] > 0:
				found = append(found, i)
			}
		}
		forward := res.Stats.Forward * surrogateDraws
		if len(found) > 0 {
			at := e.Select(found)
			at.X = advlib.TakeRows(res.Adversarial, found, len(found))
			answers, err := s.Predict(ctx, at)
			if err != nil {
				return nil, err
			}
			for k, i := range found {
				if c := answers[k].Class; c != Abstain && c != e.Y[i] {
					row.Success[i], row.Distance[i] = true, advlib.Distance(res.Distance[i])
				}
			}
			forward += int64(len(found)) * int64(s.N)
		}
		advlib.Free(res.Adversarial)
		row.Forward, row.Backward, row.Seconds = forward, res.Stats.Backward*surrogateDraws, time.Since(start).Seconds()
		p.Attacks = append(p.Attacks, row)
		p.Seconds += row.Seconds
	}
	return p, nil
}
