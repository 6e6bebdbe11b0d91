package report_test

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

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"advlab/advlib/report"
)

// madeReport is a report by hand: 8 examples of which the last two are misclassified, two Linf balls and an L2 ball,
// attacks of all kinds, two certificates, warnings, and gradients that look masked.
func madeReport() *report.Report {
	inf := report.Distance(math.Inf(1))
	all := []bool{true, true, true, true, true, true, true, true}
	none := make([]bool, 8)
	return &report.Report{
		Classifier: "mlp <100-100>", Data: "digits/test & friends", Backend: "xla:cpu", Box: report.UnitBox, Seed: 42,
		Index:     []int64{3, 5, 8, 13, 21, 34, 55, 89},
		Label:     []int32{0, 1, 2, 3, 4, 5, 6, 7},
		Predicted: []int32{0, 1, 2, 3, 4, 5, 0, 0},
		Attacks: []report.AttackRow{
			{
				Name: "FGSM Linf ≤ 4/255", Norm: "Linf", Radius: 4. / 255, Goal: "untargeted", Attempted: all,
				Success:  []bool{true, false, false, false, false, false, true, true},
				Distance: []report.Distance{4. / 255, inf, inf, inf, inf, inf, 0, 0},
				Skipped:  none, Forward: 6, Backward: 6, Seconds: 0.25, Programs: []report.Programs{{Batch: 8, Compiled: 1}},
			},
			{
				Name: "PGD-40 Linf ≤ 8/255", Norm: "Linf", Radius: 8. / 255, Goal: "untargeted", Attempted: all,
				Success:  []bool{true, true, true, false, false, false, true, true},
				Distance: []report.Distance{3. / 255, 7.5 / 255, 8. / 255, inf, inf, inf, 0, 0},
				Skipped:  none, Forward: 246, Backward: 240, Seconds: 1.5, Programs: []report.Programs{{Batch: 8, Compiled: 1, Loaded: 2}},
			},
			{
				Name: "FGM L2 ≤ 0.5", Norm: "L2", Radius: 0.5, Goal: "untargeted", Attempted: all,
				Success:  []bool{false, false, true, false, false, false, true, true},
				Distance: []report.Distance{inf, inf, 0.5, inf, inf, inf, 0, 0},
				Skipped:  none, Forward: 6, Backward: 6, Seconds: 0.125, Programs: []report.Programs{},
			},
			{
				Name: "Carlini & Wagner L2", Norm: "L2", Radius: inf, Goal: "untargeted", Attempted: all,
				Success:  []bool{true, true, true, true, true, false, true, true},
				Distance: []report.Distance{0.125, 0.25, 0.375, 0.75, 1.5, inf, 0, 0},
				Skipped:  none, Forward: 54000, Backward: 54000, Seconds: 60, Programs: []report.Programs{{Batch: 8, Loaded: 3}},
			},
			{
				Name: "PGD-40 Linf ≤ 8/255, targeted(3)", Norm: "Linf", Radius: 8. / 255, Goal: "targeted(3)", Targeted: true,
				Attempted: []bool{true, true, true, false, true, true, true, true},
				Success:   []bool{true, false, false, false, false, false, false, true},
				Distance:  []report.Distance{8. / 255, inf, inf, inf, inf, inf, inf, 4. / 255},
				Skipped:   none, Forward: 280, Backward: 280, Seconds: 1.5, Programs: []report.Programs{{Batch: 8, Compiled: 1}},
			},
		},
		Certificates: []report.CertifierRow{
			{Method: "IBP", Norm: "Linf", Radius: 4. / 255, Certified: []bool{false, false, true, false, false, false, true, false}, Seconds: 0.5},
			{Method: "CROWN-IBP", Norm: "Linf", Radius: 4. / 255, Certified: []bool{false, false, true, true, false, false, false, false}, Seconds: 1},
		},
		Asked:  []report.Ball{},
		Sanity: report.Sanity{ZeroGradient: report.Rate{Count: 2, Of: 6}, Unbounded: report.Rate{Count: 5, Of: 6}},
		Warnings: []string{"the ball Linf ≤ 8 holds the whole box [0, 1] (diameter 1): any input may become any other: if ε " +
			"was meant in steps of 0..255, write 8./255"},
		Seconds: 64.75,
		Key:     "0123abcd",
	}
}

