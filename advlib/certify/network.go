package certify

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/backend"
	"advlab/advlib/certify/internal/propagate"
)

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
	// model is what is bounded, and where its bounds are computed; deployed is the backend of the model whose outputs are
	// bounded. They may differ: see prepare.
	model    propagate.Model
	deployed compute.Backend
	exact    bool // variables are those of the deployed model

	outputs    int
	numbers    int                             // how many numbers all perturbed nodes hold for one example
	units      []unitShape                     // as Walk.Units
	boundaries []boundary                      // in order
	reach      map[int][]bool                  // for a boundary, or [outputs]: which units it needs
	reachIBP   []bool                          // which units the outputs need up to the first that are not affine
	places     map[int]*propagate.Places       // for a boundary whose rows have patches
	patches    map[int]map[int]propagate.Patch // of a boundary, if it has any: those of units, by their places in Walk.Units
	tabled     map[int]bool                    // for a boundary whose rows are picked from a table
	operations []string                        // types of all nodes that depend on x
	functions  []graph.NodeType                // functions of the backend's library that the model uses

	winding bool // a function of one tensor has products of what several operations make of it: see prepare

	limit    atomic.Int64 // of memory, 0 for the default
	mu       sync.Mutex
	programs map[any]*program

	chainMu sync.Mutex
	chains  map[Rounding]cachedChain

	onGo *Network // see quick
}

// unitShape is what is known of a unit without a graph.
type unitShape struct {
	affine bool
	bent   bool // see [propagate.Bent]
}

// boundary is a node that a unit which is not affine takes its input from: the tighter its interval, the tighter the
// lines.
type boundary struct {
	node int   // its place in Walk.Nodes
	dims []int // its shape for one example
	// exact tells that its interval is the smallest box already, as far as IBP knows the region: a single sum is between
	// it and x.
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
	n := unread(s.Name, s.Input, s.Backend, wide, exact, func(x *graph.Node) *graph.Node { return s.Graph(wide.Store().RootScope(), x) })
	return n, n.prepare()
}

// unread returns a network whose model has not been looked at yet. All networks are made here: without its maps and
// backends one is of no use.
func unread(name string, input []int, deployed compute.Backend, wide *advlib.Wide, exact bool,
	build func(x *graph.Node) *graph.Node) *Network {
	return &Network{
		model:    propagate.Model{Name: name, Input: input, Backend: deployed, Wide: wide, Build: build},
		deployed: deployed, exact: exact,
		programs: map[any]*program{}, chains: map[Rounding]cachedChain{},
	}
}

// unreadOf is unread for a classifier.
func unreadOf(c *advlib.Classifier) (*Network, error) {
	wide, err := c.Wide()
	if err != nil {
		return nil, err
	}
	return unread(c.Name(), c.Input(), c.Backend(), wide, true, c.LogitsGraph), nil
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
	fresh, err := unreadOf(c) // it copies variables that have changed, for the network that there is too
	if err != nil {
		return nil, err
	}
	v, err := c.Memo(networkKey{}, func() (any, error) { return fresh, fresh.prepare() })
	if err != nil {
		return nil, err
	}
	return v.(*Network), nil
}

// Size returns how many numbers an input has.
func (n *Network) Size() int { return n.model.Size() }

// Outputs returns K, how many numbers the model returns for an input.
func (n *Network) Outputs() int { return n.outputs }

// Refresh copies variables that have changed since. [Of] does so by itself.
func (n *Network) Refresh() error { return n.model.Wide.Refresh() }

// prepare reads the model, and chooses what computes its bounds: the backend where it is deployed, or the Go backend
// where XLA would compile for a quarter of an hour. That is so of the lines of functions such as x·Φ(x), products of
// what several operations make of one tensor. The bounds are those of the deployed model all the same.
func (n *Network) prepare() error {
	if err := n.read(); err != nil || !n.winding || backend.InfoOf(n.deployed).Name == backend.Go {
		return err
	}
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		return nil // it is slow, and right
	}
	n.model.Backend = b
	if n.read() == nil {
		return nil
	}
	n.model.Backend = n.deployed // it may have operations that the Go backend lacks
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

var (
	errNoGraph = errors.New("its Graph is nil: give the function that builds it")
	errRandom  = errors.New("its logits are random: no bound holds for all draws; leave out what draws, or certify the model under noise, " +
		"which needs outputs only: package smooth")
)
