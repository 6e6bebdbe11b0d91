package certify

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib/backend"
)

// chain is a network that is nothing but affine maps of vectors with ReLUs between them, as numbers: small controllers are
// such. Branch and bound asks for bounds of thousands of boxes, each of which has a few ReLUs only that are not linear: here
// rows are made for those alone, without a graph to compile. The bounds are CROWN's ∩ IBP's, with the rounding of [Method].
type chain struct {
	layers []link
	a      arithmetic
	inputs int
}

// link is z = W(h + before) + after, of which a ReLU is taken but in the last one.
type link struct {
	W [][]float64 // by rows: one for each output
	// b is W·before + after. terms are what of it is rounded in a step of its own: each a vector that is added, in order, to h
	// or to Wh.
	b             []float64
	before, after [][]float64
	norms         []float64 // of rows, Σ|w|
	// wrong is how far the deployed weights may be from W, by rows; nil for not at all.
	wrong [][]float64
	exact bool // W is no operation of the model
}

// Limits of what is taken as a chain: the most weights, and the most numbers to read them.
const (
	maxChainWeights = 1 << 22
	maxChainNumbers = 1 << 26
)

// smallWork is the most products for a box that are not left to XLA: with more, its compiled graphs win over plain Go.
const smallWork = 1 << 26

// cachedChain is a chain, or nil, as of a version of the variables.
type cachedChain struct {
	chain   *chain
	version int
}

// small returns the network as a chain if it is one, its bounds are what the method asks for or begins with, and they take less time than
// by graphs; nil if not.
func (n *Network) small(q Query, m Method) (*chain, error) {
	if q.Regions.Norm != nil || m.kind != crown || m.line != Adaptive || m.graphs {
		return nil, nil
	}
	n.chainMu.Lock()
	defer n.chainMu.Unlock()
	version := n.wide.Version()
	if c, ok := n.chains[m.rounding]; ok && c.version == version {
		return c.chain, nil
	}
	shape := n.chainShape()
	if shape != nil && shape.work > smallWork && backend.InfoOf(n.backend).Name != backend.Go {
		shape = nil
	}
	c, err := n.chainOf(shape, m.rounding)
	if err != nil {
		return nil, err
	}
	n.chains[m.rounding] = cachedChain{c, version}
	return c, nil
}

// chainOf returns the network as a chain, nil if it is none. An error says that it could not be read.
func chainOf(n *Network, r Rounding) (*chain, error) {
	return n.chainOf(n.chainShape(), r)
}

func (n *Network) chainOf(shape *chainShape, r Rounding) (_ *chain, err error) {
	if shape == nil {
		return nil, nil
	}
	a := r.arithmetic()
	// Each operation is applied to the unit vectors, and to 0: products with 1 and sums with 0 are exact.
	width := n.Size()
	for _, size := range shape.sizes {
		width = max(width, size)
	}
	N, numbers := width+1, 0
	for _, size := range shape.sizes {
		numbers += N * size
	}
	if numbers > maxChainNumbers {
		return nil, nil
	}
	b, err := backend.OpenNamed(backend.Go) // compiles quickest, and keeps denormals
	if err != nil {
		return nil, err
	}
	n.wide.Lock()
	defer n.wide.Unlock()
	// A tensor belongs to one backend at a time: the network's own may have the variables, and will want them again.
	if err := detach(n.wide.Store()); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, detach(n.wide.Store())) }()
	var types []NodeType
	exec, err := model.NewExec(b, n.wide.Store(), func(_ *model.Scope, x *Node) []*Node {
		w := newWalk(b, n.build, x)
		var out []*Node
		types = types[:0]
		for i, v := range w.nodes[1:] {
			h := w.nodes[i]
			unit := Reshape(OneHot(IotaFull(x.Graph(), shapes.Make(dtypes.Int32, N)), h.Shape().Size()/N, dtypes.Float64), h.Shape().Dimensions...)
			if v.Type() == NodeTypeMax { // which shows the constant
				unit = AddScalar(ZerosLike(unit), -largest)
			}
			out = append(out, ConvertDType(with(v, map[int]*Node{w.perturbedInputs(v)[0]: unit}), dtypes.Float64))
			types = append(types, v.Type())
		}
		return out
	})
	if err != nil {
		return nil, err
	}
	x := tensors.FromFlatDataAndDimensions(make([]float64, N*n.Size()), append([]int{N}, n.input...)...)
	var out []*tensors.Tensor
	if panicked := catch(func() { out, err = exec.Exec(x) }); panicked != nil {
		return nil, panicked // without Finalize, which would wait for the graph that was never built
	}
	defer exec.Finalize()
	if err != nil {
		return nil, err
	}
	c := &chain{a: a, inputs: n.Size()}
	var l link
	size := n.Size()
	for i, t := range out {
		rows := wideRows(t)
		t.MustFinalizeAll()
		offset := rows[N-1]
		for _, v := range rows {
			for _, x := range v {
				if math.IsNaN(x) || math.Abs(x) > largest {
					return nil, nil // the general bounds know what to do
				}
			}
		}
		switch types[i] {
		case NodeTypeReshape, NodeTypeIdentity, NodeTypeConvertDType:
		case NodeTypeAdd, NodeTypeSub:
			switch {
			case l.W == nil:
				l.before = append(l.before, offset)
			case len(l.W[0]) == 1 && len(l.before) > 0:
				return nil, nil // one sum on either side of a product with one number: see [pass.scaled]
			default:
				l.after = append(l.after, offset)
			}
		case NodeTypeDotGeneral:
			if l.W != nil {
				return nil, nil
			}
			l.W = make([][]float64, len(offset))
			for k := range l.W {
				l.W[k] = make([]float64, size)
				for j := range size {
					l.W[k][j] = rows[j][k]
				}
			}
			size = len(offset)
		case NodeTypeMax:
			if slices.ContainsFunc(offset, func(v float64) bool { return v != 0 }) { // no ReLU
				return nil, nil
			}
			if l.W == nil {
				l.identity(size)
			}
			c.add(l, n.exact)
			l = link{}
		default:
			return nil, nil
		}
	}
	if l.W == nil {
		l.identity(size)
	}
	c.add(l, n.exact)
	return c, nil
}

