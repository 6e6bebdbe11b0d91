//go:build linux && cgo

package backend_test

import (
	"testing"
	"time"

	"advlab/advlib/backend"
	"advlab/advlib/cachedir"
)

// benchmarkChild runs a child per iteration, as each cell of a notebook is a process, and reports what it measured
// itself: ns/op is the whole process.
func benchmarkChild(b *testing.B, do task, env ...string) {
	var open, compiling, loading, storing time.Duration
	n := 0
	for b.Loop() {
		r := run(b, do, env...)
		if r.Error != "" {
			b.Fatal(r.Error)
		}
		open += r.Open
		compiling += r.Stats.Compiling
		loading += r.Stats.Loading
		storing += r.Stats.Storing
		n++
	}
	for unit, d := range map[string]time.Duration{"open-ms": open, "compile-ms": compiling, "load-ms": loading, "store-ms": storing} {
		if d > 0 {
			b.ReportMetric(float64(d.Microseconds())/1e3/float64(n), unit)
		}
	}
}

// BenchmarkOpen opens a backend and computes nothing. "first" has an empty cache, so the plugin is hashed.
func BenchmarkOpen(b *testing.B) {
	b.Run("go", func(b *testing.B) { benchmarkChild(b, task{Backend: backend.Go}) })
	b.Run("xla", func(b *testing.B) {
		env := append(needPlugin(b), cachedir.Variable+"="+b.TempDir())
		run(b, task{Backend: backend.XLACPU}, env...)
		benchmarkChild(b, task{Backend: backend.XLACPU}, env...)
	})
	b.Run("xla-first", func(b *testing.B) {
		env := needPlugin(b)
		for b.Loop() {
			run(b, task{Backend: backend.XLACPU}, append(env, cachedir.Variable+"="+b.TempDir())...)
		}
	})
}

// BenchmarkCNNStep opens XLA, gets the PGD step of the small CNN at batch 128 ready, and runs it once: compiled without
// a cache, and loaded from one.
func BenchmarkCNNStep(b *testing.B) {
	do := task{Backend: backend.XLACPU, Programs: []string{benchmarkStep}}
	b.Run("cache=off", func(b *testing.B) {
		// A limit that no program fits in, since a cache that is off counts nothing.
		benchmarkChild(b, do, append(needPlugin(b), cachedir.Variable+"="+b.TempDir(), bytesVariable+"=10000")...)
	})
	b.Run("cache=filled", func(b *testing.B) {
		env := append(needPlugin(b), cachedir.Variable+"="+b.TempDir())
		run(b, do, env...)
		benchmarkChild(b, do, env...)
	})
}
