package certify_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/layers/activation"

	"advlab/advlib"
	"advlab/advlib/certify"
)

// nested are boxes in boxes in [0, 1]^d, from the largest to a point.
func nested(r *rand.Rand, d, steps int) (lower, upper [][]float64) {
	lo, hi := make([]float64, d), slices.Repeat([]float64{1}, d)
	for k := range steps {
		lower, upper = append(lower, slices.Clone(lo)), append(upper, slices.Clone(hi))
		for j := range lo {
			a, b := lo[j]+r.Float64()*(hi[j]-lo[j]), lo[j]+r.Float64()*(hi[j]-lo[j])
			lo[j], hi[j] = float64(float32(min(a, b))), float64(float32(max(a, b)))
			if k == steps-2 {
				hi[j] = lo[j]
			}
		}
	}
	return lower, upper
}

// Of a smaller box bounds are never looser, and the worse half of a box never looser than the whole, where that is a
// theorem:
//
//   - IBP of affine maps, ReLUs, maximum pooling and residual paths, in real arithmetic and with rounding: an interval
//     of an operation holds those of all parts of its inputs, and errors grow with magnitudes;
//   - CROWN with one hidden layer and a line below ReLUs whose slope does not depend on the interval (zero, one): there
//     the lines of a smaller interval are tighter everywhere in it, and each counts with the fixed sign of one weight.
//
// It is no theorem for adaptive slopes, which jump with the interval, for several hidden layers, where a tighter line
// may turn the sign of what an earlier layer counts with, nor for functions that are bounded piece by piece, since
// pieces move with the interval. A proof by branch and bound does not need it: each half is bounded for itself.
func TestSmallerBoxesAreNotLooser(t *testing.T) {
	shallow := testModel{"one hidden layer", []int{5}, advlib.UnitBox,
		func(x *Node) *Node { return dense(activation.Relu(dense(x, 1, 24)), 2, 4) }}
	i := slices.IndexFunc(operationModels, func(m testModel) bool { return m.name == "max pool, overlapping" })
	for _, test := range []struct {
		m       testModel
		methods []certify.Method
	}{
		{shallow, []certify.Method{certify.IBP, certify.CROWNIBP.WithLine(certify.Zero), certify.CROWN.WithLine(certify.One)}},
		{testModels[0], []certify.Method{certify.IBP}},
		{testModels[3], []certify.Method{certify.IBP}},
		{operationModels[i], []certify.Method{certify.IBP}},
	} {
		net, err := certify.Of(test.m.classifier(t, backends(t)["Go Backend"]))
		if err != nil {
			t.Fatal(err)
		}
		rows := [][][]float64{append(certify.EachOutput(net.Outputs()), certify.MarginRows(0, net.Outputs())...)}
		r := rand.New(rand.NewPCG(8, 1))
		for range 4 {
			lower, upper := nested(r, net.Size(), 6)
			// And the halves of each but the point.
			n := len(lower)
			for k := range n - 1 {
				axis := r.IntN(net.Size())
				middle := float64(float32((lower[k][axis] + upper[k][axis]) / 2))
				low, high := slices.Clone(upper[k]), slices.Clone(lower[k])
				low[axis], high[axis] = middle, middle
				lower, upper = append(lower, lower[k], high), append(upper, low, upper[k])
			}
			for _, method := range test.methods {
				for _, method := range []certify.Method{method, method.In(certify.RealArithmetic)} {
					a, err := net.Bound(ctx, certify.Query{Regions: certify.Boxes(lower, upper), Rows: rows}, method)
					if err != nil {
						t.Fatal(err)
					}
					inside := func(small, large int) {
						for s, v := range a.Lower[small] {
							if w := a.Lower[large][s]; v < w-1e-12*(1+math.Abs(w)) {
								t.Errorf("%s, %v: row %d is at least %g in a box, and %g in a part of it", test.m.name, method, s, w, v)
							}
						}
					}
					for k := range n - 1 {
						inside(k+1, k)
						inside(n+2*k, k)
						inside(n+2*k+1, k)
					}
				}
			}
		}
	}
}

// The best line is at least as good as IBP: it is one of those it takes the best of.
func TestBestLineHoldsIBP(t *testing.T) {
	for _, m := range []testModel{testModels[0], testModels[3], testModels[6]} {
		c := m.classifier(t, backends(t)["Go Backend"])
		e := m.examples(t, c, 8)
		for _, norm := range norms {
			ball := norm.Ball(radii(norm)[1])
			loose, err := certify.Margins(ctx, c, e, ball, certify.IBP)
			if err != nil {
				t.Fatal(err)
			}
			for _, method := range []certify.Method{certify.CROWNIBP.WithBestLine(), certify.CROWN.WithIBP().WithBestLine()} {
				tight, err := certify.Margins(ctx, c, e, ball, method)
				if err != nil {
					t.Fatal(err)
				}
				for i := range tight {
					for k, v := range tight[i] {
						if v < loose[i][k] {
							t.Errorf("%s, %v: %v has %g for margin %d of example %d, IBP %g", m.name, ball, method, v, k, i, loose[i][k])
						}
					}
				}
			}
		}
	}
}

// A layer times 2^p and the next one times 2^−p is the same network: max(2^p·z, 0) = 2^p·max(z, 0). Scaling by powers
// of 2 rounds nothing, so that bounds are equal to the last bits of what is left of denormals.
func TestScaledLayers(t *testing.T) {
	scaled := func(p int) testModel {
		s := math.Ldexp(1, p)
		return testModel{"scaled", []int{5}, advlib.UnitBox, func(x *Node) *Node {
			times := func(v *Node, s float64) *Node { return MulScalar(v, s) }
			W, b := weights(x, 1, 0.5, 5, 9), weights(x, 2, 0.5, 1, 9)
			V, c := weights(x, 3, 0.5, 9, 8), weights(x, 4, 0.5, 1, 8)
			h := activation.Relu(Add(Dot(x, times(W, s)).Product(), times(b, s)))
			h = activation.Relu(Add(Dot(h, times(V, 1/s)).Product(), c))
			return Dot(h, weights(x, 5, 0.5, 8, 3)).Product()
		}}
	}
	one := scaled(0)
	c := one.classifier(t, backends(t)["Go Backend"])
	e := one.examples(t, c, 8)
	for _, p := range []int{10, -10, 40, -40} {
		other := scaled(p).classifier(t, backends(t)["Go Backend"])
		for _, norm := range norms {
			for _, method := range []certify.Method{certify.IBP, certify.CROWNIBP, certify.CROWN} {
				for _, method := range []certify.Method{method, method.In(certify.RealArithmetic)} {
					ball := norm.Ball(0.1)
					a, err := certify.Margins(ctx, c, e, ball, method)
					if err != nil {
						t.Fatal(err)
					}
					b, err := certify.Margins(ctx, other, e, ball, method)
					if err != nil {
						t.Fatal(err)
					}
					for i := range a {
						for k, v := range a[i] {
							if !(math.Abs(v-b[i][k]) <= 1e-12*(1+math.Abs(v))) {
								t.Errorf("2^%d, %v, %v: margin %d of example %d changes from %g to %g", p, ball, method, k, i, v, b[i][k])
							}
						}
					}
				}
			}
		}
	}
}