// within returns a ball by name.
func within(norm string, radius float64) report.Ball { return report.Ball{Norm: norm, Radius: radius} }

var update = flag.Bool("update", false, "write the golden files of testdata anew")

// golden compares text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
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
}

func TestReportString(t *testing.T) { golden(t, "report.txt", madeReport().String()) }

// madeCascade is a report by hand of a cascade: 6 examples of which the last is misclassified, two balls and an attack
// of minimal norm, in the order 1, 2, 0.
func madeCascade() *report.Report {
	inf := report.Distance(math.Inf(1))
	return &report.Report{
		Classifier: "mlp", Data: "digits/test", Backend: "go", Box: report.UnitBox, Cascade: true, Asked: []report.Ball{},
		Index: []int64{0, 1, 2, 3, 4, 5}, Label: []int32{0, 1, 2, 3, 4, 5}, Predicted: []int32{0, 1, 2, 3, 4, 0},
		Attacks: []report.AttackRow{
			{
				Name: "PGD-40 Linf ≤ 0.2", Norm: "Linf", Radius: 0.2, Goal: "untargeted",
				Attempted: []bool{false, false, false, true, true, true},
				Skipped:   []bool{true, true, true, false, false, false},
				Success:   []bool{false, false, false, true, false, true},
				Distance:  []report.Distance{0.1, 0.05, 0.15, 0.2, inf, 0},
				Forward:   80, Backward: 78, Seconds: 1,
			},
			{
				Name: "FGSM Linf ≤ 0.1", Norm: "Linf", Radius: 0.1, Goal: "untargeted",
				Attempted: []bool{true, true, true, true, true, true}, Skipped: make([]bool, 6),
				Success:  []bool{true, false, false, false, false, true},
				Distance: []report.Distance{0.1, inf, inf, inf, inf, 0},
				Forward:  5, Backward: 5, Seconds: 0.5, Programs: []report.Programs{{Batch: 8, Compiled: 1}},
			},
			{
				Name: "DeepFool Linf minimal", Norm: "Linf", Radius: inf, Goal: "untargeted",
				Attempted: []bool{false, true, true, true, true, true},
				Skipped:   []bool{true, false, false, false, false, false},
				Success:   []bool{false, true, true, true, true, true},
				Distance:  []report.Distance{0.1, 0.05, 0.15, 0.25, 0.3, 0},
				Forward:   200, Backward: 2000, Seconds: 2, Programs: []report.Programs{{Batch: 8, Compiled: 1, Loaded: 1}},
			},
		},
		Sanity: report.Sanity{ZeroGradient: report.Rate{Count: 0, Of: 5}, Unbounded: report.Rate{Count: 5, Of: 5}}, Seconds: 3.5,
	}
}

func TestCascadeString(t *testing.T) { golden(t, "cascade.txt", madeCascade().String()) }

func TestCascade(t *testing.T) {
	r := madeCascade()
	if got, want := r.Order(), []int{1, 2, 0}; !slices.Equal(got, want) {
		t.Fatalf("order %v, want %v", got, want)
	}
	for _, test := range []struct {
		k      int
		radius float64
		want   int // of 6, counted by hand
	}{
		{1, 0.1, 4}, {2, 0.1, 3}, {0, 0.1, 3},
		{1, 0.2, 4}, {2, 0.2, 2}, {0, 0.2, 1},
	} {
		if got := r.RobustAfter(test.k, within(report.Linf, test.radius)); got != (report.Rate{Count: test.want, Of: 6}) {
			t.Errorf("after attack %d at %g: %v, want %d", test.k, test.radius, got, test.want)
		}
	}
	// What an attack would do alone is not known where it skipped examples.
	for k, want := range []bool{false, true, false} {
		if _, known := r.RobustTo(r.Attacks[k], within(report.Linf, 0.2)); known != want {
			t.Errorf("%s alone: known %v", r.Attacks[k].Name, known)
		}
	}
	for k, want := range []struct {
		attacked int
		success  report.Rate
		median   float64
	}{
		{2, report.Rate{Count: 5, Of: 6}, 0.15}, // 0.05, 0.1, 0.15, 0.2, ∞
		{5, report.Rate{Count: 2, Of: 6}, math.Inf(1)},
		{4, report.Rate{Count: 6, Of: 6}, 0.15}, // 0.05, 0.1, 0.15, 0.25, 0.3
	} {
		a := r.Attacks[k]
		if a.Attacked() != want.attacked || a.SuccessRate() != want.success || a.MedianDistance() != want.median {
			t.Errorf("%s: %d attacked, success %+v, median %v, want %+v", a.Name, a.Attacked(), a.SuccessRate(), a.MedianDistance(), want)
		}
	}
	r.Interrupted = true
	r.Attacks[0].Attempted[4] = false
	for _, text := range []string{r.String(), r.HTML()} {
		if !strings.Contains(text, "1 of 2") || !strings.Contains(text, "INTERRUPTED") || strings.Contains(text, "sanity") {
			t.Errorf("the interrupted report is\n%s", text)
		}
	}
}

