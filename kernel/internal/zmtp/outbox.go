package zmtp

import (
	"bufio"
	"io"
	"sync"
	"time"
)

// Limits of a peer's queue. At Backlog a sender waits, so that a slow reader slows the writer down; it waits as long as
// the peer takes at least minProgress bytes in stall. A limit without waiting loses messages to readers that are slow
// and healthy.
const (
	Backlog     = 16 << 20 // bytes queued for one peer
	stall       = 2 * time.Second
	minProgress = 256 << 10 // bytes; a peer that sips would hold up all others
)

// outbox is the queue of one peer: Send puts messages in, one writer takes them out.
type outbox struct {
	mu     sync.Mutex
	queue  []Message
	bytes  int   // queued, or in the writer's hands, and not yet given to the operating system
	sent   int64 // bytes given to the operating system, ever
	closed bool

	wake  chan struct{} // something to write
	moved chan struct{} // bytes went down
	gone  chan struct{} // closed with the outbox
}

func newOutbox() *outbox {
	return &outbox{wake: make(chan struct{}, 1), moved: make(chan struct{}, 1), gone: make(chan struct{})}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// put queues a message without waiting.
func (o *outbox) put(m Message) {
	o.mu.Lock()
	if !o.closed && len(m) > 0 {
		o.queue = append(o.queue, m)
		o.bytes += wireSize(m)
	}
	o.mu.Unlock()
	signal(o.wake)
}

// room waits until less than Backlog is queued. It reports false where the peer is gone or does not read, or the socket
// is done.
func (o *outbox) room(done <-chan struct{}) bool {
	state := func() (queued int, sent int64, closed bool) {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.bytes, o.sent, o.closed
	}
	queued, before, closed := state()
	if closed || queued < Backlog {
		return !closed
	}
	timer := time.NewTimer(stall)
	defer timer.Stop()
	for {
		select {
		case <-o.gone:
			return false
		case <-done:
			return false
		case <-o.moved:
		case <-timer.C:
			_, now, _ := state()
			if now-before < minProgress {
				return false
			}
			before = now
			timer.Reset(stall)
		}
		if queued, _, closed := state(); closed || queued < Backlog {
			return !closed
		}
	}
}

func (o *outbox) empty() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes == 0
}

func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.closed, o.queue, o.bytes = true, nil, 0
		close(o.gone)
	}
}

// take removes the first message.
func (o *outbox) take() (Message, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == 0 {
		return nil, false
	}
	m := o.queue[0]
	o.queue[0] = nil
	o.queue = o.queue[1:]
	return m, true
}

// writeTo writes what is queued until the connection or the outbox ends. A client's outbox outlives its connection:
// what was being written is lost then, as with ZeroMQ, and what is queued goes to the next.
func (o *outbox) writeTo(conn io.Writer, ended <-chan struct{}) {
	w := bufio.NewWriterSize(meter{conn, o}, 64<<10)
	defer o.recount()
	for {
		m, ok := o.take()
		if ok {
			if writeMessage(w, m) != nil {
				return
			}
			continue
		}
		if w.Flush() != nil {
			return
		}
		select {
		case <-o.wake:
		case <-o.gone:
			return
		case <-ended:
			return
		}
	}
}

// recount forgets the bytes that a broken connection has swallowed.
func (o *outbox) recount() {
	o.mu.Lock()
	o.bytes = 0
	for _, m := range o.queue {
		o.bytes += wireSize(m)
	}
	o.mu.Unlock()
	signal(o.moved)
}

// meter counts what the operating system takes, in pieces small enough to see a slow reader's progress.
type meter struct {
	w io.Writer
	o *outbox
}

func (m meter) Write(b []byte) (int, error) {
	written := 0
	for len(b) > 0 {
		n, err := m.w.Write(b[:min(len(b), 64<<10)])
		written += n
		b = b[n:]
		m.o.mu.Lock()
		m.o.sent += int64(n)
		m.o.bytes = max(0, m.o.bytes-n)
		m.o.mu.Unlock()
		signal(m.o.moved)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}
