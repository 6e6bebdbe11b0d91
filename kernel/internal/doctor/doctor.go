// Package doctor examines what advlab needs, and knows for each piece that is missing what to type.
//
//	for _, item := range doctor.Examine(ctx, p) {
//		fmt.Println(item.Name, item.OK, item.Fix)
//	}
package doctor

import (
	"context"
	"fmt"
	"go/version"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"

	"advlab/advlib/backend/plugin"
	"advlab/kernel/internal/kernelspec"
	"advlab/kernel/internal/place"
	"advlab/kernel/internal/setup"
)

// Item is one requirement.
type Item struct {
	Name     string `json:"name"`
	Required bool   `json:"required"` // false: advlab works without it; Detail says what is lost
	OK       bool   `json:"ok"`
	Detail   string `json:"detail"`        // what was found, or what is wrong
	Fix      string `json:"fix,omitempty"` // what to type; only where something is missing
}

const setupCommand = "go run ./kernel setup"

// Examine looks at everything. It makes nothing and does not touch the network. Git is not among the requirements.
func Examine(ctx context.Context, p place.Place) []Item {
	items := []Item{goItem(ctx, p)}
	items = append(items, compilerItem(ctx), pythonItem(ctx, p), venvItem(ctx))
	missing, err := setup.Missing(ctx, p)
	for _, piece := range []struct{ step, name, found string }{
		{"python", "Python environment", place.Short(p.Python())},
		{"bridge", "bridge to papermill and nbval", "advlab-jupyter in the Python environment"},
		{"tools", "gonb, goimports, gopls", place.Short(p.Tools())},
		{"workspace", "workspace", place.Short(p.ModuleDir())},
		{"warm-up", "warm build cache", "what cells import is compiled"},
		{"kernelspecs", "kernelspecs", place.Short(p.Kernels())},
	} {
		item := Item{Name: piece.name, Required: true, OK: true, Detail: piece.found}
		if reason, ok := missing[piece.step]; ok {
			item.OK, item.Detail, item.Fix = false, reason, setupCommand
			if piece.step == "warm-up" {
				item.Required, item.Detail = false, reason+", so the first cells compile for minutes"
			}
		}
		if err != nil {
			item.OK, item.Detail, item.Fix = false, "not examined: the go command does not work", setupCommand
		}
		items = append(items, item)
	}
	return append(items, pluginItem(ctx, p), installedItem())
}

// Sick reports whether something required is missing.
func Sick(items []Item) bool {
	for _, i := range items {
		if i.Required && !i.OK {
			return true
		}
	}
	return false
}

func goItem(ctx context.Context, p place.Place) Item {
	item := Item{Name: "Go", Required: true}
	text, err := os.ReadFile(filepath.Join(p.Checkout, "go.mod"))
	if err != nil {
		item.Detail, item.Fix = err.Error(), "get a whole checkout of advlab"
		return item
	}
	mod, err := modfile.ParseLax("go.mod", text, nil)
	if err != nil || mod.Go == nil {
		item.Detail, item.Fix = fmt.Sprintf("%s has no go line (%v)", filepath.Join(p.Checkout, "go.mod"), err), "get a whole checkout of advlab"
		return item
	}
	want := "go" + mod.Go.Version
	item.Fix = "install Go " + mod.Go.Version + " or later from https://go.dev/dl and put its bin folder in PATH"
	found, err := setup.Toolchain(ctx)
	if err != nil {
		item.Detail = err.Error()
		return item
	}
	item.Detail = fmt.Sprintf("%s in %s", found.Version, found.Root)
	if version.Compare(found.Version, want) < 0 {
		item.Detail += ", older than " + want
		return item
	}
	item.OK, item.Fix = true, ""
	return item
}

func compilerItem(ctx context.Context) Item {
	item := Item{Name: "C compiler", Fix: install("gcc libc6-dev")}
	found, err := setup.Toolchain(ctx)
	if err != nil {
		item.Detail = "not examined: the go command does not work"
		return item
	}
	if os.Getenv("CGO_ENABLED") == "0" {
		item.Detail, item.Fix = "CGO_ENABLED=0 is set, "+setup.WithoutPlugin, "unset CGO_ENABLED"
		return item
	}
	if found.CGO != "1" {
		item.Detail = "none, " + setup.WithoutPlugin
		return item
	}
	if err := compile(ctx, strings.Fields(found.CC)); err != nil {
		item.Detail = fmt.Sprintf("%s does not compile a small program (%v), and cells need it unless CGO_ENABLED=0", found.CC, err)
		item.Required = true // Go uses a compiler that it finds, also a broken one
		return item
	}
	path, _ := exec.LookPath(strings.Fields(found.CC)[0])
	item.OK, item.Detail, item.Fix = true, path, ""
	return item
}

