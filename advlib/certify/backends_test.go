package certify_test

import (
	"testing"

	"github.com/gomlx/compute"

	"advlab/advlib/backend"
)

// backends returns the backend in use, and the Go backend when that is another.
func backends(t testing.TB) map[string]compute.Backend {
	t.Helper()
	b, err := backend.Open()
	if err != nil {
		t.Fatal(err)
	}
	goBackend, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]compute.Backend{b.Name(): b, goBackend.Name(): goBackend}
}
