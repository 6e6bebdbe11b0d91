package setup

import (
	"archive/zip"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/google/renameio/v2"

	"advlab/advlib/backend/plugin"
	"advlab/kernel/internal/place"
	"advlab/kernel/internal/stamp"
)

//go:embed python/plugin.lock
var pluginLock string

// pluginInWheel is the plugin's path in the wheel. GoMLX looks for it under another name.
const pluginInWheel = "xla_plugins/xla_cpu_pjrt/xla_cpu_pjrt.so"

// WithoutPlugin says what cells lose without the XLA plugin.
const WithoutPlugin = "so cells use the pure Go backend, 8 to 15 times slower"

// pluginStep puts the XLA CPU plugin into the cache, unless the user has one elsewhere.
func (m *machine) pluginStep() step {
	target := m.place.Plugin()
	return step{
		name:    "plugin",
		doing:   "fetching the XLA CPU plugin (63 MB, 259 MB unpacked)",
		stamp:   "plugin",
		without: WithoutPlugin,
		inputs: func() (string, error) {
			return stamp.Hash(target, pluginLock, pluginInWheel), nil
		},
		decided: func() (Status, string) {
			if m.goTool.CGO != "1" {
				return Without, "CGO_ENABLED=0 or no C compiler, and the plugin is loaded through cgo, " + WithoutPlugin
			}
			if found, err := plugin.Find(plugin.CPU); err == nil && (found.Origin == plugin.FromVariable || found.Origin == plugin.FromGoXLA) {
				return Ready, fmt.Sprintf("%s (%s)", found.Path, found.Origin)
			}
			if !onPluginPlatform() {
				return Without, "the wheel with the plugin is made for linux/amd64, " + WithoutPlugin
			}
			return "", ""
		},
		make: func(ctx context.Context, w *work) (made, error) {
			if !exists(m.place.PythonExe()) {
				return made{}, errors.New("pip fetches the plugin's wheel, and there is no Python environment")
			}
			temp, err := os.MkdirTemp(m.place.Root, "wheel-")
			if err != nil {
				return made{}, err
			}
			defer os.RemoveAll(temp)
			lock := filepath.Join(temp, "plugin.lock")
			if err := os.WriteFile(lock, []byte(pluginLock), 0o600); err != nil {
				return made{}, err
			}
			args := []string{"-m", "pip", "download", "--require-hashes", "--no-deps", "--only-binary", ":all:", "--no-input",
				"--disable-pip-version-check", "--no-cache-dir", "--progress-bar", "off", "--dest", temp, "-r", lock}
			if err := w.run(ctx, "", pythonEnv(m.options.Offline), m.place.PythonExe(), args...); err != nil {
				return made{}, err
			}
			wheels, err := filepath.Glob(filepath.Join(temp, "*.whl"))
			if err != nil {
				return made{}, err
			}
			if len(wheels) != 1 {
				return made{}, fmt.Errorf("pip downloaded %d wheels, want one", len(wheels))
			}
			if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
				return made{}, err
			}
			if err := extract(wheels[0], pluginInWheel, target); err != nil {
				return made{}, err
			}
			return made{[]string{target}, place.Short(target)}, nil
		},
	}
}

// extract writes one member of a zip archive to a file, atomically.
func extract(archive, member, target string) error {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return fmt.Errorf("%s: %w", archive, err)
	}
	defer z.Close()
	in, err := z.Open(member)
	if err != nil {
		return fmt.Errorf("%s has no %s: %w", path.Base(archive), member, err)
	}
	defer in.Close()
	out, err := renameio.NewPendingFile(target, renameio.WithPermissions(0o600))
	if err != nil {
		return err
	}
	defer func() { _ = out.Cleanup() }()        // after a success nothing is left
	if _, err := io.Copy(out, in); err != nil { // the reader checks the archive's CRC
		return fmt.Errorf("unpacking %s: %w", member, err)
	}
	return out.CloseAtomicallyReplace()
}

// foundPlugin returns the folder to name in PJRT_PLUGIN_LIBRARY_PATH, empty where XLA cannot be used.
func (m *machine) foundPlugin() string {
	if m.goTool.CGO != "1" {
		return ""
	}
	found, err := plugin.Find(plugin.CPU)
	switch {
	case err == nil && (found.Origin == plugin.FromVariable || found.Origin == plugin.FromGoXLA):
		return filepath.Dir(found.Path)
	case exists(m.place.Plugin()):
		return m.place.PJRT()
	}
	return "" // none; or in a wheel, under the wheel's own name, which only package backend knows and finds by itself
}
