package show

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"advlab/advlib"
	"advlab/advlib/backend"
	"advlab/advlib/internal/notebook"
)

func TestProvenanceNamesWhatNumbersDependOn(t *testing.T) {
	env := map[string]string{"XLA_FLAGS": "--xla_cpu_enable_fast_math=false", "HOME": "/home/someone"}
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	info := &debug.BuildInfo{
		Main: debug.Module{Path: "gonb_1"},
		Deps: []*debug.Module{
			{Path: "github.com/gomlx/gomlx", Version: "v0.28.8", Sum: "h1:abc="},
			{Path: "advlab", Version: "v0.0.0", Replace: &debug.Module{Path: "/home/someone/advlab"}},
		},
		Settings: []debug.BuildSetting{{Key: "-ldflags", Value: "-s"}, {Key: "CGO_ENABLED", Value: "1"},
			{Key: "GOARCH", Value: "amd64"}, {Key: "vcs.revision", Value: "of the notebook"}},
	}
	where := backend.Info{Name: "xla:cpu", Device: "TFRT_CPU_0", Devices: 1, Platform: "PJRT API 0.70",
		Plugin: "/home/someone/plugin.so", PluginSHA256: "0123456789ab", CacheDir: "/home/someone/cache"}
	got := func(s advlib.Settings) string {
		return provenance(s, where, info, "a processor, 2 in use", []string{"/home/someone/measure", "--seed", "7"}, lookup).String()
	}
	system := runtime.GOOS + "/" + runtime.GOARCH
	text := got(advlib.Settings{Seed: 7, BatchSize: 64})
	for _, want := range [][]string{
		{"seed", "7"}, {"batch size", "64"}, {"backend", "xla:cpu"}, {"device", "TFRT_CPU_0"}, {"platform", "PJRT API 0.70"},
		{"plugin", "sha256 0123456789ab…"}, {"processor", "a processor, 2 in use"}, {"system", system}, {"Go", runtime.Version()},
		{"build", "-ldflags=-s CGO_ENABLED=1"}, {"XLA_FLAGS", "--xla_cpu_enable_fast_math=false"},
		{"advlab", "local"}, {"github.com/gomlx/gomlx", "v0.28.8 h1:abc="}, {"repeat", "measure --seed 7"},
	} {
		found := false
		for line := range strings.Lines(text) {
			found = found || strings.HasPrefix(line, want[0]+" ") && strings.TrimSpace(line[len(want[0]):]) == want[1]
		}
		if !found {
			t.Errorf("no line %q in\n%s", want, text)
		}
	}
	if n := strings.Count(text, "\n"); n > 17 {
		t.Errorf("%d lines:\n%s", n, text)
	}
	for _, never := range []string{"someone", "HOME", "of the notebook", "fallback", "devices"} {
		if strings.Contains(text, never) {
			t.Errorf("%q in\n%s", never, text)
		}
	}

	env[notebook.Variable] = "1.0 (abc)"
	text = got(advlib.Settings{})
	if !strings.Contains(text, "1.0 (abc)") || strings.Contains(text, "batch size") ||
		!strings.Contains(text, "go run ./kernel run NOTEBOOK\n") {
		t.Errorf("in a kernel:\n%s", text)
	}
	env[sessionVariable] = "/home/someone/study.ipynb"
	if text := got(advlib.Settings{}); !strings.Contains(text, "go run ./kernel run study.ipynb\n") || strings.Contains(text, "someone") {
		t.Errorf("in a notebook whose name is known:\n%s", text)
	}
	delete(env, notebook.Variable)
	info.Main.Path, info.Deps = "advlab", nil
	info.Settings = append(info.Settings, debug.BuildSetting{Key: "vcs.revision", Value: "0a1b2c"},
		debug.BuildSetting{Key: "vcs.modified", Value: "true"})
	info.Settings = info.Settings[len(info.Settings)-2:]
	if text := got(advlib.Settings{}); !strings.Contains(text, "0a1b2c, with changes") {
		t.Errorf("as a program of advlab:\n%s", text)
	}
	where.PluginSHA256, where.CacheOff, where.Lost = "", "switched off", "XLA was not there"
	if text := got(advlib.Settings{}); !strings.Contains(text, "not hashed: switched off") || !strings.Contains(text, "XLA was not there") {
		t.Errorf("without what is missing:\n%s", text)
	}
}

func TestProvenanceOfThisProcess(t *testing.T) {
	table, err := Provenance(advlib.Settings{Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	where, err := backend.Describe()
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprint(table)
	for _, want := range []string{where.Name, where.Device, where.PluginSHA256, runtime.Version()} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if !strings.Contains(table.HTML(), "Provenance") {
		t.Error("the title is missing in HTML")
	}
}

func TestMachine(t *testing.T) {
	n := runtime.NumCPU()
	if got, want := machine("processor\t: 0\nmodel name\t: A CPU @ 2.0 GHz\nprocessor\t: 1\nmodel name\t: Another\n"),
		fmt.Sprintf("A CPU @ 2.0 GHz, %d in use", n); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := machine(""), fmt.Sprintf("%s, %d in use", runtime.GOARCH, n); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
