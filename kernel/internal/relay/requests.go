package relay

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"advlab/kernel/internal/jupyter"
	"advlab/kernel/internal/zmtp"
)

// answerLimit is how long a completion or an inspection may take before it is answered with what is known here.
const answerLimit = 450 * time.Millisecond

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

// aside answers a question that may take until answerLimit, if gopls may be asked, without holding up what is behind it.
func (r *relay) aside(s *zmtp.Socket, m *jupyter.Message, answer func(m *jupyter.Message, ask bool) any) {
	select {
	case r.asides <- struct{}{}:
		go func() {
			defer func() { <-r.asides }()
			r.answer(s, m, answer(m, true))
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
	status, indent := isComplete(q.Code)
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

func (r *relay) ports() map[string]any {
	front, err := jupyter.ReadConnection(r.config.Connection)
	if err != nil {
		return refusal("ConnectionFile", err.Error())
	}
	return map[string]any{"status": "ok", "shell_port": front.Shell, "iopub_port": front.IOPub, "stdin_port": front.Stdin,
		"control_port": front.Control, "hb_port": front.Heartbeat}
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
	select {
	case e.comms <- m:
	default: // GoNB does not keep up; requests must not wait for that
		r.log("a %s was dropped: GoNB has %d waiting", m.Header.Type, cap(e.comms))
	}
}

// askGopls asks gopls about a place of a cell, within answerLimit; nil: it has no answer yet. Until it has given its
// first one, nobody waits for it who knows something.
func (r *relay) askGopls(code string, cursor int, method string, known bool) json.RawMessage {
	r.mu.Lock()
	e, earlier := r.engine, &declarations{list: slices.Clone(r.declared.list)}
	r.mu.Unlock()
	if e == nil {
		return nil
	}
	module, err := e.module()
	if err != nil {
		return nil
	}
	r.library.find(r.config.GoRoot, r.config.Modules)
	o, ok := makeOverlay(code, cursor, earlier, r.library.paths)
	if !ok {
		return nil
	}
	answer := make(chan json.RawMessage, 1)
	go func() {
		text, _ := r.gopls.ask(o, module, method) // whose first answers come too late, and are prepared for later ones
		answer <- text
	}()
	wait := answerLimit
	if _, ready := r.gopls.running(); known && !ready {
		wait = 0
	}
	select {
	case text := <-answer:
		return text
	case <-time.After(wait):
		return nil
	}
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

func (r *relay) complete(m *jupyter.Message, ask bool) any {
	q, cursor, err := parseCursor(m)
	if err != nil {
		return malformed(err)
	}
	matches, start, selector := r.index(q.Code, cursor)
	runes := []rune(q.Code)
	if !ask || strings.TrimSpace(string(runes[:cursor])) == "" || strings.HasPrefix(string(runes[start:cursor]), "%") {
		return completions(matches, nil, start, cursor)
	}
	better := suggestions(r.askGopls(q.Code, cursor, "textDocument/completion", len(matches) > 0), string(runes[start:cursor]))
	var names []string
	for i := range better {
		better[i].Start, better[i].End = start, cursor
		names = append(names, better[i].Text)
	}
	if len(names) > 0 && selector {
		matches = nil // which were found by their package's name alone
	}
	for _, name := range matches {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return completions(names, better, start, cursor)
}

func completions(matches []string, typed []suggestion, start, end int) map[string]any {
	if matches == nil {
		matches = []string{}
	}
	metadata := map[string]any{}
	if len(typed) > 0 {
		metadata["_jupyter_types_experimental"] = typed
	}
	return map[string]any{"status": "ok", "matches": matches, "cursor_start": start, "cursor_end": end, "metadata": metadata}
}

func (r *relay) inspect(m *jupyter.Message, ask bool) any {
	q, cursor, err := parseCursor(m)
	if err != nil {
		return malformed(err)
	}
	data := map[string]any{}
	text := r.document(q.Code, cursor)
	if at, ok := nameAt(q.Code, cursor); ok && ask {
		if markdown, plain := hover(r.askGopls(q.Code, at, "textDocument/hover", text != "")); plain != "" {
			data["text/markdown"], text = markdown, plain
		}
	}
	if text != "" {
		data["text/plain"] = text
	}
	return map[string]any{"status": "ok", "found": text != "", "data": data, "metadata": map[string]any{}}
}
