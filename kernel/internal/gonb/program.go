package gonb

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"advlab/kernel/internal/cell"

	"github.com/google/renameio/v2"
)

// GoNB keeps what cells declare, and writes a main.go of all of it. The relay composes programs itself (package
// compose), and GoNB builds and runs them: it gets a cell that declares nothing, and a flag of `go build`, -overlay,
// puts the program's files in the place of GoNB's main.go.

// programDir is the folder, in an engine's, of the program's files and of the overlay that names them.
const programDir = "program"

// overlayFile tells Go which files to read in place of others.
const overlayFile = "overlay.json"

func (e *Engine) overlay() string { return filepath.Join(e.dir, programDir, overlayFile) }

// Program is the path of the program that is built for a cell.
func (e *Engine) Program() (string, error) {
	if e.pump != nil {
		return e.pump.cell, nil
	}
	module, err := e.Module()
	return filepath.Join(module, filepath.Base(module)), err
}

// Give gives Go the files of a program in place of what GoNB writes. No files: GoNB's own are built.
func (e *Engine) Give(files map[string]string) error {
	module, err := e.Module()
	if err != nil {
		return fmt.Errorf("giving a program to Go: %w", err)
	}
	dir := filepath.Dir(e.overlay())
	replace := map[string]string{}
	for name, text := range files {
		path := filepath.Join(dir, name)
		replace[filepath.Join(module, name)] = path
		if old, err := os.ReadFile(path); err == nil && string(old) == text {
			continue
		}
		if err := renameio.WriteFile(path, []byte(text), 0o600); err != nil {
			return fmt.Errorf("giving a program to Go: %w", err)
		}
	}
	if len(files) > 0 {
		for _, name := range []string{"main.go", "main_test.go"} {
			if _, ours := files[name]; !ours {
				replace[filepath.Join(module, name)] = "" // as if it were not there
			}
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return fmt.Errorf("giving a program to Go: %w", err)
	}
	if err := renameio.WriteFile(e.overlay(), text, 0o600); err != nil {
		return fmt.Errorf("giving a program to Go: %w", err)
	}
	return e.sweep(files)
}

// sweep removes the files of earlier programs.
func (e *Engine) sweep(files map[string]string) error {
	old, err := filepath.Glob(filepath.Join(e.dir, programDir, "*.go"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if _, used := files[filepath.Base(path)]; used {
			continue
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// flags are those of `go build` that every cell has: where the program is written, if a pump runs it, and which files
// it is made of.
func (e *Engine) flags() string {
	text := "-overlay " + strconv.Quote(e.overlay()) + " "
	if e.pump != nil {
		text = "-o " + strconv.Quote(e.pump.cell) + " " + text
	}
	return text
}

// Stub is what GoNB gets of a cell whose program was given to Go: its commands, without those that begin a program, and
// an empty one, or empty tests of the same names. again leaves out the commands that were run before.
func Stub(c cell.Cell, tests []string, again bool) string {
	var lines []string
	for i, line := range c.Lines {
		if !c.Command[i] {
			continue
		}
		command := strings.TrimPrefix(line, cell.CommentPrefix)
		word, rest, _ := strings.Cut(command, " ")
		continued := i > 0 && c.Command[i-1] && strings.HasSuffix(c.Lines[i-1], `\`)
		switch {
		case !continued && strings.Trim(command[1:], " \t") == "": // GoNB does not survive it
		case continued && !again:
			lines = append(lines, line)
		case !continued && (word == "%%" || word == "%main"):
			if strings.TrimSpace(rest) != "" {
				lines = append(lines, "%args "+rest)
			}
		case !again || !continued && slices.Contains([]string{"%args", "%test"}, word):
			lines = append(lines, command)
		}
	}
	if !c.Test {
		return strings.Join(append(lines, "func main() {}"), "\n")
	}
	lines = append(lines, `import "testing"`)
	for _, name := range tests {
		argument := "*testing.T"
		if strings.HasPrefix(name, "Benchmark") {
			argument = "*testing.B"
		}
		lines = append(lines, fmt.Sprintf("func %s(_ %s) {}", name, argument))
	}
	return strings.Join(lines, "\n")
}
