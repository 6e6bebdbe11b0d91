package smooth

import (
	"fmt"
	"math"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/training"
)

// Augment returns the model that is trained on noisy inputs (Cohen et al. 2019, section 3.3; Lecuyer et al. 2019):
// Gaussian noise of standard deviation σ, in units of the box, is added to every input in every step of the training,
// new each time, and never clipped. Without it the base classifier has not seen what smoothing shows it. Trained, it is
// the same classifier as ever, without noise.
//
//	base := smooth.Augment(zoo.CNN(), 0.25).MustFit(ctx, train)
//	smoothed := smooth.Gaussian{Base: base, Sigma: 0.25}
//
// It panics if σ is not a finite number of at least 0.
func Augment(m training.Model, σ float64) training.Model {
	if !(σ >= 0) || math.IsInf(σ, 0) {
		panic(fmt.Errorf("smooth: augmentation by noise of standard deviation %g: give a finite number ≥ 0, in units of the box", σ))
	}
	if m.Build == nil || σ == 0 {
		return m // which Fit refuses, or is what was asked for
	}
	build := m.Build
	m.Name = fmt.Sprintf("%s (noise %.6g)", m.Name, σ)
	m.Build = func(classes int) advlib.LogitsFn {
		logits := build(classes)
		return func(scope *model.Scope, x *Node) *Node {
			if scope.IsTraining(x.Graph()) {
				x = Add(x, MulScalar(scope.RandomNormal(x.Graph(), x.Shape()), σ))
			}
			return logits(scope, x)
		}
	}
	return m
}
