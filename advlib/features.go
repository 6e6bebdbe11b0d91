package advlib

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib/internal/hidden"
)

// FeatureDistances returns how far inputs y [n, d...] are from x in what a classifier makes of them, for each row
//
//	‖φ(y) − φ(x)‖₂ / ‖φ(x)‖₂
//
// where the features φ are the activations of the penultimate layer: what enters the last dense or convolutional layer
// before the logits. At 0 the classifier cannot tell the two apart, at 1 the features moved as far as they are long. It
// is not a number where all features of x are 0, or one is not finite.
//
// It returns nil where there are no features to look at: of a victim that only answers, of a linear model, and of one
// that draws random numbers.
func FeatureDistances(ctx context.Context, v Victim, x, y *tensors.Tensor) ([]float64, error) {
	c, err := WhiteBox(v)
	if err != nil || c.Random() {
		return nil, nil
	}
	if n := x.Shape(); n.Rank() == 0 || !slices.Equal(n.Dimensions[1:], c.Input()) || !y.Shape().Equal(n) {
		return nil, fmt.Errorf("advlib: inputs of shapes %v and %v cannot be compared by the features of %s: give as many of the ones as of the "+
			"others, of shape %v each", x.Shape().Dimensions, y.Shape().Dimensions, c.Name(), c.Input())
	}
	d, err := c.featureDistances(ctx, x, y)
	if err != nil {
		return nil, fmt.Errorf("advlib: the features of %s: %w", c.Name(), err)
	}
	return d, nil
}

type (
	hasFeaturesKey struct{}
	featuresKey    struct{}
)

// hasFeatures tells whether the model has a penultimate layer with a row for each input.
func (c *Classifier) hasFeatures() (bool, error) {
	has, err := c.Memo(hasFeaturesKey{}, func() (any, error) {
		has := false
		err := c.Trace(func(g *graph.Graph) {
			x := graph.Parameter(g, "x", shapeOf(float32Type, append([]int{Bucket(1)}, c.Input()...)...))
			layers := hidden.Layers(c.LogitsGraph(x), x)
			has = len(layers) > 0 && layers[len(layers)-1].Values.Shape().Dimensions[0] == Bucket(1)
		})
		return has, err
	})
	return err == nil && has.(bool), err
}

// featureDistances is [FeatureDistances] of a classifier. It counts for nobody: it is a measurement.
func (c *Classifier) featureDistances(ctx context.Context, x, y *tensors.Tensor) ([]float64, error) {
	if has, err := c.hasFeatures(); !has {
		return nil, err
	}
	step := Count(c).Compile(featuresKey{}, func(m *Model, in []*graph.Node) []*graph.Node {
		n := in[0].Shape().Dimensions[0]
		both := graph.Concatenate(in, 0)
		layers := hidden.Layers(m.Logits(both), both)
		φ := layers[len(layers)-1].Flat()
		from, to := graph.SliceAxis(φ, 0, graph.AxisRange(0, n)), graph.SliceAxis(φ, 0, graph.AxisRange(n))
		return []*graph.Node{graph.ReduceSum(graph.Square(graph.Sub(to, from)), 1), graph.ReduceSum(graph.Square(from), 1)}
	})
	all := make([]float64, x.Shape().Dimensions[0])
	rows := make([]int, len(all))
	for i := range rows {
		rows[i] = i
	}
	for chunk := range slices.Chunk(rows, maxBucket/4) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		from, to := TakeRows(x, chunk, Bucket(len(chunk))), TakeRows(y, chunk, Bucket(len(chunk)))
		out, err := step.Run(len(chunk), from, to)
		Free(from, to)
		if err != nil {
			return nil, err
		}
		moved, long := tensors.MustCopyFlatData[float32](out[0]), tensors.MustCopyFlatData[float32](out[1])
		for i, row := range chunk {
			all[row] = math.Sqrt(float64(moved[i]) / float64(long[i]))
			if long[i] == 0 || math.IsInf(float64(moved[i]), 0) || math.IsInf(float64(long[i]), 0) {
				all[row] = math.NaN()
			}
		}
		Free(out...)
	}
	return all, nil
}
