package certify

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib/backend"
	"advlab/advlib/certify/internal/chain"
	"advlab/advlib/certify/internal/search"
	"advlab/advlib/onnx"
)

// network64 is a dense ReLU network as numbers, for tests.
type network64 struct {
	W [][][]float64 // by rows
	b [][]float64
}

// random32 returns a network of the given widths with weights that float32 holds.
func random32(r *rand.Rand, scale float64, widths ...int) network64 {
	var n network64
	for k := 1; k < len(widths); k++ {
		W, b := make([][]float64, widths[k]), make([]float64, widths[k])
		for i := range W {
			W[i] = make([]float64, widths[k-1])
			for j := range W[i] {
				W[i][j] = float64(float32(scale * r.NormFloat64() * math.Sqrt(2/float64(widths[k-1]))))
			}
			b[i] = float64(float32(0.1 * scale * r.NormFloat64()))
		}
		n.W, n.b = append(n.W, W), append(n.b, b)
	}
	return n
}

// source describes it in GoMLX, in float32 or float64.
func (n network64) source(b compute.Backend, double bool) Source {
	s := model.NewStore()
	scope := s.RootScope()
	put := func(name string, flat []float64, dims ...int) {
		t := tensors.FromFlatDataAndDimensions(flat, dims...)
		if !double {
			narrow := make([]float32, len(flat))
			for i, v := range flat {
				narrow[i] = float32(v)
			}
			t = tensors.FromFlatDataAndDimensions(narrow, dims...)
		}
		if _, err := scope.CreateVariable(name, t); err != nil {
			panic(err)
		}
	}
	for k, W := range n.W {
		var flat []float64
		for j := range W[0] {
			for i := range W {
				flat = append(flat, W[i][j])
			}
		}
		put(fmt.Sprintf("W%d", k), flat, len(W[0]), len(W))
		put(fmt.Sprintf("b%d", k), n.b[k], len(W))
	}
	return Source{Name: "dense", Store: s, Input: []int{len(n.W[0][0])}, Backend: b, Graph: func(scope *model.Scope, x *Node) *Node {
		value := func(name string) *Node { return scope.GetVariable(name).NodeValue(x.Graph()) }
		for k := range n.W {
			if k > 0 {
				x = Max(x, ZerosLike(x))
			}
			x = Dot(x, value(fmt.Sprintf("W%d", k))).Product()
			b := value(fmt.Sprintf("b%d", k))
			x = Add(x, BroadcastToDims(Reshape(b, 1, b.Shape().Size()), x.Shape().Dimensions...))
		}
		return x
	}}
}

// orders are ways in which float32 may sum products.
var orders = map[string]func(w, h []float64) float64{
	"forward": func(w, h []float64) float64 {
		var s float32
		for j := range w {
			s += float32(w[j]) * float32(h[j])
		}
		return float64(s)
	},
	"backward": func(w, h []float64) float64 {
		var s float32
		for j := len(w) - 1; j >= 0; j-- {
			s += float32(w[j]) * float32(h[j])
		}
		return float64(s)
	},
	"fused": func(w, h []float64) float64 {
		var s float32
		for j := range w {
			s = float32(math.FMA(w[j], h[j], float64(s))) // up to double rounding
		}
		return float64(s)
	},
	"flushed": func(w, h []float64) float64 {
		flush := func(v float32) float32 {
			if math.Abs(float64(v)) < 0x1p-126 {
				return 0
			}
			return v
		}
		var s float32
		for j := range w {
			s = flush(s + flush(flush(float32(w[j]))*flush(float32(h[j]))))
		}
		return float64(s)
	},
}

// at computes the network in float32.
func (n network64) at(x []float64, dot func(w, h []float64) float64) []float64 {
	h := x
	for k, W := range n.W {
		z := make([]float64, len(W))
		for i, w := range W {
			z[i] = float64(float32(dot(w, h)) + float32(n.b[k][i]))
			if k < len(n.W)-1 {
				z[i] = max(z[i], 0)
			}
		}
		h = z
	}
	return h
}

