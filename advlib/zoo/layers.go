package zoo

import (
	"fmt"
	"strings"

	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/layers/activation"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/internal/option"
	"advlab/advlib/training"
)

// MLP returns a multi-layer perceptron: the input flattened, one dense layer with ReLU for each number of hidden units,
// and a dense layer to the logits. MLP() is a linear classifier.
func MLP(hidden ...int) training.Model {
	return training.Model{
		Name:   name("MLP", hidden),
		Epochs: 30,
		Build: func(classes int) advlib.LogitsFn {
			return func(scope *model.Scope, x *Node) *Node {
				positive("hidden units", hidden)
				return head(scope, 0, x, hidden, classes)
			}
		},
	}
}

// CNN returns a convolutional network for images [height, width, channels]: for each number of channels a convolution
// with a 4×4 kernel, stride 2 and padding 1, which halves the image, and ReLU; then a dense layer of 100 units with
// ReLU and a dense layer to the logits. CNN() is CNN(16, 32), the small network on which certified training is compared
// (Wong & Kolter 2018, arXiv:1711.00851, section 4).
func CNN(channels ...int) training.Model {
	if len(channels) == 0 {
		channels = []int{16, 32}
	}
	return training.Model{
		Name: name("CNN", channels),
		Build: func(classes int) advlib.LogitsFn {
			return func(scope *model.Scope, x *Node) *Node {
				positive("channels", channels)
				for k, c := range channels {
					x = activation.Relu(convolution(scope.In("conv%d", k), x, c))
				}
				return head(scope, len(channels), x, []int{100}, classes)
			}
		},
	}
}

// head flattens x and appends dense layers numbered from first: hidden ones with ReLU, then the logits.
func head(scope *model.Scope, first int, x *Node, hidden []int, classes int) *Node {
	h := Reshape(x, x.Shape().Dimensions[0], -1)
	for k, units := range hidden {
		h = activation.Relu(dense(scope.In("dense%d", first+k), h, units))
	}
	return dense(scope.In("dense%d", first+len(hidden)), h, classes)
}

// dense returns x·w + b for x [n, in].
func dense(scope *model.Scope, x *Node, units int) *Node {
	w := scope.VariableWithShape("w", shapes.Make(x.DType(), x.Shape().Dimensions[1], units)).NodeValue(x)
	b := scope.VariableWithShape("b", shapes.Make(x.DType(), units)).NodeValue(x)
	return Add(DotProduct(x, w), InsertAxes(b, 0))
}

// convolution returns x * w + b for images x [n, height, width, channels].
func convolution(scope *model.Scope, x *Node, channels int) *Node {
	const kernel = 4
	dims := x.Shape().Dimensions
	if len(dims) != 4 {
		panic(fmt.Errorf("inputs of shape %v are no images, which a convolution takes as [height, width, channels]: take %v", dims[1:],
			option.Name("zoo.MLP(100, 100)")))
	}
	if dims[1]+2 < kernel || dims[2]+2 < kernel {
		panic(fmt.Errorf("a convolution with a %d×%d kernel and padding 1 does not fit its input %v: it takes images "+
			"[height, width, channels] of at least %d×%d; for smaller ones give fewer channels, as in %v", kernel, kernel,
			dims[1:], kernel-2, kernel-2, option.Name("zoo.CNN(16)")))
	}
	w := scope.VariableWithShape("w", shapes.Make(x.DType(), kernel, kernel, dims[3], channels)).NodeValue(x)
	b := scope.VariableWithShape("b", shapes.Make(x.DType(), channels)).NodeValue(x)
	y := Convolve(x, w).Strides(2).PaddingPerDim([][2]int{{1, 1}, {1, 1}}).Done()
	return Add(y, InsertAxes(b, 0, 0, 0))
}

func positive(what string, widths []int) {
	for _, w := range widths {
		if w < 1 {
			panic(fmt.Errorf("%d %s make no layer: give positive numbers", w, what))
		}
	}
}

// name returns for example "MLP-100-100".
func name(kind string, widths []int) string {
	return strings.ReplaceAll(strings.TrimSpace(kind+" "+strings.Trim(fmt.Sprint(widths), "[]")), " ", "-")
}
