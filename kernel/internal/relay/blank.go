package relay

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/google/renameio/v2"
)

// GoNB knows imports by the name they give, so of all blank imports of a notebook it keeps one (gonb v0.11.5,
// internal/goexec/parser.go, NewImport). The others are given to Go in a file of their own beside GoNB's main.go, which
// GoNB leaves alone. The cells stay as they are.

// blankFile is that file's name. It sorts behind main.go and main_test.go: so of an import in two files, an error names
// GoNB's.
const blankFile = "notebook_imports.go"

// blankPrefix is how names of blank imports begin in declarations.
const blankPrefix = "import _ "

// blanks returns the paths, quoted, that are imported for their effect alone, each once.
func (d *declarations) blanks() (paths []string) {
	for _, n := range d.list {
		for _, name := range n.names {
			if path, ok := strings.CutPrefix(name, blankPrefix); ok && !slices.Contains(paths, path) {
				paths = append(paths, path)
			}
		}
	}
	return paths
}

// with returns the declarations that there would be after a cell.
func (d *declarations) with(c cell) *declarations {
	next := &declarations{list: slices.Clone(d.list), settings: slices.Clone(d.settings)}
	next.add(c)
	return next
}

// blankSource is the file with these imports, one a line from blankFirst on.
func blankSource(paths []string) string {
	return "package main\n\nimport (\n\t_ " + strings.Join(paths, "\n\t_ ") + "\n)\n"
}

const blankFirst = 4

// importBlanks gives Go the blank imports of earlier cells and of this one, if they are more than the one that GoNB
// keeps.
func (r *relay) importBlanks(e *engine, c cell) error {
	if c.special {
		return nil
	}
	r.mu.Lock()
	paths := r.declared.with(c).blanks()
	r.mu.Unlock()
	if len(paths) < 2 {
		paths = nil
	}
	if slices.Equal(paths, e.blanks) {
		return nil
	}
	dir, err := e.module()
	if err != nil {
		return fmt.Errorf("the blank imports %s: %w", strings.Join(paths, ", "), err)
	}
	file := filepath.Join(dir, blankFile)
	if paths == nil {
		err = os.Remove(file)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	} else {
		err = renameio.WriteFile(file, []byte(blankSource(paths)), 0o600)
	}
	if err != nil {
		return fmt.Errorf("the blank imports: %w", err)
	}
	e.blanks = paths
	return nil
}

var blankPosition = regexp.MustCompile(`^(?:\S*/)?` + regexp.QuoteMeta(blankFile) + `:(\d+)(?::\d+)?: (.*)$`)

// locateBlank finds the cell's line of a blank import that the compiler refuses; line 0: unknown.
func (e evidence) locateBlank(fileLine int) (gonbCell, line int) {
	i := fileLine - blankFirst
	if i < 0 || i >= len(e.blanks) {
		return 0, 0
	}
	path, err := strconv.Unquote(e.blanks[i])
	if err != nil {
		return 0, 0
	}
	wanted := regexp.MustCompile("(?:^|[\\s(;])_\\s*[\"`]" + regexp.QuoteMeta(path) + "[\"`]")
	for id := e.latest; id > 0; id-- {
		for i, text := range strings.Split(e.where(id).code, "\n") {
			if wanted.MatchString(text) {
				return id, i + 1
			}
		}
	}
	return 0, 0
}
