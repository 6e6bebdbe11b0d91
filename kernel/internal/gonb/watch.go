package gonb

import (
	"fmt"
	"time"

	"advlab/kernel/internal/guard"
	"advlab/kernel/internal/zmtp"
)

// beatsMost is how many questions in a row may stay without an answer; after that, GoNB counts as hanging.
const beatsMost = 10

// StuckLimit is how long nothing may move in GoNB while it has a cell to run.
func (e *Engine) StuckLimit() time.Duration { return 10 * e.config.Beat }

// watch asks GoNB's heartbeat and ends a GoNB that does not answer any more: one that was stopped, or whose runtime
// hangs. It counts questions and not time, since this process may have been stopped with it.
func (e *Engine) watch() {
	beats := make(chan struct{}, 1)
	go func() {
		for {
			if _, err := e.heartbeat.Recv(); err != nil {
				return
			}
			select {
			case beats <- struct{}{}:
			default:
			}
		}
	}()
	for missed := 0; missed < beatsMost; {
		select {
		case <-e.ended:
			return
		case <-time.After(e.config.Beat):
		}
		if err := e.heartbeat.Send(zmtp.Message{nil, []byte("beat")}); err != nil {
			return
		}
		select {
		case <-e.ended:
			return
		case <-beats:
			missed = 0
		case <-time.After(e.config.Beat):
			missed++
		}
	}
	e.GiveUp(fmt.Sprintf("GoNB did not answer for %s and was ended", 2*beatsMost*e.config.Beat))
}

// GiveUp ends a GoNB that hangs. why is what the user is told.
func (e *Engine) GiveUp(why string) {
	e.mu.Lock()
	if e.hung == "" {
		e.hung = why
	}
	e.mu.Unlock()
	e.Kill()
}

// End says how GoNB has ended.
func (e *Engine) End() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.hung != "" {
		return e.hung
	}
	return "GoNB has ended (" + e.state + ")"
}

// Progress follows whether anything moves while GoNB has a cell to run: a message, a process that works for it, or
// GoNB's own use of the processor.
type Progress struct {
	since, looked time.Time
	cpu           int64
}

// Now says that something has moved.
func (p *Progress) Now() { p.since = time.Now() }

// Stuck reports whether nothing has moved for so long that GoNB hangs.
func (p *Progress) Stuck(e *Engine, since int64) bool {
	now := time.Now()
	if now.Sub(p.looked) < e.config.Beat {
		return false
	}
	if gap := now.Sub(p.looked); gap > 3*e.config.Beat {
		p.since = now // this process itself has not run in between, or has just begun
	}
	p.looked = now
	cpu, known := guard.CPUTime(e.pid())
	if !known || cpu != p.cpu || len(e.Workers(since)) > 0 {
		p.since, p.cpu = now, cpu
	}
	return now.Sub(p.since) >= e.StuckLimit()
}
