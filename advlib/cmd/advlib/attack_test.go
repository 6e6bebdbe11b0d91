package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib/cachedir"
	"advlab/advlib/internal/npz"
	"advlab/advlib/report"
)

// planeServer answers with the probabilities of two classes, or the label, of how far the sum of 4 inputs is above 2.
func planeServer(t *testing.T, inputs *atomic.Int64, during func(n int64)) *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"name":"plane","extensions":[]}`) })
	mux.HandleFunc("GET /v2/models/plane", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"name":"plane","inputs":[{"name":"x","datatype":"FP64","shape":[-1,4]}],
			"outputs":[{"name":"p","datatype":"FP64","shape":[-1,2]},{"name":"y","datatype":"INT64","shape":[-1,1]}]}`)
	})
	mux.HandleFunc("GET /v2/models/plane/ready", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /v2/models/plane/infer", func(w http.ResponseWriter, r *http.Request) {
		var ask struct {
			Inputs  []struct{ Data []float64 }
			Outputs []struct{ Name string }
		}
		if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
			t.Error(err)
		}
		if during != nil {
			during(inputs.Load())
		}
		inputs.Add(1)
		z := -2.
		for _, v := range ask.Inputs[0].Data {
			z += v
		}
		p := 1 / (1 + math.Exp(-4*z))
		shape, data := "[1,2]", fmt.Sprintf("[%g,%g]", 1-p, p)
		if ask.Outputs[0].Name == "y" {
			shape, data = "[1,1]", fmt.Sprintf("[%d]", int(math.Round(p)))
		}
		fmt.Fprintf(w, `{"outputs":[{"name":%q,"shape":%s,"datatype":"FP64","data":%s}]}`, ask.Outputs[0].Name, shape, data)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// planeData writes examples of the plane: sums of 1.6 and 2.4, so that the nearest of the other class is at 0.4/√4.
func planeData(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "plane.npz")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	x := []float32{.4, .4, .4, .4, .6, .6, .6, .6, .2, .6, .5, .3, .7, .8, .4, .5}
	err = npz.Write(f, map[string]*tensors.Tensor{"x": tensors.FromFlatDataAndDimensions(x, 4, 4),
		"y": tensors.FromFlatDataAndDimensions([]int32{0, 1, 0, 1}, 4)})
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestAttackOfAServer(t *testing.T) {
	t.Setenv(cachedir.Variable, t.TempDir())
	t.Setenv("ADVLAB_TEST_TOKEN", "geheim")
	var inputs atomic.Int64
	s, data := planeServer(t, &inputs, nil), planeData(t)
	attack := func(flags ...string) (status int, out, progress string) {
		var o, p bytes.Buffer
		status = run(t.Context(), append([]string{"attack", "--backend", "go", "--url", s.URL, "--model", "plane", "--data", data},
			flags...), &o, &p)
		return status, o.String(), p.String()
	}
	labels := []string{"--model-output", "y", "--attack", "hopskipjump", "--queries", "300", "--price", "0.5"}

	status, out, progress := attack(append(labels, "--dry-run", "--token-env", "ADVLAB_TEST_TOKEN")...)
	if status != done || !strings.Contains(out, "Bearer ***") || strings.Contains(out+progress, "geheim") || inputs.Load() != 0 {
		t.Errorf("dry run: status %d, %d inputs sent\n%s%s", status, inputs.Load(), out, progress)
	}

	status, out, progress = attack(append(labels, "--format", "json")...)
	if status != done {
		t.Fatalf("status %d\n%s", status, progress)
	}
	sent := inputs.Load()
	line := regexp.MustCompile(`bill of this run, first questions included: (\d+) inputs sent.*; at 0.5 for an input sent, ([\d.]+)`)
	bill := line.FindStringSubmatch(progress)
	if len(bill) != 3 || bill[1] != fmt.Sprint(sent) {
		t.Fatalf("the bill %q is not of the %d inputs that were sent", bill, sent)
	}
	if cost, _ := strconv.ParseFloat(bill[2], 64); cost != 0.5*float64(sent) {
		t.Errorf("%d inputs cost %s at 0.5", sent, bill[2])
	}
	if sent > 4*300+6 {
		t.Errorf("%d inputs were sent for 4 examples with 300 queries", sent)
	}
	var r report.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	for i, d := range r.Attacks[0].Distance {
		if !r.Attacks[0].Success[i] || float64(d) > 0.21 || float64(d) < 0.2-1e-6 {
			t.Errorf("example %d is at %v of the other class, want 0.2", i, d)
		}
	}
	if !strings.Contains(strings.Join(r.Notes, "\n"), "bill of this run") || r.Price != 500 {
		t.Errorf("the report's notes %q have no bill, or its price for 1000 inputs is %g, not 500", r.Notes, r.Price)
	}

	// Once more, and nothing is paid but the question whether the model is the same.
	status, again, progress := attack(append(labels, "--format", "json")...)
	if inputs.Load() != sent+1 || status != done || !strings.Contains(progress, "answers are known from before") {
		t.Errorf("status %d, %d inputs were sent again\n%s", status, inputs.Load()-sent, progress)
	}
	var r2 report.Report
	if err := json.Unmarshal([]byte(again), &r2); err != nil || fmt.Sprint(r2.Attacks[0].Distance) != fmt.Sprint(r.Attacks[0].Distance) {
		t.Errorf("again: distances %v (%v), before %v", r2.Attacks[0].Distance, err, r.Attacks[0].Distance)
	}

	// By scores, in a ball that holds the other class, and in one that does not.
	status, out, progress = attack("--model-output", "p", "--attack", "square", "--norm", "linf", "--eps", "0.05,0.15", "--queries", "100")
	if status != done || !regexp.MustCompile(`Square-100 Linf ≤ 0.05 +100.0 %`).MatchString(out) ||
		!regexp.MustCompile(`Square-100 Linf ≤ 0.15 +0.0 %`).MatchString(out) {
		t.Errorf("Square: status %d\n%s%s", status, out, progress)
	}
}

