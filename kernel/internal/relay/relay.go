package relay

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"advlab/kernel/internal/jupyter"
	"advlab/kernel/internal/pump"
	"advlab/kernel/internal/zmtp"
)

// settle is how long the queue is watched after a cell that failed: what a front-end has sent before it could know is on
// its way for a moment.
const settle = 10 * time.Millisecond

// relay is one running kernel.
type relay struct {
	config  Config
	id      string // the kernel's, in Jupyter's server
	session string
	codec   *jupyter.Codec
	history *history
	library library
	gopls   *gopls
	asides  chan struct{} // holds one for each question that is being answered

	shell, control, stdin, iopub, heartbeat *zmtp.Socket

	end      context.CancelFunc
	restarts int    // engines started; this and the next two are of the goroutine that runs cells
	told     bool   // the user knows that the latest GoNB has ended
	notice   string // what the user is to be told with the next cell

	mu       sync.Mutex
	queue    []*jupyter.Message // execute requests
	arrived  chan struct{}
	current  *execution
	engine   *engine
	heard    map[*engine]chan struct{} // closed when an engine's iopub was heard
	records  map[int]record            // by GoNB's number of a cell
	gonbCell int                       // GoNB's number of the latest
	count    int
	parents  map[string]*jupyter.Message // requests by the id that GoNB knows them by; latest only
	order    []string
	comms    map[string]string // targets of open comms
	question string            // id of the execution whose input request is open
	declared declarations

	status sync.Mutex // makes status messages of different goroutines come in an order that makes sense

	refused [4]atomic.Int64 // messages, by refusals
}

// refusals are the classes of messages that were dropped.
var refusals = [4]error{jupyter.ErrShape, jupyter.ErrSignature, jupyter.ErrReplayed, jupyter.ErrContent}

// Run relays until a front-end or a signal ends the kernel, or ctx does. What was started is gone when it returns.
func Run(ctx context.Context, c Config) error {
	if err := c.check(); err != nil {
		return err
	}
	front, err := jupyter.ReadConnection(c.Connection)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := newRelay(c, front.Key)
	r.end = cancel
	defer r.gopls.close()
	if r.history, err = openHistory(c.History); err != nil {
		r.log("%v: this kernel's cells are remembered until it ends", err)
	}
	if err := r.listen(front); err != nil {
		return err
	}
	defer r.close()
	becomeSubreaper()

	var running sync.WaitGroup
	for _, serve := range []func(){
		r.echo,
		func() { r.serve(r.shell) },
		func() { r.serve(r.control) },
		r.answers,
	} {
		running.Go(serve)
	}
	r.publish("status", nil, map[string]string{"execution_state": "starting"})

	cells := make(chan struct{})
	go func() {
		defer close(cells)
		r.cells(ctx)
	}()
	poll := time.NewTicker(parentEvery)
	defer poll.Stop()
	parent := jupyterParent()
	for alive := true; alive; {
		select {
		case <-poll.C:
			if parent != 0 && os.Getppid() != parent {
				r.log("Jupyter's process %d is gone: the kernel ends", parent)
				cancel()
			}
		case sig := <-c.Signals:
			if sig == os.Interrupt {
				r.interrupt(interrupted)
				continue
			}
			cancel()
		case <-ctx.Done():
			alive = false
		}
	}
	<-cells
	r.close()
	running.Wait()
	if counts := r.refusedCounts(); counts != "" {
		r.log("messages dropped: %s", counts)
	}
	return nil
}

// newRelay returns a relay without sockets and history.
func newRelay(c Config, key string) *relay {
	r := &relay{config: c, id: kernelID(c.Connection), session: jupyter.NewID(), codec: jupyter.NewCodec(key), asides: make(chan struct{}, mostAside),
		arrived: make(chan struct{}, 1), heard: map[*engine]chan struct{}{}, records: map[int]record{},
		parents: map[string]*jupyter.Message{}, comms: map[string]string{}}
	r.gopls = newGopls(c, r.log)
	return r
}

// parentEvery is how often it is looked whether the process that started the kernel is still there.
const parentEvery = time.Second

// jupyterParent is the process that has started this one, if it is Jupyter's, which says so; 0: it is not known, and the
// kernel may outlive it.
func jupyterParent() int {
	pid, err := strconv.Atoi(os.Getenv("JPY_PARENT_PID"))
	if err != nil || pid != os.Getppid() {
		return 0
	}
	return pid
}

func (r *relay) listen(front jupyter.Connection) (err error) {
	for _, s := range []struct {
		socket **zmtp.Socket
		kind   zmtp.Kind
		port   int
	}{
		{&r.heartbeat, zmtp.Rep, front.Heartbeat},
		{&r.iopub, zmtp.Pub, front.IOPub},
		{&r.stdin, zmtp.Router, front.Stdin},
		{&r.control, zmtp.Router, front.Control},
		{&r.shell, zmtp.Router, front.Shell},
	} {
		options := zmtp.Options{}
		if s.kind == zmtp.Pub {
			options.Welcome = r.welcome
		}
		if *s.socket, err = zmtp.Listen(s.kind, front.Endpoint(s.port), options); err != nil {
			r.close()
			return err
		}
	}
	return nil
}

