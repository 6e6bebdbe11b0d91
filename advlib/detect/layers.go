package detect

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"

	"advlab/advlib"
	. "advlab/advlib/internal/equation"
	"advlab/advlib/internal/hidden"
)

// # Hidden layers
//
// Some detectors look at what a model computes on the way to its logits: see package hidden.

// pick returns some hidden layers by their numbers, which [checkLayers] has checked.
func pick(z, x *Node, numbers []int) []hidden.Layer {
	all := hidden.Layers(z, x)
	layers := make([]hidden.Layer, len(numbers))
	for i, k := range numbers {
		layers[i] = all[k]
	}
	return layers
}

// checkLayers returns the numbers of the hidden layers to look at: those that are given, or all, or the last one alone.
func checkLayers(c *advlib.Classifier, given []int, last bool) ([]int, error) {
	n := 0
	err := c.Trace(func(g *graph.Graph) {
		x := graph.Parameter(g, "x", shapes.Make(dtypes.Float32, append([]int{advlib.Bucket(1)}, c.Input()...)...))
		n = len(hidden.Layers(c.LogitsGraph(x), x))
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("the hidden layers of %s: %w", c.Name(), err)
	case n == 0:
		return nil, fmt.Errorf("%s has no hidden layer, and so no features: take a detector that looks at inputs or logits, such as "+
			"feature squeezing", c.Name())
	}
	for i, k := range given {
		if k < 0 || k >= n {
			return nil, fmt.Errorf("there is no hidden layer %d: %s has %d, counted from 0", k, c.Name(), n)
		}
		if slices.Contains(given[:i], k) {
			return nil, fmt.Errorf("the hidden layer %d is named twice: name each once", k)
		}
	}
	switch {
	case len(given) > 0:
		return given, nil
	case last:
		return []int{n - 1}, nil
	}
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all, nil
}
