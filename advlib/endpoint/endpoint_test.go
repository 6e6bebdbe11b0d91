package endpoint_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/cachedir"
	"advlab/advlib/endpoint"
	"advlab/advlib/lab"
	"advlab/advlib/oracle"
	"advlab/advlib/serve"
)

// query asks about flat inputs, one after the other.
func query(t testing.TB, v advlib.Victim, x []float32) ([]advlib.Answer, error) {
	t.Helper()
	size := 1
	for _, d := range v.Signature().Input {
		size *= d
	}
	dims := append([]int{len(x) / size}, v.Signature().Input...)
	return v.Query(t.Context(), tensors.FromFlatDataAndDimensions(x, dims...))
}

func TestAnswers(t *testing.T) {
	home(t)
	m := random(3, 4)
	x := []float32{0.1, 0.5, 0.9, 0.25, 0, 1}
	for name, set := range map[string]func(s *server, spec *endpoint.Spec){
		"float32": func(*server, *endpoint.Spec) {},
		"float64": func(_ *server, spec *endpoint.Spec) { spec.Datatype = "FP64" },
		"batches": func(_ *server, spec *endpoint.Spec) { spec.Batch = 5; spec.Datatype = "FP64" },
		"gzip":    func(_ *server, spec *endpoint.Spec) { spec.Gzip = true; spec.Datatype = "FP64" },
		"binary":  func(s *server, _ *endpoint.Spec) { s.binary = true },
		"limited": func(_ *server, spec *endpoint.Spec) { spec.Rate = 1000; spec.Concurrency = 1; spec.Datatype = "FP64" },
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, m)
			spec := specOf(s, 3)
			set(s, &spec)
			e := open(t, spec)
			if got := e.Signature(); got.Returns != advlib.Probabilities || got.Classes != 4 || got.Random {
				t.Fatalf("the signature is %+v, want probabilities of 4 classes", got)
			}
			if got := s.last.Get("Content-Encoding") == "gzip"; got != spec.Gzip {
				t.Errorf("compressed: %t", got)
			}
			said, err := query(t, e, x)
			if err != nil || len(said) != 2 {
				t.Fatalf("%d answers, %v", len(said), err)
			}
			within := 0. // float32 goes as a shorter text, which a server that computes in float64 reads as another number
			if name == "float32" {
				within = 1e-6
			}
			for i, a := range said {
				want := m.scores([]float64{float64(x[3*i]), float64(x[3*i+1]), float64(x[3*i+2])})
				for k, p := range want {
					if math.Abs(float64(a.Scores[k]-float32(p))) > within {
						t.Errorf("input %d, class %d: %g, want %g", i, k, a.Scores[k], p)
					}
				}
			}
		})
	}
}

// faults drops one request in twenty, refuses bursts with Retry-After in both forms, hangs once, answers with half an
// answer once, and with something else once.
func faults(s *server) func(n int, w http.ResponseWriter, r *http.Request) bool {
	var hung, broken, half atomic.Bool
	draw := rand.New(rand.NewPCG(5, 6))
	return func(n int, w http.ResponseWriter, r *http.Request) bool {
		s.mu.Lock()
		drop := draw.Float64() < 0.05
		s.mu.Unlock()
		switch {
		case n%150 > 140:
			after := []string{"0", time.Now().UTC().Format(http.TimeFormat), "soon"}[n%3]
			if n == 142 {
				after = time.Now().Add(time.Second).UTC().Format(http.TimeFormat)
			}
			w.Header().Set("Retry-After", after)
			w.WriteHeader(http.StatusTooManyRequests)
		case n > 60 && hung.CompareAndSwap(false, true):
			<-r.Context().Done()
		case n > 80 && broken.CompareAndSwap(false, true):
			fmt.Fprint(w, `{"outputs": [{"na`)
		case n > 100 && half.CompareAndSwap(false, true):
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, `{"outputs": `)
		case drop:
			c, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				c.Close()
			}
		default:
			return false
		}
		return true
	}
}

func square(queries int) attack.Square {
	return attack.Square{Ball: advlib.Linf.Ball(0.15), Queries: queries}
}

