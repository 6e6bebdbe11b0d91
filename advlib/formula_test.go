package advlib

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
)

// flows is a domain with derived features, one of them of another one that stands behind it, in 12 coordinates.
var flows = Domain{
	{Name: "score", Formula: "2*error_rate - 'bytes per packet'/100 + proto[1]"},
	{Name: "packets", Lo: 0, Hi: 200, Step: 1, Scale: 50},
	{Name: "error_rate", Formula: "round(ratio(errors, packets), 2)"},
	{Name: "errors", Lo: 0, Hi: 100, Step: 1, Scale: 25},
	{Name: "bytes", Lo: 0, Hi: 1e6, Scale: 1e5},
	{Name: "bytes per packet", Formula: "bytes / max(packets, 1)"},
	{Name: "proto", OneHot: 3, Scale: 2},
	{Name: "busy", Formula: "if(packets >= 100, 1, 0) + floor(bytes/250000)"},
	{Name: "least", Formula: "min(errors, abs(packets - 50), 7.5)"},
	{Name: "land", Lo: 0, Hi: 1, Step: 1, Change: Fixed},
}

const flowsSize = 12

// flowsOf are the derived features of a row, written out.
func flowsOf(x []float32) map[int]float32 {
	at := func(j int) float64 { return float64(x[j]) }
	rate, per := float32(0), float32(at(4)/max(at(1), 1))
	if x[1] != 0 {
		rate = float32(math.Floor(at(3)/at(1)*100+0.5) / 100)
	}
	busy := math.Floor(at(4) / 250000)
	if x[1] >= 100 {
		busy++
	}
	return map[int]float32{
		0: float32(2*float64(rate) - float64(per)/100 + at(7)), 2: rate, 5: per, 9: float32(busy),
		10: float32(min(at(3), math.Abs(at(1)-50), 7.5)),
	}
}

