package chain

import (
	"math"
	"slices"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib/backend"
	"advlab/advlib/certify/internal/propagate"
)

// Chain is a network that is nothing but affine maps of vectors, one after the other, with ReLUs between some of them,
// as numbers: small controllers are such. Branch and bound asks for bounds of thousands of boxes, each of which has a
// few ReLUs only that are not linear: here rows are made for those alone, without a graph to compile. The bounds are
// CROWN's ∩ IBP's, with the rounding of [Method].
type Chain struct {
	Layers []Link
	a      propagate.Arithmetic
	Inputs int
}

// Limits of what is taken as a chain: the most weights, and the most products that it takes to read them.
const (
	maxChainWeights = 1 << 22
	maxReading      = 1 << 33
)

// Read returns the model as a chain of the given shape, in an arithmetic; nil if it is none that can be bounded in
// numbers. An error says that it could not be read.
func Read(m propagate.Model, shape *Shape, a propagate.Arithmetic) (_ *Chain, err error) {
	read, err := readOperations(m, a, shape.batch)
	if err != nil {
		return nil, err
	}
	c := &Chain{a: a, Inputs: m.Size()}
	l := newLink(m.Size())
	add := func(relu bool) bool {
		l.ReLU = relu
		done, ok := l.finished()
		if MutateLink != nil {
			MutateLink(&done)
		}
		c.Layers = append(c.Layers, done)
		return ok
	}
	for _, o := range read {
		if !o.finite() {
			return nil, nil // the general bounds know what to do
		}
		switch {
		case o.kind == NodeTypeMax:
			if slices.ContainsFunc(o.value[0], func(v float64) bool { return v != 0 }) || !add(true) { // no ReLU
				return nil, nil
			}
			l = newLink(len(o.value[0]))
			continue
		case o.kind == NodeTypeDotGeneral && l.dot:
			if !add(false) {
				return nil, nil
			}
			regrouped := l.Regrouped // a factor may move on
			l = newLink(len(l.B))
			l.Regrouped = regrouped
		}
		o.apply(l)
	}
	if !add(false) {
		return nil, nil
	}
	return c, nil
}

// Bent tells whether the chain has a ReLU.
func (c *Chain) Bent() bool {
	return slices.ContainsFunc(c.Layers, func(l Link) bool { return l.ReLU })
}

// MutateLink changes links, if it is not nil. Tests of the tests plant mistakes with it.
var MutateLink func(*Link)

// readOperation is an operation as numbers.
type readOperation struct {
	kind NodeType
	// value are constants, or a matrix transposed, or where coordinates come from, in one row; wrong is how far the
	// deployed ones may be from them, nil for not at all.
	value, wrong [][]float64
	from         bool // x is what is subtracted
}

func (o readOperation) finite() bool {
	for _, rows := range [][][]float64{o.value, o.wrong} {
		for _, row := range rows {
			for _, v := range row {
				if math.IsNaN(v) || math.Abs(v) > propagate.Largest {
					return false
				}
			}
		}
	}
	return true
}

// apply puts the operation behind those of a link.
func (o readOperation) apply(l *Link) {
	var wrong []float64
	if o.kind != NodeTypeDotGeneral && o.kind != NodeTypeTranspose {
		wrong = make([]float64, len(o.value[0]))
		if o.wrong != nil {
			for i, v := range o.wrong[0] {
				wrong[i] = math.Abs(v)
			}
		}
	}
	switch o.kind {
	case NodeTypeAdd, NodeTypeSub:
		if o.from {
			l.negate()
		}
		l.add(o.value[0], wrong)
	case NodeTypeNeg:
		l.negate()
	case NodeTypeMul:
		l.scale(o.value[0], wrong, 1)
	case NodeTypeDiv: // or a product with the reciprocal, which is what value is
		l.scale(o.value[0], wrong, 3)
	case NodeTypeTranspose:
		from := make([]int, len(o.value[0]))
		for i, v := range o.value[0] {
			from[i] = int(v)
		}
		l.permute(from)
	case NodeTypeDotGeneral:
		var err [][]float64
		if o.wrong != nil {
			err = transposed(o.wrong)
			for _, row := range err {
				for j, v := range row {
					row[j] = math.Abs(v)
				}
			}
		}
		l.multiply(transposed(o.value), err)
	}
}

func transposed(rows [][]float64) [][]float64 {
	out := make([][]float64, len(rows[0]))
	for k := range out {
		out[k] = make([]float64, len(rows))
		for j, row := range rows {
			out[k][j] = row[k]
		}
	}
	return out
}

