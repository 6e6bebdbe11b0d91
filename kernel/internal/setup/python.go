package setup

import (
	"context"
	_ "embed"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/google/renameio/v2"

	"advlab/kernel/internal/stamp"
)

//go:embed python/requirements.lock
var requirements string

// MinPython is the oldest Python that the lock file is made for.
var MinPython = [2]int{3, 10}

// Interpreter is a Python that can make a virtual environment.
type Interpreter struct {
	Path    string
	Real    string // the file that runs in the end, behind links and the like
	Version string // such as 3.11.7
}

// FindPython returns $ADVLAB_PYTHON, or the first of python3 and python on PATH that is new enough. Its error says what
// to install.
func FindPython(ctx context.Context) (Interpreter, error) {
	names := []string{"python3", "python"}
	if chosen := os.Getenv("ADVLAB_PYTHON"); chosen != "" {
		names = []string{chosen}
	}
	var tried []string
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			tried = append(tried, name+": not found")
			continue
		}
		out, err := exec.CommandContext(ctx, path, "-c", "import os, platform, sys; "+
			"print(platform.python_version(), *sys.version_info[:2]); print(os.path.realpath(sys.executable))").Output()
		if err != nil {
			tried = append(tried, fmt.Sprintf("%s: does not run (%v)", path, err))
			continue
		}
		var found Interpreter
		var major, minor int
		versions, real, _ := strings.Cut(string(out), "\n")
		if _, err := fmt.Sscan(versions, &found.Version, &major, &minor); err != nil {
			tried = append(tried, fmt.Sprintf("%s: printed %q instead of its version", path, out))
			continue
		}
		if major < MinPython[0] || major == MinPython[0] && minor < MinPython[1] {
			tried = append(tried, fmt.Sprintf("%s: version %s", path, found.Version))
			continue
		}
		found.Path, found.Real = path, strings.TrimSpace(real)
		return found, nil
	}
	return Interpreter{}, fmt.Errorf("no Python %d.%d or later (%s): install it (Debian, Ubuntu: apt install python3 python3-venv), or set "+
		"ADVLAB_PYTHON to its path",
		MinPython[0], MinPython[1], strings.Join(tried, "; "))
}

// CanMakeEnvironments returns an error with the remedy where Python lacks the parts that make virtual environments,
// which Debian ships apart.
func (i Interpreter) CanMakeEnvironments(ctx context.Context) error {
	if err := exec.CommandContext(ctx, i.Path, "-c", "import venv, ensurepip").Run(); err != nil {
		version := strings.Join(strings.SplitN(i.Version, ".", 3)[:2], ".")
		return fmt.Errorf("%s (%s) has no module venv or ensurepip: install it (Debian, Ubuntu: apt install python%s-venv)", i.Path,
			i.Version, version)
	}
	return nil
}

// labSettings keep JupyterLab from asking for news and updates, which need the network.
const labSettings = `{
  "@jupyterlab/apputils-extension:notification": {"checkForUpdates": false, "doNotDisturbMode": false, "fetchNews": "false"}
}
`

