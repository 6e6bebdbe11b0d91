package main

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"advlab/kernel/internal/course"
)

// A course in Go is made and graded without a line of configuration, and each answer gets what its code earns.
func TestNBGrader(t *testing.T) {
	answers, want := map[string]string{}, []string{}
	for _, a := range []struct{ student, text, points string }{
		{"carriage-returns", "func half(x int) int {\r\n\treturn x / 2\r\n}", "5.0"},
		{"exits", "func half(x int) int { os.Exit(0); return 0 }", "0.0"},
		{"logs", "func half(x int) int { log.Println(\"half of\", x); return x / 2 }", "5.0"},
		{"no-go", "func half(x int) int { return x / 2", "0.0"},
		{"rounds", "func half(x int) int { return (x + 1) / 2 }", "2.0"}, // half(6) is right, half(-2) is not
	} {
		answers[a.student] = a.text
		want = append(want, a.student+" "+a.points)
	}
	text, err := json.Marshal(answers)
	if err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs(filepath.Join("testdata", "nbgrader_course.py"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := tool(t, t.TempDir())("python", script, t.TempDir(), string(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if !strings.Contains(lines[0], `// YOUR CODE HERE\n\tpanic(\"not implemented\")`) {
		t.Errorf("the released answer is %s", lines[0])
	}
	got := lines[1:]
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The assignment that `new assignment` writes goes the whole way: its solution gets full marks, and its stub none.
func TestNewAssignment(t *testing.T) {
	folder := t.TempDir()
	run := tool(t, t.TempDir())
	nbgrader := func(command string, args ...string) string {
		t.Helper()
		out, err := run("nbgrader", append([]string{command, "--CourseDirectory.root=" + folder}, args...)...)
		if err != nil {
			t.Fatalf("nbgrader %s: %v\n%s", command, err, out)
		}
		return out
	}
	files, err := course.Write(folder, "week1", course.Tools{})
	if err != nil {
		t.Fatal(err)
	}
	if out := nbgrader("validate", files[0]); !strings.Contains(out, "Success! Your notebook passes all the tests.") {
		t.Errorf("the solutions do not pass:\n%s", out)
	}
	nbgrader("generate_assignment", "week1")
	released := filepath.Join(folder, "release", "week1", "week1.ipynb")
	for student, file := range map[string]string{"solution": files[0], "stub": released} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if hidden := strings.Contains(string(text), "moves nothing"); hidden != (student == "solution") {
			t.Errorf("%s has the hidden test: %v", file, hidden)
		}
		dir := filepath.Join(folder, "submitted", student, "week1")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "week1.ipynb"), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	nbgrader("autograde", "week1")
	nbgrader("generate_feedback", "week1")
	grades := filepath.Join(folder, "grades.csv")
	nbgrader("export", "--CsvExportPlugin.to="+grades)
	text, err := os.ReadFile(grades)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(string(text))).ReadAll()
	if err != nil || len(rows) != 3 {
		t.Fatalf("%v: %s", err, text)
	}
	at := func(row []string, column string) string { return row[slices.Index(rows[0], column)] }
	for _, row := range rows[1:] {
		if want := map[string]string{"solution": "8.0", "stub": "0.0"}[at(row, "student_id")]; at(row, "score") != want {
			t.Errorf("%s has %s of %s points, want %s", at(row, "student_id"), at(row, "score"), at(row, "max_score"), want)
		}
		if _, err := os.Stat(filepath.Join(folder, "feedback", at(row, "student_id"), "week1", "week1.html")); err != nil {
			t.Error(err)
		}
	}
}
