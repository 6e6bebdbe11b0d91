// Package magic has the commands of cells, %name, that the kernel runs itself: GoNB does not see them. A magic is one
// file and one line of All; Tab completes it, and %help lists it. The file to copy is pin.go.
//
//	func hello(s Setup) Magic {
//		return Magic{Help: "says which Go cells are compiled with", Run: func([]string) (map[string]any, error) {
//			return map[string]any{"text/plain": s.GoVersion}, nil
//		}}
//	}
//
// Package relay has three more, since they follow a cell while it runs, or need all of them: %check (check.go), %time
// (time.go) and %help (command.go).
package magic

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"advlab/kernel/internal/cell"
	"advlab/kernel/internal/place"
)

// Magic is a command of cells.
type Magic struct {
	Help string // one line for %help
	// Run returns what to show, by MIME type; text/plain should be among it. It is called before the cell's program is
	// compiled, and its error ends the cell.
	Run func(arguments []string) (data map[string]any, err error)
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

// followed is what %help says of the commands that package relay follows.
var followed = map[string]string{
	"check NAME": "calls `func NAME() error`, which this or an earlier cell declares: prints `NAME: passed`, or fails with the " +
		"error's text. It is the last line of its cell",
	"help gonb": "all that GoNB, which runs the cells, says of itself",
	"time":      "where this cell's time goes: imports, compiler, linker, program, and what the program tells of its phases",
}

// Known tells whether GoNB runs a command, by its name without %.
func Known(name string) bool { return gonbCommands[name] }

// Names are all commands, with their %, as Tab completes them.
func (l List) Names() []string {
	names := slices.Collect(maps.Keys(cell.SpecialCells))
	for name := range gonbCommands {
		names = append(names, "%"+name)
	}
	for name := range followed {
		name, _, _ = strings.Cut(name, " ")
		names = append(names, "%"+name)
	}
	for name := range l {
		names = append(names, "%"+name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Unknown is the error of a line %name that nobody knows.
func (l List) Unknown(name string) error {
	bare := strings.TrimPrefix(name, "%")
	switch {
	case cell.SpecialCells["%"+name]:
		return fmt.Errorf("%%%s takes the whole cell, so it has to be its first line", name)
	case bare != name && slices.Contains(l.Names(), "%"+bare):
		return fmt.Errorf("there is no command %%%s, but %%%s", name, bare)
	}
	return fmt.Errorf("there is no command %%%s: %%help lists them", name)
}

// Help is the page of %help.
func (l List) Help() string {
	own := maps.Clone(followed)
	for name, magic := range l {
		own[name] = magic.Help
	}
	var b strings.Builder
	line := func(command, text string) { fmt.Fprintf(&b, "- `%s`: %s\n", command, text) }
	b.WriteString("A cell is Go: what it declares is known to later cells, as text; its statements run, and their values end with it. " +
		"The value of its last line is its result; a semicolon behind it keeps it from being shown.\n\n")
	for _, h := range gonbHelp {
		line(h.command, h.text)
	}
	b.WriteString("\nWhat advlab's kernel adds:\n\n")
	for _, name := range slices.Sorted(maps.Keys(own)) {
		line("%"+name, own[name])
	}
	return b.String()
}
