package attack_test

import (
	"testing"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
)

// inBytes returns the classifier and its examples with pixels in [0, 255] instead of [0, 1].
func inBytes(t *testing.T, c *advlib.Classifier, e *advlib.Examples) (*advlib.Classifier, *advlib.Examples) {
	t.Helper()
	scaled, err := advlib.NewClassifier(advlib.Spec{
		Name: c.Name() + " in bytes", Store: c.Store(), Input: c.Input(), Box: advlib.Box{Lo: 0, Hi: 255}, Backend: c.Backend(),
		Logits: func(_ *model.Scope, x *graph.Node) *graph.Node { return c.LogitsGraph(graph.DivScalar(x, 255)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	x := tensors.MustCopyFlatData[float32](e.X)
	for i := range x {
		x[i] *= 255
	}
	big, err := advlib.NewExamples(e.Name, x, e.Shape(), e.Y)
	if err != nil {
		t.Fatal(err)
	}
	return scaled, big
}