func TestAttackOfAServerInterrupted(t *testing.T) {
	var whole, parts atomic.Int64
	data := planeData(t)
	attack := func(ctx context.Context, s *httptest.Server) (int, string) {
		var o, p bytes.Buffer
		return run(ctx, []string{"attack", "--backend", "go", "--url", s.URL, "--model", "plane", "--data", data, "--model-output", "y",
			"--attack", "hopskipjump",
			"--queries", "400"}, &o, &p), o.String() + p.String()
	}
	t.Setenv(cachedir.Variable, t.TempDir())
	if status, text := attack(t.Context(), planeServer(t, &whole, nil)); status != done {
		t.Fatalf("status %d\n%s", status, text)
	}
	t.Setenv(cachedir.Variable, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	s := planeServer(t, &parts, func(n int64) {
		if n == whole.Load()/2 {
			cancel()
		}
	})
	if status, text := attack(ctx, s); status != interrupted || !strings.Contains(text, "give the same command again") {
		t.Errorf("interrupted: status %d\n%s", status, text)
	}
	if status, text := attack(t.Context(), s); status != done {
		t.Errorf("again: status %d\n%s", status, text)
	}
	// What the interrupted attack had found is judged by a question for each example, and the second one begins with one.
	if more := parts.Load() - whole.Load(); more < 0 || more > 5 {
		t.Errorf("interrupted and again, %d inputs were sent, else %d", parts.Load(), whole.Load())
	}
}

func TestAttackIsMisused(t *testing.T) {
	t.Setenv(cachedir.Variable, t.TempDir())
	var inputs atomic.Int64
	s, data := planeServer(t, &inputs, nil), planeData(t)
	template := filepath.Join(t.TempDir(), "t.json")
	if err := os.WriteFile(template, []byte(`{"path":"/p"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	good := map[string]string{"url": s.URL, "model": "plane", "data": data, "attack": "square", "norm": "linf", "eps": "0.1",
		"model-output": "p"}
	for want, flags := range map[string]map[string]string{
		"--url is missing":                    {"url": ""},
		"--data is missing":                   {"data": ""},
		"--attack is missing":                 {"attack": ""},
		"--eps is missing":                    {"eps": ""},
		`there is no attack "pgd"`:            {"attack": "pgd"},
		"--queries: 2 leaves nothing":         {"queries": "2"},
		`there is no protocol "grpc"`:         {"protocol": "grpc"},
		"it is no template|body is no JSON":   {"template": template},
		"--protocol and --template are both":  {"template": template, "protocol": "mlflow"},
		`"KEY": give a header`:                {"header-env": "KEY"},
		"ADVLAB_NO_TOKEN is not set":          {"token-env": "ADVLAB_NO_TOKEN"},
		`the server has no model "other"`:     {"model": "other"},
		"name one by --model-output":          {"model-output": ""},
		"FP64, not FP32: leave --dtype out":   {"dtype": "FP32"},
		"leave --input-shape out|of shape":    {"input-shape": "2,2"},
		"answers with a label only":           {"model-output": "y"},
		`there are no answers called "votes"`: {"returns": "votes"},
		"does not answer":                     {"url": "http://127.0.0.1:1"},
	} {
		args := []string{"attack"}
		for name, v := range good {
			if given, ok := flags[name]; ok {
				v = given
			}
			if v != "" {
				args = append(args, "--"+name, v)
			}
		}
		for name, v := range flags {
			if _, ok := good[name]; !ok {
				args = append(args, "--"+name, v)
			}
		}
		var o, p bytes.Buffer
		if status := run(t.Context(), args, &o, &p); status != misused || !regexp.MustCompile(want).MatchString(p.String()) {
			t.Errorf("%v: status %d, %q does not say %q", flags, status, p.String(), want)
		}
	}
}
