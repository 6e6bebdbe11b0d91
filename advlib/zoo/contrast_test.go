package zoo_test

import (
	"math"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/dataset"
	"advlab/advlib/zoo"
)

// Behind the normalisation a picture in half the light is answered as the picture.
func TestContrastNormalised(t *testing.T) {
	train, test := dataset.Digits()
	m := zoo.ContrastNormalised(zoo.MLP(20))
	m.Epochs = 2
	c := m.MustFit(t.Context(), train)
	test = test.First(50)
	x := tensors.MustCopyFlatData[float32](test.X)
	for i := range x {
		x[i] = 0.5*x[i] + 0.3
	}
	dim, err := advlib.NewExamples("dim", x, test.Shape(), test.Y)
	if err != nil {
		t.Fatal(err)
	}
	want, err := c.Logits(test.X)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Logits(dim.X)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		for k, z := range want[i] {
			if math.Abs(float64(z-got[i][k])) > 0.05 { // the variance's constant weighs more in less light
				t.Fatalf("example %d, class %d: %g, in other light %g", i, k, z, got[i][k])
			}
		}
	}
}
