package smooth

import (
	"math"
	"math/big"
)

// This file holds the statistics: exact binomial tails, with the results rounded to the safe side.

// precision is that of the sums, in bits, and negligible what they leave out. Their terms are positive, so their
// relative error is below 2⁻⁸⁰.
const (
	precision  = 128
	negligible = 96
)

func float(v float64) *big.Float { return new(big.Float).SetPrec(precision).SetFloat64(v) }

// tail is P(j ≤ m) for the number j of failures among n samples, as a function of the probability q of a failure.
type tail struct {
	n, m   int
	choose *big.Float // n over m
}

func newTail(n, m int) tail {
	// As a product of m rounded ratios: off by less than 2m·2⁻¹²⁸. big.Int's exact one takes a hundred times longer.
	c, k := float(1), new(big.Float).SetPrec(precision)
	for j := 1; j <= min(m, n-m); j++ {
		c.Mul(c, k.SetInt64(int64(n-j+1)))
		c.Quo(c, k.SetInt64(int64(j)))
	}
	return tail{n: n, m: m, choose: c}
}

// at returns the tail at q in (0, 1), and its largest term for q ≥ m/n, the one of j = m.
func (t tail) at(q *big.Float) (sum, top *big.Float) {
	p := new(big.Float).SetPrec(precision).Sub(float(1), q)
	top = power(q, t.m)
	top.Mul(top, power(p, t.n-t.m)).Mul(top, t.choose)
	sum = new(big.Float).Copy(top)
	// Downwards: term(j−1) = term(j) · j/(n−j+1) · p/q.
	odds := new(big.Float).SetPrec(precision).Quo(p, q)
	term, ratio := new(big.Float).Copy(top), new(big.Float).SetPrec(precision)
	for j := t.m; j > 0; j-- {
		ratio.SetInt64(int64(j))
		term.Mul(term, ratio)
		ratio.SetInt64(int64(t.n - j + 1))
		term.Quo(term, ratio).Mul(term, odds)
		if term.Sign() == 0 || term.MantExp(nil) < sum.MantExp(nil)-negligible {
			break
		}
		sum.Add(sum, term)
	}
	return sum, top
}

// power returns x^n.
func power(x *big.Float, n int) *big.Float {
	y, x := float(1), new(big.Float).Copy(x)
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			y.Mul(y, x)
		}
		x.Mul(x, x)
	}
	return y
}

// FailureBound returns an upper confidence bound on the probability of a failure, after m failures among n samples: the
// smallest float64 q with P(at most m failures among n | q) ≤ α. It is 1 − p for the lower bound p on the probability
// of a success of Clopper & Pearson (1934), one-sided, rounded up; the bound is below the true probability with
// probability α at most.
//
// It wants 0 ≤ m ≤ n, n ≥ 1, and α in (0, 1).
func FailureBound(m, n int, α float64) float64 {
	if m >= n {
		return 1
	}
	t, want := newTail(n, m), float(α)
	holds := func(q float64) (bool, float64) {
		sum, top := t.at(float(q))
		// Newton's step for ln P(q) = ln α: dP/dq = −top·(n−m)/(1−q).
		P, _ := new(big.Float).Quo(sum, want).Float64()
		slope, _ := new(big.Float).Quo(top, sum).Float64()
		return sum.Cmp(want) <= 0, math.Log(P) * (1 - q) / (slope * float64(n-m))
	}
	// The solution is kept between lo, which does not hold, and hi, which does.
	lo, hi := float64(m)/float64(n), 1.
	q := math.Min(1-math.Pow(α, 1/float64(n-m)), 0.5*(lo+hi)) // exact but for rounding where m = 0
	if q <= lo {
		q = lo + (hi-lo)/1024
	}
	if lo > 0 {
		// A first bracket: at the mode the tail is about a half, so for an α above that lo itself may hold.
		if ok, _ := holds(lo); ok {
			lo, hi = 0, lo
			q = hi / 2
		}
	}
	for math.Nextafter(lo, 2) < hi {
		ok, step := holds(q)
		if ok {
			hi = q
		} else {
			lo = q
		}
		next := q + step
		// Newton may land beside the solution for ever: a few units in the last place beyond it the bracket closes.
		if math.Abs(step) < 4e-16*q {
			if ok {
				next = math.Nextafter(q, 0)
			} else {
				next = math.Nextafter(q, 2)
			}
		}
		if !(next > lo && next < hi) {
			next = lo + (hi-lo)/2
		}
		q = next
	}
	return hi
}

// upperQuantile returns z with P(Z > z) ≥ q for a standard normal Z: Φ⁻¹(1 − q), rounded down by a few units in the
// last place. q is in (0, 1/2].
func upperQuantile(q float64) float64 {
	// Newton's method for the logarithm of the tail Q(z) = erfc(z/√2)/2, which is concave, from the left of the solution.
	z := 0.
	for range 100 {
		Q := math.Erfc(z/math.Sqrt2) / 2
		φ := math.Exp(-z*z/2) / math.Sqrt(2*math.Pi)
		step := math.Log(Q/q) * Q / φ
		z += step
		if math.Abs(step) <= 1e-17*z {
			break
		}
	}
	// Q's rounding moves z by up to half a unit of Q over φ: 2e-16 near 0, relatively less further out.
	return math.Max(0, z*(1-0x1p-50)-0x1p-50)
}

// radius returns σΦ⁻¹(1−q), rounded down; 0 for q ≥ 1/2. The noise has σ rounded to float32: if that is less, it is
// what counts.
func radius(σ, q float64) float64 {
	if q >= 0.5 {
		return 0
	}
	σ = math.Min(σ, float64(float32(σ)))
	return math.Max(0, math.Nextafter(σ*upperQuantile(q), 0))
}

// pValue returns the probability that of n = n1 + n2 tosses of a fair coin one side shows n1 times or more: the
// two-sided test of section 3.2.1 (Hung & Fithian 2019), rounded up. It wants n1 ≥ n2.
func pValue(n1, n2 int) float64 {
	if n1 == n2 {
		return 1
	}
	sum, _ := newTail(n1+n2, n2).at(float(0.5))
	p, accuracy := sum.Mul(sum, float(2)).Float64()
	if accuracy == big.Below {
		p = math.Nextafter(p, 2)
	}
	return math.Min(1, p)
}

// leastToCertify returns the smallest N with α^(1/N) > 1/2: with fewer samples even unanimous ones do not certify.
func leastToCertify(α float64) int {
	n := max(1, int(math.Log2(1/α))-1)
	for FailureBound(0, n, α) >= 0.5 {
		n++
	}
	return n
}

// leastToPredict returns the smallest N with 2·2^−N ≤ α: with fewer samples even unanimous ones are no prediction.
func leastToPredict(α float64) int {
	n := 1
	for pValue(n, 0) > α {
		n++
	}
	return n
}
