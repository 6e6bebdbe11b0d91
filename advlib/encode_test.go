package advlib

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
)

// mixed has a feature of every kind, in 12 coordinates.
var mixed = Domain{
	{Name: "income", Lo: -2, Hi: 30.3, Scale: 4},
	{Name: "visits", Lo: 0, Hi: 9, Step: 1, Scale: 3},
	{Name: "colour", OneHot: 3, Scale: 2},
	{Name: "age", Lo: 18, Hi: 90, Step: 1, Change: Fixed},
	{Name: "grade", Lo: 1, Hi: 6, Step: 0.1, Scale: 0.1, Change: RiseOnly},
	{Name: "town", OneHot: 2, Change: Fixed},
	{Name: "debt", Lo: 0, Hi: 1, Change: FallOnly},
	{Name: "shape", OneHot: 2},
}

const mixedSize = 12

// mixedClassifier has three classes, linear in the coordinates.
func mixedClassifier(t testing.TB, shape ...int) *Classifier {
	t.Helper()
	c, err := NewClassifier(Spec{Name: "mixed", Input: shape, Domain: mixed, Logits: func(_ *model.Scope, x *Node) *Node {
		w := make([][]float32, mixedSize)
		r := rand.New(rand.NewPCG(5, 9))
		for j := range w {
			w[j] = []float32{float32(r.NormFloat64()), float32(r.NormFloat64()), float32(r.NormFloat64())}
		}
		return Dot(Reshape(x, x.Shape().Dimensions[0], -1), Const(x.Graph(), w)).Product()
	}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// admissible draws an input of the classifier's domain.
func admissible(c *Classifier, r *rand.Rand) []float32 {
	x := make([]float32, mixedSize)
	limits := c.space.layout.limits()
	for j := range x {
		box := limits.RangeOf(j)
		x[j] = float32(box.Lo + r.Float64()*box.Width())
		if r.IntN(3) == 0 { // at an end
			x[j] = float32([]float64{box.Lo, box.Hi}[r.IntN(2)])
		}
	}
	c.space.layout.round(x)
	return x
}

// rows are encoded points within the limits around drawn originals, some of them in part where they started.
func rows(t testing.TB, c *Classifier, n int, seed uint64) (x, u0, u [][]float32) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	e, limits := encoding{c.space.layout}, c.View().Limits()
	for range n {
		one := admissible(c, r)
		if err := c.space.layout.check(one); err != nil {
			t.Fatal(err)
		}
		from := tensors.MustCopyFlatData[float32](e.encode(tensors.FromFlatDataAndDimensions(slices.Clone(one),
			append([]int{1}, c.Input()...)...)))
		to := slices.Clone(from)
		for j := range to {
			switch box := limits.Range(j, from[j]); r.IntN(4) {
			case 0:
			case 1:
				to[j] = float32(box.Hi)
			default:
				to[j] = limits.Clamp(j, box.Lo+1.2*(r.Float64()-0.1)*box.Width(), from[j])
			}
		}
		x, u0, u = append(x, one), append(u0, from), append(u, to)
	}
	return x, u0, u
}

// What a point stands for, by the model's graph and by what Run returns, is admissible, the same, and not farther from
// the original than the point; the original stands for itself, bit for bit.
func TestDecode(t *testing.T) {
	for _, shape := range [][]int{{mixedSize}, {3, 4}, {2, 2, 3}} {
		c := mixedClassifier(t, shape...)
		e := encoding{c.space.layout}
		step := Count(c.View()).Compile("decode", func(_ *Model, in []*Node) []*Node { return []*Node{e.decode(in[0])} })
		const n = 512
		x, u0, u := rows(t, c, n, 1)
		for name, points := range map[string][][]float32{"the originals": u0, "points": u} {
			out, err := step.Run(n, tensors.FromFlatDataAndDimensions(slices.Concat(points...), append([]int{n}, e.shape()...)...))
			if err != nil {
				t.Fatal(err)
			}
			if got := out[0].Shape().Dimensions[1:]; !slices.Equal(got, shape) {
				t.Fatalf("decoded to shape %v, not %v", got, shape)
			}
			graph := tensors.MustCopyFlatData[float32](out[0])
			for i := range n {
				y := e.settle(points[i], u0[i], x[i], Ball{Norm: L2, Radius: math.Inf(1)})
				if err := c.space.layout.check(y); err != nil {
					t.Fatalf("%s: row %d: %v", name, i, err)
				}
				if name == "the originals" && !slices.Equal(y, x[i]) {
					t.Fatalf("the original %v stands for %v", x[i], y)
				}
				for k, f := range mixed {
					for j := c.space.layout.first[k]; j < c.space.layout.first[k]+f.coordinates(); j++ {
						inGraph := float64(graph[i*mixedSize+j])
						if exact := f.Step == 1 || f.OneHot > 0; exact && inGraph != float64(y[j]) || math.Abs(inGraph-float64(y[j])) > 1e-5 {
							t.Errorf("%s: row %d, %s: %g in the graph, %g is returned (from %g, by %g)", name, i, c.space.layout.name(k), inGraph,
								y[j], x[i][j], points[i][j]-u0[i][j])
						}
						if f.Change == Fixed && y[j] != x[i][j] || f.Change == RiseOnly && y[j] < x[i][j] || f.Change == FallOnly && y[j] > x[i][j] {
							t.Errorf("%s: row %d, %s went from %g to %g", name, i, c.space.layout.name(k), x[i][j], y[j])
						}
					}
				}
				for _, norm := range []Norm{L0, L1, L2, Linf} {
					if d, bound := c.Distance(norm, y, x[i]), norm.Distance(points[i], u0[i]); d > bound*(1+2*levelSlack) {
						t.Errorf("%s: row %d: it stands for an input at %v distance %g, but is at %g", name, i, norm, d, bound)
					}
				}
			}
		}
	}
}

// A point inside a ball is returned as an input that is exactly inside, at radii that whole steps reach too.
func TestSettleInBall(t *testing.T) {
	c := mixedClassifier(t, mixedSize)
	e := encoding{c.space.layout}
	x, u0, u := rows(t, c, 2000, 2)
	r := rand.New(rand.NewPCG(3, 4))
	for _, norm := range []ConvexNorm{L1, L2, Linf} {
		moved := 0
		for i := range u {
			d := norm.Distance(u[i], u0[i])
			radius := []float64{d, d * 0.9997, d * r.Float64(), 0.5, 1, 1. / 3}[i%6]
			point := slices.Clone(u[i])
			if s := radius / d; s < 1 { // into the ball, and out again by rounding
				for j := range point {
					point[j] = u0[i][j] + float32(1.0000003*s)*(u[i][j]-u0[i][j])
				}
			}
			y, err := c.Settle(point, u0[i], x[i], Threat{Norm: norm, Radius: radius})
			if err != nil {
				t.Fatalf("%v, radius %g, row %d: %v", norm, radius, i, err)
			}
			if err := c.space.layout.check(y); err != nil {
				t.Fatalf("%v, radius %g, row %d: %v", norm, radius, i, err)
			}
			if at := c.Distance(norm, y, x[i]); at > radius {
				t.Errorf("%v, row %d: returned at %.17g, the radius is %.17g", norm, i, at, radius)
			} else if at > 0 {
				moved++
			}
		}
		if moved < len(u)/2 {
			t.Errorf("%v: only %d of %d points stand for another input: this tests little", norm, moved, len(u))
		}
	}
	// A step, and a change of category, of exactly the radius are inside.
	for radius, change := range map[float64]func(u []float32){
		1. / 3: func(u []float32) { u[1] += float32(1. / 3) }, // visits by 1, scale 3
		0.5:    func(u []float32) { u[2], u[3] = 0.5, 0.5 },   // colour
		1:      func(u []float32) { u[6]++ },                  // grade by 0.1, scale 0.1
	} {
		one := []float32{0, 4, 0, 0, 1, 30, 2, 1, 0, 1, 1, 0}
		from := tensors.MustCopyFlatData[float32](e.encode(tensors.FromFlatDataAndDimensions(slices.Clone(one), 1, mixedSize)))
		to := slices.Clone(from)
		change(to)
		y, err := c.Settle(to, from, one, Threat{Norm: Linf, Radius: radius})
		if err != nil || c.Distance(Linf, y, one) != radius {
			t.Errorf("radius %g: distance %g, error %v", radius, c.Distance(Linf, y, one), err)
		}
	}
}

// The gradient in the attack's coordinates is that of the line through the steps: scale times the model's; of a
// category, its own minus that of the one that the point stands for; of that one, minus the mean of those that have
// risen too, else the original's.
func TestGradientOfDomain(t *testing.T) {
	c := mixedClassifier(t, mixedSize)
	view := c.View()
	gradient := func(c *Classifier, in [][]float32) []float32 {
		step := Count(c).Compile("gradient", func(m *Model, in []*Node) []*Node {
			return []*Node{m.Gradient(Slice(m.Logits(in[0]), AxisRange(), AxisElem(1)), in[0])}
		})
		out, err := step.Run(len(in), tensors.FromFlatDataAndDimensions(slices.Concat(in...), append([]int{len(in)}, c.Input()...)...))
		if err != nil {
			t.Fatal(err)
		}
		return tensors.MustCopyFlatData[float32](out[0])
	}
	x, _, u := rows(t, c, 64, 7)
	free := MustClassifier(Spec{Name: "no domain", Input: []int{mixedSize}, Box: Box{-100, 100}, Logits: c.spec.Logits})
	plain, encoded := gradient(free, x), gradient(view, u)
	rivalries := 0
	for i := range u {
		g, w := encoded[i*2*mixedSize:], plain[i*mixedSize:]
		for k, f := range mixed {
			first := c.space.layout.first[k]
			original, chosen := 0, 0
			var risen []int
			if f.OneHot > 0 {
				original = slices.Index(x[i][first:], 1)
				chosen = original
				for j := range f.OneHot {
					if j == original || float64(u[i][first+j])*f.scale() < 1-levelSlack {
						continue
					}
					if chosen == original || u[i][first+j] > u[i][first+chosen] {
						chosen = j
					}
					risen = append(risen, j)
				}
			}
			for j := range f.coordinates() {
				at := first + j
				want := float64(w[at]) * f.scale()
				switch {
				case f.OneHot == 0:
				case j == original:
					want = 0
				case j != chosen:
					want = float64(w[at]-w[first+chosen]) * f.scale()
				case len(risen) < 2:
					want = float64(w[at]-w[first+original]) * f.scale()
				default:
					rivalries++
					mean := 0.
					for _, r := range risen {
						if r != chosen {
							mean += float64(w[first+r]) / float64(len(risen)-1)
						}
					}
					want = (float64(w[at]) - mean) * f.scale()
				}
				if f.Change == Fixed {
					want = 0
				}
				if math.Abs(float64(g[at])-want) > 1e-5*(1+math.Abs(want)) {
					t.Fatalf("row %d, %s, coordinate %d: gradient %g, want %g", i, c.space.layout.name(k), j, g[at], want)
				}
				if g[mixedSize+at] != 0 {
					t.Fatalf("row %d: the gradient by the original's coordinate %d is %g", i, at, g[mixedSize+at])
				}
			}
		}
	}
	if rivalries == 0 {
		t.Error("in no row had two categories risen")
	}
}

// wander is an attack that moves coordinates of what it is given.
type wander struct {
	threat Threat
	move   func(u []float32)
}

func (w wander) String() string                { return "wander" }
func (w wander) Threat(Victim) (Threat, error) { return w.threat, nil }
func (w wander) Perturb(_ context.Context, v *Counted, b Batch) (*tensors.Tensor, error) {
	u := tensors.MustCopyFlatData[float32](b.X)
	size := len(u) / b.Len()
	for i := range b.Len() {
		w.move(u[i*size : (i+1)*size])
	}
	return tensors.FromFlatDataAndDimensions(u, b.X.Shape().Dimensions...), nil
}

// Run refuses what leaves the domain by more than rounding, with the feature's name, and measures in its scales.
func TestRunInDomain(t *testing.T) {
	c := mixedClassifier(t, mixedSize)
	one := []float32{0, 4, 0, 0, 1, 30, 2, 1, 0, 1, 1, 0}
	e, err := NewExamples("one", one, []int{mixedSize}, []int32{0})
	if err != nil {
		t.Fatal(err)
	}
	z, err := c.Logits(e.X)
	if err != nil {
		t.Fatal(err)
	}
	e.Y[0] = argmax(z[0])
	minimal := Threat{Norm: L1, Radius: math.Inf(1)}
	for want, move := range map[string]func(u []float32){
		`feature 3, "age"`:   func(u []float32) { u[5]++ },
		`feature 4, "grade"`: func(u []float32) { u[6]-- },
		`feature 0, "income"`: func(u []float32) {
			u[0] += 100
		},
		`feature 2, "colour"`: func(u []float32) { u[mixedSize+3] = 1 },
	} {
		if _, err := Run(context.Background(), c, e, wander{minimal, move}); err == nil || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), "mistake in the attack") {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
	// Far enough in every direction, some class changes; the result is measured by features.
	res, err := Run(context.Background(), c, e, wander{minimal, func(u []float32) { u[0], u[1], u[3], u[11] = 8, 3, 0.5, 1 }})
	if err != nil {
		t.Fatal(err)
	}
	adv := tensors.MustCopyFlatData[float32](res.Adversarial)
	if want := []float32{30, 9, 0, 1, 0, 30, 2, 1, 0, 1, 0, 1}; !res.Success[0] || !slices.Equal(adv, want) {
		t.Fatalf("success %v: %v, want %v", res.Success, adv, want)
	}
	if want := 30./4 + 5./3 + 1./2 + 1; math.Abs(res.Distance[0]-want) > 1e-6 {
		t.Errorf("distance %g, want %g", res.Distance[0], want)
	}
	if d := c.Distance(L0, adv, one); d != 4 {
		t.Errorf("%g features changed, want 4", d)
	}
	// Bypassing Run is an error, not another set.
	step := Count(c).Compile("clip", func(_ *Model, in []*Node) []*Node { return []*Node{c.Limits().Clip(in[0], in[0])} })
	if _, err := step.Run(1, e.X); err == nil || !strings.Contains(err.Error(), "advlib.Run") {
		t.Errorf("attacked outside of Run: error %v", err)
	}
}

// What makes no domain is refused with the feature's name, and so are originals that are not in it.
func TestDomainRefuses(t *testing.T) {
	two := Feature{Name: "b", Lo: 0, Hi: 1}
	for _, d := range []struct {
		domain Domain
		box    Box
		want   string
	}{
		{Domain{two}, Box{}, "1 coordinates (1 features), its inputs [2] have 2"},
		{Domain{two, {Name: "a"}}, Box{}, `feature 1, "a", of its domain has no range`},
		{Domain{two, {Name: "a", Lo: 2, Hi: 1}}, Box{}, `"a", of its domain has the range [2, 1]`},
		{Domain{two, {Name: "a", Lo: 0, Hi: math.NaN()}}, Box{}, "not finite"},
		{Domain{two, {Name: "a", Lo: 0, Hi: 2}}, UnitBox, "outside of its box [0, 1]"},
		{Domain{two, {Name: "a", Lo: 0, Hi: 1, Step: 0.3}}, Box{}, "whole steps"},
		{Domain{two, {Name: "a", Lo: 0, Hi: 1, Step: -1}}, Box{}, "Step -1"},
		{Domain{two, {Name: "a", Lo: 0, Hi: 1, Scale: -1}}, Box{}, "Scale -1"},
		{Domain{two, {Name: "a", Lo: 0, Hi: 1, Change: 9}}, Box{}, "Change 9"},
		{Domain{{Name: "a", OneHot: 2, Step: 1}}, Box{}, "leave Lo, Hi and Step out"},
		{Domain{{Name: "a", OneHot: 2, Change: RiseOnly}}, Box{}, "can neither rise nor fall"},
		{Domain{{Name: "a", OneHot: 1}, two}, Box{}, "category of 1 coordinates"},
		{Domain{{Name: "a", OneHot: 2, Change: Fixed}}, Box{}, "all 1 features of its domain are fixed"},
	} {
		_, err := NewClassifier(Spec{Name: "c", Input: []int{2}, Box: d.box, Domain: d.domain,
			Logits: func(_ *model.Scope, x *Node) *Node { return x }})
		if err == nil || !strings.Contains(err.Error(), d.want) {
			t.Errorf("%+v: error %v does not say %q", d.domain, err, d.want)
		}
	}
	c := mixedClassifier(t, mixedSize)
	for want, change := range map[string]func(x []float32){
		`feature 0, "income", is 31`:                           func(x []float32) { x[0] = 31 },
		`feature 1, "visits", is 4.5, which is not one of`:     func(x []float32) { x[1] = 4.5 },
		`feature 2, "colour", is a category, but 2 of its 3`:   func(x []float32) { x[2] = 1 },
		`feature 2, "colour", is a category, but its coord`:    func(x []float32) { x[2] = 0.5 },
		`is NaN at position 7, feature 5, "town"`:              func(x []float32) { x[7] = float32(math.NaN()) },
		`feature 4, "grade", is 2.05, which is not one of its`: func(x []float32) { x[6] = 2.05 },
	} {
		x := []float32{0, 4, 0, 0, 1, 30, 2, 1, 0, 1, 1, 0}
		change(x)
		e, err := NewExamples("one", x, []int{mixedSize}, []int32{0})
		if err != nil {
			t.Fatal(err)
		}
		if err := must(subjectOf(c)).check(e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %s", err, want)
		}
	}
}

func TestFitTo(t *testing.T) {
	e, err := NewExamples("data", []float32{0.5, 1, 3, 0, 1, 7, -1.5, 4, 3, 1, 0, 7}, []int{6}, []int32{0, 1})
	if err != nil {
		t.Fatal(err)
	}
	d, err := Domain{{Name: "a"}, {Name: "b", Step: 2}, {Name: "constant"}, {OneHot: 2}, {Lo: 0, Hi: 10, Scale: 3}}.FitTo(e)
	if err != nil {
		t.Fatal(err)
	}
	want := Domain{{Name: "a", Lo: -1.5, Hi: 0.5, Scale: 2}, {Name: "b", Lo: 0, Hi: 4, Step: 2, Scale: 4},
		{Name: "constant", Lo: 3, Hi: 4, Change: Fixed, Scale: 1}, {OneHot: 2}, {Lo: 0, Hi: 10, Scale: 3}}
	if !slices.Equal(d, want) {
		t.Errorf("%+v, want %+v", d, want)
	}
	if got, want := d.String(), "5 features: 1 categories, 1 in steps, 1 fixed, scaled"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
