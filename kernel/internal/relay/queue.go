package relay

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"advlab/kernel/internal/cell"
	"advlab/kernel/internal/gonb"
	"advlab/kernel/internal/jupyter"
)

// settle is how long the queue is watched after a cell that failed: what a front-end has sent before it could know is
// on its way for a moment.
const settle = 10 * time.Millisecond

// cells starts GoNB and runs the queue, until ctx ends.
func (r *relay) cells(ctx context.Context) {
	var e *gonb.Engine
	defer func() {
		if e != nil {
			e.Kill()
		}
	}()
	start := func() (err error) {
		if e, err = r.startEngine(ctx); err != nil {
			e = nil
			return err
		}
		r.replay(ctx, e)
		return nil
	}
	restart := func() error {
		r.log("%s: it is started again", e.End())
		r.mu.Lock()
		r.engine = nil
		r.mu.Unlock()
		if !r.told {
			r.notice = e.End() + ", and was started again with the declarations and settings of earlier cells."
		}
		r.told = false
		return start()
	}
	startErr := start()
	if startErr != nil && ctx.Err() == nil {
		r.log("%v", startErr)
	}
	for {
		var ended <-chan struct{}
		if e != nil {
			ended = e.Ended()
		}
		select {
		case <-ctx.Done():
			return
		case <-ended:
			startErr = restart()
			continue
		case <-r.arrived:
		}
		for m := r.next(); m != nil && ctx.Err() == nil; m = r.next() {
			if e != nil {
				select {
				case <-e.Ended():
					startErr = restart()
				default:
				}
			}
			if e == nil {
				startErr = start()
			}
			r.execute(ctx, e, startErr, m)
		}
	}
}

func (r *relay) next() *jupyter.Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 {
		return nil
	}
	m := r.queue[0]
	r.queue = r.queue[1:]
	return m
}

func (r *relay) enqueue(m *jupyter.Message) {
	r.mu.Lock()
	r.queue = append(r.queue, m)
	r.mu.Unlock()
	select {
	case r.arrived <- struct{}{}:
	default:
	}
}

// execute answers one execute request: busy, execute_input, output, error, reply, idle.
func (r *relay) execute(ctx context.Context, e *gonb.Engine, startErr error, m *jupyter.Message) {
	q, err := parseExecute(m)
	x := &execution{relay: r, request: m, query: q, grading: gradingOf(m.Metadata),
		cell: cell.Parse(strings.ReplaceAll(q.Code, "\r\n", "\n")), began: time.Now(),
		published: make(chan *jupyter.Message, 64), asked: make(chan *jupyter.Message, 1), reads: make(chan *gonb.Read, 1),
		stop: make(chan string, 1)}
	r.mu.Lock()
	if q.Store && err == nil {
		r.count++
	}
	x.count = r.count
	r.current = x
	r.mu.Unlock()
	r.status.Lock()
	r.setStatus("busy", m)
	r.status.Unlock()

	var result outcome
	switch {
	case err != nil:
		result.failure = newFailure("RequestError", "the request is not what the protocol says: "+err.Error())
	case startErr != nil:
		result.failure = r.explainSpace(e, newFailure(gonbDied, startErr.Error()), "")
	default:
		r.announce(x)
		if !x.cell.Empty() {
			result = x.run(ctx, e)
		}
		if x.cellID() != "" { // of a notebook that is open before a person
			r.prepareAssistant()
		}
	}
	if err == nil {
		r.learn(x, result.compiled)
	}
	if result.compiled {
		r.keep(x)
	}

	content := map[string]any{"status": "ok", "execution_count": x.count, "payload": []any{}, "user_expressions": expressions(q.Expressions)}
	if result.leaves {
		content["payload"] = []any{map[string]any{"source": "ask_exit", "keepkernel": false}}
	}
	var abandoned []*jupyter.Message
	if f := result.failure; f != nil {
		content = map[string]any{"status": "error", "execution_count": x.count, "ename": f.Class, "evalue": f.Text, "traceback": f.Traceback,
			"payload": []any{}, "user_expressions": map[string]any{}}
		if !q.Silent {
			r.publish("error", m, f)
		}
		if q.StopOnError && err == nil { // a request that is none is no cell that others build on
			time.Sleep(settle)
			r.mu.Lock()
			abandoned, r.queue = r.queue, nil
			r.mu.Unlock()
		}
	}
	x.provenance.Seconds = time.Since(x.began).Seconds()
	x.provenance.Go, x.provenance.Advlab = r.config.GoVersion, r.config.version()
	r.reply(r.shell, m, content, map[string]any{"started": x.began.UTC().Format(time.RFC3339Nano), "status": content["status"],
		"advlab": x.provenance})
	r.status.Lock()
	r.mu.Lock()
	r.current, r.question, r.read = nil, "", nil
	r.mu.Unlock()
	r.setStatus("idle", m)
	r.status.Unlock()
	for _, m := range abandoned {
		r.setStatus("busy", m)
		r.reply(r.shell, m, map[string]any{"status": "aborted"}, nil) // without a number, as ipykernel: it was not run
		r.setStatus("idle", m)
	}
}

