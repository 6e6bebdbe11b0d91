package relay

import (
	"fmt"
	"time"

	"advlab/kernel/internal/zmtp"
)

// beatEvery is the time between two questions whether GoNB is alive, and how long each may take. Tests have less.
var beatEvery = time.Second

// beatsMost is the number of questions that are not answered one after the other: then GoNB hangs.
const beatsMost = 10

// stuckLimit is how long nothing may move in GoNB while it has a cell to run.
func stuckLimit() time.Duration { return 10 * beatEvery }

// watch asks GoNB's heartbeat and ends a GoNB that does not answer any more: one that was stopped, or whose runtime
// hangs. It counts questions and not time, since this process may have been stopped with it.
func (e *engine) watch() {
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
		case <-time.After(beatEvery):
		}
		if err := e.heartbeat.Send(zmtp.Message{nil, []byte("beat")}); err != nil {
			return
		}
		select {
		case <-e.ended:
			return
		case <-beats:
			missed = 0
		case <-time.After(beatEvery):
			missed++
		}
	}
	e.giveUp(fmt.Sprintf("GoNB did not answer for %s and was ended", 2*beatsMost*beatEvery))
}

// giveUp ends a GoNB that hangs. why is what the user is told.
func (e *engine) giveUp(why string) {
	e.mu.Lock()
	if e.hung == "" {
		e.hung = why
	}
	e.mu.Unlock()
	e.kill()
}

// end says how GoNB has ended.
func (e *engine) end() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.hung != "" {
		return e.hung
	}
	return "GoNB has ended (" + e.state + ")"
}

// progress follows whether anything moves while GoNB has a cell to run: a message, a process that works for it, or GoNB's
// own use of the processor.
type progress struct {
	since, looked time.Time
	cpu           int64
}

// stuck reports whether nothing has moved for so long that GoNB hangs.
func (p *progress) stuck(e *engine, since int64) bool {
	now := time.Now()
	if now.Sub(p.looked) < beatEvery {
		return false
	}
	if gap := now.Sub(p.looked); gap > 3*beatEvery {
		p.since = now // this process itself has not run in between, or has just begun
	}
	p.looked = now
	cpu, known := cpuTime(e.pid())
	if !known || cpu != p.cpu || len(e.workers(since)) > 0 {
		p.since, p.cpu = now, cpu
	}
	return now.Sub(p.since) >= stuckLimit()
}
