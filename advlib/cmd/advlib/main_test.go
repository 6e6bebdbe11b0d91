package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/rogpeppe/go-internal/testscript"

	"advlab/advlib"
	"advlab/advlib/backend"
	"advlab/advlib/cachedir"
	"advlab/advlib/dataset"
	"advlab/advlib/lab"
	"advlab/advlib/onnx"
	"advlab/advlib/report"
	"advlab/advlib/zoo"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"advlib": func() { os.Exit(Main()) }})
}

// models are the fixtures of package onnx: PyTorch 2.13.0 classifies 123 of the 128 digits right, and 55 after FGSM
// with ε = 0.1.
func models(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs("../../onnx/testdata")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestScripts runs testdata/*.txtar. $MODELS is where the models are, $REPORTS where package report has its golden
// files.
func TestScripts(t *testing.T) {
	dir := models(t)
	reports, err := filepath.Abs("../../report/testdata")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("MODELS", dir)
			env.Setenv("REPORTS", reports)
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv(cachedir.Variable, filepath.Join(env.WorkDir, "cache"))
			for _, name := range []string{"ADVLAB_BACKEND", "PJRT_PLUGIN_LIBRARY_PATH", "GOMLX_NO_AUTO_INSTALL"} {
				if v, ok := os.LookupEnv(name); ok {
					env.Setenv(name, v)
				}
			}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"exits": exits},
	})
}

// exits runs a command and compares its exit status: exits 2 advlib nonsense.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%s: exit status %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// canceller cancels when it is told of what it waits for.
type canceller struct {
	bytes.Buffer
	when   string
	cancel func()
}

func (c *canceller) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(c.when)) {
		c.cancel()
	}
	return c.Buffer.Write(p)
}

// TestInterrupted: what was found before is written, and the next time is not looked for again.
func TestInterrupted(t *testing.T) {
	t.Setenv(cachedir.Variable, t.TempDir())
	args := []string{
		"evaluate", "--model", filepath.Join(models(t), "pytorch-script.onnx"), "--data", filepath.Join(models(t),
			"pytorch.npz"), "--layout", "channels-last",
		"--eps", "0.1", "--attacks", "pgd,pgd-margin", "--format", "json", "--min-robust", "0.4", "--batch", "32", "--backend", "go",
	}
	whole := func(more ...string) (r advlib.Report, said string) {
		t.Helper()
		var out, progress bytes.Buffer
		if status := run(t.Context(), append(args, more...), &out, &progress); status != tooLow {
			t.Errorf("exit status %d, want %d: %s", status, tooLow, progress.String())
		}
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Fatalf("%v in %q", err, out.String())
		}
		return r, progress.String()
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	progress := &canceller{cancel: cancel, when: "2 of 3, PGD"}
	var out bytes.Buffer
	if status := run(ctx, args, &out, progress); status != interrupted {
		t.Errorf("exit status %d, want %d: %s", status, interrupted, progress.String())
	}
	var r advlib.Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("%v in %q", err, out.String())
	}
	if !r.Interrupted || len(r.Attacks) == 0 || r.Attacks[0].Name != "PGD-40 Linf ≤ 0.1" {
		t.Errorf("attacks %v, interrupted %v", r.Attacks, r.Interrupted)
	}
	if got := r.Clean().Count; got != 123 {
		t.Errorf("%d are right, PyTorch has 123", got)
	}
	if !strings.Contains(progress.String(), "give the same command again") {
		t.Errorf("said %q", progress.String())
	}
	continued, said := whole()
	if !strings.Contains(said, "batches were taken from an evaluation that was interrupted") {
		t.Errorf("said %q", said)
	}
	again, said := whole() // nothing is left of it
	if strings.Contains(said, "were taken from") {
		t.Errorf("said %q", said)
	}
	for k := range again.Attacks {
		a, b := continued.Attacks[k], again.Attacks[k]
		if !slices.Equal(a.Success, b.Success) || !slices.Equal(a.Distance, b.Distance) || !slices.Equal(a.Skipped, b.Skipped) ||
			a.Forward != b.Forward {
			t.Errorf("%s: continued and uninterrupted differ", a.Name)
		}
	}
	if len(again.Attacks) != 2 || continued.Interrupted {
		t.Errorf("the report is %+v", continued)
	}
}

// TestProgress: a line that changes on a terminal, a line now and then elsewhere, and how long it takes still.
func TestProgress(t *testing.T) {
	clock := time.Unix(0, 0)
	var out bytes.Buffer
	p := newProgress(&out, false)
	p.now, p.start = func() time.Time { return clock }, clock
	at := advlib.Progress{What: "PGD", Part: 1, Parts: 2, Total: 10, Remaining: -1}
	for i := range 11 {
		at.Done, at.Elapsed = i, clock.Sub(p.start)
		if i > 2 {
			at.Remaining = 90 * time.Second
		}
		p.update(at)
		clock = clock.Add(time.Second)
	}
	p.update(advlib.Progress{What: "FGM", Part: 2, Parts: 2})
	want := `[   0.0 s] 1 of 2, PGD: 0 of 10 examples
[   2.0 s] 1 of 2, PGD: 2 of 10 examples
[   4.0 s] 1 of 2, PGD: 4 of 10 examples, about 90 s left in all
[   6.0 s] 1 of 2, PGD: 6 of 10 examples, about 90 s left in all
[   8.0 s] 1 of 2, PGD: 8 of 10 examples, about 90 s left in all
[  10.0 s] 1 of 2, PGD: 10 examples, 10.0 s, about 90 s left in all
[  11.0 s] 2 of 2, FGM: no example is left to be attacked
`
	if out.String() != want {
		t.Errorf("written\n%swant\n%s", out.String(), want)
	}
	out.Reset()
	p.terminal = true
	at.Part, at.Done, at.Remaining = 3, 5, 200*time.Second
	p.update(at)
	p.say("something else")
	if want := "3 of 2, PGD: 5 of 10 examples, about 3 min left in all\r\033[K[  11.0 s] something else\n"; out.String() != want {
		t.Errorf("on a terminal %q, want %q", out.String(), want)
	}
}

// TestJudge: the gate compares the estimate or the lower end of its interval, at every ε, and says when the gradients
// make it worthless.
func TestJudge(t *testing.T) {
	// 4 of 10 withstand: Wilson's interval is [16.8, 68.7].
	r := &advlib.Report{Asked: []report.Ball{{Norm: "L2", Radius: 1}}, Label: make([]int32, 10), Predicted: []int32{0, 0, 0, 0, 1, 1,
		1, 1, 1, 1}}
	for _, tc := range []struct {
		least  float64
		lower  bool
		masked bool
		status int
		says   string
	}{
		{0, false, false, done, ""},
		{0, false, true, done, ""},
		{0.4, false, false, done, ""},
		{0.4, false, true, done, "cannot be trusted"},
		{0.41, false, false, tooLow, "the robust accuracy is below --min-robust 0.41: 40.0 % at L2 ≤ 1 (4 of 10 examples, 95 % interval [16.8, 68.7])"},
		{0.16, true, false, done, ""},
		{0.17, true, false, tooLow, "the lower bound of the robust accuracy is below --min-robust 0.17"},
	} {
		r.Sanity = report.Sanity{ZeroGradient: advlib.Rate{Of: 4}, Unbounded: advlib.Rate{Count: 4, Of: 4}}
		if tc.masked {
			r.Sanity.ZeroGradient.Count = 1
		}
		var out bytes.Buffer
		status, said := done, ""
		if err := (plan{evaluation: evaluation{minRobust: tc.least, lowerBound: tc.lower}}).judge(&out, r); err != nil {
			var coded statusError
			if said = err.Error(); errors.As(err, &coded) {
				status = coded.status
			}
		}
		if said += out.String(); status != tc.status || !strings.Contains(said, tc.says) || (tc.says == "") != (said == "") {
			t.Errorf("%+v: status %d, said %q", tc, status, said)
		}
	}
}

// TestJudgeCertified: the gate on what is proven, and both gates together.
func TestJudgeCertified(t *testing.T) {
	proven := make([]bool, 10)
	proven[0], proven[1], proven[2] = true, true, true
	r := &advlib.Report{
		Asked: []report.Ball{{Norm: "L2", Radius: 1}}, Label: make([]int32, 10), Predicted: []int32{0, 0, 0, 0, 1, 1, 1, 1, 1, 1},
		Certificates: []report.CertifierRow{{Method: "IBP", Norm: "L2", Radius: 1, Certified: proven}},
	}
	for _, tc := range []struct {
		robust, certified float64
		lower             bool
		says              []string
	}{
		{0, 0.3, false, nil},
		{0, 0.31, false, []string{"the certified accuracy is below --min-certified 0.31: 30.0 % at L2 ≤ 1 (3 of 10 examples"}},
		{0, 0.2, true, []string{"the lower bound of the certified accuracy is below --min-certified 0.2"}}, // Wilson's interval is [10.8, 60.3]
		{0.5, 0.5, false, []string{"below --min-robust 0.5", "below --min-certified 0.5"}},
	} {
		err := plan{evaluation: evaluation{minRobust: tc.robust, minCertified: tc.certified, lowerBound: tc.lower}}.judge(io.Discard, r)
		var coded statusError
		if (err == nil) != (tc.says == nil) || err != nil && (!errors.As(err, &coded) || coded.status != tooLow) {
			t.Errorf("%+v: %v", tc, err)
		}
		for _, want := range tc.says {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: no %q in %v", tc, want, err)
			}
		}
	}
}

// liar certifies everything.
type liar struct{}

func (liar) String() string { return "liar" }
func (liar) Certify(_ context.Context, _ *advlib.Classifier, e *advlib.Examples, _ advlib.Ball) ([]bool, error) {
	return slices.Repeat([]bool{true}, e.Len()), nil
}

// TestContradiction: an example that is certified and broken fails the command, says so and what contradicts it, in a
// report that is written.
func TestContradiction(t *testing.T) {
	t.Setenv(cachedir.Variable, t.TempDir())
	attacks, err := picked([]string{"fgm"}, "", advlib.Linf)
	if err != nil {
		t.Fatal(err)
	}
	for name, written := range map[string]string{"text": "worst case over attacks", "json": `"method": "liar"`, "csv": "liar,true",
		"html": "<b>show: sandwich: advlib: a certificate is refuted: liar"} {
		p := plan{
			evaluation: evaluation{batch: 32, quiet: true, minCertified: 0.5},
			file:       examplesFile{"data", dataset.File{Path: filepath.Join(models(t), "pytorch.npz"), First: 8}},
			source: source{named: modelFlags{model: filepath.Join(models(t), "pytorch-script.onnx")}, layout: onnx.ChannelsLast,
				box: advlib.UnitBox},
			norm: advlib.Linf, balls: []advlib.Ball{advlib.Linf.Ball(0.3)},
			choices: attacks, proofs: []advlib.Certifier{liar{}}, format: formats[name],
		}
		var out, progress bytes.Buffer
		err := p.run(t.Context(), &out, &progress)
		var coded statusError
		if !errors.Is(err, advlib.ErrContradiction) || errors.As(err, &coded) || !strings.Contains(err.Error(), "liar certifies example") {
			t.Errorf("%s: the error is %v", name, err)
		}
		if !strings.Contains(out.String(), written) {
			t.Errorf("%s: no %q in\n%s", name, written, out.String())
		}
	}
}

// TestDomain: attacks and certificates keep to what a file says of the features, and a file that says nothing of the
// kind is refused.
func TestDomain(t *testing.T) {
	t.Setenv(cachedir.Variable, t.TempDir())
	data := filepath.Join(models(t), "pytorch.npz")
	examples, err := dataset.NPZScaled(data, 1)
	if err != nil {
		t.Fatal(err)
	}
	size := 1
	for _, d := range examples.Shape() {
		size *= d
	}
	const one, fixed = `{"name": "one", "change": "rise only", "scale": 0.5}`, `{"name": "pixel", "lo": 0, "hi": 1, "change": "fixed"}`
	file := filepath.Join(t.TempDir(), "domain.json")
	evaluate := func(text string) (status int, r advlib.Report, said string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var out, progress bytes.Buffer
		status = run(t.Context(), []string{
			"evaluate", "-q", "--model", filepath.Join(models(t), "pytorch-script.onnx"), "--data", data, "--limit", "16", "--backend", "go",
			"--eps", "0.3", "--attacks", "fgm", "--certify", "ibp", "--format", "json", "--domain", file,
		}, &out, &progress)
		if status == done {
			if err := json.Unmarshal(out.Bytes(), &r); err != nil {
				t.Fatal(err)
			}
		}
		return status, r, progress.String()
	}
	ball := advlib.Linf.Ball(0.3)
	whole := "[" + strings.Repeat(`{}, `, size-1) + "{}]"
	status, free, said := evaluate(whole)
	if status != done || free.Robust(ball).Count >= free.Clean().Count/2 {
		t.Errorf("status %d, robust %v of clean %v where all may change: %s", status, free.Robust(ball), free.Clean(), said)
	}
	status, bound, said := evaluate("[" + one + strings.Repeat(", "+fixed, size-1) + "]")
	certified, _ := bound.Certified(ball)
	if status != done || bound.Robust(ball) != bound.Clean() || certified.Count < bound.Clean().Count/2 ||
		!strings.Contains(bound.Domain, "fixed") {
		t.Errorf("status %d, certified %v, robust %v, clean %v where one pixel may change; domain %q: %s", status, certified,
			bound.Robust(ball), bound.Clean(), bound.Domain, said)
	}
	for text, want := range map[string]string{
		"[":                        "must be a list of objects",
		"[]":                       "at least one feature",
		whole + whole:              "one list",
		`[{"change": "sideways"}]`: `there is no change "sideways": there are "either way", "fixed"`,
		`[{"onehot": 3}]`:          `unknown field "onehot"`,
		"[" + one + "]":            "feature",
	} {
		if status, _, said := evaluate(text); status != misused || !strings.Contains(said, want) {
			t.Errorf("%.40s: status %d, said %q, want %q", text, status, said, want)
		}
	}
}

// TestEveryChoice runs what can be asked for, on a small linear model.
func TestEveryChoice(t *testing.T) {
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	c := advlib.MustClassifier(advlib.Spec{Name: "linear", Input: []int{2, 3, 1}, Box: advlib.UnitBox, Backend: b,
		Logits: func(_ *model.Scope, x *Node) *Node {
			x = Reshape(x, -1, 6)
			return MulScalar(Slice(x, AxisRange(), AxisRange(0, 5)), 2)
		}})
	e, err := advlib.NewExamples("points", []float32{0.9, 0.1, 0.2, 0.6, 0.5, 0, 0.3, 0.8, 0, 1, 0.4, 0.7}, []int{2, 3, 1}, []int32{0, 3})
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range slices.Concat(attacks, presets) {
		if kind.name == none { // it has no attacks: testdata/evaluate.txtar certifies with it
			continue
		}
		for _, norm := range kind.norms {
			t.Run(kind.name+" "+norm.String(), func(t *testing.T) {
				if kind.name == "cw" && norm != advlib.Norm(advlib.L2) {
					t.Skip("its tens of thousands of steps are tested in package attack")
				}
				balls := []advlib.Ball{norm.Ball(0.5), norm.Ball(1)}
				chosen := attacksOn(balls, []choice{kind}, c.Classes())
				r, err := advlib.Settings{Balls: balls}.Evaluate(t.Context(), c, e, chosen)
				if err != nil {
					t.Fatal(err)
				}
				for _, a := range r.Attacks {
					if a.Norm != norm.String() || kind.minimal && !a.Minimal() {
						t.Errorf("%s is in %s, minimal %v", a.Name, a.Norm, a.Minimal())
					}
				}
				if kind.name == "noise-contrast" {
					return // the middle of the box is a tie of all classes, and it can do nothing else
				}
				// The nearest boundaries are 0.3 and 0.2 apart: half of it in Linf, one coordinate in L0.
				if got := r.Robust(balls[1]).Count; got != 0 || len(r.Balls()) != 2 {
					t.Errorf("%d withstand at %v, of %d balls", got, balls[1], len(r.Balls()))
				}
			})
		}
	}
}

// TestStore evaluates a model of the zoo by its key, and refuses one whose function is not the zoo's.
func TestStore(t *testing.T) {
	t.Setenv(cachedir.Variable, t.TempDir())
	train, _ := dataset.Digits()
	train = train.First(200)
	m := zoo.MLP(12)
	m.Epochs = 2
	clf, err := m.Fit(t.Context(), train)
	if err != nil {
		t.Fatal(err)
	}
	other := m
	other.Name, other.Seed = "mine", 1
	if _, err := other.Fit(t.Context(), train); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(models(t), "pytorch.npz")
	examples, err := dataset.NPZ(data)
	if err != nil {
		t.Fatal(err)
	}
	want, err := clf.Logits(examples.X)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := lab.List()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, e := range entries {
		if e.Kind != lab.Models.Name {
			continue
		}
		seen++
		var out, progress bytes.Buffer
		status := run(t.Context(), []string{"evaluate", "--store", e.Key[:9], "--data", data, "--eps", "0.05", "--attacks", "fgm",
			"--format", "json"}, &out, &progress)
		if strings.HasPrefix(e.Name, "mine") {
			if status != misused || !strings.Contains(progress.String(), "cannot be rebuilt") || !strings.Contains(progress.String(), "mine") {
				t.Errorf("exit status %d: %s", status, progress.String())
			}
			continue
		}
		var r advlib.Report
		if err := json.Unmarshal(out.Bytes(), &r); err != nil || status != done {
			t.Fatalf("exit status %d: %v: %s", status, err, progress.String())
		}
		for i, z := range want {
			best := 0
			for k := range z {
				if z[k] > z[best] {
					best = k
				}
			}
			if int(r.Predicted[i]) != best {
				t.Errorf("example %d is predicted %d, by the classifier itself %d", i, r.Predicted[i], best)
			}
		}
	}
	if seen != 2 {
		t.Errorf("%d models in the store", seen)
	}
	var out, progress bytes.Buffer
	if status := run(t.Context(), []string{"evaluate", "--store", "nowhere", "--data", data, "--eps", "0.05"}, &out,
		&progress); status != misused || !strings.Contains(progress.String(), "nowhere") || !strings.Contains(progress.String(), "MLP-12 on") {
		t.Errorf("exit status %d: %s", status, progress.String())
	}
	t.Setenv(cachedir.Variable, t.TempDir())
	if status := run(t.Context(), []string{"evaluate", "--store", "nowhere", "--data", data, "--eps", "0.05"}, &out,
		&progress); status != misused || !strings.Contains(progress.String(), "no model is kept") {
		t.Errorf("exit status %d: %s", status, progress.String())
	}
}

// A model that rounds has no gradient: of a preset the attacks that need none are left, or Square takes their place,
// and the report says so; attacks that are named must be possible.
func TestPresetsWithoutAGradient(t *testing.T) {
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	c := advlib.MustClassifier(advlib.Spec{Name: "steps", Input: []int{2}, Box: advlib.UnitBox, Backend: b,
		Logits: func(_ *model.Scope, x *Node) *Node {
			return Floor(MulScalar(x, 3))
		}})
	for _, tc := range []struct{ preset, attacks, want, says string }{
		{"fast", "", "Square-5000 Linf ≤ 0.1", "of --preset fast only Square is run"},
		{"standard", "", "Square-5000 Linf ≤ 0.1", "as its operator Floor has none"},
		{"autoattack", "", "Square-5002 Linf ≤ 0.1", "only Square is run"},
		{"standard", "square", "Square-5000 Linf ≤ 0.1", ""},
		{"standard", "square,pgd", "", "--attacks square,pgd: the model has no gradient, as its operator Floor has none: give --attacks square"},
	} {
		p := plan{norm: advlib.Linf, balls: []advlib.Ball{advlib.Linf.Ball(0.1)}}
		p.preset = tc.preset
		if tc.attacks != "" {
			p.attacks = strings.Split(tc.attacks, ",")
		}
		if p.choices, err = picked(p.attacks, p.preset, p.norm); err != nil {
			t.Fatal(err)
		}
		all, says, err := p.possible(c)
		var names []string
		for _, a := range all {
			names = append(names, a.String())
		}
		if err != nil {
			says = err.Error()
		}
		if got := strings.Join(names, "; "); got != tc.want || !strings.Contains(says, tc.says) || tc.says == "" && says != "" {
			t.Errorf("--preset %s --attacks %s: %s, %q, want %s, %q", tc.preset, tc.attacks, got, says, tc.want, tc.says)
		}
	}
}
