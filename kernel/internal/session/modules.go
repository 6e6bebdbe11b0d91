package session

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"

	"advlab/kernel/internal/assist"
	"advlab/kernel/internal/place"
)

// pinned lists the modules that the workspace pins, but for advlab, with the folders of their sources. env is that of
// the cells. What cannot be found out is left out: it is for completions.
func pinned(p place.Place, f Facts, env []string) (list []assist.Module) {
	file := filepath.Join(p.ModuleDir(), "go.mod")
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	mod, err := modfile.Parse(file, text, nil)
	if err != nil {
		return nil
	}
	cmd := exec.Command(filepath.Join(f.GoRoot, "bin", "go"), "env", "GOMODCACHE")
	cmd.Env, cmd.Dir = env, p.ModuleDir()
	out, err := cmd.Output()
	if err != nil {
		return nil
	}
	cache := strings.TrimSpace(string(out))
	for _, r := range mod.Require {
		if r.Mod.Path == place.Module {
			continue
		}
		path, err := module.EscapePath(r.Mod.Path)
		version, err2 := module.EscapeVersion(r.Mod.Version)
		if err == nil && err2 == nil {
			list = append(list, assist.Module{Path: r.Mod.Path, Dir: filepath.Join(cache, filepath.FromSlash(path)+"@"+version)})
		}
	}
	return list
}
