package training

import (
	"context"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/backend"
)

// Perturbed returns what the model's adversary makes of the examples, as one batch, and the classifier of initial
// weights that it meets.
func (m Model) Perturbed(ctx context.Context, e *advlib.Examples, progress float64) (*tensors.Tensor, *advlib.Classifier, error) {
	m = m.defaults()
	classes, err := m.check(e)
	if err != nil {
		return nil, nil, err
	}
	if m.Backend == nil {
		if m.Backend, err = backend.Open(); err != nil {
			return nil, nil, err
		}
	}
	spec := advlib.Spec{Name: m.Name, Input: e.Shape(), Box: m.Box, Domain: m.Domain, Backend: m.Backend, Logits: m.Build(classes)}
	r, err := m.prepare(ctx, spec, m.outputs(classes), classes, e)
	if err != nil {
		return nil, nil, err
	}
	spec.Store = r.store
	c, err := advlib.NewClassifier(spec)
	if err != nil {
		return nil, nil, err
	}
	x, err := newOpponent(m.Adversary, c, m.Seed).perturb(ctx, 0, progress, e.X, tensors.FromFlatDataAndDimensions(slices.Clone(e.Y), e.Len()))
	return x, c, err
}
