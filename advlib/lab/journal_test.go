package lab_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/google/go-cmp/cmp"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/certify"
	"advlab/advlib/lab"
)

// mlp is a small network with weights that look random; scale makes another of it.
func mlp(scale float64) *advlib.Classifier {
	wave := func(rows, columns int) *tensors.Tensor {
		w := make([]float32, rows*columns)
		for i := range w {
			w[i] = float32(math.Sin(float64(i*i%1013) + float64(rows)))
		}
		return tensors.FromFlatDataAndDimensions(w, rows, columns)
	}
	return advlib.MustClassifier(advlib.Spec{Name: "mlp", Input: []int{6}, Box: advlib.UnitBox, Logits: func(_ *model.Scope, x *Node) *Node {
		g := x.Graph()
		h := Max(DotProduct(x, ConvertDType(ConstTensor(g, wave(6, 20)), x.DType())), ScalarZero(g, x.DType()))
		return MulScalar(DotProduct(h, ConvertDType(ConstTensor(g, wave(20, 4)), x.DType())), scale)
	}})
}

// cloud are 40 examples of what the classifier itself says, but for every seventh.
func cloud(c *advlib.Classifier) *advlib.Examples {
	const n, d = 40, 6
	x := make([]float32, n*d)
	for i := range x {
		x[i] = float32(i*i*31%577) / 577
	}
	z, err := c.Logits(tensors.FromFlatDataAndDimensions(x, n, d))
	if err != nil {
		panic(err)
	}
	y := make([]int32, n)
	for i, row := range z {
		y[i] = int32(slices.Index(row, slices.Max(row)))
		if i%7 == 0 {
			y[i] = (y[i] + 1) % 4
		}
	}
	e, err := advlib.NewExamples("cloud", x, []int{d}, y)
	if err != nil {
		panic(err)
	}
	return e
}

// evaluateAttacks are two budgets in two norms, an attack of minimal norm, and a targeted one.
func evaluateAttacks() []advlib.Attack {
	var all []advlib.Attack
	for _, ball := range []advlib.Ball{advlib.Linf.Ball(0.5), advlib.Linf.Ball(0.3), advlib.L2.Ball(0.8)} {
		all = append(all, attack.FGM{Ball: ball}, attack.PGD{Ball: ball, Loss: advlib.Margin, Steps: 10})
	}
	return append(all, attack.CarliniWagner{BinarySearchSteps: 2, Steps: 20},
		attack.PGD{Ball: advlib.L2.Ball(0.8), Goal: advlib.Targeted(1), Steps: 5})
}

// evaluateAndDie is the child's work: it evaluates, and after so many batches it is killed by the operating system; "0"
// lives. Once it has begun it makes the file begun in the store, for a parent that kills.
func evaluateAndDie(after string) {
	lab.KeepEveryPiece()
	batches, err := strconv.Atoi(after)
	if err != nil {
		panic(err)
	}
	last := advlib.Progress{}
	s := advlib.Settings{Seed: 5, BatchSize: 8, OnProgress: func(p advlib.Progress) {
		if p.What == last.What && p.Done > last.Done {
			if batches--; batches == 0 {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
			_ = os.WriteFile(filepath.Join(os.Getenv("ADVLAB_CACHE"), "begun"), nil, 0o600)
		}
		last = p
	}}
	c := mlp(3)
	r, err := lab.Settings(s).Evaluate(context.Background(), c, cloud(c), evaluateAttacks(), certify.IBP)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

func evaluating(t *testing.T, store string, after int) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	cmd = exec.Command(self)
	cmd.Env = append(os.Environ(), "ADVLAB_CACHE="+store, "ADVLAB_BACKEND=go", "LAB_TEST_EVALUATE="+strconv.Itoa(after))
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return cmd, stdout, stderr
}

// evaluated runs the child to its end, and returns its report and what it said.
func evaluated(t *testing.T, store string) (*advlib.Report, string) {
	t.Helper()
	cmd, stdout, stderr := evaluating(t, store, 0)
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, stderr)
	}
	var r advlib.Report
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	return &r, stderr.String()
}

