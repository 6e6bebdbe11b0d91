package attack

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

// decisions is one example's search by labels, with what such attacks share. Directions are float64. Points are
// float32 and may be asked about, and all lengths are those of such points: what a direction means is what is left of
// it inside the limits.
type decisions struct {
	*craft.Inquiry
	norm  advlib.Norm
	free  []int   // the coordinates that may change
	width float64 // the unit of length, where papers have inputs in [0, 1]: the median of how far coordinates may go
	// avoid are classes that do not count as reached; last is the class of the last point that was adversarial.
	avoid []int32
	last  int32
	// aside says that any class counts, although there is a target, which only gives the direction.
	aside  bool
	points [][]float32 // see blank
}

// byLabels runs a search for each example of a batch; an example of which nothing may change has none.
func byLabels(
	ctx context.Context, v *advlib.Counted, b advlib.Batch, norm advlib.Norm, queries int, search func(d *decisions),
) (*tensors.Tensor, error) {
	return craft.Inquire(ctx, v, b, craft.Inquest{Norm: norm, Queries: queries}, func(q *craft.Inquiry) {
		if d := newDecisions(q, norm); len(d.free) > 0 {
			search(d)
		}
	})
}

// newDecisions returns the search by labels of an inquiry, which may be the last part of one by scores.
func newDecisions(q *craft.Inquiry, norm advlib.Norm) *decisions {
	d := &decisions{Inquiry: q, norm: norm, last: -1}
	var widths []float64
	for j := range q.X {
		if q.Lower[j] < q.Upper[j] {
			d.free = append(d.free, j)
			widths = append(widths, float64(q.Upper[j])-float64(q.Lower[j]))
		}
	}
	if len(widths) > 0 {
		slices.Sort(widths)
		d.width = widths[len(widths)/2]
	}
	return d
}

// are asks which points are adversarial, and of none of the classes to avoid.
func (d *decisions) are(ps [][]float32) []bool {
	is := make([]bool, len(ps))
	for i, a := range d.Answers(ps) {
		class := a.Class()
		is[i] = d.Reached(a) && !slices.Contains(d.avoid, class) && (d.Target < 0 || d.aside || class == d.Target)
		if is[i] {
			d.last = class
		}
	}
	return is
}

// is asks about one point.
func (d *decisions) is(p []float32) bool { return d.are([][]float32{p})[0] }

// point returns the point with the given coordinates, as far as they may be.
func (d *decisions) point(at func(j int) float64) []float32 {
	p := slices.Clone(d.X)
	for _, j := range d.free {
		p[j] = float32(at(j))
	}
	return d.Clip(p)
}

// step returns x + s·v.
func (d *decisions) step(x []float32, s float64, v []float64) []float32 {
	return d.Step(make([]float32, len(x)), x, s, v, 1)
}

// distance returns how far a point is from the original.
func (d *decisions) distance(p []float32) float64 { return d.norm.Distance(p, d.X) }

// away returns p − x₀.
func (d *decisions) away(p []float32) []float64 {
	v := make([]float64, len(p))
	for j := range p {
		v[j] = float64(p[j]) - float64(d.X[j])
	}
	return v
}

// toward returns the point on the way from the original to p at the share t of its distance: in Linf p moved into the
// ball of that radius, else on the straight line.
func (d *decisions) toward(p []float32, t float64) []float32 {
	if d.norm == advlib.Norm(advlib.Linf) {
		r := t * d.distance(p)
		return d.point(func(j int) float64 {
			x := float64(d.X[j])
			return min(max(float64(p[j]), x-r), x+r)
		})
	}
	return d.point(func(j int) float64 { x := float64(d.X[j]); return x + t*(float64(p[j])-x) })
}

// bisect halves the interval from low, where at is not adversarial, to high, where it is p and adversarial, until it is
// no longer than tolerance. It returns its ends, and the point at the high one. A point that equals one of the ends, as
// happens where inputs have steps, is not asked about again.
func (d *decisions) bisect(low, high, tolerance float64, p []float32, at func(t float64) []float32) (float64, float64, []float32) {
	var below []float32
	for math.Abs(high-low) > tolerance {
		mid := (low + high) / 2
		if mid == low || mid == high {
			break
		}
		switch c := at(mid); {
		case slices.Equal(c, p):
			high = mid
		case slices.Equal(c, below):
			low = mid
		case d.is(c):
			high, p = mid, c
		default:
			low, below = mid, c
		}
	}
	return low, high, p
}

