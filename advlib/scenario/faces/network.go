package faces

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/layers/activation"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/gomlx/ml/train/loss"

	"advlab/advlib"
	"advlab/advlib/training"
)

// Margin is the objective of CosFace (Wang et al. 2018, arXiv:1801.09414, equation 4): the cross-entropy of s·cos θₖ,
// of the label s·(cos θ − m), with θₖ the angle between a face's point and the direction of person k. The margin m
// makes room between persons. It needs a model of [Network]'s kind, whose logits are s·cos θₖ.
type Margin struct {
	// Scale is s; 0 means 16. Margin is m, in (0, 1); 0 means 0.2. The paper has 64 and 0.35, for a million faces.
	Scale, Margin float64
}

func (m Margin) filled() Margin {
	if m.Scale == 0 {
		m.Scale = 16
	}
	if m.Margin == 0 {
		m.Margin = 0.2
	}
	return m
}

// String implements [training.Objective].
func (m Margin) String() string {
	m = m.filled()
	return fmt.Sprintf("additive margin %g, scale %g", m.Margin, m.Scale)
}

// Check implements [training.Objective].
func (m Margin) Check(*advlib.Classifier) error {
	if f := m.filled(); !(f.Scale > 0) || math.IsInf(f.Scale, 1) || !(f.Margin > 0 && f.Margin < 1) {
		return fmt.Errorf("Margin has Scale = %g and Margin = %g: give a positive scale, and a margin in (0, 1)", m.Scale, m.Margin)
	}
	return nil
}

// Loss implements [training.Objective].
func (m Margin) Loss(s *training.Step) *Node {
	f := m.filled()
	z := s.Logits(s.X)
	z = Sub(z, MulScalar(OneHot(s.Y, s.Classes, z.DType()), f.Scale*f.Margin))
	return loss.SparseCategoricalCrossEntropyLogits([]*Node{InsertAxes(s.Y, -1)}, []*Node{z})
}

// Network is a model for faces: each picture's contrast normalised, for each number of channels a convolution 4 × 4 of
// stride 2 with ReLU, and a dense layer to a point on the sphere of 64 dimensions. Network() has none of the
// convolutions, and is linear up to there: best for a few shots a person. Its logits are s·cos θₖ, and it is trained by
// [Margin].
func Network(channels ...int) training.Model {
	objective := Margin{}
	return training.Model{
		Name: strings.ReplaceAll(strings.TrimRight(fmt.Sprintf("face net %v", channels), "[] "), "[", ""), Objective: objective, Epochs: 30,
		Outputs: func(classes int) training.OutputsFn {
			return func(scope *model.Scope, x *Node) []*Node {
				v := point(scope, x, channels)
				w := scope.In("persons").VariableWithShape("w", shapes.Make(x.DType(), dimensions, classes)).NodeValue(x)
				return []*Node{MulScalar(DotProduct(v, L2Normalize(w, 0)), objective.filled().Scale), v}
			}
		},
	}
}

// dimensions of the sphere that faces are taken to.
const dimensions = 64

// point takes pictures [n, h, w, c] to the sphere, [n, 64].
func point(scope *model.Scope, x *Node, channels []int) *Node {
	n := x.Shape().Dimensions[0]
	flat := Reshape(x, n, -1)
	flat = Sub(flat, BroadcastToDims(InsertAxes(ReduceMean(flat, 1), -1), flat.Shape().Dimensions...))
	scale := Rsqrt(AddScalar(ReduceMean(Square(flat), 1), 1e-4))
	flat = Mul(flat, BroadcastToDims(InsertAxes(scale, -1), flat.Shape().Dimensions...))
	h := Reshape(flat, x.Shape().Dimensions...)
	for k, c := range channels {
		in := scope.In("conv%d", k)
		w := in.VariableWithShape("w", shapes.Make(x.DType(), 4, 4, h.Shape().Dimensions[3], c)).NodeValue(x)
		b := in.VariableWithShape("b", shapes.Make(x.DType(), c)).NodeValue(x)
		h = activation.Relu(Add(Convolve(h, w).Strides(2).PaddingPerDim([][2]int{{1, 1}, {1, 1}}).Done(), InsertAxes(b, 0, 0, 0)))
	}
	h = Reshape(h, n, -1)
	w := scope.In("point").VariableWithShape("w", shapes.Make(x.DType(), h.Shape().Dimensions[1], dimensions)).NodeValue(x)
	return L2Normalize(DotProduct(h, w), -1)
}

// Net is a network that was trained: it takes faces to points on a sphere.
type Net struct {
	trained *advlib.Classifier
	outputs training.OutputsFn
	points  *model.Exec
}