func TestReportHTML(t *testing.T) {
	html := madeReport().HTML()
	golden(t, "report.html", html)
	for _, bad := range []string{"<100-100>", "test & friends", "<script", "http", "<style"} {
		if strings.Contains(html, bad) {
			t.Errorf("the HTML contains %q", bad)
		}
	}
	// It is one well-formed element, so that it can be put anywhere.
	d := xml.NewDecoder(strings.NewReader(html))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// The table is aligned when every cell ends in the same column, counted in characters.
func TestReportStringIsAligned(t *testing.T) {
	lines := strings.Split(madeReport().String(), "\n")
	share := strings.Index(lines[1], "share") + len("share")
	for i, l := range lines[2:] {
		runes := []rune(l)
		if strings.HasPrefix(l, "sanity") {
			break
		}
		if !strings.HasPrefix(l, "  ") {
			continue // headings span the table
		}
		if len(runes) < share || runes[share-1] != '%' {
			t.Errorf("line %d: the share does not end in column %d: %q", i+2, share, l)
		}
	}
}

func TestReportJSON(t *testing.T) {
	r := madeReport()
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "report.json", string(text)+"\n")
	var back report.Report
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, &back); diff != "" {
		t.Errorf("JSON round trip (-before +after):\n%s", diff)
	}
	if before, after := r.Robust(within(report.Linf, 8./255)), back.Robust(within(report.Linf, 8./255)); before != after {
		t.Errorf("robust accuracy %v became %v", before, after)
	}
	empty, err := json.Marshal(report.Report{})
	if err != nil || strings.Contains(string(empty), "null") {
		t.Errorf("the empty report is %s, %v", empty, err)
	}
}

func TestReportJSONRefuses(t *testing.T) {
	good, err := json.Marshal(madeReport())
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, old, new, want string }{
		{"another schema", `advlab.report/2`, `advlab.report/9`, `"advlab.report/9"`},
		{"too few predictions", `"predicted":[0,1,2,3,4,5,0,0]`, `"predicted":[0]`, "predicted has 1 entries for 8 labels"},
		{"too few verdicts", `"certified":[false,false,true,false,false,false,true,false]`, `"certified":[]`, "certified of IBP has 0 entries for 8 labels"},
		{"no norm of an attack", `"norm":"Linf"`, `"norm":""`, "the attack FGSM Linf ≤ 4/255 has no norm"},
		{"no norm of a ball", `"asked":[]`, `"asked":[{"radius":0.5}]`, "a ball of radius 0.5 that was asked for has no norm"},
		{"wrong type", `"seed":42`, `"seed":"x"`, "seed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := strings.Replace(string(good), test.old, test.new, 1)
			if text == string(good) {
				t.Fatal("the test changes nothing")
			}
			r := report.Report{Classifier: "before"}
			err := json.Unmarshal([]byte(text), &r)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v, want one with %q", err, test.want)
			}
			if r.Classifier != "before" {
				t.Error("the report was overwritten")
			}
		})
	}
}

// Distances survive JSON exactly: rounding could move one out of its ball.
func TestDistanceJSON(t *testing.T) {
	for _, d := range []float64{0, 8. / 255, 2. / 3, math.Nextafter(0.1, 0), 1e-300, math.MaxFloat64, math.Inf(1)} {
		text, err := json.Marshal(report.Distance(d))
		if err != nil {
			t.Fatal(err)
		}
		back := report.Distance(math.NaN())
		if err := json.Unmarshal(text, &back); err != nil || float64(back) != d {
			t.Errorf("%v became %s and then %v, %v", d, text, back, err)
		}
	}
}

