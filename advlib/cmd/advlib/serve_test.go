package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"advlab/advlib/dataset"
)

// served is what a server writes, which tells when it has said its address.
type served struct {
	mu  sync.Mutex
	b   bytes.Buffer
	url chan string
}

func (s *served) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if line, ok := strings.CutSuffix(string(p), "\n"); ok && strings.HasPrefix(line, "http://") {
		s.url <- line
	}
	return s.b.Write(p)
}

func (s *served) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// serveModel runs the command until the test is done with it, and returns the model's address and a function that stops
// it and returns what it has said.
func serveModel(t *testing.T, args ...string) (url string, stop func() string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, said, done := &served{url: make(chan string, 1)}, &served{}, make(chan int, 1)
	args = append([]string{"serve", "--listen", "127.0.0.1:0", "--backend", "go", "--model",
		filepath.Join(models(t), "pytorch-script.onnx")}, args...)
	go func() { done <- run(ctx, args, out, said) }()
	select {
	case url = <-out.url:
	case status := <-done:
		cancel()
		t.Fatalf("%q: status %d: %s", args, status, said)
	}
	return url, func() string {
		cancel()
		if status := <-done; status != 0 {
			t.Errorf("%q: status %d: %s", args, status, said)
		}
		return said.String()
	}
}

// infer asks about digits, and returns the first output's data.
func infer(t *testing.T, url, token string, x []float32) (status int, data []float64, body string) {
	t.Helper()
	text, err := json.Marshal(map[string]any{"inputs": []any{map[string]any{"name": "input", "datatype": "FP32",
		"shape": []int{len(x) / 64, 8, 8,
			1}, "data": x}}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/infer", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	all, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var a struct{ Outputs []struct{ Data []float64 } }
	if err := json.Unmarshal(all, &a); err != nil {
		t.Fatalf("%v in %q", err, all)
	}
	if len(a.Outputs) > 0 {
		data = a.Outputs[0].Data
	}
	return res.StatusCode, data, string(all)
}

func TestServe(t *testing.T) {
	e, err := dataset.NPZScaled(filepath.Join(models(t), "pytorch.npz"), 1)
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float32, 0, 64)
	e.X.MustConstFlatData(func(flat any) { x = append(x, flat.([]float32)[:128*64]...) })
	shape := []string{"--layout", "channels-last", "--input-shape", "8,8,1"}

	url, stop := serveModel(t, append(shape, "--answers", "labels", "-v")...)
	right := 0
	status, data, body := infer(t, url, "", x)
	if status != http.StatusOK || len(data) != 128 {
		t.Fatalf("%d: %.300s", status, body)
	}
	for i, y := range e.Y[:128] {
		if data[i] == float64(y) {
			right++
		}
	}
	if right != 123 { // PyTorch's own count
		t.Errorf("%d of 128 labels are right", right)
	}
	if !strings.HasSuffix(url, "/v2/models/pytorch-script") {
		t.Errorf("at %s", url)
	}
	said := stop()
	for _, want := range []string{"pytorch-script, labels only: answers with label to inputs [8 8 1] in [0, 1], backend",
		"127.0.0.1 POST /v2/models/pytorch-script/infer 200, inputs 128, ", "1 requests; 128 inputs answered in 1 batches\n"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not said:\n%s", want, said)
		}
	}

	t.Setenv("SECRET", "s3")
	url, stop = serveModel(t, append(shape, "--answers", "top-2", "--round", "1", "--token-env", "SECRET", "--name", "m", "--listen",
		"0.0.0.0:0",
		"--detect", "knn", "--detect-data", filepath.Join(models(t), "pytorch.npz"), "--detect-action", "ban")...)
	url = strings.Replace(url, "0.0.0.0", "127.0.0.1", 1)
	url = strings.Replace(url, "[::]", "127.0.0.1", 1)
	if status, _, body := infer(t, url, "", x[:64]); status != http.StatusUnauthorized {
		t.Errorf("without a token: %d %s", status, body)
	}
	if status, data, body := infer(t, url, "s3", x[:64]); status != http.StatusOK || len(data) != 2 || !strings.Contains(body,
		`"probabilities"`) {
		t.Errorf("%d %s", status, body)
	}
	for i := range 51 {
		if status, _, body := infer(t, url, "s3", x[:64]); (status == http.StatusOK) != (i < 49) || status != 200 && status != 403 {
			t.Errorf("query %d: %d %s", i+2, status, body)
		}
	}
	said = stop()
	for _, want := range []string{"which is not the loopback interface: whoever reaches this machine and has the token can ask the model",
		"the first at query 51", "(ban): 1 of 52 queries flagged, 2 not answered"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not said:\n%s", want, said)
		}
	}
	if strings.Contains(said, "s3") {
		t.Errorf("the token is printed:\n%s", said)
	}
}

func TestServeMisuse(t *testing.T) {
	for args, want := range map[string]string{
		"":                                 "--model is missing",
		"m.onnx":                           "serve takes flags only",
		"--store abc":                      "--input-shape is missing",
		"--model m.onnx":                   "m.onnx",
		"--model m.onnx --input-shape 8,0": "--input-shape: [8 0]",
		"--model m.onnx --answers top-0":   `--answers: there is no "top-0"`,
		"--model m.onnx --answers all":     "there are logits, probabilities, top-K as in top-3, and labels",
		"--model m.onnx --round -1":        "--round: -1",
		"--model m.onnx --answers labels --round 1":                                           "there are no scores to round",
		"--model m.onnx --rate -1":                                                            "--rate -1",
		"--model m.onnx --burst 2":                                                            "--burst is given without --rate",
		"--model m.onnx --timeout 0s":                                                         "--timeout 0s",
		"--model m.onnx --token-env NOT_SET_ANYWHERE":                                         `"NOT_SET_ANYWHERE" is not set`,
		"--model m.onnx --detect magic":                                                       `no detector "magic"`,
		"--model m.onnx --detect knn":                                                         "--detect-threshold, or --detect-data",
		"--model m.onnx --detect-status 403":                                                  "--detect-status is given without --detect",
		"--model m.onnx --detect blacklight --detect-status 500":                              "--detect-status: 500",
		"--model m.onnx --detect blacklight --detect-action shoot":                            `there is no "shoot"`,
		"--model m.onnx --detect blacklight --detect-threshold 1":                             "blacklight has none",
		"--model m.onnx --detect knn --detect-threshold 1 --detect-data d":                    "are both given",
		"--model m.onnx --listen 8000":                                                        "--listen: address 8000",
		fmt.Sprintf("--model %s/pytorch-script.onnx --input-shape 3 --backend go", models(t)): "--model:",
		fmt.Sprintf("--model %s/pytorch-script.onnx --input-shape 8,8,1 --layout channels-last --backend go --detect knn "+
			"--detect-data %s/none.npz", models(t), models(t)): "--detect-data:",
	} {
		var out, said bytes.Buffer
		status := run(t.Context(), append([]string{"serve"}, strings.Fields(args)...), &out, &said)
		if status != misused || !strings.Contains(said.String(), want) || out.Len() > 0 {
			t.Errorf("%s: status %d, %s%s, want %q", args, status, out.String(), said.String(), want)
		}
	}
}
