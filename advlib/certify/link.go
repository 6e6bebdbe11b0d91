package certify

import (
	"math"
	"slices"
)

// link is z = Wh + b, of which a ReLU is taken or not: one product of a matrix with the sums with constants, and products and quotients of
// them, that stand before and behind it.
//
// Whatever order these are computed in, each z_i is a sum of products of one coordinate of h, or of a constant, with constants: of the paths
// through the operations. A factor 1+δ, |δ| ≤ u, comes with each rounding on a path, and no order has more than roundings of
// them, whether sums start elsewhere or factors are drawn into them. So what is computed is off by γ(roundings) times the sum of the absolute
// products, at most (Higham 2002, lemma 3.1), which size and sizes are for. A backend does not multiply matrices of the model with each
// other, so that each is in a link of its own; a factor may go from one link to the next, which reach in [chainPass] is for.
type link struct {
	relu bool
	W    [][]float64 // by rows: one for each output
	b    []float64
	// sizes are sums of absolute products of constants on all paths from h_j to z_i, nil where they are |W|, and size those from constants.
	sizes [][]float64
	size  []float64
	// wrong and off are how far W and b may be from those of the deployed constants; nil for not at all.
	wrong [][]float64
	off   []float64
	// roundings is the most on a path, and operations how many there are.
	roundings, operations int
	// flushed are sums over paths of products of what is above 1 of the factors: a flushed number changes z_i by so much times 2⁻¹²⁶.
	flushed []float64
	// at are the columns of the only number in each row of W, sizes and wrong, which hold nothing else then: before the product of a matrix.
	at []int
	// dot tells that there was one, whose operands may be rounded.
	dot bool
	// regrouped tells that factors may be multiplied with each other first, which may overflow.
	regrouped bool
}

// newLink is the identity.
func newLink(size int) *link {
	l := &link{b: make([]float64, size), size: make([]float64, size), off: make([]float64, size), flushed: slices.Repeat([]float64{1}, size)}
	for i := range size {
		l.W, l.sizes, l.at = append(l.W, []float64{1}), append(l.sizes, []float64{1}), append(l.at, i)
	}
	return l
}

// add adds constants c that may be wrong by err.
func (l *link) add(c, err []float64) {
	l.operations++
	l.roundings++
	for i := range l.b {
		l.b[i] += c[i]
		l.size[i] += math.Abs(c[i]) + err[i]
		l.off[i] += err[i]
		l.flushed[i] += max(1, math.Abs(c[i])+err[i])
	}
}

// negate changes signs, which rounds nothing.
func (l *link) negate() {
	for i, row := range l.W {
		l.b[i] = -l.b[i]
		for j := range row {
			row[j] = -row[j]
		}
	}
}

// scale multiplies by constants c that may be wrong by err, with so many roundings.
func (l *link) scale(c, err []float64, roundings int) {
	l.operations++
	l.roundings += roundings
	l.regrouped = true
	for i, row := range l.W {
		s, e := math.Abs(c[i]), err[i]
		if e > 0 && l.wrong == nil {
			l.wrong = likeRows(l.W)
		}
		for j := range row {
			if l.wrong != nil {
				l.wrong[i][j] = s*l.wrong[i][j] + e*l.sizes[i][j]
			}
			row[j] *= c[i]
			l.sizes[i][j] *= s + e
		}
		l.off[i] = s*l.off[i] + e*l.size[i]
		l.b[i] *= c[i]
		l.size[i] *= s + e
		l.flushed[i] *= max(1, s+e)
	}
}

