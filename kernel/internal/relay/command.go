package relay

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"advlab/kernel/internal/cell"
	"advlab/kernel/internal/gonb"
	"advlab/kernel/internal/magic"
)

// ownCommands takes what is not GoNB's out of the cell, magics, %check, %env, %time and %help, and returns the rest,
// with the same lines.
func (x *execution) ownCommands(e *gonb.Engine) (code string, f *failure) {
	if instead := refuse(x.cell); instead != "" {
		return "", newFailure(commandError, instead)
	}
	lines := slices.Clone(x.cell.Lines)
	for i := 0; i < len(lines) && i < len(x.cell.Command); i++ {
		line := strings.TrimPrefix(lines[i], cell.CommentPrefix)
		if x.cell.Special || !x.cell.Command[i] || !strings.HasPrefix(line, "%") {
			continue
		}
		words := strings.Fields(line[1:])
		if len(words) == 0 || i > 0 && x.cell.Command[i-1] && strings.HasSuffix(lines[i-1], `\`) {
			continue // nothing, or of the command above
		}
		var err error
		if lines, err = x.ownCommand(e, words, lines, i); errors.Is(err, errUnknownCommand) {
			return "", newFailure(commandError, x.relay.config.Magics.Unknown(words[0]).Error())
		} else if err != nil {
			return "", newFailure(commandError, fmt.Sprintf("%%%s: %v", words[0], err))
		}
	}
	code = strings.Join(lines, "\n")
	x.cell = cell.Parse(code) // what a later GoNB gets again
	if x.phases != nil && x.cell.Empty() {
		return "", newFailure(commandError, "%time: there is nothing to measure in this cell")
	}
	return code, nil
}

var errUnknownCommand = errors.New("nobody knows this command")

// ownCommand runs the command in line i of a cell, if it is not GoNB's, and returns the cell with what GoNB gets
// instead.
func (x *execution) ownCommand(e *gonb.Engine, words, lines []string, i int) ([]string, error) {
	name, arguments := words[0], words[1:]
	gonbs := func(line string) []string {
		lines[i] = line
		return lines
	}
	switch name {
	case "help":
		if len(arguments) == 1 && arguments[0] == "gonb" {
			return gonbs("%help"), nil
		} else if len(arguments) > 0 {
			return nil, fmt.Errorf("takes nothing, or gonb, and got %q", arguments)
		}
		text := x.relay.config.Magics.Help()
		x.show(map[string]any{"text/markdown": text, "text/plain": text})
		return gonbs(""), nil
	case "time":
		if len(arguments) > 0 {
			return nil, fmt.Errorf("takes nothing, measures the rest of its cell, and got %q", arguments)
		}
		x.phases = map[string]time.Duration{}
		return gonbs(""), nil
	case "check":
		statement, err := x.checkStatement(arguments, i)
		return append(lines[:i], "%%", statement), err
	case "env":
		text := strings.TrimPrefix(strings.TrimPrefix(lines[i], cell.CommentPrefix), "%")
		text = strings.TrimPrefix(strings.TrimSpace(text), "env")
		for j := i + 1; strings.HasSuffix(text, `\`) && j < len(lines); j++ {
			text = strings.TrimSuffix(text, `\`) + " " + lines[j]
			lines[j] = ""
		}
		line, err := x.environment(e, text)
		return gonbs(line), err
	case "ls", "list":
		x.show(map[string]any{"text/plain": x.relay.list()})
		return gonbs(""), nil
	case "rm", "remove":
		return gonbs(""), x.relay.remove(arguments)
	case "reset":
		x.relay.notebook.Reset()
		return lines, nil // GoNB has a module to reset
	case "exec":
		call, err := x.execCall(arguments)
		if err != nil {
			return nil, err
		}
		return append(gonbs("%args "+strings.Join(arguments[1:], " ")), "%%", call), nil
	}
	m, ok := x.relay.config.Magics[name]
	if !ok {
		if !magic.Known(name) {
			return nil, errUnknownCommand
		}
		return lines, nil
	}
	data, err := m.Run(arguments)
	if err != nil {
		return nil, err
	}
	x.show(data)
	line := ""
	if m.Instead != nil {
		line = m.Instead(arguments)
		if text, isSetting := strings.CutPrefix(line, "%env "); isSetting {
			line, err = x.environment(e, text)
		}
	}
	return gonbs(line), err
}

func (x *execution) show(data map[string]any) {
	if len(data) == 0 {
		return
	}
	x.pass("display_data", map[string]any{"data": data, "metadata": map[string]any{}, "transient": map[string]any{}}, nil)
}
