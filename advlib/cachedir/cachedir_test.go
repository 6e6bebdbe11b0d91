package cachedir_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"advlab/advlib/cachedir"
)

func TestDirFollowsTheVariable(t *testing.T) {
	root := filepath.Join(t.TempDir(), "a", "b")
	t.Setenv(cachedir.Variable, root)
	dir, err := cachedir.Dir("store", "models")
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(root, "store", "models"); dir != want {
		t.Errorf("Dir = %q, want %q", dir, want)
	}
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o700 {
		t.Errorf("mode %o, want 700: other users of the machine must not plant files here", mode)
	}
}

func TestRelativeCacheIsRefused(t *testing.T) {
	t.Setenv(cachedir.Variable, "here")
	if _, err := cachedir.Root(); err == nil || !strings.Contains(err.Error(), `"here"`) {
		t.Errorf("Root with a relative path: error %v, want one that names it", err)
	}
}

func TestDirBelowAFileIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(cachedir.Variable, file)
	if _, err := cachedir.Dir("store"); err == nil || !strings.Contains(err.Error(), cachedir.Variable) {
		t.Errorf("Dir below a file: error %v, want one that says to set %s", err, cachedir.Variable)
	}
}
