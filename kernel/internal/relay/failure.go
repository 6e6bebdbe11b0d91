package relay

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"advlab/kernel/internal/cell"
)

// The classes of errors: the ename of an error message.
const (
	compileError = "CompileError" // Go's compiler, goimports or `go get` refused the cell
	panicked     = "Panic"        // the program panicked, or the runtime gave up
	exitError    = "ExitError"    // the program, or a ! command, ended with a status that is not 0, or by a signal
	testFailure  = "TestFailure"  // a %test cell failed
	checkFailed  = "CheckFailed"  // the function of %check returned an error
	timeout      = "Timeout"      // the cell ran longer than allowed
	interrupted  = "Interrupted"  // the user stopped it
	commandError = "CommandError" // a % command was refused
	inputRefused = "InputRefused" // the cell asks for input, and the front-end cannot ask
	gonbDied     = "GoNBDied"     // GoNB itself ended
)

// failure is the content of an error message and of the reply.
type failure struct {
	Class     string   `json:"ename"`
	Text      string   `json:"evalue"`
	Traceback []string `json:"traceback"`
}

// newFailure makes a failure whose traceback begins with class and text, as Python's ends: a terminal, nbclient and
// nbconvert show the traceback alone. It has no colours; not all of them know those.
func newFailure(class, text string, more ...string) *failure {
	f := &failure{Class: class, Text: text, Traceback: []string{class + ": " + text}}
	for _, part := range more {
		if part = strings.TrimRight(part, "\n"); part != "" {
			f.Traceback = append(f.Traceback, "", part)
		}
	}
	return f
}

func (f *failure) hint(text string) {
	if text != "" {
		f.Traceback = append(f.Traceback, "", "Hint: "+text)
	}
}

// evidence is all that is known about a cell that failed.
type evidence struct {
	cell      cell.Cell
	value     string   // GoNB's evalue
	traceback []string // GoNB's, one entry for each line of the compiler's output
	exit      string   // "exit status 2", "signal: killed"; empty: no program failed
	panicText string   // what stderr held from "panic:" on
	stderr    string   // the end of what stderr showed
	stdout    string   // the end of what stdout showed
	where     func(gonbCell int) record
	latest    int      // GoNB's number of the cell
	mainGo    string   // the program that GoNB has composed; empty: unknown
	blanks    []string // what is in blankFile
}

// record is a cell that GoNB has a number for.
type record struct {
	count int    // the front-end's execution count; 0: none
	code  string // empty: unknown
}

var (
	exitText  = regexp.MustCompile(`^(?:\^C\n)?((?:exit status \d+|signal: [a-zA-Z0-9 ]+)(?: \(core dumped\))?)\n$`)
	exitValue = regexp.MustCompile(`^(exit status \d+|signal: .*)$`)
	cellInfo  = regexp.MustCompile(`^Cell(?:\[(-?\d+)\]:)? Line (\d+)$`)
	position  = regexp.MustCompile(`^(?:\S*/)?main(?:_test)?\.go:(\d+)(?::(\d+))?: (.*)$`)
	mark      = regexp.MustCompile(` ?\x1b\[7m\[\[ Cell (?:\[(-?\d+)\] )?Line (\d+) \]\]\x1b\[0m (\S*?)(main(?:_test)?\.go:\d+)`)
	failedOne = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)
)

// classify makes one error message of what GoNB spread over several.
func classify(e evidence) *failure {
	var f *failure
	exit := e.exit
	if exit == "" && exitValue.MatchString(e.value) {
		exit = e.value
	}
	switch {
	case e.panicText != "":
		f = e.panic()
	case exit != "" && e.cell.Test && exit == "exit status 1":
		f = e.tests()
	case exit != "":
		f = e.exited(exit)
	default:
		f = e.compile()
	}
	f.hint(hint(f, e))
	return f
}

// panic reads the runtime's report.
func (e evidence) panic() *failure {
	marked := e.markMissed(e.panicText)
	report := e.unmark(marked)
	first, rest, _ := strings.Cut(report, "\n")
	text := strings.TrimPrefix(strings.TrimPrefix(first, "panic: "), "fatal error: ")
	var at string
	if m := mark.FindStringSubmatch(marked); m != nil {
		at = e.excerpt(number(m[1]), number(m[2]), 0)
		text = e.place(number(m[1]), number(m[2])) + ": " + text
	}
	return newFailure(panicked, text, at, clip(strings.TrimLeft(rest, "\n"))) // the report's first line is the text
}

var unmarked = regexp.MustCompile(`(\x1b\[0m )?(\S*/)(main(?:_test)?\.go:)(\d+)`)

