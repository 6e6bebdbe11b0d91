package session

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gofrs/flock"

	"advlab/kernel/internal/place"
)

func TestTempDir(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	old := time.Now().Add(-2 * newborn)
	folder := func(name string, changed time.Time) string {
		t.Helper()
		dir := filepath.Join(temp, name)
		if err := os.MkdirAll(filepath.Join(dir, "gonb_1"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(dir, changed, changed); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	dead := folder(tempPrefix+"dead", old)
	starting := folder(tempPrefix+"starting", time.Now())
	other := folder("somebody-elses", old)
	living := folder(tempPrefix+"living", old)
	lock := flock.New(filepath.Join(living, ".lock"))
	if ok, err := lock.TryLock(); err != nil || !ok {
		t.Fatal(ok, err)
	}
	defer lock.Close()
	if err := os.Chtimes(living, old, old); err != nil {
		t.Fatal(err)
	}

	dir, release, err := tempDir()
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o700 || filepath.Dir(dir) != temp {
		t.Errorf("%s has mode %o, want 700 in %s", dir, mode, temp)
	}
	for path, want := range map[string]bool{dead: false, starting: true, other: true, living: true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", filepath.Base(path), err == nil, want)
		}
	}
	release()
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s is still there after the kernel has ended", dir)
	}
}

// A TMPDIR that a kernel's sockets do not fit into, or that cannot be written to, is no reason not to start.
func TestTempDirElsewhere(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, temp := range []string{long, filepath.Join(t.TempDir(), "missing")} {
		t.Setenv("TMPDIR", temp)
		dir, release, err := tempDir()
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(dir, temp) || len(dir) > mostTemp+len("/"+tempPrefix+"1234567890") {
			t.Errorf("with TMPDIR=%s, it is %s", temp, dir)
		}
		release()
	}
}

func TestReadFacts(t *testing.T) {
	p := place.Of(t.TempDir(), "/src")
	want := Facts{Checkout: "/src", GoRoot: "/go", GoVersion: "go1.26.5", CGO: true, Plugin: "/cache/pjrt"}
	if err := WriteFacts(p, want); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(p.Facts())
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteFacts(p, want); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(p.Facts())
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(before, after) {
		t.Error("facts that were there already are written again, which a read-only cache does not allow")
	}
	if got, err := ReadFacts(p); err != nil || got != want {
		t.Errorf("ReadFacts = %+v, %v, want %+v", got, err, want)
	}
	if err := os.Truncate(p.Facts(), 5); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFacts(p); err == nil {
		t.Error("damaged facts are no error")
	}
}
