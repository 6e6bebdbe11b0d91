//go:build linux && cgo

package backend

import "github.com/gomlx/compute"

// CountConvolutions returns XLA on the CPU as OpenNamed gives it, which counts the convolutions that it is handed:
// those that are not written as sums.
func CountConvolutions(b compute.Backend, n *int) compute.Backend {
	return &summing{countedBackend{b.(*summing).Backend, n}}
}

type countedBackend struct {
	compute.Backend
	n *int
}

func (b countedBackend) Builder(name string) compute.Builder {
	return countedBuilder{b.Backend.Builder(name), b.n}
}

type countedBuilder struct {
	compute.Builder
	n *int
}

func (b countedBuilder) Main() compute.Function { return countedFunction{b.Builder.Main(), b.n} }

type countedFunction struct {
	compute.Function
	n *int
}

func (f countedFunction) ConvGeneral(
	x, kernel compute.Value, axes compute.ConvolveAxesConfig, strides []int, paddings [][2]int, inputDilations, kernelDilations []int,
	channelGroups, batchGroups int,
) (compute.Value, error) {
	*f.n++
	return f.Function.ConvGeneral(x, kernel, axes, strides, paddings, inputDilations, kernelDilations, channelGroups, batchGroups)
}
