package certify_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute"
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
			h = Add(Convolve(h, weights(x, k, 0.3, 3, h.Shape().Dimensions[1], 3,
				3)).ChannelsAxis(images.ChannelsFirst).Strides(2-int(k)).PadSame().Done(), weights(x, k+10, 0.2, 1, 3, 1, 1))
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
	{testModel{"quotients by place", []int{5, 5, 1}, advlib.UnitBox, func(x *Node) *Node {
		h := activation.Relu(biased(conv(x, 1, 2, 3).PadSame().Done(), 11))
		h = MeanPool(h).Window(2).Strides(1).PadSame().Done() // divides by how many elements of the window are inside
		h = Min(biased(conv(h, 2, 2, 3).PadSame().Done(), 12), weights(x, 13, 0.2, 1, 5, 5, 1))
		return dense(flat(activation.Relu(biased(conv(h, 3, 2, 3).Strides(2).PadSame().Done(), 14))), 6, 3)
	}}, 3},
	{testModel{"concatenations of channels", []int{6, 6, 1}, advlib.UnitBox, func(x *Node) *Node {
		h := activation.Relu(biased(conv(x, 1, 2, 3).PadSame().Done(), 11))
		h = Concatenate([]*Node{h, activation.Relu(biased(conv(h, 2, 2, 3).PadSame().Done(), 12))}, 3)
		at := BroadcastToDims(weights(x, 20, 0.5, 1, 6, 6, 1), x.Shape().Dimensions[0], 6, 6, 1) // one constant for each place
		h = Concatenate([]*Node{conv(h, 3, 1, 1).Done(), at, h, conv(h, 4, 2, 3).PadSame().Done()}, 3)
		h = activation.Relu(biased(h, 13))
		return dense(flat(activation.Relu(biased(conv(h, 5, 2, 3).Strides(2).PadSame().Done(), 14))), 6, 3)
	}}, 4},
	{testModel{"padding written out", []int{6, 6, 1}, advlib.UnitBox, func(x *Node) *Node {
		padded := func(h *Node, with float64, pads ...PadAxis) *Node {
			return Pad(h, Scalar(x.Graph(), x.DType(), with), append([]PadAxis{{}}, pads...)...)
		}
		h := padded(x, 0.3, PadAxis{Start: 1, End: 1}, PadAxis{Start: 1, End: 1}, PadAxis{})
		h = activation.Relu(biased(MulScalar(conv(h, 1, 2, 3).NoPadding().Done(), 3), 11))
		h = MulScalar(AddScalar(h, 0.2), 0.9)
		h = padded(h, 0, PadAxis{End: 1}, PadAxis{Start: 2}, PadAxis{})
		h = activation.Relu(biased(MulScalar(conv(h, 2, 2, 3).Strides(2).NoPadding().Done(), 4), 12))
		h = padded(h, -0.4, PadAxis{End: 1}, PadAxis{End: 1}, PadAxis{Start: 1, End: 2})
		return dense(flat(activation.Relu(biased(MulScalar(conv(h, 3, 2, 2).NoPadding().Done(), 4), 13))), 6, 3)
	}}, 3},
	{testModel{"slices", []int{7, 7, 2}, advlib.UnitBox, func(x *Node) *Node {
		all := AxisRange()
		h := activation.Relu(biased(conv(Reverse(x, 3), 1, 2, 3).PadSame().Done(), 11))
		long := activation.Relu(biased(conv(Reverse(h, 3), 2, 4, 3).Strides(2).PadSame().Done(), 12))
		// The short way of a residual block whose size changes, without weights.
		short := Pad(Slice(h, all, all.Stride(2), all.Stride(2)), ScalarZero(x.Graph(), x.DType()), PadAxis{}, PadAxis{}, PadAxis{},
			PadAxis{Start: 1, End: 1})
		h = Identity(activation.Relu(biased(Add(biased(conv(long, 3, 4, 3).PadSame().Done(), 15), short), 13)))
		halves := []*Node{Slice(h, all, all, all, AxisRange(0, 2)),
			biased(conv(Slice(h, all, all, all, AxisRange(2, 4)), 4, 2, 3).PadSame().Done(), 14)}
		h = Slice(Concatenate(halves, 3), all, AxisRange(1, 4), AxisRange(0, 3))
		return dense(flat(activation.Relu(h)), 6, 3)
	}}, 4},
	{testModel{"flat inputs", []int{72}, advlib.UnitBox, func(x *Node) *Node {
		h := TransposeAllAxes(Reshape(x, -1, 2, 6, 6), 0, 2, 3, 1)
		h = activation.Relu(biased(conv(h, 1, 3, 3).Strides(2).PadSame().Done(), 11))
		return dense(flat(activation.Relu(biased(conv(h, 2, 3, 2).PadSame().Done(), 12))), 6, 3)
	}}, 2},
	{testModel{"gates", []int{5, 5, 1}, advlib.UnitBox, func(x *Node) *Node {
		h := Mul(biased(conv(x, 1, 2, 3).PadSame().Done(), 11), activation.Relu(biased(conv(x, 2, 2, 3).PadSame().Done(), 12)))
		h = Min(biased(conv(h, 3, 2, 2).NoPadding().Done(), 13), Neg(biased(conv(h, 4, 2, 2).NoPadding().Done(), 14)))
		h = MinPool(h).Window(2).Strides(1).PadSame().Done()
		return dense(flat(activation.Relu(biased(MulScalar(conv(h, 5, 2, 2).Done(), 4), 15))), 6, 3)
	}}, 7},
	{testModel{"batch normalisation of a backend", []int{5, 5, 1}, advlib.UnitBox, func(x *Node) *Node {
		h := normalised(activation.Relu(normalised(conv(x, 1, 2, 3).PadSame().Done(), 11)), 21)
		return dense(flat(activation.Relu(normalised(conv(h, 2, 2, 3).Strides(2).PadSame().Done(), 31))), 6, 3)
	}}, 2},
}

