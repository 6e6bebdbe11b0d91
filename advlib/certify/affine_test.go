package certify

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib/backend"
	"advlab/advlib/certify/internal/chain"
	"advlab/advlib/certify/internal/propagate"
	"advlab/advlib/certify/internal/search"
)

// affineCase is a chain with more than one affine operation between two ReLUs, and inputs at which float32 is far off,
// or about as usual.
type affineCase struct {
	name string
	x    []float32
	f    func(scope *model.Scope, x *Node) *Node
	// computed is what float32 makes of x, in another order than written, if no backend here does so; nil for none.
	computed func(x []float32) []float32
}

// constant is a tensor of numbers that float32 holds.
func constant(x *Node, dims []int, v ...float64) *Node {
	narrow := make([]float32, len(v))
	for i, w := range v {
		narrow[i] = float32(w)
	}
	return ConvertDType(Const(x.Graph(), tensors.FromFlatDataAndDimensions(narrow, dims...)), x.DType())
}

func drawn(x *Node, seed uint64, scale, shift float64, dims ...int) *Node {
	r := rand.New(rand.NewPCG(seed, 0x616666))
	v := make([]float64, propagate.SizeOf(dims))
	for i := range v {
		v[i] = shift + scale*r.NormFloat64()
	}
	return constant(x, dims, v...)
}

func relu(x *Node) *Node { return Max(x, ZerosLike(x)) }

func dotted(x, W *Node) *Node { return Dot(x, W).Product() }

// flush is float32 that has no denormals.
func flush(v float32) float32 {
	if math.Abs(float64(v)) < propagate.Tiny {
		return 0
	}
	return v
}

