package advlib

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
)

// A formula is what a derived feature is of others. It is a text, because one text serves for all that there is to do:
// it is computed on the host and in a graph, with its gradient, its values are bounded, and it is a part of a domain in
// JSON and of the key of what is kept. A function in Go could be called, and nothing else.
//
// All is computed in float64 from the float32 values of the features, in the order in which it is written, and rounded
// to float32 at the end: every language with IEEE numbers gets the same bits. So there are no logarithms and powers,
// which differ by a bit from library to library.
type formula struct {
	text string
	root expression
}

// operator is a function of a formula.
type operator struct {
	args  int // −1: one or more
	value func(v []float64) float64
	graph func(v []*Node) *Node
	bound func(v []interval) (interval, error)
}

// expression is a number, a coordinate, or an operator on expressions.
type expression struct {
	op       string // "" for the others
	args     []expression
	number   float64
	feature  int // −1 for a number
	category int // of the feature, −1 if it is none
}

// value computes the formula for a flat input.
func (f *formula) value(l *layout, x []float32) float32 {
	return float32(f.root.value(func(e expression) float64 { return float64(x[l.coordinate(e)]) }))
}

// coordinate is where the feature of an expression lies.
func (l *layout) coordinate(e expression) int { return l.first[e.feature] + max(0, e.category) }

func (e expression) value(of func(e expression) float64) float64 {
	switch {
	case e.op == "" && e.feature < 0:
		return e.number
	case e.op == "":
		return of(e)
	}
	v := make([]float64, len(e.args))
	for i, a := range e.args {
		v[i] = a.value(of)
	}
	return operators[e.op].value(v)
}

// graph computes the formula for all rows of inputs, whose coordinates are [n, 1], in float64. Gradients go straight
// through floor, ceil and round; comparisons have none.
func (e expression) graph(like *Node, of func(e expression) *Node) *Node {
	switch {
	case e.op == "" && e.feature < 0:
		return AddScalar(ZerosLike(like), e.number)
	case e.op == "":
		return of(e)
	}
	v := make([]*Node, len(e.args))
	for i, a := range e.args {
		v[i] = a.graph(like, of)
	}
	return operators[e.op].graph(v)
}

// interval is what values may be. All are whole multiples of the unit, if it is above 0; of 0 alone it is infinite.
type interval struct{ lo, hi, unit float64 }

func (e expression) bound(of func(e expression) interval) (interval, error) {
	switch {
	case e.op == "" && e.feature < 0:
		if e.number == 0 {
			return interval{unit: math.Inf(1)}, nil
		}
		return interval{e.number, e.number, math.Abs(e.number)}, nil
	case e.op == "":
		return of(e), nil
	}
	v := make([]interval, len(e.args))
	for i, a := range e.args {
		var err error
		if v[i], err = a.bound(of); err != nil {
			return interval{}, err
		}
	}
	return operators[e.op].bound(v)
}

// common returns a unit of which both are whole multiples.
func common(a, b float64) float64 {
	lo, hi := min(a, b), max(a, b)
	switch {
	case lo <= 0:
		return 0
	case math.IsInf(hi, 1):
		return lo
	}
	if n := hi / lo; math.Abs(n-math.Round(n)) > 1e-9*n {
		return 0
	}
	return lo
}

// timesUnit is the unit of products.
func timesUnit(a, b float64) float64 {
	if a == 0 || b == 0 {
		return 0
	}
	return a * b
}

// corners returns the interval around what f makes of the ends of a and b; 0·∞ does not occur, because ranges are
// finite.
func corners(a, b interval, f func(a, b float64) float64) interval {
	v := []float64{f(a.lo, b.lo), f(a.lo, b.hi), f(a.hi, b.lo), f(a.hi, b.hi)}
	return interval{lo: slices.Min(v), hi: slices.Max(v)}
}

// truth is 1 for what is so, 0 else.
func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func truthNode(is, like *Node) *Node { return Where(is, OnesLike(like), ZerosLike(like)) }

// compared is an operator that tells whether something is so.
func compared(is func(a, b float64) bool, node func(a, b *Node) *Node) operator {
	return operator{
		args: 2, value: func(v []float64) float64 { return truth(is(v[0], v[1])) },
		graph: func(v []*Node) *Node { return truthNode(node(v[0], v[1]), v[0]) },
		bound: func([]interval) (interval, error) { return interval{0, 1, 1}, nil },
	}
}

