package advlib

import (
	"fmt"
	"math"
	"slices"
)

// Status is what is known about an example in a ball. The words are those of package certify's verdicts.
type Status string

// What is known about an example.
const (
	// Verified: a certificate proves the label for the whole ball.
	Verified Status = "verified"
	// Falsified: the example is misclassified, or an attack, or a certifier that looks for them, found an adversarial example within the ball.
	Falsified Status = "falsified"
	// Undecided: neither was shown. The attacks may be too weak, or the proofs too loose.
	Undecided Status = "unknown"
)

// Verdict is what a report says about one example in a ball.
type Verdict struct {
	// Example is its number in the dataset; Label and Predicted are its label and its clean prediction.
	Example   int64 `json:"example"`
	Label     int32 `json:"label"`
	Predicted int32 `json:"predicted"`
	// Status is the verdict.
	Status Status `json:"status"`
	// Method is the certifier that proved it, of several the one with the largest margin; where nothing is proven, the one with the
	// largest margin. It is empty if none was asked.
	Method string `json:"method"`
	// Margin is the method's lower bound of logit_y − logit_j over the ball, the smallest over j; -Inf if it tells none.
	Margin Bound `json:"margin"`
	// Attack is the one, or the certifier, that found the nearest adversarial example within the ball, at Distance: "" and +Inf if none did, "none" and 0
	// for an example that is misclassified as it is.
	Attack   string   `json:"attack"`
	Distance Distance `json:"distance"`
}

// Verdicts returns what is known about each example in the ball. Certificates for larger balls count, as do adversarial examples at
// smaller distances, whatever the budget they were found with.
func (r *Report) Verdicts(ball Ball) []Verdict {
	norm := ball.norm()
	all := make([]Verdict, len(r.Label))
	for i := range all {
		v := Verdict{Example: r.Index[i], Label: r.Label[i], Predicted: r.Predicted[i], Status: Undecided, Margin: Bound(math.Inf(-1)), Distance: Distance(math.Inf(1))}
		for _, c := range r.Certificates {
			if c.Norm != norm || c.Radius < ball.Radius {
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
			if a.breaks(i, ball) && a.Distance[i] < v.Distance {
				v.Status, v.Attack, v.Distance = Falsified, a.Name, a.Distance[i]
			}
		}
		for _, c := range r.Certificates {
			if c.breaks(i, ball) && c.Distance[i] < v.Distance {
				v.Status, v.Attack, v.Distance = Falsified, c.Method, c.Distance[i]
			}
		}
		if !r.correct(i) {
			v.Status, v.Attack, v.Distance = Falsified, "none", 0
		}
		all[i] = v
	}
	return all
}

// Contradiction tells whether a report refutes itself: it returns nil if certified ≤ robust under attack ≤ clean accuracy holds for
// every single example, and an error wrapping [ErrContradiction], which names the first example with the ball, the method and the attack, if
//
//   - an example is certified that the classifier gets wrong as it is, or
//   - an attack, or another certifier, found an adversarial example inside of a ball for which the example is certified.
//
// Balls of different norms are compared too, where one lies in the other: ‖δ‖∞ ≤ ‖δ‖₂ ≤ ‖δ‖₁, so what was found at an L2 distance d also
// lies in the Linf ball of radius d.
func (r *Report) Contradiction() error {
	for _, c := range r.Certificates {
		for i, certified := range c.Certified {
			switch {
			case !certified:
				continue
			case !r.correct(i):
				return fmt.Errorf("%w: %s certifies example %d (label %d) for %v, but without any change it is classified as %d", ErrContradiction, c.Method, r.Index[i], r.Label[i], c.ball(), r.Predicted[i])
			}
			broken := func(by, norm string, d Distance) error {
				if float64(d) > c.Radius || !r.inside(norm, c.Norm) {
					return nil
				}
				return fmt.Errorf("%w: %s certifies example %d (label %d) for %v, but %s changed its class at the %s distance %.9g", ErrContradiction, c.Method, r.Index[i], r.Label[i], c.ball(), by, norm, float64(d))
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
		}
	}
	return nil
}

func (c Certificate) ball() Ball { return Ball{normNamed(c.Norm), c.Radius} }

// inside tells whether every ball of the norm inner lies in the ball of the norm outer with the same radius. With a domain, where each
// norm has its own price for a change of category, only a norm's own balls are compared.
func (r *Report) inside(inner, outer string) bool {
	nested := []string{L1.String(), L2.String(), Linf.String()}
	i, o := slices.Index(nested, inner), slices.Index(nested, outer)
	return inner == outer || r.Domain == "" && i >= 0 && i < o
}

// certifiedBalls are the report's balls for which a certifier was asked, by norm and radius.
func (r *Report) certifiedBalls() []Ball {
	return slices.DeleteFunc(r.Balls(), func(b Ball) bool {
		_, asked := r.Certified(b)
		return !asked
	})
}

// Methods returns the names of the certifiers that were asked in a norm, in their order in the report.
func (r *Report) Methods(norm Norm) []string {
	var names []string
	for _, c := range r.Certificates {
		if c.Norm == norm.String() && !slices.Contains(names, c.Method) {
			names = append(names, c.Method)
		}
	}
	return names
}

// CertifiedBy is [Report.Certified] of one method alone.
func (r *Report) CertifiedBy(method string, ball Ball) (rate Rate, asked bool) {
	alone := *r
	alone.Certificates = nil
	for _, c := range r.Certificates {
		if c.Method == method {
			alone.Certificates = append(alone.Certificates, c)
		}
	}
	return alone.Certified(ball)
}

// Abstained returns the share of examples on which the classifier gives no class, which only a smoothed one does; see package smooth.
// It counts as wrong.
func (r *Report) Abstained() Rate {
	return r.rate(func(i int) bool { return r.Predicted[i] < 0 })
}