func TestFaultsChangeNothing(t *testing.T) {
	l, m := linear(t)
	run := func(faulty bool) (*advlib.Result, *server, endpoint.Bill) {
		home(t)
		s := newServer(t, m)
		if faulty {
			s.fault = faults(s)
		}
		spec := specOf(s, len(m.weights[0]))
		spec.Timeout = time.Second / 2
		e := open(t, spec)
		a := attack.Square{Ball: advlib.L2.Ball(0.1), Queries: 60}
		res, err := advlib.Run(t.Context(), oracle.Budget(e, 60), l.Examples, a)
		if err != nil {
			t.Fatal(err)
		}
		return res, s, e.Bill()
	}
	want, calm, plain := run(false)
	got, stormy, bill := run(true)
	if !slices.Equal(got.Success, want.Success) || !slices.Equal(got.Distance, want.Distance) || got.Stats.Forward != want.Stats.Forward {
		t.Errorf("with faults Square reaches %v at %v with %d queries, without %v at %v with %d", got.Success, got.Distance, got.Stats.Forward,
			want.Success, want.Distance, want.Stats.Forward)
	}
	if !slices.Equal(tensors.MustCopyFlatData[float32](got.Adversarial), tensors.MustCopyFlatData[float32](want.Adversarial)) {
		t.Error("with faults Square finds other examples than without")
	}
	if stormy.inputs != calm.inputs || bill.Answered != plain.Answered || stormy.inputs != int(bill.Answered) {
		t.Errorf("with faults the server answered %d inputs, and %d are counted; without %d and %d", stormy.inputs, bill.Answered, calm.inputs,
			plain.Answered)
	}
	if plain.Again != 0 || int(plain.Requests) != calm.requests || int(plain.Inputs) != calm.inputs {
		t.Errorf("without faults the bill is %v, and the server saw %d requests", plain, calm.requests)
	}
	if bill.Again < 10 || int(bill.Requests) != stormy.requests {
		t.Errorf("the bill is %v, and the server saw %d requests, faults among them", bill, stormy.requests)
	}
	t.Logf("without faults: %v; with: %v", plain, bill)
}

// childVariable tells this test's program to be the one that is killed.
const childVariable = "ADVLAB_ENDPOINT_CHILD"

func TestMain(m *testing.M) {
	if url := os.Getenv(childVariable); url != "" {
		if err := attackOf(url); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// attackOf is what the child does.
func attackOf(url string) error {
	x := make([]float32, 4*64)
	r := rand.New(rand.NewPCG(7, 8))
	for i := range x {
		x[i] = r.Float32()
	}
	examples, err := advlib.NewExamples("random", x, []int{64}, []int32{0, 1, 2, 3})
	if err != nil {
		return err
	}
	e, err := endpoint.Open(context.Background(), endpoint.Spec{URL: url, Model: "m", Input: []int{64}, Box: advlib.UnitBox, Concurrency: 4})
	if err != nil {
		return err
	}
	// A ball in which nothing is broken, so that each example costs all queries. None has its label, which is no matter:
	// the goal is a class.
	a := attack.Square{Ball: advlib.Linf.Ball(0.001), Queries: 300, Goal: advlib.Targeted(9)}
	if _, err := (lab.Settings{}).Run(context.Background(), oracle.Budget(e, 300), examples, a); err != nil {
		return err
	}
	return e.Close()
}

func TestKilledAndAgain(t *testing.T) {
	m := random(64, 10)
	child := func(s *server, cache string) *exec.Cmd {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), childVariable+"="+s.URL, cachedir.Variable+"="+cache)
		c.Stderr = os.Stderr
		return c
	}
	whole := newServer(t, m)
	if err := child(whole, t.TempDir()).Run(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d inputs when it is not killed", whole.inputs)
	s, cache := newServer(t, m), t.TempDir()
	kill := make(chan struct{}, 1)
	s.fault = func(n int, _ http.ResponseWriter, _ *http.Request) bool {
		if n == 150 || n == 350 {
			kill <- struct{}{}
		}
		return false
	}
	for range 2 {
		c := child(s, cache)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-kill:
		case <-time.After(20 * time.Second):
			t.Fatal("the child does not ask so often")
		}
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = c.Wait() // it was killed
	}
	if err := child(s, cache).Run(); err != nil {
		t.Fatal(err)
	}
	// Each start asks one question to see that the model is the same, and what was under way when it was killed, at most
	// one for each of 4 connections, is lost.
	more := s.inputs - whole.inputs
	if more < 0 || more > 2+2*4 || len(s.answered) != len(whole.answered) {
		t.Errorf("killed twice the attack sent %d inputs, %d of them different, else %d and %d", s.inputs, len(s.answered), whole.inputs,
			len(whole.answered))
	}
	t.Logf("%d inputs without being killed, %d when killed after 150 and 350", whole.inputs, s.inputs)
	before := s.inputs
	if err := child(s, cache).Run(); err != nil {
		t.Fatal(err)
	}
	if s.inputs != before+1 {
		t.Errorf("once more, the attack sent %d inputs: want the one that shows that the model is the same", s.inputs-before)
	}
}

