// Package magic has the commands of cells, %name, that the kernel runs itself: GoNB does not see them. A magic is one
// file and one line of All; Tab completes it, and %help lists it. The file to copy is pin.go.
//
//	func hello(s Setup) Magic {
//		return Magic{Help: "says which Go cells are compiled with", Run: func([]string) (map[string]any, error) {
//			return map[string]any{"text/plain": s.GoVersion}, nil
//		}}
//	}
//
// Package relay has four more, since they follow a cell while it runs, or need what it knows: %check (check.go), %env
// (environment.go), %help (command.go) and %time (time.go).
package magic

import (
	"fmt"
	"slices"
	"strings"

	"advlab/kernel/internal/assist"
	"advlab/kernel/internal/cell"
	"advlab/kernel/internal/place"
)

// Magic is a command of cells.
type Magic struct {
	Help string // one line for %help
	// Run returns what to show, by MIME type; text/plain should be among it. It is called before the cell's program is
	// compiled, and its error ends the cell.
	Run func(arguments []string) (data map[string]any, err error)
	// Words are what Tab offers behind it, and Kind what else it may take.
	Words []string
	Kind  assist.Kind
	// Instead, where it is set, returns the line that GoNB gets in place of the magic, such as an %env.
	Instead func(arguments []string) string
}

// Setup is what magics may know of the kernel.
type Setup struct {
	Place     place.Place
	Program   string   // this program
	Version   string   // of advlab
	Checkout  string   // that the workspace pins; an image may have none
	GoVersion string   // that builds the cells, such as go1.26.5
	CGO       bool     // false: cells use the pure Go backend
	Plugin    string   // folder with XLA's plugin for the CPU; empty where there is none
	Env       []string // of the cells
}

// List has magics by their names, without %.
type List map[string]Magic

// All returns the kernel's magics.
func All(s Setup) List {
	return List{
		"backend": backend(s),
		"doctor":  doctor(s),
		"pin":     pin(s),
	}
}

// followed are the commands that package relay runs, since they follow a cell or need what the relay knows.
var followed = []gonbCommand{
	{"%check NAME", "calls `func NAME() error`, which this or an earlier cell declares: prints `NAME: passed`, or fails with the " +
		"error's text. It is the last line of its cell", assist.Functions, nil},
	{"%env NAME=VALUE", "a variable of the environment, for this and the following cells; the value may have spaces, and $NAME stands for " +
		"another variable. `%env NAME` shows one, `%env` all", assist.Variables, nil},
	{"%help gonb", "all that GoNB, which runs the cells, says of itself; `%help` is this page", assist.Nothing, []string{"gonb"}},
	{"%time", "where this cell's time goes: imports, compiler, linker, program, and what the program tells of its phases", assist.Nothing,
		nil},
}

// Commands are all commands, as Tab and Shift-Tab know them.
func (l List) Commands() (list []assist.Command) {
	for _, c := range slices.Concat(gonbCommands, followed) {
		for _, name := range c.commands() {
			list = append(list, assist.Command{Name: name, Help: c.help, Words: c.words, Kind: c.kind})
		}
	}
	for name, m := range l {
		list = append(list, assist.Command{Name: "%" + name, Help: m.Help, Words: m.Words, Kind: m.Kind})
	}
	slices.SortFunc(list, func(a, b assist.Command) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// names are all commands.
func (l List) names() (names []string) {
	for _, c := range l.Commands() {
		names = append(names, c.Name)
	}
	return names
}

// Unknown is the error of a line %name that nobody knows.
func (l List) Unknown(name string) error {
	bare := strings.TrimPrefix(name, "%")
	switch {
	case cell.SpecialCells["%"+name]:
		return fmt.Errorf("%%%s takes the whole cell, so it has to be its first line", name)
	case bare != name && slices.Contains(l.names(), "%"+bare):
		return fmt.Errorf("there is no command %%%s, but %%%s", name, bare)
	}
	if instead := habits[bare]; instead != "" {
		return fmt.Errorf("there is no command %%%s: %s", name, instead)
	}
	return fmt.Errorf("there is no command %%%s: %%help lists them", name)
}

// PythonIsPinned says why nothing is installed into the environment that Jupyter runs in, and what to do instead.
const PythonIsPinned = "the Python environment belongs to advlab, which pins it file by file, and makes it anew where it was changed. " +
	"Cells are Go and do not use it. For a Python program, make an environment of your own: " +
	"!python3 -m venv ~/venv && ~/venv/bin/pip install NAME"

// habits are IPython's commands, and what does here what they do there.
var habits = map[string]string{
	"timeit": "%time tells where this cell's time goes, and %test runs benchmarks", "lsmagic": "%help lists them",
	"magic": "%help lists them", "who": "%list lists what is declared", "whos": "%list lists what is declared",
	"pwd": "!pwd, or %cd without a folder, says where cells run", "matplotlib": "show.Display shows pictures and curves, without a set-up",
	"load_ext": "there are no extensions", "run": "!go run FILE runs a program", "set_env": "%env NAME=VALUE sets a variable",
	"mkdir": "!mkdir DIR makes a folder", "cat": "!cat FILE shows a file", "reset_selective": "%rm NAME forgets a declaration",
	"autoreload": "each cell compiles advlib as it is", "debug": "a panic shows its stack in the cell's error",
	"html": "gonbui.DisplayHTML shows HTML", "latex": "a cell of Markdown shows formulas", "pip": PythonIsPinned, "conda": PythonIsPinned,
	"mamba": PythonIsPinned, "uv": PythonIsPinned,
	"capture_output": "%capture FILE writes what this cell prints into a file",
}

// Help is the page of %help.
func (l List) Help() string {
	var b strings.Builder
	write := func(commands []gonbCommand) {
		for _, c := range commands {
			if c.help != "" {
				fmt.Fprintf(&b, "- `%s`: %s\n", strings.ReplaceAll(c.usages, ", ", "`, `"), c.help)
			}
		}
	}
	b.WriteString("A cell is Go: what it declares is known to later cells, as text; its statements run, and their values end with it. " +
		"The value of its last line is its result; a semicolon behind it keeps it from being shown.\n\n")
	write(gonbCommands)
	b.WriteString("\nWhat advlab's kernel adds:\n\n")
	own := slices.Clone(followed)
	for name, m := range l {
		own = append(own, gonbCommand{usages: "%" + name, help: m.Help})
	}
	slices.SortFunc(own, func(a, b gonbCommand) int { return strings.Compare(a.usages, b.usages) })
	write(own)
	return b.String()
}
