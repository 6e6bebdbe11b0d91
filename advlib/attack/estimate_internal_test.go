package attack

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
	"advlab/advlib/oracle"
)

// inquireOn lets search ask a linear model of n coordinates in [0, 1] about one example, which is never adversarial.
// Every fourth coordinate is fixed, and others are at the ends of the box. It returns the model's weights.
func inquireOn(t *testing.T, n int, ball advlib.Ball, search func(q *craft.Inquiry)) []float64 {
	t.Helper()
	r := rand.New(rand.NewPCG(8, 8))
	w, x, domain := make([]float64, n), make([]float32, n), make(advlib.Domain, n)
	for i := range w {
		w[i], x[i] = r.NormFloat64(), []float32{0, 0.3, 1, 0.5}[i%4]
		domain[i] = advlib.Feature{Lo: 0, Hi: 1}
		if i%4 == 3 {
			domain[i].Change = advlib.Fixed
		}
	}
	v := oracle.Func("linear", advlib.Signature{Input: []int{n}, Domain: domain, Classes: 2, Returns: advlib.Logits},
		func(x []float32) []float32 {
			s := -1e3
			for i, v := range x {
				s += w[i] * float64(v)
			}
			return []float32{0, float32(s)}
		})
	b := advlib.Batch{X: tensors.FromFlatDataAndDimensions(x, 1, n), Y: []int32{0}}
	c := craft.Inquest{Ball: ball, Queries: math.MaxInt32, Loss: advlib.Margin}
	if _, err := craft.Inquire(context.Background(), advlib.Count(v), b, c, search); err != nil {
		t.Fatal(err)
	}
	return w
}

// On a linear loss the mean of the estimated slopes is the slope, inside the box and at its ends: within four standard
// errors of the mean of 4000 estimates. Of a fixed coordinate it is 0.
func TestEstimatesAreUnbiased(t *testing.T) {
	const n, estimates, pairs = 16, 4000, 4
	for name, draw := range map[string]func(r *rand.Rand) float64{"NES": normal, "SPSA": rademacher} {
		sum, squares := make([]float64, n), make([]float64, n)
		w := inquireOn(t, n, advlib.Linf.Ball(1), func(q *craft.Inquiry) {
			e := &estimator{σ: 0.4, most: 0.4, draw: draw} // so far that the box cuts off much of the draws
			for range estimates {
				for i, g := range e.gradient(q, q.X, pairs) {
					sum[i] += g
					squares[i] += g * g
				}
			}
		})
		for i := range w {
			mean := sum[i] / estimates
			if i%4 == 3 {
				if mean != 0 {
					t.Errorf("%s: the slope of the fixed coordinate %d is %g", name, i, mean)
				}
				continue
			}
			deviation := math.Sqrt((squares[i]/estimates - mean*mean) / estimates)
			if off := math.Abs(mean - w[i]); off > 4*deviation || deviation > 0.2 {
				t.Errorf("%s: coordinate %d: the mean estimate is %.4f ± %.4f, the slope %.4f", name, i, mean, deviation, w[i])
			}
		}
	}
}

// Where all scores are equal the estimator looks farther away, up to its most.
func TestEstimatesLookFarther(t *testing.T) {
	inquireOn(t, 4, advlib.Linf.Ball(1), func(q *craft.Inquiry) {
		e := &estimator{σ: 1e-9, most: 0.1, draw: normal} // below the resolution of float32 beside 1000
		for range 40 {
			e.gradient(q, q.X, 1)
		}
		if !(e.σ > 1e-6 && e.σ <= 0.1) {
			t.Errorf("σ is %g after 40 estimates of which the first have equal scores", e.σ)
		}
	})
}

