package certify_test

import (
	"math"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors/images"
	"github.com/gomlx/gomlx/ml/layers/activation"

	"advlab/advlib"
	"advlab/advlib/certify"
)

// convolutional are models whose layers are bounded on patches, and how many of their layers are.
var convolutional = []struct {
	testModel
	layers int
}{
	{testModel{"strides and paddings", []int{9, 8, 2}, advlib.UnitBox, func(x *Node) *Node {
		h := activation.Relu(conv(x, 1, 3, 3).Strides(2).PadSame().Done())
		h = activation.Relu(biased(conv(h, 2, 4, 2).PaddingPerDim([][2]int{{1, 0}, {2, 1}}).Done(), 12))
		h = activation.Relu(conv(h, 3, 3, 1).Strides(2).NoPadding().Done()) // a stride larger than the kernel
		return dense(flat(h), 5, 3)
	}}, 3},
	{testModel{"dilation and groups", []int{8, 8, 2}, advlib.UnitBox, func(x *Node) *Node {
		h := activation.Relu(conv(x, 1, 4, 3).PadSame().Done())
		h = activation.Relu(conv(h, 2, 4, 2).Dilations(3).PaddingPerDim([][2]int{{2, 2}, {0, 1}}).Done())
		h = activation.Relu(Convolve(h, weights(x, 4, 0.3, 3, 3, 2, 4)).ChannelGroupCount(2).PadSame().Done())
		return dense(flat(h), 5, 3)
	}}, 3},
	{testModel{"residual", []int{7, 7, 2}, advlib.UnitBox, func(x *Node) *Node {
		h := activation.Relu(biased(conv(x, 1, 4, 3).PadSame().Done(), 11))
		h = activation.Relu(Add(h, biased(conv(h, 2, 4, 3).PadSame().Done(), 12)))
		short := conv(h, 3, 4, 1).Strides(2).NoPadding().Done()
		long := conv(activation.Relu(conv(h, 4, 4, 3).Strides(2).PaddingPerDim([][2]int{{1, 1}, {1, 1}}).Done()), 5, 4, 3).PadSame().Done()
		return dense(flat(activation.Relu(Sub(short, long))), 6, 3)
	}}, 4},
	{testModel{"channels first", []int{2, 7, 6}, advlib.UnitBox, func(x *Node) *Node {
		h := x
		for k := range uint64(2) {
			h = Add(Convolve(h, weights(x, k, 0.3, 3, h.Shape().Dimensions[1], 3, 3)).ChannelsAxis(images.ChannelsFirst).Strides(2-int(k)).PadSame().Done(), weights(x, k+10, 0.2, 1, 3, 1, 1))
			h = activation.Relu(h)
		}
		return dense(flat(h), 5, 3)
	}}, 2},
	{testModel{"normalised, sums of places, other functions", []int{6, 6, 2}, advlib.UnitBox, func(x *Node) *Node {
		scale := weights(x, 21, 1, 1, 6, 6, 3) // one for each place
		every := BroadcastToDims(weights(x, 22, 0.2, 1, 1, 1, 3), x.Shape().Dimensions[0], 6, 6, 3)
		h := Mul(Sub(conv(x, 1, 3, 3).PadSame().Done(), every), Rsqrt(AddScalar(Square(weights(x, 23, 1, 1, 1, 1, 3)), 0.3)))
		h = Tanh(Add(Mul(scale, h), weights(x, 24, 0.3, 1, 6, 1, 3)))
		h = ClipScalar(Neg(DivScalar(conv(h, 2, 3, 3).PadSame().Done(), 0.7)), -0.5, 0.6)
		h = Max(h, MulScalar(conv(h, 3, 3, 2).PadSame().Done(), 0.3))
		return dense(flat(activation.LeakyRelu(conv(h, 4, 3, 2).Strides(2).PadSame().Done())), 6, 3)
	}}, 6},
	{testModel{"pools", []int{9, 9, 1}, advlib.UnitBox, func(x *Node) *Node {
		h := activation.Relu(conv(x, 1, 3, 3).PadSame().Done())
		h = MaxPool(h).Window(3).Strides(2).PadSame().Done()
		h = activation.Relu(conv(h, 2, 3, 2).PadSame().Done())
		h = MeanPool(h).Window(2).Strides(1).PadSame().Done()
		h = MaxPool(activation.Relu(AddScalar(h, -0.05))).Window(2).Done()
		return dense(flat(activation.Relu(conv(h, 3, 3, 2).NoPadding().Done())), 6, 3)
	}}, 6},
}

// conv starts a convolution of x [n, height, width, channels] with a square kernel.
func conv(x *Node, seed uint64, channels, size int) *ConvolutionBuilder {
	return Convolve(x, weights(x, seed, 1/float64(size*size), size, size, x.Shape().Dimensions[3], channels))
}

func biased(h *Node, seed uint64) *Node {
	return Add(h, weights(h, seed, 0.2, 1, 1, 1, h.Shape().Dimensions[3]))
}

// Bounds on patches are those on whole tensors, with and without rounding; the numbers are added up in another order.
func TestPatchesAreExact(t *testing.T) {
	for name, b := range backends(t) {
		for i, m := range convolutional {
			if name == "xla" && i > 0 && !full || name == "xla" && m.name == "pools" {
				continue // XLA takes minutes to compile what goes back over two pools, on whole tensors too
			}
			t.Run(name+"/"+m.name, func(t *testing.T) {
				c := m.classifier(t, b)
				comparePatches(t, c, m.examples(t, c, 3), m.layers)
			})
		}
	}
}

func comparePatches(t *testing.T, c *advlib.Classifier, e *advlib.Examples, layers int) {
	t.Helper()
	n, err := certify.Of(c)
	if err != nil {
		t.Fatal(err)
	}
	balls := []advlib.Ball{advlib.BallOf(advlib.Linf, 0.1), advlib.BallOf(advlib.L2, 0.5)}
	methods := []certify.Method{certify.CROWN, certify.CROWN.In(certify.RealArithmetic), certify.CROWN.WithLine(certify.Zero).WithIBP()}
	var whole []*certify.Answer
	for _, wherever := range []bool{false, true} {
		on, err := n.Patches(wherever)
		if err != nil {
			t.Fatal(err)
		}
		if wherever && on != layers {
			t.Errorf("%d layers are bounded on patches, want %d", on, layers)
		}
		var answers []*certify.Answer
		for _, ball := range balls {
			for _, m := range methods {
				r, err := certify.Around(c, e, ball, false)
				if err != nil {
					t.Fatal(err)
				}
				a, err := n.Bound(t.Context(), certify.Query{Regions: r, Rows: [][][]float64{certify.EachOutput(c.Classes())}, Slopes: true}, m)
				if err != nil {
					t.Fatal(err)
				}
				answers = append(answers, a)
			}
		}
		if !wherever {
			whole = answers
			continue
		}
		worst := 0.
		for k, a := range answers {
			for i, row := range a.Lower {
				for s, v := range row {
					w := whole[k].Lower[i][s]
					worst = max(worst, math.Abs(v-w)/max(1, math.Abs(w)), math.Abs(a.Slack[i][s]-whole[k].Slack[i][s]))
					if !(worst <= 1e-12) {
						t.Fatalf("%v: example %d, row %d: %.15g on patches, %.15g on whole tensors; slack %g and %g", a.Method, i, s, v, w, a.Slack[i][s], whole[k].Slack[i][s])
					}
				}
			}
		}
		t.Logf("largest difference %.2g", worst)
	}
}