func TestManyQueriesLeakNothing(t *testing.T) {
	home(t)
	n := 10_000
	if os.Getenv("ADVLAB_FULL") != "" {
		n = 100_000
	}
	s := newServer(t, random(16, 4))
	spec := specOf(s, 16)
	spec.Forget = true
	e := open(t, spec)
	x := make([]float32, 1000*16)
	r := rand.New(rand.NewPCG(9, 10))
	ask := func() {
		for i := range x {
			x[i] = r.Float32()
		}
		if said, err := query(t, e, x); err != nil || len(said) != 1000 {
			t.Fatalf("%d answers, %v", len(said), err)
		}
		s.mu.Lock()
		clear(s.answered) // the server's memory is not what is measured
		s.mu.Unlock()
	}
	measure := func() (goroutines, files int, heap uint64) {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		open, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip("there is no /proc on this system, by which open sockets are counted")
		}
		return runtime.NumGoroutine(), len(open), m.HeapAlloc
	}
	ask()
	g, f, h := measure()
	start := time.Now()
	for range n/1000 - 1 {
		ask()
	}
	elapsed := time.Since(start)
	g2, f2, h2 := measure()
	// A connection has two goroutines at each end; there are at most 8, as before.
	if g2 > g+8 || f2 > f+8 || h2 > h+8<<20 {
		t.Errorf("after %d queries there are %d goroutines (before %d), %d open files (%d), %d bytes of heap (%d)", n, g2, g, f2, f, h2, h)
	}
	t.Logf("%d queries, one in a request, 8 at once: %.0f a second; %d goroutines (%d), %d files (%d), heap %.1f MiB (%.1f)", n-1000,
		float64(n-1000)/elapsed.Seconds(), g2, g, f2, f, float64(h2)/(1<<20), float64(h)/(1<<20))
}