// readOperations returns what the model does, but for what moves nothing: each operation is applied to numbers of which
// its constants can be read, in a batch of N.
func readOperations(m propagate.Model, a propagate.Arithmetic, N int) (read []readOperation, err error) {
	b, err := backend.OpenNamed(backend.Go) // compiles quickest, and keeps denormals
	if err != nil {
		return nil, err
	}
	m.Wide.Lock()
	defer m.Wide.Unlock()
	if err := m.Move(b); err != nil {
		return nil, err
	}
	var parts [][2]bool // which of value and wrong is a result
	exec, err := model.NewExec(b, m.Wide.Store(), func(_ *model.Scope, x *Node) []*Node {
		w := propagate.NewWalk(b, m.Build, x)
		p := &propagate.Pass{Walk: w, Arithmetic: a}
		p.Begin(propagate.Interval{})
		var out []*Node
		read, parts = nil, nil
		for i, v := range w.Nodes[1:] {
			o, value, wrong := readNode(p, v, w.Nodes[i])
			if o.kind == NodeTypeIdentity {
				continue
			}
			read, parts = append(read, o), append(parts, [2]bool{value != nil, wrong != nil})
			for _, h := range []*Node{value, wrong} {
				if h != nil {
					out = append(out, ConvertDType(h, dtypes.Float64))
				}
			}
		}
		if len(out) == 0 { // GoMLX refuses a graph without results
			out = append(out, x)
		}
		return out
	})
	if err != nil {
		return nil, err
	}
	x := tensors.FromFlatDataAndDimensions(make([]float64, N*m.Size()), append([]int{N}, m.Input...)...)
	var out []*tensors.Tensor
	if panicked := propagate.Catch(func() { out, err = exec.Exec(x) }); panicked != nil {
		return nil, panicked // without Finalize, which would wait for the graph that was never built
	}
	defer exec.Finalize()
	if err != nil {
		return nil, err
	}
	for i := range read {
		for k, into := range []*[][]float64{&read[i].value, &read[i].wrong} {
			if parts[i][k] {
				*into = slices.Collect(slices.Chunk(tensors.MustCopyFlatData[float64](out[0]), out[0].Size()/out[0].Shape().Dimensions[0]))
				out[0].MustFinalizeAll()
				out = out[1:]
			}
		}
	}
	return read, nil
}

// direct tells whether v is a product of vectors h and a matrix, its second input, without more axes.
func direct(v, h *Node) bool {
	return v.Type() == NodeTypeDotGeneral && v.Inputs()[0] == h && h.Rank() == 2 && v.Inputs()[1].Rank() == 2 &&
		len(propagate.Integers(v, "rhsContractingAxes")) == 1 &&
		propagate.Integers(v, "lhsContractingAxes")[0] == 1
}

// readNode returns graphs of the constants of an operation v on h, and of how far the deployed ones may be from them,
// nil for not at all. The kind is that of an identity where nothing moves.
func readNode(p *propagate.Pass, v, h *Node) (o readOperation, value, wrong *Node) {
	k := p.Walk.PerturbedInputs(v)[0]
	N := h.Shape().Dimensions[0]
	on := func(x *Node, c *Node) *Node {
		replace := map[int]*Node{k: x}
		if c != nil {
			replace[1-k] = c
		}
		return Reshape(propagate.With(v, replace), N, -1)
	}
	first := func(n *Node, rows int) *Node { return Slice(n, AxisRange(0, rows), AxisRange()) }
	zeros, ones := ZerosLike(h), OnesLike(h)
	var constant, E *Node
	if len(v.Inputs()) == 2 {
		constant = v.Inputs()[1-k]
		if v.Type() != NodeTypeMax {
			E = p.ConstantError(constant)
		}
	}
	o.kind = v.Type()
	size := h.Shape().Size() / N
	switch v.Type() {
	case NodeTypeReshape, NodeTypeIdentity, NodeTypeConvertDType:
		o.kind = NodeTypeIdentity
	case NodeTypeTranspose:
		value = first(on(Reshape(Iota(h.Graph(), shapes.Make(dtypes.Float64, N, size), 1), h.Shape().Dimensions...), nil), 1)
	case NodeTypeNeg:
		value = first(on(ones, nil), 1)
	case NodeTypeAdd, NodeTypeSub:
		o.from = v.Type() == NodeTypeSub && k == 1
		if value = first(on(zeros, nil), 1); E != nil {
			wrong = first(on(zeros, E), 1)
		}
	case NodeTypeMul:
		if value = first(on(ones, nil), 1); E != nil {
			wrong = first(on(ones, E), 1)
		}
	case NodeTypeDiv:
		value = first(on(ones, nil), 1)
		// A divisor that may count as 0 gives ∞, with which nothing is bounded.
		value = Where(GreaterThan(Abs(value), MulScalar(OnesLike(value), 1/(2*propagate.Tiny))), Infinity(value.Graph(), value.DType(), 1), value)
		if E != nil { // |1/c − 1/d| ≤ E/(|c|·(|c| − E))
			size := Abs(constant)
			low := Max(Sub(AddScalar(size, -2*propagate.Tiny), E), ZerosLike(size))
			wrong = first(on(ones, Div(Mul(low, size), E)), 1)
		}
	case NodeTypeMax: // the constant shows
		value = first(on(AddScalar(zeros, -propagate.Largest), nil), 1)
	case NodeTypeDotGeneral, NodeTypeConvGeneral:
		o.kind = NodeTypeDotGeneral
		if direct(v, h) { // the constant is the matrix
			as := func(n *Node) *Node {
				if n != nil && propagate.Integers(v, "rhsContractingAxes")[0] == 1 {
					return Transpose(n, 0, 1)
				}
				return n
			}
			return o, as(constant), as(E)
		}
		unit := Reshape(OneHot(Iota(h.Graph(), shapes.Make(dtypes.Int32, N), 0), size, dtypes.Float64), h.Shape().Dimensions...)
		if value = first(on(unit, nil), size); E != nil {
			wrong = first(on(unit, E), size)
		}
	}
	return o, value, wrong
}