// stepped is an operator that makes numbers whole.
func stepped(value func(float64) float64, node func(*Node) *Node) operator {
	return operator{
		args: 1, value: func(v []float64) float64 { return value(v[0]) },
		graph: func(v []*Node) *Node { return straightThrough(node(v[0]), v[0]) },
		bound: func(v []interval) (interval, error) { return interval{value(v[0].lo), value(v[0].hi), 1}, nil },
	}
}

// extreme is min or max.
func extreme(pick func(a, b float64) float64, node func(a, b *Node) *Node) operator {
	return operator{
		args: -1,
		value: func(v []float64) float64 {
			best := v[0]
			for _, w := range v[1:] {
				best = pick(best, w)
			}
			return best
		},
		graph: func(v []*Node) *Node {
			best := v[0]
			for _, w := range v[1:] {
				best = node(best, w)
			}
			return best
		},
		bound: func(v []interval) (interval, error) {
			best := v[0]
			for _, w := range v[1:] {
				best = interval{pick(best.lo, w.lo), pick(best.hi, w.hi), common(best.unit, w.unit)}
			}
			return best, nil
		},
	}
}

// halfUp rounds to the nearest whole number, and up in the middle, by two operations that are the same everywhere.
func halfUp(v float64) float64 { return math.Floor(v + 0.5) }

func zeroIn(v interval) bool { return v.lo <= 0 && v.hi >= 0 }

// smallest is the smallest magnitude above 0 that v may have; 0 if it can be as small as one likes.
func (v interval) smallest() float64 {
	if !zeroIn(v) {
		return min(math.Abs(v.lo), math.Abs(v.hi))
	}
	return v.unit * (1 - levelSlack) // values are on their levels up to rounding
}

// operators are all there are, by their names; those of one character, and comparisons, are written between what they
// work on.
var operators = map[string]operator{
	"+": {2, func(v []float64) float64 { return v[0] + v[1] }, func(v []*Node) *Node { return Add(v[0], v[1]) },
		func(v []interval) (interval, error) {
			return interval{v[0].lo + v[1].lo, v[0].hi + v[1].hi, common(v[0].unit, v[1].unit)}, nil
		}},
	"-": {2, func(v []float64) float64 { return v[0] - v[1] }, func(v []*Node) *Node { return Sub(v[0], v[1]) },
		func(v []interval) (interval, error) {
			return interval{v[0].lo - v[1].hi, v[0].hi - v[1].lo, common(v[0].unit, v[1].unit)}, nil
		}},
	"*": {2, func(v []float64) float64 { return v[0] * v[1] }, func(v []*Node) *Node { return Mul(v[0], v[1]) },
		func(v []interval) (interval, error) {
			b := corners(v[0], v[1], func(a, b float64) float64 { return a * b })
			b.unit = timesUnit(v[0].unit, v[1].unit)
			return b, nil
		}},
	"/": {2, func(v []float64) float64 { return v[0] / v[1] }, func(v []*Node) *Node { return Div(v[0], v[1]) },
		func(v []interval) (interval, error) {
			if zeroIn(v[1]) {
				return interval{}, fmt.Errorf("divides by what may be 0, it is from %g to %g: write ratio(a, b), which is 0 where b is, or "+
					"max(b, 1)", v[1].lo, v[1].hi)
			}
			return corners(v[0], v[1], func(a, b float64) float64 { return a / b }), nil
		}},
	"ratio": {2, func(v []float64) float64 {
		if v[1] == 0 {
			return 0
		}
		return v[0] / v[1]
	}, func(v []*Node) *Node {
		zero := ZerosLike(v[1])
		none := Equal(v[1], zero)
		return Where(none, zero, Div(v[0], Where(none, OnesLike(v[1]), v[1])))
	}, func(v []interval) (interval, error) {
		least := v[1].smallest()
		if least == 0 || math.IsInf(least, 1) && !zeroIn(v[0]) {
			return interval{}, fmt.Errorf("divides by what may be as small as one likes, it is from %g to %g: write a / max(b, 1), or give "+
				"the features below a Step", v[1].lo, v[1].hi)
		}
		most := max(math.Abs(v[0].lo), math.Abs(v[0].hi)) / least
		b := interval{lo: -most, hi: most}
		if v[0].lo >= 0 && v[1].lo >= 0 || v[0].hi <= 0 && v[1].hi <= 0 {
			b.lo = 0
		}
		return b, nil
	}},
	"negative": {1, func(v []float64) float64 { return -v[0] }, func(v []*Node) *Node { return Neg(v[0]) },
		func(v []interval) (interval, error) { return interval{-v[0].hi, -v[0].lo, v[0].unit}, nil }},
	"abs": {1, func(v []float64) float64 { return math.Abs(v[0]) }, func(v []*Node) *Node { return Abs(v[0]) },
		func(v []interval) (interval, error) {
			b := interval{min(math.Abs(v[0].lo), math.Abs(v[0].hi)), max(math.Abs(v[0].lo), math.Abs(v[0].hi)), v[0].unit}
			if zeroIn(v[0]) {
				b.lo = 0
			}
			return b, nil
		}},
	"min":   extreme(func(a, b float64) float64 { return min(a, b) }, Min),
	"max":   extreme(func(a, b float64) float64 { return max(a, b) }, Max),
	"floor": stepped(math.Floor, Floor),
	"ceil":  stepped(math.Ceil, Ceil),
	"round": stepped(halfUp, func(v *Node) *Node { return Floor(AddScalar(v, 0.5)) }),
	"if": {3, func(v []float64) float64 {
		if v[0] != 0 {
			return v[1]
		}
		return v[2]
	}, func(v []*Node) *Node { return Where(NotEqual(v[0], ZerosLike(v[0])), v[1], v[2]) },
		func(v []interval) (interval, error) {
			return interval{min(v[1].lo, v[2].lo), max(v[1].hi, v[2].hi), common(v[1].unit, v[2].unit)}, nil
		}},
	"<":  compared(func(a, b float64) bool { return a < b }, LessThan),
	"<=": compared(func(a, b float64) bool { return a <= b }, LessOrEqual),
	">":  compared(func(a, b float64) bool { return a > b }, GreaterThan),
	">=": compared(func(a, b float64) bool { return a >= b }, GreaterOrEqual),
	"==": compared(func(a, b float64) bool { return a == b }, Equal),
	"!=": compared(func(a, b float64) bool { return a != b }, NotEqual),
}

