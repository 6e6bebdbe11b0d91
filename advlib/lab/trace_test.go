package lab_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/gomlx/ml/train/optimizer"

	"advlab/advlib"
	"advlab/advlib/backend"
	"advlab/advlib/lab"
)

func open(t testing.TB) compute.Backend {
	t.Helper()
	b, err := backend.Open()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// trace returns the text of a function of an input [8, 6, 6, 2].
func trace(t *testing.T, f func(scope *model.Scope, x *Node) []*Node) string {
	t.Helper()
	text, err := lab.Trace(open(t), model.NewStore(), []shapes.Shape{shapes.Make(dtypes.Float32, 8, 6, 6, 2)},
		func(scope *model.Scope, in []*Node) []*Node {
			return f(scope, in[0])
		})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// network is a convolution and a dense layer, with everything in it that one may edit.
type network struct {
	stride, padding, units, axis int
	slope                        float64
	constant                     int // position of the odd one among many equal constants
	order                        bool
	second                       bool
	frozen                       bool
}

func (n network) build(scope *model.Scope, x *Node) []*Node {
	variable := func(name string, dims ...int) *Node {
		return scope.VariableWithShape(name, shapes.Make(dtypes.Float32, dims...)).SetTrainable(!n.frozen).NodeValue(x)
	}
	around := [2]int{n.padding, n.padding}
	y := Convolve(x, variable("kernel", 3, 3, 2, 4)).Strides(n.stride).PaddingPerDim([][2]int{around, around}).Done()
	y = Max(y, MulScalar(y, n.slope))
	y = Reshape(y, 8, -1)
	y = DotProduct(y, variable("w", y.Shape().Dimensions[1], n.units))
	many := make([]float32, 64)
	many[n.constant] = 1
	y = Add(y, ReduceSum(Const(y.Graph(), many)))
	y = Sort(y, n.axis, true)
	a, b := Sin(y), Cos(y)
	if n.order {
		a, b = b, a
	}
	z := Sub(a, b)
	if n.second {
		return []*Node{a}
	}
	return []*Node{z}
}

func TestTraceSeesEveryEdit(t *testing.T) {
	base := network{stride: 1, padding: 1, units: 5, axis: 1, slope: 0.1}
	texts := map[string]string{trace(t, base.build): "base"}
	if first, again := trace(t, base.build), trace(t, base.build); first != again {
		t.Fatal("the same function has two traces")
	}
	for what, edit := range map[string]func(n *network){
		"stride":                 func(n *network) { n.stride = 2 },
		"padding":                func(n *network) { n.padding = 2 },
		"units":                  func(n *network) { n.units = 6 },
		"the axis of a sort":     func(n *network) { n.axis = 0 },
		"a scalar":               func(n *network) { n.slope = 0.1000001 },
		"one of 64 constants":    func(n *network) { n.constant = 1 },
		"the order of operands":  func(n *network) { n.order = true },
		"which node is returned": func(n *network) { n.second = true },
		"whether it trains":      func(n *network) { n.frozen = true },
	} {
		n := base
		edit(&n)
		text := trace(t, n.build)
		if other, seen := texts[text]; seen {
			t.Errorf("after an edit of %s the trace is that of %s", what, other)
		}
		texts[text] = what
	}
}

// The optimizer's step is seen too: its hyper-parameters, and which variable becomes what.
func TestTraceSeesTheOptimizer(t *testing.T) {
	step := func(adam *optimizer.AdamConfig) string {
		return trace(t, func(scope *model.Scope, x *Node) []*Node {
			w := scope.VariableWithShape("w", shapes.Make(dtypes.Float32, 72)).NodeValue(x)
			loss := ReduceAllSum(Square(Mul(Reshape(x, 8, 72), InsertAxes(w, 0))))
			adam.Done().UpdateGraph(scope.Store().RootScope(), x.Graph(), loss)
			return []*Node{loss}
		})
	}
	base := step(optimizer.Adam())
	if !strings.Contains(base, "variable /w (Float32)[72] trainable true becomes #") {
		t.Errorf("the update of w is not in the trace:\n%s", base)
	}
	for what, other := range map[string]*optimizer.AdamConfig{
		"beta1": optimizer.Adam().Betas(0.8, 0.999), "epsilon": optimizer.Adam().Epsilon(1e-6),
		"weight decay": optimizer.Adam().WeightDecay(0.01), "Adamax": optimizer.Adam().Adamax(),
	} {
		if step(other) == base {
			t.Errorf("another %s has the same trace", what)
		}
	}
}

func TestTraceReturnsPanics(t *testing.T) {
	_, err := lab.Trace(open(t), model.NewStore(), []shapes.Shape{shapes.Make(dtypes.Float32, 2, 3)},
		func(_ *model.Scope, in []*Node) []*Node {
			return []*Node{Reshape(in[0], 7)}
		})
	if err == nil || !strings.Contains(err.Error(), "lab: tracing the graph for inputs of shape [(Float32)[2, 3]]") {
		t.Errorf("error %v", err)
	}
	_, err = lab.Trace(open(t), model.NewStore(), []shapes.Shape{shapes.Make(dtypes.Float32)}, func(_ *model.Scope, in []*Node) []*Node {
		branch := NewClosure(in[0].Graph(), func(g *Graph) []*Node { return []*Node{Scalar(g, dtypes.Float32, 1)} })
		return If(GreaterThan(in[0], ZerosLike(in[0])), branch, branch)
	})
	if !errors.Is(err, lab.ErrHidden) {
		t.Errorf("a branch: error %v, want %v", err, lab.ErrHidden)
	}
	if _, err = lab.Trace(open(t), model.NewStore(), nil, func(*model.Scope, []*Node) []*Node { return nil }); err == nil {
		t.Error("a function that returns nothing is traced")
	}
}

func TestVariables(t *testing.T) {
	store := func(path string, values ...float32) *model.Store {
		s := model.NewStore()
		if _, err := s.CreateVariable(path, tensors.FromFlatDataAndDimensions(values, len(values))); err != nil {
			t.Fatal(err)
		}
		return s
	}
	var sums []string
	for _, s := range []*model.Store{store("a", 1, 2), store("b", 1, 2), store("a", 1, 3), store("a", 1, 2, 0)} {
		sum, err := lab.Variables(s)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(sums, sum) {
			t.Errorf("different variables have the hash %s", sum)
		}
		sums = append(sums, sum)
	}
	seeded := store("a", 1, 2)
	if err := seeded.SetRNGStateFromSeed(3); err != nil {
		t.Fatal(err)
	}
	if sum, err := lab.Variables(seeded); err != nil || sum != sums[0] {
		t.Errorf("the state of the random numbers is in the hash (%v)", err)
	}
}

type local struct{ N int }

func (local) String() string { return "local" }

func TestDescribe(t *testing.T) {
	n := 3
	seen := make(map[string]any)
	for _, v := range []any{
		1, int64(1), 1., "1", true, nil, []int{1}, []int{1, 2}, map[string]int{"a": 1}, map[string]int{"a": 2}, &n,
		struct{ a int }{1}, struct{ b int }{1}, struct{ a any }{1.5},
		network{slope: 0.1}, network{slope: 0.2}, advlib.Targeted(1), advlib.Targeted(2), advlib.Linf, advlib.L2,
		struct{ norm advlib.Norm }{advlib.Linf}, struct{ norm advlib.Norm }{advlib.L2},
	} {
		text, err := lab.Describe(v)
		if err != nil {
			t.Errorf("%#v: %v", v, err)
		}
		if other, twice := seen[text]; twice {
			t.Errorf("%#v and %#v have the text %s", v, other, text)
		}
		seen[text] = v
	}
	if _, err := lab.Describe(struct{ f func() }{func() {}}); err == nil || !strings.Contains(err.Error(), "field f: it holds a func()") {
		t.Errorf("a function: error %v", err)
	}
	if _, err := lab.Describe(optimizer.Adam()); err == nil || !strings.Contains(err.Error(), "is not known to the library") {
		t.Errorf("a foreign type with methods: error %v", err)
	}
	if _, err := lab.Describe(local{1}); err != nil {
		t.Errorf("a type of advlab: %v", err)
	}
	type ring struct{ Next *ring }
	r := &ring{}
	r.Next = r
	if _, err := lab.Describe(r); err == nil {
		t.Error("a value that points to itself is described")
	}
}
