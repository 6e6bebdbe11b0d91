// Package place says where the kernel's prepared pieces lie: the checkout they were made from, and, below the cache
// root of advlab/advlib/cachedir, the Python environment, the tools, the PJRT plugin and one workspace per checkout.
//
//	<root>/python/                  virtual environment, shared by all checkouts
//	<root>/tools/                   gonb, goimports, gopls, shared
//	<root>/pjrt/                    the XLA CPU plugin, shared
//	<root>/stamps/, log/            what each finished step was made from; what its commands printed
//	<root>/workspace/<key>/         one per checkout:
//	    module/                     the pinned module that GoNB's -go_work names
//	    bin/advlab                  the program that the kernelspecs start
//	    bin/pump                    the program that runs what cells run
//	    share/jupyter/kernels/      the kernelspecs, found through JUPYTER_PATH
//	    facts.json                  what a starting kernel has to know
package place

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/modfile"

	"advlab/advlib/cachedir"
)

// Module is the path of the module whose checkout the kernel serves.
const Module = "advlab"

// ErrNoCheckout is returned where neither the working directory nor one of its parents is a checkout.
var ErrNoCheckout = errors.New("no advlab checkout here")

// Place is the pair of directories everything else is found from. Both are absolute.
type Place struct {
	Root     string // the cache root
	Checkout string // the advlab checkout; empty for a kernel started in an image without one
	space    string // the checkout's own folder below Root
}

// Of returns the place of one checkout below the cache root.
func Of(root, checkout string) Place {
	sum := sha256.Sum256([]byte(checkout))
	return Place{Root: root, Checkout: checkout, space: filepath.Join(root, "workspace", hex.EncodeToString(sum[:6]))}
}

// Here finds the checkout that holds the working directory, and the cache root. Outside of a checkout the error is
// ErrNoCheckout.
func Here() (Place, error) {
	root, err := cachedir.Root()
	if err != nil {
		return Place{}, err
	}
	working, err := os.Getwd()
	if err != nil {
		return Place{}, err
	}
	checkout, err := FindCheckout(working)
	if err != nil {
		return Place{}, err
	}
	return Of(root, checkout), nil
}

// At returns the place whose workspace folder is given, as a kernelspec's argv does.
func At(space string) (Place, error) {
	if !filepath.IsAbs(space) {
		return Place{}, fmt.Errorf("workspace %q is not an absolute path", space)
	}
	space = filepath.Clean(space)
	parent := filepath.Dir(space)
	if filepath.Base(parent) != "workspace" {
		return Place{}, fmt.Errorf("workspace %q does not lie in a folder named workspace below the cache", space)
	}
	return Place{Root: filepath.Dir(parent), space: space}, nil
}

// OfProgram returns the place whose workspace holds the program file, as a set-up has copied it there. Its checkout is
// not known. For another program ok is false.
func OfProgram(file string) (p Place, ok bool) {
	file, err := filepath.EvalSymlinks(file)
	if err != nil {
		return Place{}, false
	}
	p, err = At(filepath.Dir(filepath.Dir(file)))
	return p, err == nil && p.Program() == file
}

// FindCheckout returns the nearest directory, from dir upwards, whose go.mod declares module advlab.
func FindCheckout(dir string) (string, error) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		text, err := os.ReadFile(filepath.Join(at, "go.mod"))
		switch {
		case err == nil && modfile.ModulePath(text) == Module:
			return at, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return "", err
		case at == filepath.Dir(at):
			return "", fmt.Errorf("%w: neither %s nor a folder above it has a go.mod of module %s: cd into the checkout first",
				ErrNoCheckout, dir, Module)
		}
	}
}

// Space is the folder of this checkout in the cache.
func (p Place) Space() string { return p.space }

// Python is the Python environment's folder.
func (p Place) Python() string { return filepath.Join(p.Root, "python") }

// PythonExe is the environment's interpreter.
func (p Place) PythonExe() string { return filepath.Join(p.Python(), "bin", "python") }

// Tools is the folder of gonb, goimports and gopls.
func (p Place) Tools() string { return filepath.Join(p.Root, "tools") }

// PJRT is the folder of XLA's plugin.
func (p Place) PJRT() string { return filepath.Join(p.Root, "pjrt") }

// Plugin is XLA's plugin for the CPU.
func (p Place) Plugin() string { return filepath.Join(p.PJRT(), "pjrt_c_api_cpu_plugin.so") }

// Stamps is the folder of the stamps of steps that are done.
func (p Place) Stamps() string { return filepath.Join(p.Root, "stamps") }

// Log is the folder of logs.
func (p Place) Log() string { return filepath.Join(p.Root, "log") }

// Lock is the file that keeps two set-ups apart.
func (p Place) Lock() string { return filepath.Join(p.Root, "setup.lock") }

// ModuleDir is the pinned module for cells.
func (p Place) ModuleDir() string { return filepath.Join(p.space, "module") }

// Program is the copy of this program that the kernelspecs call.
func (p Place) Program() string { return filepath.Join(p.space, "bin", "advlab") }

// Pump is the program that runs what cells run.
func (p Place) Pump() string { return filepath.Join(p.space, "bin", "pump") }

// Jupyter is the folder that JUPYTER_PATH names.
func (p Place) Jupyter() string { return filepath.Join(p.space, "share", "jupyter") }

// Kernels is the folder of the kernelspecs.
func (p Place) Kernels() string { return filepath.Join(p.Jupyter(), "kernels") }

// Facts is the file that tells kernels what was prepared.
func (p Place) Facts() string { return filepath.Join(p.space, "facts.json") }

// ToolsModule is the checkout's module of the tools.
func (p Place) ToolsModule() string { return filepath.Join(p.Checkout, "kernel", "tools") }

// Key names the checkout's workspace, in stamps' names too.
func (p Place) Key() string { return filepath.Base(p.space) }

// Short shortens a path for a person: below the home directory it begins with ~.
func Short(path string) string {
	home, err := os.UserHomeDir()
	if err != nil || home == "/" || home == "" {
		return path
	}
	if rest, ok := strings.CutPrefix(path, home+string(filepath.Separator)); ok {
		return "~" + string(filepath.Separator) + rest
	}
	return path
}
