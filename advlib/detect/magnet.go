package detect

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	. "advlab/advlib/internal/equation"
	"advlab/advlib/transform"
)

// MagNet is the defence of Meng & Chen (2017), arXiv:1705.09064: autoencoders trained on clean inputs rebuild what they
// know, so that what they rebuild badly is rejected, and what is accepted is rebuilt, "reformed", before it is
// classified. Detectors compare an input with what an autoencoder g makes of it,
//
//	‖x − g(x)‖_p^p / d,   and   JSD(softmax(z(x)/T), softmax(z(g(x))/T))
//
// each divided by its own threshold, and the score is the largest of these: above 1 where any
// of them is above its own, as in the authors' code. They set the thresholds for 0.1 % of clean inputs each; here all
// are raised or lowered together until Data.Rate of the clean inputs are rejected in all.
//
// Images with even sides are rebuilt as in the paper's tables for MNIST: I has convolutions 3×3 with 3 channels, an
// average over 2×2 and back, II none of that; the reformer is I. Other inputs are rebuilt by a dense layer of half
// their size. All units are sigmoids, and the last one has the range of the box. The authors' weight decay of 10⁻⁹
// is left out.
//
// The break: an attacker trains autoencoders alike, and what fools all of these fools the defender's (Carlini & Wagner
// 2017, arXiv:1711.08478).
type MagNet struct {
	// Epochs is how long each autoencoder is trained, and BatchSize with how many examples in a step; 0 means the authors'
	// 100 and 256, which are for 55,000 examples. Of fewer examples batches are smaller, down to 16, so that there are
	// about 5000 steps: an autoencoder of too few rebuilds nothing, and what it reforms is misclassified.
	Epochs, BatchSize int
	// LearningRate is Adam's; 0 means 0.001.
	LearningRate float64
	// Noise is the standard deviation of the noise that the autoencoders learn to remove, in widths of the box; 0 means
	// 0.1.
	Noise float64
	// Temperatures are the T of the detectors by divergence; nil means 10 and 40.
	Temperatures []float64
	// NoReformer classifies accepted inputs as they are.
	NoReformer bool
	// Seed is added to that of the data's settings for the autoencoders' weights.
	Seed uint64
}

// String returns for example "MagNet, T = 10, 40".
func (f MagNet) String() string {
	s := "MagNet"
	if f.Temperatures != nil {
		s += fmt.Sprintf(", T = %v", f.Temperatures)
	}
	if f.NoReformer {
		s += ", no reformer"
	}
	return s
}

// Fit implements [Method].
func (f MagNet) Fit(ctx context.Context, c *advlib.Classifier, d Data) (Score, error) {
	if c.Domain() != nil {
		return nil, fmt.Errorf("the inputs of %s have a domain, which an autoencoder's do not keep to", c.Name())
	}
	noise, temperatures := cmp.Or(f.Noise, 0.1), f.Temperatures
	if temperatures == nil {
		temperatures = []float64{10, 40}
	}
	if !(noise > 0) || math.IsInf(noise, 0) {
		return nil, fmt.Errorf("Noise = %g is not a finite number above 0: it is in widths of the box", f.Noise)
	}
	for _, t := range temperatures {
		if !(t > 0) || math.IsInf(t, 0) {
			return nil, fmt.Errorf("the temperature %g is not a finite number above 0: the authors take 10 and 40", t)
		}
	}
	epochs := cmp.Or(f.Epochs, 100)
	fewer := min(256, max(16, d.Train.Len()*epochs/5000))
	s := &magnet{box: c.Box(), temperatures: temperatures, reforms: !f.NoReformer}
	for _, pools := range []bool{true, false} {
		a := autoencoder{pools, c.Box(), f.Seed + d.Settings.Seed}
		g, err := transform.Autoencoder{
			Name: a.String(), Build: a.graph, Noise: noise * c.Box().Width(), Box: c.Box(), Epochs: epochs,
			BatchSize: min(cmp.Or(f.BatchSize, fewer), d.Train.Len()), LearningRate: f.LearningRate, Seed: a.seed,
			Backend: c.Backend(),
		}.Fit(ctx, d.Train)
		if err != nil {
			return nil, err
		}
		s.by = append(s.by, func(x *Node) *Node { return g.Graph(nil, x, c.Box()) })
	}
	return s, s.calibrate(ctx, c, d)
}

// calibrate sets the thresholds that make the detectors comparable, on the examples on which that of the whole is set.
func (s *magnet) calibrate(ctx context.Context, c *advlib.Classifier, d Data) error {
	parts, err := values(ctx, c, d.Clean.X, s.parts)
	if err != nil {
		return err
	}
	s.thresholds = nil
	for j := range parts[0] {
		column := make([]float64, len(parts))
		for i := range parts {
			column[i] = float64(parts[i][j])
		}
		slices.Sort(column)
		t := column[rank(len(column), d.Rate)-1]
		if !(t > 0) {
			return fmt.Errorf("its detector %d gives %g to nearly all clean examples: there is nothing to compare with", j, t)
		}
		s.thresholds = append(s.thresholds, t)
	}
	return nil
}

