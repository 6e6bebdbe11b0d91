package relay

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"advlab/kernel/internal/cell"
	"advlab/kernel/internal/compose"
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
	value     string           // GoNB's evalue
	traceback []string         // GoNB's, one entry for each line of the compiler's output
	exit      string           // "exit status 2", "signal: killed"; empty: no program failed
	panicText string           // what stderr held from "panic:" on
	stderr    string           // the end of what stderr showed
	stdout    string           // the end of what stdout showed
	program   *compose.Program // nil: the cell has no Go, or is none
	lore      lore
}

var (
	exitText  = regexp.MustCompile(`^(?:\^C\n)?((?:exit status \d+|signal: [a-zA-Z0-9 ]+)(?: \(core dumped\))?)\n$`)
	exitValue = regexp.MustCompile(`^(exit status \d+|signal: .*)$`)
	position  = regexp.MustCompile(`^(?:\S*/)?(cell_\d+(?:_test)?\.go|main(?:_test)?\.go|imports\.go):(\d+)(?::(\d+))?: (.*)$`)
	frame     = regexp.MustCompile(`(?:\S*/)?\b(cell_\d+(?:_test)?\.go):(\d+)`)
	wrapper   = regexp.MustCompile(`(?m)^main\.main\(\)\n\t\S*\bbegin\.go:\d+.*\n?`)
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
	report := e.panicText
	if e.program != nil && e.program.Ends() { // what compose puts around a cell's statements is no concern of the reader's
		report = wrapper.ReplaceAllString(report, "")
		report = strings.ReplaceAll(report, "main.main.func1.", "main.main.func")
		report = strings.ReplaceAll(report, "main.main.func1", "main.main")
	}
	report = frame.ReplaceAllStringFunc(report, func(text string) string {
		m := frame.FindStringSubmatch(text)
		if place := e.place(m[1], number(m[2])); place != "" {
			return place
		}
		return text
	})
	first, rest, _ := strings.Cut(report, "\n")
	frames := math.MaxInt
	if strings.HasPrefix(first, stackLimit) {
		frames = mostFrames // they are all the same
		_, rest, _ = strings.Cut(rest, "fatal error: stack overflow")
		first = "stack overflow: a function calls itself without an end"
	}
	text := strings.TrimPrefix(strings.TrimPrefix(first, "panic: "), "fatal error: ")
	var at string
	if m := frame.FindStringSubmatch(e.panicText); m != nil {
		at = e.excerpt(m[1], number(m[2]), 0)
		if place := e.place(m[1], number(m[2])); place != "" {
			text = place + ": " + text
		}
	}
	return newFailure(panicked, text, at, clip(ours(strings.TrimLeft(rest, "\n"), frames))) // the report's first line is the text
}

// stackLimit begins the runtime's report of a stack that has grown too large.
const stackLimit = "runtime: goroutine stack exceeds"

// mostFrames is how many lines of the trace are shown of a stack that has overflowed.
const mostFrames = 30

// ours leaves goroutines out of a report that are the runtime's own, and the middle of traces longer than most lines.
func ours(report string, most int) string {
	goroutines := strings.Split(strings.TrimRight(report, "\n"), "\n\n")
	if slices.ContainsFunc(goroutines, inCell) {
		goroutines = slices.DeleteFunc(goroutines, func(text string) bool {
			return (strings.HasPrefix(text, "goroutine ") || strings.HasPrefix(text, "runtime stack:")) && !inCell(text)
		})
	}
	for i, text := range goroutines {
		if lines := strings.Split(text, "\n"); len(lines) > most {
			half := most / 2
			goroutines[i] = strings.Join(slices.Concat(lines[:half], []string{fmt.Sprintf("[… %d lines more]", len(lines)-2*half)},
				lines[len(lines)-half:]), "\n")
		}
	}
	return strings.Join(goroutines, "\n\n")
}

func inCell(text string) bool { return strings.Contains(text, "\tcell ") }

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
		m := position.FindStringSubmatch(text)
		switch {
		case strings.HasPrefix(line, "-----"):
			lines = lines[:i] // GoNB's advice on `go get` and workspaces, which does not hold for a pinned one
			continue
		case strings.HasPrefix(line, "# ") || strings.TrimSpace(line) == "" || exitValue.MatchString(line) ||
			strings.HasPrefix(line, `failed to run "`) && len(lines) > 1 ||
			strings.HasPrefix(line, "go: gonb_") && strings.HasSuffix(line, " imports") ||
			strings.HasPrefix(line, "package gonb_") || strings.HasPrefix(line, "\tgo get "): // which the hint says better
			continue
		case m == nil:
			parts = append(parts, e.unpath(line))
			if first == "" {
				first = strings.TrimSpace(e.unpath(line))
			}
			continue
		}
		problems++
		at, column := number(m[2]), number(m[3])
		place := e.place(m[1], at)
		if place == "" {
			parts = append(parts, m[4])
			if first == "" {
				first = m[4]
			}
			continue
		}
		if first == "" {
			first = place + ": " + m[4]
		}
		parts = append(parts, "", place+": "+m[4]) // a blank line parts it from what is above
		if excerpt := e.excerpt(m[1], at, column); excerpt != "" {
			parts = append(parts, excerpt)
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

// place names a line of a cell's file as the reader counts; empty: no cell is known by that file.
func (e evidence) place(file string, line int) string {
	if e.program == nil || e.program.Source(file) == nil {
		return ""
	}
	return placeOf(e.program.Source(file).Number, line)
}

// placeOf names a line of a cell. One that was not counted has no number.
func placeOf(count, line int) string {
	if count > 0 {
		return fmt.Sprintf("cell %d, line %d", count, line)
	}
	return fmt.Sprintf("line %d", line)
}

// excerpt shows a line of a cell, marked, between its neighbours. Column 0: unknown.
func (e evidence) excerpt(file string, line, column int) string {
	if e.program == nil || e.program.Source(file) == nil {
		return ""
	}
	return excerptOf(e.program.Source(file).Code, line, column)
}

func excerptOf(code string, line, column int) string {
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
