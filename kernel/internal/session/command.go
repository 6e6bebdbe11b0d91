package session

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/sumdb/dirhash"

	"advlab/advlib/backend/plugin"
	"advlab/kernel/internal/place"
	"advlab/kernel/internal/relay"
)

// backendVariable names the backend for cells; advlab/advlib/backend reads it.
const backendVariable = "ADVLAB_BACKEND"

// doctorLimit is how long %doctor may take.
const doctorLimit = time.Minute

// Commands returns the % commands that need to know what was set up. env is that of the cells.
func Commands(p place.Place, facts Facts, o Options, env []string) map[string]relay.Command {
	return map[string]relay.Command{
		"backend": {
			Help: "show the backend; `%backend go`, `xla:cpu`, `xla:cuda` or `auto` sets it for this and the following cells",
			Run: func(arguments []string) (map[string]any, error) {
				return nil, checkBackend(facts, arguments)
			},
			Instead: func(arguments []string) string {
				if len(arguments) == 0 {
					return `!echo "backend ${` + backendVariable + `:-auto}"` // only GoNB knows what %env has set
				}
				return "%env " + backendVariable + "=" + arguments[0]
			},
		},
		"doctor": {
			Help: "what advlab has, what is missing, and what to type",
			Run: func(arguments []string) (map[string]any, error) {
				if len(arguments) > 0 {
					return nil, fmt.Errorf("takes no arguments, and got %q", arguments)
				}
				return examine(o.Program, facts.Checkout, env)
			},
		},
		"pin": {
			Help: "the versions and checksums of everything that cells are built from; `%pin TEXT` shows the modules with TEXT in their path",
			Run: func(arguments []string) (map[string]any, error) {
				if len(arguments) > 1 {
					return nil, fmt.Errorf("takes one text to look for, and got %q", arguments)
				}
				pins, err := Pins(p, facts, o.Version)
				if err != nil {
					return nil, err
				}
				if len(arguments) == 1 {
					pins.Modules = slices.DeleteFunc(pins.Modules, func(m Pin) bool { return !strings.Contains(m.Path, arguments[0]) })
				}
				return map[string]any{"text/plain": pins.String(), pinMIME: pins}, nil
			},
		},
	}
}

func checkBackend(facts Facts, arguments []string) error {
	if len(arguments) == 0 {
		return nil
	}
	if len(arguments) > 1 {
		return fmt.Errorf("takes one backend, and got %q", arguments)
	}
	name := arguments[0]
	switch name {
	case "auto", "go":
		return nil
	case "xla:cpu", "xla:cuda":
	default:
		return fmt.Errorf("there is no backend %q: there are auto, go, xla:cpu and xla:cuda", name)
	}
	if !facts.CGO {
		return fmt.Errorf("%s needs a C compiler, and the set-up found none: `go run ./kernel doctor` says what to type; until then %%backend go",
			name)
	}
	kind := plugin.CPU
	if name == "xla:cuda" {
		kind = plugin.CUDA
	} else if facts.Plugin != "" {
		return nil
	}
	if _, err := plugin.Find(kind); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// examine runs `advlab doctor` as cells would be run.
func examine(program, checkout string, env []string) (map[string]any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), doctorLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "doctor")
	cmd.Env = env
	if _, err := os.Stat(checkout); err == nil { // an image may have none
		cmd.Dir = checkout
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || len(out) == 0) { // that something is missing is an answer
		return nil, fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return map[string]any{"text/plain": string(out)}, nil
}

// pinMIME is the type of a PinList among a cell's outputs. JupyterLab would show JSON under its own type folded up.
const pinMIME = "application/vnd.advlab.pin+json"

// Pin is one module that cells are built from.
type Pin struct {
	Path    string `json:"path"`
	Version string `json:"version"`
	Sum     string `json:"sum,omitempty"` // as in go.sum: h1 and the hash of the module's files
}

// PinList is what decides the result of a notebook, beside the notebook.
type PinList struct {
	Advlab  string `json:"advlab"`  // the checkout's commit
	Sources string `json:"sources"` // of advlib in the checkout, which cells compile: h1 and a hash, as in go.sum
	Go      string `json:"go"`
	System  string `json:"system"`
	Plugin  string `json:"plugin,omitempty"` // SHA-256 of XLA's plugin for the CPU
	GoMod   string `json:"go_mod"`           // SHA-256 of the workspace's go.mod, less the path of the checkout, and its go.sum
	Modules []Pin  `json:"modules"`
}

// Pins reads what is pinned in the workspace.
func Pins(p place.Place, facts Facts, version string) (PinList, error) {
	list := PinList{Advlab: version, Go: facts.GoVersion, System: runtime.GOOS + "/" + runtime.GOARCH}
	sources, err := dirhash.HashDir(filepath.Join(facts.Checkout, "advlib"), place.Module+"/advlib", dirhash.Hash1)
	if err != nil {
		return list, fmt.Errorf("the sources of advlib: %w", err)
	}
	list.Sources = sources
	name := filepath.Join(p.ModuleDir(), "go.mod")
	text, err := os.ReadFile(name)
	if err != nil {
		return list, err
	}
	mod, err := modfile.Parse(name, text, nil)
	if err != nil {
		return list, err
	}
	sumText, err := os.ReadFile(filepath.Join(p.ModuleDir(), "go.sum"))
	if err != nil {
		return list, err
	}
	sums := map[string]string{}
	for line := range strings.Lines(string(sumText)) {
		if fields := strings.Fields(line); len(fields) == 3 {
			sums[fields[0]+" "+fields[1]] = fields[2]
		}
	}
	for _, r := range mod.Require {
		if r.Mod.Path == place.Module {
			continue // the checkout, whose commit is list.Advlab
		}
		list.Modules = append(list.Modules, Pin{r.Mod.Path, r.Mod.Version, sums[r.Mod.Path+" "+r.Mod.Version]})
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s", strings.ReplaceAll(string(text), facts.Checkout, "CHECKOUT"), sumText)
	list.GoMod = hex.EncodeToString(h.Sum(nil))
	if facts.Plugin != "" {
		if list.Plugin, err = hashFile(p.Plugin()); err != nil {
			return list, fmt.Errorf("XLA's plugin: %w", err)
		}
	}
	return list, nil
}

func hashFile(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// String is the list as text, a line for each.
func (l PinList) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "advlab  %s, advlib %s\n%-7s %s, %s\n", l.Advlab, l.Sources, "go", strings.TrimPrefix(l.Go, "go"), l.System)
	if l.Plugin != "" {
		fmt.Fprintf(&b, "plugin  sha256 %s\n", l.Plugin)
	}
	fmt.Fprintf(&b, "go.mod  sha256 %s (with go.sum)\n", l.GoMod)
	for _, m := range l.Modules {
		fmt.Fprintf(&b, "%s %s %s\n", m.Path, m.Version, m.Sum)
	}
	return b.String()
}
