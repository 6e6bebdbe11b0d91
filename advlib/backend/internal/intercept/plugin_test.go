//go:build linux && cgo

package intercept

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"advlab/advlib/backend/internal/executables"
)

// TestPluginsThatLackSomething compiles small libraries in the place of plugins. Those that cannot be loaded say why;
// those that can, but lack what the cache needs, work without it.
func TestPluginsThatLackSomething(t *testing.T) {
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "cc"
	}
	if _, err := exec.LookPath(cc); err != nil {
		t.Skipf("no C compiler (%v): plugins that lack something are not tried", err)
	}
	t.Setenv("XLA_FLAGS", "")
	t.Cleanup(func() { slots = nil }) // there are few, and this test may run many times
	dir := t.TempDir()
	for _, c := range []struct {
		fake     string
		loadsNot string // the reason, or "" if it loads
		keepsNot string // the reason, or "" if it keeps
	}{
		{"WHOLE", "", ""},
		{"NO_FUNCTION", "GetPjrtApi", ""},
		{"NO_TABLE", "returns nothing", ""},
		{"NEW_MAJOR", "PJRT API is 1.81", ""},
		{"SHORT_TABLE", "", "lacks PJRT_Executable_DeserializeAndLoad"},
		{"NULL_FUNCTION", "", "lacks PJRT_Executable_Serialize"},
	} {
		t.Run(c.fake, func(t *testing.T) {
			path := filepath.Join(dir, c.fake+".so")
			build := exec.Command(cc, "-std=c11", "-shared", "-fPIC", "-I.", "-DFAKE="+c.fake, "-o", path, filepath.Join("testdata", "fake.c"))
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v: %v\n%s", build.Args, err, out)
			}
			p, err := Load(path)
			if c.loadsNot != "" {
				if err == nil || !strings.Contains(err.Error(), c.loadsNot) || !strings.Contains(err.Error(), path) {
					t.Fatalf("Load: %v, want an error that names the file and says %q", err, c.loadsNot)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			err = p.Keep(executables.NewStore(t.TempDir(), 1<<20), path, nil)
			if (c.keepsNot == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.keepsNot) {
				t.Errorf("Keep: %v, want %q", err, c.keepsNot)
			}
			if (p.store == nil) != (c.keepsNot != "") || (p.Hash() == "") != (c.keepsNot != "") {
				t.Errorf("store %v, hash %q after Keep: %v", p.store, p.Hash(), err)
			}
			first, err := p.Table()
			if err != nil || first == 0 {
				t.Fatalf("Table = %d, %v", first, err)
			}
			if again, err := p.Table(); err != nil || again != first {
				t.Errorf("a second table: %d, %v, want the first, %d", again, err, first)
			}
		})
	}
}
