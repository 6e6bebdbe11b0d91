package relay

import (
	"encoding/json"
	"fmt"
	"strings"

	"advlab/kernel/internal/assist"
	"advlab/kernel/internal/cell"
	"advlab/kernel/internal/jupyter"
	"advlab/kernel/internal/zmtp"
)

// serve handles the requests of one channel until the kernel ends.
func (r *relay) serve(s *zmtp.Socket) {
	for {
		m, err := r.receive(s)
		if err != nil {
			return
		}
		if r.handle(s, m) {
			return
		}
	}
}

// handle handles one request. Cells are put into the queue; all else is answered at once, also while a cell runs. end
// says that it was the last one.
func (r *relay) handle(s *zmtp.Socket, m *jupyter.Message) (end bool) {
	switch kind := m.Header.Type; kind {
	case "execute_request":
		r.enqueue(m)
	case "comm_open", "comm_msg", "comm_close":
		r.comm(m)
	case "kernel_info_request":
		r.answer(s, m, r.config.kernelInfo())
	case "is_complete_request":
		r.answer(s, m, r.isComplete(m))
	case "history_request":
		r.answer(s, m, r.find(m))
	case "comm_info_request":
		r.answer(s, m, r.commInfo(m))
	case "connect_request":
		r.answer(s, m, r.ports())
	case "complete_request":
		r.aside(s, m, r.complete)
	case "inspect_request":
		r.aside(s, m, r.inspect)
	case "interrupt_request":
		r.interrupt(interrupted)
		r.answer(s, m, map[string]any{"status": "ok"})
	case "shutdown_request":
		var q struct{ Restart bool }
		_ = m.Into(&q)
		content := map[string]any{"status": "ok", "restart": q.Restart}
		r.answer(s, m, content)
		r.publish("shutdown_reply", m, content)
		r.end()
		return true
	default:
		if strings.HasSuffix(kind, "_request") {
			r.answer(s, m, refusal("NotSupported", fmt.Sprintf("this kernel does not know %q", kind)))
		}
	}
	return false
}

// mostAside is the number of questions that gopls is asked at the same time; further ones are answered without it.
const mostAside = 32

// aside answers a question that may take until assist.AnswerLimit, if gopls may be asked, without holding up what is
// behind it.
func (r *relay) aside(s *zmtp.Socket, m *jupyter.Message, answer func(m *jupyter.Message, ask bool) any) {
	select {
	case r.asides <- struct{}{}:
		go func() {
			defer func() { <-r.asides }()
			r.answer(s, m, answer(m, true))
			r.prepareAssistant() // not before: this question would wait for what it may not need
		}()
	default:
		r.answer(s, m, answer(m, false))
	}
}

// answer replies between busy and idle. Where a cell runs, busy is said again: front-ends show the latest status.
func (r *relay) answer(s *zmtp.Socket, m *jupyter.Message, content any) {
	r.status.Lock()
	defer r.status.Unlock()
	r.setStatus("busy", m)
	r.reply(s, m, content, nil)
	r.setStatus("idle", m)
	r.mu.Lock()
	x := r.current
	r.mu.Unlock()
	if x != nil && x.request != nil {
		r.setStatus("busy", x.request)
	}
}

func refusal(class, text string) map[string]any {
	return map[string]any{"status": "error", "ename": class, "evalue": text, "traceback": []string{class + ": " + text}}
}

func malformed(err error) map[string]any {
	return refusal("RequestError", "the request is not what the protocol says: "+err.Error())
}

func encode(v any) (json.RawMessage, error) { return json.Marshal(v) }

func (r *relay) isComplete(m *jupyter.Message) map[string]any {
	var q struct{ Code string }
	if err := m.Into(&q); err != nil {
		return malformed(err)
	}
	status, indent := cell.IsComplete(q.Code)
	content := map[string]any{"status": status}
	if status == "incomplete" {
		content["indent"] = indent
	}
	return content
}

func (r *relay) find(m *jupyter.Message) map[string]any {
	var q historyRequest
	if err := m.Into(&q); err != nil {
		return malformed(err)
	}
	return map[string]any{"status": "ok", "history": r.history.find(q)}
}

func (r *relay) ports() map[string]any {
	front, err := jupyter.ReadConnection(r.config.Connection)
	if err != nil {
		return refusal("ConnectionFile", err.Error())
	}
	return map[string]any{"status": "ok", "shell_port": front.Shell, "iopub_port": front.IOPub, "stdin_port": front.Stdin,
		"control_port": front.Control, "hb_port": front.Heartbeat}
}

// cursorRequest is the content of complete_request and inspect_request.
type cursorRequest struct {
	Code   string `json:"code"`
	Cursor *int   `json:"cursor_pos"` // characters
	Detail int    `json:"detail_level"`
}

func parseCursor(m *jupyter.Message) (q cursorRequest, cursor int, err error) {
	if err = m.Into(&q); err != nil {
		return q, 0, err
	}
	n := len([]rune(q.Code))
	cursor = n
	if q.Cursor != nil {
		cursor = min(max(0, *q.Cursor), n)
	}
	return q, cursor, nil
}

// question is what a front-end asks about a place of a cell. ask says that gopls may be asked.
func (r *relay) ask(code string, cursor int, ask bool) assist.Question {
	r.mu.Lock()
	e, earlier := r.engine, r.declared.Clone()
	r.mu.Unlock()
	q := assist.Question{Code: code, Cursor: cursor, Earlier: earlier}
	if e == nil {
		return q
	}
	q.Dir = e.Dir()
	if ask {
		q.Module, _ = e.Module() // without it, gopls is not asked
	}
	return q
}

func (r *relay) complete(m *jupyter.Message, ask bool) any {
	q, cursor, err := parseCursor(m)
	if err != nil {
		return malformed(err)
	}
	c := r.assistant.Complete(r.ask(q.Code, cursor, ask))
	metadata := map[string]any{}
	if len(c.Typed) > 0 {
		metadata["_jupyter_types_experimental"] = c.Typed
	}
	return map[string]any{"status": "ok", "matches": c.Matches, "cursor_start": c.Start, "cursor_end": cursor, "metadata": metadata}
}

func (r *relay) inspect(m *jupyter.Message, ask bool) any {
	q, cursor, err := parseCursor(m)
	if err != nil {
		return malformed(err)
	}
	data := map[string]any{}
	markdown, text := r.assistant.Inspect(r.ask(q.Code, cursor, ask), q.Detail > 0)
	if markdown != "" {
		data["text/markdown"] = markdown
	}
	if text != "" {
		data["text/plain"] = text
	}
	return map[string]any{"status": "ok", "found": text != "", "data": data, "metadata": map[string]any{}}
}
