package setup

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"

	"advlab/kernel/internal/stamp"
)

// What Advlab adds to Jupyter's tools: papermill's translator for Go, nbval's tolerances, and what nbgrader must know
// of Go.
var (
	//go:embed python/advlab_papermill.py
	papermillModule string
	//go:embed python/advlab_nbval.py
	nbvalModule string
	//go:embed python/advlab_nbgrader.py
	nbgraderModule string
	//go:embed python/nbgrader_config.py
	nbgraderConfig string
)

// nbgraderFile is where nbgrader looks for its configuration in an environment, from site-packages.
const nbgraderFile = "../../../etc/jupyter/nbgrader_config.py"

// bridgeVersion is the version under which pip lists the package.
const bridgeVersion = "3"

// bridgeFiles are the files of a Python package that pip knows and can remove, by their path in site-packages: what
// `pip install` would make of a wheel, without a build and without the network.
func bridgeFiles() map[string]string {
	info := "advlab_jupyter-" + bridgeVersion + ".dist-info"
	files := map[string]string{
		"advlab_papermill.py": papermillModule,
		"advlab_nbval.py":     nbvalModule,
		"advlab_nbgrader.py":  nbgraderModule,
		nbgraderFile:          nbgraderConfig,
		info + "/METADATA": "Metadata-Version: 2.1\nName: advlab-jupyter\nVersion: " + bridgeVersion +
			"\nSummary: Go notebooks in papermill and nbval\nLicense: Apache-2.0\nRequires-Dist: papermill\nRequires-Dist: nbval\n",
		info + "/WHEEL":            "Wheel-Version: 1.0\nGenerator: advlab\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
		info + "/INSTALLER":        "advlab\n",
		info + "/entry_points.txt": "[papermill.engine]\nadvlab = advlab_papermill:GoEngine\n\n[pytest11]\nadvlab = advlab_nbval\n",
	}
	var record strings.Builder
	for _, name := range []string{"advlab_papermill.py", "advlab_nbval.py", "advlab_nbgrader.py", nbgraderFile,
		info + "/METADATA", info + "/WHEEL",
		info + "/INSTALLER",
		info + "/entry_points.txt"} {
		sum := sha256.Sum256([]byte(files[name]))
		fmt.Fprintf(&record, "%s,sha256=%s,%d\n", name, base64.RawURLEncoding.EncodeToString(sum[:]), len(files[name]))
	}
	fmt.Fprintf(&record, "%s/RECORD,,\n", info)
	files[info+"/RECORD"] = record.String()
	return files
}

// bridgeStep adds them to the Python environment.
func (m *machine) bridgeStep() step {
	return step{
		name:  "bridge",
		doing: "teaching papermill, nbval and nbgrader about Go notebooks",
		stamp: "bridge",
		inputs: func() (string, error) {
			files := bridgeFiles()
			parts := []string{m.place.Python()}
			for _, name := range slices.Sorted(maps.Keys(files)) {
				parts = append(parts, name, files[name])
			}
			return stamp.Hash(parts...), nil
		},
		make: func(context.Context, *work) (made, error) {
			found, err := filepath.Glob(filepath.Join(m.place.Python(), "lib", "python*", "site-packages"))
			if err != nil || len(found) != 1 {
				return made{}, errors.Join(err, fmt.Errorf("%s has %d folders site-packages, want 1", m.place.Python(), len(found)))
			}
			old, err := filepath.Glob(filepath.Join(found[0], "advlab_jupyter-*.dist-info"))
			if err != nil {
				return made{}, err
			}
			for _, dir := range old { // of another version: pip would list both
				if err := os.RemoveAll(dir); err != nil {
					return made{}, err
				}
			}
			var products []string
			for name, text := range bridgeFiles() {
				file := filepath.Join(found[0], filepath.FromSlash(name))
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					return made{}, err
				}
				if err := renameio.WriteFile(file, []byte(text), 0o644); err != nil {
					return made{}, err
				}
				products = append(products, file)
			}
			return made{products, "parameters for papermill, tolerances for nbval, stubs for nbgrader"}, nil
		},
	}
}
