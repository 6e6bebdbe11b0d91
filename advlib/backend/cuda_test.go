//go:build linux && cgo

package backend

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestWhereCUDAsToolsAre lays out the two kinds of installation. Whether XLA then opens is not tested: that takes a
// GPU.
func TestWhereCUDAsToolsAre(t *testing.T) {
	for _, c := range []struct{ name, plugin, library, ptxas, dataDir string }{
		{"go-xla", "go-xla/nvidia/pjrt_c_api_cuda_plugin.so", "go-xla/nvidia/cudnn/lib/libcudnn.so.9", "go-xla/nvidia/bin/ptxas", "go-xla/nvidia"},
		{"wheels of CUDA 13", "site-packages/jax_plugins/xla_cuda13/xla_cuda_plugin.so", "site-packages/nvidia/cudnn/lib/libcudnn.so.9", "site-packages/nvidia/cu13/bin/ptxas", "site-packages/nvidia/cu13"},
		{"wheels of CUDA 12", "site-packages/jax_plugins/xla_cuda12/xla_cuda_plugin.so", "site-packages/nvidia/cudnn/lib/libcudnn.so.9", "site-packages/nvidia/cuda_nvcc/bin/ptxas", "site-packages/nvidia/cuda_nvcc"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			for _, file := range []string{c.plugin, c.library, c.ptxas} {
				path := filepath.Join(root, file)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for flags, want := range map[string]string{
				"":                     cudaDirFlag + "=" + filepath.Join(root, c.dataDir),
				"--a=b":                "--a=b " + cudaDirFlag + "=" + filepath.Join(root, c.dataDir),
				cudaDirFlag + "=/mine": cudaDirFlag + "=/mine",
				"/a/file/of/flags":     "/a/file/of/flags",
			} {
				t.Setenv("XLA_FLAGS", flags)
				libraries, err := prepareCUDA(filepath.Join(root, c.plugin))
				if err != nil {
					t.Fatal(err)
				}
				if got := os.Getenv("XLA_FLAGS"); got != want {
					t.Errorf("XLA_FLAGS=%q became %q, want %q", flags, got, want)
				}
				if !bytes.Contains(libraries, []byte(filepath.Join(root, c.library))) {
					t.Errorf("libraries %q lack %s", libraries, c.library)
				}
			}
		})
	}
	t.Setenv("XLA_FLAGS", "")
	if libraries, err := prepareCUDA(filepath.Join(t.TempDir(), "a", "b", "plugin.so")); err != nil || libraries != nil ||
		os.Getenv("XLA_FLAGS") != "" {
		t.Errorf("without an nvidia directory: %q, %v, XLA_FLAGS=%q", libraries, err, os.Getenv("XLA_FLAGS"))
	}
}

func TestCacheLimit(t *testing.T) {
	for value, want := range map[string]int64{"": 1 << 30, "0": 0, "5000000": 5000000, "-1": -1, "1GB": -1, "1e9": -1} {
		got, err := cacheLimit(value)
		if want < 0 && err == nil || want >= 0 && (err != nil || got != want) {
			t.Errorf("cacheLimit(%q) = %d, %v", value, got, err)
		}
	}
}