// markMissed marks the places that GoNB has missed, which happens where the runtime's report reached it in pieces: the
// line of the program is looked for in the cells.
func (e evidence) markMissed(text string) string {
	if e.mainGo == "" {
		return text
	}
	program := strings.Split(strings.Replace(e.mainGo, cell.MainOpen, "", 1), "\n")
	return unmarked.ReplaceAllStringFunc(text, func(s string) string {
		m := unmarked.FindStringSubmatch(s)
		if m[1] != "" {
			return s
		}
		gonbCell, line := e.search(program, number(m[4]))
		if line == 0 {
			return s
		}
		return fmt.Sprintf(" \x1b[7m[[ Cell [%d] Line %d ]]\x1b[0m %s%s%s", gonbCell, line, m[2], m[3], m[4])
	})
}

// search finds the cell's line that became a line of the program: the one with the same text, and, of several, the one
// most of whose neighbours are the same, too. If there is not exactly one, line is 0.
func (e evidence) search(program []string, number int) (gonbCell, line int) {
	at := func(lines []string, i int) string {
		if i < 0 || i >= len(lines) {
			return ""
		}
		return strings.TrimSpace(lines[i])
	}
	wanted := at(program, number-1)
	if wanted == "" {
		return 0, 0
	}
	best := 0
	for id := e.latest; id > 0; id-- {
		lines := strings.Split(e.where(id).code, "\n")
		for i := range lines {
			if at(lines, i) != wanted {
				continue
			}
			score := 1
			for _, step := range []int{-1, 1} {
				for k := step; k >= -10 && k <= 10 && at(lines, i+k) == at(program, number-1+k); k += step {
					score++
				}
			}
			switch {
			case score > best:
				best, gonbCell, line = score, id, i+1
			case score == best && id == gonbCell:
				line = 0 // twice in one cell: no guess
			}
		}
	}
	return gonbCell, line
}

// unmark rewrites the places that GoNB marks in a stack trace.
func (e evidence) unmark(text string) string {
	return mark.ReplaceAllStringFunc(text, func(s string) string {
		m := mark.FindStringSubmatch(s)
		return fmt.Sprintf("%s (%s)", e.place(number(m[1]), number(m[2])), m[4])
	})
}

const mostTrace = 16 << 10 // bytes of a stack trace that are shown

func clip(text string) string {
	if len(text) <= mostTrace {
		return text
	}
	n := strings.LastIndexByte(text[:mostTrace], '\n') + 1
	if n == 0 {
		n = mostTrace
	}
	return text[:n] + fmt.Sprintf("[… and %d bytes more]", len(text)-n)
}

func (e evidence) tests() *failure {
	seen := map[string]bool{}
	var names []string
	for _, m := range failedOne.FindAllStringSubmatch(e.stdout, -1) {
		if !seen[m[1]] {
			seen[m[1]] = true
			names = append(names, m[1])
		}
	}
	if len(names) == 0 {
		return newFailure(testFailure, "a test failed")
	}
	return newFailure(testFailure, strings.Join(names, ", "))
}

func (e evidence) exited(exit string) *failure {
	text := exit
	last := lastLine(e.stderr)
	if len(e.cell.Shell) > 0 && e.value == "" {
		if len(e.cell.Shell) == 1 {
			text = e.cell.Shell[0] + ": " + exit
		} else {
			text = "a ! command: " + exit
		}
	}
	if last != "" {
		text += ": " + last
	}
	return newFailure(exitError, text)
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	line := text[strings.LastIndexByte(text, '\n')+1:]
	if len(line) > 300 {
		line = line[:300] + "…"
	}
	return strings.ToValidUTF8(line, "")
}

