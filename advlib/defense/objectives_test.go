package defense_test

import (
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/dataset"
	"advlab/advlib/defense"
	"advlab/advlib/training"
	"advlab/advlib/zoo"
)

// objectives is testdata/objectives.json, which testdata/objectives.py wrote.
type objectives struct {
	Weights struct {
		W0, W1 [][]float32
		B0, B1 []float32
	}
	X, Adversarial [][]float32
	Y              []int32
	Objectives     map[string]struct {
		Loss      float64
		Gradients struct {
			W0, W1 [][]float64
			B0, B1 []float64
		}
	}
}

// TestObjectives compares losses and gradients with those of PyTorch, from the papers' formulas on fixed weights.
func TestObjectives(t *testing.T) {
	text, err := os.ReadFile("testdata/objectives.json")
	if err != nil {
		t.Fatal(err)
	}
	var o objectives
	if err := json.Unmarshal(text, &o); err != nil {
		t.Fatal(err)
	}
	build := func(int) advlib.LogitsFn {
		return func(scope *model.Scope, x *Node) *Node {
			w := func(name string, value any) *Node { return scope.VariableWithValue(name, value).NodeValue(x) }
			h := MaxScalar(Add(DotProduct(x, w("w0", o.Weights.W0)), InsertAxes(w("b0", o.Weights.B0), 0)), 0)
			return Add(DotProduct(h, w("w1", o.Weights.W1)), InsertAxes(w("b1", o.Weights.B1), 0))
		}
	}
	ball := advlib.Linf.Ball(0.2)
	madry := defense.AdversarialTraining{Ball: ball}
	e := &advlib.Examples{Name: "fixed", X: tensors.FromValue(o.X), Y: o.Y}
	for name, m := range map[string]training.Model{
		"CrossEntropy":  {Adversary: madry},
		"TRADES":        {Objective: defense.TRADES{Ball: ball}},
		"MART":          {Objective: defense.MART{Ball: ball}},
		"AWP":           {Objective: defense.AWP{}, Adversary: madry},
		"AWP on TRADES": {Objective: defense.AWP{Objective: defense.TRADES{Ball: ball}}},
		"AWP on MART":   {Objective: defense.AWP{Objective: defense.MART{Ball: ball}, Gamma: 0.05}},
	} {
		m.Build = build
		want, ok := o.Objectives[name]
		if !ok {
			t.Fatalf("there are no numbers for %s", name)
		}
		loss, by, err := m.Gradients(t.Context(), e, tensors.FromValue(o.Adversarial))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !near(loss, want.Loss) {
			t.Errorf("%s: loss %.8g, PyTorch's is %.8g", name, loss, want.Loss)
		}
		if len(by) != 4 {
			t.Errorf("%s: gradients by %d weights, want 4", name, len(by))
		}
		for path, rows := range map[string][][]float64{
			"/w0": want.Gradients.W0, "/w1": want.Gradients.W1, "/b0": {want.Gradients.B0}, "/b1": {want.Gradients.B1},
		} {
			var flat []float64
			for _, row := range rows {
				flat = append(flat, row...)
			}
			for i, g := range tensors.MustCopyFlatData[float32](by[path]) {
				if !near(float64(g), flat[i]) {
					t.Errorf("%s: slope %d by %s is %.8g, PyTorch's is %.8g", name, i, path, g, flat[i])
				}
			}
		}
	}
}

func near(got, want float64) bool { return math.Abs(got-want) <= 1e-5*max(1, math.Abs(want)) }

func TestObjectivesRefuse(t *testing.T) {
	train, _ := dataset.Digits()
	ball := advlib.Linf.Ball(0.1)
	for want, o := range map[string]training.Objective{
		"Beta = -1 is not":         defense.TRADES{Ball: ball, Beta: -1},
		"Lambda = NaN is not":      defense.MART{Ball: ball, Lambda: math.NaN()},
		"Gamma = +Inf is not":      defense.AWP{Gamma: math.Inf(1)},
		"the ball is unset":        defense.AWP{Objective: defense.TRADES{}},
		"Ascents = -2":             defense.MART{Ball: ball, Ascents: -2},
		"put AWP inside":           defense.AWP{Objective: training.Averaged{}},
		"WarmUp = 1 is not in (0,": defense.TRADES{Ball: ball, WarmUp: 1},
		"L2 ≤ 0.1 is not of Linf":  defense.Free{Ball: advlib.L2.Ball(0.1)},
		"Replays = -1":             defense.Free{Ball: ball, Replays: -1},
	} {
		m := zoo.MLP(4)
		m.Objective = o
		if _, err := m.Fit(t.Context(), train); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error %v, want one with %q", o, err, want)
		}
	}
	m := zoo.MLP(4)
	m.Adversary = defense.AdversarialTraining{Ball: ball}
	_, err := defense.TRADES{Ball: ball}.Fit(t.Context(), m, train)
	if err == nil || !strings.Contains(err.Error(), "leave one of the two out") {
		t.Errorf("a second adversary: %v", err)
	}
}
