package report

import (
	"cmp"
	"math"
	"slices"
)

// Correct tells whether example i is classified correctly without any change.
func (r *Report) Correct(i int) bool { return r.Predicted[i] == r.Label[i] }

// rate is the share of examples for which something holds.
func (r *Report) rate(holds func(i int) bool) Rate {
	rate := Rate{Of: len(r.Label)}
	for i := range r.Label {
		if holds(i) {
			rate.Count++
		}
	}
	return rate
}

// left is the accuracy in a ball under some attacks and certifiers: example by example the worst of them. Of a random
// victim it is the mean of the shares of draws in which the answer is right.
func (r *Report) left(b Ball, attacks []AttackRow, certificates []CertifierRow) Rate {
	rate := Rate{Of: len(r.Label), Draws: r.Draws}
	for i := range r.Label {
		if slices.ContainsFunc(certificates, func(c CertifierRow) bool { return c.breaks(i, b) }) {
			continue
		}
		if r.Draws == 0 {
			if r.Correct(i) && !slices.ContainsFunc(attacks, func(a AttackRow) bool { return a.breaks(i, b) }) {
				rate.Count++
			}
			continue
		}
		rate.Count += r.stands(i, b, attacks)
	}
	return rate
}

// stands returns in how many draws of a random victim the answer about example i is right in a ball under some attacks.
func (r *Report) stands(i int, b Ball, attacks []AttackRow) int {
	n := r.Right[i]
	for _, a := range attacks {
		if a.within(i, b) {
			n = min(n, r.Draws-a.Reached[i])
		}
	}
	return n
}

// Stands returns in how many of Draws draws of a random victim the answer about example i is right under all untargeted
// attacks in a ball.
func (r *Report) Stands(i int, ball Named) int { return r.stands(i, ball.Named(), r.Attacks) }

// Clean returns the accuracy on the originals.
func (r *Report) Clean() Rate { return r.left(Ball{}, nil, nil) }

// Abstained returns the share of examples on which the classifier gives no class: a smoothed one abstains, see package
// smooth, and one behind a detector rejects, see [Rejection]. It counts as wrong.
func (r *Report) Abstained() Rate {
	return r.rate(func(i int) bool { return r.Predicted[i] < 0 })
}

// Robust returns the accuracy in the worst case over all untargeted attacks, example by example: an example counts
// when it is classified correctly and no attack in the ball's norm found an adversarial example within its radius,
// whatever budget that attack was given. Counterexamples of certifiers that look for them count as well. It is an upper
// bound on the true robust accuracy.
func (r *Report) Robust(ball Named) Rate {
	return r.left(ball.Named(), r.Attacks, r.Certificates)
}

// RobustAfter returns the accuracy in the ball in the worst case over Attacks[k] and those that ran before it: the last
// of [Report.Order] has the number of [Report.Robust], unless a certifier found a counterexample that all attacks
// missed.
func (r *Report) RobustAfter(k int, ball Named) Rate {
	var ran []AttackRow
	for _, j := range r.Order() {
		if ran = append(ran, r.Attacks[j]); j == k {
			break
		}
	}
	return r.left(ball.Named(), ran, nil)
}

// RobustTo returns the accuracy in the ball under one of the report's attacks alone. It is known only where the attack
// was run on all examples: known is false when it skipped some, in a cascade.
func (r *Report) RobustTo(a AttackRow, ball Named) (rate Rate, known bool) {
	if slices.Contains(a.Skipped, true) {
		return Rate{}, false
	}
	return r.left(ball.Named(), []AttackRow{a}, nil), true
}

// Certified returns the share of examples that are classified correctly and proven so for the whole ball by at least
// one method, and whether any method was asked.
func (r *Report) Certified(ball Named) (rate Rate, asked bool) {
	b := ball.Named()
	rate = r.rate(func(i int) bool {
		return r.Correct(i) && slices.ContainsFunc(r.Certificates, func(c CertifierRow) bool { return c.covers(b) && c.Certified[i] })
	})
	return rate, slices.ContainsFunc(r.Certificates, func(c CertifierRow) bool { return c.covers(b) })
}

// CertifiedBy is [Report.Certified] of one method alone.
func (r *Report) CertifiedBy(method string, ball Named) (rate Rate, asked bool) {
	alone := *r
	alone.Certificates = nil
	for _, c := range r.Certificates {
		if c.Method == method {
			alone.Certificates = append(alone.Certificates, c)
		}
	}
	return alone.Certified(ball)
}

