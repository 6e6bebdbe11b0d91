package certify

import (
	. "github.com/gomlx/gomlx/core/graph"
)

// Mutant is a mistake in a rule, and the model on which it must be noticed.
type Mutant struct {
	Name, Model string
	plant       func(u *unit) *mutated // nil for units that it leaves alone
}

// Plant makes the mistake in every network that is built until the returned function is called.
func (m Mutant) Plant() (restore func()) {
	mutate = func(u *unit) {
		if m := m.plant(u); m != nil {
			m.rule = u.rule
			u.rule = m
			if _, ok := m.rule.(bent); ok {
				u.rule = &mutatedBent{m}
			}
		}
	}
	return func() { mutate = nil }
}

// mutated is a rule with some of its results changed.
type mutated struct {
	rule
	interval func(v interval, u *unit, in []interval) interval
	error    func(E *Node) *Node
	lines    func(lines []*Node, in []interval) []*Node
	back     func(parts map[int]*Node, b, Λ *Node) (map[int]*Node, *Node)
	value    func(v *Node) *Node // of follow
	t        func(Λσ, t *Node) (*Node, *Node)
}

// mutatedBent is one with slopes that can be tuned.
type mutatedBent struct{ *mutated }

func (m *mutatedBent) bend(u *unit, Λ *Node, h []*Node) (Λσ, t *Node) {
	Λσ, t = m.rule.(bent).bend(u, Λ, h)
	if m.t != nil {
		return m.t(Λσ, t)
	}
	return Λσ, t
}

func (m *mutated) follow(u *unit, Λ *Node, h, lines []*Node) *Node {
	v := m.rule.follow(u, Λ, h, lines)
	if m.value != nil {
		v = m.value(v)
	}
	return v
}

func (m *mutated) forward(p *pass, u *unit, in []interval) interval {
	v := m.rule.forward(p, u, in)
	if m.interval != nil {
		v = m.interval(v, u, in)
	}
	return v
}

func (m *mutated) rounding(p *pass, u *unit, in []interval, out interval) *Node {
	E := m.rule.rounding(p, u, in, out)
	if m.error != nil && E != nil {
		E = m.error(E)
	}
	return E
}

func (m *mutated) relax(p *pass, u *unit, in []interval) ([]*Node, *Node) {
	lines, open := m.rule.relax(p, u, in)
	if m.lines != nil {
		lines = m.lines(lines, in)
	}
	return lines, open
}

func (m *mutated) backward(w *walk, u *unit, Λ *Node, lines []*Node) (map[int]*Node, *Node) {
	parts, b := m.rule.backward(w, u, Λ, lines)
	if m.back != nil {
		parts, b = m.back(parts, b, Λ)
	}
	return parts, b
}

// on plants m in units of one operation.
func on(t NodeType, m func() *mutated) func(*unit) *mutated {
	return func(u *unit) *mutated {
		if u.n.Type() == t {
			return m()
		}
		return nil
	}
}

