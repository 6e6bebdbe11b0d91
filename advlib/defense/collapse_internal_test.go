package defense

import (
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
)

// A model with one answer to all is refused, one with two is not: MNIST's small network trained at Linf 0.2 without a
// warm-up was such a constant, and every attack left it all of its accuracy.
func TestConstantModelIsRefused(t *testing.T) {
	e, err := advlib.NewExamples("two", []float32{0.1, 0.9, 0.8, 0.2}, []int{2}, []int32{0, 1})
	if err != nil {
		t.Fatal(err)
	}
	for slope, want := range map[float64]bool{0: false, 1: true} {
		c := advlib.MustClassifier(advlib.Spec{Name: "linear", Input: []int{2}, Box: advlib.UnitBox, Logits: func(_ *model.Scope, x *Node) *Node {
			return Sub(MulScalar(x, slope), Const(x.Graph(), [][]float32{{0, 0.01}}))
		}})
		err := checkLearned(c, e)
		if (err == nil) != want {
			t.Errorf("slope %g: error %v", slope, err)
		}
		if err != nil && !strings.Contains(err.Error(), "answers 0 to all of 2 examples") {
			t.Errorf("the error %v does not say what the model answers", err)
		}
	}
}
