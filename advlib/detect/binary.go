package detect

import (
	"context"
	"fmt"

	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	. "advlab/advlib/internal/equation"
	"advlab/advlib/training"
	"advlab/advlib/zoo"
)

// Binary is a second model that is trained to tell adversarial inputs from clean ones: Gong, Wang & Ku (2017),
// arXiv:1704.04960; Metzen et al. (2017), arXiv:1702.04267, do the same on features. The score is the difference of its
// two logits. It learns from Data.Attack, which must be set, on the last quarter of Data.Train, and knows little of
// other attacks; it is a model like any other, and an attack on both at once breaks both (Carlini & Wagner 2017,
// arXiv:1705.07263).
type Binary struct {
	// Model is the architecture, and how it is trained; without Build it is zoo.CNN() for images of at least 16×16 pixels
	// and zoo.MLP(100, 100) otherwise.
	Model training.Model
}

// String returns for example "binary detector MLP-100-100".
func (f Binary) String() string {
	if f.Model.Name == "" {
		return "binary detector"
	}
	return "binary detector " + f.Model.Name
}

// Fit implements [Method].
func (f Binary) Fit(ctx context.Context, c *advlib.Classifier, d Data) (Score, error) {
	if !d.teaches() {
		return nil, fmt.Errorf("it learns from adversarial examples, and there is no attack to make some: give Data.Attack, such as attack.PGD")
	}
	m := f.Model
	if m.Build == nil && m.Outputs == nil {
		m = zoo.MLP(100, 100)
		if in := c.Input(); len(in) == 3 && in[0] >= 16 && in[1] >= 16 {
			m = zoo.CNN()
		}
	}
	set, err := d.adversarial(ctx, c)
	if err != nil {
		return nil, err
	}
	dims := set.clean.Shape().Dimensions
	n := dims[0]
	x := append(tensors.MustCopyFlatData[float32](set.clean), tensors.MustCopyFlatData[float32](set.adversarial)...)
	y := make([]int32, 2*n)
	for i := n; i < 2*n; i++ {
		y[i] = 1
	}
	m.Name, m.Box, m.Domain, m.Backend = f.String(), c.Box(), c.Domain(), c.Backend()
	m.Seed += d.Settings.Seed
	// A graph knows variables by their path, those of different stores, too: without a scope of their own the detector's
	// would be taken for those of a classifier of the same architecture.
	if build := m.Build; build != nil {
		m.Build = func(classes int) advlib.LogitsFn {
			logits := build(classes)
			return func(scope *model.Scope, x *Node) *Node { return logits(scope.In("binary detector"), x) }
		}
	}
	if outputs := m.Outputs; outputs != nil {
		m.Outputs = func(classes int) training.OutputsFn {
			all := outputs(classes)
			return func(scope *model.Scope, x *Node) []*Node { return all(scope.In("binary detector"), x) }
		}
	}
	e := &advlib.Examples{Name: "clean and adversarial", X: tensors.FromFlatDataAndDimensions(x, append([]int{2 * n}, dims[1:]...)...), Y: y,
		Classes: []string{"clean", "adversarial"}}
	two, err := m.Fit(ctx, e)
	if err != nil {
		return nil, err
	}
	// In the graphs of the classifier that it guards, its weights are constants.
	two.Store().WithVariableAsConst(true)
	return &second{two}, nil
}

// second is a trained detector.
type second struct{ two *advlib.Classifier }

// Graph implements [Score].
func (b *second) Graph(_ *advlib.Model, x, _ *Node) *Node {
	z := b.two.LogitsGraph(x)
	return Reshape(Sub(Slice(z, AxisRange(), AxisElem(1)), Slice(z, AxisRange(), AxisElem(0))), z.Shape().Dimensions[0])
}
