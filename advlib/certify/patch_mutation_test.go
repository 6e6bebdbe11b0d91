package certify_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/layers/activation"

	"advlab/advlib"
	"advlab/advlib/certify"
)

// shown is z itself, beside what needs its interval.
func shown(z *Node) *Node { return Concatenate([]*Node{flat(z), flat(Tanh(z))}, 1) }

// patchMutationModels are models whose last layer's neurons are outputs too, so that its interval can be compared with
// them.
var patchMutationModels = []testModel{
	{"convolutions", []int{5, 5, 1}, advlib.UnitBox, func(x *Node) *Node {
		h := activation.Relu(biased(conv(x, 1, 2, 3).PadSame().Done(), 11))
		h = Add(Mul(h, weights(x, 12, 1, 1, 5, 5, 1)), weights(x, 13, 0.3, 1, 5, 5, 1))
		h = Add(h, weights(x, 15, 0.5, 1, 1, 1, 2))
		return shown(biased(conv(h, 2, 2, 3).Strides(2).PadSame().Done(), 14))
	}},
	{"errors", []int{3, 3, 1}, advlib.UnitBox, func(x *Node) *Node {
		h := Convolve(x, values(x, []int{2, 1, 1, 2}, 7e4, 3e-5, -4e4, 5e-5)).NoPadding().Done()
		return shown(Convolve(h, weights(x, 2, 1, 1, 2, 1, 2)).ChannelGroupCount(2).NoPadding().Done())
	}},
	{"residual block", []int{6, 6, 1}, advlib.UnitBox, func(x *Node) *Node {
		h := activation.Relu(biased(conv(x, 1, 2, 3).PadSame().Done(), 11))
		long := activation.Relu(biased(conv(h, 2, 2, 3).Strides(2).PadSame().Done(), 12))
		return shown(Sub(conv(h, 3, 2, 1).Strides(2).NoPadding().Done(), biased(conv(long, 4, 2, 3).PadSame().Done(), 13)))
	}},
	{"two pools", []int{8, 8, 1}, advlib.UnitBox, func(x *Node) *Node {
		h := activation.Relu(biased(conv(x, 1, 2, 3).NoPadding().Done(), 11))
		h = MaxPool(h).Window(2).Strides(1).Done()
		h = MeanPool(h).Window(2).Strides(2).PadSame().Done()
		return shown(biased(conv(h, 2, 2, 2).NoPadding().Done(), 12))
	}},
	{"assembled", []int{6, 6, 1}, advlib.UnitBox, func(x *Node) *Node {
		all := AxisRange()
		h := activation.Relu(biased(conv(x, 1, 2, 3).PadSame().Done(), 11))
		at := BroadcastToDims(weights(x, 20, 0.5, 1, 6, 6, 1), x.Shape().Dimensions[0], 6, 6, 1)
		h = AddScalar(Concatenate([]*Node{h, at, conv(h, 2, 2, 3).PadSame().Done()}, 3), 0.4)
		h = Pad(h, Scalar(x.Graph(), x.DType(), 0.3), PadAxis{}, PadAxis{Start: 1, End: 1}, PadAxis{Start: 1, End: 1}, PadAxis{})
		h = Slice(Reverse(h, 3), all, all.Stride(2), all.Stride(2), AxisRange(1))
		return shown(conv(h, 3, 2, 2).PadSame().Done())
	}},
	{"transposed", []int{25}, advlib.UnitBox, func(x *Node) *Node {
		h := TransposeAllAxes(Reshape(x, -1, 5, 5, 1), 0, 2, 1, 3)
		h = activation.Relu(biased(conv(h, 1, 2, 3).PadSame().Done(), 11))
		return shown(biased(conv(h, 2, 2, 3).Strides(2).PadSame().Done(), 14))
	}},
	{"gated", []int{5, 5, 1}, advlib.UnitBox, func(x *Node) *Node {
		a, b := biased(conv(x, 1, 2, 3).PadSame().Done(), 11), biased(conv(x, 2, 2, 3).PadSame().Done(), 12)
		h := Add(Mul(a, b), Max(a, b))
		return shown(biased(conv(Sigmoid(MulScalar(h, 3)), 3, 2, 3).Strides(2).PadSame().Done(), 13))
	}},
	{"batch normalisation", []int{4, 4, 1}, advlib.UnitBox, func(x *Node) *Node {
		h := activation.Relu(normalised(conv(x, 1, 2, 3).PadSame().Done(), 11))
		return shown(conv(normalised(h, 21), 2, 2, 3).Strides(2).PadSame().Done())
	}},
}

