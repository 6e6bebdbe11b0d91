package show

import (
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/backend"
)

// planar is a classifier of two numbers: class 1 where x₁ + x₂ > 1, class 2 where x₁ > 0.8 and not that.
func planar(t *testing.T, inputs, classes int) *advlib.Classifier {
	t.Helper()
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	c, err := advlib.NewClassifier(advlib.Spec{Name: "planar <2>", Input: []int{inputs}, Box: advlib.UnitBox, Backend: b,
		Logits: func(_ *model.Scope, x *Node) *Node {
			sum, first := ReduceAndKeep(x, ReduceSum, 1), Slice(x, AxisRange(), AxisElem(0))
			columns := []*Node{ZerosLike(sum), AddScalar(sum, -1), MulScalar(AddScalar(first, -0.8), 1e-3)}
			for len(columns) < classes {
				columns = append(columns, AddScalar(MulScalar(sum, 1e-4), -1))
			}
			return Concatenate(columns[:classes], 1)
		}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDecisionMap(t *testing.T) {
	e, err := advlib.NewExamples("points & more", []float32{0.2, 0.3, 0.9, 0.05, 0.7, 0.8, 0.5, 0.45}, []int{2}, []int32{0, 2, 1, 1})
	if err != nil {
		t.Fatal(err)
	}
	p := must[Picture](t)(DecisionMap(planar(t, 2, 3), e,
		Mark{"certified by IBP", []float32{0.2, 0.3}, advlib.Linf.Ball(0.15)},
		Mark{"certified by IBP", []float32{0.9, 0.05}, advlib.Linf.Ball(0.05)},
		Mark{"L2", []float32{0.2, 0.3}, advlib.L2.Ball(0.25)},
		Mark{"L1 ball, cut by the box", []float32{0.7, 0.9}, advlib.L1.Ball(0.25)},
		Mark{"counterexample", []float32{0.5, 0.52}, advlib.Ball{}},
	))
	goldenPicture(t, "decisionmap", p)
	goldenText(t, "decisionmap.txt", p.String())
	noNetwork(t, p.SVG())
	wellFormed(t, p.SVG())
	// Class 2 is the triangle x₁ > 0.8, x₁ + x₂ ≤ 1 of area 0.02; on the diagonal of the grid, 1/240 of it, the first
	// class wins.
	for _, want := range []string{"48.2 %", "49.8 %", "2.0 %"} {
		if !strings.Contains(p.String(), want) {
			t.Errorf("no class has %s of the box:\n%s", want, p)
		}
	}
	if _, err := DecisionMap(planar(t, 2, 3), nil); err != nil {
		t.Errorf("without examples: %v", err)
	}
}

func TestDecisionMapRefuses(t *testing.T) {
	good := planar(t, 2, 3)
	images, err := advlib.NewExamples("images", make([]float32, 3), []int{3}, []int32{0})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		c    *advlib.Classifier
		e    *advlib.Examples
		mark Mark
		want string
	}{
		{"nil", nil, nil, Mark{At: []float32{0, 0}}, "nil"},
		{"three inputs", planar(t, 3, 3), nil, Mark{At: []float32{0, 0}}, "inputs of shape [3]: a map is of inputs of two numbers"},
		{"seven classes", planar(t, 2, 7), nil, Mark{At: []float32{0, 0}}, "7 classes"},
		{"other examples", good, images, Mark{At: []float32{0, 0}}, "the inputs have shape [1 3]"},
		{"a mark without place", good, nil, Mark{Name: "x", At: []float32{0}}, `mark 0, "x", has 1 coordinates`},
		{"pixels", good, nil, Mark{Name: "x", At: []float32{0, 0}, Ball: advlib.L0.Ball(1)}, "a ball in L0 has no outline"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := DecisionMap(test.c, test.e, test.mark); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v, want one with %q", err, test.want)
			}
		})
	}
}
