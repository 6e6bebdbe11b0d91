// Package pump is the small process between GoNB and a cell's program.
//
//	os.Exit(pump.Run(pump.Command(os.Args)))
//
// GoNB (v0.11.5, internal/jpyexec) cuts what a program prints at 32 KiB, also in the middle of a character, reads
// stdout, stderr and displays in no order, and stops reading displays when the program has ended. So GoNB does not
// start the cell's program but a pump, which starts it, passes on what it prints in pieces that GoNB cannot cut, its
// displays in their place between them, and ends when GoNB has taken all of it.
//
// It starts with each cell, before anything of the cell is seen. So it is a program of its own, kernel/pump, and this
// package imports little: the kernel's own program in this role took 6.7 ms a cell, this one takes 3.5 (of which any
// program in Go that starts another takes 2.5).
package pump

import (
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// What the pump and the relay, which prepares it, agree on.
const (
	CellSuffix = ".cell"           // of the cell's program, whose name without it is a link to the pump
	ShellName  = "cell-pump"       // the link's name for what shells run
	ShellStart = "cell-bash"       // what bash reads first
	Variable   = "ADVLAB_PUMP"     // where ShellName is
	UserStart  = "ADVLAB_BASH_ENV" // the user's BASH_ENV
)

// InputName is the name of the socket, beside ShellName, on which the relay hears that a program waits for input. The
// pump sends the prompt and shuts its side. The answer begins with one of the signs below.
const InputName = "in"

// The relay's answers.
const (
	InputText  = 't' // and the text
	InputEnd   = 'e' // the input is at its end
	InputNone  = 'n' // there is nobody to ask
	InputLater = 'l' // somebody else gives it
)

// Command returns the command that a process with these arguments is to run: what follows, under the name for shells,
// else the program beside its own.
func Command(args []string) []string {
	switch {
	case len(args) == 0:
		return nil
	case filepath.Base(args[0]) == ShellName:
		return args[1:]
	default:
		return append([]string{args[0] + CellSuffix}, args[1:]...)
	}
}

// programEnv is the environment of what a pump runs.
func programEnv(env []string) []string {
	list := make([]string, 0, len(env))
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		switch name {
		case "BASH_ENV":
			if filepath.Base(value) != ShellStart { // an %env of the notebook's
				list = append(list, entry)
			}
		case Variable:
		case UserStart:
			if value != "" {
				list = append(list, "BASH_ENV="+value)
			}
		default:
			list = append(list, entry)
		}
	}
	return list
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