// normalised is a backend's batch normalisation at inference, with scales of either sign; not all backends have one.
func normalised(h *Node, seed uint64) *Node {
	c := h.Shape().Dimensions[3]
	return InternalBatchNormForInference(h, weights(h, seed, 1, c), weights(h, seed+1, 0.1, c), weights(h, seed+2, 0.1, c),
		values(h, []int{c}, 0.02, 0.1), 1e-3, 3)
}

// runs tells whether a backend has all operations of a model.
func (m testModel) runs(b compute.Backend) bool {
	return m.name != "batch normalisation of a backend" || b.Capabilities().Operations[compute.OpTypeBatchNormForInference]
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
	goBackend := backends(t)["Go Backend"]
	for name, b := range backends(t) {
		for i, m := range convolutional {
			if !m.runs(b) || name == "xla" && i > 0 && m.runs(goBackend) && !full || name == "xla" && m.name == "pools" {
				continue // XLA takes minutes to compile what goes back over two pools, on whole tensors too
			}
			t.Run(name+"/"+m.name, func(t *testing.T) {
				c := m.classifier(t, b)
				comparePatches(t, c, m.examples(t, c, 2), m.layers, name == "xla" && !full && i > 0)
			})
		}
	}
}

// comparePatches does so by a few methods in boxes and L2 balls; if once, by CROWN in boxes only, for XLA compiles each
// for long.
func comparePatches(t *testing.T, c *advlib.Classifier, e *advlib.Examples, layers int, once bool) {
	t.Helper()
	n, err := certify.Of(c)
	if err != nil {
		t.Fatal(err)
	}
	balls := []advlib.Ball{advlib.Linf.Ball(0.1), advlib.L2.Ball(0.5)}
	methods := []certify.Method{certify.CROWN, certify.CROWN.In(certify.RealArithmetic), certify.CROWN.WithLine(certify.Zero).WithIBP()}
	if once {
		balls, methods = balls[:1], methods[:1]
	}
	var whole []*certify.Answer
	r, err := certify.Around(c, e, balls[0], false)
	if err != nil {
		t.Fatal(err)
	}
	without, err := n.Bound(t.Context(), certify.Query{Regions: r, Rows: [][][]float64{certify.EachOutput(c.Classes())}}, certify.CROWNIBP)
	if err != nil {
		t.Fatal(err)
	}
	for _, wherever := range []bool{false, true} {
		on, err := n.Patches(wherever)
		if err != nil {
			t.Fatal(err)
		}
		if wherever && on != layers {
			t.Errorf("%d layers are bounded on patches, want %d", on, layers)
		}
		var answers []*certify.Answer
		for k, ball := range balls {
			for _, m := range methods[:len(methods)-k] {
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
			if gain := math.Abs(answers[0].Lower[0][0] - without.Lower[0][0]); gain < 1e-5 { // else there would be nothing to compare
				t.Errorf("rows of the layers change the first bound by %g", gain)
			}
			continue
		}
		worst := 0.
		for k, a := range answers {
			for i, row := range a.Lower {
				for s, v := range row {
					w := whole[k].Lower[i][s]
					worst = max(worst, math.Abs(v-w)/max(1, math.Abs(w)), math.Abs(a.Slack[i][s]-whole[k].Slack[i][s]))
					if !(worst <= 1e-12) {
						t.Fatalf("%v: example %d, row %d: %.15g on patches, %.15g on whole tensors; slack %g and %g", a.Method, i, s, v, w, a.Slack[i][s],
							whole[k].Slack[i][s])
					}
				}
			}
		}
		t.Logf("largest difference %.2g", worst)
	}
}

// ways are models of the kinds that users have, one for each way in which patches go.
var ways = []testModel{
	{"channel concatenation", []int{12, 12, 1}, advlib.UnitBox, func(x *Node) *Node {
		h := activation.Relu(conv(x, 1, 4, 3).PadSame().Done())
		for k := range uint64(2) {
			h = Concatenate([]*Node{h, activation.Relu(conv(h, 2+k, 4, 3).PadSame().Done())}, 3)
		}
		return dense(flat(activation.Relu(conv(h, 5, 4, 3).Strides(2).PadSame().Done())), 6, 3)
	}},
	{"explicit pad", []int{12, 12, 1}, advlib.UnitBox, func(x *Node) *Node {
		h := x
		for k := range uint64(3) {
			h = Pad(h, ScalarZero(x.Graph(), x.DType()), PadAxis{}, PadAxis{Start: 1, End: 1}, PadAxis{Start: 1, End: 1}, PadAxis{})
			h = activation.Relu(conv(h, 2+k, 6, 3).NoPadding().Done())
		}
		return dense(flat(h), 6, 3)
	}},
	{"projection stride 2", []int{12, 12, 1}, advlib.UnitBox, func(x *Node) *Node {
		h := activation.Relu(conv(x, 1, 4, 3).PadSame().Done())
		l := activation.Relu(conv(h, 2, 8, 3).Strides(2).PadSame().Done())
		h = activation.Relu(Add(conv(h, 3, 8, 1).Strides(2).NoPadding().Done(), conv(l, 4, 8, 3).PadSame().Done()))
		return dense(flat(h), 6, 3)
	}},
	{"slice shortcut, no weights", []int{12, 12, 1}, advlib.UnitBox, func(x *Node) *Node {
		h := activation.Relu(conv(x, 1, 4, 3).PadSame().Done())
		l := activation.Relu(conv(h, 2, 8, 3).Strides(2).PadSame().Done())
		s := Pad(Slice(h, AxisRange(), AxisRange().Stride(2), AxisRange().Stride(2)), ScalarZero(x.Graph(), x.DType()), PadAxis{}, PadAxis{},
			PadAxis{}, PadAxis{Start: 2, End: 2})
		return dense(flat(activation.Relu(Add(s, conv(l, 4, 8, 3).PadSame().Done()))), 6, 3)
	}},
	{"flat input", []int{144}, advlib.UnitBox, func(x *Node) *Node {
		h := TransposeAllAxes(Reshape(x, -1, 1, 12, 12), 0, 2, 3, 1)
		for k := range uint64(3) {
			h = activation.Relu(conv(h, 2+k, 6, 3).PadSame().Done())
		}
		return dense(flat(h), 6, 3)
	}},
}

// BenchmarkPatches bounds each on patches and on whole tensors, two examples in Linf 0.2.
func BenchmarkPatches(b *testing.B) {
	for _, m := range ways {
		for _, on := range []string{"patches", "whole tensors"} {
			b.Run(m.name+"/"+on, func(b *testing.B) {
				c := m.classifier(b, nil)
				e := m.examples(b, c, 2)
				n, err := certify.Of(c)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := n.Patches(on == "patches"); err != nil {
					b.Fatal(err)
				}
				regions, err := certify.Around(c, e, advlib.Linf.Ball(0.2), false)
				if err != nil {
					b.Fatal(err)
				}
				q := certify.Query{Regions: regions, Rows: [][][]float64{certify.EachOutput(c.Classes())}}
				bound := func() {
					if _, err := n.Bound(b.Context(), q, certify.CROWN); err != nil {
						b.Fatal(err)
					}
				}
				bound() // compiles
				for b.Loop() {
					bound()
				}
			})
		}
	}
}

// propagateMethods reads the source of internal/propagate. has tells whether a type has a method, itself or of a type
// that it embeds; names are the types with methods.
func propagateMethods(t *testing.T) (has func(name, method string) bool, names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("internal", "propagate", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	methods, embedded := map[string]map[string]bool{}, map[string][]string{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv == nil {
					break
				}
				of := n.Recv.List[0].Type
				if star, ok := of.(*ast.StarExpr); ok {
					of = star.X
				}
				if name, ok := of.(*ast.Ident); ok {
					if methods[name.Name] == nil {
						methods[name.Name] = map[string]bool{}
					}
					methods[name.Name][n.Name.Name] = true
				}
			case *ast.TypeSpec:
				s, ok := n.Type.(*ast.StructType)
				if !ok {
					break
				}
				for _, field := range s.Fields.List {
					if name, ok := field.Type.(*ast.Ident); ok && len(field.Names) == 0 {
						embedded[n.Name.Name] = append(embedded[n.Name.Name], name.Name)
					}
				}
			}
			return true
		})
	}
	has = func(name, method string) bool {
		if methods[name][method] {
			return true
		}
		for _, e := range embedded[name] {
			if has(e, method) {
				return true
			}
		}
		return false
	}
	return has, slices.Sorted(maps.Keys(methods))
}