func (m *machine) pythonStep() step {
	dir := m.place.Python()
	return step{
		name:  "python",
		doing: "making the Python environment (JupyterLab and its tools, about 100 MB)",
		stamp: "python",
		inputs: func() (string, error) {
			return stamp.Hash(dir, requirements, labSettings), nil
		},
		whole: func() string {
			if chosen := os.Getenv("ADVLAB_PYTHON"); chosen != "" {
				if found, err := FindPython(context.Background()); err != nil {
					return err.Error()
				} else if used, err := filepath.EvalSymlinks(m.place.PythonExe()); err != nil || used != found.Real {
					return "it was made with another Python than ADVLAB_PYTHON=" + chosen
				}
			}
			return DamagedEnvironment(dir)
		},
		make: func(ctx context.Context, w *work) (made, error) {
			interpreter, err := FindPython(ctx)
			if err != nil {
				return made{}, err
			}
			if err := interpreter.CanMakeEnvironments(ctx); err != nil {
				return made{}, err
			}
			if err := os.RemoveAll(dir); err != nil {
				return made{}, err
			}
			if err := w.run(ctx, "", pythonEnv(m.options.Offline), interpreter.Path, "-m", "venv", dir); err != nil {
				return made{}, err
			}
			lock := filepath.Join(dir, "requirements.lock")
			if err := os.WriteFile(lock, []byte(requirements), 0o600); err != nil {
				return made{}, err
			}
			args := []string{"-m", "pip", "install", "--require-hashes", "--no-input", "--disable-pip-version-check", "--progress-bar",
				"off", "-r", lock}
			if err := w.run(ctx, "", pythonEnv(m.options.Offline), m.place.PythonExe(), args...); err != nil {
				return made{}, m.offlineHint(err)
			}
			settings := filepath.Join(dir, "share", "jupyter", "lab", "settings", "overrides.json")
			if err := os.MkdirAll(filepath.Dir(settings), 0o700); err != nil {
				return made{}, err
			}
			if err := renameio.WriteFile(settings, []byte(labSettings), 0o600); err != nil {
				return made{}, err
			}
			records, err := distributions(dir)
			if err != nil {
				return made{}, err
			}
			note := fmt.Sprintf("Python %s, %d packages", interpreter.Version, len(records))
			return made{append(records, m.place.PythonExe(), settings), note}, nil
		},
	}
}

func (m *machine) offlineHint(err error) error {
	if !m.options.Offline {
		return err
	}
	return fmt.Errorf("%w\nADVLAB_OFFLINE is set or --offline was given, and this piece is not prepared: run `go run ./kernel setup` once "+
		"with the network", err)
}

// pythonEnv is the user's environment, so that pip finds the user's mirrors, without what points Python elsewhere.
func pythonEnv(offline bool) []string {
	env := slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return name == "PYTHONHOME" || name == "PYTHONPATH" || name == "VIRTUAL_ENV" || name == "PIP_REQUIRE_VIRTUALENV"
	})
	env = append(env, "PYTHONNOUSERSITE=1")
	if offline {
		env = append(env, "PIP_NO_INDEX=1")
	}
	return env
}

// distributions returns the folders *.dist-info of the installed packages.
func distributions(dir string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(dir, "lib", "python*", "site-packages", "*.dist-info"))
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no package was installed in %s", dir)
	}
	return found, nil
}

// DamagedEnvironment compares a virtual environment with the records that pip keeps of each installed file. It returns
// what is wrong with the first that is missing or has another size. Packages that the user added or upgraded with
// pip are no damage. (About 20 000 files: 0.2 s.)
func DamagedEnvironment(dir string) string {
	infos, err := distributions(dir)
	if err != nil {
		return err.Error()
	}
	for _, info := range infos {
		if damage := damagedDistribution(info); damage != "" {
			return damage
		}
	}
	return ""
}

func damagedDistribution(info string) string {
	record, err := os.Open(filepath.Join(info, "RECORD"))
	if err != nil {
		return err.Error()
	}
	defer record.Close()
	rows := csv.NewReader(record)
	rows.FieldsPerRecord = 3 // path, hash, size
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return ""
		}
		if err != nil {
			return fmt.Sprintf("%s is damaged: %v", record.Name(), err)
		}
		if row[2] == "" || strings.HasSuffix(row[0], ".pyc") {
			continue // made on this machine: pip knows no size
		}
		path := row[0]
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(info), path)
		}
		size, err := strconv.ParseInt(row[2], 10, 64)
		if err != nil {
			return fmt.Sprintf("%s is damaged: size %q of %s", record.Name(), row[2], row[0])
		}
		stat, err := os.Lstat(path)
		if err != nil {
			return path + " is gone"
		}
		if stat.Size() != size {
			return fmt.Sprintf("%s has %d bytes instead of %d", path, stat.Size(), size)
		}
	}
}
