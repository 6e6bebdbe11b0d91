package relay

import (
	"slices"
	"strings"
	"time"

	"advlab/kernel/internal/gonb"
	"advlab/kernel/internal/jupyter"
)

// answers passes what the user types to the cell that asked.
func (r *relay) answers() {
	for {
		m, err := r.receive(r.stdin)
		if err != nil {
			return
		}
		var a struct {
			Value *string `json:"value"`
		}
		if m.Header.Type != "input_reply" || m.Into(&a) != nil || a.Value == nil {
			continue // GoNB does not survive a reply without text
		}
		r.mu.Lock()
		x, e := r.current, r.engine
		mine := x != nil && e != nil && r.question == x.id && sameEnd(x.request, m) &&
			(m.Parent.Type != "input_request" || m.Parent.ID == r.asking) // else the box is that of an earlier question
		read := r.read
		if mine {
			r.question, r.read = "", nil
		}
		r.mu.Unlock()
		switch {
		case !mine:
		case read == nil:
			_ = e.Answer(m)
		case *a.Value == endOfInput:
			read.End()
		default:
			read.Answer(*a.Value)
		}
	}
}

// sameEnd reports whether two messages come from the same front-end. On different sockets, its identity is the same if
// it chose one; else its session says so.
func sameEnd(a, b *jupyter.Message) bool { return a != nil && a.Header.Session == b.Header.Session }

// endOfInput is what a console answers where its user has typed Ctrl-D.
const endOfInput = "\x04"

// askFrontEnd passes an input request to the front-end that has sent the cell. read is what the answer is for; nil:
// GoNB.
func (r *relay) askFrontEnd(request *jupyter.Message, question any, read *gonb.Read) {
	m, err := jupyter.New(r.session, "input_request", request, question)
	if err != nil {
		return
	}
	m.Identities = request.Identities
	r.mu.Lock()
	if r.current != nil {
		r.question, r.asking, r.read = r.current.id, m.Header.ID, read
	}
	r.mu.Unlock()
	_ = r.stdin.Send(r.codec.Encode(m))
}

// reads hands a program's wait for input to the running cell.
func (r *relay) reads(e *gonb.Engine, read *gonb.Read) {
	r.mu.Lock()
	x := r.current
	mine := x != nil && r.engine == e && r.question == ""
	r.mu.Unlock()
	if mine {
		select {
		case x.reads <- read:
			return
		default:
		}
	}
	read.Later()
}

// readSettles is how long a cell's output may take to get here after its program has begun to wait for input: the two
// come by different ways, and the question stands below what was printed before.
const readSettles = 30 * time.Millisecond

// reader answers a program that waits for input: by the front-end's input box, if it has one.
func (x *execution) reader(read *gonb.Read) {
	x.out.flush()
	asksItself := func(line string) bool {
		return strings.HasPrefix(line, "%with_inputs") || strings.HasPrefix(line, "%with_password")
	}
	switch {
	case x.stopping != "" || x.cell.Special || slices.ContainsFunc(x.cell.Lines, asksItself):
		read.Later() // GoNB gives or asks for it
	case x.request == nil || !x.query.AllowStdin:
		read.None()
	default:
		x.relay.askFrontEnd(x.request, map[string]any{"prompt": read.Prompt, "password": false}, read)
	}
}

// asked hands an input request to the running cell.
func (r *relay) asked(m *jupyter.Message) {
	r.mu.Lock()
	x := r.current
	mine := x != nil && x.id == m.Parent.ID
	r.mu.Unlock()
	if mine && m.Header.Type == "input_request" {
		select {
		case x.asked <- m:
		default:
		}
	}
}