// Every rule that goes back on patches does so in some model that is compared with whole tensors. The rules are those
// of the source: types that have BackwardPatch and Affine, themselves or of a type that they embed.
func TestPatchesReachAllRules(t *testing.T) {
	has, names := propagateMethods(t)
	want := certify.LocalOperations()
	rules := 0
	for _, name := range names {
		if has(name, "BackwardPatch") && has(name, "Affine") {
			want = append(want, "propagate."+name)
			rules++
		}
	}
	if rules < 11 {
		t.Errorf("the source has %d rules for patches: the test does not find them", rules)
	}
	seen := map[string]bool{}
	for _, m := range convolutional {
		for _, b := range backends(t) {
			if !m.runs(b) {
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
				seen[name] = true
			}
			break
		}
	}
	why := map[string]string{
		"Reshape":              "patches end there",
		"Transpose":            "patches end there",
		"BroadcastInDim":       "rows that meet it are whole",
		"DotGeneral":           "rows that meet it are whole",
		"ConvertDType":         "bounds are built in float64 throughout",
		"propagate.conversion": "bounds are built in float64 throughout",
	}
	if !seen["BatchNormForInference"] {
		why["BatchNormForInference"], why["propagate.batchNorm"] = "no backend here has it", "no backend here has it"
	}
	for _, name := range want {
		switch {
		case seen[name] && why[name] != "":
			t.Errorf("%s goes back on patches, though %s", name, why[name])
		case !seen[name] && why[name] == "":
			t.Errorf("%s goes back on patches in no model that is compared with whole tensors: add one", name)
		case !seen[name]:
			t.Logf("not %s: %s", name, why[name])
		}
	}
}
