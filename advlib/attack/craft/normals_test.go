package craft

import (
	"math/rand/v2"
	"testing"
)

// Numbers drawn many at once are those of math/rand/v2, to the bit and in its order, whatever else is drawn in between;
// of a million some hundred are of the ziggurat's tail.
func TestNormalsAreThoseOfRand(t *testing.T) {
	n, r := newNormals(rand.NewPCG(1, 2)), rand.New(rand.NewPCG(1, 2))
	for k := range 2000 {
		u := make([]float64, k%1001)
		squares, want := n.fill(u), 0.
		for i, z := range u {
			w := r.NormFloat64()
			if want += w * w; z != w {
				t.Fatalf("number %d of fill %d is %g, that of math/rand/v2 %g", i, k, z, w)
			}
		}
		if squares != want {
			t.Fatalf("fill %d: squares %g, want %g", k, squares, want)
		}
		if z, w := n.rand.Uint64(), r.Uint64(); z != w {
			t.Fatalf("after fill %d the generators differ", k)
		}
	}
}

func BenchmarkNormals(b *testing.B) {
	u := make([]float64, 784)
	b.Run("fill", func(b *testing.B) {
		n := newNormals(rand.NewPCG(1, 2))
		for b.Loop() {
			n.fill(u)
		}
	})
	b.Run("one by one", func(b *testing.B) {
		r := rand.New(rand.NewPCG(1, 2))
		for b.Loop() {
			for i := range u {
				u[i] = r.NormFloat64()
			}
		}
	})
}
