package relay

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// GoNB (v0.11.5, internal/jpyexec) cuts what a program prints at 32 KiB, also in the middle of a character, reads stdout,
// stderr and displays in no order, and stops reading displays when the program has ended. So GoNB does not start the
// cell's program but the pump, this program under another name, which starts it, passes on what it prints in pieces that
// GoNB cannot cut, its displays in their place between them, and ends when GoNB has taken all of it.
//
// GoNB runs the file that it has told `go build` to write. A second -o, in %goflags, has the program written beside it.

const (
	cellSuffix = ".cell"     // of the cell's program, whose name without it is a link to this program
	shellPump  = "cell-pump" // the link's name for what shells run
	shellStart = "cell-bash" // what bash reads first
)

// gonbName is the name of GoNB's directory, its module, and the program that it builds there.
var gonbName = regexp.MustCompile(`^gonb_[0-9a-f]{8}$`)

// PumpArguments returns the command that this process is to run as a pump for, by its own arguments; nil: it is none.
func PumpArguments(args []string) []string {
	if len(args) == 0 {
		return nil
	}
	switch name := filepath.Base(args[0]); {
	case name == shellPump:
		return args[1:]
	case gonbName.MatchString(name):
		if _, err := os.Stat(args[0] + cellSuffix); err == nil {
			return append([]string{args[0] + cellSuffix}, args[1:]...)
		}
	}
	return nil
}

// pump is what the relay knows of an engine's pumps; nil: GoNB starts programs itself.
type pump struct {
	cell  string // where `go build` is to write the program
	shell string // the link that runs a command
}

// preparePump prepares what e's programs are run by. program is this one.
func preparePump(e *engine, program string) (*pump, error) {
	dir, err := e.module()
	if err != nil {
		return nil, err
	}
	link := filepath.Join(dir, filepath.Base(dir))
	if err := os.Symlink(program, link); err != nil {
		return nil, err
	}
	return &pump{cell: link + cellSuffix, shell: filepath.Join(e.dir, shellPump)}, nil
}

// prepareShell makes every bash that GoNB starts a pump's: bash reads the file that BASH_ENV names first. It returns
// what GoNB's environment needs for that.
func prepareShell(dir, program string) (env []string, err error) {
	link, start := filepath.Join(dir, shellPump), filepath.Join(dir, shellStart)
	if err := os.Symlink(program, link); err != nil {
		return nil, err
	}
	const text = "[ -x \"$" + pumpVariable + "\" ] && mapfile -d '' BASH_ENV < /proc/$$/cmdline && exec \"$" + pumpVariable + "\" \"${BASH_ENV[@]}\"\n"
	if err := os.WriteFile(start, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return []string{pumpVariable + "=" + link, userStart + "=" + os.Getenv("BASH_ENV"), "BASH_ENV=" + start}, nil
}

const (
	pumpVariable = "ADVLAB_PUMP"
	userStart    = "ADVLAB_BASH_ENV" // the user's BASH_ENV
)

// programEnv is the environment of what a pump runs.
func programEnv(env []string) []string {
	list := make([]string, 0, len(env))
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		switch name {
		case "BASH_ENV":
			if filepath.Base(value) != shellStart { // an %env of the notebook's
				list = append(list, entry)
			}
		case pumpVariable:
		case userStart:
			if value != "" {
				list = append(list, "BASH_ENV="+value)
			}
		default:
			list = append(list, entry)
		}
	}
	return list
}

// startCell is what a new GoNB is told first: go get would look for newer versions than the pinned ones.
const startCell = "%noautoget\n%goflags \"\"\n"

// apply changes a cell's text, where it says how programs are built and run, so that the pump runs them.
func (p *pump) apply(code string, c cell) string {
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
func (p *pump) hide(text string) string {
	if p == nil || !strings.HasPrefix(text, "%goflags=[") {
		return text
	}
	added := `"-o" ` + strconv.Quote(p.cell)
	return strings.ReplaceAll(strings.ReplaceAll(text, added+" ", ""), added, "")
}

// piece returns how much of what waits to be passed on makes the next piece of at most most bytes: whole lines if there
// is one, else whole characters. 0: the rest may be the beginning of a character, of which more is to come.
func piece(waiting []byte, most int) int {
	n := min(len(waiting), most)
	if n < len(waiting) {
		for i := n; i > 0; i-- {
			if waiting[i-1] == '\n' {
				return i
			}
		}
	}
	for back := 1; back < utf8.UTFMax && back <= n; back++ {
		if c := waiting[n-back]; utf8.RuneStart(c) {
			if !utf8.FullRune(waiting[n-back : n]) {
				return n - back
			}
			break
		}
	}
	return n
}
