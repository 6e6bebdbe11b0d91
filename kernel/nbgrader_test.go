package main

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
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
