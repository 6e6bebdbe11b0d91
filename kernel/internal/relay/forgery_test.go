package relay

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The course's cells: a function of the course's own, a check, one that panics, and one that gives points.
const (
	forgeHelper = "func want(x int) int { return x / 2 }"
	forgeCheck  = "func halves() error {\n\tif got := half(6); got != want(6) {\n\t\treturn fmt.Errorf(\"half(6) is %d, not %d\", got, " +
		"want(6))\n\t}\n\treturn nil\n}\n%check halves"
	forgePanic = "%%\nif half(-2) != -1 {\n\tpanic(\"half(-2) is not -1\")\n}"
	forgeGrade = "%%\npoints := 0.\nfor _, x := range []int{2, 3, -4, 0} {\n\tif half(x) == x/2 {\n\t\tpoints++\n\t}\n}\nshow.Grade(points)"
)

// checks are the graded cells by the names that testdata/forgeries.txt has for them.
var checks = map[string]string{
	"check": forgeCheck, "panic": forgePanic, "grade": forgeGrade, "grade-wait": forgeGrade + "\ntime.Sleep(100 * time.Millisecond);",
}

// forgery is an entry of testdata/forgeries.txt. HOW_IT_WORKS.md sums up what each gets.
type forgery struct {
	name, check, answer, note string
	points                    float64
}

// anyPoints is what a forgery gets that may succeed, and of which the teacher is told.
const anyPoints = -2

func readForgeries(t *testing.T) (all []forgery) {
	text, err := os.ReadFile(filepath.Join("testdata", "forgeries.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range strings.Split(string(text), "\n---- ")[1:] {
		head, answer, _ := strings.Cut(entry, "\n")
		words := strings.Split(head, " | ")
		if len(words) != 4 || checks[words[1]] == "" {
			t.Fatalf("%q is no head of a forgery", head)
		}
		f := forgery{name: words[0], check: checks[words[1]], answer: answer, note: words[3], points: anyPoints}
		if words[2] != "any" {
			if f.points, err = strconv.ParseFloat(words[2], 64); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, f)
	}
	return all
}

// TestForgeries gives points as nbgrader does, for cells that it runs with what it says of them.
func TestForgeries(t *testing.T) {
	t.Parallel() // it waits more than it works
	f := startKernel(t, "-fold").start().frontEnd()
	run := func(code, cell string, locked bool, points any) ran {
		t.Helper()
		return f.finish(f.sendWith(f.shell, "execute_request", map[string]any{"code": code, "silent": false, "store_history": true,
			"user_expressions": map[string]string{}, "allow_stdin": false, "stop_on_error": false},
			map[string]any{"cellId": cell, "nbgrader": map[string]any{"locked": locked, "points": points}}))
	}
	run(forgeHelper, "helper", true, nil)
	for _, test := range readForgeries(t) {
		t.Run(test.name, func(t *testing.T) {
			answer := run(test.answer, "answer", false, nil)
			if answer.Status != "ok" {
				run("", "answer", false, nil) // in a fresh kernel it would not be there, either
				run("_ = 0;", "answer", false, nil)
			}
			began := time.Now()
			r := run(test.check, "check", true, 4.)
			if got := pointsOf(r, 4); got != test.points && test.points != anyPoints {
				t.Errorf("it gets %v points, want %v: %s %q, result %v, stdout %q, stderr %q", got, test.points, r.Class, r.Text,
					r.contents["execute_result"], r.stdout, r.stderr)
			}
			if said := fmt.Sprint(r.displays); !strings.Contains(said, test.note) || test.note == "" && strings.Contains(said, "look at cell") {
				t.Errorf("the teacher is told %q, want %q", said, test.note)
			}
			t.Logf("%v points, %.1f s: %s %s (the answer's cell: %s %s)", pointsOf(r, 4), time.Since(began).Seconds(), r.Class, r.Text, answer.Class,
				answer.Text)
		})
	}
}

// pointsOf is what nbgrader 0.9.6 gives (utils.determine_grade); -1 where it refuses to.
func pointsOf(r ran, most float64) float64 {
	if r.Status != "ok" || r.stderr != "" {
		return 0
	}
	data, _ := r.contents["execute_result"]["data"].(map[string]any)
	text, shown := data["text/plain"].(string)
	points, err := strconv.ParseFloat(text, 64)
	switch {
	case !shown || err != nil || points < 0:
		return most
	case points > most:
		return -1
	}
	return points
}