// Expected values: statsmodels 0.15.0, proportion_confint(k, n, 0.05, method="wilson").
func TestWilson(t *testing.T) {
	for _, test := range []struct {
		k, n   int
		lo, hi float64
	}{
		{0, 1, 0, 0.793450685622763},
		{1, 1, 0.206549314377237, 1},
		{0, 10, 0, 0.277532799862889},
		{10, 10, 0.722467200137111, 1},
		{1, 10, 0.0178762130950729, 0.404150026795239},
		{5, 10, 0.236593090512564, 0.763406909487436},
		{2, 3, 0.207659600802048, 0.938508055279604},
		{45, 100, 0.35614537979512, 0.547553970025579},
		{225, 500, 0.406939651781332, 0.493822782264824},
		{499, 500, 0.988759293294853, 0.999646863605441},
		{9500, 10000, 0.945552884156976, 0.954101517309415},
	} {
		lo, hi := report.Rate{Count: test.k, Of: test.n}.Wilson()
		if math.Abs(lo-test.lo) > 1e-13 || math.Abs(hi-test.hi) > 1e-13 {
			t.Errorf("%d of %d: [%.15g, %.15g], want [%.15g, %.15g]", test.k, test.n, lo, hi, test.lo, test.hi)
		}
	}
	if lo, hi := (report.Rate{}).Wilson(); !math.IsNaN(lo) || !math.IsNaN(hi) {
		t.Errorf("of none: [%v, %v], want NaN", lo, hi)
	}
	if s := (report.Rate{}).String() + (report.Rate{}).Interval(); s != "none" {
		t.Errorf("of none: %q", s)
	}
}

func TestRobust(t *testing.T) {
	r := madeReport()
	for _, test := range []struct {
		ball report.Ball
		want int // of 8, counted by hand in madeReport
	}{
		{within(report.Linf, 0), 6},
		{within(report.Linf, 2./255), 6},
		{within(report.Linf, 3./255), 5}, // found by PGD, which had a larger budget
		{within(report.Linf, 4./255), 5},
		{within(report.Linf, 7.5/255), 4},
		{within(report.Linf, 8./255), 3}, // the targeted success on example 0 does not count
		{within(report.Linf, 1), 3},
		{within(report.L2, 0.125), 5},
		{within(report.L2, 0.5), 3},
		{within(report.L2, 100), 1},
		{within(report.L1, 100), 6}, // no attack in L1
	} {
		if got := r.Robust(test.ball); got != (report.Rate{Count: test.want, Of: 8}) {
			t.Errorf("%v: %v of %v robust, want %d of 8", test.ball, got.Count, got.Of, test.want)
		}
	}
	if got, known := r.RobustTo(r.Attacks[0], within(report.Linf, 4./255)); got.Count != 5 || !known {
		t.Errorf("robust to FGSM alone: %d of 8 (%v), want 5", got.Count, known)
	}
	if got := r.Clean(); got != (report.Rate{Count: 6, Of: 8}) {
		t.Errorf("clean: %+v", got)
	}
}

func TestCertified(t *testing.T) {
	r := madeReport()
	// Examples 2 and 3; example 6 is certified by IBP and misclassified.
	if got, asked := r.Certified(within(report.Linf, 4./255)); !asked || got.Count != 2 {
		t.Errorf("at 4/255: %v of 8, %v", got.Count, asked)
	}
	// A proof for a ball holds in smaller ones.
	if got, asked := r.Certified(within(report.Linf, 1./255)); !asked || got.Count != 2 {
		t.Errorf("at 1/255: %v of 8, %v", got.Count, asked)
	}
	if got, asked := r.Certified(within(report.Linf, 8./255)); asked || got.Count != 0 {
		t.Errorf("at 8/255: %v of 8, %v", got.Count, asked)
	}
}

