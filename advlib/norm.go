package advlib

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"

	"advlab/advlib/report"
)

// Norm measures a perturbation δ. The package's values are [L0], [L1], [L2] and [Linf]; all but L0 are [ConvexNorm]s.
type Norm interface {
	// String is the norm's name: "L0", "L1", "L2" or "Linf". Reports know norms by their names, so that a norm of your own
	// needs a name of its own.
	String() string
	// Of returns ‖δ‖ of each row: δ is [n, d...], the result [n].
	Of(δ *Node) *Node
	// Distance returns ‖a − b‖ of two flat rows of equal length, computed in float64.
	Distance(a, b []float32) float64
	// Length returns ‖δ‖ of a perturbation given in float64.
	Length(δ []float64) float64
	// Diameter returns the largest distance between two points of a box with d coordinates of the given width.
	Diameter(d int, width float64) float64
	// Ball returns the ball of this norm with the radius ε, in units of the box: Linf.Ball(8./255) is the usual one for
	// images.
	Ball(ε float64) Ball
}

// ConvexNorm is a norm with a ball to project on, a direction of steepest ascent, and a dual.
type ConvexNorm interface {
	Norm
	// Project returns, for each row, the point nearest to δ in the Euclidean sense of the intersection of the ball
	// ‖·‖ ≤ radius with the box lo ≤ · ≤ hi.
	//
	// δ, lo and hi are [n, d...]; radius is a scalar or [n]; lo ≤ 0 ≤ hi, so that the intersection is never empty.
	// In real arithmetic rows already inside are unchanged. In float32 the result may leave the ball by a few units
	// in the last place: Run pulls what an attack returns inside exactly.
	Project(δ, radius, lo, hi *Node) *Node
	// Ascend returns the direction of steepest ascent, argmax ⟨d, g⟩ over ‖d‖ ≤ 1, for each row of g [n, d...].
	// A row of zeros stays zero.
	Ascend(g *Node) *Node
	// Sample fills δ with a point drawn uniformly from the unit ball.
	Sample(r *rand.Rand, δ []float32)
	// Dual returns the dual norm ‖g‖_* = max ⟨d, g⟩ over ‖d‖ ≤ 1.
	Dual() ConvexNorm
}

// The norms. L0 counts changed coordinates; it is no norm in the mathematical sense, and has no steepest ascent.
var (
	L0   Norm       = l0{}
	L1   ConvexNorm = l1{}
	L2   ConvexNorm = l2{}
	Linf ConvexNorm = linf{}
)

type (
	l0   struct{}
	l1   struct{}
	l2   struct{}
	linf struct{}
)

func (l0) String() string   { return report.L0 }
func (l1) String() string   { return report.L1 }
func (l2) String() string   { return report.L2 }
func (linf) String() string { return report.Linf }

// checkNorm refuses a norm of the user's own that reports could not tell from others, or steps could not be kept under.
func checkNorm(n Norm) error {
	name := n.String()
	switch {
	case !reflect.TypeOf(n).Comparable():
		return fmt.Errorf("the norm %s, a %T, cannot be compared by ==, as what is compiled for it must be: make it a pointer", name, n)
	case name == "":
		return fmt.Errorf("the norm %T has no name: give it one, which reports print", n)
	}
	for _, own := range []Norm{L0, L1, L2, Linf} {
		if name == own.String() && n != own {
			return fmt.Errorf("the norm %T calls itself %s, as another norm does: give it a name of its own", n, name)
		}
	}
	return nil
}

func (n l0) Ball(ε float64) Ball   { return Ball{Norm: n, Radius: ε} }
func (n l1) Ball(ε float64) Ball   { return Ball{Norm: n, Radius: ε} }
func (n l2) Ball(ε float64) Ball   { return Ball{Norm: n, Radius: ε} }
func (n linf) Ball(ε float64) Ball { return Ball{Norm: n, Radius: ε} }

func (l1) Dual() ConvexNorm   { return Linf }
func (l2) Dual() ConvexNorm   { return L2 }
func (linf) Dual() ConvexNorm { return L1 }

