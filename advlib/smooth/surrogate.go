package smooth

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"

	"advlab/advlib"
)

type surrogateKey struct {
	sigma float64
	draws int
	seed  uint64
}

// Surrogate returns a classifier that stands for the smoothed one in attacks, which need a gradient: the logarithm of
// the mean softmax over some draws of the noise, the same ones for every input,
//
//	zₖ(x) = ln (1/m) Σᵢ softmax(f(x + ηᵢ))ₖ
//
// Ascending its cross-entropy is the attack SmoothAdv of Salman et al. (2019), arXiv:1906.04584, equation (S). Whether
// it succeeded on the smoothed classifier is for [Gaussian.Predict] to say, at the adversarial examples. 8 to 16 draws
// are usual.
func (s Gaussian) Surrogate(draws int) (*advlib.Classifier, error) {
	if draws < 1 {
		return nil, fmt.Errorf("smooth: surrogate of %v: %d draws: give at least 1", s, draws)
	}
	if s.Base == nil || !(s.Sigma > 0) {
		return nil, fmt.Errorf("smooth: surrogate of %v: it needs a Base and a Sigma above 0", s)
	}
	k0, k1 := s.key(0, surrogateStream)
	key := surrogateKey{s.Sigma, draws, s.Seed}
	return s.Base.Derive(key, fmt.Sprintf("%v, mean of %d draws", s, draws), func(m *advlib.Model, x *Node) *Node {
		g := x.Graph()
		dims := x.Shape().Clone().Dimensions
		dims[0] = 1
		η := MulScalar(normals(Const(g, k0), Const(g, k1), Const(g, uint32(0)), draws, x.Shape().Size()/x.Shape().Dimensions[0]), s.Sigma)
		var sum *Node
		for i := range draws {
			noise := ConvertDType(Reshape(Slice(η, AxisElem(i)), dims...), x.DType())
			p := Softmax(m.Logits(Add(x, noise)), -1)
			if sum == nil {
				sum = p
			} else {
				sum = Add(sum, p)
			}
		}
		return Log(AddScalar(DivScalar(sum, float64(draws)), 1e-30))
	})
}
