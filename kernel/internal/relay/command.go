package relay

import (
	"errors"
	"fmt"
	"go/token"
	"maps"
	"slices"
	"strings"
	"time"

	"advlab/kernel/internal/cell"
	"advlab/kernel/internal/gonb"
	"advlab/kernel/internal/guard"
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

// What %help says of the commands that are built in: of %time, since only the relay can see what it measures, and of
// %check, since only the relay can turn its outcome into a class of error.
const (
	timeHelp  = "where this cell's time goes: imports, compiler, linker, program, and what the program tells of its phases"
	checkHelp = "calls `func NAME() error`, which this or an earlier cell declares: prints `NAME: passed`, or fails with the error's text. " +
		"It is the last line of its cell"
)

// gonbHelp is what %help says of GoNB's commands: those that notebooks need. %help gonb shows all that GoNB says.
var gonbHelp = []struct{ command, text string }{
	{"%%", "the statements below it run now; what is above it, and functions and imports anywhere, is declared for later cells, too. A cell that holds statements alone needs none"},
	{"%args ARG...", "the arguments of this cell's program"},
	{"%cd DIR", "where this and the following cells run"},
	{"%env NAME=VALUE", "a variable of the environment, for this and the following cells"},
	{"%goflags FLAG...", "flags of `go build`, for this and the following cells; `%goflags \"\"` takes them back"},
	{"%list, %rm NAME, %reset", "what is declared so far; forgets one of it; forgets all"},
	{"%test", "runs the tests and benchmarks that this cell declares"},
	{"%%writefile FILE", "writes the cell into a file. It is the cell's first line"},
	{"%%bash", "runs the cell as a shell's script. It is the cell's first line"},
	{"!COMMAND", "a shell's command. One that fails ends the cell with an error; `!COMMAND || true` does not"},
	{"!*COMMAND", "the same, in the folder in which cells are compiled: `!*go get MODULE@VERSION`"},
}

// gonbCommands are GoNB's commands of a line (specialcmd.execSpecialConfig in v0.11.5). To one that it does not know,
// GoNB says so and goes on.
var gonbCommands = map[string]bool{
	"%": true, "main": true, "args": true, "test": true, "exec": true, "wasm": true, "widgets": true, "widgets_hb": true, "env": true,
	"cd": true, "goflags": true, "autoget": true, "noautoget": true, "help": true, "version": true, "reset": true, "ls": true,
	"list": true, "rm": true, "remove": true, "with_inputs": true, "with_password": true, "track": true, "untrack": true,
	"goworkfix": true, "capture": true,
}

// unknownCommand is the error of a line %name that nobody knows.
func (c Config) unknownCommand(name string) *failure {
	_, own := c.Commands[strings.TrimPrefix(name, "%")]
	switch bare := strings.TrimPrefix(name, "%"); {
	case cell.SpecialCells["%"+name]:
		return newFailure(commandError, fmt.Sprintf("%%%s takes the whole cell, so it has to be its first line", name))
	case bare != name && (own || gonbCommands[bare] || bare == "time" || bare == "check"):
		return newFailure(commandError, fmt.Sprintf("there is no command %%%s, but %%%s", name, bare))
	}
	return newFailure(commandError, fmt.Sprintf("there is no command %%%s: %%help lists them", name))
}

// checkStatement makes the main program of a cell whose line i is %check with arguments.
func (x *execution) checkStatement(arguments []string, i int) (string, error) {
	if len(arguments) != 1 || !token.IsIdentifier(arguments[0]) {
		return "", fmt.Errorf("takes the name of a function, and got %q", arguments)
	}
	if x.cell.MainLine >= 0 || x.cell.Test {
		return "", errors.New("stands for the main program, so its cell may not have %%, %main or %test")
	}
	for _, line := range x.cell.Lines[i+1:] {
		if strings.TrimSpace(line) != "" {
			return "", fmt.Errorf("is the last line of its cell, and %q follows", line)
		}
	}
	x.check = arguments[0]
	return fmt.Sprintf("if err := %[1]s(); err != nil { fmt.Fprintf(os.Stderr, \"%[1]s: %%v\\n\", err); os.Exit(1) }; fmt.Println(\"%[1]s: "+
		"passed\")", x.check), nil
}

// execCall makes the main program of a cell whose line i is %exec with arguments.
func (x *execution) execCall(arguments []string, i int) (string, error) {
	if len(arguments) == 0 || !token.IsIdentifier(arguments[0]) {
		return "", fmt.Errorf("takes the name of a function, and the arguments of the program; got %q", arguments)
	}
	if x.cell.MainLine >= 0 || x.cell.Test {
		return "", errors.New("stands for the main program, so its cell may not have %%, %main or %test")
	}
	return arguments[0] + "()", nil
}

// checked gives a check that failed its class.
func (x *execution) checked(o outcome) outcome {
	if o = x.classCheck(o); x.checkSaid != "" && (o.failure == nil || o.failure.Class != checkFailed) {
		x.out.add("stderr", x.checkSaid)
	}
	return o
}

func (x *execution) classCheck(o outcome) outcome {
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
	lines := slices.Clone(x.cell.Lines)
	for i, line := range lines {
		line = strings.TrimPrefix(line, cell.CommentPrefix)
		if x.cell.Special || !x.cell.Command[i] || !strings.HasPrefix(line, "%") {
			continue
		}
		words := strings.Fields(line[1:])
		if len(words) == 0 {
			continue
		}
		if i > 0 && x.cell.Command[i-1] && strings.HasSuffix(lines[i-1], `\`) {
			continue // it belongs to the command above
		}
		command, ok := x.relay.config.Commands[words[0]]
		switch {
		case words[0] == "help" && len(words) == 2 && words[1] == "gonb":
			lines[i] = "%help"
			continue
		case words[0] == "help":
			if len(words) > 1 {
				return "", newFailure(commandError, fmt.Sprintf("%%help: takes nothing, or gonb, and got %q", words[1:]))
			}
			text := x.relay.config.help()
			x.show(map[string]any{"text/markdown": text, "text/plain": text})
		case words[0] == "time":
			if len(words) > 1 {
				return "", newFailure(commandError, fmt.Sprintf("%%time: takes nothing, measures the rest of its cell, and got %q", words[1:]))
			}
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
		case words[0] == "ls" || words[0] == "list":
			x.show(map[string]any{"text/plain": x.relay.list()})
		case words[0] == "rm" || words[0] == "remove":
			if err := x.relay.remove(words[1:]); err != nil {
				return "", newFailure(commandError, fmt.Sprintf("%%%s: %v", words[0], err))
			}
		case words[0] == "reset":
			x.relay.notebook.Reset()
			continue // GoNB has a module to reset
		case words[0] == "exec":
			call, err := x.execCall(words[1:], i)
			if err != nil {
				return "", newFailure(commandError, fmt.Sprintf("%%exec: %v", err))
			}
			lines[i] = "%args " + strings.Join(words[2:], " ")
			lines = append(lines, "%%", call)
			continue
		case !gonbCommands[words[0]]:
			return "", x.relay.config.unknownCommand(words[0])
		default:
			continue
		}
		lines[i] = ""
	}
	code = strings.Join(lines, "\n")
	x.cell = cell.Parse(code) // what a later GoNB gets again
	if x.phases != nil && x.cell.Empty() {
		return "", newFailure(commandError, "%time: there is nothing to measure in this cell")
	}
	return code, nil
}

func (x *execution) show(data map[string]any) {
	if len(data) == 0 {
		return
	}
	x.pass("display_data", map[string]any{"data": data, "metadata": map[string]any{}, "transient": map[string]any{}}, nil)
}

func (c Config) help() string {
	own := map[string]string{
		"%check NAME": checkHelp,
		"%help gonb":  "all that GoNB, which runs the cells, says of itself",
		"%time":       timeHelp,
	}
	for name, command := range c.Commands {
		own["%"+name] = command.Help
	}
	var b strings.Builder
	line := func(command, text string) { fmt.Fprintf(&b, "- `%s`: %s\n", command, text) }
	b.WriteString("A cell is Go: what it declares is known to later cells, as text; its statements run, and their values end with it.\n\n")
	for _, h := range gonbHelp {
		line(h.command, h.text)
	}
	b.WriteString("\nWhat advlab's kernel adds:\n\n")
	for _, name := range slices.Sorted(maps.Keys(own)) {
		line(name, own[name])
	}
	return b.String()
}

// phaseOf names what GoNB is doing, by the processes that it has started; empty: nothing that is known.
func phaseOf(workers []guard.Process) string {
	phase := ""
	for _, p := range workers {
		switch name := p.Name; {
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
func (x *execution) sample(e *gonb.Engine) {
	now := time.Now()
	if phase := phaseOf(e.Workers(x.ticks)); phase != "" {
		x.phases[phase] += now.Sub(x.sampled)
	}
	x.sampled = now
}

// timing is what %time says.
func (x *execution) timing() string {
	var parts []string
	for _, phase := range []struct{ name, text string }{{"imports", "goimports"}, {"go", "go build"}, {"compile", "compiler"},
		{"link", "linker"}, {"run", "program"}} {
		if d := x.phases[phase.name]; d > 0 {
			parts = append(parts, fmt.Sprintf("%s %.2f s", phase.text, d.Seconds()))
		}
	}
	text := fmt.Sprintf("total %.2f s", time.Since(x.began).Seconds())
	if len(parts) > 0 {
		text += ": " + strings.Join(parts, ", ")
	}
	var told []string
	rest := x.phases["run"].Seconds()
	for _, name := range slices.Sorted(maps.Keys(x.provenance.Phases)) {
		told = append(told, fmt.Sprintf("%s %.2f s", name, x.provenance.Phases[name]))
		rest -= x.provenance.Phases[name]
	}
	if len(told) > 0 && rest > 0 { // until the program could look at the clock, and after it told something last
		told = append(told, fmt.Sprintf("start and end %.2f s", rest))
	}
	if len(told) > 0 {
		text += " (" + strings.Join(told, ", ") + ")"
	}
	return text + "\n"
}
