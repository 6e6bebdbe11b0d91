package certify_test

import (
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib/backend"
	"advlab/advlib/certify"
)

// A product of many sums has more terms than an integer counts: of 64 factors, each a sum of some 20 products, 20⁶⁴.
// Their number once ran over to a negative one, and with it the error that other orders of the products may have:
// bounds were moved inwards.
func TestProductsOfManyFactors(t *testing.T) {
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	kernel := [][][]float32{{{0.5}}, {{1}}, {{-0.25}}, {{0.75}}}
	for _, d := range []int{8, 10, 12, 14, 16, 20, 24, 32, 64} {
		net, err := certify.New(certify.Source{Name: "factors", Store: model.NewStore(), Input: []int{d}, Backend: b,
			Graph: func(_ *model.Scope, x *Node) *Node {
				k := ConstAsDType(x.Graph(), x.DType(), kernel)
				x = AddScalar(Convolve(Reshape(x, -1, d, 1), k).PadSame().Done(), 0.5)
				x = AddScalar(Convolve(x, k).PadSame().Done(), 0.5)
				for n := d; n > 1; {
					half := n / 2
					y := Mul(SliceAxis(x, 1, AxisRange(0, half)), SliceAxis(x, 1, AxisRange(half, 2*half)))
					if n%2 == 1 {
						y = Concatenate([]*Node{y, SliceAxis(x, 1, AxisRange(n-1, n))}, 1)
					}
					x, n = y, n-half
				}
				return Reshape(x, -1, 1)
			}})
		if err != nil {
			t.Fatal(err)
		}
		x := make([]float64, d)
		for i := range x {
			x[i] = []float64{-0.25, 0.625, -0.875, 0.5, 0.75}[i%5]
		}
		want := productOfSums(x, kernel)
		for _, method := range []certify.Method{certify.IBP, certify.CROWN} {
			a, err := net.Bound(ctx, certify.Query{Regions: certify.Boxes([][]float64{x}, [][]float64{x}),
				Rows: [][][]float64{certify.EachOutput(1)}}, method)
			if err != nil {
				t.Fatal(err)
			}
			if lower, upper := a.Lower[0][0], -a.Lower[0][1]; !(lower <= want && want <= upper) {
				t.Errorf("%v, %d factors: %g is outside of [%g, %g]", method, d, want, lower, upper)
			}
		}
	}
}

// productOfSums is what the graph above computes, in float64: two convolutions of the same size, each with 0.5 added,
// and the product of all.
func productOfSums(x []float64, kernel [][][]float32) float64 {
	convolve := func(x []float64) []float64 {
		y := make([]float64, len(x))
		for i := range y {
			y[i] = 0.5
			for k := range kernel { // of four elements, one stands before and two behind
				if j := i + k - 1; j >= 0 && j < len(x) {
					y[i] += float64(kernel[k][0][0]) * x[j]
				}
			}
		}
		return y
	}
	product := 1.
	for _, v := range convolve(convolve(x)) {
		product *= v
	}
	return product
}
