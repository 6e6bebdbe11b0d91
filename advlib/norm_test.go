package advlib_test

import (
	"math"
	"math/rand/v2"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/backend"
)

var convex = []advlib.ConvexNorm{advlib.L1, advlib.L2, advlib.Linf}

// run executes a graph function once on tensors.
func run(t testing.TB, f func(in []*Node) *Node, in ...any) []float32 {
	t.Helper()
	b, err := backend.Open()
	if err != nil {
		t.Fatal(err)
	}
	out, err := ExecOnce(b, f, in...)
	if err != nil {
		t.Fatal(err)
	}
	return tensors.MustCopyFlatData[float32](out)
}

const rows, dim = 64, 12

// problem is rows of random δ with room lo ≤ 0 ≤ hi around a random point of the box, some coordinates at its ends.
func problem(r *rand.Rand) (δ, lo, hi []float32) {
	δ, lo, hi = make([]float32, rows*dim), make([]float32, rows*dim), make([]float32, rows*dim)
	for i := range δ {
		x := float32(r.Float64())
		if r.IntN(3) == 0 {
			x = float32(r.IntN(2))
		}
		lo[i], hi[i] = -x, 1-x
		δ[i] = float32(r.NormFloat64() * math.Pow(10, -3+4*float64(i/dim)/rows))
	}
	return δ, lo, hi
}

func matrix(v []float32) *tensors.Tensor { return tensors.FromFlatDataAndDimensions(v, rows, dim) }

// TestProjectIsTheNearestPoint checks p = Π(z) against its characterisation: p is in the set, and ⟨z−p, q−p⟩ ≤ 0 for
// every q of it.
func TestProjectIsTheNearestPoint(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range convex {
		for _, radius := range []float64{0, 1e-3, 0.1, 0.7, 3, 100} {
			z, lo, hi := problem(r)
			project := func(in []*Node) *Node { return n.Project(in[0], in[1], in[2], in[3]) }
			p := run(t, project, matrix(z), float32(radius), matrix(lo), matrix(hi))
			again := run(t, project, matrix(p), float32(radius), matrix(lo), matrix(hi))
			zero := make([]float32, dim)
			for i := range rows {
				at := func(v []float32) []float32 { return v[i*dim : (i+1)*dim] }
				if d := n.Distance(at(p), zero); d > radius*(1+2e-6)+1e-7 {
					t.Errorf("%v ≤ %g row %d: norm %g of the projection is outside of the ball", n, radius, i, d)
				}
				for j, v := range at(p) {
					if v < at(lo)[j] || v > at(hi)[j] {
						t.Errorf("%v ≤ %g row %d: coordinate %d = %g is outside of [%g, %g]", n, radius, i, j, v, at(lo)[j], at(hi)[j])
					}
				}
				if d := advlib.Linf.Distance(at(p), at(again)); d > 1e-6*(1+radius) {
					t.Errorf("%v ≤ %g row %d: projecting twice moves a coordinate by %g", n, radius, i, d)
				}
				for range 200 {
					q := make([]float32, dim)
					n.Sample(r, q)
					var inner, zp, qp float64
					for j := range q {
						// Inside the box, the sampled point only gets shorter.
						qj := min(max(float64(q[j])*radius, float64(at(lo)[j])), float64(at(hi)[j]))
						a, b := float64(at(z)[j])-float64(at(p)[j]), qj-float64(at(p)[j])
						inner += a * b
						zp += a * a
						qp += b * b
					}
					if inner > 1e-5*math.Sqrt(zp*qp)+1e-6*math.Sqrt(zp) {
						t.Fatalf("%v ≤ %g row %d: ⟨z−p, q−p⟩ = %g > 0 for a point q of the set: p is not the nearest", n, radius, i, inner)
					}
				}
			}
		}
	}
}

