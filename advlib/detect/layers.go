package detect

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"

	"advlab/advlib"
	. "advlab/advlib/internal/equation"
	"advlab/advlib/internal/inspect"
)

// # Hidden layers
//
// Some detectors look at what a model computes on the way to its logits. A hidden layer is here what enters a dense or
// a convolutional layer, the first one left out: of zoo.CNN() the two convolutions after ReLU, and the units before the
// logits. They are read from the graph, so that any classifier has them, however it was built or imported.

// layer is a hidden layer of some inputs.
type layer struct {
	values  *Node // [n, d...]
	channel int   // the axis of the channels, where d is an image with channels
}

// flat returns the values as [n, Πd].
func (l layer) flat() *Node { return Reshape(l.values, l.values.Shape().Dimensions[0], -1) }

// channels returns the mean of each channel, [n, channels], of an image, and the values of any other layer.
func (l layer) channels() *Node {
	if l.values.Rank() != 4 {
		return l.flat()
	}
	var axes []int
	for axis := 1; axis < 4; axis++ {
		if axis != l.channel {
			axes = append(axes, axis)
		}
	}
	return graph.ReduceMean(l.values, axes...)
}

// hidden returns the hidden layers on the way from x to the logits z, in the order in which they are computed.
func hidden(z, x *Node) []layer {
	depends, deep := map[graph.NodeId]bool{x.Id(): true}, map[graph.NodeId]bool{}
	seen := map[graph.NodeId]bool{x.Id(): true}
	taken, channel := map[graph.NodeId]*Node{}, 3
	var visit func(n *Node)
	visit = func(n *Node) {
		if seen[n.Id()] {
			return
		}
		seen[n.Id()] = true
		weighs := n.Type() == graph.NodeTypeDotGeneral || n.Type() == graph.NodeTypeConvGeneral
		for _, in := range n.Inputs() {
			visit(in)
			depends[n.Id()] = depends[n.Id()] || depends[in.Id()]
			deep[n.Id()] = deep[n.Id()] || deep[in.Id()]
			if weighs && deep[in.Id()] {
				v := in
				for v.Type() == graph.NodeTypeReshape || v.Type() == graph.NodeTypeIdentity {
					v = v.Inputs()[0]
				}
				taken[v.Id()] = v
			}
		}
		if n.Type() == graph.NodeTypeConvGeneral && depends[n.Id()] {
			channel = int(inspect.Parameter(n, "axes.OutputChannels").Int())
		}
		deep[n.Id()] = deep[n.Id()] || weighs && depends[n.Id()]
	}
	visit(z)
	var layers []layer
	for _, v := range taken {
		layers = append(layers, layer{v, channel})
	}
	slices.SortFunc(layers, func(a, b layer) int { return int(a.values.Id()) - int(b.values.Id()) })
	return layers
}

// pick returns some hidden layers by their numbers, which [checkLayers] has checked.
func pick(z, x *Node, numbers []int) []layer {
	all := hidden(z, x)
	layers := make([]layer, len(numbers))
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
		n = len(hidden(c.LogitsGraph(x), x))
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
