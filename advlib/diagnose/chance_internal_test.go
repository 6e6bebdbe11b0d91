package diagnose

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
)

// TestFisher compares with SciPy 1.17.1: fisher_exact([[a, n−a], [b, n−b]], alternative='greater').
func TestFisher(t *testing.T) {
	for _, c := range []struct {
		a, b, n int
		is      float64
	}{
		{70, 30, 100, 1.1551632149487635e-08}, {55, 45, 100, 0.10149079382148714}, {100, 0, 100, 1.1043803465997516e-59},
		{10, 10, 100, 0.5928511035198102}, {60, 50, 100, 0.10035380006799037}, {3, 90, 100, 1},
	} {
		if got := fisher(c.a, c.b, c.n); math.Abs(got-c.is) > 1e-9*c.is {
			t.Errorf("%d and %d of %d: %g, SciPy has %g", c.a, c.b, c.n, got, c.is)
		}
	}
}

// TestHolm: the example with 0.01, 0.04, 0.03, 0.005 at 0.05 rejects two; and of honest diagnoses, in which nothing
// differs, at most a thousandth fails anything.
func TestHolm(t *testing.T) {
	if cut := holm([]float64{0.01, 0.04, math.NaN(), 0.03, 0.005}, 0.05); cut != 0.01 {
		t.Errorf("the largest that is rejected is %g", cut)
	}
	if cut := holm([]float64{0.5, 0.2}, 0.05); cut != -1 {
		t.Errorf("nothing is to be rejected, and %g is", cut)
	}
	const diagnoses = 2000
	r := rand.New(rand.NewPCG(1, 2))
	failed := 0
	for range diagnoses {
		var p []float64
		for range 100 { // attacks on examples, of each of which both points fall in the same share of the draws
			draws := distuv.Binomial{N: judged, P: r.Float64(), Src: r}
			p = append(p, fisher(int(draws.Rand()), int(draws.Rand()), judged))
		}
		if holm(p, level) >= 0 {
			failed++
		}
	}
	// Of 2000, two are expected at most; nine or more have a probability below 0.0003.
	if failed > 8 {
		t.Errorf("%d of %d diagnoses of nothing fail", failed, diagnoses)
	}
}