// welcome tells a front-end that it hears iopub from now on (JEP 65).
func (r *relay) welcome(topic string) zmtp.Message {
	m, err := jupyter.New(r.session, "iopub_welcome", nil, map[string]string{"subscription": topic})
	if err != nil {
		return nil
	}
	m.Identities = [][]byte{[]byte(topic)}
	return r.codec.Encode(m)
}

func (r *relay) close() {
	for _, s := range []*zmtp.Socket{r.shell, r.control, r.stdin, r.iopub, r.heartbeat} {
		if s != nil {
			_ = s.Close()
		}
	}
}

func (r *relay) log(format string, args ...any) {
	if r.config.Log != nil {
		fmt.Fprintf(r.config.Log, "advlab: "+format+"\n", args...)
	}
}

func (r *relay) overflowName(count int) string {
	return fmt.Sprintf("%s-cell-%d.txt", time.Now().Format("20060102-150405"), count)
}

func (r *relay) refusedCounts() string {
	var parts []string
	for i, class := range refusals {
		if n := r.refused[i].Load(); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, strings.TrimPrefix(class.Error(), "jupyter: ")))
		}
	}
	return strings.Join(parts, ", ")
}

// publish sends something to all front-ends.
func (r *relay) publish(kind string, parent *jupyter.Message, content any) {
	r.publishWith(kind, parent, content, nil)
}

func (r *relay) publishWith(kind string, parent *jupyter.Message, content any, buffers [][]byte) {
	m, err := jupyter.New(r.session, kind, parent, content)
	if err != nil {
		r.log("a %s message cannot be encoded: %v", kind, err)
		return
	}
	m.Identities = [][]byte{[]byte("kernel." + r.id + "." + kind)}
	m.Buffers = buffers
	_ = r.iopub.Send(r.codec.Encode(m)) // fails only at the end
}

// reply answers a request on the channel that it came on.
func (r *relay) reply(s *zmtp.Socket, request *jupyter.Message, content any, metadata any) {
	kind := strings.TrimSuffix(request.Header.Type, "_request") + "_reply"
	m, err := jupyter.New(r.session, kind, request, content)
	if err != nil {
		r.log("a %s cannot be encoded: %v", kind, err)
		return
	}
	if metadata != nil {
		if text, err := encode(metadata); err == nil {
			m.Metadata = text
		}
	}
	m.Identities = request.Identities
	_ = s.Send(r.codec.Encode(m))
}

func (r *relay) setStatus(state string, parent *jupyter.Message) {
	r.publish("status", parent, map[string]string{"execution_state": state})
}

// echo is the heartbeat.
func (r *relay) echo() {
	for {
		m, err := r.heartbeat.Recv()
		if err != nil {
			return
		}
		_ = r.heartbeat.Send(m)
	}
}

// receive returns the next message that is signed and sound; others are counted.
func (r *relay) receive(s *zmtp.Socket) (*jupyter.Message, error) {
	for {
		parts, err := s.Recv()
		if err != nil {
			return nil, err
		}
		if m := r.decode(parts); m != nil {
			return m, nil
		}
	}
}

// decode returns the message, if it is signed and sound; nil: it is counted and dropped.
func (r *relay) decode(parts [][]byte) *jupyter.Message {
	m, err := r.codec.Decode(parts)
	if err == nil {
		return m
	}
	for i, class := range refusals {
		if errors.Is(err, class) {
			r.refused[i].Add(1)
		}
	}
	return nil
}

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
			_ = e.forward(e.stdin, m)
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

// interrupt stops the running cell, if there is one.
func (r *relay) interrupt(class string) {
	r.mu.Lock()
	x := r.current
	r.mu.Unlock()
	if x != nil {
		select {
		case x.stop <- class:
		default:
		}
	}
}

// record tells which cell has a number in GoNB's messages.
func (r *relay) record(gonbCell int) record {
	r.mu.Lock()
	defer r.mu.Unlock()
	if gonbCell < 0 {
		gonbCell = r.gonbCell
	}
	return r.records[gonbCell]
}

// latest is GoNB's number of the latest cell.
func (r *relay) latest() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gonbCell
}

