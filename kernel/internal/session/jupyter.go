package session

import (
	"os"
	"path/filepath"

	"advlab/kernel/internal/place"
)

// JupyterEnv returns the environment for Jupyter and what it starts: base, in which the prepared Python environment
// comes first on PATH and Jupyter finds the workspace's kernelspecs.
func JupyterEnv(p place.Place, base []string) []string {
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
	return e.list
}
