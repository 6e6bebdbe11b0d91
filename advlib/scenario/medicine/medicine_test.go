package medicine

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
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
	if s := r.String(); !strings.Contains(s, "specificity 50.0 %") || strings.Count(s, "\n") != 11 {
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

// In the domain of BreastCancer a patient whose numbers were changed still can be; without it about half of those
// cannot.
func TestPatientsCanBe(t *testing.T) {
	balls := []advlib.Ball{advlib.Linf.Ball(0.02), advlib.Linf.Ball(0.1), advlib.L2.Ball(0.1)}
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	train, test, domain := BreastCancer()
	plainTrain, plainTest := dataset.BreastCancer()
	for name, of := range map[string]struct {
		train, test *advlib.Examples
		domain      advlib.Domain
	}{"records": {train, test, domain}, "plain": {plainTrain, plainTest, dataset.BreastCancerDomain()}} {
		m := zoo.InDomain(zoo.MLP(20), of.domain)
		m.LearningRate, m.Backend = 0.01, b
		c := m.MustFit(t.Context(), of.train)
		impossible, attacked := 0, 0
		s := advlib.Settings{OnResult: func(r *advlib.Result) {
			x, width := tensors.MustCopyFlatData[float32](r.Adversarial), r.Examples.Shape()[0]
			for i := range r.Success {
				row := x[i*width : (i+1)*width]
				if r.Distance[i] > 0 && r.Success[i] {
					attacked++
					if slices.ContainsFunc([]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, func(k int) bool { return row[20+k] < row[k] }) {
						impossible++
					}
				}
			}
		}}
		r, err := Threat{Healthy: 1, Balls: balls}.Measure(t.Context(), s, c, of.test)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: of %d that were missed by noise %d cannot be\n%v", name, attacked, impossible, r)
		if clean := r.Accuracy.Value(); clean < 0.95 || r.Sensitivity.Value() < 0.9 || r.Specificity.Value() < 0.93 {
			t.Errorf("%s: without noise %v right, sensitivity %v, specificity %v", name, r.Accuracy, r.Sensitivity, r.Specificity)
		}
		if r.Rows[1].Sensitivity.Value() > 0.4 || r.Rows[0].Sensitivity.Value() > r.Sensitivity.Value() || attacked < 40 {
			t.Errorf("%s: with noise: %+v", name, r.Rows)
		}
		if name == "records" && impossible > 0 || name == "plain" && impossible < attacked/3 {
			t.Errorf("%s: of %d that were missed %d have a worst value below the mean", name, attacked, impossible)
		}
		if rows := r.Attacked.ChangeTable().Rows; len(rows) != 4 || rows[1][6] != "n/a" || rows[1][8] == "n/a" {
			t.Errorf("what was changed: %q", rows)
		}
	}
}

// The records are those of the table, but for rounding of the worst values, and are in their domain.
func TestBreastCancerRecords(t *testing.T) {
	train, test, domain := BreastCancer()
	plainTrain, plainTest := dataset.BreastCancer()
	for _, pair := range [][2]*advlib.Examples{{train, plainTrain}, {test, plainTest}} {
		again, err := domain.Recompute(pair[0])
		if err != nil || again.Hash() != pair[0].Hash() {
			t.Errorf("%s: recomputed they are others, or %v", pair[0].Name, err)
		}
		x, plain := tensors.MustCopyFlatData[float32](pair[0].X), tensors.MustCopyFlatData[float32](pair[1].X)
		for i := range pair[0].Len() {
			for j, want := range plain[i*30 : (i+1)*30] {
				if got := x[i*40+j]; math.Abs(float64(got-want)) > 1e-6*math.Abs(float64(want)) {
					t.Fatalf("row %d, %s: %g, in the table %g", i, domain[j].Name, got, want)
				}
			}
		}
	}
	if len(domain) != 40 || domain[20].Formula != "'mean radius' + 'worst radius, above the mean'" {
		t.Errorf("%d features, %+v", len(domain), domain[20])
	}
}

// lesionModel is the network for small gray images of this package's tests and of notebook 11.
func lesionModel(epochs int) training.Model {
	m := zoo.ContrastNormalised(zoo.CNN(16, 32))
	m.Epochs, m.LearningRate, m.Schedule = epochs, 0.002, training.Cosine{}
	return m
}

// accuracy is the share of examples that a model gets right.
func accuracy(t *testing.T, c *advlib.Classifier, e *advlib.Examples) advlib.Rate {
	t.Helper()
	z, err := c.Logits(e.X)
	if err != nil {
		t.Fatal(err)
	}
	r := advlib.Rate{Of: e.Len()}
	for i, row := range z {
		if slices.Index(row, slices.Max(row)) == int(e.Y[i]) {
			r.Count++
		}
	}
	return r
}

// Drawn lesions are told from healthy tissue by their form, not by pixels alone; small noise hides them.
func TestLesions(t *testing.T) {
	n, few := 2500, 60
	if os.Getenv("ADVLAB_FULL") != "" {
		n, few = 4000, 1000
	}
	train, test := dataset.Lesions(n, 1), dataset.Lesions(1000, 2)
	c := lesionModel(10).MustFit(t.Context(), train)
	linear := zoo.MLP()
	linear.Epochs = 10
	clean, raw := accuracy(t, c, test), accuracy(t, linear.MustFit(t.Context(), train), test)
	threat := Threat{Healthy: 0, Balls: []advlib.Ball{advlib.Linf.Ball(2. / 255), advlib.L2.Ball(0.25)}}
	r, err := threat.Measure(t.Context(), advlib.Settings{}, c, test.First(few))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v right, a linear model of the pixels %v\n%v", clean, raw, r)
	if clean.Value() < 0.90 || raw.Value() > clean.Value()-0.05 {
		t.Errorf("%v right, want at least 90 %%, and 5 points more than a linear model's %v", clean, raw)
	}
	for i, row := range r.Rows {
		if row.Sensitivity.Value() > r.Sensitivity.Value()-0.3 {
			t.Errorf("%v finds %v, without noise %v", threat.Balls[i], row.Sensitivity, r.Sensitivity)
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