func TestWhatIsRefused(t *testing.T) {
	home(t)
	m := random(3, 4)
	t.Setenv("EMPTY", "")
	for want, set := range map[string]func(s *server, spec *endpoint.Spec){
		"does not answer":                 func(s *server, _ *endpoint.Spec) { s.Close() },
		"there is no host":                func(_ *server, spec *endpoint.Spec) { spec.URL = "http://advlab.invalid:1" },
		"address is missing":              func(_ *server, spec *endpoint.Spec) { spec.URL = "" },
		"is no address of a server":       func(_ *server, spec *endpoint.Spec) { spec.URL = "127.0.0.1/x" },
		"has a password in it":            func(_ *server, spec *endpoint.Spec) { spec.URL = "http://me:geheim@127.0.0.1" },
		`the server has no model "other"`: func(_ *server, spec *endpoint.Spec) { spec.Model = "other" },
		"name of the model is missing":    func(_ *server, spec *endpoint.Spec) { spec.Model = "" },
		"is it a server of":               func(_ *server, spec *endpoint.Spec) { spec.URL += "/elsewhere" },
		"ADVLAB_NO_TOKEN is not set":      func(_ *server, spec *endpoint.Spec) { spec.Token = "ADVLAB_NO_TOKEN" },
		"EMPTY is not set":                func(_ *server, spec *endpoint.Spec) { spec.Headers = map[string]string{"X-Key": "EMPTY"} },
		"holds no certificate":            func(_ *server, spec *endpoint.Spec) { spec.CA = os.Args[0] },
		"the proxy is no address":         func(_ *server, spec *endpoint.Spec) { spec.Proxy = "proxy" },
		"takes inputs of shape [5]":       about(`"inputs":[{"name":"x","datatype":"FP32","shape":[-1,5]}],"outputs":[]`),
		"takes inputs of shape [2 2 -1]":  about(`"inputs":[{"name":"x","datatype":"FP32","shape":[-1,2,2,-1]}]`),
		"takes inputs of the datatype FP64": about(`"inputs":[{"name":"x","datatype":"FP64","shape":[-1,3]}]`, func(s *endpoint.Spec) {
			s.Datatype = "FP32"
		}),
		`the datatype "FP16" cannot`:             about(`"inputs":[{"name":"x","datatype":"FP16","shape":[-1,3]}]`),
		"takes 2 inputs (a, b)":                  about(`"inputs":[{"name":"a"},{"name":"b"}]`),
		`takes the input x, not "y"`:             about(`"inputs":[{"name":"x"}]`, func(s *endpoint.Spec) { s.InputName = "y" }),
		"has the outputs p, q: name one":         about(`"outputs":[{"name":"p"},{"name":"q"}]`),
		`has the outputs p, and not "z"`:         about(`"outputs":[{"name":"p"}]`, func(s *endpoint.Spec) { s.Output = "z" }),
		"answers with the outputs probabilities": func(_ *server, spec *endpoint.Spec) { spec.Output = "other" },
		"is not finite: score 1 is NaN":          says(`[0.1, null, 0.2, 0.7]`),
		"score 2 is +Inf":                        says(`[0.1, 1, Infinity, 0.7]`),
		"score 3 is NaN":                         says(`[0.1, 1, 2, "nan"]`),
		"and 3 values":                           says(`[0.1, 0.2, 0.7]`),
		"there should be 5 classes":              func(_ *server, spec *endpoint.Spec) { spec.Classes = 5 },
		"which is no probability": func(s *server, spec *endpoint.Spec) {
			spec.Returns = "probabilities"
			says(`[1, 2, 3, 4]`)(s, spec)
		},
		"does not say how many classes": func(s *server, _ *endpoint.Spec) { s.labels = true },
		"label 7": func(s *server, spec *endpoint.Spec) {
			s.labels, spec.Classes = true, 3
			says(`[7]`)(s, spec)
		},
		"are they what it takes? See Spec.InputShape": func(s *server, spec *endpoint.Spec) { s.weights = random(9, 2).weights },
		"<html>Welcome</html>": func(s *server, _ *endpoint.Spec) {
			s.fault = func(_ int, w http.ResponseWriter, _ *http.Request) bool {
				fmt.Fprint(w, "<html>Welcome</html>")
				return true
			}
		},
		"asks to come back in 1h0m0s": func(s *server, _ *endpoint.Spec) {
			s.fault = func(_ int, w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Retry-After", "3600")
				w.WriteHeader(http.StatusServiceUnavailable)
				return true
			}
		},
		"do not fit whole numbers": func(_ *server, spec *endpoint.Spec) {
			spec.Datatype, spec.Box = "UINT8", advlib.Box{Lo: -1, Hi: 1}
		},
		"there are no answers called": func(_ *server, spec *endpoint.Spec) { spec.Returns = "scores" },
	} {
		t.Run(want, func(t *testing.T) {
			s := newServer(t, m)
			spec := specOf(s, 3)
			set(s, &spec)
			start := time.Now()
			e, err := endpoint.Open(t.Context(), spec)
			if err == nil {
				e.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "geheim") {
				t.Errorf("the error %q does not say %q", err, want)
			}
			if elapsed := time.Since(start); elapsed > 10*time.Second {
				t.Errorf("it took %v", elapsed)
			}
		})
	}
}

// about gives a server metadata, and changes a spec.
func about(metadata string, set ...func(*endpoint.Spec)) func(*server, *endpoint.Spec) {
	return func(s *server, spec *endpoint.Spec) {
		s.metadata = `{"name":"m",` + metadata + `}`
		for _, f := range set {
			f(spec)
		}
	}
}

// says makes a server answer each input with a row of JSON.
func says(row string) func(*server, *endpoint.Spec) {
	return func(s *server, _ *endpoint.Spec) {
		s.answer = func(p [][]float64) any {
			return json.RawMessage("[" + strings.TrimSuffix(strings.Repeat(row+",", len(p)), ",") + "]")
		}
	}
}

