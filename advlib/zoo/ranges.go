package zoo

import (
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/training"
)

// InDomain returns the model for tables of a domain, behind a layer that takes each feature from its range to [0, 1]:
// see [advlib.Domain.Normalize]. It is a part of the model, and distances stay in the domain's scales.
func InDomain(m training.Model, d advlib.Domain) training.Model {
	build := m.Build
	m.Domain = d
	m.Build = func(classes int) advlib.LogitsFn {
		logits := build(classes)
		return func(scope *model.Scope, x *Node) *Node { return logits(scope, d.Normalize(x)) }
	}
	return m
}