// Shape is how many products bounds for a box may take, from each ReLU back to the input, for both sides, and the batch
// in which the chain's numbers are read.
type Shape struct{ Work, batch int }

// ShapeOf returns nil if the network is no chain: if a node has more than one input that depends on x, or is not the
// input of the next one, or computes with constants whose errors are not known.
func ShapeOf(m propagate.Model) (shape *Shape) {
	const batch = 3
	weights, read := 0, 0
	err := m.Trace(func(g *Graph) {
		w := m.Walk(m.Parameter(g, "x", batch))
		if w.Forbidden != nil || len(w.Nodes) == 1 || w.Nodes[len(w.Nodes)-1] != w.Out {
			return
		}
		s := &Shape{batch: 2}
		before, from, dense := m.Size(), m.Size(), false // from is the size of what goes into the link
		for i, v := range w.Nodes[1:] {
			perturbed := w.PerturbedInputs(v)
			dims := v.Shape().Dimensions
			if len(perturbed) != 1 || v.Inputs()[perturbed[0]] != w.Nodes[i] || len(dims) == 0 || dims[0] != batch || v.DType() != dtypes.Float64 {
				return
			}
			h := w.Nodes[i]
			switch v.Type() {
			case NodeTypeReshape, NodeTypeIdentity, NodeTypeConvertDType, NodeTypeDotGeneral, NodeTypeNeg:
			case NodeTypeTranspose:
				if propagate.Integers(v, "permutation")[0] != 0 {
					return
				}
			case NodeTypeAdd, NodeTypeMax, NodeTypeSub, NodeTypeMul, NodeTypeDiv:
				if !v.Shape().Equal(h.Shape()) || v.Type() == NodeTypeDiv && perturbed[0] != 0 {
					return
				}
			case NodeTypeConvGeneral: // whose kernel covers its input: a product of a matrix
				if perturbed[0] != 0 || !propagate.Unfolded(v) || propagate.SizeOf(dims[1:]) != dims[propagate.FilterOf(v).Output[len(dims)-1]] {
					return
				}
			default:
				return
			}
			for k, h := range v.Inputs() {
				if k != perturbed[0] && !readable(h) {
					return
				}
			}
			size := v.Shape().Size() / batch
			switch v.Type() {
			case NodeTypeDotGeneral, NodeTypeConvGeneral:
				if read += size * before; !direct(v, h) {
					s.batch = max(s.batch, before)
				}
				if dense { // it begins another link
					weights += before * from
					from = before
				}
				dense = true
			case NodeTypeMax:
				weights += size * from
				s.Work += 2 * size * weights
				from, dense = size, false
			}
			before = size
		}
		weights += before * from
		shape = s
	})
	if err != nil || shape == nil || max(weights, read) > maxChainWeights || read*shape.batch > maxReading {
		return nil
	}
	return shape
}

// readable tells whether a constant's numbers, and their errors in the deployed model, can be had: it is a variable or
// numbers, or is computed of such in a few operations, as the scale of a normalisation is.
func readable(h *Node) bool {
	switch h.Type() {
	case NodeTypeParameter, NodeTypeConstant:
		return true
	case NodeTypeReshape, NodeTypeTranspose, NodeTypeBroadcastInDim, NodeTypeSlice, NodeTypeIdentity, NodeTypeConvertDType,
		NodeTypeAdd, NodeTypeSub, NodeTypeMul, NodeTypeDiv, NodeTypeNeg, NodeTypeSqrt, NodeTypeRsqrt:
	default:
		return false
	}
	return !slices.ContainsFunc(h.Inputs(), func(h *Node) bool { return !readable(h) })
}
