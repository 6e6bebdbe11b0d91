package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"advlab/advlib/dataset"
)

// The workloads without the peers: go test -run '^$' -bench . ./advlib/attack/peers. The first trains the models, which takes minutes.
func BenchmarkWorkloads(b *testing.B) {
	for _, name := range []string{"pgd", "autoattack", "cw", "cw-all-steps"} {
		b.Run(name, func(b *testing.B) {
			w := load(b, name)
			r, _, err := w.run(b.Context()) // compiles
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if r, _, err = w.run(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(r.Forward, "forward/example")
			b.ReportMetric(r.Backward, "backward/example")
		})
	}
}

func load(b *testing.B, name string) workload {
	b.Helper()
	folder := filepath.Join(os.TempDir(), "advlab-peers") // as in compare.py
	if err := os.MkdirAll(folder, 0o755); err != nil {
		b.Fatal(err)
	}
	all, err := workloads(b.Context(), folder, 128)
	var missing *dataset.MissingError
	if errors.As(err, &missing) {
		b.Skipf("needs MNIST's test files: %v", err)
	}
	if err != nil {
		b.Fatal(err)
	}
	for _, w := range all {
		if w.Name == name {
			return w
		}
	}
	b.Fatalf("there is no workload %q", name)
	return workload{}
}
