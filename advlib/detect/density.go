package detect

import (
	"cmp"
	"context"
	"fmt"
	"math"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	. "advlab/advlib/internal/equation"
	"advlab/advlib/internal/hidden"
)

// KernelDensity is the detector of Feinman et al. (2017), arXiv:1703.00410: adversarial examples lie where
// the data of the class that the model gives them are rare. The score is minus the logarithm of the density of that
// class in the last hidden layer φ,
//
//	score(x) = −log (1/N_c) Σᵢ exp(−‖φ(x) − φ(xᵢ)‖² / 2σ²),   c = argmax z(x)
//
// over the N_c examples of class c. The paper's kernel has σ² where the authors' code, and so their bandwidths, and
// this one have 2σ². The factor that makes it a density is left out: it is the same for all.
type KernelDensity struct {
	// Bandwidth is σ, in units of the features; 0 means the one, of 20 between 0.05 and 5 times the mean distance of an
	// example to its class's mean, under which the examples of Data.Train are the most likely, each by the others.
	Bandwidth float64
	// PerClass is the most examples of a class that are compared with; 0 means 200.
	PerClass int
	// Layer is the hidden layer to look at, counted from 1; 0 means the last one.
	Layer int
}

// String returns for example "kernel density, σ = 1.2".
func (f KernelDensity) String() string {
	s := "kernel density"
	if f.Bandwidth != 0 {
		s += fmt.Sprintf(", σ = %.4g", f.Bandwidth)
	}
	if f.Layer != 0 {
		s += fmt.Sprintf(", layer %d", f.Layer)
	}
	return s
}

// Fit implements [Method].
func (f KernelDensity) Fit(ctx context.Context, c *advlib.Classifier, d Data) (Score, error) {
	if !(f.Bandwidth >= 0) || math.IsInf(f.Bandwidth, 0) || f.PerClass < 0 {
		return nil, fmt.Errorf("Bandwidth = %g and PerClass = %d: both must be finite and at least 0", f.Bandwidth, f.PerClass)
	}
	var given []int
	if f.Layer != 0 {
		given = []int{f.Layer - 1}
	}
	layers, err := checkLayers(c, given, true)
	if err != nil {
		return nil, err
	}
	if err := allClasses(c, d.Train); err != nil {
		return nil, err
	}
	most, count := cmp.Or(f.PerClass, 200), make([]int, c.Classes())
	var chosen []int
	for i, y := range d.Train.Y {
		if count[y] < most {
			chosen, count[y] = append(chosen, i), count[y]+1
		}
	}
	e := d.Train.Select(chosen)
	φ, err := values(ctx, c, e.X, func(_ *advlib.Model, x, z *Node) *Node { return hidden.Layers(z, x)[layers[0]].Flat() })
	if err != nil {
		return nil, err
	}
	s := &density{layer: layers, σ: f.Bandwidth, of: newCloud(φ)}
	if s.σ == 0 {
		if s.σ, err = bandwidth(φ, e.Y, c.Classes()); err != nil {
			return nil, err
		}
	}
	logs := make([]float32, len(chosen))
	for i, y := range e.Y {
		logs[i] = float32(math.Log(float64(count[y])))
	}
	s.y = tensors.FromFlatDataAndDimensions(e.Y, 1, len(chosen))
	s.logs = tensors.FromFlatDataAndDimensions(logs, 1, len(chosen))
	return s, nil
}

// bandwidth returns the σ under which the points of the classes are the most likely, each by the others of its class.
func bandwidth(φ [][]float32, y []int32, classes int) (float64, error) {
	byClass := make([][][]float32, classes)
	for i, f := range φ {
		byClass[y[i]] = append(byClass[y[i]], f)
	}
	scale, n, size := 0., 0, len(φ[0])
	var squares [][]float64 // of the distances of a point to the others of its class
	for k, points := range byClass {
		if len(points) < 2 {
			return 0, fmt.Errorf("class %d has one example, which no other makes likely: give more, or the Bandwidth", k)
		}
		mean := make([]float32, size)
		for _, p := range points {
			for j, v := range p {
				mean[j] += v / float32(len(points))
			}
		}
		for i, p := range points {
			scale, n = scale+advlib.L2.Distance(p, mean), n+1
			var row []float64
			for j, q := range points {
				if i != j {
					d := advlib.L2.Distance(p, q)
					row = append(row, d*d)
				}
			}
			squares = append(squares, row)
		}
	}
	if scale /= float64(n); scale == 0 {
		return 0, fmt.Errorf("the features of each class are all equal: give the Bandwidth")
	}
	best, most := 0., math.Inf(-1)
	for i := range 20 {
		σ := scale * 0.05 * math.Pow(100, float64(i)/19)
		likely := 0.
		for _, row := range squares {
			likely += logMeanExp(row, σ) - float64(size)*math.Log(σ)
		}
		if likely > most {
			best, most = σ, likely
		}
	}
	return best, nil
}

// logMeanExp is log mean exp(−d/2σ²).
func logMeanExp(squares []float64, σ float64) float64 {
	top := math.Inf(-1)
	for _, d := range squares {
		top = max(top, -d/(2*σ*σ))
	}
	sum := 0.
	for _, d := range squares {
		sum += math.Exp(-d/(2*σ*σ) - top)
	}
	return top + math.Log(sum/float64(len(squares)))
}

// density has the features of all classes.
type density struct {
	layer   []int
	σ       float64
	of      *cloud
	y, logs *tensors.Tensor // of each point its class, and the logarithm of how many its class has, [1, points]
}

// Graph implements [Score].
func (s *density) Graph(_ *advlib.Model, x, z *Node) *Node {
	d := s.of.squares(pick(z, x, s.layer)[0].Flat())
	g, dims := d.Graph(), d.Shape().Dimensions
	same := Equal(BroadcastToDims(InsertAxes(graph.ArgMax(z, -1), 1), dims...), BroadcastToDims(ConstTensor(g, s.y), dims...))
	e := Sub(MulScalar(d, -1/(2*s.σ*s.σ)), constant(d, s.logs))
	e = Where(same, e, Infinity(g, e.DType(), -1))
	top := StopGradient(graph.ReduceAndKeep(e, ReduceMax, 1))
	return Neg(Add(Reshape(top, dims[0]), graph.Log(ReduceSum(graph.Exp(Sub(e, top)), 1))))
}