// announce puts a cell into the history and tells front-ends of it, and what else there is to tell.
func (r *relay) announce(x *execution) {
	if x.query.Store && strings.TrimSpace(x.query.Code) != "" {
		if err := r.history.add(x.count, x.query.Code); err != nil {
			r.log("history: %v", err)
		}
	}
	if x.query.Silent {
		return
	}
	r.publish("execute_input", x.request, map[string]any{"code": x.query.Code, "execution_count": x.count})
	if r.notice != "" {
		r.publish("display_data", x.request, map[string]any{"data": map[string]string{"text/plain": "[" + r.notice + "]"},
			"metadata": map[string]any{}, "transient": map[string]any{}})
		r.notice = ""
	}
}

// expressions answers user_expressions: Go has nothing to evaluate them in after a cell.
func expressions(asked map[string]string) map[string]any {
	answers := map[string]any{}
	for name, expression := range asked {
		f := newFailure("NotSupported", fmt.Sprintf("%q is not evaluated: a Go cell's values end with the cell", expression))
		answers[name] = map[string]any{"status": "error", "ename": f.Class, "evalue": f.Text, "traceback": f.Traceback}
	}
	return answers
}

// replay gives a new GoNB its settings, and the declarations and settings of the cells that were executed.
func (r *relay) replay(ctx context.Context, e *gonb.Engine) {
	r.mu.Lock()
	code := gonb.FirstCell + r.declared.Settings()
	r.mu.Unlock()
	x := &execution{relay: r, query: executeRequest{Code: code, Silent: true}, cell: cell.Parse(code), began: time.Now(),
		published: make(chan *jupyter.Message, 64), asked: make(chan *jupyter.Message, 1), reads: make(chan *gonb.Read, 1),
		stop: make(chan string, 1)}
	result := x.run(ctx, e)
	r.mu.Lock()
	r.current = nil
	r.mu.Unlock()
	if f := result.failure; f != nil {
		r.log("the declarations of earlier cells could not be restored: %s: %s", f.Class, f.Text)
		r.notice = strings.TrimSpace(r.notice + " The declarations of earlier cells could not be restored, run them again: " + f.Text)
	}
}

// startEngine starts a GoNB and waits until it answers.
func (r *relay) startEngine(ctx context.Context) (*gonb.Engine, error) {
	r.restarts++
	e, err := gonb.Start(r.config.gonb(), filepath.Join(r.config.Dir, fmt.Sprint(r.restarts)), r.id, r.published, r.asked,
		r.reads)
	if err != nil {
		return nil, fmt.Errorf("starting GoNB: %w", err)
	}
	if err := e.Connect(ctx); err != nil {
		e.Kill()
		return nil, err
	}
	if err := e.PreparePump(); err != nil {
		r.log("what cells print goes through GoNB as it is: %v", err)
	}
	r.mu.Lock()
	r.engine = e
	r.mu.Unlock()
	return e, nil
}

// sendExecute gives a cell to GoNB.
func (r *relay) sendExecute(e *gonb.Engine, x *execution, code string) (<-chan *jupyter.Message, error) {
	r.mu.Lock()
	defer r.mu.Unlock() // before GoNB can publish anything for it
	id, reply, err := e.Send("execute_request", map[string]any{"code": code, "silent": true, "store_history": true,
		"user_expressions": map[string]string{}, "allow_stdin": true, "stop_on_error": true})
	x.id = id
	r.current = x
	r.remember(id, x.request)
	return reply, err
}