var affineCases = []affineCase{
	{"matrices that cancel", []float32{0.3, 0.7, -0.2}, func(_ *model.Scope, x *Node) *Node {
		return dotted(dotted(x, constant(x, []int{3, 2}, 1.1, 1.1, 3.3, 3.3, 0.7, 0.7)), constant(x, []int{2, 1}, 1e4, -1e4))
	}, func(x []float32) []float32 { // one of both sums from behind
		a := x[0]*1.1 + x[1]*3.3 + x[2]*0.7
		b := x[2]*0.7 + x[1]*3.3
		b += x[0] * 1.1
		return []float32{1e4*a - 1e4*b}
	}},
	{"a shift that cancels behind a product", []float32{0.3}, func(_ *model.Scope, x *Node) *Node {
		return Sub(Mul(Add(x, constant(x, []int{1, 1}, 1000.1)), constant(x, []int{1, 1}, 3)), constant(x, []int{1, 1}, 3000.3))
	}, nil},
	{"a factor that is drawn into a sum", []float32{1, 1e-3}, func(_ *model.Scope, x *Node) *Node {
		h := Add(dotted(x, constant(x, []int{2, 1}, 3e5, 1)), constant(x, []int{1, 1}, -3e5))
		return Mul(h, constant(x, []int{1, 1}, 1./3))
	}, func(x []float32) []float32 {
		const third = float32(1. / 3)
		w := third * 3e5
		return []float32{(x[0]*w + x[1]*third) + -3e5*third}
	}},
	{"factors with each other, underflow", []float32{1e30}, func(_ *model.Scope, x *Node) *Node {
		return Mul(Mul(x, constant(x, []int{1, 1}, 1e-25)), constant(x, []int{1, 1}, 1e-20))
	}, func(x []float32) []float32 { return []float32{x[0] * flush(float32(1e-45))} }},
	{"factors with each other, overflow", []float32{1e-30}, func(_ *model.Scope, x *Node) *Node {
		return Mul(Mul(x, constant(x, []int{1, 1}, 1e25)), constant(x, []int{1, 1}, 1e20))
	}, func(x []float32) []float32 { return []float32{x[0] * float32(math.Inf(1))} }},
	{"factors in another order, overflow", []float32{1e20}, func(_ *model.Scope, x *Node) *Node {
		return Mul(Mul(x, constant(x, []int{1, 1}, 1e-25)), constant(x, []int{1, 1}, 1e25))
	}, func(x []float32) []float32 { return []float32{x[0] * 1e25 * 1e-25} }},
	{"a factor that joins the next matrix, underflow", []float32{1e15}, func(_ *model.Scope, x *Node) *Node {
		h := Mul(dotted(x, constant(x, []int{1, 2}, 1e15, 1)), constant(x, []int{1, 1}, 1e-30))
		return dotted(h, constant(x, []int{2, 1}, 1e-20, 0))
	}, func(x []float32) []float32 { return []float32{x[0] * 1e15 * flush(float32(1e-30)*1e-20)} }},
	{"divisors with each other", []float32{1e25}, func(_ *model.Scope, x *Node) *Node {
		return Div(Div(x, constant(x, []int{1, 1}, 1e25)), constant(x, []int{1, 1}, 1e25))
	}, func(x []float32) []float32 { return []float32{0} }},
	{"flushed between", []float32{1e-15}, func(_ *model.Scope, x *Node) *Node {
		return Mul(Mul(x, constant(x, []int{1, 1}, 1e-30)), constant(x, []int{1, 1}, 1e30))
	}, func(x []float32) []float32 { return []float32{flush(flush(x[0]*1e-30) * 1e30)} }},
	{"normalised", []float32{0.3, 0.5, 0.123, 0.9}, func(_ *model.Scope, x *Node) *Node {
		h := Div(Sub(x, constant(x, []int{1, 4}, 0.4, 0.5, 0.1, 0.7)), constant(x, []int{1, 4}, 0.23, 0.22, 0.21, 0.2))
		return dotted(relu(dotted(dotted(h, drawn(x, 1, 1, 0, 4, 6)), drawn(x, 2, 1, 0, 6, 6))), drawn(x, 3, 1, 0, 6, 2))
	}, nil},
	{"batch normalisation by hand", []float32{0.3, 0.5, 0.123, 0.9}, func(_ *model.Scope, x *Node) *Node {
		h := Add(dotted(x, drawn(x, 4, 1, 0, 4, 8)), drawn(x, 5, 1, 0, 1, 8))
		scale := Div(drawn(x, 6, 0.3, 1, 1, 8), Sqrt(AddScalar(Square(drawn(x, 7, 1, 2, 1, 8)), 1e-3)))
		h = Add(Mul(Sub(h, drawn(x, 8, 1, 0, 1, 8)), scale), drawn(x, 9, 1, 0, 1, 8))
		return dotted(relu(h), drawn(x, 10, 1, 0, 8, 2))
	}, nil},
	{"axes", []float32{0.3, 0.5, 0.123, 0.9, -0.2, 0.8}, func(_ *model.Scope, x *Node) *Node {
		n := x.Shape().Dimensions[0]
		h := Mul(Reshape(x, n, 2, 3), drawn(x, 11, 1, 0, 1, 2, 3))
		h = Add(TransposeAllAxes(h, 0, 2, 1), drawn(x, 12, 1, 0, 1, 3, 2))
		h = TransposeAllAxes(Reshape(dotted(Reshape(h, n, 6), drawn(x, 13, 1, 0, 6, 6)), n, 3, 2), 0, 2, 1)
		return dotted(relu(Neg(Reshape(h, n, 6))), drawn(x, 14, 1, 0, 6, 2))
	}, nil},
	{"a kernel that covers the image", []float32{0.3, 0.5, 0.123, 0.9, -0.2, 0.8, 0.1, 0.7}, func(_ *model.Scope, x *Node) *Node {
		n := x.Shape().Dimensions[0]
		h := Convolve(Reshape(x, n, 2, 2, 2), drawn(x, 15, 1, 0, 2, 2, 2, 5)).NoPadding().Done()
		return dotted(relu(dotted(Reshape(h, n, 5), drawn(x, 16, 1, 0, 5, 5))), drawn(x, 17, 1, 0, 5, 2))
	}, nil},
	{"from a constant", []float32{0.3, 0.5}, func(_ *model.Scope, x *Node) *Node {
		return dotted(relu(Sub(constant(x, []int{1, 2}, 0.7, 0.9), Mul(constant(x, []int{1, 2}, -3, 0.3), x))), drawn(x, 18, 1, 0, 2, 2))
	}, nil},
}