// Methods returns the names of the certifiers that were asked in a norm, in their order in the report.
func (r *Report) Methods(norm string) []string {
	var names []string
	for _, c := range r.Certificates {
		if c.Norm == norm && !slices.Contains(names, c.Method) {
			names = append(names, c.Method)
		}
	}
	return names
}

// Norms returns the names of the norms in which something was attacked, certified or asked for: Linf, L2, L1 and L0
// first, then norms of the user's own as they come.
func (r *Report) Norms() []string {
	var met []string
	for _, a := range r.Attacks {
		met = append(met, a.Norm)
	}
	for _, c := range r.Certificates {
		met = append(met, c.Norm)
	}
	for _, b := range r.Asked {
		met = append(met, b.Norm)
	}
	var norms []string
	for _, n := range append([]string{Linf, L2, L1, L0}, met...) {
		if slices.Contains(met, n) && !slices.Contains(norms, n) {
			norms = append(norms, n)
		}
	}
	return norms
}

// Balls returns the balls of the untargeted attacks with a budget and those that were asked for, by norm and radius.
func (r *Report) Balls() []Ball {
	var balls []Ball
	for _, a := range r.Attacks {
		if !a.Minimal() && !a.Targeted {
			balls = append(balls, Ball{Norm: a.Norm, Radius: float64(a.Radius)})
		}
	}
	balls = append(balls, r.Asked...)
	slices.SortFunc(balls, func(a, b Ball) int {
		return cmp.Or(cmp.Compare(a.Norm, b.Norm), cmp.Compare(a.Radius, b.Radius))
	})
	return slices.Compact(balls)
}

// Order returns the indices of Attacks as they ran: as given, and in a cascade by growing budget within each norm.
// There, attacks of minimal norm run with the smallest budget, otherwise attacks run as given. Norms come as they are
// met first, targeted attacks where they are given among them.
func (r *Report) Order() []int {
	order := make([]int, len(r.Attacks))
	for i := range order {
		order[i] = i
	}
	if !r.Cascade {
		return order
	}
	smallest, norm := map[string]Distance{}, map[string]int{}
	for _, a := range r.Attacks {
		if _, met := norm[a.Norm]; !met {
			norm[a.Norm] = len(norm)
		}
		if r, met := smallest[a.Norm]; !a.Targeted && (!met || a.Radius < r) {
			smallest[a.Norm] = a.Radius
		}
	}
	radius := func(a AttackRow) Distance {
		if a.Minimal() {
			return smallest[a.Norm]
		}
		return a.Radius
	}
	slices.SortStableFunc(order, func(i, j int) int {
		a, b := r.Attacks[i], r.Attacks[j]
		return cmp.Or(cmp.Compare(norm[a.Norm], norm[b.Norm]), cmp.Compare(radius(a), radius(b)))
	})
	return order
}

// Nearest returns the smallest distance, in the norm of that name, of the adversarial examples that untargeted attacks
// found for example i: +Inf if none did, 0 if it is misclassified as it is.
func (r *Report) Nearest(norm string, i int) float64 {
	d := math.Inf(1)
	for _, a := range r.Attacks {
		if a.Norm == norm && !a.Targeted && a.Success[i] {
			d = min(d, float64(a.Distance[i]))
		}
	}
	return d
}

// breaks tells whether the attack found an adversarial example for example i in the ball.
func (a AttackRow) breaks(i int, b Ball) bool {
	return !a.Targeted && a.Norm == b.Norm && a.Success[i] && float64(a.Distance[i]) <= b.Radius
}

// within tells whether what the attack returned for example i lies in the ball, for all that is known: a point that
// most draws withstand lies in the attack's own ball.
func (a AttackRow) within(i int, b Ball) bool {
	return a.breaks(i, b) || !a.Targeted && a.Norm == b.Norm && !a.Minimal() && float64(a.Radius) <= b.Radius
}

// breaks tells whether the method found a counterexample for example i in the ball.
func (c CertifierRow) breaks(i int, b Ball) bool {
	return i < len(c.Distance) && c.Norm == b.Norm && float64(c.Distance[i]) <= b.Radius
}

// covers tells whether the method was asked for the ball, or one around it.
func (c CertifierRow) covers(b Ball) bool { return c.Norm == b.Norm && c.Radius >= b.Radius }
