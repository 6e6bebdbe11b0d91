package course

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWrite(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "course")
	files, err := Write(folder, "week1", Tools{Python: "/env", Jupyter: "/specs"})
	if err != nil || len(files) != 2 {
		t.Fatalf("%q, %v", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var n struct {
		Cells []struct {
			Source   string
			Metadata struct{ NBGrader map[string]any }
		}
	}
	if err := json.Unmarshal(text, &n); err != nil || len(n.Cells) != 11 || !strings.HasPrefix(n.Cells[0].Source, "# week1:") {
		t.Errorf("%v: %s", err, text)
	}
	points := 0.
	for _, c := range n.Cells {
		p, _ := c.Metadata.NBGrader["points"].(float64)
		points += p
	}
	if points != 10 {
		t.Errorf("the assignment gives %v points, want 10", points)
	}
	const shell = `export PATH="/env/bin:$PATH" JUPYTER_PATH="/specs"`
	if text, err := os.ReadFile(files[1]); err != nil || !strings.Contains(string(text), shell) ||
		!strings.Contains(string(text), "nbgrader autograde week1 ") {
		t.Errorf("%v: %s", err, text)
	}

	if _, err := Write(folder, "week1", Tools{}); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("an assignment that is there: %v", err)
	}
	if files, err := Write(folder, "week2", Tools{}); err != nil || len(files) != 1 {
		t.Errorf("a second assignment: %q, %v", files, err)
	}
	for _, bad := range []string{"", "a b", "../x", "a/b", ".hidden", "-x", "ü", "a+b"} {
		if _, err := Write(folder, bad, Tools{}); err == nil || !strings.Contains(err.Error(), "no name for an assignment") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
