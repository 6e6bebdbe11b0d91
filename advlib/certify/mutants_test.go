package certify

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	. "github.com/gomlx/gomlx/core/graph"

	"advlab/advlib/certify/internal/propagate"
)

// Mutant is a mistake in a rule, or in what regions are made of, and the model on which it must be noticed.
type Mutant struct {
	Name, Model string
	plant       func(u *propagate.Unit) *mutated // nil for units that it leaves alone
	// Regions tells that the mistake is in regions: in Linf boxes whose ends float32 does not hold, and in L1 and L2
	// balls.
	Regions bool
	region  func(propagate.Region) propagate.Region
	end     func(float64) float64
	// jets are wrong rules for operations on elements.
	jets map[NodeType]func(right propagate.JetRule) propagate.JetRule
}

// touched are the operations and rules in which a mistake was made so far.
var touched = map[string]bool{}

// Untouched lists operations and rules in which no mistake was made.
func Untouched() (all []string) {
	for t := range propagate.Rules {
		if name := t.String(); !touched[name] {
			all = append(all, name)
		}
	}
	for _, r := range strings.Fields("bilinear quotient larger2 maxPool hull univariate softmax lookup selection windowSum condition choice " +
		"conversion cumulative") {
		if name := rulePackage + r; !touched[name] {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

// Plant makes the mistake in every network that is built until the returned function is called.
func (m Mutant) Plant() (restore func()) {
	if m.Regions {
		mutateRegion = m.region
		if m.end != nil {
			endDown = m.end
		}
		return func() { mutateRegion, endDown = nil, roundDown }
	}
	if m.jets != nil {
		right := propagate.Elementwise
		propagate.Elementwise = maps.Clone(right)
		for t, wrong := range m.jets {
			propagate.Elementwise[t] = wrong(right[t])
		}
		return func() { propagate.Elementwise = right }
	}
	propagate.MutateUnit = func(u *propagate.Unit) {
		if m := m.plant(u); m != nil {
			touched[u.Node.Type().String()], touched[fmt.Sprintf("%T", u.Rule)] = true, true
			m.Rule = u.Rule
			u.Rule = m
			if _, ok := m.Rule.(propagate.Bent); ok {
				u.Rule = &mutatedBent{m}
			}
		}
	}
	return func() { propagate.MutateUnit = nil }
}

// mutated is a rule with some of its results changed.
type mutated struct {
	propagate.Rule
	interval func(v propagate.Interval, u *propagate.Unit, in []propagate.Interval) propagate.Interval
	error    func(E *Node) *Node
	lines    func(lines []*Node, in []propagate.Interval) []*Node
	back     func(parts map[int]*Node, b, Λ *Node) (map[int]*Node, *Node)
	value    func(v *Node) *Node // of follow
	t        func(Λσ, t *Node) (*Node, *Node)
}

// mutatedBent is one with slopes that can be tuned.
type mutatedBent struct{ *mutated }

func (m *mutatedBent) Bend(u *propagate.Unit, Λ *Node, h []*Node) (Λσ, t *Node) {
	Λσ, t = m.Rule.(propagate.Bent).Bend(u, Λ, h)
	if m.t != nil {
		return m.t(Λσ, t)
	}
	return Λσ, t
}

func (m *mutated) Follow(u *propagate.Unit, Λ *Node, h, lines []*Node) *Node {
	v := m.Rule.Follow(u, Λ, h, lines)
	if m.value != nil {
		v = m.value(v)
	}
	return v
}

func (m *mutated) Forward(p *propagate.Pass, u *propagate.Unit, in []propagate.Interval) propagate.Interval {
	v := m.Rule.Forward(p, u, in)
	if m.interval != nil {
		v = m.interval(v, u, in)
	}
	return v
}

func (m *mutated) Rounding(p *propagate.Pass, u *propagate.Unit, in []propagate.Interval, out propagate.Interval) *Node {
	E := m.Rule.Rounding(p, u, in, out)
	if m.error != nil && E != nil {
		E = m.error(E)
	}
	return E
}

func (m *mutated) Relax(p *propagate.Pass, u *propagate.Unit, in []propagate.Interval) ([]*Node, *Node) {
	lines, open := m.Rule.Relax(p, u, in)
	if m.lines != nil {
		lines = m.lines(lines, in)
	}
	return lines, open
}

func (m *mutated) Backward(w *propagate.Walk, u *propagate.Unit, Λ *Node, lines []*Node) (map[int]*Node, *Node) {
	parts, b := m.Rule.Backward(w, u, Λ, lines)
	if m.back != nil {
		parts, b = m.back(parts, b, Λ)
	}
	return parts, b
}

// on plants m in units of one operation.
func on(t NodeType, m func() *mutated) func(*propagate.Unit) *mutated {
	return func(u *propagate.Unit) *mutated {
		if u.Node.Type() == t {
			return m()
		}
		return nil
	}
}

// rulePackage is where rules are, as the names of their types begin.
const rulePackage = "propagate."

// in plants m in units with one kind of rule.
func in(kind string, m func() *mutated) func(*propagate.Unit) *mutated {
	return func(u *propagate.Unit) *mutated {
		if fmt.Sprintf("%T", u.Rule) == rulePackage+kind {
			return m()
		}
		return nil
	}
}

func scaled(by float64) func(map[int]*Node, *Node, *Node) (map[int]*Node, *Node) {
	return func(parts map[int]*Node, b, _ *Node) (map[int]*Node, *Node) {
		for k, p := range parts {
			parts[k] = MulScalar(p, by)
		}
		return parts, b
	}
}

func withoutConstant(parts map[int]*Node, _, _ *Node) (map[int]*Node, *Node) { return parts, nil }

// line changes one of the lines.
func line(k int, change func(*Node) *Node) func([]*Node, []propagate.Interval) []*Node {
	return func(lines []*Node, _ []propagate.Interval) []*Node {
		lines[k] = change(lines[k])
		return lines
	}
}

func narrowed(v propagate.Interval, _ *propagate.Unit, _ []propagate.Interval) propagate.Interval {
	c, r := v.Centred()
	r = MulScalar(r, 0.5)
	v.Lower, v.Upper = Sub(c, r), Add(c, r)
	return v
}

func lowerOnly(v propagate.Interval, _ *propagate.Unit, _ []propagate.Interval) propagate.Interval {
	v.Upper = v.Lower
	return v
}

// ofExact is a rule that takes its arguments to be exact.
func ofExact(right propagate.JetRule) propagate.JetRule {
	return func(s *propagate.Pieces, n *Node, in []propagate.Jet) propagate.Jet {
		in = slices.Clone(in)
		for k := range in {
			in[k].Err = nil
		}
		return right(s, n, in)
	}
}

func nothing(E *Node) *Node { return MulScalar(E, 1e-9) }

// isFloor is a step that is taken for floor.
func isFloor(t NodeType) map[NodeType]func(propagate.JetRule) propagate.JetRule {
	return map[NodeType]func(propagate.JetRule) propagate.JetRule{
		t: func(propagate.JetRule) propagate.JetRule { return propagate.StepJet(Floor) },
	}
}

// Mutants are mistakes in every family of rules.
var Mutants = []Mutant{
	{Name: "the ends of a subtrahend are not swapped", Model: "subtracts", plant: on(NodeTypeSub, func() *mutated {
		return &mutated{interval: func(v propagate.Interval, u *propagate.Unit, in []propagate.Interval) propagate.Interval {
			return propagate.Ends(u, in)
		}}
	})},
	{Name: "the constant of a sum is forgotten on the way back", Model: "mlp",
		plant: on(NodeTypeAdd, func() *mutated { return &mutated{back: withoutConstant} })},
	{Name: "a sum rounds nothing", Model: "adds", plant: on(NodeTypeAdd, func() *mutated { return &mutated{error: nothing} })},
	{Name: "a product's radius is Wr, not |W|r", Model: "mlp", plant: on(NodeTypeDotGeneral, func() *mutated {
		return &mutated{interval: func(v propagate.Interval, u *propagate.Unit, in []propagate.Interval) propagate.Interval {
			return propagate.Ends(u, in)
		}}
	})},
	{Name: "a dot product rounds nothing", Model: "multiplies",
		plant: on(NodeTypeDotGeneral, func() *mutated { return &mutated{error: nothing} })},
	{Name: "a dot product's transpose has the wrong sign", Model: "mlp",
		plant: on(NodeTypeDotGeneral, func() *mutated { return &mutated{back: scaled(-1)} })},
	{Name: "a convolution's radius is half", Model: "convolves",
		plant: on(NodeTypeConvGeneral, func() *mutated { return &mutated{interval: narrowed} })},
	{Name: "a convolution's transpose is scaled", Model: "strided-cnn",
		plant: on(NodeTypeConvGeneral, func() *mutated { return &mutated{back: scaled(0.7)} })},
	{Name: "an elementwise product's transpose is scaled", Model: "preprocessing",
		plant: on(NodeTypeMul, func() *mutated { return &mutated{back: scaled(0.9)} })},
	{Name: "a ReLU's upper slope is too small", Model: "mlp", plant: in("threshold", func() *mutated {
		return &mutated{lines: line(1, func(v *Node) *Node { return MulScalar(v, 0.8) })}
	})},
	{Name: "a ReLU's upper intercept is dropped", Model: "mlp",
		plant: in("threshold", func() *mutated { return &mutated{lines: line(2, ZerosLike)} })},
	{Name: "a ReLU's lower slope is above 1", Model: "mlp", plant: in("threshold", func() *mutated {
		return &mutated{lines: line(0, func(v *Node) *Node { return MulScalar(v, 1.3) })}
	})},
	{Name: "a ReLU's lines change places", Model: "bends", plant: in("threshold", func() *mutated {
		return &mutated{lines: func(l []*Node, _ []propagate.Interval) []*Node { return []*Node{l[1], l[0], l[2]} }}
	})},
	{Name: "a moved tensor keeps its lower end only", Model: "preprocessing",
		plant: in("placement", func() *mutated { return &mutated{interval: lowerOnly} })},
	{Name: "the constant part of a concatenation is forgotten", Model: "preprocessing",
		plant: in("assembly", func() *mutated { return &mutated{back: withoutConstant} })},
	{Name: "a sum over an axis loses a tenth on the way back", Model: "residual",
		plant: in("reduction", func() *mutated { return &mutated{back: scaled(0.9)} })},
	{Name: "a mean pool loses a tenth on the way back", Model: "mean pool, padded and overlapping",
		plant: in("windowSum", func() *mutated { return &mutated{back: scaled(0.9)} })},
	{Name: "a max pool's upper intercept is too low", Model: "max pool, padded", plant: in("maxPool", func() *mutated {
		return &mutated{lines: func(l []*Node, _ []propagate.Interval) []*Node {
			l[len(l)-1] = AddScalar(l[len(l)-1], -0.05)
			return l
		}}
	})},
	{Name: "a max pool's lower line is too steep", Model: "max pool", plant: in("maxPool", func() *mutated {
		return &mutated{lines: line(0, func(v *Node) *Node { return MulScalar(v, 1.5) })}
	})},
	{Name: "a maximum's upper intercept is too low", Model: "largest and least", plant: in("maximum", func() *mutated {
		return &mutated{lines: line(2, func(v *Node) *Node { return AddScalar(v, -0.1) })}
	})},
	{Name: "tanh's lower line is too high", Model: "tanh", plant: in("univariate", func() *mutated {
		return &mutated{lines: line(1, func(v *Node) *Node { return AddScalar(v, 0.03) })}
	})},
	{Name: "GELU's upper line is too low", Model: "GELU", plant: in("univariate", func() *mutated {
		return &mutated{lines: line(3, func(v *Node) *Node { return AddScalar(v, -0.03) })}
	})},
	{Name: "|z| is bounded by its values at the ends", Model: "abs", plant: in("univariate", func() *mutated {
		return &mutated{interval: func(v propagate.Interval, u *propagate.Unit, in []propagate.Interval) propagate.Interval {
			a, b := Abs(in[0].Lower), Abs(in[0].Upper)
			return propagate.Interval{Lower: Min(a, b), Upper: Max(a, b)}
		}}
	})},
	{Name: "exp rounds nothing", Model: "exponentiates", plant: in("univariate", func() *mutated { return &mutated{error: nothing} })},
	{Name: "McCormick's planes lose their constant", Model: "product of two",
		plant: in("bilinear", func() *mutated { return &mutated{back: withoutConstant} })},
	{Name: "McCormick's planes take the wrong end", Model: "attention", plant: in("bilinear", func() *mutated {
		return &mutated{lines: func(l []*Node, _ []propagate.Interval) []*Node { return []*Node{l[0], l[2], l[1]} }}
	})},
	{Name: "the lines of a reciprocal change places", Model: "divides", plant: in("quotient", func() *mutated {
		return &mutated{lines: func(l []*Node, _ []propagate.Interval) []*Node {
			return []*Node{l[0], l[1], l[2], l[5], l[6], l[3], l[4]}
		}}
	})},
	{Name: "softmax's interval is half as wide", Model: "softens",
		plant: in("softmax", func() *mutated { return &mutated{interval: narrowed} })},
	{Name: "softmax's exponential has its lines the wrong way around", Model: "softens", plant: in("softmax", func() *mutated {
		return &mutated{lines: func(l []*Node, _ []propagate.Interval) []*Node {
			l[0], l[1], l[2], l[3] = l[2], l[3], l[0], l[1]
			return l
		}}
	})},
	{Name: "the maximum of two has too small a slope above", Model: "maximum and minimum of two", plant: in("larger2", func() *mutated {
		return &mutated{lines: line(2, func(v *Node) *Node { return MulScalar(v, 0.3) })}
	})},
	{Name: "a mask lets everything through on the way back", Model: "masks", plant: in("selection", func() *mutated {
		return &mutated{back: func(parts map[int]*Node, b, Λ *Node) (map[int]*Node, *Node) {
			for k := range parts {
				parts[k] = Λ
			}
			return parts, b
		}}
	})},
	{Name: "a choice that is open is bounded by its first branch", Model: "choice by a remainder", plant: in("hull", func() *mutated {
		return &mutated{interval: func(_ propagate.Interval, _ *propagate.Unit, in []propagate.Interval) propagate.Interval {
			return in[0]
		}}
	})},
	{Name: "a choice is bounded by its lower end", Model: "choice by another",
		plant: in("choice", func() *mutated { return &mutated{interval: lowerOnly} })},
	{Name: "a choice takes the other value back", Model: "choice by another", plant: in("choice", func() *mutated {
		return &mutated{lines: func(l []*Node, _ []propagate.Interval) []*Node { return []*Node{l[1], l[0], l[2], l[3]} }}
	})},
	{Name: "a choice has no constant part where it is open", Model: "above the mean",
		plant: in("choice", func() *mutated { return &mutated{back: withoutConstant} })},
	{Name: "conditions hold surely or surely not", Model: "all comparisons",
		plant: in("condition", func() *mutated { return &mutated{interval: lowerOnly} })},
	{Name: "conditions surely hold on the way back", Model: "all comparisons", plant: in("condition", func() *mutated {
		return &mutated{lines: line(0, OnesLike)}
	})},
	{Name: "the number of a condition counts half on the way back", Model: "all comparisons",
		plant: in("conversion", func() *mutated { return &mutated{back: scaled(0.5)} })},
	{Name: "the sine is bounded by its values at the ends", Model: "waves", plant: on(NodeTypeSin, func() *mutated {
		return &mutated{interval: func(v propagate.Interval, _ *propagate.Unit, in []propagate.Interval) propagate.Interval {
			a, b := Sin(in[0].Lower), Sin(in[0].Upper)
			return propagate.Interval{Lower: Min(a, b), Upper: Max(a, b)}
		}}
	})},
	{Name: "the sine's line below is too high", Model: "waves", plant: on(NodeTypeSin, func() *mutated {
		return &mutated{lines: line(1, func(v *Node) *Node { return AddScalar(v, 0.03) })}
	})},
	{Name: "the cosine's line above is too low", Model: "waves", plant: on(NodeTypeCos, func() *mutated {
		return &mutated{lines: line(3, func(v *Node) *Node { return AddScalar(v, -0.03) })}
	})},
	{Name: "the sine's slopes are its values", Model: "waves",
		jets: map[NodeType]func(propagate.JetRule) propagate.JetRule{NodeTypeSin: func(propagate.JetRule) propagate.JetRule {
			return propagate.Wave(Sin, math.Pi/2, func(l, u *Node) (least, most *Node) { return propagate.WaveRange(Sin, math.Pi/2, l, u) })
		}}},
	{Name: "the cosine's crest is missed", Model: "waves",
		jets: map[NodeType]func(propagate.JetRule) propagate.JetRule{NodeTypeCos: func(propagate.JetRule) propagate.JetRule {
			return propagate.Wave(Cos, 3, func(l, u *Node) (least, most *Node) { return propagate.WaveRange(Cos, 3, l, u) })
		}}},
	{Name: "the sine rounds nothing", Model: "waves", plant: on(NodeTypeSin, func() *mutated { return &mutated{error: nothing} })},
	{Name: "the cosine rounds nothing", Model: "waves", plant: on(NodeTypeCos, func() *mutated { return &mutated{error: nothing} })},
	{Name: "the arc tangent rounds nothing", Model: "turns", plant: on(NodeTypeAtan2, func() *mutated { return &mutated{error: nothing} })},
	{Name: "the arc tangent is too flat", Model: "turns",
		jets: map[NodeType]func(propagate.JetRule) propagate.JetRule{NodeTypeAtan2: func(propagate.JetRule) propagate.JetRule {
			return propagate.Monotone(propagate.Arctan, func(l, _ propagate.JetEnds) (least, most *Node) {
				return ZerosLike(l.T),
					MulScalar(OnesLike(l.T), 0.1)
			}, propagate.ScaledError(1))
		}}},
	{Name: "floor's line below is too high", Model: "steps", plant: on(NodeTypeFloor, func() *mutated {
		return &mutated{lines: line(1, func(v *Node) *Node { return AddScalar(v, 0.1) })}
	})},
	{Name: "ceil is floor", Model: "steps", jets: isFloor(NodeTypeCeil)},
	{Name: "round is floor", Model: "steps", jets: isFloor(NodeTypeRound)},
	{Name: "the sign's line above is too low", Model: "steps", plant: on(NodeTypeSign, func() *mutated {
		return &mutated{lines: line(3, func(v *Node) *Node { return AddScalar(v, -0.1) })}
	})},
	{Name: "a step takes its argument to be exact", Model: "falls on a step",
		jets: map[NodeType]func(propagate.JetRule) propagate.JetRule{NodeTypeFloor: ofExact}},
	{Name: "a comparison takes its argument to be exact", Model: "falls on a threshold",
		jets: map[NodeType]func(propagate.JetRule) propagate.JetRule{NodeTypeGreaterOrEqual: ofExact}},
	{Name: "cumulative sums are not turned around on the way back", Model: "cumulative sums", plant: in("cumulative", func() *mutated {
		return &mutated{back: func(parts map[int]*Node, b, Λ *Node) (map[int]*Node, *Node) {
			return map[int]*Node{0: CumSum(Λ, 1)}, b
		}}
	})},
	{Name: "cumulative sums round nothing", Model: "accumulates",
		plant: in("cumulative", func() *mutated { return &mutated{error: nothing} })},
	{Name: "a gather loses its constant factor", Model: "gather", plant: in("lookup", func() *mutated { return &mutated{back: scaled(0.8)} })},
	{Name: "a transposition is not undone on the way back", Model: "shapes-first", plant: on(NodeTypeTranspose, func() *mutated {
		return &mutated{back: func(parts map[int]*Node, b, Λ *Node) (map[int]*Node, *Node) {
			return map[int]*Node{0: Reshape(Λ, parts[0].Shape().Dimensions...)}, b
		}}
	})},
	{Name: "a reversal is not undone on the way back", Model: "shapes-first", plant: on(NodeTypeReverse, func() *mutated {
		return &mutated{back: func(_ map[int]*Node, b, Λ *Node) (map[int]*Node, *Node) { return map[int]*Node{0: Λ}, b }}
	})},
	{Name: "a slice counts half on the way back", Model: "shapes-first",
		plant: on(NodeTypeSlice, func() *mutated { return &mutated{back: scaled(0.5)} })},
	{Name: "a reshape counts half on the way back", Model: "shapes-first",
		plant: on(NodeTypeReshape, func() *mutated { return &mutated{back: scaled(0.5)} })},
	{Name: "what is repeated counts half on the way back", Model: "shapes-first",
		plant: on(NodeTypeBroadcastInDim, func() *mutated { return &mutated{back: scaled(0.5)} })},
	{Name: "an identity counts half on the way back", Model: "preprocessing",
		plant: on(NodeTypeIdentity, func() *mutated { return &mutated{back: scaled(0.5)} })},
	{Name: "padding forgets its number on the way back", Model: "preprocessing",
		plant: on(NodeTypePad, func() *mutated { return &mutated{back: withoutConstant} })},
	{Name: "padding keeps the lower end only", Model: "shapes-first",
		plant: on(NodeTypePad, func() *mutated { return &mutated{interval: lowerOnly} })},
	{Name: "a negation keeps the sign on the way back", Model: "shapes-first",
		plant: on(NodeTypeNeg, func() *mutated { return &mutated{back: scaled(-1)} })},
	{Name: "the ends of a negation are not swapped", Model: "negates", plant: on(NodeTypeNeg, func() *mutated {
		return &mutated{interval: func(v propagate.Interval, u *propagate.Unit, in []propagate.Interval) propagate.Interval {
			return propagate.Ends(u, in)
		}}
	})},
	{Name: "a quotient by a number is off on the way back", Model: "shapes-first",
		plant: on(NodeTypeDiv, func() *mutated { return &mutated{back: scaled(0.9)} })},
	{Name: "a quotient by a negative number keeps its ends", Model: "divides by numbers", plant: on(NodeTypeDiv, func() *mutated {
		return &mutated{interval: func(v propagate.Interval, u *propagate.Unit, in []propagate.Interval) propagate.Interval {
			return propagate.Ends(u, in)
		}}
	})},
	{Name: "a quotient rounds nothing", Model: "divides by numbers",
		plant: on(NodeTypeDiv, func() *mutated { return &mutated{error: nothing} })},
	{Name: "an elementwise product rounds nothing", Model: "multiplies by numbers",
		plant: on(NodeTypeMul, func() *mutated { return &mutated{error: nothing} })},
	{Name: "a sum over an axis rounds nothing", Model: "adds up",
		plant: on(NodeTypeReduceSum, func() *mutated { return &mutated{error: nothing} })},
	{Name: "a minimum's upper intercept is dropped", Model: "preprocessing",
		plant: on(NodeTypeMin, func() *mutated { return &mutated{lines: line(2, ZerosLike)} })},
	{Name: "the least is bounded as the largest", Model: "largest and least",
		plant: on(NodeTypeReduceMin, func() *mutated { return &mutated{back: scaled(-1)} })},
	{Name: "a max pool's interval is half as wide", Model: "pools",
		plant: in("maxPool", func() *mutated { return &mutated{interval: narrowed} })},
	{Name: "a max pool's upper slope is another element's", Model: "max pool", plant: in("maxPool", func() *mutated {
		return &mutated{lines: func(l []*Node, _ []propagate.Interval) []*Node {
			n := len(l) / 2
			return slices.Concat(l[:n], l[n+1:2*n], []*Node{l[n], l[2*n]})
		}}
	})},
	{Name: "softmax rounds nothing", Model: "weighs", plant: in("softmax", func() *mutated { return &mutated{error: nothing} })},
	{Name: "softmax's inverse has its lines the wrong way around", Model: "softens", plant: in("softmax", func() *mutated {
		return &mutated{lines: func(l []*Node, _ []propagate.Interval) []*Node {
			l[4], l[5], l[6], l[7] = l[6], l[7], l[4], l[5]
			return l
		}}
	})},
	{Name: "a quotient of two takes the wrong end of the inverse", Model: "divides", plant: in("quotient", func() *mutated {
		return &mutated{lines: func(l []*Node, _ []propagate.Interval) []*Node {
			l[1], l[2] = l[2], l[1]
			return l
		}}
	})},
	{Name: "a mean pool's interval is half as wide", Model: "averages",
		plant: in("windowSum", func() *mutated { return &mutated{interval: narrowed} })},
	{Name: "the ends of a box are rounded to the nearest", Model: "copies", Regions: true, end: func(v float64) float64 { return v }},
	{Name: "a ball's radius is half", Model: "mlp", Regions: true, region: func(r propagate.Region) propagate.Region {
		r.Radius = MulScalar(r.Radius, 0.5)
		return r
	}},
	{Name: "the dual norm of L2 is that of L1", Model: "mlp", Regions: true, region: func(r propagate.Region) propagate.Region {
		r.Norm = Min(r.Norm, Scalar(r.Norm.Graph(), r.Norm.DType(), 1))
		return r
	}},
	{Name: "the box cuts a ball where it does not", Model: "mlp", Regions: true, region: func(r propagate.Region) propagate.Region {
		r.Upper = Min(r.Upper, AddScalar(r.Centre, 1e-3))
		return r
	}},
	{Name: "a ball's centre is that of its box", Model: "mlp", Regions: true, region: func(r propagate.Region) propagate.Region {
		r.Centre = MulScalar(Add(r.Lower, r.Upper), 0.5)
		return r
	}},
}

// BatchNormMutants are mistakes in the rule of the operation that only some backends have.
var BatchNormMutants = []Mutant{
	{Name: "batch norm is off on the way back", plant: on(NodeTypeBatchNormForInference,
		func() *mutated { return &mutated{back: scaled(0.9)} })},
	{Name: "batch norm forgets its constants on the way back", plant: on(NodeTypeBatchNormForInference,
		func() *mutated { return &mutated{back: withoutConstant} })},
	{Name: "batch norm keeps its ends where the scale is negative", plant: on(NodeTypeBatchNormForInference, func() *mutated {
		return &mutated{interval: func(_ propagate.Interval, u *propagate.Unit, in []propagate.Interval) propagate.Interval {
			return propagate.Ends(u, in)
		}}
	})},
	{Name: "batch norm rounds nothing", Model: "alone", plant: on(NodeTypeBatchNormForInference,
		func() *mutated { return &mutated{error: nothing} })},
}

// AscentMutants are mistakes in what slopes are raised by. They make no bound wrong, but worse.
var AscentMutants = []Mutant{
	{Name: "a ReLU's input has the wrong sign", Model: "mlp", plant: in("threshold", func() *mutated {
		return &mutated{t: func(Λσ, t *Node) (*Node, *Node) { return Λσ, Neg(t) }}
	})},
	{Name: "a minimum's slope counts where the line above it does", Model: "preprocessing", plant: on(NodeTypeMin, func() *mutated {
		return &mutated{t: func(Λσ, t *Node) (*Node, *Node) { return Neg(Λσ), t }}
	})},
	{Name: "the maximum of two is taken apart the wrong way around", Model: "maximum and minimum of two",
		plant: in("larger2", func() *mutated {
			return &mutated{t: func(Λσ, t *Node) (*Node, *Node) { return Λσ, MulScalar(t, 2) }}
		})},
	{Name: "a ReLU goes forward without its line above", Model: "strided-cnn",
		plant: in("threshold", func() *mutated { return &mutated{value: func(v *Node) *Node { return MulScalar(v, 0.9) }} })},
	{Name: "a convolution goes forward doubled", Model: "residual",
		plant: on(NodeTypeConvGeneral, func() *mutated { return &mutated{value: func(v *Node) *Node { return MulScalar(v, 2) }} })},
	{Name: "a max pool goes forward too high", Model: "max pool, padded",
		plant: in("maxPool", func() *mutated { return &mutated{value: func(v *Node) *Node { return AddScalar(v, 0.01) }} })},
	{Name: "softmax goes forward too low", Model: "attention", plant: in("softmax",
		func() *mutated { return &mutated{value: func(v *Node) *Node { return MulScalar(v, 0.99) }} })},
	{Name: "McCormick's planes go forward scaled", Model: "product of two",
		plant: in("bilinear", func() *mutated { return &mutated{value: func(v *Node) *Node { return MulScalar(v, 1.01) }} })},
}

// FreeSlopes lets slopes below ReLUs be anything, which makes bounds wrong, until the returned function is called.
func FreeSlopes() (restore func()) {
	mutateSlopes = func(α *Node) *Node { return α }
	return func() { mutateSlopes = nil }
}
