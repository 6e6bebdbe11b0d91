package relay

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"advlab/kernel/internal/pump"
)

// Cells' programs and commands are run by pumps: see package pump. GoNB runs the file that it has told `go build` to write.
// That is a link to the pump, and a second -o, in %goflags, has the program written beside it.

// pumpPaths is what the relay knows of an engine's pumps; nil: GoNB starts programs itself.
type pumpPaths struct {
	cell  string // where `go build` is to write the program
	shell string // the link that runs a command
}

// preparePump prepares what e's programs are run by, the program of package pump.
func preparePump(e *engine, program string) (*pumpPaths, error) {
	dir, err := e.module()
	if err != nil {
		return nil, err
	}
	link := filepath.Join(dir, filepath.Base(dir))
	if err := os.Symlink(program, link); err != nil {
		return nil, err
	}
	return &pumpPaths{cell: link + pump.CellSuffix, shell: filepath.Join(e.dir, pump.ShellName)}, nil
}

// prepareShell makes every bash that GoNB starts a pump's: bash reads the file that BASH_ENV names first. It returns
// what GoNB's environment needs for that.
func prepareShell(dir, program string) (env []string, err error) {
	link, start := filepath.Join(dir, pump.ShellName), filepath.Join(dir, pump.ShellStart)
	if err := os.Symlink(program, link); err != nil {
		return nil, err
	}
	const text = "[ -x \"$" + pump.Variable + "\" ] && mapfile -d '' BASH_ENV < /proc/$$/cmdline && exec \"$" + pump.Variable + "\" \"${BASH_ENV[@]}\"\n"
	if err := os.WriteFile(start, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return []string{pump.Variable + "=" + link, pump.UserStart + "=" + os.Getenv("BASH_ENV"), "BASH_ENV=" + start}, nil
}

// startCell is what a new GoNB is told first: go get would look for newer versions than the pinned ones.
const startCell = "%noautoget\n%goflags \"\"\n"

// apply changes a cell's text, where it says how programs are built and run, so that the pump runs them.
func (p *pumpPaths) apply(code string, c cell) string {
	if p == nil {
		return code
	}
	lines := strings.Split(code, "\n")
	if c.special {
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
		if !c.command[i] {
			continue
		}
		if rest, ok := strings.CutPrefix(strings.TrimPrefix(line, commentPrefix), "%goflags "); ok && strings.TrimSpace(rest) != "" {
			lines[i] = "%goflags -o " + strconv.Quote(p.cell) + " " + rest
		}
	}
	return strings.Join(lines, "\n")
}

// hide takes what apply has added out of what %goflags prints.
func (p *pumpPaths) hide(text string) string {
	if p == nil || !strings.HasPrefix(text, "%goflags=[") {
		return text
	}
	added := `"-o" ` + strconv.Quote(p.cell)
	return strings.ReplaceAll(strings.ReplaceAll(text, added+" ", ""), added, "")
}
