package smooth

import (
	"math"
	"slices"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib/backend"
)

// backends returns the backend in use, and the Go backend when that is another.
func backends(t testing.TB) map[string]compute.Backend {
	t.Helper()
	b, err := backend.Open()
	if err != nil {
		t.Fatal(err)
	}
	goBackend, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]compute.Backend{b.Name(): b, goBackend.Name(): goBackend}
}

// The known answers are those of Random123's kat_vectors for threefry2x32 with 20 rounds.
func TestThreefryKnownAnswers(t *testing.T) {
	for name, b := range backends(t) {
		run := MustNewExec(b, func(k0, k1, c0, c1 *Node) (*Node, *Node) { return threefry(k0, k1, c0, c1) })
		for _, c := range [][6]uint32{
			{0, 0, 0, 0, 0x6b200159, 0x99ba4efe},
			{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x1cb996fc, 0xbb002be7},
			{0x13198a2e, 0x03707344, 0x243f6a88, 0x85a308d3, 0xc4923a9c, 0x483df7a0},
		} {
			out := run.MustCall(c[0], c[1], c[2], c[3])
			got := [2]uint32{tensors.ToScalar[uint32](out[0]), tensors.ToScalar[uint32](out[1])}
			if got != [2]uint32{c[4], c[5]} {
				t.Errorf("%s: key %x, counter %x: %x, want %x", name, c[:2], c[2:4], got, c[4:])
			}
		}
	}
}

func draws(t *testing.T, b compute.Backend, k0, k1, first uint32, draws, length int) []float32 {
	t.Helper()
	run := MustNewExec(b, func(k0, k1, first *Node) *Node { return normals(k0, k1, first, draws, length) })
	return tensors.MustCopyFlatData[float32](run.MustCall(k0, k1, first)[0])
}

// The draws are standard normal: moments, the largest distance of the distribution functions (Kolmogorov & Smirnov:
// above 1.95/√n once in a thousand), and no correlation between the two coordinates of a pair, between draws, or
// between streams.
func TestNormals(t *testing.T) {
	b, err := backend.Open()
	if err != nil {
		t.Fatal(err)
	}
	const n, d = 20_000, 13 // an odd number: half a pair is left out
	x := draws(t, b, 1, 2, 0, n, d)
	sorted := make([]float64, len(x))
	var moments [5]float64
	for i, v := range x {
		sorted[i] = float64(v)
		for k := range moments {
			moments[k] += math.Pow(float64(v), float64(k)) / float64(len(x))
		}
	}
	σ := 1 / math.Sqrt(float64(len(x)))
	for k, want := range map[int]struct{ mean, sd float64 }{1: {0, 1}, 2: {1, math.Sqrt2}, 3: {0, math.Sqrt(15)}, 4: {3, math.Sqrt(96)}} {
		if math.Abs(moments[k]-want.mean) > 4*want.sd*σ {
			t.Errorf("moment %d is %g, want %g ± %g", k, moments[k], want.mean, 4*want.sd*σ)
		}
	}
	slices.Sort(sorted)
	ks := 0.
	for i, v := range sorted {
		Φ := math.Erfc(-v/math.Sqrt2) / 2
		ks = max(ks, math.Abs(Φ-float64(i)/float64(len(x))), math.Abs(Φ-float64(i+1)/float64(len(x))))
	}
	if ks > 1.95*σ {
		t.Errorf("the distribution is off by %g, want at most %g", ks, 1.95*σ)
	}
	if last := max(-sorted[0], sorted[len(sorted)-1]); last > reach {
		t.Errorf("a draw of %g is beyond %g, where sums are no longer exact", last, reach)
	}
	correlation := func(what string, n int, at func(i int) (float32, float32)) {
		sum := 0.
		for i := range n {
			a, b := at(i)
			sum += float64(a) * float64(b)
		}
		if r := sum / math.Sqrt(float64(n)); math.Abs(r) > 4.5 {
			t.Errorf("%s: correlated by %.1f standard deviations", what, r)
		}
	}
	other := draws(t, b, 1, 3, 0, n, d)
	correlation("coordinates 0 and 7, of a pair", n, func(i int) (float32, float32) { return x[i*d], x[i*d+7] })
	correlation("coordinates 0 and 1", n, func(i int) (float32, float32) { return x[i*d], x[i*d+1] })
	correlation("consecutive draws", n-1, func(i int) (float32, float32) { return x[i*d], x[(i+1)*d] })
	correlation("streams", n*d, func(i int) (float32, float32) { return x[i], other[i] })

	// A stream can be taken up anywhere.
	if later := draws(t, b, 1, 2, 7, 3, d); !slices.Equal(later, x[7*d:10*d]) {
		t.Error("draws 7 to 9 differ when they are drawn alone")
	}
}

func TestNormalsOnBothBackends(t *testing.T) {
	var first []float32
	for name, b := range backends(t) {
		x := draws(t, b, 5, 6, 100, 50, 20)
		if first == nil {
			first = x
		}
		for i := range x {
			if math.Abs(float64(x[i]-first[i])) > 1e-5 {
				t.Fatalf("%s: coordinate %d is %g, on the other backend %g", name, i, x[i], first[i])
			}
		}
	}
}

// The largest and the smallest word give a finite number within reach.
func TestNormalsAtTheEnds(t *testing.T) {
	for w, want := range map[uint32]float64{0: math.Sqrt(-2 * math.Log(0x1p-33)), math.MaxUint32: 0} {
		for name, b := range backends(t) {
			got := MustNewExec(b, func(w *Node) *Node {
				return Sqrt(MulScalar(Log(AddScalar(MulScalar(ConvertDType(w, dtypes.Float32), 0x1p-32), 0x1p-33)), -2))
			}).MustCall(w)[0]
			if r := float64(tensors.ToScalar[float32](got)); math.Abs(r-want) > 1e-5 || r > reach {
				t.Errorf("%s: word %x gives r = %g, want %g", name, w, r, want)
			}
		}
	}
}
