package certify_test

import (
	"math/rand/v2"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/layers/activation"

	"advlab/advlib"
	"advlab/advlib/certify"
)

// mutationModels are models on which a missing rounding error of one operation shows: no other one rounds much.
var mutationModels = []testModel{
	{"adds", []int{5}, advlib.Box{Lo: -1, Hi: 1}, func(x *Node) *Node {
		return Slice(Add(AddScalar(x, 0.3), Reverse(x, 1)), AxisRange(), AxisRange(0, 3))
	}},
	{"multiplies", []int{5}, advlib.Box{Lo: -1, Hi: 1}, func(x *Node) *Node { return Dot(x, weights(x, 1, 1, 5, 3)).Product() }},
	{"subtracts", []int{5}, advlib.Box{Lo: -1, Hi: 1}, func(x *Node) *Node {
		return dense(Tanh(Sub(weights(x, 3, 1, 1, 5), x)), 1, 3)
	}},
	{"exponentiates", []int{3}, advlib.Box{Lo: -1, Hi: 1}, Exp},
	{"convolves", []int{2, 2, 1}, advlib.Box{Lo: -1, Hi: 1}, func(x *Node) *Node {
		h := flat(Convolve(x, values(x, []int{2, 2, 1, 1}, 1, -2, 0.5, 3)).NoPadding().Done())
		return Concatenate([]*Node{Tanh(h), h}, 1)
	}},
	{"bends", []int{2}, advlib.Box{Lo: -1, Hi: 1}, func(x *Node) *Node {
		return activation.Relu(Dot(x, values(x, []int{2, 2}, 1, 1, 1, -1)).Product())
	}},
	{"divides", []int{4}, advlib.Box{Lo: -1, Hi: 1}, func(x *Node) *Node {
		return Div(Slice(x, AxisRange(), AxisRange(0, 2)), AddScalar(Slice(x, AxisRange(), AxisRange(2, 4)), 1.5))
	}},
	{"softens", []int{3}, advlib.Box{Lo: -1, Hi: 1}, func(x *Node) *Node { return MulScalar(Softmax(MulScalar(x, 2), -1), 5) }},
	{"masks", []int{3}, advlib.Box{Lo: -1, Hi: 1}, func(x *Node) *Node {
		mask := BroadcastToDims(Const(x.Graph(), [][]bool{{true, false, true}}), x.Shape().Dimensions...)
		return Where(mask, x, MulScalar(OnesLike(x), 0.3))
	}},
}

// The tests are tested: each of these mistakes in the rules lets some output out of its bounds, by any amount, on the
// examples of TestOperations; without a mistake none does.
func TestMutants(t *testing.T) {
	b := backends(t)["Go Backend"]
	models := map[string]testModel{}
	for _, group := range [][]testModel{testModels, operationModels, mutationModels} {
		for _, m := range group {
			models[m.name] = m
		}
	}
	violations := func(m testModel) (count int) {
		c := m.classifier(t, b)
		e := m.examples(t, c, 4)
		r := rand.New(rand.NewPCG(5, 6))
		for _, ball := range []advlib.Ball{advlib.BallOf(advlib.Linf, 0), advlib.BallOf(advlib.Linf, 0.05*m.box.Width()), advlib.BallOf(advlib.Linf, 0.2*m.box.Width())} {
			z := sample(t, c, e, ball, 300, r)
			for _, method := range []certify.Method{certify.IBP, certify.CROWNIBP, certify.CROWN} {
				lower, upper, err := certify.Bounds(ctx, c, e, ball, method)
				if err != nil {
					t.Fatal(err)
				}
				for _, point := range z {
					for i, row := range point {
						for k, v := range row {
							if !(lower[i][k] <= float64(v) && float64(v) <= upper[i][k]) {
								count++
							}
						}
					}
				}
			}
			if count > 0 {
				return count
			}
		}
		return count
	}
	sane := map[string]bool{}
	for _, mutant := range certify.Mutants {
		m, ok := models[mutant.Model]
		if !ok {
			t.Fatalf("%s: there is no model %q", mutant.Name, mutant.Model)
		}
		if !sane[m.name] {
			if n := violations(m); n > 0 {
				t.Errorf("%s: %d outputs are outside of their bounds without any mutant", m.name, n)
			}
			sane[m.name] = true
		}
		restore := mutant.Plant()
		n := violations(m)
		restore()
		t.Logf("%s, on %s: %d outputs outside", mutant.Name, m.name, n)
		if n == 0 {
			t.Errorf("nothing shows that %s, on the model %q", mutant.Name, m.name)
		}
	}
	if n := len(certify.Mutants); n < 20 {
		t.Errorf("there are %d mutants, the issue asks for 20", n)
	}
}
