package progress_test

import (
	"regexp"
	"strings"
	"testing"

	"advlab/kernel/internal/progress"
)

func TestLines(t *testing.T) {
	var out strings.Builder
	p := progress.New(&out)
	s := p.Begin("tools", "building %d programs", 3)
	s.Now("linking")
	s.End("ready")
	p.Line("python", "two\nlines")
	want := []string{
		`^\[ +\d\.\d s\] tools       building 3 programs …$`,
		`^\[ +\d\.\d s\] tools       linking …$`,
		`^\[ +\d\.\d s\] tools       ready \(\d\.\d s\)$`,
		`^\[ +\d\.\d s\] python      two$`,
		`^ {23}lines$`,
	}
	got := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(got) != len(want) {
		t.Fatalf("%d lines, want %d:\n%s", len(got), len(want), out.String())
	}
	for i := range want {
		if !regexp.MustCompile(want[i]).MatchString(got[i]) {
			t.Errorf("line %d is %q, want it to match %s", i, got[i], want[i])
		}
	}
}
