package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"advlab/kernel/internal/place"
)

// goTest reads what `go test -json` writes and prints what `go test` would: a line for each package, and of tests that
// fail what they said. It says besides how far the run is, and at the end which tests were skipped, and why.
type goTest struct {
	out   io.Writer
	of    int // packages
	doing func(text string)

	done    int
	passed  int                  // tests
	running map[string]time.Time // packages, by when they began
	at      map[string]string    // their tests that began last
	said    map[string][]string  // output by package, or by package and test
	skipped []string
}

// testEvent is one line of `go test -json`; see `go doc test2json`.
type testEvent struct {
	Time    time.Time
	Action  string
	Package string
	Test    string
	Output  string
}

func newGoTest(out io.Writer, packages int, doing func(string)) *goTest {
	return &goTest{out: out, of: packages, doing: doing, running: map[string]time.Time{}, at: map[string]string{},
		said: map[string][]string{}}
}

// read follows a run to its end. What is no event, such as a compiler's error, is printed as it is.
func (g *goTest) read(from io.Reader) error {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var e testEvent
			if line[0] != '{' || json.Unmarshal([]byte(line), &e) != nil {
				fmt.Fprint(g.out, line)
			} else {
				g.take(e)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (g *goTest) take(e testEvent) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "start":
		g.running[e.Package] = e.Time
		g.tell(e.Time)
	case "run":
		if !strings.Contains(e.Test, "/") {
			g.at[e.Package] = e.Test
			g.tell(e.Time)
		}
	case "build-output":
		fmt.Fprint(g.out, e.Output)
	case "output":
		if !strings.HasPrefix(e.Output, "=== ") {
			g.said[key] = append(g.said[key], e.Output)
		}
	case "pass", "fail", "skip":
		switch {
		case e.Test == "":
			g.ended(e)
		case e.Action == "pass" && !strings.Contains(e.Test, "/"):
			g.passed++
		case e.Action == "fail":
			fmt.Fprint(g.out, strings.Join(g.said[key], ""))
		case e.Action == "skip":
			g.skipped = append(g.skipped, fmt.Sprintf("%s in %s: %s", e.Test, short(e.Package), reason(g.said[key])))
		}
		delete(g.said, key)
	}
}

// ended prints the line of a package that has ended, or, where it has failed, all that it said outside of its tests.
func (g *goTest) ended(e testEvent) {
	said := g.said[e.Package+" "]
	for i, line := range said {
		verdict := i == len(said)-1
		if e.Action == "fail" && line != "PASS\n" || verdict {
			fmt.Fprint(g.out, line)
		}
	}
	// Tests that were cut off, by a panic or a time-out, have no end of their own.
	for _, key := range slices.Sorted(maps.Keys(g.said)) {
		if pkg, test, _ := strings.Cut(key, " "); pkg == e.Package && test != "" {
			if e.Action == "fail" {
				fmt.Fprint(g.out, strings.Join(g.said[key], ""))
			}
			delete(g.said, key)
		}
	}
	delete(g.running, e.Package)
	g.done++
	g.tell(e.Time)
}

// tell says how far the run is.
func (g *goTest) tell(now time.Time) {
	var names []string
	for _, name := range slices.SortedFunc(maps.Keys(g.running), func(a, b string) int { return g.running[a].Compare(g.running[b]) }) {
		text := short(name)
		if test := g.at[name]; test != "" {
			text += " (" + test + ")"
		}
		names = append(names, text)
	}
	text := fmt.Sprintf("testing: %d of %d packages done, %d tests passed", g.done, g.of, g.passed)
	if len(names) > 0 {
		text += ", now " + strings.Join(names, ", ")
	}
	g.doing(text)
}

// summary names the tests that were skipped; empty: none.
func (g *goTest) summary() string {
	if len(g.skipped) == 0 {
		return ""
	}
	return fmt.Sprintf("%d tests were skipped:\n%s", len(g.skipped), strings.Join(g.skipped, "\n"))
}

func short(pkg string) string { return strings.TrimPrefix(pkg, place.Module+"/") }

// reason finds why a test was skipped in what it said: "    file_test.go:12: reason".
func reason(said []string) string {
	for _, line := range said {
		line = strings.TrimSpace(line)
		if _, text, ok := strings.Cut(line, ": "); ok && !strings.HasPrefix(line, "---") {
			return text
		}
	}
	return "it does not say why"
}
