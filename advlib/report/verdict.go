package report

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Status is what is known about an example, or of a property: Unknown, Verified or Falsified. As text, in JSON too, it
// is "unknown", "verified" or "falsified".
type Status int

const (
	// Unknown: neither was shown. The attacks may be too weak, or the proofs too loose.
	Unknown Status = iota
	// Verified: what was asked is proven, for the whole ball or region.
	Verified
	// Falsified: there is a counterexample. The example is misclassified as it is, or something in the ball is.
	Falsified
)

var statusText = []string{Unknown: "unknown", Verified: "verified", Falsified: "falsified"}

// String returns "unknown", "verified" or "falsified".
func (s Status) String() string {
	if s >= 0 && int(s) < len(statusText) {
		return statusText[s]
	}
	return fmt.Sprintf("Status(%d)", int(s))
}

// MarshalText writes what String returns.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what String returns.
func (s *Status) UnmarshalText(text []byte) error {
	k := slices.Index(statusText, string(text))
	if k < 0 {
		return fmt.Errorf("report: the status %q is none of %q", text, statusText)
	}
	*s = Status(k)
	return nil
}

// Verdict is what a report says about one example in a ball.
type Verdict struct {
	// Example is its number in the dataset; Label and Predicted are its label and its clean prediction.
	Example   int64 `json:"example"`
	Label     int32 `json:"label"`
	Predicted int32 `json:"predicted"`
	// Status says whether the example is proven, broken, or neither.
	Status Status `json:"status"`
	// Method is the certifier that proved it, of several the one with the largest margin; where nothing is proven, the
	// one with the largest margin. It is empty if none was asked.
	Method string `json:"method"`
	// Margin is the method's lower bound of logit_y − logit_j over the ball, the smallest over j; -Inf if it tells none.
	Margin Bound `json:"margin"`
	// Attack is the one, or the certifier, that found the nearest adversarial example within the ball, at Distance: ""
	// and +Inf if none did, "none" and 0 for an example that is misclassified as it is.
	Attack   string   `json:"attack"`
	Distance Distance `json:"distance"`
}

// Verdicts returns what is known about each example in the ball. Certificates for larger balls count, as do adversarial
// examples at smaller distances, whatever the budget they were found with.
func (r *Report) Verdicts(ball Named) []Verdict {
	b := ball.Named()
	all := make([]Verdict, len(r.Label))
	for i := range all {
		all[i] = r.verdict(i, b)
	}
	return all
}

// verdict is what is known about example i in a ball.
func (r *Report) verdict(i int, b Ball) Verdict {
	v := Verdict{
		Example: r.Index[i], Label: r.Label[i], Predicted: r.Predicted[i],
		Status: Unknown, Margin: Bound(math.Inf(-1)), Distance: Distance(math.Inf(1)),
	}
	for _, c := range r.Certificates {
		if !c.covers(b) {
			continue
		}
		margin := Bound(math.Inf(-1))
		if i < len(c.Margin) {
			margin = c.Margin[i]
		}
		proves := c.Certified[i]
		switch {
		case proves && v.Status != Verified:
			v.Status, v.Method, v.Margin = Verified, c.Method, margin
		case proves == (v.Status == Verified) && (v.Method == "" || margin > v.Margin):
			v.Method, v.Margin = c.Method, margin
		}
	}
	for _, a := range r.Attacks {
		if a.breaks(i, b) && a.Distance[i] < v.Distance {
			v.Status, v.Attack, v.Distance = Falsified, a.Name, a.Distance[i]
		}
	}
	for _, c := range r.Certificates {
		if c.breaks(i, b) && c.Distance[i] < v.Distance {
			v.Status, v.Attack, v.Distance = Falsified, c.Method, c.Distance[i]
		}
	}
	if !r.Correct(i) {
		v.Status, v.Attack, v.Distance = Falsified, "none", 0
	}
	return v
}

// certifiedBalls are the report's balls for which a certifier was asked, by norm and radius.
func (r *Report) certifiedBalls() []Ball {
	return slices.DeleteFunc(r.Balls(), func(b Ball) bool {
		_, asked := r.Certified(b)
		return !asked
	})
}

// ErrContradiction is in the error of a report that refutes itself: an attack broke an example that was certified, or
// one was certified that is misclassified as it is. One of the two is wrong, and neither number can be trusted. See
// [Report.Contradiction].
var ErrContradiction = errors.New("advlib: a certificate is refuted")

// Contradiction tells whether a report refutes itself: it returns nil if certified ≤ robust under attack ≤ clean
// accuracy holds for every single example, and an error wrapping [ErrContradiction], which names the first example with
// the ball, the method and the attack, if
//
//   - an example is certified that the classifier gets wrong as it is, or
//   - an attack, or another certifier, found an adversarial example inside of a ball for which the example is
//     certified.
//
// Balls of different norms are compared too, where one lies in the other: ‖δ‖∞ ≤ ‖δ‖₂ ≤ ‖δ‖₁, so what was found at an
// L2 distance d also lies in the Linf ball of radius d.
func (r *Report) Contradiction() error {
	for _, c := range r.Certificates {
		for i, certified := range c.Certified {
			if !certified {
				continue
			}
			if err := r.refuted(c, i); err != nil {
				return err
			}
		}
	}
	return nil
}

// refuted returns an error if something in the report refutes the certificate for example i.
func (r *Report) refuted(c CertifierRow, i int) error {
	claim := func() string {
		return fmt.Sprintf("%s certifies example %d (label %d) for %v", c.Method, r.Index[i], r.Label[i], c.ball())
	}
	if !r.Correct(i) {
		return fmt.Errorf("%w: %s, but without any change it is classified as %d", ErrContradiction, claim(), r.Predicted[i])
	}
	broken := func(by, norm string, d Distance) error {
		if float64(d) > c.Radius || !r.inside(norm, c.Norm) {
			return nil
		}
		return fmt.Errorf("%w: %s, but %s changed its class at the %s distance %.9g", ErrContradiction, claim(), by, norm, float64(d))
	}
	for _, a := range r.Attacks {
		if !a.Targeted && a.Success[i] {
			if err := broken(a.Name, a.Norm, a.Distance[i]); err != nil {
				return err
			}
		}
	}
	for _, o := range r.Certificates {
		if i < len(o.Distance) {
			if err := broken(o.Method, o.Norm, o.Distance[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// inside tells whether every ball of the norm inner lies in the ball of the norm outer with the same radius. With a
// domain, where each norm has its own price for a change of category, only a norm's own balls are compared; nor is
// anything known of how a norm of the user's own compares with others.
func (r *Report) inside(inner, outer string) bool {
	nested := []string{L1, L2, Linf}
	i, o := slices.Index(nested, inner), slices.Index(nested, outer)
	return inner == outer || r.Domain == "" && i >= 0 && i < o
}
