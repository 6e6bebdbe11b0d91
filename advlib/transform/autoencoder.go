package transform

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/layers/activation"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/training"
)

// Autoencoder says how a denoising autoencoder (Vincent et al. 2008) is trained: it learns to take Gaussian noise away,
//
//	min_θ E ‖A_θ(clip(x + n)) − x‖²,   n ~ N(0, Noise²)
//
// and stands as a defence before a classifier, as the reformer of Meng & Chen (2017), "MagNet", arXiv:1705.09064:
//
//	denoiser, err := transform.Autoencoder{}.Fit(ctx, train)
//	d, err := transform.Before(clf, denoiser)
//
// Its zero fields mean the default: convolutions of 3 × 3, with ReLU between them and a sigmoid at the end. Those of
// the paper have three filters, and sigmoids throughout.
type Autoencoder struct {
	// Filters are the numbers of filters of the hidden convolutions; empty means 32, 32.
	Filters []int
	// Build, in place of Filters, is another architecture: from inputs x [n, d...] in the box to what is to be like them,
	// of the same shape. It takes inputs of any shape if it can.
	Build func(scope *model.Scope, x *Node) *Node
	// Name is shown in reports; empty means one by Filters and Noise.
	Name string
	// Noise is the standard deviation of the noise, in units of the box; 0 means a tenth of the box's width.
	Noise float64
	// Box is the range of the inputs; the zero Box means advlib.UnitBox.
	Box advlib.Box
	// Epochs, BatchSize, LearningRate, Seed, Backend and Progress are those of [training.Model].
	Epochs, BatchSize int
	LearningRate      float64
	Seed              uint64
	Backend           compute.Backend
	Progress          io.Writer
}

func (a Autoencoder) defaults() Autoencoder {
	if len(a.Filters) == 0 {
		a.Filters = []int{32, 32}
	}
	if a.Box == (advlib.Box{}) {
		a.Box = advlib.UnitBox
	}
	a.Noise = cmp.Or(a.Noise, a.Box.Width()/10)
	if a.Name == "" {
		of := "of its own"
		if a.Build == nil {
			of = strings.ReplaceAll(strings.Trim(fmt.Sprint(a.Filters), "[]"), " ", "-")
		}
		a.Name = fmt.Sprintf("autoencoder %s, noise %.6g", of, a.Noise)
	}
	if a.Build == nil {
		a.Build = a.convolutions
	}
	return a
}

// String returns its name, for example "autoencoder 32-32, noise 0.1".
func (a Autoencoder) String() string { return a.defaults().Name }

// Fit trains the autoencoder on the inputs of examples, whose labels are not used, or takes what the same training has
// given before.
func (a Autoencoder) Fit(ctx context.Context, e *advlib.Examples) (*Denoiser, error) {
	d, err := a.defaults().fit(ctx, e)
	if err != nil {
		return nil, fmt.Errorf("transform: %v: %w", a, err)
	}
	return d, nil
}

// MustFit is [Autoencoder.Fit] for notebooks, examples and tests: it panics on an error.
func (a Autoencoder) MustFit(ctx context.Context, e *advlib.Examples) *Denoiser {
	d, err := a.Fit(ctx, e)
	if err != nil {
		panic(err)
	}
	return d
}

func (a Autoencoder) fit(ctx context.Context, e *advlib.Examples) (*Denoiser, error) {
	if err := checkPositive("Noise", a.Noise, "it is in units of the box"); err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(a.Filters, func(n int) bool { return n < 1 }); i >= 0 {
		return nil, fmt.Errorf("Filters = %v: each convolution needs at least one", a.Filters)
	}
	m := training.Model{
		Name: a.Name, Box: a.Box, Epochs: a.Epochs, BatchSize: a.BatchSize, LearningRate: a.LearningRate, Seed: a.Seed,
		Backend: a.Backend, Progress: a.Progress, Objective: reconstruction{a.Noise, a.Box},
		Outputs: func(classes int) training.OutputsFn {
			return func(scope *model.Scope, x *Node) []*Node {
				y := a.Build(scope, x)
				if !y.Shape().Equal(x.Shape()) {
					panic(fmt.Errorf("Build makes %v of %v: an autoencoder's outputs are like its inputs", y.Shape(), x.Shape()))
				}
				// Package training trains classifiers: these stand where logits are, and no loss has them.
				n := y.Shape().Dimensions[0]
				return []*Node{BroadcastToDims(ReduceAndKeep(Reshape(y, n, -1), ReduceMean, 1), n, classes), y}
			}
		},
	}
	c, err := m.Fit(ctx, e)
	if err != nil {
		return nil, err
	}
	store := c.Store().WithVariableAsConst(true)
	wide, err := advlib.NewWide(store)
	if err != nil {
		return nil, err
	}
	return &Denoiser{name: a.Name, input: e.Shape(), build: a.Build, store: store, wide: wide}, nil
}

