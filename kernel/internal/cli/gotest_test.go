package cli

import (
	"strings"
	"testing"
)

// What is printed of a run in which one package passes, one has no tests, one fails and one does not compile.
func TestGoTest(t *testing.T) {
	const events = `{"Time":"2026-01-02T03:04:05Z","Action":"start","Package":"advlab/a"}
{"Action":"run","Package":"advlab/a","Test":"TestA"}
{"Action":"output","Package":"advlab/a","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"advlab/a","Test":"TestA","Output":"    a_test.go:3: fine\n"}
{"Action":"output","Package":"advlab/a","Test":"TestA","Output":"--- PASS: TestA (0.00s)\n"}
{"Action":"pass","Package":"advlab/a","Test":"TestA"}
{"Action":"output","Package":"advlab/a","Test":"TestS","Output":"    a_test.go:9: no browser: it is skipped\n"}
{"Action":"output","Package":"advlab/a","Test":"TestS","Output":"--- SKIP: TestS (0.00s)\n"}
{"Action":"skip","Package":"advlab/a","Test":"TestS"}
{"Action":"output","Package":"advlab/a","Output":"PASS\n"}
{"Action":"output","Package":"advlab/a","Output":"ok  \tadvlab/a\t0.1s\n"}
{"Action":"pass","Package":"advlab/a"}
{"Action":"start","Package":"advlab/b"}
{"Action":"output","Package":"advlab/b","Output":"?   \tadvlab/b\t[no test files]\n"}
{"Action":"skip","Package":"advlab/b"}
{"Action":"start","Package":"advlab/c"}
{"Action":"output","Package":"advlab/c","Test":"TestC","Output":"=== RUN   TestC\n"}
{"Action":"output","Package":"advlab/c","Test":"TestC","Output":"    c_test.go:3: 2, want 3\n"}
{"Action":"output","Package":"advlab/c","Test":"TestC","Output":"--- FAIL: TestC (0.00s)\n"}
{"Action":"fail","Package":"advlab/c","Test":"TestC"}
{"Action":"output","Package":"advlab/c","Test":"TestD","Output":"panic: boom\n"}
{"Action":"output","Package":"advlab/c","Output":"FAIL\tadvlab/c\t0.1s\n"}
{"Action":"fail","Package":"advlab/c"}
{"ImportPath":"advlab/d","Action":"build-output","Output":"# advlab/d\n"}
{"ImportPath":"advlab/d","Action":"build-output","Output":"d.go:1:1: expected 'package'\n"}
go: a line that is no event
`
	var out strings.Builder
	var doing []string
	g := newGoTest(&out, 3, func(text string) { doing = append(doing, text) })
	if err := g.read(strings.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	const want = "ok  \tadvlab/a\t0.1s\n?   \tadvlab/b\t[no test files]\n" +
		"    c_test.go:3: 2, want 3\n--- FAIL: TestC (0.00s)\nFAIL\tadvlab/c\t0.1s\npanic: boom\n" +
		"# advlab/d\nd.go:1:1: expected 'package'\ngo: a line that is no event\n"
	if out.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", out.String(), want)
	}
	if got, want := g.summary(), "1 tests were skipped:\nTestS in a: no browser: it is skipped"; got != want {
		t.Errorf("summary %q, want %q", got, want)
	}
	if got, want := doing[len(doing)-1], "testing: 3 of 3 packages done, 1 tests passed"; got != want {
		t.Errorf("at the end %q, want %q", got, want)
	}
	for i, want := range []string{"testing: 0 of 3 packages done, 0 tests passed, now a",
		"testing: 0 of 3 packages done, 0 tests passed, now a (TestA)"} {
		if doing[i] != want {
			t.Errorf("line %d is %q, want %q", i, doing[i], want)
		}
	}
}