// killed tells whether a process was ended by SIGKILL.
func killed(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// withoutCost removes from a report what is not the same each time: times, and which programs were compiled.
func withoutCost(r *advlib.Report) *advlib.Report {
	s := *r
	s.Seconds = 0
	s.Attacks, s.Certificates = slices.Clone(r.Attacks), slices.Clone(r.Certificates)
	for i := range s.Attacks {
		s.Attacks[i].Seconds, s.Attacks[i].Programs = 0, nil
	}
	for i := range s.Certificates {
		s.Certificates[i].Seconds = 0
	}
	return &s
}

func kindsIn(t *testing.T, store string) map[string]int {
	t.Helper()
	t.Setenv("ADVLAB_CACHE", store)
	entries, err := lab.List()
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, e := range entries {
		if e.Damaged != "" {
			t.Errorf("damaged: %v", e)
		}
		kinds[e.Kind]++
	}
	return kinds
}

// TestAKilledEvaluationContinues: killed at several points, each time it goes on from what was kept, and gives the
// report of an evaluation that was not killed.
func TestAKilledEvaluationContinues(t *testing.T) {
	want, said := evaluated(t, t.TempDir())
	if said != "" || len(want.Attacks) != 8 || len(want.Certificates) != 3 || want.Interrupted {
		t.Fatalf("said %q, report %v", said, want)
	}
	if clean, robust := want.Clean().Count, want.Robust(advlib.Linf.Ball(0.5)).Count; clean != 34 || robust == 0 || robust >= clean {
		t.Fatalf("%d clean, %d robust: the attacks should break some", clean, robust)
	}
	store := t.TempDir()
	pieces := 0
	// After the first batch; twice in the middle; then, of what is left, near the end.
	for _, batches := range []int{1, 4, 9} {
		cmd, _, stderr := evaluating(t, store, batches)
		if err := cmd.Run(); !killed(err) {
			t.Fatalf("after %d batches: %v, want a kill: %s", batches, err, stderr)
		}
		now := kindsIn(t, store)
		if now["piece"] <= pieces-1 || now["piece"] == 0 || now["report"] != 0 {
			t.Errorf("after %d batches: kept %v, before %d pieces", batches, now, pieces)
		}
		pieces = now["piece"]
	}
	// And by somebody else, at any moment.
	cmd, _, stderr := evaluating(t, store, 0)
	if err := os.Remove(filepath.Join(store, "begun")); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if _, err := os.Stat(filepath.Join(store, "begun")); err == nil {
			break
		}
		time.Sleep(2 * time.Millisecond)
	}
	_ = cmd.Process.Kill()
	if err := cmd.Wait(); err == nil {
		t.Log("it was done before it was killed")
	} else if !killed(err) {
		t.Fatalf("%v: %s", err, stderr)
	}

	got, said := evaluated(t, store)
	if !strings.Contains(said, "of its pieces were kept") || strings.Contains(said, "not used") {
		t.Errorf("said %q", said)
	}
	if got.Key != want.Key {
		t.Errorf("key %s, want %s", got.Key, want.Key)
	}
	if diff := cmp.Diff(withoutCost(want), withoutCost(got)); diff != "" {
		t.Errorf("the report that was interrupted four times (-uninterrupted +continued):\n%s", diff)
	}
	if kinds := kindsIn(t, store); kinds["piece"] != 0 || kinds["report"] != 1 {
		t.Errorf("in the end the store has %v", kinds)
	}
}

// sameOutcome compares what two runs found, and the passes that they took.
func sameOutcome(t *testing.T, what string, got, want *advlib.Result) {
	t.Helper()
	if !slices.Equal(got.Success, want.Success) || !slices.Equal(got.Distance, want.Distance) || !slices.Equal(got.Final, want.Final) ||
		!got.Adversarial.Equal(want.Adversarial) || got.Stats.Forward != want.Stats.Forward || got.Stats.Backward != want.Stats.Backward {
		t.Errorf("%s: another result", what)
	}
}