// randomAffine is a chain of one to three ReLUs with one to four affine operations between them.
func randomAffine(seed uint64) affineCase {
	r := rand.New(rand.NewPCG(seed, 0x72616e64))
	inputs := 1 + r.IntN(5)
	c := affineCase{name: fmt.Sprintf("random %d", seed)}
	for range inputs {
		c.x = append(c.x, float32(r.NormFloat64()))
	}
	build := r.Uint64()
	c.f = func(_ *model.Scope, x *Node) *Node {
		r := rand.New(rand.NewPCG(build, 1))
		width := func(h *Node) int { return h.Shape().Dimensions[1] }
		for k := range 1 + r.IntN(3) {
			if k > 0 {
				x = relu(x)
			}
			for range 1 + r.IntN(4) {
				seed, n := r.Uint64(), width(x)
				size := math.Exp(3 * r.NormFloat64())
				switch r.IntN(8) {
				case 0:
					x = Add(x, drawn(x, seed, size, 0, 1, n))
				case 1:
					x = Sub(x, drawn(x, seed, size, 0, 1, n))
				case 2:
					x = Sub(drawn(x, seed, size, 0, 1, n), x)
				case 3:
					x = Mul(x, drawn(x, seed, 1, 0, 1, n))
				case 4:
					x = Div(x, drawn(x, seed, 0.2, 2, 1, n))
				case 5:
					x = Mul(x, Div(drawn(x, seed, 1, 0, 1, n), Sqrt(AddScalar(Square(drawn(x, seed+1, 1, 0, 1, n)), 0.01))))
				default:
					out := 1 + r.IntN(7)
					x = dotted(x, drawn(x, seed, 1/math.Sqrt(float64(n)), 0, n, out))
				}
			}
		}
		return x
	}
	return c
}

// violations bounds a case on small boxes and at points, and counts outputs below their bounds, of the backend and of
// other orders.
func (c affineCase) violations(t testing.TB, b compute.Backend, r Rounding) (count, checks int) {
	t.Helper()
	n, err := New(Source{Name: c.name, Graph: c.f, Input: []int{len(c.x)}, Backend: b})
	if err != nil {
		t.Fatal(err)
	}
	by, err := n.readChain(chain.ShapeOf(n.model), r)
	if err != nil {
		t.Fatal(err)
	}
	if by == nil { // its constants alone overflow
		return 0, 0
	}
	forward := model.MustNewExec(b, model.NewStore(), c.f)
	random := rand.New(rand.NewPCG(5, 5))
	for _, eps := range []float64{0, 0, 0, 1e-7, 1e-5, 1e-3, 0.1} {
		const rows = 32
		var box search.Cell
		for _, v := range c.x {
			v := float64(v)
			if checks > 0 { // at c.x first
				v *= 1 + 0.3*random.NormFloat64()
			}
			l, u := search.Outward32(float64(float32(v))-eps*math.Abs(v), float64(float32(v))+eps*math.Abs(v))
			box.Lower, box.Upper = append(box.Lower, l), append(box.Upper, u)
		}
		planes, _, err := by.Bound(t.Context(), []search.Cell{box}, EachOutput(n.outputs))
		if err != nil {
			t.Fatal(err)
		}
		var x []float32
		for range rows {
			for _, v := range pointOf(box, random) {
				x = append(x, float32(v))
			}
		}
		d := len(c.x)
		for j := range x {
			x[j] = min(max(x[j], float32(box.Lower[j%d])), float32(box.Upper[j%d]))
		}
		var all [][]float32
		y := tensors.MustCopyFlatData[float32](forward.MustCall(tensors.FromFlatDataAndDimensions(x, rows, d))[0])
		for i := range rows {
			all = append(all, y[i*n.outputs:(i+1)*n.outputs])
			one := tensors.MustCopyFlatData[float32](forward.MustCall(tensors.FromFlatDataAndDimensions(x[i*d:(i+1)*d], 1, d))[0])
			if all = append(all, one); c.computed != nil {
				all = append(all, c.computed(x[i*d:(i+1)*d]))
			}
		}
		for _, y := range all {
			for k, v := range y {
				checks++
				lower, upper := planes[0][k].Lower, -planes[0][n.outputs+k].Lower
				if !(lower <= float64(v) && float64(v) <= upper) && !(math.IsInf(lower, -1) && math.IsInf(upper, 1)) {
					count++
				}
			}
		}
	}
	return count, checks
}

// TestAffineChains: chains with several affine operations between ReLUs are sound with rounding, on every backend here
// and in orders that none of them takes; without rounding most are not. Their bounds are not below those by graphs.
func TestAffineChains(t *testing.T) {
	count := 60
	if testing.Short() {
		count = 10
	}
	cases := affineCases
	for seed := range uint64(count) {
		cases = append(cases[:len(cases):len(cases)], randomAffine(seed))
	}
	naive := 0
	for _, name := range []string{backend.Go, backend.XLACPU} {
		b, err := backend.OpenNamed(name)
		if err != nil {
			t.Logf("no backend %s: %v", name, err)
			continue
		}
		for i, c := range cases {
			if name == backend.XLACPU && i >= len(affineCases)+count/10 { // which compiles each
				break
			}
			if bad, checks := c.violations(t, b, Float32AnyOrder); bad > 0 {
				t.Errorf("%s, %s: %d of %d outputs are outside of their bounds", name, c.name, bad, checks)
			}
			if bad, _ := c.violations(t, b, RealArithmetic); bad > 0 {
				naive++
			}
		}
	}
	if naive < len(cases)/2 {
		t.Errorf("without rounding %d of %d cases are unsound: the test tests nothing", naive, len(cases))
	}
}