func (l0) Diameter(d int, _ float64) float64     { return float64(d) }
func (l1) Diameter(d int, width float64) float64 { return float64(d) * width }
func (l2) Diameter(d int, width float64) float64 { return math.Sqrt(float64(d)) * width }
func (linf) Diameter(_ int, width float64) float64 {
	return width
}

func (l0) Of(δ *Node) *Node {
	f := flatten(δ)
	return ReduceSum(ConvertDType(NotEqual(f, ZerosLike(f)), δ.DType()), 1)
}
func (l1) Of(δ *Node) *Node   { return ReduceSum(Abs(flatten(δ)), 1) }
func (linf) Of(δ *Node) *Node { return ReduceMax(Abs(flatten(δ)), 1) }

// Of divides by the largest coordinate before it squares: the squares of small perturbations underflow in float32.
func (l2) Of(δ *Node) *Node {
	f := flatten(δ)
	scale := ReduceMax(Abs(f), 1)
	safe := Where(Equal(scale, ZerosLike(scale)), OnesLike(scale), scale)
	u := Div(f, InsertAxes(safe, 1))
	return Mul(scale, Sqrt(ReduceSum(Square(u), 1)))
}

func (l0) Distance(a, b []float32) float64 {
	var n float64
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

func (l1) Distance(a, b []float32) float64 {
	var s float64
	b = b[:len(a)]
	for i, v := range a {
		s += math.Abs(float64(v) - float64(b[i]))
	}
	return s
}

func (l2) Distance(a, b []float32) float64 {
	var s float64
	b = b[:len(a)]
	for i, v := range a {
		d := float64(v) - float64(b[i])
		s += d * d
	}
	return math.Sqrt(s)
}

func (linf) Distance(a, b []float32) float64 {
	var s float64
	b = b[:len(a)]
	for i, v := range a {
		if d := math.Abs(float64(v) - float64(b[i])); d > s || d != d {
			s = d // NaN stays: nothing is above it
		}
	}
	return s
}

func (l0) Length(δ []float64) float64 {
	n := 0.
	for _, v := range δ {
		if v != 0 {
			n++
		}
	}
	return n
}

func (l1) Length(δ []float64) float64 {
	s := 0.
	for _, v := range δ {
		s += math.Abs(v)
	}
	return s
}

func (l2) Length(δ []float64) float64 {
	s := 0.
	for _, v := range δ {
		s += v * v
	}
	return math.Sqrt(s)
}

func (linf) Length(δ []float64) float64 {
	s := 0.
	for _, v := range δ {
		s = max(s, math.Abs(v))
	}
	return s
}

func (linf) Project(δ, radius, lo, hi *Node) *Node {
	r := perRow(radius, δ)
	return Max(lo, Min(hi, Max(Neg(r), Min(r, δ))))
}

// Project: the minimiser of ½‖p−δ‖² + (μ/2)‖p‖² over the box is p = clip(s·δ), s = 1/(1+μ), so the projection is
// clip(s·δ) with the largest s ≤ 1 whose norm is at most the radius; the norm grows with s, so s is bisected.
func (n l2) Project(δ, radius, lo, hi *Node) *Node {
	at := func(s *Node) *Node { return Max(lo, Min(hi, Mul(perRow(s, δ), δ))) }
	r := scalars(radius, δ)
	inside := LessOrEqual(n.Of(at(OnesLike(r))), r)
	// The radial projection is a lower bound on s (clipping only shortens), and exact when nothing is clipped.
	norm := n.Of(δ)
	safe := Where(Equal(norm, ZerosLike(norm)), OnesLike(norm), norm)
	low := Min(OnesLike(r), Div(r, safe))
	high := OnesLike(r)
	s := bisect(low, high, func(s *Node) *Node { return LessOrEqual(n.Of(at(s)), r) })
	return at(Where(inside, OnesLike(s), s))
}

// Project: the minimiser of ½‖p−δ‖² + λ‖p‖₁ over the box is p = clip(sign(δ)·max(|δ|−λ, 0)), so the projection has
// the smallest λ ≥ 0 whose norm is at most the radius; the norm falls with λ, so −λ is bisected.
func (n l1) Project(δ, radius, lo, hi *Node) *Node {
	at := func(negλ *Node) *Node {
		shrunk := Max(Add(Abs(δ), perRow(negλ, δ)), ZerosLike(δ))
		return Max(lo, Min(hi, Mul(Sign(δ), shrunk)))
	}
	r := scalars(radius, δ)
	inside := LessOrEqual(n.Of(at(ZerosLike(r))), r)
	negλ := bisect(Neg(Linf.Of(δ)), ZerosLike(r), func(s *Node) *Node { return LessOrEqual(n.Of(at(s)), r) })
	return at(Where(inside, ZerosLike(negλ), negλ))
}

// bisections halves the bracket to the resolution of float32.
const bisections = 26

// bisect returns, per row, a point of [low, high] for which ok holds, within (high−low)·2⁻²⁶ of the largest such
// point. ok must hold at low and be decreasing in its argument. The loop is unrolled: a While refuses captured nodes.
func bisect(low, high *Node, ok func(*Node) *Node) *Node {
	for range bisections {
		mid := MulScalar(Add(low, high), 0.5)
		good := ok(mid)
		low, high = Where(good, mid, low), Where(good, high, mid)
	}
	return low
}

func (linf) Ascend(g *Node) *Node { return Sign(g) }

func (n l2) Ascend(g *Node) *Node {
	norm := n.Of(g)
	safe := Where(Equal(norm, ZerosLike(norm)), OnesLike(norm), norm)
	return Div(g, perRow(safe, g))
}

// Ascend puts all mass on the coordinate of largest magnitude, split evenly over ties.
func (l1) Ascend(g *Node) *Node {
	largest := perRow(Linf.Of(g), g)
	isLargest := LogicalAnd(Equal(Abs(g), largest), NotEqual(g, ZerosLike(g)))
	mass := ConvertDType(isLargest, g.DType())
	count := ReduceSum(flatten(mass), 1)
	return Div(Mul(Sign(g), mass), perRow(Max(count, OnesLike(count)), g))
}

func (linf) Sample(r *rand.Rand, δ []float32) {
	for i := range δ {
		δ[i] = float32(2*r.Float64() - 1)
	}
}

// Sample: d coordinates of a point uniform on the sphere of d+2 dimensions are uniform in the ball of d dimensions
// (Barthe et al. 2005, corollary 4).
func (l2) Sample(r *rand.Rand, δ []float32) {
	g := make([]float64, len(δ)+2)
	var s float64
	for i := range g {
		g[i] = r.NormFloat64()
		s += g[i] * g[i]
	}
	s = math.Sqrt(s)
	for i := range δ {
		δ[i] = float32(g[i] / s)
	}
}

// Sample: the spacings of d sorted uniforms on [0, 1] are uniform in the simplex; random signs make it the ball.
func (l1) Sample(r *rand.Rand, δ []float32) {
	u := make([]float64, len(δ))
	for i := range u {
		u[i] = r.Float64()
	}
	slices.Sort(u)
	last := 0.
	for i := range δ {
		δ[i] = float32((u[i] - last) * float64(1-2*int(r.Uint64()&1)))
		last = u[i]
	}
}

// flatten returns x [n, d...] as [n, Πd].
func flatten(x *Node) *Node { return Reshape(x, x.Shape().Dimensions[0], -1) }

// scalars returns a scalar or [n] node as [n], n being the rows of like.
func scalars(s, like *Node) *Node {
	n := like.Shape().Dimensions[0]
	if s.IsScalar() {
		return BroadcastToDims(s, n)
	}
	return Reshape(s, n)
}

// perRow returns a scalar or [n] node broadcast to the shape of like [n, d...].
func perRow(s, like *Node) *Node {
	dims := like.Shape().Dimensions
	ones := make([]int, len(dims))
	for i := range ones {
		ones[i] = 1
	}
	ones[0] = dims[0]
	return BroadcastToDims(Reshape(scalars(s, like), ones...), dims...)
}
