package diagnose

import (
	"math"
	"slices"

	"advlab/advlib"
)

// # Chance
//
// A random victim answers the same point otherwise each time, so that one attack breaks by luck what another does not,
// and of many attacks on many examples some always do. So both points, that of the one attack and that of the other,
// are put to the victim in judged fresh draws, and an example counts as broken by the one alone only if it is
// misclassified there in more draws than here, by Fisher's exact test. All these tests of a diagnosis are corrected
// together, by Holm (1979), "A simple sequentially rejective multiple test procedure", at the level of 0.001: that an
// honest random victim fails any of them has at most this probability.
const (
	judged = 100
	level  = 0.001
)

// contest is the question whether one attack finds more than another, by their names.
type contest struct{ one, other string }

// draws is how many draws a point of the victim is judged by.
func (x *examiner) draws() int {
	if x.victim.Signature().Random {
		return judged
	}
	return 0
}

// alone tells which examples an attack breaks that the diagnosed one does not; of a random victim, beyond chance.
func (x *examiner) alone(name string) []bool {
	return x.beyond(contest{name, x.Attack.String()}, x.attacks[name], x.base())
}

// beyond tells which examples fall to one attack and not to another.
func (x *examiner) beyond(c contest, one, other *outcome) []bool {
	more := make([]bool, len(one.hit))
	for i := range more {
		more[i] = one.tried[i] && one.hit[i] && !other.hit[i]
	}
	if !x.victim.Signature().Random {
		return more
	}
	p := x.contests[c]
	if p == nil {
		for i := range more {
			if one.tried[i] && other.tried[i] {
				p = append(p, fisher(one.reached[i], other.reached[i], judged))
			} else {
				p = append(p, math.NaN())
			}
		}
		x.contests[c] = p
	}
	for i := range more {
		more[i] = more[i] && x.surprising(p[i])
	}
	return more
}

// surprising tells whether a p-value stands the correction. Before all of them are known, each stands.
func (x *examiner) surprising(p float64) bool { return math.IsNaN(x.cut) || p <= x.cut }

// concludes judges now, and, where the verdict rests on p-values, once more when all of them are known.
func (x *examiner) concludes(judge func()) {
	judge()
	if x.victim.Signature().Random {
		x.conclude = judge
	}
}

// holm corrects the p-values of the whole diagnosis, and lets the checks that rest on them conclude again.
func (x *examiner) holm(findings []Finding, again map[int]func()) {
	if !x.victim.Signature().Random {
		return
	}
	x.worst() // its contests count, too
	var all []float64
	for _, p := range x.contests {
		all = append(all, p...)
	}
	x.cut = holm(all, level)
	for i, f := range again {
		before := findings[i].Verdict
		if f(); before == Failed && findings[i].Verdict == Passed {
			findings[i].Measured += "; the others by chance"
		}
	}
}

// holm returns the largest p-value that is rejected at a level, −1 if none is. NaN stands for no test.
func holm(p []float64, level float64) float64 {
	p = slices.DeleteFunc(slices.Clone(p), math.IsNaN)
	slices.Sort(p)
	cut := -1.
	for k, v := range p {
		if !(v <= level/float64(len(p)-k)) {
			break
		}
		cut = v
	}
	return cut
}

// fisher is the one-sided p-value of Fisher's exact test that a of n draws are more than b of n are by chance.
func fisher(a, b, n int) float64 {
	choose := func(n, k int) float64 {
		l := func(m int) float64 { v, _ := math.Lgamma(float64(m + 1)); return v }
		return l(n) - l(k) - l(n-k)
	}
	p := 0.
	for k := a; k <= min(n, a+b); k++ {
		if a+b-k <= n {
			p += math.Exp(choose(n, k) + choose(n, a+b-k) - choose(2*n, a+b))
		}
	}
	return math.Min(p, 1)
}

// count tells of how many something holds.
func count(hold []bool) int { return rate(hold).Count }

// rejections counts the rejections among answers.
func rejections(said []advlib.Answer) int {
	n := 0
	for _, a := range said {
		if a.Kind == advlib.Rejected {
			n++
		}
	}
	return n
}
