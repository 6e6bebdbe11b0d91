package attack

import (
	"math"

	. "advlab/advlib/internal/equation"
)

// Constants of Adam, the paper's.
const (
	adamβ1 = 0.9
	adamβ2 = 0.999
	adamε  = 1e-8
)

// adam is one step of Kingma & Ba (2015), arXiv:1412.6980, section 2, in its last form: the moments after the gradient
// g, and the change of the variable without the step size, which is [adamRate].
func adam(m1, m2, g *Node) (m1n, m2n, change *Node) {
	m1n = Add(MulScalar(m1, adamβ1), MulScalar(g, 1-adamβ1))
	m2n = Add(MulScalar(m2, adamβ2), MulScalar(squared(g), 1-adamβ2))
	return m1n, m2n, Neg(Div(m1n, AddScalar(Sqrt(m2n), adamε)))
}

// adamRate is the step size of step k, which counts from 0, with the corrections of the moments' bias.
func adamRate(rate float64, k int) float64 {
	return rate * math.Sqrt(1-math.Pow(adamβ2, float64(k+1))) / (1 - math.Pow(adamβ1, float64(k+1)))
}

// hostAdam is adam on the host, for attacks that have no graph.
type hostAdam struct {
	k      int
	m1, m2 []float64
}

func newHostAdam(n int) *hostAdam { return &hostAdam{m1: make([]float64, n), m2: make([]float64, n)} }

// next returns the step that follows the slope g upwards.
func (h *hostAdam) next(rate float64, g []float64) []float64 {
	rate = adamRate(rate, h.k)
	h.k++
	δ := make([]float64, len(g))
	for i, v := range g {
		h.m1[i] = adamβ1*h.m1[i] + (1-adamβ1)*v
		h.m2[i] = adamβ2*h.m2[i] + (1-adamβ2)*v*v
		δ[i] = rate * h.m1[i] / (math.Sqrt(h.m2[i]) + adamε)
	}
	return δ
}

// finite replaces what has overflowed in the product of a gradient with something large, such as C&W's constant, by 0.
// Gradients themselves are finite: see [advlib.Model.Gradient].
func finite(g *Node) *Node { return Where(IsFinite(g), g, ZerosLike(g)) }

// squared returns x²; the package's Square is the attack.
func squared(x *Node) *Node { return Mul(x, x) }
