// Package kernelspec writes, finds and removes Jupyter's descriptions of the two kernels: advlab, for people, and
// advlab-ci, which never touches the network and leaves no history. Beside them goes a small extension of JupyterLab,
// which keeps what these kernels tell of each cell in the notebook's metadata.
//
//	files, err := kernelspec.Write(p, kernelspec.PrefixDir("/usr/local"))
package kernelspec

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/google/renameio/v2"

	"advlab/advlib/cachedir"
	"advlab/kernel/internal/jupyter"
	"advlab/kernel/internal/place"
	"advlab/kernel/internal/session"
)

// The two kernels' names.
const (
	Name   = "advlab"
	NameCI = "advlab-ci"
)

// Names lists both.
var Names = []string{Name, NameCI}

// Spec is Jupyter's kernel.json.
type Spec struct {
	Argv            []string          `json:"argv"`
	DisplayName     string            `json:"display_name"`
	Language        string            `json:"language"`
	InterruptMode   string            `json:"interrupt_mode"`
	ProtocolVersion string            `json:"kernel_protocol_version"`
	Env             map[string]string `json:"env"`
	Metadata        Metadata          `json:"metadata"`
}

// Metadata marks a spec as ours.
type Metadata struct {
	Debugger bool   `json:"debugger"`
	Checkout string `json:"advlab_checkout"`
}

// For returns a kernel's spec. Its argv names the copy of the program in the workspace and the workspace itself, so a
// kernel starts from any directory, and without the checkout's shell environment.
func For(p place.Place, name string) (Spec, error) {
	s := Spec{
		Argv:            []string{p.Program(), "kernel", "--workspace", p.Space()},
		DisplayName:     "Go (advlab)",
		Language:        "go",
		InterruptMode:   "message", // some clients signal the process, some its group; a message is the same from all
		ProtocolVersion: jupyter.Version,
		Env:             map[string]string{},
		Metadata:        Metadata{Checkout: p.Checkout},
	}
	// A cache that was moved is moved for cells too, also when Jupyter is started from another shell.
	if root := os.Getenv(cachedir.Variable); root != "" {
		s.Env[cachedir.Variable] = root
	}
	switch name {
	case Name:
	case NameCI:
		s.DisplayName = "Go (advlab, CI)"
		s.Env[session.History] = "off"
		s.Env["ADVLAB_OFFLINE"] = "1"
		s.Env[session.StderrVariable] = "stdout"
		s.Env["GOPROXY"] = "off"
		s.Env["GOSUMDB"] = "off"
	default:
		return Spec{}, fmt.Errorf("unknown kernel %q: there are %q", name, Names)
	}
	s.Argv = append(s.Argv, "-f", "{connection_file}")
	return s, nil
}

// Write writes both specs below dir, a folder named kernels, and the extension into labextensions beside it, and
// returns their files. What has one of these names and is not ours is left alone and is an error.
func Write(p place.Place, dir string) ([]string, error) {
	if err := refuseForeignAt(dir); err != nil {
		return nil, err
	}
	texts := map[string][]byte{}
	for _, name := range Names {
		spec, err := For(p, name)
		if err != nil {
			return nil, err
		}
		text, err := json.MarshalIndent(spec, "", "  ")
		if err != nil {
			return nil, err
		}
		texts[filepath.Join(dir, name, "kernel.json")] = append(text, '\n')
	}
	for name, text := range Extension() {
		texts[filepath.Join(extensionDir(dir), name)] = text
	}
	files := slices.Sorted(maps.Keys(texts))
	for _, file := range files {
		// Other users may be meant to see what is installed under a prefix.
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return nil, err
		}
		if err := renameio.WriteFile(file, texts[file], 0o644); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// Remove removes what Write has written below and beside dir, and returns the folders removed. Those that are not there
// are no error.
func Remove(dir string) ([]string, error) {
	if err := refuseForeignAt(dir); err != nil {
		return nil, err
	}
	var removed []string
	for _, folder := range foldersAt(dir) {
		if _, err := os.Lstat(folder); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := os.RemoveAll(folder); err != nil {
			return removed, err
		}
		removed = append(removed, folder)
	}
	return removed, nil
}

// foldersAt lists the folders that Write makes for dir.
func foldersAt(dir string) []string {
	var folders []string
	for _, name := range Names {
		folders = append(folders, filepath.Join(dir, name))
	}
	return append(folders, filepath.Join(extensionDir(dir), Name))
}

func refuseForeignAt(dir string) error {
	for _, name := range Names {
		if err := refuseForeign(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return refuseForeignExtension(filepath.Join(extensionDir(dir), Name))
}

// Installed returns the names of our kernels that are installed below dir.
func Installed(dir string) []string {
	return slices.DeleteFunc(slices.Clone(Names), func(name string) bool {
		spec, err := Read(filepath.Join(dir, name))
		return err != nil || spec.Metadata.Checkout == ""
	})
}

// Read reads the spec in a folder.
func Read(folder string) (Spec, error) {
	var s Spec
	file := filepath.Join(folder, "kernel.json")
	text, err := os.ReadFile(file)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("%s: %w", file, err)
	}
	return s, nil
}

func refuseForeign(folder string) error {
	spec, err := Read(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: not written by advlab? Move the folder away", err)
	}
	if spec.Metadata.Checkout == "" {
		return fmt.Errorf("%s holds the kernel %q, which advlab did not write: move the folder away", folder, spec.DisplayName)
	}
	return nil
}

// UserDir returns the folder in which Jupyter looks for the user's kernels.
func UserDir() (string, error) {
	if dir := os.Getenv("JUPYTER_DATA_DIR"); dir != "" {
		return filepath.Join(dir, "kernels"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no home directory for the kernels (%w): use --prefix DIR", err)
	}
	switch runtime.GOOS {
	case "darwin":
		return filepath.Join(home, "Library", "Jupyter", "kernels"), nil
	default:
		if data := os.Getenv("XDG_DATA_HOME"); data != "" {
			return filepath.Join(data, "jupyter", "kernels"), nil
		}
		return filepath.Join(home, ".local", "share", "jupyter", "kernels"), nil
	}
}

// PrefixDir returns the folder of kernels below an installation prefix, such as /usr/local or a virtual environment.
func PrefixDir(prefix string) string { return filepath.Join(prefix, "share", "jupyter", "kernels") }
