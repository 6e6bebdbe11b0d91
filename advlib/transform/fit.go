package transform

import (
	"context"
	"fmt"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/gomlx/support/exceptions"

	"advlab/advlib"
	"advlab/advlib/backend"
	"advlab/advlib/training"
)

// Fit trains a model behind the transforms, on examples that have gone through them, and returns it behind them, as
// [Before] does. That is how a model for a [Thermometer] code is made; for others it often costs less accuracy than a
// transform that the model has not seen (Guo et al. 2018, arXiv:1711.00117). What is trained is kept, as
// by [training.Model.Fit]. Where the model takes a code, the naive attack is on the same model trained without it,
// which is trained as well.
//
// What is trained behind [Chambolle] or [TotalVariance] is trained each time: GoMLX does not show what a loop does, so
// package lab cannot tell two of them apart.
func Fit(ctx context.Context, m training.Model, e *advlib.Examples, all ...Transform) (*Defended, error) {
	d, err := fit(ctx, m, e, all)
	if err != nil {
		return nil, fmt.Errorf("transform: %w", err)
	}
	return d, nil
}

// MustFit is [Fit] for notebooks, examples and tests: it panics on an error.
func MustFit(ctx context.Context, m training.Model, e *advlib.Examples, all ...Transform) *Defended {
	d, err := Fit(ctx, m, e, all...)
	if err != nil {
		panic(err)
	}
	return d
}

func fit(ctx context.Context, m training.Model, e *advlib.Examples, all []Transform) (*Defended, error) {
	if err := given(all); err != nil {
		return nil, err
	}
	switch {
	case m.Build == nil:
		return nil, fmt.Errorf("the model has no Build: transforms go before the input of one")
	case m.Domain != nil:
		return nil, fmt.Errorf("the inputs have a domain (%v), which transforms of images do not keep to", m.Domain)
	case e == nil:
		return nil, fmt.Errorf("there are no examples: give at least one")
	}
	if m.Box == (advlib.Box{}) {
		m.Box = advlib.UnitBox
	}
	if m.Backend == nil {
		b, err := backend.Open()
		if err != nil {
			return nil, err
		}
		m.Backend = b
	}
	code, err := coded(m.Backend, e.Shape(), m.Box, all)
	if err != nil {
		return nil, err
	}
	behind, build := m, m.Build
	behind.Build = func(classes int) advlib.LogitsFn {
		logits := build(classes)
		return func(scope *model.Scope, x *Node) *Node {
			for _, t := range all {
				x = t.Graph(scope, x, m.Box)
			}
			return logits(scope, x)
		}
	}
	c, err := behind.Fit(ctx, e)
	if err != nil {
		return nil, err
	}
	inner, err := advlib.NewClassifier(advlib.Spec{
		Name: c.Name(), Input: code, Box: m.Box, Classes: c.Signature().ClassNames, Store: c.Store(), Backend: c.Backend(),
		Notes: c.Notes(), Logits: build(c.Classes()),
	})
	if err != nil {
		return nil, err
	}
	d, err := Before(inner, all...)
	if err != nil || d.Surrogate != nil {
		return d, err
	}
	d.Surrogate, err = m.Fit(ctx, e)
	return d, err
}

// coded returns the shape of what transforms make of inputs, or what they do not take.
func coded(b compute.Backend, input []int, box advlib.Box, all []Transform) ([]int, error) {
	for _, t := range all {
		if err := t.Check(input); err != nil {
			return nil, fmt.Errorf("%v: %w", t, err)
		}
		err := exceptions.TryCatch[error](func() {
			g := NewGraph(b, t.String())
			defer g.Finalize()
			x := Parameter(g, "x", shapes.Make(dtypes.Float32, append([]int{1}, input...)...))
			input = slices.Clone(t.Graph(model.NewStore().RootScope(), x, box).Shape().Dimensions[1:])
		})
		if err != nil {
			return nil, fmt.Errorf("%v: %w", t, err)
		}
	}
	return input, nil
}
