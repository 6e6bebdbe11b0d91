package report

import (
	"fmt"
	"math"
	"slices"
)

// Rate is a count out of a number of examples; of a random victim, the mean over examples of their shares of draws.
type Rate struct {
	Count int `json:"count"`
	Of    int `json:"of"`
	// Draws is how often each of the Of examples was drawn, for a Count of draws. It is 0 where examples are counted.
	Draws int `json:"draws,omitempty"`
}

// Value returns Count/Of, of draws Count/(Of·Draws), and NaN for none.
func (r Rate) Value() float64 { return float64(r.Count) / float64(r.Of*max(1, r.Draws)) }

// Plus adds the counts of other examples, of as many draws.
func (r Rate) Plus(o Rate) Rate { return Rate{r.Count + o.Count, r.Of + o.Of, max(r.Draws, o.Draws)} }

// z95 is the 97.5 % point of the normal distribution.
const z95 = 1.959963984540054

// Wilson returns the 95 % confidence interval of Wilson (1927) for the share, both ends in 0..1; NaN for none. It is
// that of Of examples, however often each was drawn: with a mean share of p, the shares of single examples vary by
// p(1−p) at most, and so the interval is at least as wide as that of their mean.
func (r Rate) Wilson() (lo, hi float64) {
	n, p := float64(r.Of), r.Value()
	centre := (p + z95*z95/(2*n)) / (1 + z95*z95/n)
	half := z95 / (1 + z95*z95/n) * math.Sqrt(p*(1-p)/n+z95*z95/(4*n*n))
	lo, hi = max(0, centre-half), min(1, centre+half)
	// Exact at the ends, where rounding would leave 1e-17.
	if r.Count == 0 && r.Of > 0 {
		lo = 0
	}
	if r.Count == r.Of*max(1, r.Draws) && r.Of > 0 {
		hi = 1
	}
	return lo, hi
}

// String returns for example "45.0 %".
func (r Rate) String() string {
	if r.Of == 0 {
		return "none"
	}
	return fmt.Sprintf("%.1f %%", 100*r.Value())
}

// Fine is String for rates of which one in a billion counts: where the rate is small it has two digits.
func (r Rate) Fine() string {
	if v := 100 * r.Value(); r.Count > 0 && v < 0.1 {
		return fmt.Sprintf("%.2g %%", v)
	}
	return r.String()
}

// Interval returns the 95 % confidence interval as text, for example "[40.7, 49.4]".
func (r Rate) Interval() string {
	if r.Of == 0 {
		return ""
	}
	lo, hi := r.Wilson()
	return fmt.Sprintf("[%.1f, %.1f]", 100*lo, 100*hi)
}

// SuccessRate is the share of attempted examples on which the attack reached its goal. In a cascade it is the share
// after the attack: examples that it skipped count as attempted and reached. Of a random victim it is the mean of the
// examples' shares of draws.
func (a AttackRow) SuccessRate() Rate {
	r := Rate{Draws: a.Draws}
	for i, s := range a.Success {
		if a.Attempted[i] || a.skipped(i) {
			r.Of++
			switch {
			case a.Draws > 0:
				r.Count += a.Reached[i]
			case s || a.skipped(i):
				r.Count++
			}
		}
	}
	return r
}

// Attacked returns the number of examples that the attack was run on, those left out on which nothing needed to be
// done.
func (a AttackRow) Attacked() int {
	n := 0
	for i, attempted := range a.Attempted {
		if attempted && a.Distance[i] > 0 {
			n++
		}
	}
	return n
}

// MedianDistance is the median over attempted examples, failures counting as infinite, and examples that were
// misclassified before the attack left out. It is NaN when there are none.
//
// In a cascade, examples that the attack skipped count with the distance at which they were broken before. For an
// attack of minimal norm all of these lie within the smallest of the report's balls, so that a median beyond it is the
// same as if the attack had been run on all examples; a smaller one is an upper bound on that.
func (a AttackRow) MedianDistance() float64 {
	var d []float64
	for i, v := range a.Distance {
		if (a.Attempted[i] || a.skipped(i)) && v > 0 {
			d = append(d, float64(v))
		}
	}
	if len(d) == 0 {
		return math.NaN()
	}
	slices.Sort(d)
	if m := len(d) / 2; len(d)%2 == 1 {
		return d[m]
	} else {
		return (d[m-1] + d[m]) / 2
	}
}