// multiply multiplies by a matrix C, by rows, that may be wrong by err, or not at all if that is nil. It is the first one.
func (l *link) multiply(C, err [][]float64) {
	l.operations++
	l.roundings += len(C[0])
	m := len(C)
	out := link{b: make([]float64, m), size: make([]float64, m), off: make([]float64, m), flushed: make([]float64, m), W: likeRows(C), sizes: likeRows(C)}
	if l.wrong != nil || err != nil {
		out.wrong = likeRows(C)
	}
	for i, row := range C {
		for j, c := range row {
			s, e := math.Abs(c), 0.
			if err != nil {
				e = err[i][j]
			}
			at := l.at[j]
			out.b[i] += c * l.b[j]
			out.size[i] += (s + e) * l.size[j]
			out.off[i] += s*l.off[j] + e*l.size[j]
			out.flushed[i] += max(1, s+e) * l.flushed[j]
			out.W[i][at] = c * l.W[j][0]
			out.sizes[i][at] = (s + e) * l.sizes[j][0]
			if out.wrong != nil {
				out.wrong[i][at] = e * l.sizes[j][0]
			}
			if l.wrong != nil {
				out.wrong[i][at] += s * l.wrong[j][0]
			}
		}
	}
	l.W, l.b, l.sizes, l.size, l.wrong, l.off, l.flushed, l.at, l.dot = out.W, out.b, out.sizes, out.size, out.wrong, out.off, out.flushed, nil, true
}

// likeRows returns zeros in the shape of rows.
func likeRows(rows [][]float64) [][]float64 {
	out := make([][]float64, len(rows))
	for i, row := range rows {
		out[i] = make([]float64, len(row))
	}
	return out
}

// permute moves coordinate from[i] to i.
func (l *link) permute(from []int) {
	for _, v := range []*[]float64{&l.b, &l.size, &l.off, &l.flushed} {
		*v = permuted(*v, from)
	}
	l.W, l.sizes = permuted(l.W, from), permuted(l.sizes, from)
	if l.wrong != nil {
		l.wrong = permuted(l.wrong, from)
	}
	if l.at != nil {
		l.at = permuted(l.at, from)
	}
}

func permuted[T any](v []T, from []int) []T {
	out := make([]T, len(v))
	for i, j := range from {
		out[i] = v[j]
	}
	return out
}

// dense writes out rows that have only one number.
func (l *link) dense() {
	if l.at == nil {
		return
	}
	for _, rows := range [][][]float64{l.W, l.sizes, l.wrong} {
		for i, row := range rows {
			rows[i] = make([]float64, len(rows))
			rows[i][l.at[i]] = row[0]
		}
	}
	l.at = nil
}

// finished returns the link in the form that bounds need, false if a number of it is not one that they can use.
func (l *link) finished() (link, bool) {
	l.dense()
	d := *l
	same, exact := true, true
	for i, row := range d.W {
		for _, v := range []float64{d.b[i], d.size[i], d.off[i], d.flushed[i]} {
			if math.IsNaN(v) || math.Abs(v) > largest {
				return d, false
			}
		}
		exact = exact && d.off[i] == 0
		for j, w := range row {
			if math.IsNaN(w) || !(d.sizes[i][j] <= largest) {
				return d, false
			}
			same = same && d.sizes[i][j] == math.Abs(w)
		}
	}
	if same {
		d.sizes = nil
	}
	if exact {
		d.off = nil
	}
	return d, true
}

// error returns how far what the model computes for z_i may be from z_i: h are what goes in, size is the sum of absolute products, and most
// is above what h, and 1, may have been multiplied with before.
func (l *link) error(a arithmetic, i int, h []end, most, size float64) float64 {
	γ := gamma(l.roundings)
	if o := a.operand; o > 0 && l.dot {
		γ += (2*o + o*o) * (1 + γ) * own
	}
	places := float64(4*(l.roundings+l.operations) + 2)
	// And the bounds' own sums and products, in float64, those of W and b among them.
	e := γ*size + places*tiny*own*l.flushed[i]*most + size*roundoff(2*(len(h)+l.roundings))
	if l.off != nil {
		e += l.off[i]
	}
	if l.wrong != nil {
		for j, w := range l.wrong[i] {
			e += w * h[j].magnitude
		}
	}
	return e * (1 + roundoff(len(h)))
}
