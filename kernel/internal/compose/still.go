package compose

import (
	_ "embed"
	"runtime"
	"strings"
)

//go:embed still/still.go
var stillText string

// stillFile is the file of a program that notices that nothing can move any more; StillSuffix, behind the program's
// name, is that of the traces which it leaves then.
const (
	stillFile   = "still.go"
	StillSuffix = ".still"
)

// mayStandStill tells whether a program needs stillFile: where it may link cgo, Go itself notices nothing. What waits
// for the widgets of GoNB waits for its user.
func (p *Program) mayStandStill() bool {
	if runtime.GOOS != "linux" || p.own.cell.Test {
		return false
	}
	return p.imports(mayLinkC) && !p.imports(func(path string) bool {
		return strings.HasPrefix(path, "github.com/janpfeifer/gonb/gonbui/")
	})
}

// mayLinkC tells packages that link cgo, or may: those of the standard library that import net or os/user, and all that
// are not of it.
func mayLinkC(path string) bool {
	switch path {
	case "C", "crypto/tls", "crypto/x509", "expvar", "log/syslog", "net", "os/user", "plugin":
		return true
	}
	return strings.HasPrefix(path, "net/") || !std(path)
}