func TestMedianDistance(t *testing.T) {
	inf := math.Inf(1)
	row := func(attempted []bool, d ...float64) report.AttackRow {
		a := report.AttackRow{Attempted: attempted}
		for _, v := range d {
			a.Distance = append(a.Distance, report.Distance(v))
			a.Success = append(a.Success, !math.IsInf(v, 1))
		}
		return a
	}
	yes := []bool{true, true, true, true}
	for _, test := range []struct {
		name string
		row  report.AttackRow
		want float64
	}{
		{"even", row(yes, 4, 1, 3, 2), 2.5},
		{"failures are infinite, not left out", row(yes, 1, inf, 2, inf), inf},
		{"one failure", row(yes, 1, inf, 2, 3), 2.5},
		{"misclassified examples are left out", row(yes, 0, 0, 0, 7), 7},
		{"not attempted", row([]bool{false, true, true, true}, inf, 1, 2, 3), 2},
		{"none", row(yes, 0, 0, 0, 0), math.NaN()},
	} {
		if got := test.row.MedianDistance(); got != test.want && !(math.IsNaN(got) && math.IsNaN(test.want)) {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

// Merge of the halves is the whole.
func TestMerge(t *testing.T) {
	whole := madeReport()
	part := func(lo, hi int, share float64) *report.Report {
		p := madeReport()
		p.Index, p.Label, p.Predicted = p.Index[lo:hi], p.Label[lo:hi], p.Predicted[lo:hi]
		for i := range p.Attacks {
			a := &p.Attacks[i]
			a.Attempted, a.Success, a.Distance, a.Skipped = a.Attempted[lo:hi], a.Success[lo:hi], a.Distance[lo:hi], a.Skipped[lo:hi]
			if lo > 0 { // all programs were made for the first part
				for k := range a.Programs {
					a.Programs[k].Compiled, a.Programs[k].Loaded = 0, 0
				}
			}
			a.Forward, a.Backward, a.Seconds = int64(share*float64(a.Forward)), int64(share*float64(a.Backward)), share*a.Seconds
		}
		for i := range p.Certificates {
			c := &p.Certificates[i]
			c.Certified, c.Seconds = c.Certified[lo:hi], share*c.Seconds
		}
		p.Seconds *= share
		return p
	}
	a, b := part(0, 3, 0.5), part(3, 8, 0.5)
	a.Sanity = report.Sanity{ZeroGradient: report.Rate{Count: 2, Of: 3}, Unbounded: report.Rate{Count: 2, Of: 3}}
	b.Sanity = report.Sanity{ZeroGradient: report.Rate{Count: 0, Of: 3}, Unbounded: report.Rate{Count: 3, Of: 3}}
	m, err := a.Merge(b)
	if err != nil {
		t.Fatal(err)
	}
	whole.Key = "" // the adversarial examples of the parts are kept under two keys
	if diff := cmp.Diff(whole, m, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("merged (-whole +merged):\n%s", diff)
	}
	if len(a.Label) != 3 || len(a.Attacks[0].Success) != 3 {
		t.Error("Merge changed its receiver")
	}

	for name, change := range map[string]func(*report.Report){
		"classifier":   func(r *report.Report) { r.Classifier = "other" },
		"data":         func(r *report.Report) { r.Data = "other" },
		"seed":         func(r *report.Report) { r.Seed = 1 },
		"attacks":      func(r *report.Report) { r.Attacks = r.Attacks[1:] },
		"cascade":      func(r *report.Report) { r.Cascade = true },
		"balls":        func(r *report.Report) { r.Asked = []report.Ball{{Norm: "L2", Radius: 1}} },
		"goals":        func(r *report.Report) { r.Attacks[4].Goal = "targeted(5)" },
		"certificates": func(r *report.Report) { r.Certificates[0].Radius = 1 },
	} {
		other := part(3, 8, 0.5)
		change(other)
		if _, err := a.Merge(other); err == nil {
			t.Errorf("reports that differ in %s were merged", name)
		}
	}
}

// A radius is also written in 255ths when that is what was meant.
func TestHeadingInSteps(t *testing.T) {
	for _, test := range []struct {
		norm   string
		radius float64
		want   string
	}{
		{"Linf", 8. / 255, "Linf ≤ 8/255 (0.0313725): robust accuracy under each attack alone"},
		{"Linf", 0.2, "Linf ≤ 0.2: robust accuracy under each attack alone"}, // 51/255
		{"Linf", 0.1, "Linf ≤ 0.1: robust accuracy under each attack alone"},
		{"L2", 8. / 255, "L2 ≤ 8/255 (0.0313725): robust accuracy under each attack alone"},
	} {
		r := madeReport()
		r.Attacks = r.Attacks[:1]
		r.Attacks[0].Norm, r.Attacks[0].Radius = test.norm, report.Distance(test.radius)
		if got := r.Lines()[1].Heading; got != test.want {
			t.Errorf("%s %v: %q, want %q", test.norm, test.radius, got, test.want)
		}
	}
}
