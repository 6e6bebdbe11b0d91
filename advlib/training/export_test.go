package training

import (
	"context"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// Perturbed returns what the model's adversary makes of the examples, as one batch, and the classifier of initial
// weights that it meets.
func (m Model) Perturbed(ctx context.Context, e *advlib.Examples, progress float64) (*tensors.Tensor, *advlib.Classifier, error) {
	r, err := m.ready(ctx, e)
	if err != nil {
		return nil, nil, err
	}
	c, err := r.classifier(r.store)
	if err != nil {
		return nil, nil, err
	}
	o := newOpponent(r.Adversary, r.AdversaryMeets, c, r.Seed)
	x, err := o.perturb(ctx, 0, progress, e.X, tensors.FromFlatDataAndDimensions(slices.Clone(e.Y), e.Len()))
	return x, c, err
}

// WatchBatches shows the function what an adversary makes of each batch, until it is called with nil.
func WatchBatches(see func(x *tensors.Tensor)) { trainedOn = see }
