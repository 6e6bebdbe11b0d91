package certify

import (
	"fmt"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"

	"advlab/advlib/certify/internal/propagate"
)

// PatchMutant is a mistake in what rows on patches go back over: in a rule, or in a whole pass.
type PatchMutant struct {
	Name, Model string
	plant       func(u *propagate.Unit) *mutatedLocal // nil for units that it leaves alone
	pass        func(b *propagate.Backward)
}

// patchTouched are the rules in which a mistake was made so far.
var patchTouched = map[string]bool{}

// PatchTouched tells whether some mistake was made in a rule, by its name as in [Network.OnPatches].
func PatchTouched(name string) bool { return patchTouched[name] }

// Plant makes the mistake in every network and program that is built until the returned function is called.
func (m PatchMutant) Plant() (restore func()) {
	mutateBackward = m.pass
	if m.plant != nil {
		propagate.MutateUnit = func(u *propagate.Unit) {
			l, ok := u.Rule.(propagate.Local)
			if !ok {
				return
			}
			if m := m.plant(u); m != nil {
				patchTouched[fmt.Sprintf("%T", u.Rule)] = true
				m.Local = l
				u.Rule = m
			}
		}
	}
	return func() { propagate.MutateUnit, mutateBackward = nil, nil }
}

// mutatedLocal is a rule with some of what it does on patches changed.
type mutatedLocal struct {
	propagate.Local
	reached func(u *propagate.Unit, p propagate.Patch) propagate.Patch
	back    func(parts map[int]*Node, b, Λ *Node) (map[int]*Node, *Node)
	cut     func(c propagate.Cut) propagate.Cut
	uncut   bool // what is outside of the image stays
}

func (m *mutatedLocal) Windows(u *propagate.Unit) []int {
	if m.uncut {
		return nil
	}
	return m.Local.Windows(u)
}

func (m *mutatedLocal) Reach(u *propagate.Unit, k int, p propagate.Patch) propagate.Patch {
	from := m.Local.Reach(u, k, p)
	if m.reached != nil && from != nil {
		from = m.reached(u, slices.Clone(from))
	}
	return from
}

func (m *mutatedLocal) BackwardPatch(c *propagate.Cut, u *propagate.Unit, Λ *Node, lines []*Node) (map[int]*Node, *Node) {
	if m.cut != nil {
		other := m.cut(*c)
		c = &other
	}
	parts, b := m.Local.BackwardPatch(c, u, Λ, lines)
	if m.back != nil {
		parts, b = m.back(parts, b, Λ)
	}
	return parts, b
}

// patchesOf plants m in units of one operation.
func patchesOf(t NodeType, m mutatedLocal) func(*propagate.Unit) *mutatedLocal {
	return func(u *propagate.Unit) *mutatedLocal {
		if u.Node.Type() == t {
			return &m
		}
		return nil
	}
}

// patchesIn plants m in units with one kind of rule.
func patchesIn(kind string, m mutatedLocal) func(*propagate.Unit) *mutatedLocal {
	return func(u *propagate.Unit) *mutatedLocal {
		if fmt.Sprintf("%T", u.Rule) == rulePackage+kind {
			return &m
		}
		return nil
	}
}

// late has patches start one element late on the first axis.
func late(_ *propagate.Unit, p propagate.Patch) propagate.Patch {
	p[0].First++
	return p
}

// slow has patches move by half as much on the last axis but one.
func slow(_ *propagate.Unit, p propagate.Patch) propagate.Patch {
	p[1].Stride = max(1, p[1].Stride/2)
	return p
}

// rolled moves v by one on an axis.
func rolled(v *Node, axis int) *Node {
	d := v.Shape().Dimensions[axis]
	if d < 2 {
		return v
	}
	first, rest := make([]SliceAxisSpec, v.Rank()), make([]SliceAxisSpec, v.Rank())
	for i := range first {
		first[i], rest[i] = AxisRange(), AxisRange()
	}
	first[axis], rest[axis] = AxisRange(0, 1), AxisRange(1, d)
	return Concatenate([]*Node{Slice(v, rest...), Slice(v, first...)}, axis)
}

