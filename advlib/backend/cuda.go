//go:build linux && cgo

package backend

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const cudaDirFlag = "--xla_gpu_cuda_data_dir"

// prepareCUDA tells XLA where CUDA's own tools are, by XLA_FLAGS as go-xla does for the plugins that it loads itself,
// and returns the identity of the libraries beside the plugin: a compiled program holds choices made for the cuDNN and
// cuBLAS that it was compiled with, which the plugin's hash does not cover. A flag that is set already stays.
func prepareCUDA(pluginPath string) (libraries []byte, err error) {
	nvidia := nvidiaDir(pluginPath)
	if nvidia == "" {
		return nil, nil // CUDA is installed in the system, where XLA looks by itself
	}
	flags := os.Getenv("XLA_FLAGS")
	if !strings.Contains(flags, cudaDirFlag) && (flags == "" || strings.HasPrefix(strings.TrimSpace(flags), "-")) {
		flags = strings.TrimSpace(flags + " " + cudaDirFlag + "=" + cudaDataDir(nvidia))
		if err := os.Setenv("XLA_FLAGS", flags); err != nil {
			return nil, fmt.Errorf("backend: %w", err)
		}
	}
	return identity(nvidia), nil
}

// nvidiaDir returns the directory with NVIDIA's libraries that belongs to a plugin: beside its own directory where
// go-xla installs them, or one level higher in a Python environment. "" if there is none.
func nvidiaDir(pluginPath string) string {
	parent := filepath.Dir(filepath.Dir(pluginPath))
	for _, dir := range []string{parent, filepath.Dir(parent)} {
		nvidia := filepath.Join(dir, "nvidia")
		if info, err := os.Stat(nvidia); err == nil && info.IsDir() {
			return nvidia
		}
	}
	return ""
}

// cudaDataDir returns the directory with bin/ptxas and nvvm/libdevice: wheels of CUDA 13 and 12 have their own, go-xla
// links both into nvidia itself.
func cudaDataDir(nvidia string) string {
	for _, dir := range []string{filepath.Join(nvidia, "cu13"), filepath.Join(nvidia, "cuda_nvcc")} {
		if _, err := os.Stat(filepath.Join(dir, "bin", "ptxas")); err == nil {
			return dir
		}
	}
	return nvidia
}

// identity returns name, size and time of every library below nvidia.
func identity(nvidia string) []byte {
	var s strings.Builder
	for _, lib := range []string{"lib", "lib64"} {
		matches, err := filepath.Glob(filepath.Join(nvidia, "*", lib, "*.so*"))
		if err != nil {
			continue // only a malformed pattern fails
		}
		for _, match := range matches {
			if info, err := os.Stat(match); err == nil {
				fmt.Fprintf(&s, "%s %d %d\n", match, info.Size(), info.ModTime().UnixNano())
			}
		}
	}
	return []byte(s.String())
}