// Train trains a model with two outputs, logits and points, as [Network] has, on examples whose classes are persons.
func Train(ctx context.Context, m training.Model, e *advlib.Examples) (*Net, error) {
	if m.Outputs == nil {
		return nil, fmt.Errorf("faces: %s has no Outputs: start from faces.Network, whose second output is a point on a sphere", m.Name)
	}
	c, err := m.Fit(ctx, e)
	if err != nil {
		return nil, fmt.Errorf("faces: %w", err)
	}
	net := &Net{trained: c, outputs: m.Outputs(c.Classes())}
	net.points, err = model.NewExec(c.Backend(), c.Store(), func(scope *model.Scope, x *Node) *Node { return net.outputs(scope, x)[1] })
	if err != nil {
		return nil, fmt.Errorf("faces: %w", err)
	}
	return net, nil
}

// Points returns where faces x [n, h, w, c] lie on the sphere, a vector of length 1 for each.
func (n *Net) Points(x *tensors.Tensor) ([][]float32, error) {
	out, err := n.points.Exec(x)
	if err != nil {
		return nil, fmt.Errorf("faces: %w", err)
	}
	flat, rows := tensors.MustCopyFlatData[float32](out[0]), x.Shape().Dimensions[0]
	size := len(flat) / rows
	advlib.Free(out...)
	points := make([][]float32, rows)
	for i := range points {
		points[i] = flat[i*size : (i+1)*size]
	}
	return points, nil
}

// Moved returns each face of the examples in so many copies, every other one mirrored, all moved by up to so many
// pixels up, down and aside, as drawn from the seed: what a few photographs do not show of a person. What comes in from
// beyond the edge is as at the edge.
func Moved(e *advlib.Examples, copies, pixels int, seed uint64) (*advlib.Examples, error) {
	if len(e.Shape()) != 3 || copies < 1 || pixels < 0 {
		return nil, fmt.Errorf("faces: %d copies moved by %d pixels of %s, of the shape %v: give pictures [height, width, channels], "+
			"at least 1 copy and 0 pixels", copies, pixels, e.Name, e.Shape())
	}
	h, w, channels := e.Shape()[0], e.Shape()[1], e.Shape()[2]
	x := tensors.MustCopyFlatData[float32](e.X)
	flat, y := make([]float32, 0, copies*len(x)), make([]int32, 0, copies*e.Len())
	for k := range copies {
		for i, label := range e.Y {
			random := rand.New(rand.NewPCG(seed, uint64(k*e.Len()+i)))
			down, aside := random.IntN(2*pixels+1)-pixels, random.IntN(2*pixels+1)-pixels
			y = append(y, label)
			for r := range h {
				for c := range w {
					from := min(max(c+aside, 0), w-1)
					if k%2 == 1 {
						from = w - 1 - from
					}
					at := ((i*h+min(max(r+down, 0), h-1))*w + from) * channels
					flat = append(flat, x[at:at+channels]...)
				}
			}
		}
	}
	m, err := advlib.NewExamples(fmt.Sprintf("%s, moved by up to %d", e.Name, pixels), flat, e.Shape(), y)
	if err != nil {
		return nil, fmt.Errorf("faces: %w", err)
	}
	m.Classes = e.Classes
	return m, nil
}

// under returns where faces lie with these pixels covered; nil covers none.
func (n *Net) under(covered []bool, x *tensors.Tensor) ([][]float32, error) {
	if covered == nil {
		return n.Points(x)
	}
	if err := n.checkPixels(covered); err != nil {
		return nil, err
	}
	flat, channels := tensors.MustCopyFlatData[float32](x), n.trained.Input()[2]
	for i := range flat {
		if covered[i/channels%len(covered)] {
			flat[i] = float32(n.gray())
		}
	}
	y := tensors.FromFlatDataAndDimensions(flat, x.Shape().Dimensions...)
	defer advlib.Free(y)
	return n.Points(y)
}

// gray is the middle of the range of the inputs.
func (n *Net) gray() float64 { box := n.trained.Box(); return (box.Lo + box.Hi) / 2 }

// checkPixels refuses pixels that are not those of a face.
func (n *Net) checkPixels(of []bool) error {
	in := n.trained.Input()
	if len(of) != in[0]*in[1] {
		return fmt.Errorf("faces: %d pixels are given, the faces have %d × %d", len(of), in[0], in[1])
	}
	return nil
}

// cosine of two vectors of length 1.
func cosine(a, b []float32) float64 {
	var sum float64
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}
