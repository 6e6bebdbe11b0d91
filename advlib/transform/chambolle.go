package transform

import (
	"fmt"
	"math"

	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
)

// Chambolle takes the image u of least total variation near the image x,
//
//	min_u ½‖u − x‖² + Weight · Σ_p ‖∇u(p)‖₂
//
// channel by channel, by the iteration of Chambolle (2004), equation 9, for its dual. It is
// skimage.restoration.denoise_tv_chambolle.
//
// The minimum has a gradient: it is a proximal map, whose Jacobian is symmetric, so what is wanted, a vector times the
// Jacobian, is the derivative along the vector, which the same iteration computes beside the image. It is exact where
// the iteration has converged, and as near as it otherwise.
type Chambolle struct {
	// Weight is how much the total variation counts, in units of the box, above 0.
	Weight float64
	// Eps ends the iteration for a channel of an image when the objective changes by less than Eps times its first value;
	// 0 means 0.0002, as there.
	Eps float64
	// MaxIterations is how many iterations there are at most; 0 means 200, as there.
	MaxIterations int
}

func (t Chambolle) defaults() Chambolle {
	if t.Eps == 0 {
		t.Eps = 2e-4
	}
	if t.MaxIterations == 0 {
		t.MaxIterations = 200
	}
	return t
}

// String returns for example "total variation 0.1".
func (t Chambolle) String() string {
	s := fmt.Sprintf("total variation %.6g", t.Weight)
	if d := t.defaults(); d != (Chambolle{Weight: t.Weight}).defaults() {
		s += fmt.Sprintf(" (ε = %.6g, at most %d iterations)", d.Eps, d.MaxIterations)
	}
	return s
}

// Check implements [Transform].
func (t Chambolle) Check(input []int) error {
	if err := checkPositive("Weight", t.Weight, "it is what the total variation counts, in units of the box"); err != nil {
		return err
	}
	if math.IsNaN(t.Eps) || t.Eps < 0 || t.Eps >= 1 {
		return fmt.Errorf("Eps = %g is not in (0, 1): leave it 0 for the default", t.Eps)
	}
	if t.MaxIterations < 0 {
		return fmt.Errorf("MaxIterations = %d: give a positive number, or 0 for the default", t.MaxIterations)
	}
	return checkImage(input)
}

// Traits implements [Transform].
func (Chambolle) Traits() Traits { return Traits{} }

// Graph implements [Transform].
func (t Chambolle) Graph(_ *model.Scope, x *Node, _ advlib.Box) *Node {
	u, _ := t.defaults().minimum(x, nil)
	through := IdentityWithCustomGradient(x, func(x, v *Node) *Node {
		_, along := t.defaults().minimum(x, v)
		return along
	})
	return Add(through, StopGradient(Sub(u, x)))
}

// minimum returns u [n, h, w, c] for x, and, for directions v that are not nil, the derivative of u along v.
//
// With p the dual field, and τ = 1/4,
//
//	u = x + ∇ᵀp,   g = ∇u,   p ← (p − τ g)/(1 + τ‖g‖/Weight)
func (t Chambolle) minimum(x, v *Node) (u, along *Node) {
	g, dims := x.Graph(), x.Shape().Dimensions
	perChannel := shapes.Make(x.DType(), dims[0], 1, 1, dims[3])
	zero, none := ZerosLike(x), Zeros(g, perChannel)
	// The image, its dual field, the objective, its first value, and 1 while the channel is iterated.
	state := []*Node{x, zero, zero, none, none, OnesLike(none)}
	constants := []*Node{x}
	if v != nil {
		state, constants = append(state, v, zero, zero), append(constants, v)
	}
	out := iterated(t.MaxIterations, state, constants, t.step, func(s []*Node) *Node {
		active := Reshape(summed(s[5], 0, 3))
		return GreaterThan(active, number(active, 0))
	})
	if v == nil {
		return out[0], nil
	}
	return out[0], out[6]
}

// step is one iteration: see minimum, which has the state.
func (t Chambolle) step(i *Node, s, constants []*Node) []*Node {
	const tau = 0.25
	u, p, q, was, first, on := s[0], s[1], s[2], s[3], s[4], s[5]
	next := Add(constants[0], transposed(p, q))
	gp, gq := differences(next)
	norm := Sqrt(Add(Square(gp), Square(gq)))
	energy := summed(Add(Square(Sub(next, constants[0])), times(norm, t.Weight)), 1, 2)
	begun := BroadcastToDims(GreaterThan(i, number(i, 0)), on.Shape().Dimensions...)
	first = Where(begun, first, energy)
	settled := LogicalAnd(begun, LessThan(Abs(Sub(was, energy)), times(first, t.Eps)))
	active := BroadcastToDims(GreaterThan(on, number(on, 0)), next.Shape().Dimensions...)
	shrink := Add(times(norm, tau/t.Weight), number(norm, 1))
	nextP, nextQ := Div(Sub(p, times(gp, tau)), shrink), Div(Sub(q, times(gq, tau)), shrink)
	state := []*Node{Where(active, next, u), nextP, nextQ, energy, first, Where(settled, times(on, 0), on)}
	if len(s) == len(state) {
		return state
	}
	along, dp, dq := s[6], s[7], s[8]
	nextAlong := Add(constants[1], transposed(dp, dq))
	dgp, dgq := differences(nextAlong)
	dNorm := Div(Add(Mul(gp, dgp), Mul(gq, dgq)), Max(norm, number(norm, 1e-12))) // 0 where there is no slope
	dShrink := times(dNorm, tau/t.Weight)
	dp = Div(Sub(Sub(dp, times(dgp, tau)), Mul(nextP, dShrink)), shrink)
	dq = Div(Sub(Sub(dq, times(dgq, tau)), Mul(nextQ, dShrink)), shrink)
	return append(state, Where(active, nextAlong, along), dp, dq)
}

// differences returns the differences to the next row and to the next column, 0 at the last.
func differences(u *Node) (rows, cols *Node) {
	along := func(axis int) *Node {
		n := u.Shape().Dimensions[axis]
		if n == 1 {
			return times(u, 0)
		}
		d := Sub(SliceAxis(u, axis, AxisRange(1, n)), SliceAxis(u, axis, AxisRange(0, n-1)))
		return Concatenate([]*Node{d, times(SliceAxis(u, axis, AxisRange(n-1, n)), 0)}, axis)
	}
	return along(1), along(2)
}

// transposed returns the transpose of differences, which is −div: p and q of the pixel before, less those of the pixel.
func transposed(p, q *Node) *Node {
	along := func(p *Node, axis int) *Node {
		n := p.Shape().Dimensions[axis]
		if n == 1 {
			return Neg(p)
		}
		before := Concatenate([]*Node{times(SliceAxis(p, axis, AxisRange(0, 1)), 0), SliceAxis(p, axis, AxisRange(0, n-1))}, axis)
		return Sub(before, p)
	}
	return Add(along(p, 1), along(q, 2))
}
