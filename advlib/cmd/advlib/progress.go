package main

import (
	"fmt"
	"io"
	"time"

	"advlab/advlib"
)

// beat is how often a line of progress is written at most.
const beat = 2 * time.Second

// progress tells a waiting person, on the standard error, which attack runs, how far it is, and for how long still.
type progress struct {
	out     io.Writer
	number  map[string]int
	start   time.Time
	last    time.Time
	running string
}

func newProgress(out io.Writer, attacks []advlib.Attack, quiet bool) *progress {
	if quiet {
		out = io.Discard
	}
	p := &progress{out: out, number: map[string]int{}, start: time.Now()}
	for i, a := range attacks {
		p.number[a.String()] = i + 1
	}
	return p
}

func (p *progress) begin(c *advlib.Classifier, e *advlib.Examples) {
	p.line("%s on %d examples of %s, %d attacks, backend %s", c.Name(), e.Len(), e.Name, len(p.number), c.Backend().Name())
}

// update is called as examples are done.
func (p *progress) update(now advlib.Progress) {
	finished := now.Done >= now.Total
	if !finished && p.running == now.What && time.Since(p.last) < beat {
		return
	}
	p.running, p.last = now.What, time.Now()
	what := fmt.Sprintf("attack %d of %d, %s", p.number[now.What], len(p.number), now.What)
	if finished {
		p.line("%s: done in %.1f s", what, now.Elapsed.Seconds())
		return
	}
	left := now.Elapsed.Seconds() / float64(max(now.Done, 1)) * float64(now.Total-now.Done)
	p.line("%s: %d of %d examples, about %.0f s left for it", what, now.Done, now.Total, left)
}

func (p *progress) line(format string, args ...any) {
	fmt.Fprintf(p.out, "[%6.1f s] %s\n", time.Since(p.start).Seconds(), fmt.Sprintf(format, args...))
}
