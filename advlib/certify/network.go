package certify

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/backend"
)

const float32Type = dtypes.Float32

// Source describes a model to [New].
type Source struct {
	// Name is shown in error messages.
	Name string
	// Graph builds the model in the type of its input, which is float64 here, with variables of the scope in float64.
	Graph advlib.LogitsFn
	// Store holds the variables: those of the deployed model in float32, or others in float64, which the deployed model is
	// taken to round to float32.
	Store *model.Store
	// Input is the shape of one input, without the batch axis.
	Input []int
	// Backend is where the model is deployed, and where the bounds are computed. Nil means backend.Open().
	Backend compute.Backend
}

// Network is a model ready to be bounded. Its compiled graphs are kept as long as it lives. Its methods may be called
// concurrently, as long as nobody changes the variables.
type Network struct {
	name  string
	input []int
	// deployed is the backend of the model whose outputs are bounded, and backend the one that computes the bounds: see compiles.
	deployed, backend compute.Backend

	wide  *advlib.Wide
	build func(x *graph.Node) *graph.Node // in float64, with wide locked
	exact bool                            // variables are those of the deployed model

	outputs    int
	numbers    int                   // how many numbers all perturbed nodes hold for one example
	units      []unitShape           // as walk.units
	boundaries []boundary            // in order
	reach      map[int][]bool        // for a boundary, or -1 for the outputs: which units it needs
	reachIBP   []bool                // which units the outputs need up to the first that are not affine
	places     map[int]*places       // for a boundary whose rows have patches
	patches    map[int]map[int]patch // of a boundary, if it has any: those of units, by their places in walk.units
	tabled     map[int]bool          // for a boundary whose rows are picked from a table
	operations []string              // types of all nodes that depend on x
	functions  []graph.NodeType      // functions of the backend's library that the model uses

	winding bool // a function of one tensor has products of what several operations make of it: see prepare

	limit    atomic.Int64 // of memory, 0 for the default
	mu       sync.Mutex
	programs map[any]*program

	chainMu sync.Mutex
	chains  map[Rounding]cachedChain

	onGo *Network // see quick
	// borrows tells that the variables are those of a network on another backend, which will want them again.
	borrows bool
}

// unitShape is what is known of a unit without a graph.
type unitShape struct {
	affine bool
	bent   bool // see [bent]
}

// boundary is a node that a unit which is not affine takes its input from: the tighter its interval, the tighter the lines.
type boundary struct {
	node int   // its place in walk.nodes
	dims []int // its shape for one example
	// exact tells that its interval is the smallest box already, as far as IBP knows the region: a single sum is between it
	// and x.
	exact bool
}

// New reads a model's graph. It is an error that names operation and line if one of its operations cannot be bounded.
func New(s Source) (*Network, error) {
	n, err := newNetwork(s)
	if err != nil {
		return nil, fmt.Errorf("certify: model %q: %w", s.Name, err)
	}
	return n, nil
}

func newNetwork(s Source) (*Network, error) {
	if s.Graph == nil {
		return nil, errNoGraph
	}
	if s.Store == nil {
		s.Store = model.NewStore()
	}
	if s.Backend == nil {
		b, err := backend.Open()
		if err != nil {
			return nil, err
		}
		s.Backend = b
	}
	wide, err := advlib.NewWide(s.Store)
	if err != nil {
		return nil, err
	}
	exact := true
	for v := range s.Store.IterVariables() {
		exact = exact && v.DType() != dtypes.Float64
	}
	n := &Network{name: s.Name, input: s.Input, deployed: s.Backend, backend: s.Backend, wide: wide, exact: exact, programs: map[any]*program{}, chains: map[Rounding]cachedChain{}}
	n.build = func(x *graph.Node) *graph.Node { return s.Graph(wide.Store().RootScope(), x) }
	return n, n.prepare()
}

type networkKey struct{}

// Of returns a classifier's network; the same one each time, with the variables as they are now.
func Of(c *advlib.Classifier) (*Network, error) {
	if c == nil {
		return nil, fmt.Errorf("certify: the classifier is nil")
	}
	n, err := of(c)
	if err != nil {
		return nil, fmt.Errorf("certify: classifier %q: %w", c.Name(), err)
	}
	return n, nil
}

func of(c *advlib.Classifier) (*Network, error) {
	if c.Random() {
		return nil, errRandom
	}
	wide, err := c.Wide()
	if err != nil {
		return nil, err
	}
	v, err := c.Memo(networkKey{}, func() (any, error) {
		n := &Network{name: c.Name(), input: c.Input(), deployed: c.Backend(), backend: c.Backend(), wide: wide, exact: true, build: c.LogitsGraph, programs: map[any]*program{}, chains: map[Rounding]cachedChain{}}
		return n, n.prepare()
	})
	if err != nil {
		return nil, err
	}
	return v.(*Network), nil
}

