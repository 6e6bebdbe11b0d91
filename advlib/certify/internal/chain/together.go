package chain

import (
	"advlab/advlib/certify/internal/search"
	"math"
)

// living are the neurons of a layer whose ReLUs, if it has them, are not 0 for the cell: only those say anything of the
// layers behind. Their numbers lie together, without those of the neurons before that are 0.
type living struct {
	index      []int // which neurons these are
	W          []float64
	b, E       []float64
	aL, aU, bU []float64
}

// alive returns the living of layer k. Its memory is used again for the next cell.
func (p *Pass) alive(k int) living {
	l, n := &p.Layers[k], p.living[k]
	n = living{index: n.index[:0], W: n.W[:0], b: n.b[:0], E: n.E[:0], aL: n.aL[:0], aU: n.aU[:0], bU: n.bU[:0]}
	for i, row := range l.W {
		if l.ReLU && p.upper[k][i] <= 0 {
			continue
		}
		n.index = append(n.index, i)
		n.W = p.columns(n.W, k, row, 1)
		n.b, n.E = append(n.b, l.B[i]), append(n.E, p.E[k][i])
		n.aL, n.aU, n.bU = append(n.aL, p.aL[k][i]), append(n.aU, p.aU[k][i]), append(n.bU, p.bU[k][i])
	}
	return n
}

// columns appends what a row of layer k has for the living of the layer before, with a sign.
func (p *Pass) columns(to []float64, k int, row []float64, sign float64) []float64 {
	if k == 0 {
		for _, w := range row {
			to = append(to, sign*w)
		}
		return to
	}
	for _, j := range p.living[k-1].index {
		to = append(to, sign*row[j])
	}
	return to
}

// width is how many columns these are.
func (p *Pass) width(k int) int {
	if k == 0 {
		return p.Inputs
	}
	return len(p.living[k-1].index)
}

// together is linear functions that go back to the input side by side: a row of Λ for each, and what its bound has
// gathered.
type together struct {
	Λ, next          []float64
	sum, size, slack []float64
	at               []int     // of the coordinates of a row that are not 0, and
	value            []float64 // their values
}

// abreast is how many neurons go back side by side: their Λ stay in the nearest cache.
const abreast = 16

// tighten bounds z of layer k for the open neurons from both sides. It returns false if it was stopped.
func (p *Pass) tighten(k int, open []int) bool {
	for len(open) > 0 {
		if p.stopped() {
			return false
		}
		some := open[:min(abreast, len(open))]
		p.tightenSome(k, some)
		open = open[len(some):]
	}
	return true
}

func (p *Pass) tightenSome(k int, open []int) {
	t, l := &p.together, &p.Layers[k]
	t.Λ, t.sum, t.size, t.slack = t.Λ[:0], t.sum[:0], t.size[:0], t.slack[:0]
	for _, i := range open {
		for _, sign := range []float64{1, -1} {
			t.Λ = p.columns(t.Λ, k, l.W[i], sign)
			t.sum, t.size, t.slack = append(t.sum, sign*l.B[i]), append(t.size, math.Abs(l.B[i])), append(t.slack, p.E[k][i])
		}
	}
	terms := p.Inputs + len(l.W)
	for k := k - 1; k >= 0; k-- {
		terms += len(p.Layers[k].W)
		p.step(k)
	}
	for r, n := 0, p.Inputs; r < len(t.sum); r++ {
		least, all := search.MinimumOf(t.Λ[r*n:(r+1)*n], p.Cell)
		v := p.lowest(t.sum[r]+least, t.slack[r], t.size[r]+all, terms, nil).Lower
		i := open[r/2]
		switch lo, hi := &p.lower[k][i], &p.upper[k][i]; {
		case math.IsNaN(v) || math.IsInf(v, 0): // what intervals say holds
		case r%2 == 0 && (v > *lo || !p.intersect):
			*lo = v
		case r%2 == 1 && (-v < *hi || !p.intersect):
			*hi = -v
		}
	}
}

// step takes all Λ from the results of layer k's ReLUs to those of the layer before.
func (p *Pass) step(k int) {
	t, n := &p.together, &p.living[k]
	m, width := len(n.index), p.width(k)
	if size := len(t.sum) * width; cap(t.next) < size {
		t.next = make([]float64, size)
	}
	t.next = t.next[:len(t.sum)*width]
	if cap(t.at) < m {
		t.at, t.value = make([]int, m), make([]float64, m)
	}
	at, value := t.at[:m], t.value[:m]
	aL, aU, bU, b, E := n.aL[:m], n.aU[:m], n.bU[:m], n.b[:m], n.E[:m]
	for r := range t.sum {
		sum, size, slack := t.sum[r], t.size[r], t.slack[r]
		count := 0
		for j, x := range t.Λ[r*m : (r+1)*m] {
			// Of both signs at once: which comes next cannot be foretold.
			above := (math.Abs(x) + x) / 2
			below := x - above
			c := below * bU[j]
			x = above*aL[j] + below*aU[j]
			y := x * b[j]
			sum += c + y
			size += math.Abs(y) - c
			slack += math.Abs(x) * E[j]
			if x != 0 {
				at[count], value[count] = j, x
				count++
			}
		}
		t.sum[r], t.size[r], t.slack[r] = sum, size, slack
		h := t.next[r*width : (r+1)*width]
		clear(h)
		row := func(i int) []float64 { return n.W[at[i]*width:][:len(h)] }
		i := 0
		for ; i+4 <= count; i += 4 {
			w0, w1, w2, w3 := row(i), row(i+1), row(i+2), row(i+3)
			x0, x1, x2, x3 := value[i], value[i+1], value[i+2], value[i+3]
			for j := range h {
				h[j] += (x0*w0[j] + x1*w1[j]) + (x2*w2[j] + x3*w3[j])
			}
		}
		for ; i < count; i++ {
			x := value[i]
			for j, w := range row(i) {
				h[j] += x * w
			}
		}
	}
	t.Λ, t.next = t.next, t.Λ
}