func TestProjectLeavesInsideAlone(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, n := range convex {
		_, lo, hi := problem(r)
		z := make([]float32, rows*dim)
		for i := range rows {
			n.Sample(r, z[i*dim:(i+1)*dim])
		}
		for i := range z {
			z[i] = min(max(z[i]*0.49, lo[i]), hi[i])
		}
		p := run(t, func(in []*Node) *Node { return n.Project(in[0], in[1], in[2], in[3]) }, matrix(z), float32(0.5), matrix(lo), matrix(hi))
		for i := range z {
			if p[i] != z[i] {
				t.Fatalf("%v: a point inside moved from %g to %g", n, z[i], p[i])
			}
		}
	}
}

// TestAscendAttainsTheDualNorm: ‖d‖ = 1 and ⟨d, g⟩ = ‖g‖_*, which no other direction exceeds (Hölder).
func TestAscendAttainsTheDualNorm(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	zero := make([]float32, dim)
	for _, n := range convex {
		g, _, _ := problem(r)
		copy(g[:dim], zero) // a row of zeros stays zero
		for j := range dim {
			g[dim+j] = float32(1 - 2*(j%2)) // a row of ties
			g[2*dim+j] *= 1e-30             // squares underflow
		}
		d := run(t, func(in []*Node) *Node { return n.Ascend(in[0]) }, matrix(g))
		for i := range rows {
			di, gi := d[i*dim:(i+1)*dim], g[i*dim:(i+1)*dim]
			var inner float64
			for j := range di {
				inner += float64(di[j]) * float64(gi[j])
			}
			length, dual := n.Distance(di, zero), n.Dual().Distance(gi, zero)
			want := 1.
			if dual == 0 {
				want = 0
			}
			if math.Abs(length-want) > 1e-5 {
				t.Errorf("%v row %d: the direction has norm %g, want %g", n, i, length, want)
			}
			if math.Abs(inner-dual) > 1e-5*dual {
				t.Errorf("%v row %d: ⟨d, g⟩ = %g, want the dual norm %g", n, i, inner, dual)
			}
		}
	}
}

func TestOfAgreesWithDistance(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	zero := make([]float32, dim)
	for _, n := range append([]advlib.Norm{advlib.L0}, advlib.L1, advlib.L2, advlib.Linf) {
		v, _, _ := problem(r)
		v[0], v[1] = 0, 0
		got := run(t, func(in []*Node) *Node { return n.Of(in[0]) }, matrix(v))
		for i := range rows {
			want := n.Distance(v[i*dim:(i+1)*dim], zero)
			if math.Abs(float64(got[i])-want) > 1e-5*want {
				t.Errorf("%v row %d: in the graph %g, on the host %g", n, i, got[i], want)
			}
		}
	}
}

// TestSampleIsUniformInTheBall: the share within radius ρ of a uniform point of a d-dimensional ball is ρᵈ.
func TestSampleIsUniformInTheBall(t *testing.T) {
	const d, draws = 5, 20000
	zero := make([]float32, d)
	for _, n := range convex {
		r := rand.New(rand.NewPCG(9, 10))
		within := map[float64]int{0.6: 0, 0.8: 0, 0.95: 0}
		sign := 0.
		for range draws {
			δ := make([]float32, d)
			n.Sample(r, δ)
			length := n.Distance(δ, zero)
			if length > 1+1e-6 {
				t.Fatalf("%v: sampled a point of norm %g", n, length)
			}
			sign += math.Copysign(1, float64(δ[2]))
			for ρ := range within {
				if length <= ρ {
					within[ρ]++
				}
			}
		}
		for ρ, k := range within {
			p := math.Pow(ρ, d)
			if got, slack := float64(k)/draws, 5*math.Sqrt(p*(1-p)/draws); math.Abs(got-p) > slack {
				t.Errorf("%v: a share of %.4f lies within %g, want %.4f ± %.4f", n, got, ρ, p, slack)
			}
		}
		if math.Abs(sign)/draws > 5/math.Sqrt(draws) {
			t.Errorf("%v: mean sign %g of a coordinate, want 0", n, sign/draws)
		}
	}
}