func flowsClassifier(t testing.TB) *Classifier {
	t.Helper()
	c, err := NewClassifier(Spec{Name: "flows", Input: []int{flowsSize}, Domain: flows, Logits: func(_ *model.Scope, x *Node) *Node {
		w := make([][]float32, flowsSize)
		r := rand.New(rand.NewPCG(5, 9))
		for j := range w {
			w[j] = []float32{float32(r.NormFloat64()), float32(r.NormFloat64())}
		}
		return Dot(x, Const(x.Graph(), w)).Product()
	}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// flow draws a row.
func flow(c *Classifier, r *rand.Rand) []float32 {
	x := make([]float32, flowsSize)
	x[1], x[3], x[4], x[11] = float32(r.IntN(201)), float32(r.IntN(101)), float32(r.IntN(1e6)), float32(r.IntN(2))
	if r.IntN(4) == 0 {
		x[1] = float32(r.IntN(2))
	}
	x[6+r.IntN(3)] = 1
	c.Round(x)
	return x
}

// What a point stands for has derived features that are their functions to the last bit, by the host and by the model's
// graph, wherever an attack has moved the others.
func TestDerivedFeatures(t *testing.T) {
	c := flowsClassifier(t)
	e := encoding{c.space.layout}
	r := rand.New(rand.NewPCG(6, 1))
	limits := c.View().Limits()
	const n = 512
	var x, u0, u [][]float32
	for range n {
		one := flow(c, r)
		from := e.row(one)
		to := slices.Clone(from)
		for j := range to {
			if box := limits.Range(j, from[j]); r.IntN(3) > 0 {
				to[j] = limits.Clamp(j, box.Lo+1.2*(r.Float64()-0.1)*box.Width(), from[j])
			}
		}
		x, u0, u = append(x, one), append(u0, from), append(u, to)
	}
	step := Count(c.View()).Compile("decode", func(_ *Model, in []*Node) []*Node { return []*Node{e.decode(in[0])} })
	out, err := step.Run(n, tensors.FromFlatDataAndDimensions(slices.Concat(u...), n, 2*flowsSize))
	if err != nil {
		t.Fatal(err)
	}
	graph := tensors.MustCopyFlatData[float32](out[0])
	moved := 0
	for i := range n {
		for _, ball := range []Ball{{Norm: L2, Radius: math.Inf(1)}, L1.Ball(0.7), L2.Ball(0.5), Linf.Ball(0.3)} {
			y := e.settle(slices.Clone(u[i]), u0[i], x[i], ball)
			if err := e.check(y); err != nil {
				t.Fatal(err)
			}
			for j, want := range flowsOf(y) {
				if math.Float32bits(y[j]) != math.Float32bits(want) && y[j] != want {
					t.Fatalf("row %d: coordinate %d is %g, its function gives %g", i, j, y[j], want)
				}
			}
			if !slices.Equal(y, x[i]) {
				moved++
			}
		}
		g := graph[i*flowsSize : (i+1)*flowsSize]
		for j, want := range flowsOf(g) {
			if math.Float32bits(g[j]) != math.Float32bits(want) && g[j] != want {
				t.Fatalf("row %d: coordinate %d is %g in the graph, its function gives %g", i, j, g[j], want)
			}
		}
		// They weigh nothing, whatever they do.
		y := e.settle(slices.Clone(u[i]), u0[i], x[i], Ball{Norm: L2, Radius: math.Inf(1)})
		changed := 0
		for _, j := range []int{1, 3, 4} {
			if y[j] != x[i][j] {
				changed++
			}
		}
		if !slices.Equal(y[6:9], x[i][6:9]) {
			changed++
		}
		if d := c.Distance(L0, y, x[i]); d != float64(changed) {
			t.Errorf("row %d: %d features were moved, the distance is %g", i, changed, d)
		}
	}
	if moved < 3*n {
		t.Errorf("only %d of %d points stand for another input", moved, 4*n)
	}
}

// The gradient of a feature is its own and that of what is derived from it.
func TestGradientOfDerivedFeatures(t *testing.T) {
	c := flowsClassifier(t)
	e := encoding{c.space.layout}
	gradient := Count(c.View()).Compile("gradient", func(m *Model, in []*Node) []*Node {
		return []*Node{m.Gradient(Slice(m.Logits(in[0]), AxisRange(), AxisElem(1)), in[0])}
	})
	w := make([]float64, flowsSize)
	r := rand.New(rand.NewPCG(5, 9))
	for j := range w {
		r.NormFloat64()
		w[j] = float64(float32(r.NormFloat64()))
	}
	x := []float32{0, 80, 0, 20, 300000, 0, 1, 0, 0, 0, 0, 1}
	c.Round(x)
	out, err := gradient.Run(1, tensors.FromFlatDataAndDimensions(e.row(x), 1, 2*flowsSize))
	if err != nil {
		t.Fatal(err)
	}
	g := tensors.MustCopyFlatData[float32](out[0])
	// By hand: score = 2·rate − per/100, rate = errors/packets (straight through round), per = bytes/packets, busy steps
	// straight through floor, least = 7.5, the constant.
	rate, per := w[2]+2*w[0], w[5]-w[0]/100
	for j, want := range map[int]float64{
		1: 50 * (w[1] - rate*20/(80*80) - per*300000/(80*80)), 3: 25 * (w[3] + rate/80), 4: 1e5 * (w[4] + per/80 + w[9]/250000),
		0: 0, 2: 0, 5: 0, 9: 0, 10: 0, 11: 0,
	} {
		if math.Abs(float64(g[j])-want) > 1e-4*(1+math.Abs(want)) {
			t.Errorf("coordinate %d: gradient %g, want %g", j, g[j], want)
		}
	}
}

// Run refuses originals whose derived features are not their functions, and attacks that move them; Recompute mends.
func TestRunWithDerivedFeatures(t *testing.T) {
	c := flowsClassifier(t)
	one := flow(c, rand.New(rand.NewPCG(1, 1)))
	e, err := NewExamples("one", slices.Clone(one), []int{flowsSize}, []int32{0})
	if err != nil {
		t.Fatal(err)
	}
	z, err := c.Logits(e.X)
	if err != nil {
		t.Fatal(err)
	}
	e.Y[0] = argmax(z[0])
	minimal := Threat{Norm: L1, Radius: math.Inf(1)}
	move := wander{minimal, func(u []float32) { u[2] += 0.5 }}
	if _, err := Run(context.Background(), c, e, move); err == nil || !strings.Contains(err.Error(), `feature 2, "error_rate"`) ||
		!strings.Contains(err.Error(), "mistake in the attack") {
		t.Errorf("an attack that moves a derived feature: %v", err)
	}
	wrong := slices.Clone(one)
	wrong[2] += 0.25
	w, err := NewExamples("wrong", wrong, []int{flowsSize}, e.Y)
	if err != nil {
		t.Fatal(err)
	}
	far := wander{minimal, func(u []float32) { u[4] = 10 }}
	if _, err := Run(context.Background(), c, w, far); err == nil || !strings.Contains(err.Error(), `"error_rate", is`) ||
		!strings.Contains(err.Error(), "Domain.Recompute") {
		t.Errorf("an original that is not consistent: %v", err)
	}
	mended, err := c.Domain().Recompute(w)
	if err != nil || mended.Hash() != e.Hash() || len(mended.Notes) != 1 || !strings.Contains(mended.Notes[0],
		`the largest difference is 0.25, of "error_rate"`) {
		t.Errorf("%v, %v", mended, err)
	}
	if _, err := Run(context.Background(), c, mended, far); err != nil {
		t.Error(err)
	}
	// The domain as the classifier has it makes the same classifier, in Go and in JSON.
	text, err := json.Marshal(c.Domain())
	if err != nil {
		t.Fatal(err)
	}
	var back Domain
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, c.Domain()) {
		t.Fatalf("%s is read as %+v, %v", text, back, err)
	}
	again, err := NewClassifier(Spec{Name: "again", Input: []int{flowsSize}, Domain: back, Logits: c.spec.Logits})
	if err != nil {
		t.Fatal(err)
	}
	if err := SameInputs(c, again); err != nil {
		t.Error(err)
	}
	if s := c.Domain().String(); s != "10 features: 1 categories, 3 in steps, 5 derived, 1 fixed, scaled" {
		t.Errorf("it is %q", s)
	}
}

// What is no formula says where, and what there is.
func TestFormulaRefuses(t *testing.T) {
	base := Domain{{Name: "a", Lo: 0, Hi: 10, Step: 1}, {Name: "b", Lo: -1, Hi: 1}, {Name: "c", OneHot: 3}, {Name: "mean x", Lo: 1, Hi: 2},
		{Name: "twice", Lo: 0, Hi: 1}, {Name: "twice", Lo: 0, Hi: 1}}
	for _, c := range []struct {
		f    Feature
		want string
	}{
		{Feature{Formula: "a +"}, "a number, a feature, a function or a parenthesis is expected at character 4"},
		{Feature{Formula: "a b"}, `an operator, or the end, is expected at character 3, "b"`},
		{Feature{Formula: "(a"}, "a closing parenthesis is missing"},
		{Feature{Formula: "q + 1"}, `there is no feature "q"`},
		{Feature{Formula: "log(a)"}, `there is no function "log": there are abs, ceil`},
		{Feature{Formula: "negative(a)"}, "there is no function"},
		{Feature{Formula: "twice"}, `there are two features "twice"`},
		{Feature{Formula: "c"}, `"c" is a category: write c[0]`},
		{Feature{Formula: "c[3]"}, `"c" has 3 categories, counted from 0`},
		{Feature{Formula: "a[0]"}, `"a" has 0 categories`},
		{Feature{Formula: "ratio(a)"}, "ratio takes 2 arguments, not 1"},
		{Feature{Formula: "round(a, b)"}, "the second argument of round is a number of digits"},
		{Feature{Formula: "'mean x"}, "a closing ' is missing"},
		{Feature{Formula: "1e999"}, "is no number"},
		{Feature{Formula: "1 / a"}, "divides by what may be 0, it is from 0 to 10"},
		{Feature{Formula: "ratio(1, b)"}, "divides by what may be as small as one likes, it is from -1 to 1"},
		{Feature{Formula: "a * 1e38"}, "may be as large as 1e+39, which float32 does not hold"},
		{Feature{Formula: strings.Repeat("(", 200) + "a"}, "nested more than 100 deep"},
		{Feature{Formula: "f + 1"}, `the formulas of its features "f" need each other`},
		{Feature{Formula: "a", Step: 1}, "leave out its Step, OneHot, Scale and Change"},
		{Feature{Formula: "a", OneHot: 2}, "leave out its Step, OneHot, Scale and Change"},
		{Feature{Formula: "a", Scale: 3}, "leave out its Step, OneHot, Scale and Change"},
		{Feature{Formula: "a", Change: RiseOnly}, "leave out its Step, OneHot, Scale and Change"},
	} {
		c.f.Name = "f"
		_, err := append(slices.Clone(base), c.f).layout(Box{}, []int{8 + max(1, c.f.OneHot)})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), `"f"`) {
			t.Errorf("%q: error %v does not say %q", c.f.Formula, err, c.want)
		}
	}
}