// The projection is inside ball and limits, and no nearer point is: moving from it towards δ a little, coordinate by
// coordinate pair, gains nothing. In L2 without active limits it is δ·ε/‖δ‖.
func TestProjectOnHost(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for _, n := range []advlib.Norm{advlib.L1, advlib.L2, advlib.Linf} {
		for range 50 {
			const d = 12
			δ, p, lo, hi := make([]float64, d), make([]float64, d), make([]float64, d), make([]float64, d)
			for i := range δ {
				δ[i], lo[i], hi[i] = 3*r.NormFloat64(), -r.Float64(), r.Float64()
			}
			copy(p, δ)
			b := n.Ball(0.2 + 2*r.Float64())
			project(b, p, lo, hi)
			square := func(p []float64) float64 {
				s := 0.
				for i := range p {
					s += (p[i] - δ[i]) * (p[i] - δ[i])
				}
				return s
			}
			if l := n.Length(p); l > b.Radius*(1+1e-9) {
				t.Fatalf("%v: the length is %g", b, l)
			}
			for i := range p {
				if p[i] < lo[i] || p[i] > hi[i] {
					t.Fatalf("%v: coordinate %d is %g, its limits %g and %g", b, i, p[i], lo[i], hi[i])
				}
			}
			for range 200 { // points of the same set, near the projection: none is nearer to δ
				y := make([]float64, d)
				for i := range y {
					y[i] = min(max(p[i]+0.05*r.NormFloat64(), lo[i]), hi[i])
				}
				if n.Length(y) <= b.Radius && square(y) < square(p)-1e-6 {
					t.Fatalf("%v: %v is nearer to %v than %v", b, y, δ, p)
				}
			}
		}
	}
}

// The waves of the cosine transform are orthonormal, in a plane that is no square, of each channel by itself.
func TestWavesAreOrthonormal(t *testing.T) {
	const h, w, c = 5, 7, 2
	p := raster{h: h, w: w, c: c, lower: make([]float32, h*w*c), upper: make([]float32, h*w*c)}
	for i := range p.upper {
		p.lower[i], p.upper[i] = -1, 1
	}
	basis := newWaves(p, true)
	if len(basis.all) != h*w*c {
		t.Fatalf("%d waves of %d values", len(basis.all), h*w*c)
	}
	var vectors [][]float32
	for _, d := range basis.all {
		x := make([]float32, h*w*c)
		basis.add(x, d, 1)
		vectors = append(vectors, x)
	}
	for i, a := range vectors {
		for j, b := range vectors {
			dot, want := 0., 0.
			for k := range a {
				dot += float64(a[k]) * float64(b[k])
			}
			if i == j {
				want = 1
			}
			if math.Abs(dot-want) > 1e-6 {
				t.Fatalf("the product of the waves %v and %v is %g", basis.all[i], basis.all[j], dot)
			}
		}
	}
	if first := basis.order(rand.New(rand.NewPCG(1, 1)), 0.2)[:c]; first[0].u+first[0].v+first[1].u+first[1].v != 0 {
		t.Errorf("the first waves are %v, not the constant ones", first)
	}
}

// A direction has numbers where coordinates may change, each its own, and is as long as it says.
func TestSphereLeavesFixedCoordinates(t *testing.T) {
	const n = 64 // every fourth is fixed
	inquireOn(t, n, advlib.Linf.Ball(1), func(q *craft.Inquiry) {
		d := newDecisions(q, advlib.L2)
		u := make([]float64, n)
		for range 10 {
			seen := map[float64]bool{}
			for name, draw := range map[string]func([]float64) float64{"sphere": d.sphere, "cube": d.cube} {
				if l := draw(u); math.Abs(l-advlib.L2.Length(u)) > 1e-12 {
					t.Errorf("%s: length %g, said to be %g", name, advlib.L2.Length(u), l)
				}
				for j, z := range u {
					if fixed := j%4 == 3; fixed != (z == 0) || !fixed && seen[z] {
						t.Errorf("%s: coordinate %d is %g (fixed %t)", name, j, z, fixed)
					}
					seen[z] = true
				}
			}
		}
	})
}