func TestKindsOfAnswers(t *testing.T) {
	home(t)
	m := random(3, 4)
	for name, c := range map[string]struct {
		set  func(*server, *endpoint.Spec)
		want advlib.Answer
		note string
	}{
		"labels": {func(s *server, spec *endpoint.Spec) { s.labels, spec.Classes = true, 4 },
			advlib.Answer{Kind: advlib.Label, Label: int32(m.label([]float64{0.5, 0.5, 0.5}))}, "labels only"},
		"logits": {says(`[-1, 2.5, "-Infinity", 3]`), advlib.Answer{}, ""},
		"rounded": {says(`[0.25, 0.25, 0.5, 0]`), advlib.Answer{Kind: advlib.Probabilities, Scores: []float32{0.25, 0.25, 0.5, 0}},
			"2 digits behind the point"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, m)
			spec := specOf(s, 3)
			c.set(s, &spec)
			e, err := endpoint.Open(t.Context(), spec)
			if name == "logits" { // −∞ is none
				if err == nil || !strings.Contains(err.Error(), "score 2 is -Inf") {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			said, err := query(t, e, []float32{0.5, 0.5, 0.5})
			if err != nil || len(said) != 1 || fmt.Sprint(said[0]) != fmt.Sprint(c.want) {
				t.Errorf("%+v (%v), want %+v", said, err, c.want)
			}
			if notes := strings.Join(e.Signature().Notes, "\n"); !strings.Contains(notes, c.note) {
				t.Errorf("the notes %q do not say %q", notes, c.note)
			}
			if name == "labels" {
				if none := new(advlib.NoScoresError); !errors.As(advlib.GivesScores(e), &none) {
					t.Error("labels only count as scores")
				}
			}
		})
	}
}

func TestNonFiniteAnswersOfLaterQuestions(t *testing.T) {
	home(t)
	s := newServer(t, random(2, 3))
	e := open(t, specOf(s, 2))
	for _, row := range []string{`["NaN", "Infinity", 0.5]`, `[null, 1e999, 0.5]`, `[NaN, Infinity, 0.5]`} {
		says(row)(s, nil)
		said, err := query(t, e, []float32{rand.Float32(), 0.5})
		if err != nil || len(said) != 1 || !math.IsNaN(float64(said[0].Scores[0])) || !math.IsInf(float64(said[0].Scores[1]), 1) ||
			said[0].Class() != -1 {
			t.Errorf("%s is read as %+v, %v", row, said, err)
		}
	}
	// A wrong number of rows is an error, and what was answered before stays.
	s.answer = func([][]float64) any { return [][]float64{{1, 0, 0}, {1, 0, 0}} }
	if _, err := query(t, e, []float32{0.123, 0.5}); err == nil || !strings.Contains(err.Error(), "shape [1 3] and 6 values") {
		t.Errorf("two rows for one input: %v", err)
	}
}

func TestRandomServer(t *testing.T) {
	home(t)
	s := newServer(t, random(3, 4))
	s.answer = func(p [][]float64) any {
		for _, row := range p {
			δ := 0.01 * rand.Float64()
			row[0], row[1] = row[0]+δ, row[1]-δ
		}
		return p
	}
	e := open(t, specOf(s, 3))
	got := e.Signature()
	if !got.Random || len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "differ by up to 0.0") {
		t.Errorf("a server that adds noise is random: %t, with the warnings %q", got.Random, got.Warnings)
	}
	before := s.inputs
	for range 2 {
		if _, err := query(t, e, []float32{0.5, 0.5, 0.5, 0.5, 0.5, 0.5}); err != nil {
			t.Fatal(err)
		}
	}
	if s.inputs != before+4 || e.Fingerprint() != "" {
		t.Errorf("%d inputs were sent of 4 that are the same: a random server is asked each time", s.inputs-before)
	}
	if files, _ := filepath.Glob(filepath.Join(os.Getenv(cachedir.Variable), "answers", "*", "*", "*.log")); len(files) > 0 {
		t.Errorf("answers of a random server are kept: %q", files)
	}
	// Rounding is no noise.
	s.answer = func(p [][]float64) any {
		p[0][0] += 1e-9 * rand.Float64()
		return p
	}
	spec := specOf(s, 3)
	spec.Fresh = true
	if got := open(t, spec).Signature(); got.Random || !strings.Contains(strings.Join(got.Notes, ""), "differ by rounding") {
		t.Errorf("a server that rounds otherwise is random: %t, %q", got.Random, got.Notes)
	}
}

