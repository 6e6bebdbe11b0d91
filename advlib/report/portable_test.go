package report_test

import (
	"debug/buildinfo"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A program that imports this package alone is built without cgo, contains no other module, and prints a kept report in
// an empty environment, where no plugin could be found.
func TestAReportIsPrintedWithoutXLA(t *testing.T) {
	program := filepath.Join(t.TempDir(), "print")
	build := exec.Command("go", "build", "-o", program, "./testdata/print")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range info.Deps {
		t.Errorf("the program contains %s", m.Path)
	}
	run := exec.Command(program, filepath.Join("testdata", "report.json"))
	run.Env = []string{}
	got, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, got)
	}
	want, err := os.ReadFile(filepath.Join("testdata", "report.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("-golden +printed:\n%s", diff)
	}
}
