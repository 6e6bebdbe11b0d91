package medicine

import (
	"errors"
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
	"advlab/advlib/internal/npz"
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

// pictureModel is the network for small gray images, as notebook 11 has it.
func pictureModel(epochs int, channels ...int) training.Model {
	m := zoo.ContrastNormalised(zoo.CNN(channels...))
	m.Epochs, m.LearningRate, m.Seed, m.Objective = epochs, 0.002, 1, training.Averaged{}
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
	c := pictureModel(10, 16, 32).MustFit(t.Context(), train)
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

// xrays trains on a file of MedMNIST as notebook 11 does, and says what is right without noise and under it, beside a
// logistic regression of the pixels on the same split. One test example in some is attacked.
func xrays(t *testing.T, path string, epochs, some int) (clean, logistic advlib.Rate, under []advlib.Rate) {
	t.Helper()
	train, val, test, err := dataset.MedMNIST(path)
	if err != nil {
		t.Fatal(err)
	}
	linear := zoo.MLP()
	logistic = accuracy(t, linear.MustFit(t.Context(), train), test)
	more, err := dataset.Jitter{Shift: 2, Gain: 0.2}.Draw(train, 3, 1)
	if err != nil {
		t.Fatal(err)
	}
	m := pictureModel(epochs, 16, 32, 64)
	m.Validation = training.Validation{Examples: val}
	c := m.MustFit(t.Context(), more)
	clean = accuracy(t, c, test)
	t.Logf("%d to train on, %d to test on: clean %v %s, logistic regression %v %s", train.Len(), test.Len(), clean, clean.Interval(), logistic,
		logistic.Interval())
	var rows []int
	for i := 0; i < test.Len(); i += some {
		rows = append(rows, i)
	}
	test = test.Select(rows)
	var balls []advlib.Ball
	var attacks []advlib.Attack
	for _, ε := range []float64{1, 2, 4, 8} {
		balls = append(balls, advlib.Linf.Ball(ε/255))
		attacks = append(attacks, attack.PGD{Ball: balls[len(balls)-1], Loss: advlib.Margin})
	}
	report := advlib.Settings{Alone: true}.MustEvaluate(t.Context(), c, test, attacks)
	for _, b := range balls {
		under = append(under, report.Robust(b))
		t.Logf("%v: accuracy %v %s of %d", b, report.Robust(b), report.Robust(b).Interval(), test.Len())
	}
	found, err := Threat{Healthy: 0, Balls: balls}.Measure(t.Context(), advlib.Settings{}, c, test)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v", found)
	return clean, logistic, under
}

// On chest X-rays of children, from the folder ADVLAB_DATA: accuracy as a logistic regression's of the principal
// components or above, and what noise leaves of it.
func TestXRays(t *testing.T) {
	path := filepath.Join(os.Getenv("ADVLAB_DATA"), "pneumoniamnist-cut.npz")
	if _, err := os.Stat(path); os.Getenv("ADVLAB_DATA") == "" || err != nil {
		t.Skipf("there is no %s: it is not part of the project; TestFileOfMedMNIST goes the same way", path)
	}
	some := 6
	if os.Getenv("ADVLAB_FULL") != "" {
		some = 1
	}
	clean, logistic, under := xrays(t, path, 8, some)
	if clean.Value() < 0.854 || clean.Value() < logistic.Value() || under[3].Value() > 0.25 {
		t.Errorf("clean %v, want at least 0.854 and %v; at 8/255 %v, want at most 0.25", clean, logistic, under[3])
	}
}

// A small file of MedMNIST's layout, with drawn lesions in it, goes the way of the real ones.
func TestFileOfMedMNIST(t *testing.T) {
	arrays := map[string]*tensors.Tensor{}
	for i, part := range []string{"train", "val", "test"} {
		e := dataset.Lesions([]int{600, 60, 120}[i], uint64(i))
		var pixels, labels []uint8
		for _, v := range tensors.MustCopyFlatData[float32](e.X) {
			pixels = append(pixels, uint8(math.Round(255*float64(v))))
		}
		for _, y := range e.Y {
			labels = append(labels, uint8(y))
		}
		arrays[part+"_images"] = tensors.FromFlatDataAndDimensions(pixels, e.Len(), 32, 32)
		arrays[part+"_labels"] = tensors.FromFlatDataAndDimensions(labels, e.Len(), 1)
	}
	path := filepath.Join(t.TempDir(), "pneumoniamnist-drawn.npz")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(npz.Write(f, arrays), f.Close()); err != nil {
		t.Fatal(err)
	}
	clean, logistic, under := xrays(t, path, 6, 4)
	if clean.Value() < logistic.Value()+0.05 || under[0].Value() >= clean.Value() || under[3].Value() > 0.25 {
		t.Errorf("clean %v, a logistic regression %v, under noise %v", clean, logistic, under)
	}
}