// TestKeptPiecesAreNotTrusted: entries that are damaged, of something else, or that claim what the classifier does not
// confirm are made anew, with a notice.
func TestKeptPiecesAreNotTrusted(t *testing.T) {
	root, notices := ownStore(t)
	lab.KeepEveryPiece()
	c := mlp(3)
	e := cloud(c)
	a := attack.PGD{Ball: advlib.Linf.Ball(0.5), Loss: advlib.Margin, Steps: 10}
	run := func(c *advlib.Classifier, a advlib.Attack, seed uint64) (*advlib.Result, int) {
		t.Helper()
		j, err := lab.NewJournal(t.Context(), c, "test")
		if err != nil {
			t.Fatal(err)
		}
		r, err := advlib.Settings{Seed: seed, BatchSize: 16, Journal: j}.Run(t.Context(), c, e, a)
		if err != nil {
			t.Fatal(err)
		}
		return r, j.Recalled()
	}
	first, recalled := run(c, a, 1)
	if recalled != 0 || !slices.Contains(first.Success, false) || first.SuccessRate().Count < 10 {
		t.Fatalf("%d recalled, success %v", recalled, first.SuccessRate())
	}
	entries, err := lab.List()
	if err != nil {
		t.Fatal(err)
	}
	var dirs []string
	for _, e := range entries {
		dirs = append(dirs, filepath.Join(root, "store", e.Key[:2], e.Key))
	}
	if len(dirs) != 3 || entries[0].Kind != "piece" {
		t.Fatalf("kept %v", entries)
	}
	again, recalled := run(c, a, 1)
	if sameOutcome(t, "recalled", again, first); recalled != 3 {
		t.Errorf("%d pieces recalled, want 3", recalled)
	}
	// What differs is another key.
	for what, other := range map[string]func() int{
		"seed":   func() int { _, n := run(c, a, 2); return n },
		"attack": func() int { b := a; b.Steps = 11; _, n := run(c, b, 1); return n },
		"model":  func() int { _, n := run(mlp(2.5), a, 1); return n },
	} {
		if n := other(); n != 0 {
			t.Errorf("another %s: %d pieces recalled", what, n)
		}
	}
	if len(*notices) != 0 {
		t.Errorf("notices %q", *notices)
	}

	// Damage to the bytes of every one.
	for _, dir := range dirs {
		text, err := os.ReadFile(filepath.Join(dir, "value.json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "value.json"), bytes.Replace(text, []byte("false"), []byte("true "), 1), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again, recalled = run(c, a, 1)
	if sameOutcome(t, "damaged", again, first); recalled != 0 || len(*notices) != 3 || !strings.Contains((*notices)[0], "checksum") {
		t.Errorf("%d recalled, notices %q", recalled, *notices)
	}
	*notices = nil
	if _, recalled = run(c, a, 1); recalled != 3 {
		t.Errorf("%d pieces recalled after they were made anew", recalled)
	}
	refusesForgeries(t, c, e, a, first)
}

// refusesForgeries: what a journal returns with good checksums is judged again, and false claims are refused.
func refusesForgeries(t *testing.T, c *advlib.Classifier, e *advlib.Examples, a advlib.Attack, want *advlib.Result) {
	for what, forge := range map[string]func(o *advlib.Outcome){
		"a success that is none": func(o *advlib.Outcome) { o.Success[slices.Index(o.Success, false)] = true },
		"another number":         func(o *advlib.Outcome) { o.Success = o.Success[1:] },
		"originals as candidates": func(o *advlib.Outcome) {
			o.Rows, o.Adversarial = nil, nil
		},
		"outside of the ball": func(o *advlib.Outcome) {
			x := tensors.MustCopyFlatData[float32](o.Adversarial)
			x[0] = 1 - x[0]
			x[1] = 1 - x[1]
			o.Adversarial = tensors.FromFlatDataAndDimensions(x, o.Adversarial.Shape().Dimensions...)
		},
		"rows that do not exist": func(o *advlib.Outcome) { o.Rows[0] = 1000 },
	} {
		f := &forger{forge: forge}
		j, err := lab.NewJournal(t.Context(), c, "test")
		if err != nil {
			t.Fatal(err)
		}
		f.Journal = j
		r, err := advlib.Settings{Seed: 1, BatchSize: 16, Journal: f}.Run(t.Context(), c, e, a)
		if err != nil {
			t.Fatal(err)
		}
		if sameOutcome(t, what, r, want); f.refused == 0 {
			t.Errorf("%s was taken", what)
		}
	}
}

// forger changes what a journal recalls.
type forger struct {
	*lab.Journal
	forge   func(o *advlib.Outcome)
	refused int
}

func (f *forger) Recall(p advlib.Piece, accept func(advlib.Outcome) error) bool {
	return f.Journal.Recall(p, func(o advlib.Outcome) error {
		if slices.Contains(o.Success, true) && slices.Contains(o.Success, false) {
			f.forge(&o)
		}
		err := accept(o)
		if err != nil {
			f.refused++
		}
		return err
	})
}

// TestCancelledEvaluationIsReturnedAndContinues: what was found before is there, and the next call goes on.
func TestCancelledEvaluationIsReturnedAndContinues(t *testing.T) {
	_, notices := ownStore(t)
	lab.KeepEveryPiece()
	c := mlp(3)
	e := cloud(c)
	ctx, cancel := context.WithCancel(t.Context())
	s := advlib.Settings{BatchSize: 8, OnProgress: func(p advlib.Progress) {
		if p.Part == 2 && p.Done > 0 {
			cancel()
		}
	}}
	r, err := lab.Settings(s).Evaluate(ctx, c, e, evaluateAttacks(), certify.IBP)
	if !errors.Is(err, context.Canceled) || r == nil || !r.Interrupted || len(r.Attacks) == 0 {
		t.Fatalf("report %v, error %v", r, err)
	}
	whole, err := lab.Settings{BatchSize: 8}.Evaluate(t.Context(), c, e, evaluateAttacks(), certify.IBP)
	if err != nil || whole.Interrupted || len(*notices) != 1 || !strings.Contains((*notices)[0], "continues") {
		t.Errorf("interrupted %v, error %v, notices %q", whole.Interrupted, err, *notices)
	}
}

// TestRandomClassifiersContinue: what a classifier with random logits draws depends on the batch, not on the batches
// before.
func TestRandomClassifiersContinue(t *testing.T) {
	_, notices := ownStore(t)
	lab.KeepEveryPiece()
	first := func(x *Node) *Node { return MulScalar(Slice(x, AxisRange(), AxisRange(0, 4)), 3) }
	c := advlib.MustClassifier(advlib.Spec{Name: "noisy", Input: []int{6}, Box: advlib.UnitBox, Random: true,
		Logits: func(scope *model.Scope, x *Node) *Node {
			return first(Add(x, MulScalar(scope.RandomNormal(x.Graph(), x.Shape()), 0.1)))
		}})
	e := cloud(advlib.MustClassifier(advlib.Spec{Name: "still", Input: []int{6}, Box: advlib.UnitBox,
		Logits: func(_ *model.Scope, x *Node) *Node { return first(x) }}))
	a := attack.PGD{Ball: advlib.Linf.Ball(0.05), Steps: 5}
	whole := advlib.Settings{Seed: 3, BatchSize: 8}
	want, err := whole.Run(t.Context(), c, e, a)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	interrupted := whole
	interrupted.OnProgress = func(p advlib.Progress) {
		if p.Done > 2*e.Len()/3 {
			cancel()
		}
	}
	if _, err := lab.Settings(interrupted).Run(ctx, c, e, a); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want that it was cancelled", err)
	}
	got, err := lab.Settings(whole).Run(t.Context(), c, e, a)
	if err != nil {
		t.Fatal(err)
	}
	if len(*notices) != 1 || !strings.Contains((*notices)[0], "continues") {
		t.Errorf("notices %q", *notices)
	}
	if !slices.Equal(got.Success, want.Success) || !slices.Equal(got.Distance, want.Distance) ||
		!slices.Equal(got.Final, want.Final) || got.Stats.Forward != want.Stats.Forward {
		t.Errorf("continued:\n%v %v\nuninterrupted:\n%v %v", got.Success, got.Stats, want.Success, want.Stats)
	}
}

// TestMeasurementsInADomainContinue: there attacks see scaled inputs, and what is kept of them is in that form.
func TestMeasurementsInADomainContinue(t *testing.T) {
	ownStore(t)
	lab.KeepEveryPiece()
	domain := make(advlib.Domain, 6)
	for i := range domain {
		domain[i] = advlib.Feature{Lo: 0, Hi: 1, Scale: float64(1+i) / 4}
	}
	domain[2].Change = advlib.Fixed
	c := advlib.MustClassifier(advlib.Spec{Name: "mlp in a domain", Input: []int{6}, Box: advlib.UnitBox, Domain: domain,
		Logits: func(_ *model.Scope, x *Node) *Node {
			return mlp(3).LogitsGraph(x)
		}})
	e := cloud(c)
	a := attack.PGD{Ball: advlib.Linf.Ball(0.8), Loss: advlib.Margin, Steps: 10}
	var results []*advlib.Result
	for _, recalled := range []int{0, 5} {
		j, err := lab.NewJournal(t.Context(), c, "test")
		if err != nil {
			t.Fatal(err)
		}
		r, err := advlib.Settings{BatchSize: 8, Journal: j}.Run(t.Context(), c, e, a)
		if err != nil {
			t.Fatal(err)
		}
		if j.Recalled() != recalled {
			t.Errorf("%d recalled, want %d", j.Recalled(), recalled)
		}
		results = append(results, r)
	}
	if !slices.Equal(results[0].Success, results[1].Success) || !slices.Equal(results[0].Distance, results[1].Distance) ||
		!results[0].Adversarial.Equal(results[1].Adversarial) {
		t.Errorf("continued: %v, uninterrupted %v", results[1].Distance, results[0].Distance)
	}
	if rate := results[0].SuccessRate(); rate.Count < 10 || rate.Count == rate.Of {
		t.Errorf("%v broken", rate)
	}
}
