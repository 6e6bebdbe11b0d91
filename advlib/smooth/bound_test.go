package smooth

import (
	_ "embed"
	"encoding/csv"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"
)

//go:embed testdata/bounds.csv
var boundsCSV string

// testdata/bounds.py says how the expected numbers were made: exact ones by mpmath, a peer's by SciPy.
func TestBoundsAgainstExactAndSciPy(t *testing.T) {
	rows, err := csv.NewReader(strings.NewReader(boundsCSV)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	number := func(s string) float64 {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	exact := func(s string) *big.Float {
		v, ok := new(big.Float).SetPrec(160).SetString(s)
		if !ok {
			t.Fatalf("%q is no number", s)
		}
		return v
	}
	var worstP, worstZ float64
	for _, row := range rows[1:] {
		n, _ := strconv.Atoi(row[0])
		k, _ := strconv.Atoi(row[1])
		α := number(row[2])
		wantQ, wantZ := exact(row[3]), exact(row[4])
		q := FailureBound(n-k, n, α)
		// 30 digits are rounded to the nearest, so allow for their last one.
		if new(big.Float).Mul(wantQ, big.NewFloat(1-1e-25)).Cmp(big.NewFloat(q)) > 0 {
			t.Errorf("n = %d, %d successes, α = %g: the bound %.17g on the failures is below the exact %s", n, k, α, q, row[3])
		}
		if q > number(row[3])*(1+5e-16) {
			t.Errorf("n = %d, %d successes, α = %g: the bound %.17g on the failures is more than rounding above the exact %s", n, k, α, q, row[3])
		}
		p := below(q)
		worstP = max(worstP, math.Abs(p-number(row[5])))
		z, peer := radius(1, q), number(row[6])
		if peer < 0 { // p < 1/2: an abstention
			if z != 0 {
				t.Errorf("n = %d, %d successes, α = %g: radius %g where p = %g", n, k, α, z, p)
			}
			continue
		}
		worstZ = max(worstZ, math.Abs(z-peer))
		if big.NewFloat(z).Cmp(wantZ) > 0 {
			t.Errorf("n = %d, %d successes, α = %g: Φ⁻¹(p) = %.17g is above the exact %s", n, k, α, z, row[4])
		}
		if z < number(row[4])-1e-13 {
			t.Errorf("n = %d, %d successes, α = %g: Φ⁻¹(p) = %.17g is far below the exact %s", n, k, α, z, row[4])
		}
	}
	t.Logf("%d bounds; from SciPy's differ p by at most %.2g, Φ⁻¹(p) by at most %.2g", len(rows)-1, worstP, worstZ)
	if worstP > 1e-12 || worstZ > 1e-12 {
		t.Errorf("p differs from SciPy's by up to %g, Φ⁻¹(p) by up to %g, want at most 1e-12", worstP, worstZ)
	}
}

// The largest radii of field use (Cohen et al. 2019, section 4: α = 0.001), in units of σ.
func TestLargestRadii(t *testing.T) {
	for n, want := range map[int]float64{100_000: 3.811, 10_000: 3.199, 1000: 2.463} {
		if got := radius(1, FailureBound(0, n, 0.001)); math.Abs(got-want) > 5e-4 {
			t.Errorf("N = %d: the largest radius is %.4fσ, want %.3fσ", n, got, want)
		}
	}
}

// The definition: the tail is at most α at the bound, and above it just below.
func TestFailureBoundIsTheSmallest(t *testing.T) {
	for _, n := range []int{1, 2, 7, 50, 333} {
		for m := 0; m < n; m += 1 + n/9 {
			for _, α := range []float64{1e-9, 0.001, 0.3, 0.9, 0.999} {
				q := FailureBound(m, n, α)
				if !(q > 0 && q < 1) {
					t.Fatalf("%d failures of %d, α = %g: bound %g", m, n, α, q)
				}
				at, _ := newTail(n, m).at(float(q))
				under, _ := newTail(n, m).at(float(math.Nextafter(q, 0)))
				if at.Cmp(float(α)) > 0 || under.Cmp(float(α)) <= 0 {
					t.Errorf("%d failures of %d, α = %g: at the bound %g the tail is %.20g, just below %.20g", m, n, α, q, at, under)
				}
			}
		}
	}
	if q := FailureBound(9, 9, 0.001); q != 1 {
		t.Errorf("nothing but failures: bound %g, want 1", q)
	}
}

// Coverage, exactly: the probability that the bound is below the true q is the sum over the outcomes for which it is.
func TestCoverage(t *testing.T) {
	const n, α = 60, 0.05
	bounds := make([]float64, n+1)
	for m := range bounds {
		bounds[m] = FailureBound(m, n, α)
	}
	most := 0.
	for q := 0.005; q < 1; q += 0.005 {
		missed := 0.
		for m, b := range bounds {
			if b < q {
				lchoose, _ := math.Lgamma(n + 1)
				a, _ := math.Lgamma(float64(m) + 1)
				b, _ := math.Lgamma(float64(n-m) + 1)
				missed += math.Exp(lchoose - a - b + float64(m)*math.Log(q) + float64(n-m)*math.Log1p(-q))
			}
		}
		most = max(most, missed)
		if missed > α*(1+1e-9) {
			t.Errorf("for q = %.3f the bound is too low with probability %g, want at most %g", q, missed, α)
		}
	}
	if most < 0.6*α {
		t.Errorf("the bound is too low with probability at most %g: it is needlessly loose for α = %g", most, α)
	}
}

func TestPValue(t *testing.T) {
	for _, c := range []struct {
		n1, n2 int
		want   float64
	}{
		{1, 0, 1}, {2, 0, 0.5}, {11, 0, 0x1p-10}, {5, 5, 1}, {6, 5, 1}, {0, 0, 1},
		{8, 2, 2 * 56. / 1024}, // 1 + 10 + 45 of 1024, both sides
		{60, 40, 0.056887933640980764},
	} {
		if got := pValue(c.n1, c.n2); got < c.want || got > c.want*(1+1e-14) {
			t.Errorf("%d against %d: p = %.17g, want %.17g", c.n1, c.n2, got, c.want)
		}
	}
}

// The noise is made with σ in float32, which for 0.7 is less: a radius may not be that of more noise than there was.
func TestRadiusOfTheNoiseThatWasMade(t *testing.T) {
	for _, σ := range []float64{0.7, 0.12, 0.25, 0.1, 1e-3} {
		for _, q := range []float64{1e-9, 0.001, 0.3} {
			got, σ32 := radius(σ, q), float64(float32(σ))
			if most := σ32 * radius(1, q) * (1 + 1e-15); got > most {
				t.Errorf("σ = %g is %.17g in float32, with a bound %g of failures the radius is %.17g: at most %.17g", σ, σ32, q, got, most)
			}
			if least := math.Min(σ, σ32) * radius(1, q) * (1 - 1e-15); got < least {
				t.Errorf("σ = %g: radius %.17g, want at least %.17g", σ, got, least)
			}
		}
	}
}

func TestSmallestSamples(t *testing.T) {
	for _, c := range []struct {
		α                float64
		certify, predict int
	}{{0.001, 10, 11}, {0.05, 5, 6}, {0.5, 2, 2}, {0.25, 3, 3}, {1e-9, 30, 31}, {0.9, 1, 2}} {
		if got := leastToCertify(c.α); got != c.certify {
			t.Errorf("α = %g: %d samples are said to be needed for a certificate, want %d", c.α, got, c.certify)
		}
		if got := leastToPredict(c.α); got != c.predict {
			t.Errorf("α = %g: %d samples are said to be needed for a prediction, want %d", c.α, got, c.predict)
		}
	}
}

func BenchmarkFailureBound(b *testing.B) {
	for _, m := range []int{0, 100, 25_000} {
		b.Run(strconv.Itoa(m), func(b *testing.B) {
			for b.Loop() {
				FailureBound(m, 100_000, 0.001)
			}
		})
	}
}
