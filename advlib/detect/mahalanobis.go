package detect

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"gonum.org/v1/gonum/mat"

	"advlab/advlib"
	. "advlab/advlib/internal/equation"
	"advlab/advlib/internal/hidden"
)

// Mahalanobis is the detector of Lee et al. (2018), arXiv:1807.03888: in each hidden layer φ, of an image the mean of
// each channel, classes are taken as Gaussians of one covariance (equation 1), and the score is the distance to the
// nearest of them (equation 2),
//
//	M(x) = min_c ½ (φ(x) − μ_c)ᵀ Σ⁻¹ (φ(x) − μ_c)
//
// with the pseudoinverse in place of Σ⁻¹, as in the authors' code. A logistic regression over the layers tells
// adversarial inputs from clean and noisy ones; without Data.Attack the layers' distances are standardised and added.
type Mahalanobis struct {
	// Layers are the hidden layers to look at, counted from 0; nil means all.
	Layers []int
	// Magnitude is by how much each coordinate of an input is moved, in units of the box, towards the nearest class before
	// it is scored (section 2.2, "input pre-processing"); 0 means not at all.
	Magnitude float64
}

// String returns for example "Mahalanobis, magnitude 0.01".
func (f Mahalanobis) String() string {
	s := "Mahalanobis"
	if f.Layers != nil {
		s += fmt.Sprintf(", layers %v", f.Layers)
	}
	if f.Magnitude != 0 {
		s += fmt.Sprintf(", magnitude %.4g", f.Magnitude)
	}
	return s
}

// Fit implements [Method].
func (f Mahalanobis) Fit(ctx context.Context, c *advlib.Classifier, d Data) (Score, error) {
	if !(f.Magnitude >= 0) || math.IsInf(f.Magnitude, 0) {
		return nil, fmt.Errorf("Magnitude = %g is not a finite number of at least 0: it is in units of the box", f.Magnitude)
	}
	layers, err := checkLayers(c, f.Layers, false)
	if err != nil {
		return nil, err
	}
	e, _ := d.split()
	if err := allClasses(c, e); err != nil {
		return nil, err
	}
	s := &mahalanobis{layers: layers, magnitude: f.Magnitude}
	for _, number := range layers {
		φ, err := values(ctx, c, e.X, func(_ *advlib.Model, x, z *Node) *Node { return hidden.Layers(z, x)[number].Channels() })
		if err != nil {
			return nil, err
		}
		g, err := newGaussians(φ, e.Y, c.Classes())
		if err != nil {
			return nil, fmt.Errorf("hidden layer %d: %w", number, err)
		}
		s.of = append(s.of, g)
	}
	return combine(ctx, c, d, s.graph)
}

// allClasses refuses examples without any of some class.
func allClasses(c *advlib.Classifier, e *advlib.Examples) error {
	count := make([]int, c.Classes())
	for _, y := range e.Y {
		count[y]++
	}
	for k, n := range count {
		if n == 0 {
			return fmt.Errorf("none of %d examples of %s is of class %s: what is normal for it cannot be known; give examples of all %d classes",
				e.Len(), e.Name, c.ClassName(k), c.Classes())
		}
	}
	return nil
}

// mahalanobis has the layers' Gaussians.
type mahalanobis struct {
	layers    []int
	magnitude float64
	of        []*gaussians
}

// graph returns the distance in each layer, [n, layers].
func (s *mahalanobis) graph(m *advlib.Model, x, z *Node) *Node {
	var all []*Node
	for i, layer := range pick(z, x, s.layers) {
		d := s.of[i].distance(layer.Channels())
		if s.magnitude > 0 {
			// As in the authors' code, where a slope of 0 counts as positive.
			g := StopGradient(Gradient(ReduceAllSum(d), x)[0])
			towards := Where(GreaterThan(g, ZerosLike(g)), Neg(OnesLike(g)), OnesLike(g))
			moved := Add(x, MulScalar(towards, s.magnitude))
			d = s.of[i].distance(pick(m.Logits(moved), moved, s.layers)[i].Channels())
		}
		all = append(all, InsertAxes(d, 1))
	}
	return Concatenate(all, 1)
}

// gaussians are Gaussians of one covariance, turned so that it is the unit matrix.
type gaussians struct {
	centre *tensors.Tensor // [1, F]
	turn   *tensors.Tensor // A [F, r], with A·Aᵀ the pseudoinverse of the covariance
	means  *tensors.Tensor // [1, K, r]
}

// newGaussians fits them to features of labelled examples.
func newGaussians(φ [][]float32, y []int32, classes int) (*gaussians, error) {
	n, size := len(φ), len(φ[0])
	centre, means, count := make([]float64, size), mat.NewDense(classes, size, nil), make([]float64, classes)
	for i, f := range φ {
		count[y[i]]++
		for j, v := range f {
			centre[j] += float64(v) / float64(n)
		}
	}
	rounded := make([]float32, size)
	for j, v := range centre {
		rounded[j] = float32(v)
		centre[j] = float64(rounded[j])
	}
	for i, f := range φ {
		k := int(y[i])
		for j, v := range f {
			means.Set(k, j, means.At(k, j)+(float64(v)-centre[j])/count[k])
		}
	}
	rest := mat.NewDense(n, size, nil)
	for i, f := range φ {
		for j, v := range f {
			rest.Set(i, j, float64(v)-centre[j]-means.At(int(y[i]), j))
		}
	}
	var covariance mat.SymDense
	covariance.SymOuterK(1/float64(n), rest.T())
	var eigen mat.EigenSym
	if !eigen.Factorize(&covariance, true) {
		return nil, fmt.Errorf("the covariance of %d features has no eigenvalues that can be found", size)
	}
	λ := eigen.Values(nil)
	var vectors mat.Dense
	eigen.VectorsTo(&vectors)
	// As scipy.linalg.pinvh, which the authors' code uses by way of scikit-learn.
	least := λ[size-1] * float64(size) * 0x1p-52
	first := slices.IndexFunc(λ, func(v float64) bool { return v > least }) // they rise
	if first < 0 {
		return nil, fmt.Errorf("none of %d features varies within a class: give more examples", size)
	}
	r := size - first
	turn := make([]float64, size*r)
	for i := range size {
		for k := range r {
			turn[i*r+k] = vectors.At(i, first+k) / math.Sqrt(λ[first+k])
		}
	}
	var turned mat.Dense
	turned.Mul(means, mat.NewDense(size, r, turn))
	return &gaussians{tensors.FromFlatDataAndDimensions(rounded, 1, size), tensors.FromFlatDataAndDimensions(floats(turn), size, r),
		tensors.FromFlatDataAndDimensions(floats(turned.RawMatrix().Data), 1, classes, r)}, nil
}

func floats(v []float64) []float32 {
	f := make([]float32, len(v))
	for i := range v {
		f[i] = float32(v[i])
	}
	return f
}

// distance returns min_c ½ (f − μ_c)ᵀ Σ⁻¹ (f − μ_c) for f [n, F]: [n].
func (s *gaussians) distance(f *Node) *Node {
	turned := graph.DotProduct(Sub(f, constant(f, s.centre)), constant(f, s.turn))
	from := Sub(InsertAxes(turned, 1), constant(f, s.means))
	return MulScalar(graph.ReduceMin(ReduceSum(graph.Square(from), -1), -1), 0.5)
}