// otherLines takes the lines of units from another place on an axis.
func otherLines(kind string, axis int) func(*propagate.Backward) {
	return func(b *propagate.Backward) {
		for u, lines := range b.Lines {
			if fmt.Sprintf("%T", u.Rule) != rulePackage+kind {
				continue
			}
			patchTouched[rulePackage+kind] = true
			for k, v := range lines {
				if axis == 0 {
					lines[k] = Reverse(v, 0) // neighbours may be of one place and example
				} else {
					lines[k] = rolled(v, axis)
				}
			}
		}
	}
}

// PatchMutants are mistakes on patches, in every family of rules that has them.
var PatchMutants = []PatchMutant{
	{Name: "a convolution's patches start one element late", Model: "convolutions",
		plant: patchesOf(NodeTypeConvGeneral, mutatedLocal{reached: late})},
	{Name: "a convolution's patches do not move by its stride", Model: "convolutions",
		plant: patchesOf(NodeTypeConvGeneral, mutatedLocal{reached: slow})},
	{Name: "what lies on a convolution's padding is not cut off", Model: "convolutions", plant: func(u *propagate.Unit) *mutatedLocal {
		if u.Node.Type() == NodeTypeConvGeneral && u.Inputs[0].Type() == NodeTypeAdd {
			return &mutatedLocal{uncut: true}
		}
		return nil
	}},
	{Name: "a convolution's transpose is scaled", Model: "convolutions",
		plant: patchesOf(NodeTypeConvGeneral, mutatedLocal{back: scaled(0.7)})},
	{Name: "a bias is forgotten", Model: "convolutions", plant: patchesOf(NodeTypeAdd, mutatedLocal{back: withoutConstant})},
	{Name: "summands of each place are those of the first", Model: "convolutions",
		plant: patchesOf(NodeTypeAdd, mutatedLocal{cut: func(c propagate.Cut) propagate.Cut {
			c.Index = slices.Clone(c.Index)
			for i, at := range c.Index {
				c.Index[i] = ZerosLike(at)
			}
			return c
		}})},
	{Name: "factors of each place are those of the next", Model: "convolutions",
		plant: patchesOf(NodeTypeMul, mutatedLocal{cut: func(c propagate.Cut) propagate.Cut {
			c.Index = slices.Clone(c.Index)
			last := Scalar(c.Index[0].Graph(), c.Index[0].DType(), c.Dims[0]-1)
			c.Index[0] = Min(AddScalar(c.Index[0], 1), BroadcastLike(last, c.Index[0]))
			return c
		}})},
	{Name: "a ReLU's upper intercept is forgotten", Model: "convolutions", plant: patchesIn("threshold", mutatedLocal{back: withoutConstant})},
	{Name: "a ReLU's lines are those of the next place", Model: "convolutions", pass: otherLines("threshold", 1)},
	{Name: "a ReLU's lines are those of another row", Model: "convolutions", pass: otherLines("threshold", 0)},
	{Name: "a row has the region of another", Model: "convolutions", pass: func(b *propagate.Backward) {
		b.Region.Lower, b.Region.Upper = Reverse(b.Region.Lower, 0), Reverse(b.Region.Upper, 0)
	}},
	{Name: "a row is picked from the table for another neuron", Model: "convolutions", pass: func(b *propagate.Backward) {
		for id, v := range b.Given {
			b.Given[id] = Reverse(v, 0)
		}
	}},
	{Name: "a neuron has the rounding errors of another", Model: "errors", pass: func(b *propagate.Backward) {
		for u, E := range b.Rounding {
			b.Rounding[u] = Reverse(E, E.Rank()-1)
		}
	}},
	{Name: "rounding errors are forgotten", Model: "errors", pass: func(b *propagate.Backward) { b.Rounding = nil }},
	{Name: "a short way's patch is not where the long way's has it", Model: "residual block", plant: func(u *propagate.Unit) *mutatedLocal {
		if u.Node.Type() == NodeTypeConvGeneral && u.Inputs[1].Shape().Dimensions[0] == 1 {
			return &mutatedLocal{reached: late}
		}
		return nil
	}},
	{Name: "a subtrahend keeps its sign", Model: "residual block",
		plant: patchesOf(NodeTypeSub, mutatedLocal{back: func(parts map[int]*Node, b, Λ *Node) (map[int]*Node, *Node) {
			parts[1] = parts[0]
			return parts, b
		}})},
	{Name: "a mean pool's patches start one element late", Model: "two pools", plant: patchesIn("windowSum", mutatedLocal{reached: late})},
	{Name: "a mean pool's patches do not move by its stride", Model: "two pools", plant: patchesIn("windowSum", mutatedLocal{reached: slow})},
	{Name: "a max pool's patches start one element late", Model: "two pools", plant: patchesIn("maxPool", mutatedLocal{reached: late})},
	{Name: "a max pool's upper intercept is forgotten", Model: "two pools", plant: patchesIn("maxPool", mutatedLocal{back: withoutConstant})},
	{Name: "a max pool's lines are those of another row", Model: "two pools", pass: otherLines("maxPool", 0)},
	{Name: "tensors that are put together change places", Model: "assembled",
		plant: patchesOf(NodeTypeConcatenate, mutatedLocal{back: func(parts map[int]*Node, b, _ *Node) (map[int]*Node, *Node) {
			parts[0], parts[2] = parts[2], parts[0]
			return parts, b
		}})},
	{Name: "the constant of a concatenation is forgotten", Model: "assembled",
		plant: patchesOf(NodeTypeConcatenate, mutatedLocal{back: withoutConstant})},
	{Name: "the number of a padding is forgotten", Model: "assembled", plant: patchesOf(NodeTypePad, mutatedLocal{back: withoutConstant})},
	{Name: "padding is not cut off", Model: "assembled", plant: patchesOf(NodeTypePad,
		mutatedLocal{back: func(_ map[int]*Node, b, Λ *Node) (map[int]*Node, *Node) {
			return map[int]*Node{0: Λ}, b
		}})},
	{Name: "padding does not move patches", Model: "assembled", plant: patchesOf(NodeTypePad, mutatedLocal{reached: late})},
	{Name: "a slice's patches start one element late", Model: "assembled", plant: patchesOf(NodeTypeSlice, mutatedLocal{reached: late})},
	{Name: "a slice's patches do not move by its stride", Model: "assembled", plant: patchesOf(NodeTypeSlice, mutatedLocal{reached: slow})},
	{Name: "channels that are reversed stay", Model: "assembled",
		plant: patchesOf(NodeTypeReverse, mutatedLocal{back: func(_ map[int]*Node, b, Λ *Node) (map[int]*Node, *Node) {
			return map[int]*Node{0: Λ}, b
		}})},
	{Name: "a transposed image's region is that of the input", Model: "transposed", pass: func(b *propagate.Backward) {
		b.Region.Lower, b.Region.Upper = TransposeAllAxes(b.Region.Lower, 0, 2, 1, 3), TransposeAllAxes(b.Region.Upper, 0, 2, 1, 3)
	}},
	{Name: "a product of two loses its constant", Model: "gated", plant: patchesIn("bilinear", mutatedLocal{back: withoutConstant})},
	{Name: "the larger of two loses its constant", Model: "gated", plant: patchesIn("larger2", mutatedLocal{back: withoutConstant})},
	{Name: "a function's lines are those of another row", Model: "gated", pass: otherLines("univariate", 0)},
	{Name: "batch norm forgets its constants", Model: "batch normalisation",
		plant: patchesOf(NodeTypeBatchNormForInference, mutatedLocal{back: withoutConstant})},
	{Name: "batch norm is off", Model: "batch normalisation", plant: patchesOf(NodeTypeBatchNormForInference,
		mutatedLocal{back: scaled(0.8)})},
}
