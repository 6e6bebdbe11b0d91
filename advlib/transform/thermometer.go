package transform

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
)

// Thermometer is the code of Buckman, Roy, Raffel & Goodfellow (2018), "Thermometer encoding: one hot way to resist
// adversarial examples": each value v of the box, as a share of its width, becomes Levels values, of which
// value l = 0 … Levels−1 is the box's highest where v > l/Levels or l = 0, and its lowest elsewhere. That is the order
// of the authors' code; the table in the paper has it the other way about.
//
// Inputs [d..., c] become codes [d..., c·Levels], of any shape, which the model behind takes: [Fit] trains one. The
// code has no gradient. Its stand-in has the logistic function in place of each step, as wide as a level, so that an
// attack sees the steps that are near on both sides: PGD left 45 of 100 digits at Linf 0.1, and 82 with the stand-in of
// Athalye et al. (2018), arXiv:1802.00420, which sees those that are passed already (TestStandIns).
type Thermometer struct {
	// Levels is the number of values for each one, 2 to 256.
	Levels int
}

// String returns for example "thermometer code 16".
func (t Thermometer) String() string { return fmt.Sprintf("thermometer code %d", t.Levels) }

// Check implements [Transform].
func (t Thermometer) Check(input []int) error {
	if t.Levels < 2 || t.Levels > 256 {
		return fmt.Errorf("Levels = %d is not in 2..256", t.Levels)
	}
	if len(input) == 0 {
		return fmt.Errorf("inputs without an axis have no code: give at least [values]")
	}
	return nil
}

// Decoded implements [Coder].
func (t Thermometer) Decoded(code []int) ([]int, error) {
	if err := t.Check(code); err != nil {
		return nil, err
	}
	last := len(code) - 1
	if code[last]%t.Levels != 0 {
		return nil, fmt.Errorf("the model behind takes %v, whose last axis is no multiple of %d levels: train one by transform.Fit", code,
			t.Levels)
	}
	input := slices.Clone(code)
	input[last] /= t.Levels
	return input, nil
}

// Graph implements [Transform]. Values are compared with each step as they are: by how far they are above it, a value
// on a step would be on either side of it, as a backend may or may not round between a product and a difference.
func (t Thermometer) Graph(_ *model.Scope, x *Node, box advlib.Box) *Node {
	steps := make([]float64, t.Levels)
	for l := range steps {
		steps[l] = box.Lo + box.Width()*float64(l)/float64(t.Levels)
	}
	above := GreaterThan(InsertAxes(x, -1), alongLast(ConstAsDType(x.Graph(), x.DType(), steps), x.Rank()))
	return t.code(x, box, ConvertDType(above, x.DType()))
}

// Backward implements [Backward].
func (t Thermometer) Backward(_ *model.Scope, x *Node, box advlib.Box) *Node {
	levels := alongLast(Iota(x.Graph(), shapes.Make(x.DType(), t.Levels), 0), x.Rank())
	v := MulScalar(AddScalar(InsertAxes(x, -1), -box.Lo), float64(t.Levels)/box.Width())
	return t.code(x, box, Sigmoid(MulScalar(Sub(v, levels), 2)))
}

// alongLast puts an axis of values behind others of length 1.
func alongLast(values *Node, others int) *Node {
	for range others {
		values = InsertAxes(values, 0)
	}
	return values
}

// code returns the code in the box, by what of each step [d..., c, Levels] is passed, 0 to 1.
func (t Thermometer) code(x *Node, box advlib.Box, bits *Node) *Node {
	first := SliceAxis(bits, -1, AxisRange(0, 1))
	bits = Concatenate([]*Node{OnesLike(first), SliceAxis(bits, -1, AxisRange(1, t.Levels))}, -1)
	dims := slices.Clone(x.Shape().Dimensions)
	dims[len(dims)-1] *= t.Levels
	return AddScalar(MulScalar(Reshape(bits, dims...), box.Width()), box.Lo)
}

// Traits implements [Transform].
func (Thermometer) Traits() Traits { return Traits{Flat: true} }