// Size returns how many numbers an input has.
func (n *Network) Size() int {
	size := 1
	for _, d := range n.input {
		size *= d
	}
	return size
}

// Outputs returns K, how many numbers the model returns for an input.
func (n *Network) Outputs() int { return n.outputs }

// Refresh copies variables that have changed since. [Of] does so by itself.
func (n *Network) Refresh() error { return n.wide.Refresh() }

// probe and repeats are batch sizes of graphs that are only looked at: two that no other axis is likely to have, so that
// an axis that grows with the batch can be told from others.
const (
	probe   = 3
	repeats = 5
)

// prepare reads the model, and chooses what computes its bounds: the backend where it is deployed, or the Go backend where XLA would
// compile for a quarter of an hour. That is so of the lines of functions such as x·Φ(x), products of what several operations make of
// one tensor. The bounds are those of the deployed model all the same.
func (n *Network) prepare() error {
	if err := n.read(); err != nil || !n.winding || backend.InfoOf(n.deployed).Name == backend.Go {
		return err
	}
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		return nil // it is slow, and right
	}
	n.backend = b
	if n.read() == nil {
		return nil
	}
	n.backend = n.deployed // it may have operations that the Go backend lacks
	return n.read()
}

// read builds the model, and refuses what cannot be bounded.
func (n *Network) read() error {
	ops, err := n.explain()
	if err != nil {
		return err
	}
	return refuse(ops)
}

// trace builds a graph that is thrown away. What build panics with is returned as an error.
func (n *Network) trace(build func(g *graph.Graph)) error {
	n.wide.Lock()
	defer n.wide.Unlock()
	g := graph.NewGraph(n.backend, "trace of "+n.name)
	defer g.Finalize()
	return catch(func() { build(g) })
}

// catch returns what a graph function panics with as an error.
func catch(build func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			var ok bool
			if err, ok = r.(error); !ok {
				err = fmt.Errorf("%v", r)
			}
		}
	}()
	build()
	return nil
}

// parameterOf returns a graph's input of the given rows.
func (n *Network) parameterOf(g *graph.Graph, name string, rows int) *graph.Node {
	return graph.Parameter(g, name, shapes.Make(dtypes.Float64, append([]int{rows}, n.input...)...))
}

var (
	errNoGraph = errors.New("its Graph is nil: give the function that builds it")
	errRandom  = errors.New("its logits are random: no bound holds for all draws; see randomized smoothing")
)

var errIndependent = errors.New("the outputs do not depend on the input x in the graph: no perturbation would change them, and a bound would mean nothing")

// walk builds the model on x.
func (n *Network) walk(x *graph.Node) *walk {
	w := newWalk(n.backend, n.build, x)
	if !w.perturbed(w.out) {
		panic(errIndependent)
	}
	return w
}

// explain lists the operations, each with its problem, if there is one.
func (n *Network) explain() (ops []Operation, err error) {
	err = n.trace(func(g *graph.Graph) {
		g.SetTraced(true) // before x, by which package onnx sees that its nodes are to be named
		x := n.parameterOf(g, "x", probe)
		once, err := n.traced(x)
		if err != nil {
			panic(err)
		}
		g.SetTraced(false)
		out := once.out.Shape()
		if out.Rank() != 2 || out.Dimensions[0] != probe || out.DType != dtypes.Float64 {
			panic(fmt.Errorf("its outputs are %v for inputs of shape %v: they must be [%d, K] and of the type of the inputs", out, x.Shape().Dimensions, probe))
		}
		n.outputs = out.Dimensions[1]
		// Not to be built a second time: GoMLX keeps constants of the first closures, which the second ones may not use.
		for _, v := range once.nodes {
			switch v.Type() {
			case graph.NodeTypeWhile, graph.NodeTypeIf, graph.NodeTypeCall:
				panic(fmt.Errorf("%v", operation(v, probe, "there is no rule for it: unroll loops, and write branches by Where")))
			}
		}
		if err := checkFusion(n.deployed, n.build, n.parameterOf(g, "fused", probe)); err != nil {
			panic(err)
		}
		again := n.walk(n.parameterOf(g, "again", probe*repeats))
		if len(once.nodes) != len(again.nodes) || len(once.units) != len(again.units) {
			panic(fmt.Errorf("the model has %d operations on x for %d examples and %d for %d: it must not depend on the batch size", len(once.nodes), probe, len(again.nodes), probe*repeats))
		}
		if f := once.forbidden; f != nil {
			ops = append(ops, operation(f, probe, "rows would mix or be random: build the model in inference mode, without dropout"))
		}
		problems := (&pair{once: once, again: again, exact: n.exact}).problems()
		for i, u := range once.units {
			for _, v := range u.nodes() {
				ops = append(ops, operation(v, probe, problems[i]))
			}
		}
		if refuse(ops) == nil {
			n.describe(once)
		}
	})
	return ops, err
}

