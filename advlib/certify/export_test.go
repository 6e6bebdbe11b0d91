package certify

import (
	"context"
	"fmt"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib/backend"
	"advlab/advlib/certify/internal/propagate"
)

// UsePeerConvolution makes the first convolution on an L2 ball as loose as auto_LiRPA's until the returned function is
// called: there every output has the radius ε‖K‖₂ of the whole kernel K, also at borders where part of the kernel lies
// on the padding, which nobody perturbs (a note in its source leaves that to do). Classifiers that were bounded before
// keep their programs.
func UsePeerConvolution() (restore func()) {
	old := propagate.Rules[NodeTypeConvGeneral]
	propagate.Rules[NodeTypeConvGeneral] = peerConvolution{old.(propagate.Local)}
	return func() { propagate.Rules[NodeTypeConvGeneral] = old }
}

type peerConvolution struct{ propagate.Local }

func (r peerConvolution) Forward(p *propagate.Pass, u *propagate.Unit, in []propagate.Interval) propagate.Interval {
	n := u.Node
	s := in[0].Spread
	if s == nil {
		return r.Local.Forward(p, u, in)
	}
	kernel := n.Inputs()[1] // [height, width, in, out]
	radius := Mul(Sqrt(ReduceSum(Square(kernel), 0, 1, 2)), Sqrt(ReduceAllMax(s.Up)))
	μ := propagate.With(n, map[int]*Node{0: s.Centre})
	radius = BroadcastToDims(Reshape(radius, 1, 1, 1, -1), μ.Shape().Dimensions...)
	return propagate.Interval{Lower: Sub(μ, radius), Upper: Add(μ, radius)}
}

// ByGraphs returns the method that bounds small chains of dense layers and ReLUs by graphs too.
func (m Method) ByGraphs() Method {
	m.graphs = true
	return m
}

// LimitMemory sets the memory of one call, in bytes, until the returned function is called.
func LimitMemory(bytes int) (restore func()) {
	old := memory
	memory = bytes
	return func() { memory = old }
}

// Patches makes the network bound the neurons of a layer on patches wherever it can, or nowhere, and returns how many
// layers that are.
func (n *Network) Patches(wherever bool) (layers int, err error) {
	n.places, n.programs = map[int]*propagate.Places{}, map[any]*program{}
	err = n.model.Trace(func(g *Graph) {
		w := n.model.Walk(n.model.Parameter(g, "x", propagate.Probe))
		for _, b := range n.boundaries {
			if r := w.Receptive(w.Nodes[b.node]); r != nil && wherever {
				n.places[b.node] = &r.Places
			}
		}
	})
	return len(n.places), err
}

// LastInterval returns, for each region, the interval of the last tensor that a nonlinear operation is applied to.
func (n *Network) LastInterval(ctx context.Context, regions Regions, m Method) (lower, upper [][]float64, err error) {
	if m.rounding != RealArithmetic {
		regions = regions.outward()
	}
	r := n.begin(ctx, m, regions, n.batch(regions.Len(), m))
	defer r.close()
	known := map[int]*span{}
	if err := r.intervals(known); err != nil {
		return nil, nil, err
	}
	// The same pass forward, for the interval itself.
	a, err := n.arithmetic(m.rounding)
	if err != nil {
		return nil, nil, err
	}
	last := n.boundaries[len(n.boundaries)-1].node
	exec, err := model.NewExec(n.model.Backend, n.model.Wide.Store(), func(_ *model.Scope, in []*Node) []*Node {
		p := n.pass(a, m.kind == ibp, regions.Norm != nil, in)
		v := p.All[p.Walk.Nodes[last].Id()]
		return []*Node{v.Lower, v.Upper}
	})
	if err != nil {
		return nil, nil, err
	}
	out, err := n.call(&program{exec: exec}, slices.Concat(r.region, r.forwardTensors(known)))
	if err != nil {
		return nil, nil, err
	}
	ends := [2][]float64{tensors.MustCopyFlatData[float64](out[0]), tensors.MustCopyFlatData[float64](out[1])}
	per := len(ends[0]) / r.size
	for i := range regions.Len() {
		lower, upper = append(lower, ends[0][i*per:(i+1)*per]), append(upper, ends[1][i*per:(i+1)*per])
	}
	return lower, upper, nil
}

// OnPatches returns the rules, and the operations, that some layer's rows go back over on patches.
func (n *Network) OnPatches() (names map[string]bool, err error) {
	names = map[string]bool{}
	err = n.model.Trace(func(g *Graph) {
		w := n.model.Walk(n.model.Parameter(g, "x", propagate.Probe))
		for _, b := range n.boundaries {
			r := w.Receptive(w.Nodes[b.node])
			if r == nil {
				continue
			}
			for _, u := range w.Units {
				if r.Of[u.Node.Id()] != nil && u.Node != r.End {
					names[fmt.Sprintf("%T", u.Rule)], names[u.Node.Type().String()] = true, true
				}
			}
		}
	})
	return names, err
}

// LocalOperations are those whose rule goes back on patches.
func LocalOperations() (names []string) {
	for t, r := range propagate.Rules {
		if _, ok := r.(propagate.Local); ok {
			names = append(names, t.String())
		}
	}
	return names
}

// BoundOnGo makes the network compute its bounds on the Go backend, which compiles fast, for the outputs of the backend
// it is deployed on.
func (n *Network) BoundOnGo() error {
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		return err
	}
	n.model.Backend = b
	return n.read()
}
