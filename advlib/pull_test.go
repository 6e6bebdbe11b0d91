package advlib

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// The floats between 10⁻⁹ and 0 are many: a point there is pulled at once.
func TestPullNearZero(t *testing.T) {
	for _, v := range []float32{1e-9, -1e-9, 3e-30, 0} {
		adv, x := []float32{v}, []float32{0.100000024}
		if Linf.Ball(0.1).Pull(adv, x) {
			t.Fatalf("%g counts as too far", v)
		}
		if d := Linf.Distance(adv, x); d > 0.1 || d < 0.1-1e-8 {
			t.Errorf("%g was pulled to %g, at distance %.17g", v, adv[0], d)
		}
	}
}

// A point that rounding has left outside of the ball must end inside, and as good as where it was: giving it up would
// turn an adversarial example at the rim into a failure.
func TestPull(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []ConvexNorm{L1, L2, Linf} {
		for _, d := range []int{1, 16, 784} {
			for range 300 {
				radius := 0.3 * r.Float64()
				x, δ := make([]float32, d), make([]float32, d)
				n.Sample(r, δ)
				for i := range x {
					x[i] = float32(r.IntN(2))
				}
				length := n.Distance(δ, make([]float32, d))
				adv := make([]float32, d)
				for i := range adv {
					adv[i] = float32(float64(x[i]) + radius*(1+1e-7)*float64(δ[i])/length)
				}
				before := slices.Clone(adv)
				if n.Ball(radius).Pull(adv, x) {
					t.Fatalf("%v, %d coordinates: radius %g: a point at %g counts as too far", n, d, radius, n.Distance(before, x))
				}
				if at := n.Distance(adv, x); at > radius {
					t.Fatalf("%v, %d coordinates: radius %g: left at %g", n, d, radius, at)
				}
				if moved := n.Distance(adv, before); moved > 1e-5*radius+1e-6*float64(d) {
					t.Fatalf("%v, %d coordinates: radius %g: moved by %g", n, d, radius, moved)
				}
			}
		}
	}
}

// Of large numbers, as in tables, rounding moves points by more: a row of areas around 1000 is no mistake of the
// attack.
func TestPullLargeNumbers(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, n := range []ConvexNorm{L1, L2, Linf} {
		for range 300 {
			x, adv := make([]float32, 30), make([]float32, 30)
			n.Sample(r, adv)
			for i := range x {
				x[i] = 4000 * r.Float32()
				adv[i] = x[i] + 0.01*adv[i]
			}
			if n.Ball(0.01).Pull(adv, x) {
				t.Fatalf("%v: a point at %g counts as too far", n, n.Distance(adv, x))
			}
			if at := n.Distance(adv, x); at > 0.01 {
				t.Fatalf("%v: left at %g", n, at)
			}
			adv[0] += 1
			if !n.Ball(0.01).Pull(adv, x) {
				t.Fatalf("%v: a point that is farther out by 1 counts as rounding", n)
			}
		}
	}
}