// compile tries whether the compiler has its headers and its linker.
func compile(ctx context.Context, compiler []string) error {
	dir, err := os.MkdirTemp("", "advlab-doctor-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	args := append(slices.Clone(compiler[1:]), "-x", "c", "-", "-o", filepath.Join(dir, "program"))
	cmd := exec.CommandContext(ctx, compiler[0], args...)
	cmd.Stdin = strings.NewReader("#include <stdlib.h>\nint main(void) { return EXIT_SUCCESS; }\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("%w: %s", err, first)
	}
	return nil
}

func pythonItem(ctx context.Context, p place.Place) Item {
	item := Item{Name: fmt.Sprintf("Python %d.%d or later", setup.MinPython[0], setup.MinPython[1]), Required: true}
	found, err := setup.FindPython(ctx)
	if err != nil {
		if setup.DamagedEnvironment(p.Python()) == "" {
			item.OK, item.Detail = true, "none on PATH; the environment that is already made has its own"
			return item
		}
		item.Detail, item.Fix = err.Error(), install("python3 python3-venv")
		return item
	}
	item.OK, item.Detail = true, found.Version+", "+found.Path
	return item
}

func venvItem(ctx context.Context) Item {
	item := Item{Name: "Python's venv", Required: true}
	found, err := setup.FindPython(ctx)
	if err != nil {
		item.Required, item.Detail = false, "not examined: no Python"
		return item
	}
	if err := found.CanMakeEnvironments(ctx); err != nil {
		item.Detail, item.Fix = err.Error(), install("python3-venv")
		return item
	}
	item.OK, item.Detail = true, "venv and ensurepip"
	return item
}

func pluginItem(ctx context.Context, p place.Place) Item {
	item := Item{Name: "XLA plugin for the CPU", Fix: setupCommand}
	if found, err := setup.Toolchain(ctx); err == nil && found.CGO != "1" {
		item.Detail, item.Fix = "of no use without a C compiler, "+setup.WithoutPlugin, install("gcc libc6-dev")
		return item
	}
	found, err := plugin.Find(plugin.CPU)
	if _, ours := os.Stat(p.Plugin()); err != nil && ours == nil {
		// In an image the set-up's cache is not the user's own, where Find looks.
		found, err = plugin.Plugin{Path: p.Plugin(), Origin: plugin.FromSetup}, nil
	}
	if err != nil {
		item.Detail = "none, " + setup.WithoutPlugin
		if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
			item.Detail, item.Fix = fmt.Sprintf("advlab has none for %s/%s, %s", runtime.GOOS, runtime.GOARCH, setup.WithoutPlugin), ""
		}
		return item
	}
	item.OK, item.Fix, item.Detail = true, "", fmt.Sprintf("%s (%s)", place.Short(found.Path), found.Origin)
	return item
}

func installedItem() Item {
	item := Item{Name: "kernel in your own Jupyter", Fix: "go run ./kernel install"}
	dir, err := kernelspec.UserDir()
	if err != nil {
		item.Detail = err.Error()
		return item
	}
	installed := kernelspec.Installed(dir)
	if len(installed) == 0 {
		item.Detail = "not installed; only `advlab lab` has it"
		return item
	}
	item.OK, item.Fix, item.Detail = true, "", strings.Join(installed, ", ")+" in "+place.Short(dir)
	return item
}

// install is the command that installs Debian's packages, or their counterparts.
func install(packages string) string {
	switch {
	case runtime.GOOS == "darwin" && strings.Contains(packages, "gcc"):
		return "xcode-select --install"
	case runtime.GOOS == "darwin":
		return "brew install python3"
	case has("apt-get"):
		return "sudo apt-get install " + packages
	case has("dnf"):
		return "sudo dnf install " + strings.NewReplacer("libc6-dev", "glibc-devel", " python3-venv", "", "python3-venv",
			"python3").Replace(packages)
	case has("apk"):
		return "sudo apk add " + strings.NewReplacer("libc6-dev", "musl-dev", " python3-venv", "", "python3-venv", "python3").Replace(packages)
	case has("pacman"):
		return "sudo pacman -S " + strings.NewReplacer(" libc6-dev", "", "python3 python3-venv", "python", "python3-venv",
			"python").Replace(packages)
	}
	return "install, with your system's package manager: " + packages
}

func has(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}
