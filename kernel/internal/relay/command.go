package relay

import (
	"errors"
	"fmt"
	"go/token"
	"maps"
	"slices"
	"strings"
	"time"
)

// Command is a command of cells, %name, that the relay runs itself: GoNB does not see the line.
type Command struct {
	Help string // one line for %help
	// Run returns what to show, by MIME type; text/plain should be among it. It is called before the cell's program is
	// compiled, and its error ends the cell.
	Run func(arguments []string) (data map[string]any, err error)
	// Instead, where it is set, returns the line that GoNB gets in place of the command, such as an %env.
	Instead func(arguments []string) string
}

// timeHelp describes the command that is built in, since only the relay can see what it measures.
const timeHelp = "where the cell's time goes: imports, compiler, linker, program, and what the program tells of its phases"

// checkHelp describes %check, which only the relay can turn into a class of error.
const checkHelp = "calls `func NAME() error`, which this or an earlier cell declares: prints \"NAME: passed\", or fails with CheckFailed and the error's text. It is the last line of its cell"

// checkStatement makes the main program of a cell whose line i is %check with arguments.
func (x *execution) checkStatement(arguments []string, i int) (string, error) {
	if len(arguments) != 1 || !token.IsIdentifier(arguments[0]) {
		return "", fmt.Errorf("takes the name of a function, and got %q", arguments)
	}
	if x.cell.mainLine >= 0 || x.cell.test {
		return "", errors.New("stands for the main program, so its cell may not have %%, %main or %test")
	}
	for _, line := range x.cell.lines[i+1:] {
		if strings.TrimSpace(line) != "" {
			return "", fmt.Errorf("is the last line of its cell, and %q follows", line)
		}
	}
	x.check = arguments[0]
	return fmt.Sprintf("if err := %[1]s(); err != nil { fmt.Fprintf(os.Stderr, \"%[1]s: %%v\\n\", err); os.Exit(1) }; fmt.Println(\"%[1]s: passed\")", x.check), nil
}

// checked gives a check that failed its class.
func (x *execution) checked(o outcome) outcome {
	if x.check == "" || o.failure == nil {
		return o
	}
	if o.failure.Class == compileError && strings.HasSuffix(o.failure.Text, "undefined: "+x.check) {
		o.failure = newFailure(checkFailed, x.check+" is not declared: run the cell that declares it, and see that it has no error")
		return o
	}
	if o.failure.Class != exitError {
		return o
	}
	at := strings.LastIndex("\n"+x.stderr, "\n"+x.check+": ")
	if at < 0 {
		return o // the program ended before the check did
	}
	o.failure = newFailure(checkFailed, strings.TrimSpace(x.stderr[at:]))
	return o
}

// ownCommands takes the relay's commands out of the cell and returns the rest, with the same lines.
func (x *execution) ownCommands() (code string, f *failure) {
	lines := slices.Clone(x.cell.lines)
	for i, line := range lines {
		line = strings.TrimPrefix(line, commentPrefix)
		if x.cell.special || !x.cell.command[i] || !strings.HasPrefix(line, "%") {
			continue
		}
		words := strings.Fields(line[1:])
		if len(words) == 0 {
			continue
		}
		command, ok := x.relay.config.Commands[words[0]]
		switch {
		case words[0] == "help":
			x.show(map[string]any{"text/markdown": x.relay.config.help(), "text/plain": x.relay.config.help()})
			continue // GoNB adds its own
		case words[0] == "time":
			x.phases = map[string]time.Duration{}
		case words[0] == "check":
			statement, err := x.checkStatement(words[1:], i)
			if err != nil {
				return "", newFailure(commandError, fmt.Sprintf("%%check: %v", err))
			}
			lines = append(lines[:i], "%%", statement)
			continue
		case ok:
			data, err := command.Run(words[1:])
			if err != nil {
				return "", newFailure(commandError, fmt.Sprintf("%%%s: %v", words[0], err))
			}
			x.show(data)
			if command.Instead != nil {
				lines[i] = command.Instead(words[1:])
				continue
			}
		default:
			continue
		}
		lines[i] = ""
	}
	code = strings.Join(lines, "\n")
	x.cell = parseCell(code) // what a later GoNB gets again
	return code, nil
}

func (x *execution) show(data map[string]any) {
	if len(data) == 0 {
		return
	}
	x.pass("display_data", map[string]any{"data": data, "metadata": map[string]any{}, "transient": map[string]any{}}, nil)
}

func (c Config) help() string {
	var b strings.Builder
	b.WriteString("Commands of advlab, beside GoNB's below:\n\n")
	fmt.Fprintf(&b, "- `%%check NAME`: %s\n- `%%time`: %s\n", checkHelp, timeHelp)
	for _, name := range slices.Sorted(maps.Keys(c.Commands)) {
		fmt.Fprintf(&b, "- `%%%s`: %s\n", name, c.Commands[name].Help)
	}
	b.WriteString("\nA failing `!command` ends the cell with an error; `!command || true` does not.\n")
	return b.String()
}

// phaseOf names what GoNB is doing, by the processes that it has started; empty: nothing that is known.
func phaseOf(workers []process) string {
	phase := ""
	for _, p := range workers {
		switch name := p.name; {
		case name == "link" || name == "collect2" || name == "ld" || name == "mold" || name == "lld":
			return "link"
		case name == "compile" || name == "cgo" || name == "asm" || name == "cc1":
			phase = "compile"
		case name == "go" && phase == "":
			phase = "go"
		case name == "goimports":
			phase = "imports"
		case strings.HasPrefix(name, "gonb_"):
			phase = "run"
		}
	}
	return phase
}

// sampleEvery is %time's resolution.
const sampleEvery = 20 * time.Millisecond

// sample attributes the time since the last sample.
func (x *execution) sample(e *engine) {
	now := time.Now()
	if phase := phaseOf(e.workers(x.ticks)); phase != "" {
		x.phases[phase] += now.Sub(x.sampled)
	}
	x.sampled = now
}

// timing is what %time says.
func (x *execution) timing() string {
	var parts []string
	for _, phase := range []struct{ name, text string }{{"imports", "goimports"}, {"go", "go build"}, {"compile", "compiler"}, {"link", "linker"}, {"run", "program"}} {
		if d := x.phases[phase.name]; d > 0 {
			parts = append(parts, fmt.Sprintf("%s %.2f s", phase.text, d.Seconds()))
		}
	}
	text := fmt.Sprintf("total %.2f s", time.Since(x.began).Seconds())
	if len(parts) > 0 {
		text += ": " + strings.Join(parts, ", ")
	}
	var told []string
	for _, name := range slices.Sorted(maps.Keys(x.provenance.Phases)) {
		told = append(told, fmt.Sprintf("%s %.2f s", name, x.provenance.Phases[name]))
	}
	if len(told) > 0 {
		text += " (" + strings.Join(told, ", ") + ")"
	}
	return text + "\n"
}