// randomFormula writes a formula of the features a (whole, 0 to 10), b (−1 to 1), m (1 to 2) and the category c.
func randomFormula(r *rand.Rand, depth int) string {
	part := func() string { return randomFormula(r, depth-1) }
	if depth == 0 || r.IntN(6) == 0 {
		return []string{"a", "b", "'mean x'", "c[1]", "0", "0.1", "3", "1e-2"}[r.IntN(8)]
	}
	switch r.IntN(12) {
	case 0:
		return part() + " + " + part()
	case 1:
		return "(" + part() + " - " + part() + ")"
	case 2:
		return "(" + part() + ")*(" + part() + ")"
	case 3:
		return part() + "/(2 + abs(" + part() + "))"
	case 4:
		return "ratio(" + part() + ", floor(" + part() + "))"
	case 5:
		return "-" + part()
	case 6:
		return "min(" + part() + ", " + part() + ", " + part() + ")"
	case 7:
		return "max(" + part() + ", " + part() + ")"
	case 8:
		return "round(" + part() + ", 2)"
	case 9:
		return "ceil(" + part() + ")"
	case 10:
		return "if(" + part() + " " + []string{"<", "<=", ">", ">=", "==",
			"!="}[r.IntN(6)] + " " + part() + ", " + part() + ", " + part() + ")"
	}
	return "round(" + part() + ")"
}

