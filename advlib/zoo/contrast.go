package zoo

import (
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/training"
)

// ContrastNormalised returns the model behind a normalisation of each picture by itself:
//
//	x ← (x − mean(x)) / √(var(x) + 10⁻⁴)
//
// over all pixels and channels, as Coates, Lee and Ng (2011), "An analysis of single-layer networks in unsupervised
// feature learning", section 3.1.1, with 10 of 255² in place of 10⁻⁴. Photographs of the same thing in another light
// become alike. It is a part of the model: attacks go through it, and distances stay in units of the picture.
func ContrastNormalised(m training.Model) training.Model {
	m.Name += ", contrast normalised"
	build := m.Build
	m.Build = func(classes int) advlib.LogitsFn {
		logits := build(classes)
		return func(scope *model.Scope, x *Node) *Node {
			dims := x.Shape().Dimensions
			flat := Reshape(x, dims[0], -1)
			flat = Sub(flat, BroadcastToDims(InsertAxes(ReduceMean(flat, 1), -1), flat.Shape().Dimensions...))
			scale := Rsqrt(AddScalar(ReduceMean(Square(flat), 1), 1e-4))
			flat = Mul(flat, BroadcastToDims(InsertAxes(scale, -1), flat.Shape().Dimensions...))
			return logits(scope, Reshape(flat, dims...))
		}
	}
	return m
}