// TestAffineChainsAreTight: in real arithmetic a chain's bounds are at least those of the same method by graphs, and at
// points they are the value; rounding takes not much more than it does there.
func TestAffineChainsAreTight(t *testing.T) {
	b := goBackend(t)
	for i, c := range affineCases[9:] {
		n, _ := mustChain(t, Source{Name: c.name, Graph: c.f, Input: []int{len(c.x)}, Backend: b}, RealArithmetic)
		for _, eps := range []float64{0, 0.01, 0.2} {
			var lower, upper []float64
			for _, v := range c.x {
				l, u := search.Outward32(float64(v)-eps, float64(v)+eps)
				if eps == 0 {
					l, u = float64(v), float64(v)
				}
				lower, upper = append(lower, l), append(upper, u)
			}
			q := Query{Regions: Boxes([][]float64{lower}, [][]float64{upper}), Rows: [][][]float64{EachOutput(n.outputs)}}
			lowest := func(m Method) []float64 {
				a, err := n.Bound(t.Context(), q, m)
				if err != nil {
					t.Fatal(err)
				}
				return a.Lower[0]
			}
			real, general := lowest(CROWN.In(RealArithmetic)), lowest(CROWN.In(RealArithmetic).ByGraphs())
			rounded, generalRounded := lowest(CROWN), lowest(CROWN.ByGraphs())
			for k, v := range real {
				if v < general[k]-1e-9*max(1, math.Abs(v)) {
					t.Errorf("%d, %s, ε %g: row %d is at least %g by the chain, %g by the graph", i, c.name, eps, k, v, general[k])
				}
				if got, there := v-rounded[k], general[k]-generalRounded[k]; !(got > 0 && got < 20*there) {
					t.Errorf("%d, %s, ε %g: row %d: rounding takes %g by the chain, %g by the graph", i, c.name, eps, k, got, there)
				}
			}
			if half := len(real) / 2; eps == 0 {
				for k := range half {
					if math.Abs(real[k]+real[half+k]) > 1e-12*max(1, math.Abs(real[k])) {
						t.Errorf("%s: at a point output %d is in [%g, %g]", c.name, k, real[k], -real[half+k])
					}
				}
			}
		}
	}
}

// TestAffineMutants: each planted mistake shows in the test above.
func TestAffineMutants(t *testing.T) {
	b := goBackend(t)
	defer func() { chain.MutateLink = nil }()
	for name, plant := range map[string]func(l *chain.Link){
		"no roundings":               func(l *chain.Link) { l.Roundings = 0 },
		"half of the roundings":      func(l *chain.Link) { l.Roundings /= 8 },
		"a ReLU where there is none": func(l *chain.Link) { l.ReLU = true },
		"constants that cancel are not counted": func(l *chain.Link) {
			for i, v := range l.B {
				l.Size[i] = math.Abs(v)
			}
		},
		"what is flushed is small":                   func(l *chain.Link) { clear(l.Flushed) },
		"factors stay in their order":                func(l *chain.Link) { l.Regrouped = false },
		"a weight is another":                        func(l *chain.Link) { l.W[0][0] *= 1 + 1e-4 },
		"a constant is another":                      func(l *chain.Link) { l.B[0] += 1e-4 },
		"rows are exchanged":                         func(l *chain.Link) { l.W[0], l.W[len(l.W)-1] = l.W[len(l.W)-1], l.W[0] },
		"an error of computed constants is left out": func(l *chain.Link) { l.Wrong, l.Off, l.Roundings = nil, nil, min(l.Roundings, 1) },
	} {
		chain.MutateLink = plant
		caught := 0
		for i := 0; i < len(affineCases)+10 && caught == 0; i++ {
			c := randomAffine(uint64(i))
			if i < len(affineCases) {
				c = affineCases[i]
			}
			bad, _ := c.violations(t, b, Float32AnyOrder)
			caught += bad
		}
		if caught == 0 {
			t.Errorf("%q is not noticed", name)
		}
	}
}
