package attacktest

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
)

// undefinedBelow is the lead of the largest logit below which the model of newUndefined is not a number.
const undefinedBelow = 0.1

// newUndefined returns the linear classifier with logits, and gradients, that are not a number near every boundary
// between two classes: a constant log(lead − 0.1)/1000 is added to all of them, which changes no prediction where there
// is one.
func newUndefined(l *Linear) (*advlib.Classifier, error) {
	return advlib.NewClassifier(advlib.Spec{
		Name: "undefined at boundaries", Store: l.Classifier.Store(), Input: l.Classifier.Input(),
		Box: l.Classifier.Box(), Backend: l.Classifier.Backend(),
		Logits: func(_ *model.Scope, x *graph.Node) *graph.Node {
			z := l.Classifier.LogitsGraph(x)
			first := graph.ReduceAndKeep(z, graph.ReduceMax, -1)
			rest := graph.Where(graph.Equal(z, graph.BroadcastToShape(first, z.Shape())), graph.AddScalar(graph.ZerosLike(z), -1e3), z)
			lead := graph.Sub(first, graph.ReduceAndKeep(rest, graph.ReduceMax, -1))
			undefined := graph.MulScalar(graph.Log(graph.AddScalar(lead, -undefinedBelow)), 1e-3)
			return graph.Add(z, graph.BroadcastToDims(undefined, z.Shape().Dimensions...))
		},
	})
}

// patience is how long an attack on a model that is not a number may take. It is far more than any needs.
var patience = 5 * time.Minute

// checkUndefined: a model that is not a number at some inputs gives an error that says so, or results that hold; it
// does not hang.
func checkUndefined(f *fixtures, s Subject) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	res, err := advlib.Run(ctx, s.on(f.undefined), f.undefinedExamples, s.attack(f.undefined, advlib.Untargeted))
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("on a model that is not a number it was not done after %v", patience)
	case err != nil && !strings.Contains(err.Error(), "NaN"):
		return fmt.Errorf("on a model that is not a number it returned an error that does not say so: %w", err)
	case err != nil:
		return nil
	}
	return consistent(f.undefined, res)
}

// newDot returns a classifier of two classes of images of one pixel, by whether it is brighter than a half, and
// examples.
func newDot(b compute.Backend) (*advlib.Classifier, *advlib.Examples, error) {
	c, err := advlib.NewClassifier(advlib.Spec{
		Name: "one pixel", Input: []int{1, 1, 1}, Box: advlib.UnitBox, Backend: b,
		Logits: func(_ *model.Scope, x *graph.Node) *graph.Node {
			z := graph.MulScalar(graph.AddScalar(graph.Reshape(x, -1, 1), -0.5), 4)
			return graph.Concatenate([]*graph.Node{graph.Neg(z), z}, 1)
		},
	})
	if err != nil {
		return nil, nil, err
	}
	e, err := advlib.NewExamples("one pixel", []float32{0.1, 0.45, 0.5625, 0.9, 1, 0}, []int{1, 1, 1}, []int32{0, 0, 1, 1, 1, 0})
	return c, e, err
}

// checkOnePixel: inputs of one coordinate and two classes are attacked without an error; an example that is one step
// from the boundary is broken by an attack that may change it, unless it changes pairs of coordinates only.
func checkOnePixel(f *fixtures, s Subject) error {
	res, err := advlib.Run(context.Background(), s.on(f.dot), f.dotExamples, s.attack(f.dot, advlib.Untargeted))
	if err != nil {
		return err
	}
	if !res.Success[1] && !s.Pairs {
		return fmt.Errorf("a pixel of 0.45 of a model whose boundary is 0.5 was not taken beyond it")
	}
	return consistent(f.dot, res)
}

// checkNothingToDo: examples that are misclassified already, or whose label is the target, are not attacked.
func checkNothingToDo(f *fixtures, s Subject) error {
	e := *f.linear[0].Examples
	own := make([]int, e.Len())
	wrong := make([]int32, e.Len())
	r := rand.New(rand.NewPCG(3, 3))
	for i, y := range e.Y {
		own[i] = int(y)
		wrong[i] = (y + 1 + int32(r.IntN(9))) % 10
	}
	c := f.linear[0].Classifier
	if !s.Untargeted {
		res, err := advlib.Run(context.Background(), s.on(c), &e, s.attack(c, advlib.TargetedEach(own)))
		if err != nil {
			return err
		}
		for i := range own {
			if res.Attempted[i] || res.Success[i] || !math.IsInf(res.Distance[i], 1) {
				return fmt.Errorf("example %d, whose label is the target: attempted %v, success %v, distance %g", i, res.Attempted[i],
					res.Success[i], res.Distance[i])
			}
		}
		if res.Stats.Forward != 0 {
			return fmt.Errorf("all labels are their targets, but %d passes were made", res.Stats.Forward)
		}
	}
	e.Y = wrong
	res, err := advlib.Run(context.Background(), s.on(c), &e, s.attack(c, advlib.Untargeted))
	if err != nil {
		return err
	}
	if res.Stats.Forward != 0 || res.Stats.Backward != 0 {
		return fmt.Errorf("all examples are misclassified as they are, but %d passes were made", res.Stats.Forward)
	}
	return consistent(c, res)
}