// sendExecute gives a cell to GoNB.
func (r *relay) sendExecute(e *engine, x *execution, code string) (<-chan *jupyter.Message, error) {
	r.mu.Lock()
	defer r.mu.Unlock() // before GoNB can publish anything for it
	r.gonbCell++
	r.records[r.gonbCell] = record{x.count, x.query.Code}
	id, reply, err := e.send("execute_request", map[string]any{"code": code, "silent": true, "store_history": true,
		"user_expressions": map[string]string{}, "allow_stdin": true, "stop_on_error": true})
	x.id = id
	r.current = x
	r.remember(id, x.request)
	return reply, err
}

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
func (r *relay) published(e *engine, m *jupyter.Message) {
	r.mu.Lock()
	if heard := r.heard[e]; heard != nil {
		close(heard)
		delete(r.heard, e)
	}
	x := r.current
	parent := r.parents[m.Parent.ID]
	running := x != nil && x.id == m.Parent.ID
	r.track(m)
	r.mu.Unlock()
	switch {
	case running:
		select {
		case x.published <- m: // back-pressure: GoNB waits for slow front-ends
		case <-e.ended:
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

// startEngine starts a GoNB and waits until it answers.
func (r *relay) startEngine(ctx context.Context) (*engine, error) {
	r.restarts++
	heard := make(chan struct{})
	var e *engine
	know := make(chan struct{}) // e is set
	e, err := startEngine(r.config, filepath.Join(r.config.Dir, fmt.Sprint(r.restarts)), r.id,
		func(m *jupyter.Message) { <-know; r.published(e, m) }, func(m *jupyter.Message) { r.asked(m) })
	if err != nil {
		return nil, fmt.Errorf("starting GoNB: %w", err)
	}
	r.mu.Lock()
	r.heard[e] = heard
	r.records, r.gonbCell = map[int]record{}, 0
	r.mu.Unlock()
	close(know)
	if err := e.connect(ctx, heard); err != nil {
		e.kill()
		return nil, err
	}
	if pump.Supported && r.config.Pump != "" {
		if e.pump, err = preparePump(e, r.config.Pump); err != nil {
			r.log("what cells print goes through GoNB as it is: %v", err)
		}
	}
	r.mu.Lock()
	r.engine = e
	r.mu.Unlock()
	return e, nil
}

// cells starts GoNB and runs the queue, until ctx ends.
func (r *relay) cells(ctx context.Context) {
	var e *engine
	defer func() {
		if e != nil {
			e.kill()
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
		r.log("%s: it is started again", e.end())
		r.mu.Lock()
		r.engine = nil
		r.mu.Unlock()
		if !r.told {
			r.notice = e.end() + ", and was started again with the declarations and settings of earlier cells."
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
			ended = e.ended
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
				case <-e.ended:
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
func (r *relay) execute(ctx context.Context, e *engine, startErr error, m *jupyter.Message) {
	q, err := parseExecute(m)
	x := &execution{relay: r, request: m, query: q, cell: parseCell(forGoNB(q.Code)), began: time.Now(),
		published: make(chan *jupyter.Message, 64), asked: make(chan *jupyter.Message, 1), stop: make(chan string, 1)}
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
		result.failure = newFailure(gonbDied, startErr.Error())
	default:
		if q.Store && strings.TrimSpace(q.Code) != "" {
			if err := r.history.add(x.count, q.Code); err != nil {
				r.log("history: %v", err)
			}
		}
		if !q.Silent {
			r.publish("execute_input", m, map[string]any{"code": q.Code, "execution_count": x.count})
		}
		if r.notice != "" && !q.Silent {
			r.publish("display_data", m, map[string]any{"data": map[string]string{"text/plain": "[" + r.notice + "]"}, "metadata": map[string]any{}, "transient": map[string]any{}})
			r.notice = ""
		}
		if !x.cell.empty() {
			result = x.run(ctx, e)
		}
	}
	if result.compiled {
		r.mu.Lock()
		r.declared.add(x.cell)
		r.mu.Unlock()
	}

	content := map[string]any{"status": "ok", "execution_count": x.count, "payload": []any{}, "user_expressions": expressions(q.Expressions)}
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
	r.current, r.question = nil, ""
	r.mu.Unlock()
	r.setStatus("idle", m)
	r.status.Unlock()
	for _, m := range abandoned {
		r.setStatus("busy", m)
		r.reply(r.shell, m, map[string]any{"status": "aborted"}, nil) // without a number, as ipykernel: it was not run
		r.setStatus("idle", m)
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
func (r *relay) replay(ctx context.Context, e *engine) {
	r.mu.Lock()
	code := startCell + r.declared.cell()
	r.mu.Unlock()
	x := &execution{relay: r, query: executeRequest{Code: code, Silent: true}, cell: parseCell(code), began: time.Now(),
		published: make(chan *jupyter.Message, 64), asked: make(chan *jupyter.Message, 1), stop: make(chan string, 1)}
	result := x.run(ctx, e)
	r.mu.Lock()
	r.current = nil
	r.mu.Unlock()
	if f := result.failure; f != nil {
		r.log("the declarations of earlier cells could not be restored: %s: %s", f.Class, f.Text)
		r.notice = strings.TrimSpace(r.notice + " The declarations of earlier cells could not be restored, run them again: " + f.Text)
	}
}
