package style

import (
	"encoding/json"
	"errors"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The documentation of every package begins with what it is, in a paragraph, and its smallest use, as code or as a
// command line; then it explains.
func TestPackagesShowTheirUse(t *testing.T) {
	list := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,CgoFiles", "./...")
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath, Dir   string
			GoFiles, CgoFiles []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		var texts []string
		for _, name := range append(p.GoFiles, p.CgoFiles...) {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if text := f.Doc.Text(); text != "" {
				texts = append(texts, text)
			}
		}
		if len(p.GoFiles)+len(p.CgoFiles) == 0 {
			continue // tests only
		}
		seen++
		if problem := opening(texts); problem != "" {
			t.Errorf("%s: %s", p.ImportPath, problem)
		}
	}
	if seen < 30 {
		t.Errorf("go list names %d packages only", seen)
	}
}

// opening says what is wrong with how a package's documentation, from one or more files, begins.
func opening(texts []string) string {
	var parser comment.Parser
	for _, text := range texts {
		if !strings.HasPrefix(text, "Package ") && !strings.HasPrefix(text, "Command ") {
			continue // a part that stands in a file of its own
		}
		blocks := parser.Parse(text).Content
		if len(blocks) < 2 {
			return "its documentation is one paragraph, without a use"
		}
		if _, ok := blocks[1].(*comment.Code); !ok {
			return "its documentation has no code behind its first paragraph"
		}
		return ""
	}
	return "it has no documentation"
}

func TestOpening(t *testing.T) {
	for _, c := range []struct {
		text string
		good bool
	}{
		{"Package a adds.\n\n\ta.Add(1, 2)\n\nIt carries.\n", true},
		{"Package a adds.\n", false},
		{"Package a adds.\n\nIt carries.\n\n\ta.Add(1, 2)\n", false},
		{"A part.\n\n\ta.Add(1, 2)\n", false},
	} {
		if problem := opening([]string{c.text}); (problem == "") != c.good {
			t.Errorf("%q: %q", c.text, problem)
		}
	}
}
