package show

import (
	"testing"

	"advlab/advlib"

	"github.com/gomlx/gomlx/core/tensors"
)

// Eight digits of 28 × 28, as SVG and as PNG.
func BenchmarkGrid(b *testing.B) {
	const n, size = 8, 28
	x := make([]float32, n*size*size)
	for i := range x {
		x[i] = float32(i%251) / 250
	}
	e, err := advlib.NewExamples("bench", x, []int{size, size, 1}, make([]int32, n))
	if err != nil {
		b.Fatal(err)
	}
	res := &advlib.Result{
		Attack: "none", Threat: advlib.Threat{Norm: advlib.Linf, Radius: 0.1}, Box: advlib.UnitBox, Examples: e,
		Adversarial: tensors.FromFlatDataAndDimensions(x, n, size, size, 1), Attempted: make([]bool, n), Success: make([]bool, n),
		Distance: make([]float64, n), Clean: make([]advlib.Prediction, n), Final: make([]advlib.Prediction, n),
	}
	for i := range n {
		res.Attempted[i] = true
	}
	for b.Loop() {
		if _, err := Grid(res, n); err != nil {
			b.Fatal(err)
		}
	}
}

// A curve of 200 examples in two norms, as SVG and as PNG.
func BenchmarkCurve(b *testing.B) {
	r := madeReport("mlp", 200, 0.03, pixelRadii...)
	for b.Loop() {
		if _, err := Curve(r); err != nil {
			b.Fatal(err)
		}
	}
}