// boundary returns the adversarial point nearest to the boundary on the way from the original to b.
func (d *decisions) boundary(b start, tolerance float64) []float32 {
	_, _, p := d.bisect(b.low, 1, tolerance, b.point, func(t float64) []float32 { return d.toward(b.point, t) })
	return p
}

// normal estimates the direction in which one gets from x, on the boundary, to where the goal is reached, by the signs
// φ = ±1 of n points x + δ·u, where draw draws the directions u, and returns their length, which is taken to 1: the
// mean of (φ − φ̄)·u, with φ̄ the mean of the φ (Chen et al. 2020, section III-C). What counts as u is what is left of
// it inside the limits. If all φ are equal nothing is subtracted, and the direction is the mean of u or its opposite.
// The result has length 1, or is 0 if no u is left. Unanimous tells that all φ were equal, so that δ is too small or
// too large.
func (d *decisions) normal(x []float32, n int, δ float64, draw func(u []float64) float64) (v []float64, unanimous bool) {
	all, signed, u := make([]float64, len(d.X)), make([]float64, len(d.X)), make([]float64, len(d.X))
	positive := 0
	for left := n; left > 0; {
		ask := d.blank(left)
		for _, p := range ask {
			l := draw(u)
			d.Step(p, x, δ, u, cmp.Or(l, 1))
		}
		left -= len(ask)
		for i, is := range d.are(ask) {
			φ := -1.
			if is {
				φ = 1
				positive++
			}
			x, all, signed := x[:len(ask[i])], all[:len(ask[i])], signed[:len(ask[i])]
			for j, p := range ask[i] {
				e := float64(p) - float64(x[j])
				all[j] += e
				signed[j] += φ * e
			}
		}
	}
	if unanimous = positive == 0 || positive == n; !unanimous {
		mean := float64(2*positive-n) / float64(n)
		for j := range signed {
			signed[j] -= mean * all[j]
		}
	}
	return normalised(signed), unanimous
}

// mostAtOnce is how many points are asked about at once at most, and pointsInMemory how many numbers they have.
const mostAtOnce, pointsInMemory = 256, 1 << 16

// blank returns up to n points to be filled and asked about at once, as many as all rows should have in memory. They
// are the same each time.
func (d *decisions) blank(n int) [][]float32 {
	most := max(1, min(mostAtOnce, pointsInMemory/len(d.X)))
	for len(d.points) < min(n, most) {
		d.points = append(d.points, make([]float32, len(d.X)))
	}
	return d.points[:min(n, most)]
}

// sphere fills u with a vector whose direction is drawn uniformly, and returns its length.
func (d *decisions) sphere(u []float64) (length float64) {
	squares := d.Normals(u[:len(d.free)])
	if len(d.free) < len(u) {
		clear(u[len(d.free):])
		for i, j := range slices.Backward(d.free) {
			u[i], u[j] = 0, u[i]
		}
	}
	return math.Sqrt(squares)
}

// cube fills u with a point drawn uniformly from a cube, and returns its length.
func (d *decisions) cube(u []float64) (length float64) {
	for _, j := range d.free {
		u[j] = 2*d.Rand.Float64() - 1
	}
	return advlib.L2.Length(u)
}

// normalised scales v to length 1, and returns it; zeros stay zeros.
func normalised(v []float64) []float64 { return shortened(v, advlib.L2.Length(v)) }

// shortened divides v, which is l long, by l, and returns it; zeros stay zeros.
func shortened(v []float64, l float64) []float64 {
	if l > 0 {
		for j := range v {
			v[j] /= l
		}
	}
	return v
}

// dot returns ⟨a, b⟩, summed in four parts, which do not wait for each other: that is twice as fast.
func dot(a, b []float64) float64 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float64
	j := 0
	for ; j+4 <= len(a); j += 4 {
		s0 += a[j] * b[j]
		s1 += a[j+1] * b[j+1]
		s2 += a[j+2] * b[j+2]
		s3 += a[j+3] * b[j+3]
	}
	for ; j < len(a); j++ {
		s0 += a[j] * b[j]
	}
	return s0 + s1 + (s2 + s3)
}
