package relay

import (
	"strings"

	"advlab/kernel/internal/gonb"
	"advlab/kernel/internal/jupyter"
)

// remember keeps whose message an id of GoNB's belongs to. r.mu is held.
func (r *relay) remember(id string, m *jupyter.Message) {
	if m == nil {
		return
	}
	r.parents[id] = m
	r.order = append(r.order, id)
	if len(r.order) > 1000 {
		delete(r.parents, r.order[0])
		r.order = r.order[1:]
	}
}

// published routes what GoNB publishes: to the cell that runs, or, where it is late or about a comm, to the front-ends.
func (r *relay) published(e *gonb.Engine, m *jupyter.Message) {
	r.mu.Lock()
	x := r.current
	parent := r.parents[m.Parent.ID]
	running := x != nil && x.id == m.Parent.ID
	r.track(m)
	r.mu.Unlock()
	switch {
	case running:
		select {
		case x.published <- m: // back-pressure: GoNB waits for slow front-ends
		case <-e.Ended():
		}
	case m.Header.Type == "status" || m.Header.Type == "execute_input" || m.Header.Type == "error":
	case parent != nil:
		r.publishWith(m.Header.Type, parent, m.Content, m.Buffers)
	case strings.HasPrefix(m.Header.Type, "comm_"):
		// In answer to a front-end's comm message, which was passed on with its own header.
		m.Identities = [][]byte{[]byte("kernel." + r.id + "." + m.Header.Type)}
		_ = r.iopub.Send(r.codec.Encode(m))
	}
}

// track follows which comms are open. r.mu is held.
func (r *relay) track(m *jupyter.Message) {
	var c struct {
		ID     string `json:"comm_id"`
		Target string `json:"target_name"`
	}
	switch m.Header.Type {
	case "comm_open":
		if m.Into(&c) == nil && c.ID != "" && len(r.comms) < 10_000 {
			r.comms[c.ID] = c.Target
		}
	case "comm_close":
		if m.Into(&c) == nil {
			delete(r.comms, c.ID)
		}
	}
}

// commTarget is the one target that GoNB has.
const commTarget = "gonb_comm"

// comm passes a front-end's comm message to GoNB, if it belongs to a comm that is open. One for a target that nobody
// has is closed again, as the protocol asks.
func (r *relay) comm(m *jupyter.Message) {
	var c struct {
		ID     string `json:"comm_id"`
		Target string `json:"target_name"`
	}
	if m.Into(&c) != nil || c.ID == "" {
		return
	}
	if m.Header.Type == "comm_open" && c.Target != commTarget {
		r.publish("comm_close", m, map[string]any{"comm_id": c.ID, "data": map[string]any{}})
		return
	}
	r.mu.Lock()
	_, known := r.comms[c.ID]
	r.track(m)
	e := r.engine
	r.mu.Unlock()
	if e == nil || !known && m.Header.Type != "comm_open" {
		return
	}
	if !e.Comm(m) { // requests must not wait for GoNB
		r.log("a %s was dropped: GoNB does not keep up", m.Header.Type)
	}
}

func (r *relay) commInfo(m *jupyter.Message) map[string]any {
	var q struct {
		Target string `json:"target_name"`
	}
	if err := m.Into(&q); err != nil {
		return malformed(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	comms := map[string]any{}
	for id, target := range r.comms {
		if q.Target == "" || q.Target == target {
			comms[id] = map[string]string{"target_name": target}
		}
	}
	return map[string]any{"status": "ok", "comms": comms}
}
