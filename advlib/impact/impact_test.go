package impact

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/google/go-cmp/cmp"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/backend"
	"advlab/advlib/report"
)

var update = flag.Bool("update", false, "write the golden files of testdata anew")

// toy are ten answers by hand: five examples of each of two classes, one of each answered wrong.
func toy(costs table) []answer {
	var all []answer
	for i, p := range []float64{0.1, 0.2, 0.3, 0.4, 0.6, 0.9, 0.8, 0.7, 0.95, 0.3} {
		a := answer{truth: int32(i / 5), p: []float64{1 - p, p}}
		if p > 0.5 {
			a.class = 1
		}
		a.cost = costs.cost(a.truth, a.class)
		all = append(all, a)
	}
	return all
}

func near(t *testing.T, what string, got number, want float64) {
	t.Helper()
	if math.Abs(float64(got)-want) > 1e-12 {
		t.Errorf("%s is %.15g, by hand %.15g", what, float64(got), want)
	}
}

func TestToyByHand(t *testing.T) {
	costs, err := Costs{Pairs: []Pair{{"stop", "1", 10}}}.over([]string{"stop", "go"})
	if err != nil {
		t.Fatal(err)
	}
	s := sideOf(toy(costs), 2)
	if s.Accuracy != (report.Rate{Count: 8, Of: 10}) || s.PerClass[0] != (report.Rate{Count: 4, Of: 5}) ||
		!cmp.Equal(s.Confusion, [][]int{{4, 1}, {1, 4}}) {
		t.Errorf("%+v", s)
	}
	near(t, "the cost", s.Cost.Value, 1.1) // one mistake of 10 and one of 1
	near(t, "Brier", s.Trust.Brier.Value, 2*(.01+.04+.09+.16+.36+.01+.04+.09+.0025+.49)/10)
	near(t, "NLL", s.Trust.NLL.Value, -(2*math.Log(.9)+2*math.Log(.8)+2*math.Log(.7)+math.Log(.6)+math.Log(.4)+math.Log(.95)+math.Log(.3))/10)
	// Two at .6, one right; three at .7, two right; two at .8, two at .9 and one at .95, all right.
	near(t, "ECE", s.Trust.ECE.Value, (2*.1+3*(.7-2./3)+2*.2+2*.1+.05)/10)
	near(t, "the confidence when wrong", s.Trust.Wrong.Value, .65)
	if s.Trust.Confident != (report.Rate{Of: 2}) {
		t.Errorf("confident errors: %v", s.Trust.Confident)
	}
	for _, m := range []Mean{s.Cost, s.Trust.ECE, s.Trust.Brier, s.Trust.NLL, s.Trust.Wrong} {
		if !(m.Low <= m.High) || m.High < m.Value && m != s.Trust.ECE {
			t.Errorf("the interval %v", m)
		}
	}
}

// The ECE is what its definition says, computed another way, on random answers.
func TestECEIsDirect(t *testing.T) {
	for n := 1; n < 400; n += 37 {
		var all []answer
		for i := range n {
			p := math.Mod(float64(i)*0.61803398875+float64(n)*0.31, 1)
			all = append(all, answer{truth: int32(i * 7 % 3 % 2), class: int32(math.Round(p)), p: []float64{1 - p, p}})
		}
		var want float64
		for b := range Bins {
			lo, hi := float64(b)/Bins, float64(b+1)/Bins
			var right, sum, of float64
			for _, a := range all {
				if c := slices.Max(a.p); c > lo && c <= hi {
					of++
					sum += c
					if a.class == a.truth {
						right++
					}
				}
			}
			if of > 0 {
				want += math.Abs(right/of-sum/of) * of / float64(n)
			}
		}
		bins := binsOf(all)
		if got := ece(bins, n); math.Abs(got-want) > 1e-12 {
			t.Errorf("%d answers: %g, directly %g", n, got, want)
		}
		total := 0
		for _, b := range bins {
			total += b.Right.Of
		}
		if total != n {
			t.Errorf("%d of %d answers are in the bins", total, n)
		}
	}
}

func TestCostsRefuse(t *testing.T) {
	names := []string{"stop", "go"}
	for text, want := range map[string]string{
		`{"pairs": [{"truth": "stop", "answer": "left", "cost": 1}]}`:                               `the class "left": there are ["stop" "go"]`,
		`{"pairs": [{"truth": "stop", "answer": "0", "cost": 1}]}`:                                  "and itself",
		`{"pairs": [{"truth": "stop", "answer": "go", "cost": -1}]}`:                                "costs -1",
		`{"pairs": [{"truth":"0","answer":"1","cost":1}, {"truth":"stop","answer":"go","cost":2}]}`: "twice",
		`{"default": -3}`:   "a wrong answer costs -3",
		`{"defaults": 3}`:   `unknown field "defaults"`,
		`{"default": 3} {}`: "more behind",
		`[1]`:               "cannot unmarshal",
		``:                  "EOF",
		`{"pairs": [{"truth": "2", "answer": "go"}]}`: `the class "2"`,
	} {
		c, err := ReadCosts(strings.NewReader(text))
		if err == nil {
			_, err = c.over(names)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one that says %q", text, err, want)
		}
	}
	if _, err := CostsFile(filepath.Join(t.TempDir(), "none.json")); err == nil || !strings.Contains(err.Error(), "none.json") {
		t.Errorf("no file: %v", err)
	}
}

