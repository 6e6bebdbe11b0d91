package chain

import (
	"math"
	"slices"

	"advlab/advlib/certify/internal/propagate"
	"advlab/advlib/certify/internal/search"
)

// Link is z = Wh + b, of which a ReLU is taken or not: one product of a matrix with the sums with constants, and
// products and quotients of them, that stand before and behind it.
//
// Whatever order these are computed in, each z_i is a sum of products of one coordinate of h, or of a constant, with
// constants: of the paths through the operations. A factor 1+δ, |δ| ≤ u, comes with each rounding on a path, and no
// order has more than roundings of them, whether sums start elsewhere or factors are drawn into them. So what is
// computed is off by γ(roundings) times the sum of the absolute products, at most (Higham 2002, lemma 3.1), which size
// and sizes are for. A backend does not multiply matrices of the model with each other, so that each is in a link of
// its own; a factor may go from one link to the next, which reach in [Pass] is for.
type Link struct {
	ReLU bool
	W    [][]float64 // by rows: one for each output
	B    []float64
	// sizes are sums of absolute products of constants on all paths from h_j to z_i, nil where they are |W|, and size
	// those from constants.
	sizes [][]float64
	Size  []float64
	// Wrong and off are how far W and b may be from those of the deployed constants; nil for not at all.
	Wrong [][]float64
	Off   []float64
	// Roundings is the most on a path, and operations how many there are.
	Roundings, operations int
	// Flushed are sums over paths of products of what is above 1 of the factors: a flushed number changes z_i by so much
	// times 2⁻¹²⁶.
	Flushed []float64
	// at are the columns of the only number in each row of W, sizes and wrong, which hold nothing else then: before the
	// product of a matrix.
	at []int
	// dot tells that there was one, whose operands may be rounded.
	dot bool
	// Regrouped tells that factors may be multiplied with each other first, which may overflow.
	Regrouped bool
}

// newLink is the identity.
func newLink(size int) *Link {
	l := &Link{B: make([]float64, size), Size: make([]float64, size), Off: make([]float64, size), Flushed: slices.Repeat([]float64{1}, size)}
	for i := range size {
		l.W, l.sizes, l.at = append(l.W, []float64{1}), append(l.sizes, []float64{1}), append(l.at, i)
	}
	return l
}

// add adds constants c that may be wrong by err.
func (l *Link) add(c, err []float64) {
	l.operations++
	l.Roundings++
	for i := range l.B {
		l.B[i] += c[i]
		l.Size[i] += math.Abs(c[i]) + err[i]
		l.Off[i] += err[i]
		l.Flushed[i] += max(1, math.Abs(c[i])+err[i])
	}
}

// negate changes signs, which rounds nothing.
func (l *Link) negate() {
	for i, row := range l.W {
		l.B[i] = -l.B[i]
		for j := range row {
			row[j] = -row[j]
		}
	}
}

// scale multiplies by constants c that may be wrong by err, with so many roundings.
func (l *Link) scale(c, err []float64, roundings int) {
	l.operations++
	l.Roundings += roundings
	l.Regrouped = true
	for i, row := range l.W {
		s, e := math.Abs(c[i]), err[i]
		if e > 0 && l.Wrong == nil {
			l.Wrong = likeRows(l.W)
		}
		for j := range row {
			if l.Wrong != nil {
				l.Wrong[i][j] = s*l.Wrong[i][j] + e*l.sizes[i][j]
			}
			row[j] *= c[i]
			l.sizes[i][j] *= s + e
		}
		l.Off[i] = s*l.Off[i] + e*l.Size[i]
		l.B[i] *= c[i]
		l.Size[i] *= s + e
		l.Flushed[i] *= max(1, s+e)
	}
}