// describe notes what is needed of a walk without its graph. All its operations can be bounded.
func (n *Network) describe(w *walk) {
	n.numbers, n.units, n.boundaries, n.operations, n.functions, n.winding = 0, nil, nil, nil, nil, false
	types := map[graph.NodeType]bool{}
	for _, v := range w.nodes {
		n.numbers += v.Shape().Size() / probe
		n.operations = append(n.operations, v.Type().String())
	}
	// Constants may use functions too.
	seen := map[graph.NodeId]bool{}
	var visit func(v *graph.Node)
	visit = func(v *graph.Node) {
		if seen[v.Id()] {
			return
		}
		seen[v.Id()] = true
		t := v.Type()
		if t == graph.NodeTypeRsqrt || t == graph.NodeTypeBatchNormForInference {
			t = graph.NodeTypeSqrt
		}
		if _, ok := functions[t]; ok || t == graph.NodeTypePow {
			types[t] = true
		}
		for _, in := range v.Inputs() {
			visit(in)
		}
	}
	visit(w.out)
	for t := range types {
		n.functions = append(n.functions, t)
	}
	slices.Sort(n.functions)

	// sums counts sums on the way from x; 2 stands for more than one, and for two ways.
	sums := map[graph.NodeId]int{w.x.Id(): 0}
	isBoundary := map[int]bool{}
	for _, u := range w.units {
		_, isBent := u.rule.(bent)
		n.units = append(n.units, unitShape{affine: u.rule.affine(), bent: isBent})
		n.winding = n.winding || w.winds(u)
		count := 2
		if u.rule.affine() && len(u.perturbed) == 1 {
			count = sums[u.the().Id()]
			switch u.n.Type() {
			case graph.NodeTypeDotGeneral, graph.NodeTypeConvGeneral, graph.NodeTypeReduceSum, graph.NodeTypeReduceWindow, graph.NodeTypeCumSum:
				count = min(count+1, 2)
			}
			if u.n.Shape().Size() > u.the().Shape().Size() && count == 0 {
				count = 1 // repeated coordinates
			}
		}
		sums[u.n.Id()] = count
		if u.rule.affine() {
			continue
		}
		for _, k := range u.tightened() {
			isBoundary[w.index[u.inputs[k].Id()]] = true
		}
	}
	for i, v := range w.nodes {
		if i > 0 && isBoundary[i] {
			dims := slices.Clone(v.Shape().Dimensions)
			if len(dims) > 0 {
				dims[0] /= probe
			}
			n.boundaries = append(n.boundaries, boundary{node: i, dims: dims, exact: sums[v.Id()] <= 1})
		}
	}
	place := map[*unit]int{}
	for i, u := range w.units {
		place[u] = i
	}
	set := func(units []*unit) []bool {
		s := make([]bool, len(w.units))
		for _, u := range units {
			s[place[u]] = true
		}
		return s
	}
	none := func(*unit) bool { return false }
	n.reach, n.places = map[int][]bool{-1: set(w.ancestors(w.out, none))}, map[int]*places{}
	n.tabled, n.patches = map[int]bool{}, map[int]map[int]patch{}
	for _, b := range n.boundaries {
		if r := w.receptive(w.nodes[b.node]); r != nil {
			if 2*r.numbers <= r.whole { // fewer elements do not save time
				n.places[b.node] = &r.places
			}
			n.patches[b.node] = map[int]patch{}
			for i, u := range w.units {
				if p, ok := r.of[u.n.Id()]; ok {
					n.patches[b.node][i] = p
				}
			}
		}
		n.tabled[b.node] = n.places[b.node] == nil && w.tabled(w.nodes[b.node])
		n.reach[b.node] = set(w.ancestors(w.nodes[b.node], none))
	}
	n.reachIBP = set(w.ancestors(w.out, func(u *unit) bool { return !u.rule.affine() }))
}

// traced walks the model; an error in building it names the line.
func (n *Network) traced(x *graph.Node) (w *walk, err error) {
	err = catch(func() { w = n.walk(x) })
	if err == nil {
		return w, nil
	}
	if errors.Is(err, errIndependent) {
		return nil, err
	}
	text := fmt.Sprintf("%+v", err) // with the stack, if GoMLX gave it one
	first, _, _ := strings.Cut(err.Error(), "\n")
	if line := modelLine(text); line != "" {
		first += ", at " + line
	}
	for _, name := range []string{"Float32", "float32"} {
		if strings.Contains(text, name) {
			return nil, fmt.Errorf("it cannot be built in float64, as bounds need it: a constant of it seems to be of type float32: make it of the type of x, as in ConstAsDType(g, x.DType(), values) or AddScalar(x, 1): %s", first)
		}
	}
	return nil, fmt.Errorf("it cannot be built in float64, as bounds need it: %s", first)
}