func goBackend(t testing.TB) compute.Backend {
	t.Helper()
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustChain(t testing.TB, s Source, r Rounding) (*Network, *chain.Chain) {
	t.Helper()
	n, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	c, err := n.readChain(chain.ShapeOf(n.model), r)
	if err != nil {
		t.Fatal(err)
	}
	if c == nil {
		t.Fatalf("%s is no chain", s.Name)
	}
	return n, c
}

// TestChainOf reads networks, and refuses what is more than affine maps and ReLUs.
func TestChainOf(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	b := goBackend(t)
	want := random32(r, 1, 3, 7, 4, 2)
	_, c := mustChain(t, want.source(b, false), Float32AnyOrder)
	if len(c.Layers) != 3 {
		t.Fatalf("%d layers", len(c.Layers))
	}
	for k, l := range c.Layers {
		for i, row := range l.W {
			for j, w := range row {
				if w != want.W[k][i][j] {
					t.Errorf("W%d[%d][%d] is %g, want %g", k, i, j, w, want.W[k][i][j])
				}
			}
			if l.B[i] != want.b[k][i] {
				t.Errorf("b%d[%d] is %g, want %g", k, i, l.B[i], want.b[k][i])
			}
		}
	}
	value := func(scope *model.Scope, x *Node, name string) *Node {
		return scope.GetVariable(name).NodeValue(x.Graph())
	}
	for _, tc := range []struct {
		name  string
		chain bool
		graph func(scope *model.Scope, x *Node) *Node
	}{
		{"shifted, and a ReLU at the end", true, func(scope *model.Scope, x *Node) *Node {
			x = Sub(x, OnesLike(x))
			x = Dot(Reshape(x, x.Shape().Dimensions[0], 3), value(scope, x, "W0")).Product()
			return Max(ZerosLike(x), x)
		}},
		{"weights in front", true, func(scope *model.Scope, x *Node) *Node {
			return Dot(x, Transpose(Transpose(value(scope, x, "W0"), 0, 1), 0, 1)).Product()
		}},
		{"residual", false, func(scope *model.Scope, x *Node) *Node { return Add(x, Max(x, ZerosLike(x))) }},
		{"max(z, -1)", false, func(scope *model.Scope, x *Node) *Node { return Max(x, MulScalar(OnesLike(x), -1)) }},
		{"max(z, 1)", false, func(scope *model.Scope, x *Node) *Node { return Max(x, OnesLike(x)) }},
		{"1 - z", true, func(scope *model.Scope, x *Node) *Node { return Sub(OnesLike(x), x) }},
		{"leaky", false, func(scope *model.Scope, x *Node) *Node { return Max(x, MulScalar(x, 0.1)) }},
		{"sigmoid", false, func(scope *model.Scope, x *Node) *Node { return Sigmoid(x) }},
		{"two products", true, func(scope *model.Scope, x *Node) *Node {
			x = Dot(x, value(scope, x, "W0")).Product()
			return Dot(x, value(scope, x, "W1")).Product()
		}},
		{"computed weights", true, func(scope *model.Scope, x *Node) *Node {
			return Dot(x, MulScalar(value(scope, x, "W0"), 0.1)).Product()
		}},
	} {
		s := want.source(b, false)
		s.Name, s.Graph = tc.name, tc.graph
		n, err := New(s)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		c, err := n.readChain(chain.ShapeOf(n.model), Float32AnyOrder)
		if err != nil || (c != nil) != tc.chain {
			t.Errorf("%s: a chain %v, want %v, %v", tc.name, c != nil, tc.chain, err)
		}
	}
	broken := want
	broken.b = [][]float64{{math.NaN(), 0, 0, 0, 0, 0, 0}, want.b[1], want.b[2]}
	n, err := New(broken.source(b, false))
	if err != nil {
		t.Fatal(err)
	}
	if c, err := n.readChain(chain.ShapeOf(n.model), Float32AnyOrder); c != nil || err != nil {
		t.Errorf("a network with NaN: %v, %v", c, err)
	}
}

// TestChainIsCROWN compares a chain with the general bounds, which walk the graph: CROWN and CROWN ∩ IBP, in real
// arithmetic and with rounding, with rows for all boxes and for each. Nothing is compiled for the chain's.
func TestChainIsCROWN(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	b := goBackend(t)
	net := random32(r, 1, 4, 20, 33, 10, 10, 3) // 33 neurons: more than go back abreast
	rows := [][]float64{{1, 0, 0}, {-1, 0, 0}, {1, -1, 0}, {0.5, 0.25, -2}}
	regions := Regions{}
	var each [][][]float64
	for _, width := range []float64{0, 1e-3, 0.05, 0.3, 1, 5} {
		for range 3 {
			var lower, upper []float64
			for range 4 {
				l, _ := search.Outward32(r.NormFloat64(), math.Inf(1))
				_, u := search.Outward32(0, l+width)
				lower, upper = append(lower, l), append(upper, u)
			}
			regions.Lower, regions.Upper = append(regions.Lower, lower), append(regions.Upper, upper)
			k := len(each) % 3
			each = append(each, slices.Concat(rows[k:], rows[:k]))
		}
	}
	n, err := New(net.source(b, false))
	if err != nil {
		t.Fatal(err)
	}
	differ := false
	for _, method := range []Method{CROWN, CROWN.WithIBP()} {
		for _, q := range []Query{{Regions: regions, Rows: [][][]float64{rows}, Slopes: true}, {Regions: regions, Rows: each, Slopes: true}} {
			bound := func(m Method) *Answer {
				a, err := n.Bound(t.Context(), q, m)
				if err != nil {
					t.Fatal(err)
				}
				return a
			}
			clear(n.programs)
			real, rounded := bound(method.In(RealArithmetic)), bound(method)
			if len(n.programs) > 0 {
				t.Errorf("%v: %d graphs for a chain", method, len(n.programs))
			}
			general, generalRounded := bound(method.ByGraphs().In(RealArithmetic)), bound(method.ByGraphs())
			if len(n.programs) == 0 {
				t.Errorf("%v: no graphs, though they were asked for", method)
			}
			differ = differ || !reflect.DeepEqual(bound(CROWN.In(RealArithmetic)).Lower, real.Lower)
			for i := range regions.Lower {
				for k := range rows {
					if d := math.Abs(general.Lower[i][k] - real.Lower[i][k]); d > 1e-9 {
						t.Errorf("%v: region %d, row %d: %g by the graph, %g by the chain", method, i, k, general.Lower[i][k], real.Lower[i][k])
					}
					for j, v := range general.Slopes[i][k] {
						if d := math.Abs(v - real.Slopes[i][k][j]); d > 1e-9 {
							t.Errorf("%v: region %d, row %d: slope %d is %g by the graph, %g by the chain", method, i, k, j, v, real.Slopes[i][k][j])
						}
					}
					if real.Slack[i][k] != 0 {
						t.Errorf("%v: slack %g in real arithmetic", method, real.Slack[i][k])
					}
					g, c := general.Lower[i][k]-generalRounded.Lower[i][k], real.Lower[i][k]-rounded.Lower[i][k]
					if !(c > 0 && g > 0 && c < 1.2*g && g < 1.2*c) {
						t.Errorf("%v: region %d, row %d: rounding takes %g by the graph, %g by the chain", method, i, k, g, c)
					}
					if g, c := generalRounded.Slack[i][k], rounded.Slack[i][k]; !(c > 0 && g > 0 && c < 1.2*g && g < 1.2*c) {
						t.Errorf("%v: region %d, row %d: slack %g by the graph, %g by the chain", method, i, k, g, c)
					}
				}
			}
		}
	}
	if !differ {
		t.Error("CROWN and CROWN ∩ IBP are the same on these boxes: the test does not tell them apart")
	}
}

// TestChainKeepsUp: a network's chain is read again when variables have changed, and only then.
func TestChainKeepsUp(t *testing.T) {
	net := random32(rand.New(rand.NewPCG(21, 22)), 1, 2, 6, 5, 2)
	s := net.source(goBackend(t), false)
	n, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	q := Query{Regions: Boxes([][]float64{{0, 0}}, [][]float64{{0.5, 0.5}}), Rows: [][][]float64{EachOutput(2)}}
	bound := func() (float64, *chain.Chain) {
		a, err := n.Bound(t.Context(), q, CROWN)
		if err != nil {
			t.Fatal(err)
		}
		return a.Lower[0][0], n.chains[Float32AnyOrder].chain
	}
	before, c := bound()
	if again, same := bound(); again != before || same != c {
		t.Errorf("%g, then %g; the same chain: %v", before, again, c == same)
	}
	if err := s.Store.GetVariable("b2").SetValue(tensors.FromFlatDataAndDimensions([]float32{float32(net.b[2][0] + 7), 0}, 2)); err != nil {
		t.Fatal(err)
	}
	if err := n.Refresh(); err != nil {
		t.Fatal(err)
	}
	if after, _ := bound(); math.Abs(after-before-7) > 1e-4 {
		t.Errorf("%g, and after 7 were added %g", before, after)
	}
}

// TestTunedChain: α-CROWN of a small chain is nowhere below CROWN, which computes in another way, and leaves alone what
// is enough.
func TestTunedChain(t *testing.T) {
	r := rand.New(rand.NewPCG(23, 24))
	net := random32(r, 1, 4, 12, 12, 3)
	n, err := New(net.source(goBackend(t), false))
	if err != nil {
		t.Fatal(err)
	}
	var regions Regions
	for range 6 {
		var lower, upper []float64
		for range 4 {
			v := r.NormFloat64()
			lower, upper = append(lower, v-0.1), append(upper, v+0.1)
		}
		regions.Lower, regions.Upper = append(regions.Lower, lower), append(regions.Upper, upper)
	}
	q := Query{Regions: regions, Rows: [][][]float64{MarginRows(0, 3)}, Slopes: true}
	bound := func(m Method) *Answer {
		a, err := n.Bound(t.Context(), q, m)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	plain, tuned := bound(CROWN), bound(AlphaCROWN)
	gain := 0.
	for i, row := range plain.Lower {
		for s, v := range row {
			if gain += tuned.Lower[i][s] - v; tuned.Lower[i][s] < v {
				t.Errorf("region %d, row %d: %g by α-CROWN, %g by CROWN", i, s, tuned.Lower[i][s], v)
			}
		}
	}
	if gain < 1e-3 {
		t.Errorf("α-CROWN gains %g", gain)
	}
	low := []float64{math.Inf(1), math.Inf(1)}
	for _, row := range plain.Lower {
		for s, v := range row {
			low[s] = min(low[s], v-1)
		}
	}
	q.Enough = low
	if enough := bound(AlphaCROWN); !reflect.DeepEqual(enough.Lower, plain.Lower) {
		t.Errorf("enough was %v: %v by α-CROWN, %v by CROWN", low, enough.Lower, plain.Lower)
	}
	// Some rows of some regions are enough.
	q.Enough = []float64{plain.Lower[0][0], plain.Lower[0][1] - 1}
	for i, row := range bound(AlphaCROWN).Lower {
		for s, v := range row {
			if v < plain.Lower[i][s] {
				t.Errorf("region %d, row %d: %g by α-CROWN, %g by CROWN", i, s, v, plain.Lower[i][s])
			}
		}
	}
}

// TestChainIsSound: what float32 computes at the corners of small boxes, in several orders of summation, is not below
// the bound; without the rounding it often is.
func TestChainIsSound(t *testing.T) {
	b := goBackend(t)
	for _, scale := range []float64{1, 1e-12, 1e6} {
		r := rand.New(rand.NewPCG(9, 9))
		net := random32(r, scale, 5, 30, 30, 30, 4)
		rows := [][]float64{{1, 0, 0, 0}, {-1, 0, 0, 0}, {1, -1, 0, 0}, {0, 0, -1, 1}}
		violations := map[Rounding]int{}
		checks := 0
		for _, rounding := range []Rounding{Float32AnyOrder, RealArithmetic} {
			r := rand.New(rand.NewPCG(1, 9))
			_, c := mustChain(t, net.source(b, false), rounding)
			for _, eps := range []float64{0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3} {
				var cells []search.Cell
				for range 40 {
					var box search.Cell
					for range 5 {
						v := scale * (2*r.Float64() - 1)
						if scale < 1 {
							v = 1e-20 * (2*r.Float64() - 1)
						}
						l, u := search.Outward32(v-eps*math.Abs(v), v+eps*math.Abs(v))
						box.Lower, box.Upper = append(box.Lower, l), append(box.Upper, u)
					}
					cells = append(cells, box)
				}
				planes, _, err := c.Bound(t.Context(), cells, rows)
				if err != nil {
					t.Fatal(err)
				}
				for i, box := range cells {
					for range 4 {
						x := pointOf(box, r)
						for j := range x {
							x[j] = min(max(float64(float32(x[j])), box.Lower[j]), box.Upper[j])
						}
						for name, order := range orders {
							y := net.at(x, order)
							for k, row := range rows {
								s := 0.
								for j := range row {
									s += row[j] * y[j]
								}
								checks++
								if s < planes[i][k].Lower {
									violations[rounding]++
									if rounding == Float32AnyOrder {
										t.Errorf("scale %g, ε %g, %s, row %d: %g is below %g", scale, eps, name, k, s, planes[i][k].Lower)
									}
								}
							}
						}
					}
				}
			}
		}
		t.Logf("scale %g: %d of %d checks violated with rounding, %d without", scale, violations[Float32AnyOrder], checks/2,
			violations[RealArithmetic])
		if violations[RealArithmetic] < 100 {
			t.Errorf("scale %g: real arithmetic was violated %d times only: the test tests nothing", scale, violations[RealArithmetic])
		}
	}
}

// TestChainOverflows: bounds beyond float32 say nothing.
func TestChainOverflows(t *testing.T) {
	net := random32(rand.New(rand.NewPCG(3, 3)), 1e15, 2, 8, 8, 8, 2)
	_, c := mustChain(t, net.source(goBackend(t), false), Float32AnyOrder)
	planes, _, err := c.Bound(context.Background(), []search.Cell{{Lower: []float64{-1, -1}, Upper: []float64{1, 1}}}, [][]float64{{1, 0}})
	if err != nil || !math.IsInf(planes[0][0].Lower, -1) || planes[0][0].Slope != nil {
		t.Errorf("%+v, %v", planes, err)
	}
	if _, _, err := c.Bound(canceled(), make([]search.Cell, 3), nil); err == nil {
		t.Error("it goes on when cancelled")
	}
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// TestChainOnACAS: degenerate boxes around random inputs of a network of the competition, against the outputs of every
// backend here: with rounding none is below its bound.
func TestChainOnACAS(t *testing.T) {
	path := filepath.Join("..", "..", "..", "shared", "data", "vnnlib", "ACASXU_run2a_1_1_batch_2000.onnx")
	if _, err := os.Stat(path); err != nil {
		t.Skip("no ../shared/data/vnnlib beside the checkout")
	}
	boxes := 128 // of 5 outputs and both signs: 1280 checks for each ε
	if os.Getenv("ADVLAB_FULL") != "" {
		boxes = 6400 // 64000
	}
	var rows [][]float64
	for k := range 5 {
		for _, sign := range []float64{1, -1} {
			row := make([]float64, 5)
			row[k] = sign
			rows = append(rows, row)
		}
	}
	for _, name := range []string{backend.Go, backend.XLACPU} {
		b, err := backend.OpenNamed(name)
		if err != nil {
			t.Logf("no backend %s: %v", name, err)
			continue
		}
		net, err := onnx.Open(path, onnx.Options{}) // once for each backend, to which its variables go
		if err != nil {
			t.Fatal(err)
		}
		s := Source{Name: net.Name(), Graph: net.Graph, Store: net.Store(), Input: net.Input(), Backend: b}
		d := &deployed{input: s.Input, size: 5, dtype: dtypes.Float32,
			run: onSource{graph: s.Graph, store: s.Store, backend: b, mu: new(sync.Mutex), programs: map[any]*model.Exec{}}}
		_, c := mustChain(t, s, Float32AnyOrder)
		_, naive := mustChain(t, s, RealArithmetic)
		r := rand.New(rand.NewPCG(17, 18))
		for _, eps := range []float64{0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3} {
			var cells []search.Cell
			var points [][]float64
			for range boxes {
				var box search.Cell
				var x []float64
				for range 5 {
					v := r.Float64() - 0.5
					l, u := search.Outward32(v-eps, v+eps)
					if eps == 0 {
						l = float64(float32(v))
						u = l
					}
					box.Lower, box.Upper = append(box.Lower, l), append(box.Upper, u)
					x = append(x, []float64{l, u}[r.IntN(2)])
				}
				cells, points = append(cells, box), append(points, x)
			}
			outputs, err := d.outputs(t.Context(), points)
			if err != nil {
				t.Fatal(err)
			}
			below := map[*chain.Chain]int{}
			slack := 0.
			for _, by := range []*chain.Chain{c, naive} {
				planes, _, err := by.Bound(t.Context(), cells, rows)
				if err != nil {
					t.Fatal(err)
				}
				for i, y := range outputs {
					for k, row := range rows {
						sign := row[k/2]
						if sign*y[k/2] < planes[i][k].Lower {
							below[by]++
						}
						if by == c {
							slack -= planes[i][k].Lower
						} else {
							slack += planes[i][k].Lower
						}
					}
				}
			}
			t.Logf("%s, ε %g: of %d outputs %d are below their bound, %d without rounding; mean slack %.2g", name, eps, boxes*len(rows), below[c],
				below[naive], slack/float64(boxes*len(rows)))
			if below[c] > 0 {
				t.Errorf("%s, ε %g: %d violations", name, eps, below[c])
			}
			if eps == 0 && below[naive] == 0 {
				t.Errorf("%s: no violation without rounding: the test tests nothing", name)
			}
		}
	}
}

// TestChainShifted: what float32 rounds before the first product is in the bounds: y = ((x − c) + c)·w for a large c.
func TestChainShifted(t *testing.T) {
	const c, w = 100.1, 3
	net := network64{W: [][][]float64{{{w}}}, b: [][]float64{{0}}}
	s := net.source(goBackend(t), false)
	s.Graph = func(scope *model.Scope, x *Node) *Node {
		// 100.1 in float32, which is what both arithmetics subtract.
		shift := BroadcastToDims(Scalar(x.Graph(), x.DType(), float64(float32(c))), x.Shape().Dimensions...)
		return Dot(Add(Sub(x, shift), shift), scope.GetVariable("W0").NodeValue(x.Graph())).Product()
	}
	r := rand.New(rand.NewPCG(19, 20))
	violations := map[Rounding]int{}
	for _, rounding := range []Rounding{Float32AnyOrder, RealArithmetic} {
		n, err := New(s)
		if err != nil {
			t.Fatal(err)
		}
		by, err := n.readChain(chain.ShapeOf(n.model), rounding)
		if err != nil {
			t.Fatal(err)
		}
		if by == nil {
			t.Fatal("it is no chain")
		}
		for range 200 {
			x := float32(r.Float64())
			y := float64(((x - float32(c)) + float32(c)) * w)
			planes, _, err := by.Bound(t.Context(), []search.Cell{{Lower: []float64{float64(x)}, Upper: []float64{float64(x)}}},
				[][]float64{{1}, {-1}})
			if err != nil {
				t.Fatal(err)
			}
			if y < planes[0][0].Lower || -y < planes[0][1].Lower {
				violations[rounding]++
			}
		}
	}
	if violations[Float32AnyOrder] > 0 || violations[RealArithmetic] < 50 {
		t.Errorf("%d violations with rounding, %d without", violations[Float32AnyOrder], violations[RealArithmetic])
	}
}

// TestChainFromBias: a sum may start from the bias that is added to it, as XLA's product of a matrix and one vector
// does: of a hundred 3s added to 1e8 nothing is left.
func TestChainFromBias(t *testing.T) {
	ones, threes := make([]float64, 100), make([]float64, 100)
	for i := range ones {
		ones[i], threes[i] = 1, 3
	}
	net := network64{W: [][][]float64{{ones, ones}}, b: [][]float64{{1e8, -1e8}}}
	_, c := mustChain(t, net.source(goBackend(t), false), Float32AnyOrder)
	planes, _, err := c.Bound(t.Context(), []search.Cell{{Lower: threes, Upper: threes}}, [][]float64{{1, 0}, {-1, 0}, {0, 1}, {0, -1}})
	if err != nil {
		t.Fatal(err)
	}
	for k, b := range net.b[0] {
		y := float32(b)
		for range threes {
			y += 3
		}
		if l, u := planes[0][2*k].Lower, -planes[0][2*k+1].Lower; !(l <= float64(y) && float64(y) <= u && u-l < 4000) {
			t.Errorf("output %d is %g, its bounds are [%g, %g]", k, y, l, u)
		}
	}
}

// TestFloat64Model: bounds of a model that is deployed in float64 hold for it, at inputs and with weights that float32
// does not hold, by the chain and by the general bounds: the errors that they count with are those of float32, and
// larger.
func TestFloat64Model(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 32))
	net := random32(r, 1, 6, 20, 20, 3)
	for k := range net.W {
		for i, row := range net.W[k] {
			for j := range row {
				row[j] *= 1 + 1e-9*r.NormFloat64()
			}
			net.b[k][i] *= 1 + 1e-9*r.NormFloat64()
		}
	}
	for _, name := range []string{backend.Go, backend.XLACPU} {
		b, err := backend.OpenNamed(name)
		if err != nil {
			t.Logf("no backend %s: %v", name, err)
			continue
		}
		s := net.source(b, true)
		n, c := mustChain(t, s, Float32AnyOrder)
		d := &deployed{input: s.Input, size: 6, dtype: dtypeOf(s.Store),
			run: onSource{graph: s.Graph, store: s.Store, backend: b, mu: new(sync.Mutex), programs: map[any]*model.Exec{}}}
		var points [][]float64
		var cells []search.Cell
		for range 200 {
			x, box := make([]float64, 6), search.Cell{}
			for j := range x {
				x[j] = r.NormFloat64()
				l, u := search.Outward32(x[j], x[j])
				box.Lower, box.Upper = append(box.Lower, l), append(box.Upper, u)
			}
			points, cells = append(points, x), append(cells, box)
		}
		y, err := d.outputs(t.Context(), points)
		if err != nil {
			t.Fatal(err)
		}
		rows := EachOutput(3)
		planes, _, err := c.Bound(t.Context(), cells, rows)
		if err != nil {
			t.Fatal(err)
		}
		a, err := n.Bound(t.Context(), Query{Regions: Boxes(points, points), Rows: [][][]float64{rows}}, CROWN.ByGraphs())
		if err != nil {
			t.Fatal(err)
		}
		for i := range points {
			for k := range 3 {
				for by, bound := range map[string][2]float64{"chain": {planes[i][k].Lower, -planes[i][3+k].Lower},
					"graph": {a.Lower[i][k], -a.Lower[i][3+k]}} {
					if v := y[i][k]; !(bound[0] <= v && v <= bound[1] && bound[1]-bound[0] < 1e-3) {
						t.Fatalf("%s, %s: output %d is %.17g, its bounds are %.17g", name, by, k, v, bound)
					}
				}
			}
		}
	}
}

// pointOf is a point of a cell, at a corner or on an edge now and then.
func pointOf(c search.Cell, r *rand.Rand) []float64 {
	x := make([]float64, len(c.Lower))
	for i := range x {
		x[i] = c.Lower[i] + []float64{0, 1, r.Float64(), r.Float64()}[r.IntN(4)]*(c.Upper[i]-c.Lower[i])
		x[i] = min(max(x[i], c.Lower[i]), c.Upper[i])
	}
	return x
}