// Each of these mistakes on patches lets some neuron of a layer out of the interval that CROWN has for it; without a
// mistake none is. The neurons are those of the deployed model, at points of the ball.
func TestPatchMutants(t *testing.T) {
	all := backends(t)
	models := map[string]testModel{}
	for _, m := range patchMutationModels {
		models[m.name] = m
	}
	outside := func(m testModel, b compute.Backend) (count int) {
		c := m.classifier(t, b)
		n, err := certify.Of(c)
		if err != nil {
			t.Fatal(err)
		}
		if layers, err := n.Patches(true); err != nil || layers == 0 {
			t.Fatalf("%s: %d layers are bounded on patches, %v", m.name, layers, err)
		}
		e := m.examples(t, c, 3)
		r := rand.New(rand.NewPCG(5, 6))
		for _, radius := range []float64{0, 0.2} {
			ball := advlib.Linf.Ball(radius)
			regions, err := certify.Around(c, e, ball, false)
			if err != nil {
				t.Fatal(err)
			}
			lower, upper, err := n.LastInterval(t.Context(), regions, certify.CROWN)
			if err != nil {
				t.Fatal(err)
			}
			for _, point := range sample(t, c, e, ball, 100, r) {
				for i, row := range point {
					for k := range lower[i] {
						if v := float64(row[k]); !(lower[i][k] <= v && v <= upper[i][k]) {
							count++
						}
					}
				}
			}
		}
		return count
	}
	sane := map[string]bool{}
	for _, mutant := range certify.PatchMutants {
		m, ok := models[mutant.Model]
		if !ok {
			t.Fatalf("%s: there is no model %q", mutant.Name, mutant.Model)
		}
		b := all["Go Backend"]
		if m.name == "batch normalisation" {
			b = nil
			for _, other := range all {
				if other.Capabilities().Operations[compute.OpTypeBatchNormForInference] {
					b = other
				}
			}
			if b == nil {
				t.Logf("%s: no backend here has it", mutant.Name)
				continue
			}
		}
		if !sane[m.name] {
			if n := outside(m, b); n > 0 {
				t.Errorf("%s: %d neurons are outside of their intervals without any mutant", m.name, n)
			}
			sane[m.name] = true
		}
		restore := mutant.Plant()
		n := outside(m, b)
		restore()
		t.Logf("%s: %d neurons outside", mutant.Name, n)
		if n == 0 {
			t.Errorf("nothing shows that %s, on the model %q", mutant.Name, m.name)
		}
	}
	t.Logf("%d mutants", len(certify.PatchMutants))
	checkPatchesTouched(t, all["Go Backend"])
}

// checkPatchesTouched: every rule that is on patches in one of these models, and not on backends that are not here, was
// mistaken at least once.
func checkPatchesTouched(t *testing.T, b compute.Backend) {
	t.Helper()
	for _, m := range patchMutationModels {
		if m.name == "batch normalisation" {
			continue
		}
		n, err := certify.Of(m.classifier(t, b))
		if err != nil {
			t.Fatal(err)
		}
		on, err := n.OnPatches()
		if err != nil {
			t.Fatal(err)
		}
		for name := range on {
			if strings.HasPrefix(name, "propagate.") && !certify.PatchTouched(name) {
				t.Errorf("no mutant makes a mistake in %s", name)
			}
		}
	}
}
