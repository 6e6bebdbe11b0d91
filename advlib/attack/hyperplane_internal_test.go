package attack

import (
	"math"
	"math/rand/v2"
	"testing"

	. "advlab/advlib/internal/equation"

	"advlab/advlib"
	"advlab/advlib/backend"

	"github.com/gomlx/gomlx/core/graph"
)

// The projection on a hyperplane inside a box: it stays in the box, reaches the hyperplane where the box does, to its
// corner where it does not, and no random point of the box that reaches the hyperplane is nearer.
func TestToHyperplane(t *testing.T) {
	const rows, d, points = 64, 6, 4000
	const tolerance = 1e-4
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	f, w, lo, hi := make([]float32, rows), make([][]float32, rows), make([][]float32, rows), make([][]float32, rows)
	for i := range rows {
		f[i] = float32(2 * r.NormFloat64())
		scale := math.Pow(10, float64(i%9)*5-20) // gradients of any size
		f[i] *= float32(scale)
		for range d {
			x := r.Float32()
			if i%2 == 1 {
				x = float32(r.IntN(2)) // at the ends of the box
			}
			w[i], lo[i], hi[i] = append(w[i], float32(scale*r.NormFloat64())), append(lo[i], -x), append(hi[i], 1-x)
		}
	}
	w[7] = make([]float32, d) // no way to the hyperplane
	f[8] = 0                  // on it
	for _, norm := range []advlib.ConvexNorm{advlib.L1, advlib.L2, advlib.Linf} {
		out, err := graph.CallOnce(b, func(f, w, lo, hi *Node) *Node { return toHyperplane(norm, f, w, lo, hi) }, f, w, lo, hi)
		if err != nil {
			t.Fatal(err)
		}
		δs := out.Value().([][]float32)
		infeasible := 0
		for i, δ := range δs {
			value, most, size := float64(f[i]), 0., 0.
			for j, v := range δ {
				if v < lo[i][j] || v > hi[i][j] || v != v {
					t.Fatalf("%v, row %d: %g is outside of [%g, %g]", norm, i, v, lo[i][j], hi[i][j])
				}
				value += float64(w[i][j]) * float64(v)
				size = max(size, math.Abs(float64(w[i][j])))
				most += math.Abs(float64(w[i][j])) * reach(-float64(f[i])*float64(w[i][j]), lo[i][j], hi[i][j])
			}
			if most < math.Abs(float64(f[i])) {
				infeasible++
				if size > 0 && math.Abs(math.Abs(value)-(math.Abs(float64(f[i]))-most)) > tolerance*size {
					t.Errorf("%v, row %d: the box does not reach the hyperplane, but %g remains instead of %g", norm, i, value,
						math.Abs(float64(f[i]))-most)
				}
				continue
			}
			if math.Abs(value) > tolerance*size {
				t.Errorf("%v, row %d: %g remains to the hyperplane, the largest weight being %g", norm, i, value, size)
			}
			origin := make([]float32, d)
			D := norm.Distance(δ, origin)
			for range points {
				p := make([]float32, d)
				at := float64(f[i])
				for j := range p {
					p[j] = min(max(δ[j]+float32(0.1*r.NormFloat64()), lo[i][j]), hi[i][j])
					at += float64(w[i][j]) * float64(p[j])
				}
				if at*float64(f[i]) <= 0 && norm.Distance(p, origin) < D-tolerance {
					t.Fatalf("%v, row %d: %v at %g reaches the hyperplane, nearer than %v at %g", norm, i, p, norm.Distance(p, origin), δ, D)
				}
			}
		}
		if infeasible == 0 || infeasible > rows/2 {
			t.Errorf("%d of %d rows have a hyperplane out of reach: that tests little", infeasible, rows)
		}
	}
}

// reach is how far a coordinate may go in the direction of a number's sign.
func reach(direction float64, lo, hi float32) float64 {
	if direction < 0 {
		return -float64(lo)
	}
	return float64(hi)
}
