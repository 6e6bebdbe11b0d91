package relay

import "advlab/kernel/internal/jupyter"

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
		mine := x != nil && e != nil && r.question == x.id && sameEnd(x.request, m)
		if mine {
			r.question = ""
		}
		r.mu.Unlock()
		if mine {
			_ = e.Answer(m)
		}
	}
}

// sameEnd reports whether two messages come from the same front-end. On different sockets, its identity is the same if
// it chose one; else its session says so.
func sameEnd(a, b *jupyter.Message) bool { return a != nil && a.Header.Session == b.Header.Session }

// askFrontEnd passes an input request to the front-end that has sent the cell.
func (r *relay) askFrontEnd(request, question *jupyter.Message) {
	m, err := jupyter.New(r.session, "input_request", request, question.Content)
	if err != nil {
		return
	}
	m.Identities = request.Identities
	r.mu.Lock()
	if r.current != nil {
		r.question = r.current.id
	}
	r.mu.Unlock()
	_ = r.stdin.Send(r.codec.Encode(m))
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
