package magic

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/sumdb/dirhash"

	"advlab/kernel/internal/place"
)

// pin is %pin.
func pin(s Setup) Magic {
	return Magic{
		Help: "the versions and checksums of everything that cells are built from; `%pin TEXT` shows the modules with TEXT in their path",
		Run: func(arguments []string) (map[string]any, error) {
			if len(arguments) > 1 {
				return nil, fmt.Errorf("takes one text to look for, and got %q", arguments)
			}
			pins, err := Pins(s)
			if err != nil {
				return nil, err
			}
			if len(arguments) == 1 {
				pins.Modules = slices.DeleteFunc(pins.Modules, func(m Pin) bool { return !strings.Contains(m.Path, arguments[0]) })
			}
			return map[string]any{"text/plain": pins.String(), pinMIME: pins}, nil
		},
	}
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
func Pins(s Setup) (PinList, error) {
	list := PinList{Advlab: s.Version, Go: s.GoVersion, System: runtime.GOOS + "/" + runtime.GOARCH}
	sources, err := dirhash.HashDir(filepath.Join(s.Checkout, "advlib"), place.Module+"/advlib", dirhash.Hash1)
	if err != nil {
		return list, fmt.Errorf("the sources of advlib: %w", err)
	}
	list.Sources = sources
	name := filepath.Join(s.Place.ModuleDir(), "go.mod")
	text, err := os.ReadFile(name)
	if err != nil {
		return list, err
	}
	mod, err := modfile.Parse(name, text, nil)
	if err != nil {
		return list, err
	}
	sumText, err := os.ReadFile(filepath.Join(s.Place.ModuleDir(), "go.sum"))
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
	fmt.Fprintf(h, "%s\n%s", strings.ReplaceAll(string(text), s.Checkout, "CHECKOUT"), sumText)
	list.GoMod = hex.EncodeToString(h.Sum(nil))
	if s.Plugin != "" {
		if list.Plugin, err = hashFile(s.Place.Plugin()); err != nil {
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
