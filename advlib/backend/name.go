package backend

import (
	"fmt"
	"slices"
	"strings"
)

// Variable names the environment variable that chooses the backend.
const Variable = "ADVLAB_BACKEND"

// The names that Use, OpenNamed and ADVLAB_BACKEND take.
const (
	Auto    = "auto"     // XLACUDA if its plugin and a device are there, else XLACPU if its plugin is, else Go
	XLACPU  = "xla:cpu"  // XLA on the CPU
	XLACUDA = "xla:cuda" // XLA on NVIDIA's GPUs
	Go      = "go"       // GoMLX's pure Go backend
)

func names() []string { return []string{Auto, XLACPU, XLACUDA, Go} }

// checkName refuses an unknown name; source says where it was given.
func checkName(name, source string) error {
	if !slices.Contains(names(), name) {
		return fmt.Errorf("backend: %s: unknown backend %q: use one of %s", source, name, strings.Join(names(), ", "))
	}
	return nil
}