// brightness tells bright images of 8 × 8 pixels from dark ones: its one feature is the mean, its logits 20 and 40
// mean.
func brightness(t *testing.T) *advlib.Classifier {
	t.Helper()
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	return advlib.MustClassifier(advlib.Spec{
		Name: "brightness", Input: []int{8, 8, 1}, Box: advlib.UnitBox, Backend: b, Classes: []string{"night & fog", "day"},
		Logits: func(_ *model.Scope, x *graph.Node) *graph.Node {
			mean := make([][]float32, 64)
			for i := range mean {
				mean[i] = []float32{1. / 64}
			}
			φ := graph.Dot(graph.Reshape(x, -1, 64), graph.Const(x.Graph(), mean)).Product()
			return graph.Add(graph.Dot(φ, graph.Const(x.Graph(), [][]float32{{0, 40}})).Product(), graph.Const(x.Graph(), [][]float32{{20, 0}}))
		},
	})
}

// tenImages have stripes around a mean of their own; the last two are labelled wrong.
func tenImages(t *testing.T) *advlib.Examples {
	t.Helper()
	var x []float32
	for _, m := range []float32{0.1, 0.2, 0.42, 0.46, 0.54, 0.58, 0.8, 0.9, 0.15, 0.85} {
		for i := range 64 {
			x = append(x, m+0.05*float32(1-2*(i%2)))
		}
	}
	e, err := advlib.NewExamples("images", x, []int{8, 8, 1}, []int32{0, 0, 0, 0, 1, 1, 1, 1, 1, 0})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func measured(t *testing.T) *Report {
	t.Helper()
	costs := Costs{Unit: "€", Pairs: []Pair{{"night & fog", "day", 100}, {"1", "0", 20}}}
	balls := []advlib.Attack{attack.FGM{Ball: advlib.Linf.Ball(0.05)}, attack.FGM{Ball: advlib.Linf.Ball(0.1)}}
	_, r, err := Evaluate(t.Context(), Settings{Costs: costs}, brightness(t), tenImages(t), balls)
	if err != nil {
		t.Fatal(err)
	}
	for i := range r.Pairs {
		r.Pairs[i].Seconds = 0.001 // the time differs
	}
	return r
}

// Within 0.1 the four images with a mean nearer than that to 1/2 are broken, within 0.05 two.
func TestImpactOfAKnownClassifier(t *testing.T) {
	r := measured(t)
	if r.Before.Accuracy != (report.Rate{Count: 8, Of: 10}) || r.After.Accuracy != (report.Rate{Count: 4, Of: 10}) || len(r.Budgets) != 2 ||
		r.Budgets[0].Robust.Count != 6 || r.Budgets[1].Robust.Count != 4 {
		t.Errorf("%v, then %v, %+v", r.Before.Accuracy, r.After.Accuracy, r.Budgets)
	}
	if !cmp.Equal(r.After.Confusion, [][]int{{2, 3}, {3, 2}}) {
		t.Errorf("confusion %v", r.After.Confusion)
	}
	near(t, "the cost before", r.Before.Cost.Value, 12) // one mistake of 100 and one of 20, of ten
	near(t, "the cost after", r.After.Cost.Value, 36)   // three of each
	for i, p := range r.Pairs {
		if p.Before != (report.Rate{Count: 1, Of: 5}) || p.After != (report.Rate{Count: 3, Of: 5}) || !(p.Passes > 0) || p.Queries {
			t.Errorf("pair %d: %+v", i, p)
		}
	}
	// The nearest of each is 0.05 or 0.1 away: of the means .42, .46, .54 and .58 a share whose median is this.
	if got := float64(r.Harmless[0].Features); math.Abs(got-(.05/.46+.1/.58)/2) > 1e-5 {
		t.Errorf("in the features the attack moves by %g", got)
	}
	// The attack moves all pixels alike: what is as much darker or brighter does the same, noise and rotation nothing.
	for _, h := range r.Harmless {
		want := map[string]int{"the attack": 0, "Gaussian noise": 4, "brighter": 2, "darker": 2, "rotation": 4}
		if n, known := want[h.Change]; known && h.Agrees != (report.Rate{Count: n, Of: 4}) {
			t.Errorf("%+v, want %d of 4", h, n)
		}
		if h.L2 > 0.8*(1+1e-6) { // 0.1 √64
			t.Errorf("%+v is larger than the attack", h)
		}
	}
	if len(r.Harmless) != 6 || r.Window != "7×7 uniform" || r.Harmless[0].SSIM <= 0 {
		t.Errorf("%+v", r.Harmless)
	}
	if n := strings.Count(string(r.CSV()), "\n"); n != 11 {
		t.Errorf("the CSV has %d lines", n)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(text, &back); err != nil || back.String() != r.String() || back.SVG() != r.SVG() {
		t.Errorf("read back: %v\n%s", err, &back)
	}
}

// The forms are as they were when they were looked at.
func TestGolden(t *testing.T) {
	r := measured(t)
	for name, got := range map[string]string{"impact.txt": r.String(), "impact.html": r.HTML(), "impact.svg": r.SVG()} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-golden +got; go test -update writes it anew):\n%s", name, diff)
		}
		if name == "impact.svg" {
			for d := xml.NewDecoder(strings.NewReader(got)); ; {
				if _, err := d.Token(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatalf("it is no XML: %v", err)
				}
			}
		}
	}
}

func TestCollectRefuses(t *testing.T) {
	c, e := brightness(t), tenImages(t)
	if _, _, err := Evaluate(t.Context(), Settings{Costs: Costs{Pairs: []Pair{{"x", "y", 1}}}}, c, e, nil); err == nil ||
		!strings.Contains(err.Error(), `the class "x"`) {
		t.Errorf("an unknown class: %v", err)
	}
	if _, err := Collect(Settings{}, nil, e); err == nil {
		t.Error("no victim is taken")
	}
	e.Index = []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 1}
	_, err := Collect(Settings{}, c, e)
	if err == nil || !strings.Contains(err.Error(), "the examples 0 and 9 of images have the same number 1") {
		t.Errorf("a number twice: %v", err)
	}
}
