package certify_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/layers/activation"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/certify"
)

func TestBadInput(t *testing.T) {
	m := testModels[0]
	c := m.classifier(t, nil)
	e := m.examples(t, c, 2)
	linf := advlib.Linf.Ball(0.1)
	outside := m.examples(t, c, 2)
	tensors.MustMutableFlatData(outside.X, func(x []float32) { x[3] = 1.5 })
	nan := m.examples(t, c, 2)
	tensors.MustMutableFlatData(nan.X, func(x []float32) { x[7] = float32(math.NaN()) })
	label := m.examples(t, c, 2)
	label.Y[1] = 9
	tests := []struct {
		name string
		c    *advlib.Classifier
		e    *advlib.Examples
		ball advlib.Ball
		want string
	}{
		{"no classifier", nil, e, linf, "the classifier is nil"},
		{"no examples", c, nil, linf, "no examples"},
		{"no ball", c, e, advlib.Ball{}, "the ball is unset"},
		{"negative radius", c, e, advlib.L2.Ball(-1), "ε = -1"},
		{"NaN radius", c, e, advlib.L2.Ball(math.NaN()), "NaN"},
		{"L0", c, e, advlib.L0.Ball(3), "no bounds over L0 balls"},
		{"outside of the box", c, outside, linf, "1.5 at position 3"},
		{"NaN", c, nan, linf, "example 1 is NaN at position 2"},
		{"label", c, label, linf, "label 9 of example 1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, method := range methods[:2] {
				_, err := method.Certify(ctx, test.c, test.e, test.ball)
				if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "certify: "+method.String()) {
					t.Errorf("error %v, want one of %v with %q", err, method, test.want)
				}
				if _, _, err := certify.Bounds(ctx, test.c, test.e, test.ball, method); test.name != "label" && err == nil {
					t.Error("Bounds returned no error")
				}
			}
		})
	}
	if _, err := certify.Explain(nil); err == nil {
		t.Error("Explain(nil) returned no error")
	}
}

// A weight that is NaN, infinite, or so large that bounds overflow never certifies anything, in a hidden layer whose
// units are off at the given inputs or on.
func TestWeightsThatAreNotFinite(t *testing.T) {
	for backendName, b := range backends(t) {
		for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), 3e38, -3e38} {
			for _, layer := range []string{"W", "V"} {
				t.Run(fmt.Sprintf("%s/%s=%g", backendName, layer, bad), func(t *testing.T) {
					store := model.NewStore()
					for name, flat := range map[string][]float32{"W": {1, 0, 0, 1, 2, -3}, "V": {1, -1, 0.5, 0, 0, 0.25}} {
						dims := []int{2, 3}
						if name == "V" {
							dims = []int{3, 2}
						}
						if _, err := store.CreateVariable("/"+name, tensors.FromFlatDataAndDimensions(flat, dims...)); err != nil {
							t.Fatal(err)
						}
					}
					c, err := advlib.NewClassifier(advlib.Spec{Name: "bad", Input: []int{2}, Box: advlib.UnitBox, Store: store, Backend: b,
						Logits: func(scope *model.Scope, x *Node) *Node {
							h := activation.Relu(Dot(x, scope.GetVariable("W").NodeValue(x)).Product())
							h = activation.Relu(AddScalar(h, -0.5)) // several layers, in which a NaN could be lost
							h = MinScalar(h, 2)
							return Dot(activation.Relu(h), scope.GetVariable("V").NodeValue(x)).Product()
						}})
					if err != nil {
						t.Fatal(err)
					}
					for i := range 6 { // every position
						dims := map[string][]int{"W": {2, 3}, "V": {3, 2}}[layer]
						flat := map[string][]float32{"W": {1, 0, 0, 1, 2, -3}, "V": {1, -1, 0.5, 0, 0, 0.25}}[layer]
						flat[i] = bad
						if err := store.GetVariable("/" + layer).SetValue(tensors.FromFlatDataAndDimensions(flat, dims...)); err != nil {
							t.Fatal(err)
						}
						e, err := advlib.NewExamples("points", []float32{0, 0, 1, 0, 0.5, 1, 1, 1}, []int{2}, []int32{0, 1, 0, 1})
						if err != nil {
							t.Fatal(err)
						}
						for _, norm := range norms {
							for _, method := range methods {
								// The ball holds the box, so that the bad weight matters at some point of it.
								margins, err := certify.Margins(ctx, c, e, norm.Ball(4), method)
								if err != nil {
									t.Fatal(err)
								}
								for row, m := range margins {
									if m[0] > 0 || m[0] != m[0] {
										t.Errorf("position %d: %v, %v: example %d has margin %g", i, norm, method, row, m[0])
									}
								}
							}
						}
					}
				})
			}
		}
	}
}

func TestCancelled(t *testing.T) {
	m := testModels[0]
	c := m.classifier(t, nil)
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := certify.IBP.Certify(cancelled, c, m.examples(t, c, 2), advlib.Linf.Ball(0.1)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}
