package session

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"advlab/kernel/internal/place"
)

func TestBackendCommand(t *testing.T) {
	t.Setenv("PJRT_PLUGIN_LIBRARY_PATH", t.TempDir()) // nothing there
	t.Setenv("ADVLAB_CACHE", t.TempDir())
	backend := Commands(place.Of(t.TempDir(), "/src"), Facts{CGO: true, Plugin: "/cache/pjrt"}, Options{}, nil)["backend"]
	for _, test := range []struct {
		arguments []string
		facts     Facts
		wrong     string // part of the error
	}{
		{nil, Facts{}, ""},
		{[]string{"go"}, Facts{}, ""},
		{[]string{"auto"}, Facts{}, ""},
		{[]string{"xla:cpu"}, Facts{CGO: true, Plugin: "/cache/pjrt"}, ""},
		{[]string{"xla:cpu"}, Facts{}, "needs a C compiler"},
		{[]string{"xla:cpu"}, Facts{CGO: true}, "xla:cpu: "},
		{[]string{"tpu"}, Facts{CGO: true}, `there is no backend "tpu"`},
		{[]string{"go", "auto"}, Facts{}, "takes one backend"},
	} {
		err := checkBackend(test.facts, test.arguments)
		if test.wrong == "" && err != nil || test.wrong != "" && (err == nil || !strings.Contains(err.Error(), test.wrong)) {
			t.Errorf("%q with %+v: %v, want %q", test.arguments, test.facts, err, test.wrong)
		}
	}
	if got, want := backend.Instead([]string{"go"}), "%env ADVLAB_BACKEND=go"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestPins(t *testing.T) {
	root := t.TempDir()
	checkout := t.TempDir()
	source := filepath.Join(checkout, "advlib", "a.go")
	if err := os.MkdirAll(filepath.Dir(source), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(source, []byte("package advlib\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := place.Of(root, checkout)
	files := map[string]string{
		"go.mod": "module advlab.workspace\n\ngo 1.26.5\n\nrequire (\n\tadvlab v0.0.0\n\texample.org/a v1.2.3\n\texample.org/b v0.1.0\n)\n\n" +
			"replace advlab v0.0.0 => " + checkout + "\n",
		"go.sum": "example.org/a v1.2.3 h1:AAA=\nexample.org/a v1.2.3/go.mod h1:BBB=\nexample.org/b v0.1.0/go.mod h1:CCC=\n",
	}
	if err := os.MkdirAll(p.ModuleDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(p.ModuleDir(), name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	facts := Facts{Checkout: checkout, GoVersion: "go1.26.5"}
	pins, err := Pins(p, facts, "abc")
	if err != nil {
		t.Fatal(err)
	}
	if len(pins.Modules) != 2 || pins.Modules[0] != (Pin{"example.org/a", "v1.2.3", "h1:AAA="}) ||
		pins.Modules[1] != (Pin{"example.org/b", "v0.1.0", ""}) {
		t.Errorf("%+v", pins.Modules)
	}
	for _, want := range []string{"advlab  abc, advlib h1:", "go      1.26.5, ", "go.mod  sha256 ", "example.org/a v1.2.3 h1:AAA=\n"} {
		if !strings.Contains(pins.String(), want) {
			t.Errorf("no %q in\n%s", want, pins)
		}
	}
	// Another checkout's folder is no other pin; another version is.
	elsewhere := t.TempDir()
	if err := os.CopyFS(elsewhere, os.DirFS(checkout)); err != nil {
		t.Fatal(err)
	}
	moved := strings.ReplaceAll(files["go.mod"], checkout, elsewhere)
	if err := os.WriteFile(filepath.Join(p.ModuleDir(), "go.mod"), []byte(moved), 0o600); err != nil {
		t.Fatal(err)
	}
	if other, err := Pins(p, Facts{Checkout: elsewhere}, ""); err != nil || other.GoMod != pins.GoMod || other.Sources != pins.Sources {
		t.Errorf("%+v, want %+v (%v)", other, pins, err)
	}
	if err := os.WriteFile(filepath.Join(p.ModuleDir(), "go.mod"), []byte(strings.ReplaceAll(files["go.mod"], "v1.2.3", "v1.2.4")),
		0o600); err != nil {
		t.Fatal(err)
	}
	if other, err := Pins(p, facts, ""); err != nil || other.GoMod == pins.GoMod {
		t.Errorf("another version has the same hash (%v)", err)
	}
	if err := os.WriteFile(source, []byte("package advlib\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if other, err := Pins(p, facts, ""); err != nil || other.Sources == pins.Sources {
		t.Errorf("a changed source has the same hash (%v)", err)
	}
}

func TestCellLimit(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 0, "90s": 90 * time.Second, "10m": 10 * time.Minute} {
		t.Setenv(CellLimit, text)
		if got, err := cellLimit(); err != nil || got != want {
			t.Errorf("%q: %s, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"10", "-1s", "0s", "soon"} {
		t.Setenv(CellLimit, text)
		if got, err := cellLimit(); err == nil {
			t.Errorf("%q is %s", text, got)
		}
	}
}

func TestHistoryFile(t *testing.T) {
	for _, test := range []struct{ variable, cache, want string }{
		{"", "/cache", "/cache/history.jsonl"}, {"", "", ""}, {"off", "/cache", ""}, {"/h", "/cache", "/h"}, {"/h", "", "/h"},
	} {
		t.Setenv(History, test.variable)
		if got := historyFile(test.cache); got != test.want {
			t.Errorf("%+v: %q", test, got)
		}
	}
}
