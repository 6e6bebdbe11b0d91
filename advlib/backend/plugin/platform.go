package plugin

import (
	"fmt"
	"path/filepath"
)

// Platform is the kind of device a plugin compiles for, by go-xla's name of it.
type Platform string

// The platforms that package backend opens.
const (
	CPU  Platform = "cpu"
	CUDA Platform = "cuda"
)

// FileName returns the name that go-xla gives the platform's plugin, pjrt_c_api_cpu_plugin.so for the CPU: the name
// under which set-up puts it into the cache's pjrt directory.
func (p Platform) FileName() string {
	return fmt.Sprintf("pjrt_c_api_%s_plugin.so", string(p))
}

// remedy says what to type to get the platform's plugin.
func (p Platform) remedy() string {
	if p == CUDA {
		return fmt.Sprintf("install it into a Python environment (pip install \"jax[cuda13]\") and set VIRTUAL_ENV to that "+
			"environment, or set %s to a directory that holds %s", Variable, p.FileName())
	}
	return fmt.Sprintf("type `go run ./kernel setup` in advlab's checkout, or set %s to a directory that holds %s", Variable, p.FileName())
}

// wheelGlobs are the places, below an environment's site-packages, where Python wheels put the platform's plugin:
// xla-cpu-pjrt for the CPU, jax-cuda12-pjrt and its successors for CUDA.
func (p Platform) wheelGlobs() []string {
	switch p {
	case CPU:
		return []string{filepath.Join("xla_plugins", "xla_cpu_pjrt", "xla_cpu_pjrt.so")}
	case CUDA:
		return []string{filepath.Join("jax_plugins", "xla_cuda*", "xla_cuda_plugin.so")}
	}
	return nil
}

// HasDevice reports whether a device of the platform seems to be in this machine: always for the CPU; for CUDA when
// the driver's device files are there (/dev/dxg under WSL). A plugin without a device cannot be opened.
func (p Platform) HasDevice() bool {
	switch p {
	case CPU:
		return true
	case CUDA:
		return hasAny("/dev/nvidia[0-9]*", "/dev/dxg")
	}
	return false
}

func hasAny(patterns ...string) bool {
	for _, pattern := range patterns {
		if found, err := filepath.Glob(pattern); err == nil && len(found) > 0 {
			return true
		}
	}
	return false
}