// Random formulas are finite and within their bounds wherever the ranges of features let them be, and the graph
// computes what the host does.
func TestRandomFormulas(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	const formulas, n = 40, 64
	d := Domain{{Name: "a", Lo: 0, Hi: 10, Step: 1}, {Name: "b", Lo: -1, Hi: 1}, {Name: "c", OneHot: 3}, {Name: "mean x", Lo: 1, Hi: 2}}
	for len(d) < 4+formulas {
		f := Feature{Name: fmt.Sprintf("f%d", len(d)), Formula: randomFormula(r, 4)}
		if _, err := append(slices.Clone(d), f).layout(Box{}, []int{len(d) + 3}); err == nil {
			d = append(d, f)
		} else if !strings.Contains(err.Error(), "float32 does not hold") && !strings.Contains(err.Error(), "as small as one likes") {
			t.Fatalf("%q: %v", f.Formula, err)
		}
	}
	size := d.Coordinates()
	c, err := NewClassifier(Spec{Name: "random", Input: []int{size}, Domain: d,
		Logits: func(_ *model.Scope, x *Node) *Node { return Slice(x, AxisRange(), AxisRange(0, 2)) }})
	if err != nil {
		t.Fatal(err)
	}
	l := c.space.layout
	var flat []float32
	for range n {
		x := make([]float32, size)
		x[0], x[1], x[5] = float32(r.IntN(11)), float32(2*r.Float64()-1), float32(1+r.Float64())
		x[2+r.IntN(3)] = 1
		flat = append(flat, x...)
	}
	step := Count(c).Compile("derive", func(_ *Model, in []*Node) []*Node { return []*Node{l.deriveNode(in[0])} })
	out, err := step.Run(n, tensors.FromFlatDataAndDimensions(slices.Clone(flat), n, size))
	if err != nil {
		t.Fatal(err)
	}
	graph := tensors.MustCopyFlatData[float32](out[0])
	different := 0
	for i := range n {
		x := flat[i*size : (i+1)*size]
		l.derive(x)
		for k, f := range l.features {
			if f.Formula == "" {
				continue
			}
			j := l.first[k]
			if v := float64(x[j]); !(v >= f.Lo-1e-6*math.Abs(f.Lo) && v <= f.Hi+1e-6*math.Abs(f.Hi)) {
				t.Errorf("%q is %g, outside of its bounds [%g, %g]", f.Formula, v, f.Lo, f.Hi)
			}
			if g := graph[i*size+j]; g != x[j] {
				different++
				t.Logf("%q: %g in the graph, %g on the host", f.Formula, g, x[j])
			}
		}
	}
	// XLA may fuse a product with a sum, which rounds once instead of twice: in float64, which seldom shows in float32.
	if different > n*formulas/200 {
		t.Errorf("%d of %d values differ", different, n*formulas)
	}
}

// Whatever a formula says, it is read or refused.
func FuzzFormula(f *testing.F) {
	for _, text := range []string{"a + b*2", "ratio(a, 3)", "round('mean x', 2)", "if(a < b, c[1], -1)", "((", "1e", "a[", "'",
		"min(a,b,)"} {
		f.Add(text)
	}
	d := Domain{{Name: "a", Lo: 0, Hi: 10, Step: 1}, {Name: "b", Lo: -1, Hi: 1}, {Name: "c", OneHot: 3}, {Name: "mean x", Lo: 1,
		Hi: 2}, {Name: "f"}}
	f.Fuzz(func(t *testing.T, text string) {
		own := slices.Clone(d)
		if own[4].Formula = text; text == "" {
			return
		}
		l, err := own.layout(Box{}, []int{7})
		if err != nil {
			return
		}
		for _, x := range [][]float32{{0, -1, 1, 0, 0, 1, 0}, {10, 1, 0, 1, 0, 2, 0}, {3, 0.5, 0, 0, 1, 1.5, 0}} {
			l.derive(x)
			if v := float64(x[6]); math.IsNaN(v) || math.IsInf(v, 0) {
				t.Fatalf("%q is %g for %v", text, v, x)
			}
		}
	})
}