// magnet is a fitted MagNet.
type magnet struct {
	box          advlib.Box
	by           []func(x *Node) *Node // autoencoders I and II
	temperatures []float64
	thresholds   []float64 // of the detectors, in the order of parts
	reforms      bool
}

// Reform implements [Reformer]; without a reformer it changes nothing.
func (s *magnet) Reform(x *Node) *Node {
	if !s.reforms {
		return x
	}
	return s.by[0](x)
}

// Graph implements [Score].
func (s *magnet) Graph(m *advlib.Model, x, z *Node) *Node {
	parts := s.parts(m, x, z)
	t := floats(s.thresholds)
	return ReduceMax(Div(parts, constant(x, tensors.FromFlatDataAndDimensions(t, 1, len(t)))), -1)
}

// parts returns what each detector sees, [n, detectors]: the errors of I with p = 2 and of II with p = 1, then the
// divergences by I at each temperature.
func (s *magnet) parts(m *advlib.Model, x, z *Node) *Node {
	n := x.Shape().Dimensions[0]
	var all []*Node
	mean := func(d *Node) { all = append(all, InsertAxes(graph.ReduceMean(Reshape(d, n, -1), 1), 1)) }
	rebuilt := s.by[0](x)
	mean(graph.Square(Sub(x, rebuilt)))
	mean(Abs(Sub(x, s.by[1](x))))
	other := m.Logits(rebuilt)
	for _, t := range s.temperatures {
		p, q := graph.LogSoftmax(DivScalar(z, t), -1), graph.LogSoftmax(DivScalar(other, t), -1)
		mid := graph.Log(MulScalar(Add(graph.Exp(p), graph.Exp(q)), 0.5))
		kl := func(a *Node) *Node { return ReduceSum(Mul(graph.Exp(a), Sub(a, mid)), -1) }
		all = append(all, InsertAxes(MulScalar(Add(kl(p), kl(q)), 0.5), 1))
	}
	return Concatenate(all, 1)
}

// autoencoder is the architecture of I, which pools, or of II.
type autoencoder struct {
	pools bool
	box   advlib.Box
	seed  uint64
}

// String names it. It is where its variables are, too: a graph knows variables by their path, those of different
// stores, too, and with the same path as one of the classifier's or of another autoencoder they would be taken for one.
func (a autoencoder) String() string {
	if a.pools {
		return fmt.Sprintf("MagNet I, seed %d", a.seed)
	}
	return fmt.Sprintf("MagNet II, seed %d", a.seed)
}

// graph builds what it makes of inputs x [n, d...].
func (a autoencoder) graph(scope *model.Scope, x *Node) *Node {
	scope = scope.In("%v", a)
	dims := x.Shape().Dimensions
	x = DivScalar(AddScalar(x, -a.box.Lo), a.box.Width())
	var y *Node
	if len(dims) == 4 && dims[1]%2 == 0 && dims[2]%2 == 0 {
		y = sigmoidConvolution(scope.In("conv0"), x, 3)
		h, w := dims[1]/2, dims[2]/2
		if a.pools {
			y = graph.ReduceMean(Reshape(y, dims[0], h, 2, w, 2, 3), 2, 4)
		}
		y = sigmoidConvolution(scope.In("conv1"), y, 3)
		if a.pools {
			y = sigmoidConvolution(scope.In("conv2"), y, 3)
			y = BroadcastToDims(Reshape(y, dims[0], h, 1, w, 1, 3), dims[0], h, 2, w, 2, 3)
			y = sigmoidConvolution(scope.In("conv3"), Reshape(y, dims[0], 2*h, 2*w, 3), 3)
		}
		y = sigmoidConvolution(scope.In("conv4"), y, dims[3])
	} else {
		flat := Reshape(x, dims[0], -1)
		size := flat.Shape().Dimensions[1]
		y = sigmoidDense(scope.In("dense0"), flat, max(1, size/2))
		if a.pools {
			y = sigmoidDense(scope.In("dense1"), y, max(1, size/2))
		}
		y = Reshape(sigmoidDense(scope.In("dense2"), y, size), dims...)
	}
	return AddScalar(MulScalar(y, a.box.Width()), a.box.Lo)
}

// sigmoidConvolution is a convolution 3×3 of the same size.
func sigmoidConvolution(scope *model.Scope, x *Node, channels int) *Node {
	w := scope.VariableWithShape("w", shapes.Make(x.DType(), 3, 3, x.Shape().Dimensions[3], channels)).NodeValue(x)
	b := scope.VariableWithShape("b", shapes.Make(x.DType(), channels)).NodeValue(x)
	y := graph.Convolve(x, w).PaddingPerDim([][2]int{{1, 1}, {1, 1}}).Done()
	return graph.Sigmoid(Add(y, InsertAxes(b, 0, 0, 0)))
}

func sigmoidDense(scope *model.Scope, x *Node, units int) *Node {
	w := scope.VariableWithShape("w", shapes.Make(x.DType(), x.Shape().Dimensions[1], units)).NodeValue(x)
	b := scope.VariableWithShape("b", shapes.Make(x.DType(), units)).NodeValue(x)
	return graph.Sigmoid(Add(graph.DotProduct(x, w), InsertAxes(b, 0)))
}