// convolutions are the architecture by Filters.
func (a Autoencoder) convolutions(scope *model.Scope, x *Node) *Node {
	if x.Rank() != 4 {
		panic(fmt.Errorf("inputs of shape %v are no images, which the convolutions of Filters take as [height, width, channels]: give Build "+
			"another architecture", x.Shape().Dimensions[1:]))
	}
	v := DivScalar(AddScalar(x, -a.Box.Lo), a.Box.Width())
	channels := x.Shape().Dimensions[3]
	for k, filters := range append(slices.Clone(a.Filters), channels) {
		if k > 0 {
			v = activation.Relu(v)
		}
		layer := scope.In("convolution%d", k)
		w := layer.VariableWithShape("w", shapes.Make(v.DType(), 3, 3, v.Shape().Dimensions[3], filters)).NodeValue(v)
		b := layer.VariableWithShape("b", shapes.Make(v.DType(), filters)).NodeValue(v)
		v = Add(Convolve(v, w).PadSame().Done(), InsertAxes(b, 0, 0, 0))
	}
	return AddScalar(MulScalar(Sigmoid(v), a.Box.Width()), a.Box.Lo)
}

// reconstruction is the objective: what comes out of inputs with noise is compared with those without.
type reconstruction struct {
	Noise float64
	Box   advlib.Box
}

// String implements [training.Objective].
func (r reconstruction) String() string {
	return fmt.Sprintf("reconstruction from noise σ = %g", r.Noise)
}

// Check implements [training.Objective].
func (reconstruction) Check(*advlib.Classifier) error { return nil }

// Loss implements [training.Objective].
func (r reconstruction) Loss(s *training.Step) *Node {
	noisy := Noise{Sigma: r.Noise}.Graph(s.Scope(), s.X0, r.Box)
	y := s.Outputs(noisy)[1]
	return ReduceMean(Reshape(Square(Sub(y, s.X0)), y.Shape().Dimensions[0], -1), 1)
}

// Denoiser is a trained [Autoencoder] as a [Transform]. It has a gradient. Its weights are constants of the graphs that
// it is in: what is kept of a classifier behind it knows it by them.
type Denoiser struct {
	name  string
	input []int
	build func(scope *model.Scope, x *Node) *Node
	store *model.Store
	wide  *advlib.Wide // its variables in float64, for bounds
}

// String returns the autoencoder's name.
func (d *Denoiser) String() string { return d.name }

// Check implements [Transform].
func (d *Denoiser) Check(input []int) error {
	if !slices.Equal(input, d.input) {
		return fmt.Errorf("it was trained on inputs of shape %v, and these have %v: train one on them", d.input, input)
	}
	return nil
}

// Graph implements [Transform].
func (d *Denoiser) Graph(_ *model.Scope, x *Node, _ advlib.Box) *Node {
	d.wide.Lock() // building registers variables, and two classifiers may be built at once
	defer d.wide.Unlock()
	if x.DType() == dtypes.Float64 {
		return d.build(d.wide.Store().RootScope(), x)
	}
	return ConvertDType(d.build(d.store.RootScope(), ConvertDType(x, dtypes.Float32)), x.DType())
}

// Traits implements [Transform].
func (*Denoiser) Traits() Traits { return Traits{} }