// compile reads GoNB's error: the output of the compiler, goimports or `go get`, line by line, and beside each line
// the place in a cell and the lines of main.go around.
func (e evidence) compile() *failure {
	lines := strings.Split(e.value, "\n")
	var parts []string
	first, problems := "", 0
	for i := 0; i < len(lines); i++ {
		line := strings.TrimSuffix(strings.TrimRight(lines[i], "\r"), "; to add it:")
		text := strings.TrimPrefix(strings.TrimSpace(line), "./")
		m, blank := position.FindStringSubmatch(text), blankPosition.FindStringSubmatch(text)
		switch {
		case strings.HasPrefix(line, "-----"):
			lines = lines[:i] // GoNB's advice on `go get` and workspaces, which does not hold for a pinned one
			continue
		case strings.HasPrefix(line, "# ") || strings.TrimSpace(line) == "" || exitValue.MatchString(line) ||
			strings.HasPrefix(line, `failed to run "`) && len(lines) > 1 ||
			strings.HasPrefix(line, "go: gonb_") && strings.HasSuffix(line, " imports") ||
			strings.HasPrefix(line, "package gonb_") || strings.HasPrefix(line, "\tgo get "): // which the hint says better
			continue
		case m == nil && blank == nil:
			parts = append(parts, e.unpath(line))
			if first == "" {
				first = strings.TrimSpace(e.unpath(line))
			}
			continue
		}
		problems++
		var message string
		var gonbCell, cellLine, column int
		if m != nil {
			message = m[3]
			gonbCell, cellLine, column = e.locate(i, number(m[2]))
		} else {
			message = blank[2]
			gonbCell, cellLine = e.locateBlank(number(blank[1]))
		}
		if cellLine == 0 {
			parts = append(parts, message)
			if first == "" {
				first = message
			}
			continue
		}
		place := e.place(gonbCell, cellLine)
		if first == "" {
			first = place + ": " + message
		}
		parts = append(parts, "", place+": "+message) // a blank line parts it from what is above
		if at := e.excerpt(gonbCell, cellLine, column); at != "" {
			parts = append(parts, at)
		}
	}
	class := compileError
	if problems == 0 && (strings.HasPrefix(e.value, "executing special commands") || e.cell.Special) {
		class = commandError
		first = strings.TrimPrefix(first, "executing special commands in cell: ")
	}
	if first == "" {
		first = "the cell failed, and GoNB gave no reason"
	}
	if problems > 1 {
		first += fmt.Sprintf(" (and %d more)", problems-1)
	}
	for len(parts) > 0 && (parts[0] == "" || strings.TrimSpace(parts[0]) == first) { // what has just been said
		parts = parts[1:]
	}
	return newFailure(class, first, strings.TrimLeft(strings.Join(parts, "\n"), "\n"))
}

var mainPath = regexp.MustCompile(`\S*/gonb_[0-9a-f]+/`)

// stdPath is where Go has looked for a package of its own.
var stdPath = regexp.MustCompile(` is not in std \(\S*\)`)

// unpath takes paths of GoNB's directory and of Go's out, which mean nothing to a reader.
func (e evidence) unpath(line string) string {
	return stdPath.ReplaceAllString(mainPath.ReplaceAllString(line, ""), " is not in std")
}

// locate finds the cell's own line for line i of the compiler's output, and the column in it; 0: unknown.
func (e evidence) locate(i, column int) (gonbCell, line, col int) {
	if i >= len(e.traceback) {
		return 0, 0, 0
	}
	context := strings.Split(e.traceback[i], "\n")
	m := cellInfo.FindStringSubmatch(context[0])
	if m == nil {
		return 0, 0, 0
	}
	gonbCell, line = number(m[1]), number(m[2])
	// GoNB puts a line with ^ below the line of main.go. The cell's line may be indented in another way.
	for k := 2; column > 0 && k < len(context); k++ {
		if strings.TrimLeft(context[k], " ") != "^" {
			continue
		}
		in, out := context[k-1], e.line(gonbCell, line)
		if before, behind, ok := strings.Cut(in, cell.MainOpen); ok {
			in, column = before+behind, column-len(cell.MainOpen)
		}
		if strings.TrimSpace(in) == strings.TrimSpace(out) {
			if col = column - indentation(in) + indentation(out); col < 1 {
				col = 0
			}
		}
		break
	}
	return gonbCell, line, col
}

func indentation(s string) int { return len(s) - len(strings.TrimLeft(s, " \t")) }

func (e evidence) line(gonbCell, line int) string {
	lines := strings.Split(e.where(gonbCell).code, "\n")
	if line < 1 || line > len(lines) {
		return ""
	}
	return lines[line-1]
}

// place names a cell's line as the reader counts.
func (e evidence) place(gonbCell, line int) string {
	if n := e.where(gonbCell).count; n > 0 {
		return fmt.Sprintf("cell %d, line %d", n, line)
	}
	return fmt.Sprintf("line %d", line)
}

// excerpt shows a line of a cell, marked, between its neighbours. Column 0: unknown.
func (e evidence) excerpt(gonbCell, line, column int) string {
	code := e.where(gonbCell).code
	if code == "" {
		return ""
	}
	lines := strings.Split(code, "\n")
	if line < 1 || line > len(lines) {
		return ""
	}
	var b strings.Builder
	for i := max(1, line-2); i <= min(len(lines), line+2); i++ {
		sign := " "
		if i == line {
			sign = ">"
		}
		fmt.Fprintf(&b, "%s %3d | %s\n", sign, i, lines[i-1])
		if i == line && column > 0 && column <= len(lines[i-1])+1 {
			// Tabs stay, so that the mark stands below its column.
			blank := strings.Map(func(r rune) rune {
				if r == '\t' {
					return r
				}
				return ' '
			}, lines[i-1][:column-1])
			fmt.Fprintf(&b, "      | %s^\n", blank)
		}
	}
	return strings.TrimRight(b.String(), "\n")
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return -1
	}
	return n
}
