package relay

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"advlab/kernel/internal/cell"
	"advlab/kernel/internal/magic"
)

// ownCommands takes what is not GoNB's out of the cell, magics, %check, %time and %help, and returns the rest, with the
// same lines.
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
		m, ok := x.relay.config.Magics[words[0]]
		switch {
		case words[0] == "help" && len(words) == 2 && words[1] == "gonb":
			lines[i] = "%help"
			continue
		case words[0] == "help":
			if len(words) > 1 {
				return "", newFailure(commandError, fmt.Sprintf("%%help: takes nothing, or gonb, and got %q", words[1:]))
			}
			text := x.relay.config.Magics.Help()
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
			data, err := m.Run(words[1:])
			if err != nil {
				return "", newFailure(commandError, fmt.Sprintf("%%%s: %v", words[0], err))
			}
			x.show(data)
			if m.Instead != nil {
				lines[i] = m.Instead(words[1:])
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
			call, err := x.execCall(words[1:])
			if err != nil {
				return "", newFailure(commandError, fmt.Sprintf("%%exec: %v", err))
			}
			lines[i] = "%args " + strings.Join(words[2:], " ")
			lines = append(lines, "%%", call)
			continue
		case !magic.Known(words[0]):
			return "", newFailure(commandError, x.relay.config.Magics.Unknown(words[0]).Error())
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
