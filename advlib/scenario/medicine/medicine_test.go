package medicine

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/backend"
	"advlab/advlib/dataset"
	"advlab/advlib/training"
	"advlab/advlib/zoo"
)

// linear tells the sick by the sum of two numbers: class 1 where it is above 1.
func linear(t *testing.T) *advlib.Classifier {
	t.Helper()
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	return advlib.MustClassifier(advlib.Spec{
		Name: "sum", Input: []int{2}, Box: advlib.UnitBox, Backend: b, Classes: []string{"healthy", "sick"},
		Logits: func(_ *model.Scope, x *graph.Node) *graph.Node {
			z := graph.AddScalar(graph.ReduceSum(x, 1), -1)
			return graph.Stack([]*graph.Node{graph.ZerosLike(z), z}, 1)
		},
	})
}

// Of a linear model it is known who is missed: noise of ε in Linf lowers the sum by 2ε, in L2 by √2·ε.
func TestSensitivityByHand(t *testing.T) {
	x := []float32{0.2, 0.2, 0.7, 0.5, 0.55, 0.5, 0.6, 0.6, 0.9, 0.8, 0.3, 0.5}
	e, err := advlib.NewExamples("sums", x, []int{2}, []int32{0, 0, 1, 1, 1, 1}) // 0.4, 1.2 | 1.05, 1.2, 1.7, 0.8
	if err != nil {
		t.Fatal(err)
	}
	threat := Threat{Balls: []advlib.Ball{advlib.Linf.Ball(0.05), advlib.Linf.Ball(0.15), advlib.L2.Ball(0.1)}}
	r, err := threat.Measure(t.Context(), advlib.Settings{}, linear(t), e)
	if err != nil {
		t.Fatal(err)
	}
	if r.Specificity != (advlib.Rate{Count: 1, Of: 2}) || r.Sensitivity != (advlib.Rate{Count: 3, Of: 4}) {
		t.Errorf("without noise: %v and %v", r.Specificity, r.Sensitivity)
	}
	for i, want := range []int{2, 1, 2} {
		if row := r.Rows[i]; row.Sensitivity != (advlib.Rate{Count: want, Of: 4}) || row.Accuracy != (advlib.Rate{Count: want + 1, Of: 6}) {
			t.Errorf("%s: %v and %v, want %d of 4", row.Ball, row.Sensitivity, row.Accuracy, want)
		}
	}
	if s := r.String(); !strings.Contains(s, "specificity 50.0 %") || strings.Count(s, "\n") != 6 {
		t.Errorf("the table:\n%s", s)
	}
	for want, bad := range map[string]Threat{"class 2": {Healthy: 2, Balls: threat.Balls}, "no ball": {}} {
		if _, err := bad.Measure(t.Context(), advlib.Settings{}, linear(t), e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	_, err = threat.Measure(t.Context(), advlib.Settings{}, linear(t), e.First(2))
	if err == nil || !strings.Contains(err.Error(), "0 sick") {
		t.Errorf("nobody is sick: %v", err)
	}
}

// The table of breast cancer: a small change of each number, in shares of its range, and most of the sick are missed.
func TestTable(t *testing.T) {
	train, test := dataset.BreastCancer()
	m := zoo.MLP(20)
	m.Domain = dataset.BreastCancerDomain()
	m.Build = standardised(m.Build, train)
	c := m.MustFit(t.Context(), train)
	threat := Threat{Healthy: 1, Balls: []advlib.Ball{advlib.Linf.Ball(0.02), advlib.Linf.Ball(0.1), advlib.L2.Ball(0.1)}}
	r, err := threat.Measure(t.Context(), advlib.Settings{}, c, test)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v", r)
	if r.Sensitivity.Value() < 0.9 || r.Specificity.Value() < 0.93 {
		t.Errorf("without noise: %v and %v", r.Sensitivity, r.Specificity)
	}
	if r.Rows[1].Sensitivity.Value() > 0.2 || r.Rows[0].Sensitivity.Value() > r.Sensitivity.Value() {
		t.Errorf("with noise: %+v", r.Rows)
	}
}

// standardised puts a model behind the mean and the deviation of each feature.
func standardised(build func(int) advlib.LogitsFn, e *advlib.Examples) func(int) advlib.LogitsFn {
	d, err := advlib.Domain(make([]advlib.Feature, e.Shape()[0])).FitTo(e)
	if err != nil {
		panic(err)
	}
	var lo, width []float32
	for _, f := range d {
		lo, width = append(lo, float32(f.Lo)), append(width, float32(math.Max(f.Hi-f.Lo, 1e-9)))
	}
	return func(classes int) advlib.LogitsFn {
		logits := build(classes)
		return func(scope *model.Scope, x *graph.Node) *graph.Node {
			unit := graph.Div(graph.Sub(x, graph.InsertAxes(graph.Const(x.Graph(), lo), 0)), graph.InsertAxes(graph.Const(x.Graph(), width), 0))
			return logits(scope, graph.MulScalar(unit, 4))
		}
	}
}

// On chest X-rays of children, from the folder ADVLAB_DATA: accuracy as a logistic regression's or above, and what
// noise leaves of it.
func TestXRays(t *testing.T) {
	path := filepath.Join(os.Getenv("ADVLAB_DATA"), "pneumoniamnist-cut.npz")
	if _, err := os.Stat(path); os.Getenv("ADVLAB_DATA") == "" || err != nil {
		t.Skipf("there is no %s: it is not part of the project; notebook 11 runs on drawn lesions", path)
	}
	train, val, test, err := dataset.MedMNIST(path)
	if err != nil {
		t.Fatal(err)
	}
	m := zoo.ContrastNormalised(zoo.CNN(16, 32))
	m.Epochs, m.Schedule, m.Validation = 12, training.Cosine{}, training.Validation{Examples: val}
	c := m.MustFit(t.Context(), train)
	balls := []advlib.Ball{}
	for _, ε := range []float64{1, 2, 4, 8} {
		balls = append(balls, advlib.Linf.Ball(ε/255))
	}
	if os.Getenv("ADVLAB_FULL") == "" {
		var rows []int
		for i := 0; i < test.Len(); i += 4 {
			rows = append(rows, i)
		}
		test = test.Select(rows)
	}
	report := advlib.Settings{Alone: true}.MustEvaluate(t.Context(), c, test, func() (all []advlib.Attack) {
		for _, b := range balls {
			all = append(all, attack.PGD{Ball: b, Loss: advlib.Margin})
		}
		return all
	}())
	t.Logf("clean %v %s", report.Clean(), report.Clean().Interval())
	for _, b := range balls {
		t.Logf("%v: accuracy %v", b, report.Robust(b))
	}
	found, err := Threat{Healthy: 0, Balls: balls}.Measure(t.Context(), advlib.Settings{}, c, test)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v", found)
	if report.Clean().Value() < 0.854 || report.Robust(balls[3]).Value() > 0.25 {
		t.Errorf("clean %v, want at least 0.854; at 8/255 %v, want at most 0.25", report.Clean(), report.Robust(balls[3]))
	}
}
