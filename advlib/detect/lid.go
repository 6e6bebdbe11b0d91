package detect

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	. "advlab/advlib/internal/equation"
	"advlab/advlib/internal/hidden"
)

// LID is the detector of Ma et al. (2018), arXiv:1801.02613: adversarial inputs lie where the data seem to have more
// dimensions. For each hidden layer φ the local intrinsic dimensionality is estimated from the distances
// r₁ ≤ … ≤ r_k to the k nearest of a few clean examples,
//
//	LID(x) = −k / Σᵢ log(rᵢ/r_k),   rᵢ = ‖φ(x) − φ(xᵢ)‖₂
//
// and a logistic regression over the layers tells adversarial inputs from clean and noisy ones; without Data.Attack the
// layers' values are standardised and added.
//
// In the authors' code the clean examples are the minibatch itself, so that an adversarial input is compared with its
// own original among them, and its nearest neighbour, most often that original, is left out. Nobody has that at hand
// when it counts: here they are fixed examples of Data.Train, none of which is attacked.
//
// The break: adversarial examples of high confidence are not seen (Athalye, Carlini & Wagner 2018, arXiv:1802.00420,
// 5 % accuracy).
type LID struct {
	// K is the number of neighbours; 0 means the authors' 20.
	K int
	// Batch is the number of clean examples to compare with; 0 means the authors' 100.
	Batch int
	// Layers are the hidden layers to look at, counted from 0; nil means all.
	Layers []int
}

// String returns for example "LID, 20 of 100 neighbours".
func (l LID) String() string {
	s := fmt.Sprintf("LID, %d of %d neighbours", cmp.Or(l.K, 20), cmp.Or(l.Batch, 100))
	if l.Layers != nil {
		s += fmt.Sprintf(", layers %v", l.Layers)
	}
	return s
}

// Fit implements [Method].
func (l LID) Fit(ctx context.Context, c *advlib.Classifier, d Data) (Score, error) {
	k, batch := cmp.Or(l.K, 20), cmp.Or(l.Batch, 100)
	if k < 2 || batch <= k {
		return nil, fmt.Errorf("%d neighbours of %d examples: give at least 2 neighbours, and more examples than neighbours", k, batch)
	}
	layers, err := checkLayers(c, l.Layers, false)
	if err != nil {
		return nil, err
	}
	e, _ := d.split()
	if e.Len() < batch {
		return nil, fmt.Errorf("there are %d examples for the %d to compare with: give more, or a smaller Batch", e.Len(), batch)
	}
	chosen := rand.New(rand.NewPCG(d.Settings.Seed, 2)).Perm(e.Len())
	near := e.Select(chosen[:batch])
	s := &lid{k: k, layers: layers}
	for _, number := range layers {
		φ, err := values(ctx, c, near.X, func(_ *advlib.Model, x, z *Node) *Node { return hidden.Layers(z, x)[number].Flat() })
		if err != nil {
			return nil, err
		}
		s.of = append(s.of, newCloud(φ))
	}
	return combine(ctx, c, d, s.graph)
}

// lid has the layers' features of the clean examples.
type lid struct {
	k      int
	layers []int
	of     []*cloud
}

// graph returns the dimensionality in each layer, [n, layers].
func (l *lid) graph(_ *advlib.Model, x, z *Node) *Node {
	var all []*Node
	for i, layer := range pick(z, x, l.layers) {
		all = append(all, InsertAxes(l.of[i].dimensionality(layer.Flat(), l.k), 1))
	}
	return Concatenate(all, 1)
}

// cloud are points of a feature space.
type cloud struct {
	centre *tensors.Tensor // [1, F], the mean
	points *tensors.Tensor // [F, m], from the centre
	square *tensors.Tensor // [1, m], their squared lengths
}

func newCloud(points [][]float32) *cloud {
	m, size := len(points), len(points[0])
	mean := make([]float64, size)
	for _, p := range points {
		for j, v := range p {
			mean[j] += float64(v) / float64(m)
		}
	}
	centre, turned, square := make([]float32, size), make([]float32, size*m), make([]float32, m)
	for j, v := range mean {
		centre[j] = float32(v)
	}
	for i, p := range points {
		sum := 0.
		for j, v := range p {
			d := v - centre[j]
			turned[j*m+i] = d
			sum += float64(d) * float64(d)
		}
		square[i] = float32(sum)
	}
	return &cloud{tensors.FromFlatDataAndDimensions(centre, 1, size), tensors.FromFlatDataAndDimensions(turned, size, m),
		tensors.FromFlatDataAndDimensions(square, 1, m)}
}

// least is the smallest squared distance: it keeps logarithms and slopes finite where two points are one.
const least = 1e-12

// constant returns a tensor in the graph of x and its type, which is float64 where bounds are computed.
func constant(x *Node, t *tensors.Tensor) *Node {
	return ConvertDType(ConstTensor(x.Graph(), t), x.DType())
}

// squares returns the squared distances [n, m] of features f [n, F] to the points. All are taken from the centre first,
// because |a|² + |b|² − 2ab loses digits where a and b are long and near to each other.
func (c *cloud) squares(f *Node) *Node {
	f = Sub(f, constant(f, c.centre))
	cross := graph.DotProduct(f, constant(f, c.points))
	d := Add(Sub(graph.ReduceAndKeep(graph.Square(f), ReduceSum, 1), MulScalar(cross, 2)), constant(f, c.square))
	return MaxScalar(d, least)
}

// dimensionality returns the LID [n] of features f [n, F] from their k nearest points.
func (c *cloud) dimensionality(f *Node, k int) *Node {
	d := c.squares(f)
	near := TopKMask(StopGradient(Neg(d)), k, -1)
	logs := MulScalar(graph.Log(d), 0.5)
	farthest := graph.ReduceAndKeep(Where(near, logs, Infinity(d.Graph(), d.DType(), -1)), ReduceMax, 1)
	sum := ReduceSum(Where(near, Sub(logs, farthest), ZerosLike(logs)), 1)
	return Div(graph.Scalar(d.Graph(), d.DType(), -float64(k)), MinScalar(sum, -1e-6))
}
