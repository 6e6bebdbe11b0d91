package magic

import (
	"slices"
	"strings"

	"advlab/kernel/internal/assist"
	"advlab/kernel/internal/cell"
)

// gonbCommand is a command that GoNB runs, or package relay in its place.
type gonbCommand struct {
	usages string // its names, with what they take, as %help shows them, between commas
	help   string // empty: %help does not show it; %help gonb does
	kind   assist.Kind
	words  []string
}

// gonbCommands are GoNB's commands (specialcmd.execSpecialConfig and execCellMagic in v0.11.5). To a line of one that
// it does not know, GoNB says so and goes on.
var gonbCommands = []gonbCommand{
	{"%%, %main", "the statements below it run now; what is above it, and functions and imports anywhere, is declared for later cells, " +
		"too. A cell without it runs from its first statement on", assist.Nothing, nil},
	{"%args ARG...", "the arguments of this cell's program", assist.Files, nil},
	{"%capture FILE", "writes what this cell prints into the file, too; `%capture -a FILE` appends it", assist.Files, []string{"-a"}},
	{"%cd DIR", "where this and the following cells run", assist.Folders, nil},
	{"%exec FUNC ARG...", "calls a function that is declared, with the program's arguments", assist.Functions, nil},
	{"%goflags FLAG...", "flags of `go build`, for this and the following cells; `%goflags \"\"` takes them back", assist.Nothing,
		[]string{"-race", "-tags=", "-gcflags=", "-ldflags=", "-v", "-x", "-cover"}},
	{"%list, %ls, %rm NAME, %remove NAME, %reset", "what is declared so far; forgets one of it, a type with its methods; forgets all",
		assist.Names, nil},
	{"%test", "runs the tests and benchmarks that this cell declares", assist.Nothing, []string{"-test.run=", "-test.bench=.", "-test.v"}},
	{"%with_password, %with_inputs", "has the ! command below it asked for in a box that hides what is typed, or in one that does not", assist.Nothing, nil},
	{"%%writefile FILE", "writes the cell into a file. It is the cell's first line", assist.Files, []string{"-a"}},
	{"%%bash, %%sh, %%script PROGRAM", "runs the cell as a shell's script, or as that of another program. It is the cell's first line",
		assist.Nothing, nil},
	{"!COMMAND", "a shell's command. One that fails ends the cell with an error; `!COMMAND || true` does not. What it reads, as what " +
		"fmt.Scanln does, is asked for in a box", assist.Nothing, nil},
	{"!*COMMAND", "the same, in the folder in which cells are compiled: `!*go get MODULE@VERSION`", assist.Nothing, nil},
	{"%autoget, %noautoget, %goworkfix, %version, %wasm, %widgets, %widgets_hb, %%gx", "", assist.Nothing, nil},
	{"%track DIR, %untrack DIR", "", assist.Folders, nil},
}

// commands are the names of a command, with what begins them.
func (c gonbCommand) commands() (names []string) {
	for usage := range strings.SplitSeq(c.usages, ", ") {
		name, _, _ := strings.Cut(usage, " ")
		names = append(names, strings.TrimSuffix(name, "COMMAND"))
	}
	return names
}

// Known tells whether GoNB runs the command of a line, by its name without %.
func Known(name string) bool {
	return !cell.SpecialCells["%"+name] && slices.ContainsFunc(gonbCommands, func(c gonbCommand) bool {
		return slices.Contains(c.commands(), "%"+name)
	})
}