func TestKeptAnswers(t *testing.T) {
	home(t)
	s := newServer(t, random(3, 4))
	x := []float32{0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.1, 0.2, 0.3}
	ask := func(spec endpoint.Spec) (inputs int, e *endpoint.Endpoint) {
		before := s.inputs
		e, err := endpoint.Open(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := query(t, e, x); err != nil {
			t.Fatal(err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		return s.inputs - before, e
	}
	spec := specOf(s, 3)
	first, e := ask(spec)
	again, same := ask(spec)
	if first != 6+2 || again != 1 || e.Fingerprint() == "" || e.Fingerprint() != same.Fingerprint() {
		t.Errorf("%d inputs were sent, and then %d, want 8 and 1; fingerprints %q, %q", first, again, e.Fingerprint(), same.Fingerprint())
	}
	// A log that a crash has cut keeps what is whole.
	logs, err := filepath.Glob(filepath.Join(os.Getenv(cachedir.Variable), "answers", "*", "*", "*.log"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("logs %q, %v", logs, err)
	}
	info, err := os.Stat(logs[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(logs[0], info.Size()-3); err != nil {
		t.Fatal(err)
	}
	if cut, _ := ask(spec); cut != 2 {
		t.Errorf("%d inputs were sent after the last record was cut, want 2", cut)
	}
	if again, _ := ask(spec); again != 1 {
		t.Errorf("%d inputs were sent after that, want 1", again)
	}
	// Another model under the same name is noticed, and asked anew.
	s.model = model{weights: random(3, 5).weights[1:]}
	anew, other := ask(spec)
	notes := strings.Join(other.Signature().Notes, "")
	if anew != 1+6+2 || other.Fingerprint() == e.Fingerprint() || !strings.Contains(notes, "another one now") {
		t.Errorf("of another model %d inputs were sent, want 9; %q, notes %q", anew, other.Fingerprint(), notes)
	}
	spec.Fresh = true
	if fresh, _ := ask(spec); fresh != 8 {
		t.Errorf("%d inputs were sent afresh, want 8", fresh)
	}
	spec.Fresh, spec.Forget = false, true
	if forgotten, e := ask(spec); forgotten != 8 || e.Fingerprint() != "" {
		t.Errorf("%d inputs were sent where nothing is kept, want 8", forgotten)
	}
}

func TestEightBits(t *testing.T) {
	home(t)
	l, m := linear(t)
	for k := range m.weights { // of bytes
		for i := range m.weights[k] {
			m.weights[k][i] /= 255
		}
	}
	s := newServer(t, m)
	s.metadata = `{"inputs":[{"name":"image","datatype":"UINT8","shape":[-1,-1]}],"outputs":[{"name":"probabilities"}]}`
	e := open(t, specOf(s, len(m.weights[0])))
	x := tensors.MustCopyFlatData[float32](l.Examples.X)
	for i := range x {
		x[i] = float32(math.Round(float64(x[i])*255)) / 255
	}
	bytes, err := advlib.NewExamples("bytes", x, l.Examples.Shape(), l.Examples.Y)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Fit(l.Examples); err == nil || !strings.Contains(err.Error(), "the nearest is") {
		t.Errorf("examples that are no bytes: %v", err)
	}
	on, err := e.Fit(bytes)
	if err != nil {
		t.Fatal(err)
	}
	res, err := advlib.Run(t.Context(), e, on, square(100))
	if err != nil {
		t.Fatal(err)
	}
	broken := 0
	for i, d := range res.Distance {
		if res.Success[i] && d > 0 {
			broken++
			if level := d * 255; math.Abs(level-math.Round(level)) > 1e-6 || d > 0.15 {
				t.Errorf("example %d is at distance %g, which is no whole number of steps", i, d)
			}
		}
	}
	if broken == 0 {
		t.Error("nothing is broken")
	}
	for _, v := range s.lastInput {
		if v != math.Round(v) || v < 0 || v > 255 {
			t.Errorf("the server was sent %g", v)
		}
	}
}

func TestImagesAreTurned(t *testing.T) {
	home(t)
	s := newServer(t, random(12, 4))
	s.metadata = `{"inputs":[{"name":"image","datatype":"FP64","shape":[-1,3,2,2]}]}`
	spec := specOf(s, 0)
	spec.Input = []int{2, 2, 3}
	e := open(t, spec)
	if _, err := query(t, e, []float32{0, .25, .5, 0, .25, .5, 0, .25, .5, 0, .25, .5}); err != nil {
		t.Fatal(err)
	}
	want := []float64{0, 0, 0, 0, .25, .25, .25, .25, .5, .5, .5, .5}
	if !slices.Equal(s.lastInput, want) || !slices.Equal(s.shape, []int{1, 3, 2, 2}) {
		t.Errorf("the server was sent %v of shape %v, want %v", s.lastInput, s.shape, want)
	}
}

func TestStatus500(t *testing.T) {
	home(t)
	s := newServer(t, random(3, 4))
	spec := specOf(s, 3)
	spec.Forget = true
	once := func() {
		failed := false
		s.fault = func(_ int, w http.ResponseWriter, _ *http.Request) bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			if failed {
				return false
			}
			failed = true
			w.WriteHeader(http.StatusInternalServerError)
			return true
		}
	}
	once()
	if _, err := endpoint.Open(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "500 Internal Server Error") {
		t.Errorf("status 500: %v", err)
	}
	once()
	spec.Retry500 = true
	if bill := open(t, spec).Bill(); bill.Again != 1 {
		t.Errorf("status 500 where that is sent again: %v", bill)
	}
}

func TestInterrupted(t *testing.T) {
	home(t)
	s := newServer(t, random(3, 4))
	spec := specOf(s, 3)
	spec.Forget = true
	e := open(t, spec)
	ctx, cancel := context.WithCancel(t.Context())
	s.fault = func(_ int, _ http.ResponseWriter, r *http.Request) bool {
		cancel()
		<-r.Context().Done()
		return true
	}
	start := time.Now()
	_, err := e.Query(ctx, tensors.FromFlatDataAndDimensions([]float32{1, 0, 1}, 1, 3))
	if !errors.Is(err, context.Canceled) || time.Since(start) > 6*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
}

// TestAgainstServe asks the library's own server, whatever its victims tell: a result must be that of the victim.
func TestAgainstServe(t *testing.T) {
	home(t)
	t.Setenv("ADVLAB_TEST_TOKEN", secret)
	l, m := linear(t)
	function := oracle.Func("f", advlib.Signature{Input: l.Classifier.Input(), Box: advlib.UnitBox, Classes: len(m.weights)},
		func(x []float32) []float32 {
			p := m.scores(slices.Collect(func(yield func(float64) bool) {
				for _, v := range x {
					if !yield(float64(v)) {
						return
					}
				}
			}))
			z := make([]float32, len(p))
			for k := range p {
				z[k] = float32(math.Log(p[k]))
			}
			return z
		})
	refusing := oracle.Rejecting(function, "refusing", func(x []float32, _ advlib.Answer) bool { return x[0] > 0.9 })
	labels := attack.HopSkipJump{Norm: advlib.L2, Queries: 60}
	for name, c := range map[string]struct {
		victim advlib.Victim
		attack advlib.Attack
	}{
		"logits":                   {function, square(60)},
		"probabilities":            {oracle.Probabilities(function), square(60)},
		"top":                      {oracle.TopK(function, 3), square(60)},
		"rounded":                  {oracle.Rounded(oracle.Probabilities(function), 2), square(60)},
		"labels":                   {oracle.Labels(function), labels},
		"rejecting":                {oracle.Labels(refusing), labels},
		"scores that are rejected": {oracle.TopK(refusing, 2), square(60)},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := serve.Local(c.victim, serve.Options{Token: secret, Alone: true})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			e := open(t, endpoint.Spec{URL: s.URL, Input: l.Classifier.Input(), Box: advlib.UnitBox, Token: "ADVLAB_TEST_TOKEN"})
			if got, want := e.Signature(), c.victim.Signature(); got.Returns != want.Returns || got.Classes != want.Classes {
				t.Errorf("it returns %v of %d classes, the victim %v of %d", got.Returns, got.Classes, want.Returns, want.Classes)
			}
			want := advlib.MustRun(t.Context(), c.victim, l.Examples, c.attack)
			got := advlib.MustRun(t.Context(), e, l.Examples, c.attack)
			if !slices.Equal(got.Distance, want.Distance) || !slices.Equal(got.Success, want.Success) {
				t.Errorf("%v reaches %v, on the victim itself %v", c.attack, got.Distance, want.Distance)
			}
			if !slices.Contains(got.Success, true) {
				t.Error("nothing is broken")
			}
		})
	}
}
