package advlib

import (
	"fmt"
	"reflect"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

// GoMLX v0.28.8 computes a wrong gradient of a convolution with respect to its input when the kernel's size is even:
// it pads the reversed convolution by 2·⌊(k−1)/2⌋ at the start, which is k−1 for odd k only, so that the gradient comes
// out shifted by one pixel (convVJPWrtX in ops_convolve.go). An attack on such a model would follow that, and training
// too. The rule for convolutions is therefore replaced by one that makes even kernels odd, for the whole process.
func init() {
	rule := VJPRegistration[NodeTypeConvGeneral]
	VJPRegistration[NodeTypeConvGeneral] = func(node *Node, v []*Node, outputShape shapes.Shape) []*Node {
		return convolutionVJP(rule, node, v, outputShape)
	}
}

// convolutionVJP applies GoMLX's rule to the same convolution with odd kernels: a kernel of even size gets a zero at
// its end, and so does the input, as many as the kernel is dilated. That changes no output, and the gradients of what
// was there before are the ones sought.
func convolutionVJP(rule VJP, node *Node, v []*Node, outputShape shapes.Shape) []*Node {
	x, kernel := node.Inputs()[0], node.Inputs()[1]
	axes, dilations := convolutionParameters(node)
	padX, padKernel := make([]compute.PadAxis, x.Rank()), make([]compute.PadAxis, kernel.Rank())
	odd := true
	for i, axis := range axes.KernelSpatial {
		dilation := 1
		if len(dilations) > 0 {
			dilation = dilations[i]
		}
		if (kernel.Shape().Dimensions[axis]-1)*dilation%2 == 1 {
			padKernel[axis].End, padX[axes.InputSpatial[i]].End = 1, dilation
			odd = false
		}
	}
	if odd {
		return rule(node, v, outputShape)
	}
	zero := ScalarZero(x.Graph(), x.DType())
	same := node.CloneWithInputs(Pad(x, zero, padX...), Pad(kernel, zero, padKernel...))
	if !same.Shape().Equal(node.Shape()) {
		panic(fmt.Errorf("advlib: the convolution of %v with %v gives %v, with an odd kernel %v: this is a mistake in its gradient", x.Shape(), kernel.Shape(), node.Shape(), same.Shape()))
	}
	g := rule(same, v, outputShape)
	return []*Node{cutTo(g[0], x.Shape()), cutTo(g[1], kernel.Shape())}
}

// convolutionParameters reads what GoMLX v0.28.8 keeps in unexported fields of a node.
func convolutionParameters(node *Node) (axes compute.ConvolveAxesConfig, dilations []int) {
	params := reflect.ValueOf(node).Elem().FieldByName("inputs").Elem().Elem()
	ints := func(v reflect.Value) []int {
		s := make([]int, v.Len())
		for i := range s {
			s[i] = int(v.Index(i).Int())
		}
		return s
	}
	a := params.FieldByName("axes")
	axes.InputSpatial, axes.KernelSpatial = ints(a.FieldByName("InputSpatial")), ints(a.FieldByName("KernelSpatial"))
	return axes, ints(params.FieldByName("kernelDilations"))
}

// cutTo returns the leading part of x that has the given shape.
func cutTo(x *Node, shape shapes.Shape) *Node {
	ranges := make([]SliceAxisSpec, x.Rank())
	for i, d := range shape.Dimensions {
		ranges[i] = AxisRange(0, d)
	}
	return Slice(x, ranges...)
}
