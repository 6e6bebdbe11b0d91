// Package progress tells a waiting person, on standard error, which step is running and for how long.
//
//	p := progress.New(os.Stderr)
//	step := p.Begin("tools", "building %d programs", 3)
//	step.End("ready") // "[   4.1 s] tools       ready (4.1 s)"
package progress

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// beat is the time after which a silent step says that it is still running.
const beat = 15 * time.Second

// Printer writes lines that begin with the seconds since it was made. Several steps may use it at the same time.
type Printer struct {
	mu    sync.Mutex
	out   io.Writer
	start time.Time
}

// New returns a Printer on out; io.Discard keeps it silent.
func New(out io.Writer) *Printer { return &Printer{out: out, start: time.Now()} }

// Line prints one line that belongs to the step name.
func (p *Printer) Line(name, format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := strings.TrimRight(fmt.Sprintf(format, args...), "\n")
	text = strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", 23))
	fmt.Fprintf(p.out, "[%6.1f s] %-11s %s\n", time.Since(p.start).Seconds(), name, text)
}

// Elapsed returns the time since the Printer was made.
func (p *Printer) Elapsed() time.Duration { return time.Since(p.start) }

// Step is one running step.
type Step struct {
	printer *Printer
	name    string
	start   time.Time
	stop    chan struct{}

	mu    sync.Mutex
	doing string
}

// Begin says what a step is about to do, and repeats it with the seconds while the step lasts. End must follow.
func (p *Printer) Begin(name, format string, args ...any) *Step {
	s := &Step{printer: p, name: name, start: time.Now(), stop: make(chan struct{}), doing: fmt.Sprintf(format, args...)}
	p.Line(name, "%s …", s.doing)
	go func() {
		ticker := time.NewTicker(beat)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				s.mu.Lock()
				doing := s.doing
				s.mu.Unlock()
				p.Line(name, "still %s (%.0f s)", doing, time.Since(s.start).Seconds())
			case <-s.stop:
				return
			}
		}
	}()
	return s
}

// Now changes what the step says it is doing.
func (s *Step) Now(format string, args ...any) {
	s.Doing(format, args...)
	s.printer.Line(s.name, "%s …", fmt.Sprintf(format, args...))
}

// Doing changes what the step will say the next time, without a line of its own.
func (s *Step) Doing(format string, args ...any) {
	s.mu.Lock()
	s.doing = fmt.Sprintf(format, args...)
	s.mu.Unlock()
}

// End closes the step with a line and returns its duration.
func (s *Step) End(format string, args ...any) time.Duration {
	close(s.stop)
	took := time.Since(s.start)
	s.printer.Line(s.name, "%s (%.1f s)", fmt.Sprintf(format, args...), took.Seconds())
	return took
}