// functions are the operators that are written with parentheses.
const functions = "abs, ceil, floor, if, max, min, ratio and round"

// parser reads a formula. Its methods are its grammar.
type parser struct {
	text   string
	at     int
	depth  int
	domain Domain
}

// parseFormula reads the formula of feature i of a domain.
func parseFormula(d Domain, i int) (*formula, error) {
	p := &parser{text: d[i].Formula, domain: d}
	root, err := p.comparison()
	if err == nil {
		if p.space(); p.at < len(p.text) {
			err = p.wrong("an operator, or the end, is expected")
		}
	}
	if err != nil {
		return nil, err
	}
	return &formula{d[i].Formula, root}, nil
}

func (p *parser) wrong(format string, args ...any) error {
	return fmt.Errorf("%s at character %d, %q", fmt.Sprintf(format, args...), p.at+1, p.text[p.at:min(len(p.text), p.at+16)])
}

func (p *parser) space() {
	for p.at < len(p.text) && strings.ContainsRune(" \t\n", rune(p.text[p.at])) {
		p.at++
	}
}

// take goes behind the first of the texts that comes next, and returns it; "" if none does.
func (p *parser) take(texts ...string) string {
	p.space()
	for _, t := range texts {
		if strings.HasPrefix(p.text[p.at:], t) {
			p.at += len(t)
			return t
		}
	}
	return ""
}

// comparison = sum [("<" | "<=" | ">" | ">=" | "==" | "!=") sum]
func (p *parser) comparison() (expression, error) {
	left, err := p.sum()
	if err != nil {
		return left, err
	}
	if op := p.take("<=", ">=", "==", "!=", "<", ">"); op != "" {
		right, err := p.sum()
		return expression{op: op, args: []expression{left, right}}, err
	}
	return left, nil
}

// sum = product {("+" | "-") product}
func (p *parser) sum() (expression, error) { return p.chain(p.product, "+", "-") }

// product = factor {("*" | "/") factor}
func (p *parser) product() (expression, error) { return p.chain(p.factor, "*", "/") }

func (p *parser) chain(part func() (expression, error), ops ...string) (expression, error) {
	left, err := part()
	for err == nil {
		op := p.take(ops...)
		if op == "" {
			return left, nil
		}
		var right expression
		right, err = part()
		left = expression{op: op, args: []expression{left, right}}
	}
	return left, err
}

