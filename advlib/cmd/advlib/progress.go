package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"advlab/advlib"
	"advlab/advlib/lab"
)

const (
	// beat is how often a line of progress is written at most.
	beat = 2 * time.Second
	// flicker is how often the line of a terminal changes at most.
	flicker = 200 * time.Millisecond
)

// progress tells a waiting person, on the standard error, what runs, how far it is, and how long the whole takes still.
// On a terminal that is one line that changes; elsewhere, in a log, it is a line now and then.
type progress struct {
	out      io.Writer
	terminal bool
	quiet    bool
	now      func() time.Time
	start    time.Time
	last     time.Time
	running  int  // number of the part
	pending  bool // the terminal's line is to be overwritten
}

func newProgress(out io.Writer, quiet bool) *progress {
	f, ok := out.(*os.File)
	return &progress{out: out, terminal: ok && term.IsTerminal(int(f.Fd())), quiet: quiet, now: time.Now, start: time.Now()}
}

// hear makes what package lab has to say a part of the progress, until what it returns is called.
func (p *progress) hear() (deaf func()) {
	notify := lab.Notify
	lab.Notify = func(sentence string) { p.say("%s", sentence) }
	return func() { lab.Notify = notify }
}

// update is called as examples are done, and in between.
func (p *progress) update(at advlib.Progress) {
	if p.quiet {
		return
	}
	finished := at.Done >= at.Total
	pause := beat
	if p.terminal {
		pause = flicker
	}
	if !finished && p.running == at.Part && p.now().Sub(p.last) < pause {
		return
	}
	p.running, p.last = at.Part, p.now()
	name := []rune(at.What)
	if len(name) > 80 { // the name of an attack that is made of several
		name = append(name[:79], '…')
	}
	what := fmt.Sprintf("%d of %d, %s", at.Part, at.Parts, string(name))
	left := ""
	if at.Remaining >= time.Second {
		left = ", about " + at.Left() + " left in all"
	}
	switch {
	case at.Total == 0:
		p.line("%s: no example is left to be attacked", what)
	case finished:
		p.line("%s: %d examples, %.1f s%s", what, at.Total, at.Elapsed.Seconds(), left)
	case p.terminal:
		p.clear()
		fmt.Fprintf(p.out, "%s: %d of %d examples%s", what, at.Done, at.Total, left)
		p.pending = true
	default:
		p.line("%s: %d of %d examples%s", what, at.Done, at.Total, left)
	}
}

// clear empties the terminal's line.
func (p *progress) clear() {
	if p.pending {
		fmt.Fprint(p.out, "\r\033[K")
		p.pending = false
	}
}

// line writes a line that stays, unless progress is not wanted.
func (p *progress) line(format string, args ...any) {
	if !p.quiet {
		p.say(format, args...)
	}
}

// say writes a line that stays.
func (p *progress) say(format string, args ...any) {
	p.clear()
	fmt.Fprintf(p.out, "[%6.1f s] %s\n", p.now().Sub(p.start).Seconds(), fmt.Sprintf(format, args...))
}
