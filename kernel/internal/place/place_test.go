package place_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"advlab/kernel/internal/place"
)

func TestFindCheckout(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	inner := filepath.Join(root, "kernel", "tools")
	if err := os.MkdirAll(inner, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "go.mod"), "module advlab\n\ngo 1.26.5\n")
	write(t, filepath.Join(inner, "go.mod"), "module advlab/kernel/tools\n")
	got, err := place.FindCheckout(inner)
	if err != nil {
		t.Fatal(err)
	}
	if got != root {
		t.Errorf("FindCheckout from the nested tools module = %q, want %q", got, root)
	}
}

func TestOutsideOfACheckout(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "go.mod"), "module example.org/other\n")
	_, err := place.FindCheckout(dir)
	if !errors.Is(err, place.ErrNoCheckout) || !strings.Contains(err.Error(), dir) {
		t.Errorf("error %v, want ErrNoCheckout naming %s", err, dir)
	}
}

func TestWorkspacesOfTwoCheckoutsDiffer(t *testing.T) {
	a, b := place.Of("/cache", "/home/a/advlab"), place.Of("/cache", "/home/b/advlab")
	if a.Space() == b.Space() {
		t.Fatalf("both checkouts use %s", a.Space())
	}
	if a.Python() != b.Python() || a.Tools() != b.Tools() {
		t.Errorf("the environment and the tools are not shared: %v, %v", a, b)
	}
	back, err := place.At(a.Space())
	if err != nil {
		t.Fatal(err)
	}
	if back.Root != a.Root || back.ModuleDir() != a.ModuleDir() {
		t.Errorf("At(%q) = %+v, want root %q", a.Space(), back, a.Root)
	}
}

func TestAtRefusesOtherFolders(t *testing.T) {
	for _, dir := range []string{"workspace/x", "/cache/elsewhere/x", ""} {
		if p, err := place.At(dir); err == nil {
			t.Errorf("At(%q) = %+v, want an error", dir, p)
		}
	}
}

func TestOfProgram(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	want := place.Of(root, "/src")
	if err := os.MkdirAll(filepath.Dir(want.Program()), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, want.Program(), "")
	link := filepath.Join(root, "advlab")
	if err := os.Symlink(want.Program(), link); err != nil {
		t.Fatal(err)
	}
	if got, ok := place.OfProgram(link); !ok || got.Root != root || got.Space() != want.Space() {
		t.Errorf("OfProgram of a link to the program = %+v, %v", got, ok)
	}
	other := filepath.Join(root, "other")
	write(t, other, "")
	if got, ok := place.OfProgram(other); ok {
		t.Errorf("OfProgram of another file = %+v", got)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
