package smooth_test

import (
	"context"
	"fmt"

	"advlab/advlib"
	"advlab/advlib/smooth"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
)

// A threshold at 1/2, smoothed: an input at 0.9 is 0.4 away from it.
func ExampleGaussian_Certify() {
	threshold := advlib.MustClassifier(advlib.Spec{Name: "threshold", Input: []int{1}, Box: advlib.UnitBox, Classes: []string{"low", "high"},
		Logits: func(_ *model.Scope, x *Node) *Node {
			return Concatenate([]*Node{MulScalar(x, -1), AddScalar(x, -1)}, 1)
		}})
	e, err := advlib.NewExamples("one input", []float32{0.9}, []int{1}, []int32{1})
	if err != nil {
		fmt.Println(err)
		return
	}
	smoothed := smooth.Gaussian{Base: threshold, Sigma: 0.25, N: 10_000}
	report, err := smoothed.Certify(context.Background(), e)
	if err != nil {
		fmt.Println(err)
		return
	}
	c := report.Certificates[0]
	fmt.Printf("class %s for all |δ| < R, and 0.35 < R < 0.4: %v\n", threshold.ClassName(int(c.Class)), c.Radius > 0.35 && c.Radius < 0.4)
	// Output: class high for all |δ| < R, and 0.35 < R < 0.4: true
}
