package session

import (
	"os"
	"path/filepath"

	"advlab/kernel/internal/place"
)

// RawErrors names the environment variable that makes kernels report compile errors as text in the error message, where
// nbclient and people who read a log find them, instead of as HTML.
const RawErrors = "ADVLAB_RAW_ERRORS"

// Log names the environment variable with a file that takes GoNB's own log; without it the log is shown only when GoNB
// fails.
const Log = "ADVLAB_KERNEL_LOG"

// JupyterEnv returns the environment for Jupyter and what it starts: base, in which the prepared Python environment
// comes first on PATH and Jupyter finds the workspace's kernelspecs. rawErrors sets RawErrors.
func JupyterEnv(p place.Place, base []string, rawErrors bool) []string {
	e := newEnvironment(base)
	for _, name := range []string{"PYTHONHOME", "PYTHONPATH"} {
		e.unset(name)
	}
	e.set("VIRTUAL_ENV", p.Python())
	e.set("PATH", filepath.Join(p.Python(), "bin")+string(os.PathListSeparator)+e.get("PATH"))
	path := p.Jupyter() // comes before kernels of these names in the user's own folder, perhaps of another checkout
	if old := e.get("JUPYTER_PATH"); old != "" {
		path += string(os.PathListSeparator) + old
	}
	e.set("JUPYTER_PATH", path)
	if rawErrors {
		e.set(RawErrors, "1")
	}
	return e.list
}
