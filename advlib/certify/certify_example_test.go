package certify_test

import (
	"context"
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/layers/activation"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/backend"
	"advlab/advlib/certify"
)

// exampleClassifier has one hidden layer with fixed weights.
func exampleClassifier() *advlib.Classifier {
	goBackend, err := backend.OpenNamed(backend.Go)
	if err != nil {
		panic(err)
	}
	return advlib.MustClassifier(advlib.Spec{
		Name: "corner", Input: []int{2}, Box: advlib.UnitBox, Backend: goBackend,
		Logits: func(_ *model.Scope, x *Node) *Node {
			W := ConstAsDType(x.Graph(), x.DType(), [][]float32{{1, -1, 1}, {1, 1, -1}})
			V := ConstAsDType(x.Graph(), x.DType(), [][]float32{{1, -1}, {-1, 1}, {0, 1}})
			h := activation.Relu(AddScalar(Dot(x, W).Product(), -0.25))
			return Dot(h, V).Product()
		},
	})
}

// Which of three inputs keep their class, whatever happens within 0.1 of each coordinate?
func Example() {
	clf := exampleClassifier()
	examples, err := advlib.NewExamples("points", []float32{0.9, 0.9, 0.15, 0.8, 0.3, 0.35}, []int{2}, []int32{0, 0, 0})
	if err != nil {
		panic(err)
	}
	ball := advlib.Linf.Ball(0.1)
	for _, method := range []certify.Method{certify.IBP, certify.CROWNIBP} {
		certified, err := method.Certify(context.Background(), clf, examples, ball)
		if err != nil {
			panic(err)
		}
		margins, err := certify.Margins(context.Background(), clf, examples, ball, method)
		if err != nil {
			panic(err)
		}
		fmt.Printf("%v: %v, margins above %.2f\n", method, certified, margins)
	}
	// Output:
	// IBP: [true false true], margins above [[2.70] [-0.20] [0.40]]
	// CROWN-IBP: [true true true], margins above [[2.70] [0.20] [0.40]]
}

// What a model consists of, and what has no rule yet.
func ExampleExplain() {
	ops, err := certify.Explain(exampleClassifier())
	if err != nil {
		panic(err)
	}
	for _, op := range ops {
		fmt.Println(op.Name, op.Shape, op.Supported())
	}
	// Output:
	// DotGeneral [3] true
	// Add [3] true
	// Max [3] true
	// DotGeneral [2] true
}
