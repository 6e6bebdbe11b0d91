package magic

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"advlab/kernel/internal/place"
)

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
	s := Setup{Place: p, Version: "abc", Checkout: checkout, GoVersion: "go1.26.5"}
	pins, err := Pins(s)
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
	if other, err := Pins(Setup{Place: p, Checkout: elsewhere}); err != nil || other.GoMod != pins.GoMod || other.Sources != pins.Sources {
		t.Errorf("%+v, want %+v (%v)", other, pins, err)
	}
	if err := os.WriteFile(filepath.Join(p.ModuleDir(), "go.mod"), []byte(strings.ReplaceAll(files["go.mod"], "v1.2.3", "v1.2.4")),
		0o600); err != nil {
		t.Fatal(err)
	}
	if other, err := Pins(s); err != nil || other.GoMod == pins.GoMod {
		t.Errorf("another version has the same hash (%v)", err)
	}
	if err := os.WriteFile(source, []byte("package advlib\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if other, err := Pins(s); err != nil || other.Sources == pins.Sources {
		t.Errorf("a changed source has the same hash (%v)", err)
	}
}