// in plants m in units with one kind of rule.
func in[R rule](m func() *mutated) func(*unit) *mutated {
	return func(u *unit) *mutated {
		if _, ok := u.rule.(R); ok {
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
func line(k int, change func(*Node) *Node) func([]*Node, []interval) []*Node {
	return func(lines []*Node, _ []interval) []*Node {
		lines[k] = change(lines[k])
		return lines
	}
}

func narrowed(v interval, _ *unit, _ []interval) interval {
	c, r := v.centred()
	r = MulScalar(r, 0.5)
	v.lower, v.upper = Sub(c, r), Add(c, r)
	return v
}

func lowerOnly(v interval, _ *unit, _ []interval) interval {
	v.upper = v.lower
	return v
}

func nothing(E *Node) *Node { return MulScalar(E, 1e-9) }

// Mutants are mistakes in every family of rules.
var Mutants = []Mutant{
	{"the ends of a subtrahend are not swapped", "subtracts", on(NodeTypeSub, func() *mutated {
		return &mutated{interval: func(v interval, u *unit, in []interval) interval { return ends(u, in) }}
	})},
	{"the constant of a sum is forgotten on the way back", "mlp", on(NodeTypeAdd, func() *mutated { return &mutated{back: withoutConstant} })},
	{"a sum rounds nothing", "adds", on(NodeTypeAdd, func() *mutated { return &mutated{error: nothing} })},
	{"a product's radius is Wr, not |W|r", "mlp", on(NodeTypeDotGeneral, func() *mutated {
		return &mutated{interval: func(v interval, u *unit, in []interval) interval { return ends(u, in) }}
	})},
	{"a dot product rounds nothing", "multiplies", on(NodeTypeDotGeneral, func() *mutated { return &mutated{error: nothing} })},
	{"a dot product's transpose has the wrong sign", "mlp", on(NodeTypeDotGeneral, func() *mutated { return &mutated{back: scaled(-1)} })},
	{"a convolution's radius is half", "convolves", on(NodeTypeConvGeneral, func() *mutated { return &mutated{interval: narrowed} })},
	{"a convolution's transpose is scaled", "strided-cnn", on(NodeTypeConvGeneral, func() *mutated { return &mutated{back: scaled(0.7)} })},
	{"an elementwise product's transpose is scaled", "preprocessing", on(NodeTypeMul, func() *mutated { return &mutated{back: scaled(0.9)} })},
	{"a ReLU's upper slope is too small", "mlp", in[threshold](func() *mutated {
		return &mutated{lines: line(1, func(v *Node) *Node { return MulScalar(v, 0.8) })}
	})},
	{"a ReLU's upper intercept is dropped", "mlp", in[threshold](func() *mutated { return &mutated{lines: line(2, ZerosLike)} })},
	{"a ReLU's lower slope is above 1", "mlp", in[threshold](func() *mutated {
		return &mutated{lines: line(0, func(v *Node) *Node { return MulScalar(v, 1.3) })}
	})},
	{"a ReLU's lines change places", "bends", in[threshold](func() *mutated {
		return &mutated{lines: func(l []*Node, _ []interval) []*Node { return []*Node{l[1], l[0], l[2]} }}
	})},
	{"a moved tensor keeps its lower end only", "preprocessing", in[placement](func() *mutated { return &mutated{interval: lowerOnly} })},
	{"the constant part of a concatenation is forgotten", "preprocessing", in[assembly](func() *mutated { return &mutated{back: withoutConstant} })},
	{"a sum over an axis loses a tenth on the way back", "residual", in[reduction](func() *mutated { return &mutated{back: scaled(0.9)} })},
	{"a mean pool loses a tenth on the way back", "mean pool, padded and overlapping", in[windowSum](func() *mutated { return &mutated{back: scaled(0.9)} })},
	{"a max pool's upper intercept is too low", "max pool, padded", in[maxPool](func() *mutated {
		return &mutated{lines: func(l []*Node, _ []interval) []*Node {
			l[len(l)-1] = AddScalar(l[len(l)-1], -0.05)
			return l
		}}
	})},
	{"a max pool's lower line is too steep", "max pool", in[maxPool](func() *mutated {
		return &mutated{lines: line(0, func(v *Node) *Node { return MulScalar(v, 1.5) })}
	})},
	{"a maximum's upper intercept is too low", "largest and least", in[maximum](func() *mutated {
		return &mutated{lines: line(2, func(v *Node) *Node { return AddScalar(v, -0.1) })}
	})},
	{"tanh's lower line is too high", "tanh", in[univariate](func() *mutated {
		return &mutated{lines: line(1, func(v *Node) *Node { return AddScalar(v, 0.03) })}
	})},
	{"GELU's upper line is too low", "GELU", in[univariate](func() *mutated {
		return &mutated{lines: line(3, func(v *Node) *Node { return AddScalar(v, -0.03) })}
	})},
	{"|z| is bounded by its values at the ends", "abs", in[univariate](func() *mutated {
		return &mutated{interval: func(v interval, u *unit, in []interval) interval {
			a, b := Abs(in[0].lower), Abs(in[0].upper)
			return interval{lower: Min(a, b), upper: Max(a, b)}
		}}
	})},
	{"exp rounds nothing", "exponentiates", in[univariate](func() *mutated { return &mutated{error: nothing} })},
	{"McCormick's planes lose their constant", "product of two", in[bilinear](func() *mutated { return &mutated{back: withoutConstant} })},
	{"McCormick's planes take the wrong end", "attention", in[bilinear](func() *mutated {
		return &mutated{lines: func(l []*Node, _ []interval) []*Node { return []*Node{l[0], l[2], l[1]} }}
	})},
	{"the lines of a reciprocal change places", "divides", in[quotient](func() *mutated {
		return &mutated{lines: func(l []*Node, _ []interval) []*Node {
			return []*Node{l[0], l[1], l[2], l[5], l[6], l[3], l[4]}
		}}
	})},
	{"softmax's interval is half as wide", "softens", in[softmax](func() *mutated { return &mutated{interval: narrowed} })},
	{"softmax's exponential has its lines the wrong way around", "softens", in[softmax](func() *mutated {
		return &mutated{lines: func(l []*Node, _ []interval) []*Node {
			l[0], l[1], l[2], l[3] = l[2], l[3], l[0], l[1]
			return l
		}}
	})},
	{"the maximum of two has too small a slope above", "maximum and minimum of two", in[larger2](func() *mutated {
		return &mutated{lines: line(2, func(v *Node) *Node { return MulScalar(v, 0.3) })}
	})},
	{"a mask lets everything through on the way back", "masks", in[selection](func() *mutated {
		return &mutated{back: func(parts map[int]*Node, b, Λ *Node) (map[int]*Node, *Node) {
			for k := range parts {
				parts[k] = Λ
			}
			return parts, b
		}}
	})},
	{"a choice is bounded by its first branch", "choice by another", in[hull](func() *mutated {
		return &mutated{interval: func(_ interval, _ *unit, in []interval) interval { return in[0] }}
	})},
	{"a gather loses its constant factor", "gather", in[lookup](func() *mutated { return &mutated{back: scaled(0.8)} })},
}

// AscentMutants are mistakes in what slopes are raised by. They make no bound wrong, but worse.
var AscentMutants = []Mutant{
	{"a ReLU's input has the wrong sign", "mlp", in[threshold](func() *mutated {
		return &mutated{t: func(Λσ, t *Node) (*Node, *Node) { return Λσ, Neg(t) }}
	})},
	{"a minimum's slope counts where the line above it does", "preprocessing", on(NodeTypeMin, func() *mutated {
		return &mutated{t: func(Λσ, t *Node) (*Node, *Node) { return Neg(Λσ), t }}
	})},
	{"the maximum of two is taken apart the wrong way around", "maximum and minimum of two", in[larger2](func() *mutated {
		return &mutated{t: func(Λσ, t *Node) (*Node, *Node) { return Λσ, MulScalar(t, 2) }}
	})},
	{"a ReLU goes forward without its line above", "strided-cnn", in[threshold](func() *mutated { return &mutated{value: func(v *Node) *Node { return MulScalar(v, 0.9) }} })},
	{"a convolution goes forward doubled", "residual", on(NodeTypeConvGeneral, func() *mutated { return &mutated{value: func(v *Node) *Node { return MulScalar(v, 2) }} })},
	{"a max pool goes forward too high", "max pool, padded", in[maxPool](func() *mutated { return &mutated{value: func(v *Node) *Node { return AddScalar(v, 0.01) }} })},
	{"softmax goes forward too low", "attention", in[softmax](func() *mutated { return &mutated{value: func(v *Node) *Node { return MulScalar(v, 0.99) }} })},
	{"McCormick's planes go forward scaled", "product of two", in[bilinear](func() *mutated { return &mutated{value: func(v *Node) *Node { return MulScalar(v, 1.01) }} })},
}

// FreeSlopes lets slopes below ReLUs be anything, which makes bounds wrong, until the returned function is called.
func FreeSlopes() (restore func()) {
	mutateSlopes = func(α *Node) *Node { return α }
	return func() { mutateSlopes = nil }
}
