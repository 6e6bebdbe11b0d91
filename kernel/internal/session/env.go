package session

import (
	"os"
	"path/filepath"
	"strings"

	"advlab/kernel/internal/place"
)

// GoFlags are the build flags of every cell. Without symbol table a cell links in half the time; stack traces keep
// their lines. They do not change how packages are compiled, so cells and `go test` share the build cache.
const GoFlags = "-ldflags=-s"

// Offline reports whether ADVLAB_OFFLINE asks never to touch the network.
func Offline() bool {
	value := os.Getenv("ADVLAB_OFFLINE")
	return value != "" && value != "0" && value != "false"
}

// Env returns the environment of a kernel and so of its cells: base, in which
//   - PATH begins with the pinned tools and the toolchain that filled the build cache,
//   - Go's build settings are those of the warm-up, and settings that break a workspace (GOWORK, GO111MODULE, a GOROOT
//     of another toolchain) are gone,
//   - PJRT_PLUGIN_LIBRARY_PATH names the plugin's folder, unless the user has set it,
//   - GOPROXY is off. GoNB runs `go get` for every cell; with a proxy that takes the newest version of what a cell
//     imports instead of the pinned one, and asks the network each time. A notebook that wants another module says so:
//     `%env GOPROXY=https://proxy.golang.org` and `!*go get NAME@VERSION`.
//
// CGO_ENABLED=0 in base stays: the user wants it.
func Env(p place.Place, f Facts, base []string) []string {
	e := newEnvironment(base)
	for _, name := range []string{"GOWORK", "GO111MODULE", "GOROOT"} {
		e.unset(name)
	}
	path := []string{p.Tools()}
	if f.GoRoot != "" {
		path = append(path, filepath.Join(f.GoRoot, "bin"))
	}
	if old := e.get("PATH"); old != "" {
		path = append(path, old)
	}
	e.set("PATH", strings.Join(path, string(os.PathListSeparator)))
	e.set("GOFLAGS", GoFlags)
	e.set("GOTOOLCHAIN", "local")
	if !f.CGO {
		e.set("CGO_ENABLED", "0")
	}
	e.set("GOMLX_NO_AUTO_INSTALL", "1") // go-xla would try to download a plugin from every cell
	e.keep("TF_CPP_MIN_LOG_LEVEL", "3")
	if f.Plugin != "" {
		e.keep("PJRT_PLUGIN_LIBRARY_PATH", f.Plugin)
	}
	e.set("GOPROXY", "off")
	return e.list
}

// environment is a list of NAME=value with at most one entry for a name.
type environment struct{ list []string }

func newEnvironment(base []string) *environment {
	e := &environment{}
	for _, entry := range base {
		if name, value, ok := strings.Cut(entry, "="); ok && name != "" {
			e.set(name, value) // as in a process, the last entry counts
		}
	}
	return e
}

func (e *environment) find(name string) int {
	for i, entry := range e.list {
		if strings.HasPrefix(entry, name+"=") {
			return i
		}
	}
	return -1
}

func (e *environment) get(name string) string {
	if i := e.find(name); i >= 0 {
		return e.list[i][len(name)+1:]
	}
	return ""
}

func (e *environment) set(name, value string) {
	if i := e.find(name); i >= 0 {
		e.list[i] = name + "=" + value
		return
	}
	e.list = append(e.list, name+"="+value)
}

// keep sets a variable that is unset or empty.
func (e *environment) keep(name, value string) {
	if e.get(name) == "" {
		e.set(name, value)
	}
}

func (e *environment) unset(name string) {
	if i := e.find(name); i >= 0 {
		e.list = append(e.list[:i], e.list[i+1:]...)
	}
}

// StderrVariable names the variable that, set to stdout, shows there what cells write to stderr.
const StderrVariable = "ADVLAB_STDERR"

// FoldsStderr reports whether what cells write to stderr is to be shown on stdout: where the environment asks for it,
// and for nbgrader, which counts a line on stderr as a failed test.
func FoldsStderr() bool {
	return os.Getenv(StderrVariable) == "stdout" || os.Getenv("NBGRADER_EXECUTION") != ""
}
