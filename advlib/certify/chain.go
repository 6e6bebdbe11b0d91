package certify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"

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
	// wrong is how far the deployed weights may be from W, by rows; nil for not at all.
	wrong [][]float64
	exact bool // W is no operation of the model
}

// Limits of what is taken as a chain: the most weights, and the most numbers to read them.
const (
	maxChainWeights = 1 << 22
	maxChainNumbers = 1 << 26
)

// chainOf returns the network as a chain, nil if it is none. An error says that it could not be read.
func chainOf(n *Network, r Rounding) (_ *chain, err error) {
	a := r.arithmetic()
	shape := n.chainShape()
	if shape == nil {
		return nil, nil
	}
	// Each operation is applied to the unit vectors, and to 0: products with 1 and sums with 0 are exact.
	width := n.Size()
	for _, size := range shape {
		width = max(width, size)
	}
	N, numbers := width+1, 0
	for _, size := range shape {
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
	defer exec.Finalize()
	x := tensors.FromFlatDataAndDimensions(make([]float64, N*n.Size()), append([]int{N}, n.input...)...)
	var out []*tensors.Tensor
	if panicked := catch(func() { out, err = exec.Exec(x) }); panicked != nil {
		err = panicked
	}
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
	for k, row := range l.W {
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

// chainShape returns the sizes of a chain's nodes after the input, nil if the network is no chain: if a node has more than one
// input that depends on x, or is not the input of the next one, or computes with constants that are rounded themselves.
func (n *Network) chainShape() (sizes []int) {
	const batch = 3
	total := 0
	err := n.trace(func(g *Graph) {
		w := n.walk(n.parameterOf(g, "x", batch))
		sizes = []int{}
		before := n.Size()
		for i, v := range w.nodes[1:] {
			perturbed := w.perturbedInputs(v)
			dims := v.Shape().Dimensions
			if len(perturbed) != 1 || v.Inputs()[perturbed[0]] != w.nodes[i] || len(dims) == 0 || dims[0] != batch || v.DType() != dtypes.Float64 {
				sizes = nil
				return
			}
			switch h := w.nodes[i]; v.Type() {
			case NodeTypeReshape, NodeTypeIdentity, NodeTypeConvertDType, NodeTypeDotGeneral:
			case NodeTypeAdd, NodeTypeMax, NodeTypeSub:
				if !v.Shape().Equal(h.Shape()) || v.Type() == NodeTypeSub && perturbed[0] != 0 {
					sizes = nil
					return
				}
			default:
				sizes = nil
				return
			}
			for k, h := range v.Inputs() {
				if k != perturbed[0] && !readAsItIs(h) {
					sizes = nil
					return
				}
			}
			size := v.Shape().Size() / batch
			if v.Type() == NodeTypeDotGeneral {
				total += size * before
			}
			sizes, before = append(sizes, size), size
		}
		if w.forbidden != nil || w.nodes[len(w.nodes)-1] != w.out {
			sizes = nil
		}
	})
	if err != nil || total > maxChainWeights {
		return nil
	}
	return sizes
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

// bound returns for each cell a plane for each row, and for each coordinate a rate at which the gap between bound and
// network grows with the cell's width there, up to a factor.
func (c *chain) bound(ctx context.Context, cells []cell, rows [][]float64) (planes [][]plane, rates [][]float64, err error) {
	planes, rates = make([][]plane, len(cells)), make([][]float64, len(cells))
	var wait sync.WaitGroup
	next := make(chan int)
	for range min(runtime.GOMAXPROCS(0), len(cells)) {
		wait.Go(func() {
			p := c.newPass()
			for i := range next {
				planes[i], rates[i] = p.run(cells[i], rows)
			}
		})
	}
	for i := range cells {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	wait.Wait()
	return planes, rates, ctx.Err()
}

// chainPass bounds one cell after the other. For each layer it holds intervals and errors of z, and lines of its ReLU:
// aL·z ≤ relu(z) ≤ aU·z + bU.
type chainPass struct {
	*chain
	cell           cell
	lower, upper   [][]float64
	E              [][]float64
	aL, aU, bU     [][]float64
	v, next        []float64 // Λ, while it goes back
	magnitude, err []float64

	// signs fix ReLUs: 1 where z ≥ 0 and −1 where z ≤ 0 is given, 0 else; nil for none. empty tells that nothing meets them.
	signs [][]int8
	empty bool
}

func (c *chain) newPass() *chainPass {
	p := &chainPass{chain: c}
	width := c.inputs
	for _, l := range c.layers {
		m := len(l.W)
		width = max(width, m)
		p.lower, p.upper, p.E = append(p.lower, make([]float64, m)), append(p.upper, make([]float64, m)), append(p.E, make([]float64, m))
		p.aL, p.aU, p.bU = append(p.aL, make([]float64, m)), append(p.aU, make([]float64, m)), append(p.bU, make([]float64, m))
	}
	p.v, p.next, p.magnitude, p.err = make([]float64, width), make([]float64, width), make([]float64, width), make([]float64, width)
	return p
}

func (p *chainPass) run(box cell, rows [][]float64) ([]plane, []float64) {
	p.cell = box
	nothing := make([]plane, len(rows))
	for r := range nothing {
		nothing[r].lower = math.Inf(-1)
	}
	for k := range p.layers {
		if !p.interval(k) {
			return nothing, make([]float64, p.inputs)
		}
	}
	planes := make([]plane, len(rows))
	rates := make([]float64, p.inputs)
	last := len(p.layers) - 1
	for r, row := range rows {
		lower, slope := p.back(last, row, nil)
		if math.IsNaN(lower) {
			planes[r] = nothing[r]
			continue
		}
		planes[r] = newPlane(box, lower, slices.Clone(slope))
		p.addRates(rates, row)
	}
	return planes, rates
}

// interval bounds z of layer k: by intervals, and where its ReLU is not linear for them, by going back to the input. It
// returns false if nothing can be said.
func (p *chainPass) interval(k int) bool {
	l := &p.layers[k]
	lower, upper := p.cell.lower, p.cell.upper // of h
	if k > 0 {
		lower, upper = p.lower[k-1], p.upper[k-1]
	}
	relu := func(v float64) float64 {
		if k > 0 {
			return max(v, 0)
		}
		return v
	}
	n := len(l.W[0])
	// Errors and magnitudes of h + before.
	for j := range n {
		lo, hi, e := relu(lower[j]), relu(upper[j]), 0.
		if k > 0 && !p.a.real {
			e = tiny
		}
		sum := max(math.Abs(lo), math.Abs(hi)) + e
		for _, c := range l.before {
			lo, hi = lo+c[j], hi+c[j]
			sum += math.Abs(c[j])
		}
		switch m := len(l.before); {
		case p.a.real || m == 0:
		case m == 1:
			e += gamma(1)*(max(math.Abs(lo), math.Abs(hi))+e) + 4*tiny
		default: // in any order
			e += gamma(m)*sum + float64(4*m)*tiny
		}
		p.magnitude[j], p.err[j] = max(math.Abs(lo), math.Abs(hi))+e, e
		if !(p.magnitude[j] <= largest) {
			return false
		}
	}
	γ := 0.
	if !p.a.real && !l.exact {
		γ = gamma(n)
		if o := p.a.operand; o > 0 {
			γ += (2*o + o*o) * (1 + γ) * own
		}
	}
	const raised = tiny / unitRoundoff
	for i, row := range l.W {
		lo, hi := l.b[i], l.b[i]
		size, e, w1, sum := math.Abs(l.b[i]), 0., 0., 0.
		for j, w := range row {
			a, b := relu(lower[j]), relu(upper[j])
			if w >= 0 {
				lo += w * a
				hi += w * b
			} else {
				lo += w * b
				hi += w * a
			}
			w = math.Abs(w)
			w1 += w
			size += w * p.magnitude[j]
			e += w * p.err[j]
		}
		if !p.a.real {
			if !l.exact {
				// As the general bounds have it: (|W| + raised)(|h| + raised), summed.
				product := 0.
				for j := range row {
					product += raised * (p.magnitude[j] + raised)
				}
				sum = size + raised*w1 + product
				e += γ*sum + 3*float64(n)*tiny
			}
			if l.wrong != nil {
				for j, w := range l.wrong[i] {
					e += w * p.magnitude[j]
				}
			}
			// The sums of the bounds themselves, in float64.
			for _, c := range l.before {
				for j, w := range row {
					size += math.Abs(w * c[j])
				}
			}
			e += size * roundoff(n+len(l.before)+len(l.after))
		}
		for t, c := range l.after {
			size += math.Abs(c[i])
			if !p.a.real { // in any order with the products: see [pass.sumRounding]
				R := n + t + 1
				e += (gamma(R)-gamma(R-1))*sum + gamma(R)*math.Abs(c[i]) + float64(4+2*R)*tiny
				sum += math.Abs(c[i])
			}
		}
		if !(size+e <= largest) {
			return false
		}
		p.E[k][i] = e
		p.lower[k][i], p.upper[k][i] = lo-e, hi+e
	}
	if k == len(p.layers)-1 {
		return true
	}
	unit := make([]float64, len(l.W))
	for i := range l.W {
		lo, hi := p.given(k, i)
		if k > 0 && lo < 0 && hi > 0 {
			unit[i] = 1
			if v, _ := p.back(k, unit, nil); v > lo {
				lo = v
			}
			unit[i] = -1
			if v, _ := p.back(k, unit, nil); -v < hi {
				hi = -v
			}
			unit[i] = 0
		}
		if lo > hi {
			if p.signs != nil {
				p.empty = true
				return false
			}
			lo, hi = hi, lo // by rounding of bounds in real arithmetic
		}
		p.lower[k][i], p.upper[k][i] = lo, hi
		switch {
		case lo >= 0:
			p.aL[k][i], p.aU[k][i], p.bU[k][i] = 1, 1, 0
		case hi <= 0:
			p.aL[k][i], p.aU[k][i], p.bU[k][i] = 0, 0, 0
		default:
			aU := hi / (hi - lo)
			p.aU[k][i] = aU
			// Raised, so that the line is above the ReLU at both ends as computed.
			p.bU[k][i] = -lo*aU*(1+0x1p-50) + max(hi, -lo)*0x1p-50
			p.aL[k][i] = 0
			if hi > -lo {
				p.aL[k][i] = 1
			}
		}
	}
	return true
}

// given returns the interval of z_i of layer k by intervals, and by its sign where that is given.
func (p *chainPass) given(k, i int) (lower, upper float64) {
	lower, upper = p.lower[k][i], p.upper[k][i]
	if p.signs != nil {
		switch s := p.signs[k][i]; {
		case s > 0:
			lower = max(lower, 0)
		case s < 0:
			upper = min(upper, 0)
		}
	}
	return lower, upper
}

// back returns a lower bound of ⟨row, z⟩ for z of layer k, and its slope at the input, which the next call overwrites. With
// t, it goes by its lower lines and multipliers, and notes Λ.
func (p *chainPass) back(k int, row []float64, t *tuning) (lower float64, slope []float64) {
	v, next := p.v[:len(row)], p.next
	copy(v, row)
	sum, size, slack := 0., 0., 0.
	terms := p.inputs
	for ; ; k-- {
		l := &p.layers[k]
		n := len(l.W[0])
		h := next[:n]
		clear(h)
		for i, x := range v {
			if x == 0 {
				continue
			}
			slack += math.Abs(x) * p.E[k][i]
			sum += x * l.b[i]
			size += math.Abs(x * l.b[i])
			for j, w := range l.W[i] {
				h[j] += x * w
			}
		}
		terms += len(v)
		v, next = h, v[:cap(v)]
		if k == 0 {
			break
		}
		aL, aU, bU := p.aL[k-1], p.aU[k-1], p.bU[k-1]
		if t != nil {
			aL = t.α[k-1]
			copy(t.Λ[k-1], v)
		}
		for j, x := range v {
			if x >= 0 {
				v[j] = x * aL[j]
			} else {
				v[j] = x * aU[j]
				sum += x * bU[j]
				size -= x * bU[j]
			}
		}
		if t != nil { // s·z ≥ 0 is given, so −β·s·z ≤ 0 may be added
			for j, s := range p.signs[k-1] {
				if s != 0 {
					β := t.β[k-1][j]
					v[j] -= β * float64(s)
					size += β * max(math.Abs(p.lower[k-1][j]), math.Abs(p.upper[k-1][j]))
				}
			}
		}
	}
	least, all := minimumOf(v, p.cell)
	size += all
	lower = sum + least - slack
	if !p.a.real {
		lower -= slack*0x1p-40 + size*roundoff(terms)
	}
	return lower, v
}

// addRates adds |row|·|W|·a·|W|·…, with the upper slopes a: how far the interval of ⟨row, y⟩ grows with that of each input.
func (p *chainPass) addRates(rates, row []float64) {
	v, next := p.v[:len(row)], p.next
	for i, x := range row {
		v[i] = math.Abs(x)
	}
	for k := len(p.layers) - 1; k >= 0; k-- {
		l := &p.layers[k]
		h := next[:len(l.W[0])]
		clear(h)
		for i, x := range v {
			if x == 0 {
				continue
			}
			for j, w := range l.W[i] {
				h[j] += x * math.Abs(w)
			}
		}
		if k > 0 {
			for j := range h {
				h[j] *= p.aU[k-1][j]
			}
		}
		v, next = h, v[:cap(v)]
	}
	for i, x := range v {
		rates[i] += x
	}
}
