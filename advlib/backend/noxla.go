//go:build !linux || !cgo

package backend

import (
	"errors"
	"fmt"
	"runtime"

	"advlab/advlib/backend/plugin"
)

func openXLA(platform plugin.Platform) (opened, error) {
	name := "xla:" + string(platform)
	if runtime.GOOS != "linux" {
		return opened{}, &UnavailableError{
			Name:   name,
			Why:    fmt.Errorf("advlab uses XLA on Linux only, and this is %s", runtime.GOOS),
			Remedy: fmt.Sprintf("use %s or %s", Go, Auto),
		}
	}
	return opened{}, &UnavailableError{
		Name:   name,
		Why:    errors.New("this program was built without cgo, through which XLA is called"),
		Remedy: "install a C compiler (apt install gcc, or dnf install gcc) and build with CGO_ENABLED=1",
	}
}

func cacheStats() Stats { return Stats{} }