// deepest is how deep parentheses may go.
const deepest = 100

// factor = "-" factor | "(" comparison ")" | number | name | name "[" category "]" | function "(" comparison {","
// comparison} ")"
func (p *parser) factor() (expression, error) {
	if p.depth++; p.depth > deepest {
		return expression{}, p.wrong("it is nested more than %d deep", deepest)
	}
	defer func() { p.depth-- }()
	switch {
	case p.take("-") != "":
		a, err := p.factor()
		return expression{op: "negative", args: []expression{a}}, err
	case p.take("(") != "":
		e, err := p.comparison()
		if err == nil && p.take(")") == "" {
			err = p.wrong("a closing parenthesis is missing")
		}
		return e, err
	}
	rest := p.text[p.at:]
	if n := digits(rest); n > 0 {
		v, err := strconv.ParseFloat(rest[:n], 64)
		if err != nil {
			return expression{}, p.wrong("%q is no number", rest[:n])
		}
		p.at += n
		return expression{number: v, feature: -1}, nil
	}
	name := ""
	quoted := strings.HasPrefix(rest, "'")
	if quoted {
		end := strings.Index(rest[1:], "'")
		if end < 0 {
			return expression{}, p.wrong("a closing ' is missing")
		}
		name = rest[1 : end+1]
		p.at += end + 2
	} else {
		n := strings.IndexFunc(rest, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
		if n < 0 {
			n = len(rest)
		}
		if name = rest[:n]; n == 0 {
			return expression{}, p.wrong("a number, a feature, a function or a parenthesis is expected")
		}
		p.at += n
		if p.take("(") != "" {
			return p.call(name)
		}
	}
	return p.reference(name)
}

// digits is how long the number is that a text begins with.
func digits(s string) int {
	n := 0
	for n < len(s) && (s[n] >= '0' && s[n] <= '9' || s[n] == '.' || n > 0 && (s[n] == 'e' || s[n] == 'E') ||
		n > 0 && (s[n] == '-' || s[n] == '+') && (s[n-1] == 'e' || s[n-1] == 'E')) {
		n++
	}
	return n
}

// call reads the arguments of a function. round may have a second one, a number of digits behind the point.
func (p *parser) call(name string) (expression, error) {
	op, ok := operators[name]
	if !ok || name == "negative" {
		return expression{}, p.wrong("there is no function %q: there are %s; before", name, functions)
	}
	e := expression{op: name}
	for {
		a, err := p.comparison()
		if err != nil {
			return e, err
		}
		e.args = append(e.args, a)
		if p.take(")") != "" {
			break
		}
		if p.take(",") == "" {
			return e, p.wrong("a comma or a closing parenthesis is expected")
		}
	}
	if name == "round" && len(e.args) == 2 {
		digits := e.args[1]
		if digits.op != "" || digits.feature >= 0 || digits.number != math.Trunc(digits.number) || digits.number < 0 || digits.number > 9 {
			return e, p.wrong("the second argument of round is a number of digits, from 0 to 9; before")
		}
		factor := expression{number: math.Pow10(int(digits.number)), feature: -1}
		times := expression{op: "*", args: []expression{e.args[0], factor}}
		return expression{op: "/", args: []expression{{op: "round", args: []expression{times}}, factor}}, nil
	}
	if op.args >= 0 && len(e.args) != op.args {
		return e, p.wrong("%s takes %d arguments, not %d; before", name, op.args, len(e.args))
	}
	return e, nil
}

// reference finds a feature.
func (p *parser) reference(name string) (expression, error) {
	e := expression{feature: -1, category: -1}
	for i, f := range p.domain {
		if f.Name != name {
			continue
		}
		if e.feature >= 0 {
			return e, p.wrong("there are two features %q; before", name)
		}
		e.feature = i
	}
	if e.feature < 0 {
		return e, p.wrong("there is no feature %q; before", name)
	}
	f := p.domain[e.feature]
	if p.take("[") == "" {
		if f.OneHot > 0 {
			return e, p.wrong("%q is a category: write %s[0], which is 1 for its first and 0 for the others; before", name, name)
		}
		return e, nil
	}
	p.space()
	n := digits(p.text[p.at:])
	k, err := strconv.Atoi(p.text[p.at : p.at+n])
	if err != nil || k >= max(1, f.OneHot) || f.OneHot == 0 {
		return e, p.wrong("%q has %d categories, counted from 0", name, f.OneHot)
	}
	p.at += n
	if p.take("]") == "" {
		return e, p.wrong("a closing bracket is missing")
	}
	e.category = k
	return e, nil
}

// derivation is a derived feature and how it is computed.
type derivation struct {
	feature int
	*formula
}

// derivations reads the formulas of a domain, in an order in which each is behind those that it needs, and fills in the
// ranges of the features.
func (l *layout) derivations() error {
	open := map[int]*formula{}
	for i := range l.features {
		if l.features[i].Formula == "" {
			continue
		}
		f, err := parseFormula(l.features, i)
		if err != nil {
			return fmt.Errorf("%s of its domain has the formula %q: %w", l.name(i), l.features[i].Formula, err)
		}
		open[i] = f
	}
	ranges := make([]interval, len(l.features))
	for i, f := range l.features {
		if ranges[i] = (interval{f.Lo, f.Hi, 0}); f.Step > 0 && common(f.Step, math.Abs(f.Lo)+f.Step) > 0 {
			ranges[i].unit = f.Step
		}
	}
	for len(open) > 0 {
		before := len(open)
		for i := range l.features {
			f := open[i]
			if f == nil || slices.ContainsFunc(f.root.features(nil), func(j int) bool { return open[j] != nil }) {
				continue
			}
			r, err := f.root.bound(func(e expression) interval {
				if e.category >= 0 {
					return interval{0, 1, 1}
				}
				return ranges[e.feature]
			})
			if err == nil && !(max(math.Abs(r.lo), math.Abs(r.hi)) <= math.MaxFloat32) {
				err = fmt.Errorf("may be as large as %g, which float32 does not hold", max(math.Abs(r.lo), math.Abs(r.hi)))
			}
			if err != nil {
				return fmt.Errorf("%s of its domain has the formula %q: it %w", l.name(i), f.text, err)
			}
			ranges[i] = r
			if one := &l.features[i]; one.Lo == 0 && one.Hi == 0 {
				one.Lo, one.Hi = float64(float32(r.lo)), float64(float32(r.hi))
			}
			l.derived = append(l.derived, derivation{i, f})
			delete(open, i)
		}
		if len(open) == before {
			var names []string
			for i := range l.features {
				if open[i] != nil {
					names = append(names, fmt.Sprintf("%q", l.features[i].Name))
				}
			}
			return fmt.Errorf("the formulas of its features %s need each other", strings.Join(names, ", "))
		}
	}
	return nil
}

// features appends the features that an expression needs.
func (e expression) features(to []int) []int {
	if e.op == "" && e.feature >= 0 {
		to = append(to, e.feature)
	}
	for _, a := range e.args {
		to = a.features(to)
	}
	return to
}

// derive computes the derived features of a flat input from the others.
func (l *layout) derive(x []float32) {
	for _, d := range l.derived {
		x[l.first[d.feature]] = d.value(l, x)
	}
}

// deriveNode is derive for inputs v [n, d], whose gradients go on to the features that a derived one is of.
func (l *layout) deriveNode(v *Node) *Node {
	if len(l.derived) == 0 {
		return v
	}
	column := func(j int) *Node { return Slice(v, AxisRange(), AxisRange(j, j+1)) }
	computed := map[int]*Node{} // by coordinate, in float64
	for _, d := range l.derived {
		like := ConvertDType(column(0), dtypes.Float64)
		out := d.root.graph(like, func(e expression) *Node {
			j := l.coordinate(e)
			if computed[j] == nil {
				computed[j] = ConvertDType(column(j), dtypes.Float64)
			}
			return computed[j]
		})
		// What is computed from it starts from its float32.
		j := l.first[d.feature]
		computed[j] = ConvertDType(ConvertDType(out, dtypes.Float32), dtypes.Float64)
	}
	at := map[int]bool{}
	for _, d := range l.derived {
		at[l.first[d.feature]] = true
	}
	var pieces []*Node
	from, size := 0, v.Shape().Dimensions[1]
	for j := range size + 1 {
		if j < size && !at[j] {
			continue
		}
		if from < j {
			pieces = append(pieces, Slice(v, AxisRange(), AxisRange(from, j)))
		}
		if j < size {
			pieces = append(pieces, ConvertDType(computed[j], dtypes.Float32))
		}
		from = j + 1
	}
	if len(pieces) == 1 {
		return pieces[0]
	}
	return Concatenate(pieces, 1)
}
