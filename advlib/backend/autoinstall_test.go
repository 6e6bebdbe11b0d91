//go:build linux && cgo

package backend_test

import (
	"testing"

	"github.com/gomlx/go-xla/compute/xla"

	"advlab/advlib/backend"
	"advlab/advlib/cachedir"
)

// installer stands for go-xla's own, which downloads plugins when an XLA backend is opened in a program that imports
// gomlx/backends/default.
type installer struct{ calls *int }

func (i installer) AutoInstall() error             { *i.calls++; return nil }
func (i installer) AutoInstallPlugin(string) error { *i.calls++; return nil }

func init() {
	countInstalls = func(n *int) {
		xla.EnableAutoInstall(true) // even where GOMLX_NO_AUTO_INSTALL is set
		xla.RegisterAutoInstaller(installer{n})
	}
}

func TestOpeningInstallsNothing(t *testing.T) {
	r := run(t, task{Backend: backend.XLACPU}, append(needPlugin(t), cachedir.Variable+"="+t.TempDir())...)
	if r.Info.Name != backend.XLACPU || r.Installs != 0 {
		t.Errorf("opening %s %s made go-xla install plugins %d times", r.Info.Name, r.Error, r.Installs)
	}
}
