package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"advlab/advlib/dataset"
)

// files returns where the workloads' files are: the 8 examples of the checkout, unless ADVLAB_PEERS names a folder with
// more of them, and ACAS Xu beside the checkout.
func files() sources {
	s := sources{examples: 128, folder: filepath.Join(os.TempDir(), "advlab-bench")} // as in compare.py
	reference := os.Getenv("ADVLAB_PEERS")
	if reference == "" {
		reference = filepath.Join("..", "attack", "attacktest", "testdata")
	}
	s.cnn = filepath.Join(reference, "cnn-mnist-adv.npz")
	s.acas = filepath.Join("..", "..", "..", "shared", "data", "vnnlib", "ACASXU_run2a_1_1_batch_2000.onnx")
	return s
}

// The workloads without the peers: go test -run '^$' -bench . ./advlib/bench. The first attack trains the models, which
// takes minutes.
func BenchmarkWorkloads(b *testing.B) {
	s := files()
	if err := os.MkdirAll(s.folder, 0o755); err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"pgd", "autoattack", "cw", "cw-all-steps", "square", "square-l2", "hopskipjump", "surfree", "cnn", "acas"} {
		w, err := makers[name](b.Context(), s)
		var missing *dataset.MissingError
		if errors.As(err, &missing) || errors.Is(err, os.ErrNotExist) {
			b.Run(name, func(b *testing.B) { b.Skipf("a file is missing: %v", err) })
			continue
		}
		if err != nil {
			b.Fatal(err)
		}
		for _, t := range w.turns {
			b.Run(name+"/"+strings.ReplaceAll(t.name, " ", "-"), func(b *testing.B) {
				a, err := t.do(b.Context()) // compiles
				if err != nil {
					b.Fatal(err)
				}
				used := cpu()
				for b.Loop() {
					if a, err = t.do(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric((cpu()-used)/float64(b.N), "cpu-s/op") // which a busy machine disturbs less
				if a.Forward > 0 {
					b.ReportMetric(a.Forward, "forward/example")
					b.ReportMetric(a.Backward, "backward/example")
				}
			})
		}
	}
}

// What compare.py reads is there: the arrays, the names of the turns, and a reply for each line.
func TestServe(t *testing.T) {
	s := files()
	s.folder = t.TempDir()
	var out bytes.Buffer
	if err := serve(t.Context(), s, []string{"cnn"}, strings.NewReader("cnn/for float32\n"), &out); err != nil {
		t.Fatal(err)
	}
	var names map[string][]string
	var r struct {
		Margins      [][]float64
		Seconds, CPU float64
	}
	answers := json.NewDecoder(&out)
	if err := errors.Join(answers.Decode(&names), answers.Decode(&r)); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(names["cnn"], ", "); got != "real arithmetic, for float32" {
		t.Errorf("turns %q", got)
	}
	if len(r.Margins) < 8 || len(r.Margins[0]) != 9 || !(r.Seconds > 0) || !(r.CPU > 0) {
		t.Errorf("reply %+v", r)
	}
	for _, file := range []string{"cnn.npz", "cnn.json"} {
		if info, err := os.Stat(filepath.Join(s.folder, file)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", file, err)
		}
	}
	if err := serve(t.Context(), s, []string{"nope"}, strings.NewReader(""), &out); err == nil || !strings.Contains(err.Error(), "nope") {
		t.Errorf("an unknown workload: %v", err)
	}
}