// multiply multiplies by a matrix C, by rows, that may be wrong by err, or not at all if that is nil. It is the first
// one.
func (l *Link) multiply(C, err [][]float64) {
	l.operations++
	l.Roundings += len(C[0])
	m := len(C)
	out := Link{B: make([]float64, m), Size: make([]float64, m), Off: make([]float64, m), Flushed: make([]float64, m), W: likeRows(C),
		sizes: likeRows(C)}
	if l.Wrong != nil || err != nil {
		out.Wrong = likeRows(C)
	}
	for i, row := range C {
		for j, c := range row {
			s, e := math.Abs(c), 0.
			if err != nil {
				e = err[i][j]
			}
			at := l.at[j]
			out.B[i] += c * l.B[j]
			out.Size[i] += (s + e) * l.Size[j]
			out.Off[i] += s*l.Off[j] + e*l.Size[j]
			out.Flushed[i] += max(1, s+e) * l.Flushed[j]
			out.W[i][at] = c * l.W[j][0]
			out.sizes[i][at] = (s + e) * l.sizes[j][0]
			if out.Wrong != nil {
				out.Wrong[i][at] = e * l.sizes[j][0]
			}
			if l.Wrong != nil {
				out.Wrong[i][at] += s * l.Wrong[j][0]
			}
		}
	}
	l.W, l.B, l.sizes, l.Size = out.W, out.B, out.sizes, out.Size
	l.Wrong, l.Off, l.Flushed, l.at, l.dot = out.Wrong, out.Off, out.Flushed, nil, true
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
func (l *Link) permute(from []int) {
	for _, v := range []*[]float64{&l.B, &l.Size, &l.Off, &l.Flushed} {
		*v = permuted(*v, from)
	}
	l.W, l.sizes = permuted(l.W, from), permuted(l.sizes, from)
	if l.Wrong != nil {
		l.Wrong = permuted(l.Wrong, from)
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
func (l *Link) dense() {
	if l.at == nil {
		return
	}
	for _, rows := range [][][]float64{l.W, l.sizes, l.Wrong} {
		for i, row := range rows {
			rows[i] = make([]float64, len(rows))
			rows[i][l.at[i]] = row[0]
		}
	}
	l.at = nil
}

// finished returns the link in the form that bounds need, false if a number of it is not one that they can use.
func (l *Link) finished() (Link, bool) {
	l.dense()
	d := *l
	same, exact := true, true
	for i, row := range d.W {
		for _, v := range []float64{d.B[i], d.Size[i], d.Off[i], d.Flushed[i]} {
			if math.IsNaN(v) || math.Abs(v) > propagate.Largest {
				return d, false
			}
		}
		exact = exact && d.Off[i] == 0
		for j, w := range row {
			if math.IsNaN(w) || !(d.sizes[i][j] <= propagate.Largest) {
				return d, false
			}
			same = same && d.sizes[i][j] == math.Abs(w)
		}
	}
	if same {
		d.sizes = nil
	}
	if exact {
		d.Off = nil
	}
	return d, true
}

// error returns how far what the model computes for z_i may be from z_i: h are what goes in, size is the sum of
// absolute products, and most is above what h, and 1, may have been multiplied with before.
func (l *Link) error(a propagate.Arithmetic, i int, h []end, most, size float64) float64 {
	γ := propagate.Gamma(l.Roundings)
	if o := a.Operand; o > 0 && l.dot {
		γ += (2*o + o*o) * (1 + γ) * propagate.Own
	}
	places := float64(4*(l.Roundings+l.operations) + 2)
	// And the bounds' own sums and products, in float64, those of W and b among them.
	e := γ*size + places*propagate.Tiny*propagate.Own*l.Flushed[i]*most + size*search.Roundoff(2*(len(h)+l.Roundings))
	if l.Off != nil {
		e += l.Off[i]
	}
	if l.Wrong != nil {
		for j, w := range l.Wrong[i] {
			e += w * h[j].magnitude
		}
	}
	return e * (1 + search.Roundoff(len(h)))
}
