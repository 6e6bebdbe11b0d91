package endpoint_test

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/dataset"
	"advlab/advlib/endpoint"
	"advlab/advlib/internal/npz"
	"advlab/advlib/oracle"
)

// freePort returns a port of the loopback that nobody listens at.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// startMLServer starts the server, with a model of digits, and returns its address and its folder.
func startMLServer(t *testing.T, program string) (url, folder string) {
	t.Helper()
	folder = t.TempDir()
	port := freePort(t)
	prepare := exec.Command(filepath.Join(filepath.Dir(program), "python"), "testdata/mlserver.py", folder, fmt.Sprint(port),
		fmt.Sprint(freePort(t)))
	if text, err := prepare.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	server := exec.Command(program, "start", folder)
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	server.Stdout, server.Stderr = log, log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	running, ended := context.WithCancel(context.Background())
	go func() {
		_ = server.Wait() // the log says why
		ended()
	}()
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGTERM)
		<-running.Done()
		log.Close()
	})
	url = fmt.Sprintf("http://127.0.0.1:%d", port)
	if !ready(t, running, url+"/v2/models/digits/ready") {
		state := fmt.Sprintf("is not ready after %v", patience)
		if running.Err() != nil {
			state = fmt.Sprintf("has ended, %v", server.ProcessState)
		}
		text, _ := os.ReadFile(log.Name())
		t.Fatalf("MLServer %s:\n%s", state, text)
	}
	return url, folder
}

// patience is for a busy machine: a quiet one has the server ready in seconds.
const patience = 5 * time.Minute

// ready asks an address until it answers 200, and reports false when running is done or patience is at its end.
func ready(t *testing.T, running context.Context, url string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(running, patience)
	defer cancel()
	for ctx.Err() == nil {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := http.DefaultClient.Do(request); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return true
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	return false
}

// TestMLServer attacks a server that nobody here wrote: MLServer 1.7.1 with the runtime of scikit-learn, in an
// environment of its own. The model is linear, so that the optimum is known, but for the box, which makes it larger.
func TestMLServer(t *testing.T) {
	program := os.Getenv("ADVLAB_MLSERVER")
	if program == "" {
		t.Skip("ADVLAB_MLSERVER is not set: it names the program mlserver of an environment made by " +
			"python -m venv V; V/bin/pip install mlserver==1.7.1 mlserver-sklearn==1.7.1; the test takes a minute")
	}
	home(t)
	url, folder := startMLServer(t, program)
	file := filepath.Join(folder, "test.npz")
	examples, err := dataset.File{Path: file, X: "x", Y: "y", Scale: 1}.Examples()
	if err != nil {
		t.Fatal(err)
	}
	optimum := func(norm string) []float64 {
		all, err := npz.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d []float64
		for _, v := range tensors.MustCopyFlatData[float32](all[norm]) {
			d = append(d, float64(v))
		}
		return d
	}
	spec := endpoint.Spec{URL: url, Model: "digits", Input: examples.Shape(), InputShape: []int{64}, Datatype: "FP64", Box: advlib.UnitBox,
		Probe: examples}

	spec.Output = "predict"
	labels := open(t, spec)
	if got := labels.Signature(); got.Returns != advlib.Label || got.Classes != 10 {
		t.Errorf("predict returns %v of %d classes", got.Returns, got.Classes)
	}
	res := advlib.MustRun(t.Context(), oracle.Budget(labels, 2000), examples, attack.HopSkipJump{Norm: advlib.L2, Queries: 2000})
	var ratios []float64
	for i, best := range optimum("l2") {
		ratios = append(ratios, res.Distance[i]/best)
		if !res.Success[i] || res.Queries[i] > 2000 || res.Distance[i] < best*(1-1e-4) {
			t.Errorf("example %d: HopSkipJump reaches %g with %d queries, the optimum is at least %g", i, res.Distance[i], res.Queries[i], best)
		}
	}
	slices.Sort(ratios)
	t.Logf("HopSkipJump by labels, 2000 queries: %d of %d examples broken, median distance %.3f, ratio to the optimum without a box: "+
		"median %.3f, most %.3f; %v", len(ratios), examples.Len(), median(res.Distance), median(ratios), ratios[len(ratios)-1], labels.Bill())
	if median(ratios) > 1.3 {
		t.Errorf("the median ratio is %.3f", median(ratios))
	}

	spec.Output = "predict_proba"
	scores := open(t, spec)
	if got := scores.Signature(); got.Returns != advlib.Probabilities {
		t.Errorf("predict_proba returns %v", got.Returns)
	}
	const ε = 0.15
	res = advlib.MustRun(t.Context(), oracle.Budget(scores, 1000), examples, attack.Square{Ball: advlib.Linf.Ball(ε), Queries: 1000})
	broken, possible := 0, 0
	for i, best := range optimum("linf") {
		if res.Success[i] {
			broken++
		}
		if best <= ε {
			possible++
		}
		if res.Success[i] && best > ε*(1+1e-4) {
			t.Errorf("example %d is broken within %g, and the optimum is at least %g", i, ε, best)
		}
	}
	t.Logf("Square by scores, 1000 queries, Linf ≤ %g: %d of %d examples broken, at most %d could be; %v", ε, broken, examples.Len(), possible,
		scores.Bill())
	if broken*2 < possible || broken == 0 {
		t.Errorf("%d are broken of %d that may be", broken, possible)
	}

	spec.Output = ""
	if e, err := endpoint.Open(t.Context(), spec); err != nil || e.Signature().Returns != advlib.Label {
		t.Errorf("without an output MLServer's is predict: %v", err)
	} else if err := e.Close(); err != nil {
		t.Error(err)
	}
	spec.InputShape = nil
	if _, err := endpoint.Open(t.Context(), spec); err == nil {
		t.Error("inputs of the shape [8, 8] are taken by a model of 64 features")
	} else {
		t.Logf("the wrong shape: %v", err)
	}
}

func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	if len(v) == 0 {
		return math.NaN()
	}
	return v[len(v)/2]
}
