package plugin

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"advlab/advlib/cachedir"
)

// touch writes a small file, which passes for a plugin as long as nobody loads it.
func touch(t *testing.T, elem ...string) string {
	t.Helper()
	path := filepath.Join(elem...)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("library"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOrderOfTheSearch(t *testing.T) {
	root := t.TempDir()
	s := search{
		named:   []string{filepath.Join(root, "missing"), filepath.Join(root, "named")},
		goxla:   []string{filepath.Join(root, "goxla")},
		setup:   filepath.Join(root, "cache", "pjrt"),
		pythons: []string{filepath.Join(root, "venv[1]")},
	}
	// From the last place to the first: each file comes before those that are there already.
	for _, step := range []struct {
		origin Origin
		path   []string
	}{
		{FromPython, []string{"venv[1]", "lib", "python3.11", "site-packages", "xla_plugins", "xla_cpu_pjrt", "xla_cpu_pjrt.so"}},
		{FromSetup, []string{"cache", "pjrt", "pjrt_c_api_cpu_plugin.so"}},
		{FromGoXLA, []string{"goxla", "pjrt_c_api_cpu_v0.98.0_plugin.so"}},
		{FromGoXLA, []string{"goxla", "pjrt_c_api_cpu_v0.100.0_plugin.so"}},
		{FromGoXLA, []string{"goxla", "pjrt_plugin_cpu.so"}},
		{FromVariable, []string{"named", "pjrt-plugin-cpu.so"}},
	} {
		path := touch(t, append([]string{root}, step.path...)...)
		got, err := s.find(CPU)
		if err != nil {
			t.Fatalf("with %s: %v", path, err)
		}
		if want := (Plugin{CPU, path, step.origin}); got != want {
			t.Errorf("found %+v, want %+v", got, want)
		}
	}
}

func TestTheNewestCUDAWheelIsTaken(t *testing.T) {
	root := t.TempDir()
	site := filepath.Join(root, "lib", "python3.11", "site-packages", "jax_plugins")
	touch(t, site, "xla_cuda12", "xla_cuda_plugin.so")
	want := touch(t, site, "xla_cuda13", "xla_cuda_plugin.so")
	got, err := search{pythons: []string{root}}.find(CUDA)
	if err != nil {
		t.Fatal(err)
	}
	if got.Path != want {
		t.Errorf("found %s, want %s", got.Path, want)
	}
	if _, err := (search{pythons: []string{root}}).find(CPU); err == nil {
		t.Error("a CUDA wheel passed for the CPU's plugin")
	}
}

func TestFilesThatCannotBePluginsArePassedOver(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, CPU.FileName())
	for _, bad := range []struct {
		why  string
		make func() error
	}{
		{"is empty", func() error { return os.WriteFile(name, nil, 0o600) }},
		{"is not a file", func() error { return os.Mkdir(name, 0o700) }},
		{"is a link to a missing file", func() error { return os.Symlink(filepath.Join(dir, "gone"), name) }},
	} {
		if err := bad.make(); err != nil {
			t.Fatal(err)
		}
		got, err := search{named: []string{dir}}.find(CPU)
		if err == nil {
			t.Errorf("found %+v, though it %s", got, bad.why)
		} else if !strings.Contains(err.Error(), bad.why) {
			t.Errorf("error %q does not say that the file %s", err, bad.why)
		}
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	for _, other := range []string{"pjrt_c_api_cpu.so", "pjrt_c_api_cpux_plugin.so", "pjrt_c_api_cuda_plugin.so",
		"pjrt_c_api_cpu_plugin.so.part", "libcpu.so"} {
		touch(t, dir, other)
		if got, err := (search{named: []string{dir}}).find(CPU); err == nil {
			t.Errorf("%s passed for the plugin: %+v", other, got)
		}
	}
}

func TestNothingFoundNamesEveryPlaceAndTheRemedy(t *testing.T) {
	s := search{goxla: []string{"/no/go-xla"}, setup: "/no/cache/pjrt", pythons: []string{"/no/venv"}}
	_, err := s.find(CPU)
	var notFound *NotFoundError
	if !errors.As(err, &notFound) {
		t.Fatalf("error %T %v, want *NotFoundError", err, err)
	}
	for _, want := range []string{"$" + Variable, "not set", "/no/go-xla", "/no/cache/pjrt", "/no/venv", "does not exist",
		"go run ./kernel setup"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error does not name %q:\n%v", want, err)
		}
	}
	if len(notFound.Looked) != 4 {
		t.Errorf("%d places, want 4: %+v", len(notFound.Looked), notFound.Looked)
	}
	if _, err = s.find(CUDA); err == nil || !strings.Contains(err.Error(), "pip install") {
		t.Errorf("error for CUDA %v does not say how to get the wheel", err)
	}
}

func TestFindReadsTheEnvironment(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("advlab looks for plugins on Linux only")
	}
	named, home, cache, venv := t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()
	t.Setenv(Variable, ":"+named+":")
	t.Setenv("HOME", home)
	t.Setenv("LD_LIBRARY_PATH", "")
	t.Setenv(cachedir.Variable, cache)
	t.Setenv("VIRTUAL_ENV", venv)
	s := environment()
	if len(s.named) != 1 || s.named[0] != named || s.setup != filepath.Join(cache, "pjrt") {
		t.Errorf("environment() = %+v", s)
	}
	if want := []string{venv, filepath.Join(cache, "python")}; len(s.pythons) != 2 || s.pythons[0] != want[0] || s.pythons[1] != want[1] {
		t.Errorf("Python environments %q, want %q", s.pythons, want)
	}
	path := touch(t, named, CPU.FileName())
	if got, err := Find(CPU); err != nil || got != (Plugin{CPU, path, FromVariable}) {
		t.Errorf("Find = %+v, %v", got, err)
	}
	t.Chdir(named)
	t.Setenv(Variable, ".")
	if got, err := Find(CPU); err != nil || !filepath.IsAbs(got.Path) {
		t.Errorf("Find with a relative directory = %+v, %v, want an absolute path", got, err)
	}
	if _, err := Find("tpu"); err == nil || !strings.Contains(err.Error(), `"tpu"`) {
		t.Errorf("Find of an unknown platform: %v", err)
	}
	entries, err := os.ReadDir(cache)
	if err != nil || len(entries) != 0 {
		t.Errorf("looking made %v in the cache (%v)", entries, err)
	}
}
