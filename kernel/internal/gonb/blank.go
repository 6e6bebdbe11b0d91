package gonb

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"
)

// GoNB knows imports by the name they give, so of all blank imports of a notebook it keeps one (gonb v0.11.5,
// internal/goexec/parser.go, NewImport). The others are given to Go in a file of their own beside GoNB's main.go, which
// GoNB leaves alone. The cells stay as they are.

// BlankFile is that file's name. It sorts behind main.go and main_test.go: so of an import in two files, an error names
// GoNB's.
const BlankFile = "notebook_imports.go"

// blankSource is the file with these imports, one a line from BlankFirst on.
func blankSource(paths []string) string {
	return "package main\n\nimport (\n\t_ " + strings.Join(paths, "\n\t_ ") + "\n)\n"
}

// BlankFirst is the number of the line of the first import in BlankFile.
const BlankFirst = 4

// ImportBlanks gives Go the blank imports, quoted, that GoNB does not keep. paths are all blank imports of the
// notebook; nil if there is only the one that GoNB keeps.
func (e *Engine) ImportBlanks(paths []string) error {
	if len(paths) < 2 {
		paths = nil
	}
	if slices.Equal(paths, e.blanks) {
		return nil
	}
	dir, err := e.Module()
	if err != nil {
		return fmt.Errorf("the blank imports %s: %w", strings.Join(paths, ", "), err)
	}
	file := filepath.Join(dir, BlankFile)
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

// Blanks returns what is in BlankFile.
func (e *Engine) Blanks() []string { return e.blanks }
