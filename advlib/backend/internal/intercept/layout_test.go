package intercept

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestLayout compares the declarations of pjrt.h with the original header, which is read where go-xla's module lies.
func TestLayout(t *testing.T) {
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "cc"
	}
	if _, err := exec.LookPath(cc); err != nil {
		t.Skipf("no C compiler (%v): the structs of pjrt.h are not compared with the PJRT header", err)
	}
	module, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/gomlx/go-xla").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	header := filepath.Join(strings.TrimSpace(string(module)), "pjrt")
	program := filepath.Join(t.TempDir(), "layout")
	// #cgo flags do not apply here; the language is the one that they name.
	build := exec.Command(cc, "-std=c11", "-I.", "-I"+header, "-o", program, filepath.Join("testdata", "layout.c"))
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build.Args, err, out)
	}
	out, err := exec.Command(program).Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	// 7 lines on the table, 13 functions, 13 structs of 3 lines each and 41 fields: counted, so that a program that prints
	// nothing does not pass.
	if want := 7 + 13 + 13*3 + 41; len(lines) != want {
		t.Errorf("%d lines, want %d", len(lines), want)
	}
	for _, line := range lines {
		fields := strings.Fields(line)
		ours, theirs := fields[len(fields)-2], fields[len(fields)-1]
		if ours != theirs {
			t.Errorf("%s: pjrt.h has %s, the PJRT header %s", strings.Join(fields[:len(fields)-2], " "), ours, theirs)
		}
	}
}
