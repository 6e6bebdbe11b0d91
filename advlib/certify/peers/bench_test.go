package main

import (
	"os"
	"path/filepath"
	"testing"
)

// The workloads without the peer: go test -run '^$' -bench . ./advlib/certify/peers. ADVLAB_PEERS names a folder with cnn-mnist-adv.npz; else
// the 8 examples of the checkout are taken. ACAS Xu is left out if its network is not beside the checkout.
func BenchmarkCROWN(b *testing.B) {
	folder := os.Getenv("ADVLAB_PEERS")
	if folder == "" {
		folder = filepath.Join("..", "..", "attack", "attacktest", "testdata")
	}
	acas, err := filepath.Glob(filepath.Join("..", "..", "..", "..", "shared", "data", "vnnlib", "ACASXU_run2a_1_1_batch_2000.onnx"))
	if err != nil {
		b.Fatal(err)
	}
	all, err := workloads(filepath.Join(folder, "cnn-mnist-adv.npz"), acas)
	if err != nil {
		b.Fatal(err)
	}
	for _, w := range all {
		for _, m := range w.methods() {
			b.Run(m.name, func(b *testing.B) {
				if _, err := m.run(b.Context()); err != nil { // compiles
					b.Fatal(err)
				}
				used := 0.
				for b.Loop() {
					r, err := m.run(b.Context())
					if err != nil {
						b.Fatal(err)
					}
					used += r.CPU
				}
				b.ReportMetric(used/float64(b.N), "cpu-s/op") // which a busy machine disturbs less
			})
		}
	}
}
