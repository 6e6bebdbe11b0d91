package detect

import (
	"context"
	"fmt"
	"strings"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	. "advlab/advlib/internal/equation"
	"advlab/advlib/transform"
)

// FeatureSqueezing is the joint detector of Xu, Evans & Qi (2018), arXiv:1704.01155, section V: what a classifier says
// of an input and of the same input with less room for a perturbation should be alike,
//
//	score(x) = max_j ‖softmax(z(x)) − softmax(z(s_j(x)))‖₁
//
// over squeezers s_j, from 0 to 2. The authors' joint squeezers are 1 bit and a 2×2 median for MNIST; for colour images
// 5 bits, a 2×2 median and non-local means, [transform.NonLocalMeans].
//
// The break is the same loss with the squeezers in it: the authors' own adaptive attack, and He et al. (2017),
// arXiv:1706.04701, who measure in L2. In Linf one bit leaves little of MNIST to be changed: only pixels within the
// radius of a half, most of which are at the edges of strokes, can get another bit.
type FeatureSqueezing struct {
	// Squeezers are transforms without random draws; nil means 1 bit and a 2×2 median.
	Squeezers []transform.Transform
}

func (f FeatureSqueezing) squeezers() []transform.Transform {
	if f.Squeezers == nil {
		return []transform.Transform{transform.BitDepth{Bits: 1}, transform.Median{Size: 2}}
	}
	return f.Squeezers
}

// String returns for example "feature squeezing (1 bit, median 2×2)".
func (f FeatureSqueezing) String() string {
	return fmt.Sprintf("feature squeezing (%s)", namesOf(f.squeezers()))
}

func namesOf(all []transform.Transform) string {
	var names []string
	for _, t := range all {
		names = append(names, t.String())
	}
	return strings.Join(names, ", ")
}

// Fit implements [Method]: there is nothing to fit but the threshold.
func (f FeatureSqueezing) Fit(_ context.Context, c *advlib.Classifier, _ Data) (Score, error) {
	return newSqueezed(c, f.squeezers(), false)
}

// Consistency compares what a classifier says of an input with what it says of slightly moved copies: an adversarial
// example often stands so near to the boundary that another pixel grid takes it back (Tian, Yang & Cai 2018,
// "Detecting adversarial examples through image transformation", AAAI). The score is
//
//	score(x) = 1 − mean_j softmax(z(t_j(x)))_c,   c = argmax z(x)
//
// over transformations t_j: how little of the probability stays with the class.
type Consistency struct {
	// Transforms are transforms without random draws; nil means translations by one pixel up, down, left and right.
	Transforms []transform.Transform
}

func (f Consistency) transforms() []transform.Transform {
	if f.Transforms == nil {
		return []transform.Transform{
			transform.Translate{Down: 1}, transform.Translate{Down: -1}, transform.Translate{Right: 1}, transform.Translate{Right: -1},
		}
	}
	return f.Transforms
}

// String returns for example "consistency (translation (1, 0), translation (-1, 0))".
func (f Consistency) String() string {
	return fmt.Sprintf("consistency (%s)", namesOf(f.transforms()))
}

// Fit implements [Method]: there is nothing to fit but the threshold.
func (f Consistency) Fit(_ context.Context, c *advlib.Classifier, _ Data) (Score, error) {
	return newSqueezed(c, f.transforms(), true)
}

// squeezed is the score of [FeatureSqueezing] and of [Consistency].
type squeezed struct {
	by         []transform.Transform
	box        advlib.Box
	consistent bool
}

func newSqueezed(c *advlib.Classifier, by []transform.Transform, consistent bool) (Score, error) {
	if len(by) == 0 {
		return nil, fmt.Errorf("there is nothing to compare with: give at least one transform")
	}
	if c.Domain() != nil {
		return nil, fmt.Errorf("the inputs of %s have a domain, which transforms of images do not keep to: take a detector that looks at "+
			"features, such as detect.Mahalanobis", c.Name())
	}
	for i, t := range by {
		if t == nil {
			return nil, fmt.Errorf("transform %d of %d is nil: leave it out", i+1, len(by))
		}
		if err := t.Check(c.Input()); err != nil {
			return nil, fmt.Errorf("%v: %w", t, err)
		}
		if _, codes := t.(transform.Coder); codes {
			return nil, fmt.Errorf("%v makes codes of another shape, which %s does not take", t, c.Name())
		}
		if t.Traits().Random {
			return nil, fmt.Errorf("%v draws random numbers, so that the same input would be flagged at one time and not at another: give "+
				"transforms without", t)
		}
	}
	return &squeezed{by, c.Box(), consistent}, nil
}

// copies returns the transformed inputs. Transforms without a gradient have that of their stand-in, or of the identity.
func (s *squeezed) copies(x *Node) []*Node {
	var all []*Node
	for _, t := range s.by {
		change := func(x *Node) *Node { return t.Graph(noScope, x, s.box) }
		if t.Traits().Flat {
			standIn := graph.Identity
			if b, ok := t.(transform.Backward); ok {
				standIn = func(x *Node) *Node { return b.Backward(noScope, x, s.box) }
			}
			change = attack.StraightThrough(change, standIn)
		}
		all = append(all, change(x))
	}
	return all
}

// Graph implements [Score].
func (s *squeezed) Graph(m *advlib.Model, x, z *Node) *Node {
	p := graph.Softmax(z, -1)
	var score *Node
	for _, y := range s.copies(x) {
		q := graph.Softmax(m.Logits(y), -1)
		switch {
		case s.consistent:
			q = DivScalar(advlib.At(q, graph.ArgMax(z, -1)), float64(len(s.by)))
			if score == nil {
				score = OnesLike(q)
			}
			score = Sub(score, q)
		case score == nil:
			score = ReduceSum(Abs(Sub(p, q)), -1)
		default:
			score = Max(score, ReduceSum(Abs(Sub(p, q)), -1))
		}
	}
	return score
}

// noScope is for transforms that draw nothing.
var noScope = model.NewStore().RootScope()