// detach takes variables off the backend that has them.
func detach(s *model.Store) error {
	for v := range s.IterVariables() {
		t, err := v.Value()
		if err == nil {
			err = t.ToLocal()
		}
		if err != nil {
			return fmt.Errorf("the variable %s: %w", v.Path(), err)
		}
	}
	return nil
}

// identity is for a ReLU of what no product comes before.
func (l *link) identity(size int) {
	l.exact = true
	for k := range size {
		row := make([]float64, size)
		row[k] = 1
		l.W = append(l.W, row)
	}
}

func (c *chain) add(l link, exactVariables bool) {
	l.b = make([]float64, len(l.W))
	l.norms = make([]float64, len(l.W))
	for k, row := range l.W {
		for _, w := range row {
			l.norms[k] += math.Abs(w)
		}
		for _, v := range l.before {
			for j, w := range row {
				l.b[k] += w * v[j]
			}
		}
		for _, v := range l.after {
			l.b[k] += v[k]
		}
	}
	if !exactVariables && !c.a.real {
		for _, row := range l.W {
			wrong := make([]float64, len(row))
			for j, w := range row {
				wrong[j] = math.Abs(w-float64(float32(w))) + tiny
			}
			l.wrong = append(l.wrong, wrong)
		}
	}
	c.layers = append(c.layers, l)
}

// chainShape is the sizes of a chain's nodes after the input, and how many products bounds for a box may take: from each ReLU back to the
// input, for both sides.
type chainShape struct {
	sizes []int
	work  int
}

// chainShape returns nil if the network is no chain: if a node has more than one input that depends on x, or is not the input of the
// next one, or computes with constants that are rounded themselves.
func (n *Network) chainShape() (shape *chainShape) {
	const batch = 3
	total := 0
	err := n.trace(func(g *Graph) {
		w := n.walk(n.parameterOf(g, "x", batch))
		if w.forbidden != nil || len(w.nodes) == 1 || w.nodes[len(w.nodes)-1] != w.out {
			return
		}
		s := &chainShape{}
		before := n.Size()
		for i, v := range w.nodes[1:] {
			perturbed := w.perturbedInputs(v)
			dims := v.Shape().Dimensions
			if len(perturbed) != 1 || v.Inputs()[perturbed[0]] != w.nodes[i] || len(dims) == 0 || dims[0] != batch || v.DType() != dtypes.Float64 {
				return
			}
			switch h := w.nodes[i]; v.Type() {
			case NodeTypeReshape, NodeTypeIdentity, NodeTypeConvertDType, NodeTypeDotGeneral:
			case NodeTypeAdd, NodeTypeMax, NodeTypeSub:
				if !v.Shape().Equal(h.Shape()) || v.Type() == NodeTypeSub && perturbed[0] != 0 {
					return
				}
			default:
				return
			}
			for k, h := range v.Inputs() {
				if k != perturbed[0] && !readAsItIs(h) {
					return
				}
			}
			size := v.Shape().Size() / batch
			if v.Type() == NodeTypeDotGeneral {
				total += size * before
			}
			if v.Type() == NodeTypeMax {
				s.work += 2 * size * total
			}
			s.sizes, before = append(s.sizes, size), size
		}
		shape = s
	})
	if err != nil || total > maxChainWeights {
		return nil
	}
	return shape
}

// readAsItIs tells whether a constant is a variable, or numbers that float32 holds, moved at most.
func readAsItIs(n *Node) bool {
	switch n.Type() {
	case NodeTypeParameter:
		return true
	case NodeTypeConstant:
		return representable(n)
	case NodeTypeReshape, NodeTypeTranspose, NodeTypeBroadcastInDim, NodeTypeSlice, NodeTypeIdentity, NodeTypeConvertDType:
	default:
		return false
	}
	return !slices.ContainsFunc(n.Inputs(), func(h *Node) bool { return !readAsItIs(h) })
}
