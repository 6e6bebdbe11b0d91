package gonb

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"advlab/kernel/internal/cell"
	"advlab/kernel/internal/pump"
)

// Cells' programs and commands are run by pumps: see package pump. GoNB runs the file that it has told `go build` to
// write. That is a link to the pump, and a second -o, in %goflags, has the program written beside it.

// pumpPaths is what the relay knows of an engine's pumps; nil: GoNB starts programs itself.
type pumpPaths struct {
	cell  string // where `go build` is to write the program
	shell string // the link that runs a command
}

// PreparePump sets up the pump that runs cells' programs, if there is one. If that fails, GoNB runs them itself, and
// what they print goes through GoNB as it is.
func (e *Engine) PreparePump() error {
	if err := os.MkdirAll(filepath.Dir(e.overlay()), 0o700); err != nil {
		return err
	}
	if err := e.Give(nil); err != nil {
		return err
	}
	if !pump.Supported || e.config.Pump == "" {
		return nil
	}
	dir, err := e.Module()
	if err != nil {
		return err
	}
	link := filepath.Join(dir, filepath.Base(dir))
	if err := os.Symlink(e.config.Pump, link); err != nil {
		return err
	}
	e.pump = &pumpPaths{cell: link + pump.CellSuffix, shell: filepath.Join(e.dir, pump.ShellName)}
	return nil
}

// prepareShell puts every bash that GoNB starts under a pump: bash reads the file that BASH_ENV names first. It returns
// what GoNB's environment needs for that.
func prepareShell(dir, program string) (env []string, err error) {
	link, start := filepath.Join(dir, pump.ShellName), filepath.Join(dir, pump.ShellStart)
	if err := os.Symlink(program, link); err != nil {
		return nil, err
	}
	const text = "[ -x \"$" + pump.Variable + "\" ] && mapfile -d '' BASH_ENV < /proc/$$/cmdline && exec \"$" + pump.Variable +
		"\" \"${BASH_ENV[@]}\"\n"
	if err := os.WriteFile(start, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return []string{pump.Variable + "=" + link, pump.UserStart + "=" + os.Getenv("BASH_ENV"), "BASH_ENV=" + start}, nil
}

// FirstCell is what a new GoNB is told first: go get would look for newer versions than the pinned ones.
const FirstCell = "%noautoget\n%goflags \"\"\n"

// Text changes a cell's text, where it says how programs are built and run, so that the pump runs them.
func (e *Engine) Text(code string, c cell.Cell) string {
	p := e.pump
	lines := strings.Split(code, "\n")
	if c.Special {
		if p == nil {
			return code
		}
		words := strings.Fields(lines[0])
		switch {
		case words[0] == "%%bash" || words[0] == "%%sh":
			if len(words) == 1 {
				lines[0] = "%%script " + strconv.Quote(p.shell) + " " + words[0][2:]
			}
		case words[0] == "%%script" && len(words) > 1:
			lines[0] = "%%script " + strconv.Quote(p.shell) + strings.TrimPrefix(lines[0], words[0])
		}
		return strings.Join(lines, "\n")
	}
	for i, line := range lines {
		if rest, ok := strings.CutPrefix(strings.TrimPrefix(line, cell.CommentPrefix), "%goflags "); ok && strings.TrimSpace(rest) != "" {
			lines[i] = "%goflags " + e.flags() + rest
		}
	}
	return strings.Join(lines, "\n")
}

// Printed takes what Text has added out of what %goflags prints.
func (e *Engine) Printed(text string) string {
	if !strings.HasPrefix(text, "%goflags=[") {
		return text
	}
	added := `"-overlay" ` + strconv.Quote(e.overlay())
	if e.pump != nil {
		added = `"-o" ` + strconv.Quote(e.pump.cell) + " " + added
	}
	return strings.ReplaceAll(strings.ReplaceAll(text, added+" ", ""), added, "")
}
