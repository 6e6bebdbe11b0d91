// Package hidden finds what a model computes on the way to its logits.
//
//	layers := hidden.Layers(m.Logits(x), x)
//	φ := layers[len(layers)-1].Flat() // [n, features]
//
// A hidden layer is here what enters a dense or a convolutional layer, the first one left out: of zoo.CNN() the two
// convolutions after ReLU, and the units before the logits. They are read from the graph, so that any classifier has
// them, however it was built or imported.
package hidden

import (
	"slices"

	"github.com/gomlx/gomlx/core/graph"

	"advlab/advlib/internal/inspect"
)

// Layer is a hidden layer of some inputs.
type Layer struct {
	// Values are [n, d...].
	Values  *graph.Node
	channel int // the axis of the channels, where d is an image with channels
}

// Flat returns the values as [n, Πd].
func (l Layer) Flat() *graph.Node {
	return graph.Reshape(l.Values, l.Values.Shape().Dimensions[0], -1)
}

// Channels returns the mean of each channel, [n, channels], of an image, and the values of any other layer.
func (l Layer) Channels() *graph.Node {
	if l.Values.Rank() != 4 {
		return l.Flat()
	}
	var axes []int
	for axis := 1; axis < 4; axis++ {
		if axis != l.channel {
			axes = append(axes, axis)
		}
	}
	return graph.ReduceMean(l.Values, axes...)
}

// Layers returns the hidden layers on the way from x to the logits z, in the order in which they are computed.
func Layers(z, x *graph.Node) []Layer {
	depends, deep := map[graph.NodeId]bool{x.Id(): true}, map[graph.NodeId]bool{}
	seen := map[graph.NodeId]bool{x.Id(): true}
	taken, channel := map[graph.NodeId]*graph.Node{}, 3
	var visit func(n *graph.Node)
	visit = func(n *graph.Node) {
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
	var layers []Layer
	for _, v := range taken {
		layers = append(layers, Layer{v, channel})
	}
	slices.SortFunc(layers, func(a, b Layer) int { return int(a.Values.Id()) - int(b.Values.Id()) })
	return layers
}
