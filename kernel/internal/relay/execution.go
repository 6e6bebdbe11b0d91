package relay

import (
	"context"
	"fmt"
	"strings"
	"time"

	"advlab/kernel/internal/cell"
	"advlab/kernel/internal/compose"
	"advlab/kernel/internal/gonb"
	"advlab/kernel/internal/guard"
	"advlab/kernel/internal/jupyter"
)

const (
	interruptEvery = 50 * time.Millisecond   // how often new processes of an interrupted cell are looked for
	interruptGrace = 1500 * time.Millisecond // from then on, they are killed
	interruptLast  = 8 * time.Second         // from then on, GoNB is
	panicHold      = time.Second             // how long a program may live on after a line that looks like a panic's
	idleWait       = 2 * time.Second         // for what GoNB publishes, after its reply
	mostHeld       = 1 << 20                 // bytes of a panic's report
	tailKept       = 8 << 10                 // bytes of each stream that are looked at for the error
)

// executeRequest is the content of an execute_request. The defaults are those of the protocol.
type executeRequest struct {
	Code        string            `json:"code"`
	Silent      bool              `json:"silent"`
	Store       bool              `json:"store_history"`
	Expressions map[string]string `json:"user_expressions"`
	AllowStdin  bool              `json:"allow_stdin"`
	StopOnError bool              `json:"stop_on_error"`
}

func parseExecute(m *jupyter.Message) (executeRequest, error) {
	q := executeRequest{Store: true, AllowStdin: true, StopOnError: true}
	if err := m.Into(&q); err != nil {
		return q, err
	}
	if q.Silent {
		q.Store = false
	}
	return q, nil
}

// execution is one cell while it runs. All but the channels is used by run's goroutine alone.
type execution struct {
	relay   *relay
	request *jupyter.Message // nil: the relay's own cell, whose output nobody sees
	query   executeRequest
	cell    cell.Cell
	program *compose.Program // what it is compiled to; nil: it has no Go
	count   int
	id      string // of the request to GoNB; relay.mu guards it
	began   time.Time
	engine  *gonb.Engine
	ticks   int64 // when it began, by the system's clock

	published chan *jupyter.Message // what GoNB publishes for it
	asked     chan *jupyter.Message // its input requests
	reads     chan *gonb.Read       // its programs that wait for input
	stop      chan string           // classes: interrupted and the like

	out        *output
	stdout     string // the ends of both streams
	stderr     string
	lineStart  bool   // stderr stands at the beginning of a line
	held       string // stderr from a line on that looks like a panic's
	heldSince  time.Time
	exit       string // "exit status 1", as GoNB writes it to stderr
	exitRaw    string
	gonbError  *failure // GoNB's error message
	displayed  bool
	stopping   string // the class; empty: nobody stops it
	stopSince  time.Time
	signalled  map[int]bool
	provenance provenance
	proof      proof
	askedStill time.Time
	grading    grading
	check      string                   // the function that %check calls; empty: none
	checkSaid  string                   // what may be its error, on stderr
	phases     map[string]time.Duration // for %time; nil: not asked for
	sampled    time.Time
	build      building
	moved      gonb.Progress
}

// outcome is how a cell has ended.
type outcome struct {
	failure  *failure // nil: it has ended well
	compiled bool     // GoNB keeps its declarations
	leaves   bool     // the front-end is to end the session
}

// run gives the cell to GoNB and follows it to its end. ctx ends it with the kernel.
func (x *execution) run(ctx context.Context, e *gonb.Engine) outcome {
	x.ticks = guard.Ticks()
	x.engine, x.lineStart = e, true
	limit := x.relay.config.OutputLimit
	if limit == 0 {
		limit = defaultOutputLimit
	}
	x.out = &output{emit: x.stream, limit: limit, dir: x.relay.config.Overflow,
		name: fmt.Sprintf("%s-cell-%d.txt", time.Now().Format("20060102-150405"), x.count)}
	defer x.out.finish()
	if x.leaves() {
		x.stream("stdout", leaving)
		return outcome{leaves: true}
	}
	defer x.leaveNothing(e)
	x.lookAt()
	code, f := x.ownCommands(e)
	if f != nil {
		return outcome{failure: f}
	}
	if x.cell.Empty() {
		return outcome{}
	}
	for again := false; ; again = true {
		given, f := x.compose(ctx, e, code, again)
		if f != nil {
			return outcome{failure: f}
		}
		o := x.give(ctx, e, given)
		switch {
		case o.failure == nil:
			o.failure = x.showResult()
			return o
		case x.valueless(o.failure):
		case !x.leaveOut(o.failure):
			return o
		}
	}
}

// give gives GoNB a text and follows the cell to its end.
func (x *execution) give(ctx context.Context, e *gonb.Engine, text string) outcome {
	// silent: the relay publishes execute_input itself.
	reply, err := x.relay.sendExecute(e, x, e.Text(text, cell.Parse(text)))
	if err != nil {
		return outcome{failure: newFailure(gonbDied, err.Error())}
	}
	return x.follow(ctx, e, reply)
}

// follow passes on what GoNB tells of the cell until it has ended.
func (x *execution) follow(ctx context.Context, e *gonb.Engine, reply <-chan *jupyter.Message) outcome {
	var limitC <-chan time.Time
	if d := x.relay.config.CellLimit; d > 0 && x.request != nil {
		timer := time.NewTimer(d)
		defer timer.Stop()
		limitC = timer.C
	}
	tick := time.NewTicker(interruptEvery)
	defer tick.Stop()
	var samples <-chan time.Time
	if x.phases != nil {
		sampler := time.NewTicker(sampleEvery)
		defer sampler.Stop()
		samples, x.sampled = sampler.C, time.Now()
		defer func() { x.out.add("stdout", x.timing()) }()
	}
	var replied *jupyter.Message
	var waited, settled <-chan time.Time
	var read *gonb.Read
	idle := false
	for replied == nil || !idle {
		select {
		case m := <-x.published:
			x.moved.Now()
			idle = x.take(m) || idle
			if waited != nil { // a flood may come long after the reply, which takes another way
				waited = time.After(idleWait)
			}
		case replied = <-reply:
			waited = time.After(idleWait)
		case <-waited:
			idle = true
		case m := <-x.asked:
			x.ask(e, m)
		case read = <-x.reads:
			settled = time.After(readSettles)
		case <-settled:
			x.reader(read)
		case class := <-x.stop:
			x.halt(e, class)
		case <-limitC:
			x.halt(e, timeout)
		case <-tick.C:
			x.tick(e)
			x.tellBuilding(e)
			if replied == nil && x.moved.Stuck(e, x.ticks) {
				go e.GiveUp(fmt.Sprintf("GoNB did nothing for %s and was ended", e.StuckLimit()))
			}
		case <-samples:
			x.sample(e)
		case <-e.Ended():
			return x.died(e)
		case <-ctx.Done():
			return outcome{failure: newFailure(interrupted, "the kernel was shut down")}
		}
	}
	x.builtNow()
	if x.stopping != "" {
		e.KillWorkers(x.ticks) // what has survived its cell, in the background
	}
	// GoNB publishes in order: what the cell has printed has arrived before its idle.
	return x.checked(x.judge(e, replied))
}

// halt begins to stop the cell.
func (x *execution) halt(e *gonb.Engine, class string) {
	if x.stopping != "" {
		return
	}
	x.stopping, x.stopSince, x.signalled = class, time.Now(), map[int]bool{}
	e.Interrupt(x.ticks, x.signalled)
}

// tick is called at intervals. It shows output that waits, lets go what looked like a panic and was none, and presses
// on with the end of a cell that is to stop.
func (x *execution) tick(e *gonb.Engine) {
	if x.held != "" && !strings.HasPrefix(x.held, stackLimit) && time.Since(x.heldSince) > panicHold && e.ProgramRuns(x.ticks) {
		x.release() // it goes on: it was no panic
	}
	if x.out.waiting() && time.Since(x.out.flushed) >= flushEvery {
		x.out.flush()
	}
	x.tellStill()
	if x.stopping == "" {
		return
	}
	switch since := time.Since(x.stopSince); {
	case since > interruptLast:
		x.relay.log("a cell could not be stopped: GoNB is started anew")
		go e.Kill()
		x.stopSince = time.Now() // once
	case since > interruptGrace:
		e.KillWorkers(x.ticks)
	default:
		// A signal between two of GoNB's steps reaches none: the next step's program gets it.
		e.Interrupt(x.ticks, x.signalled)
	}
}

// take handles one message that GoNB publishes for the cell; true for the status idle.
func (x *execution) take(m *jupyter.Message) (idle bool) {
	switch m.Header.Type {
	case "status":
		var s struct {
			State string `json:"execution_state"`
		}
		return m.Into(&s) == nil && s.State == "idle"
	case "execute_input":
	case "stream":
		var s struct{ Name, Text string }
		if m.Into(&s) == nil {
			x.takeStream(s.Name, s.Text)
		}
	case "error":
		f := &failure{}
		if m.Into(f) == nil {
			x.gonbError = f
		}
	case "display_data", "update_display_data":
		x.takeDisplay(m)
	default:
		x.pass(m.Header.Type, m.Content, m)
	}
	return false
}

func (x *execution) takeStream(name, text string) {
	if x.cell.Special && strings.HasPrefix(text, "Cell contents ") {
		name = "stdout" // that %%writefile has written its file is no fault, as which graders take what is on stderr
	}
	if name != "stderr" {
		text = x.engine.Printed(text)
		x.stdout = tail(x.stdout + text)
		x.out.add(name, text)
		return
	}
	if m := exitText.FindStringSubmatch(text); m != nil {
		// GoNB's own line about a program that failed; whether to show it is known at the end.
		x.showExit()
		x.exit, x.exitRaw = m[1], text
		return
	}
	x.showExit()
	x.stderr = tail(x.stderr + text)
	if x.check != "" && x.lineStart && strings.HasPrefix(text, x.check+": ") {
		x.checkSaid += text // the error says it; whether there is one is known at the end
		return
	}
	if x.held == "" {
		at := panicStart(text, x.lineStart)
		x.lineStart = strings.HasSuffix(text, "\n")
		if at < 0 {
			x.out.add(name, text)
			return
		}
		x.out.add(name, text[:at])
		x.heldSince = time.Now()
		text = text[at:]
	}
	x.held += text
	if len(x.held) > mostHeld {
		x.release()
	}
}

// showExit shows a line of GoNB that is not the last: it belonged to a ! command in the middle.
func (x *execution) showExit() {
	if x.exitRaw != "" && len(x.cell.Shell) == 0 {
		x.out.add("stderr", x.exitRaw)
		x.exit, x.exitRaw = "", ""
	}
}

func (x *execution) release() {
	x.out.add("stderr", x.held)
	x.held = ""
}

func tail(s string) string {
	if len(s) > 2*tailKept {
		return s[len(s)-tailKept:]
	}
	return s
}

// panicSigns begin the runtime's reports. The last ones come where C code, such as XLA, has crashed.
var panicSigns = []string{"panic: ", "fatal error: ", "unexpected fault address ", "runtime: goroutine stack exceeds",
	"SIGSEGV: ", "SIGABRT: ", "SIGBUS: ", "SIGFPE: ", "SIGILL: "}

// panicStart is the offset of the line from which text may be the runtime's report of a panic; -1: none.
func panicStart(text string, lineStart bool) int {
	for at := 0; at < len(text); {
		if at > 0 || lineStart {
			rest := text[at:]
			for _, sign := range panicSigns {
				if strings.HasPrefix(rest, sign) {
					return at
				}
			}
		}
		n := strings.IndexByte(text[at:], '\n')
		if n < 0 {
			return -1
		}
		at += n + 1
	}
	return -1
}

func (x *execution) takeDisplay(m *jupyter.Message) {
	var d struct {
		Data      map[string]any `json:"data"`
		Metadata  map[string]any `json:"metadata"`
		Transient map[string]any `json:"transient"`
	}
	if m.Into(&d) != nil {
		return
	}
	if value, ok := d.Data[MIME]; ok {
		delete(d.Data, MIME)
		x.takeBundle(value)
		if len(d.Data) == 0 {
			return
		}
	}
	mend(d.Data)
	if d.Metadata == nil {
		d.Metadata = map[string]any{}
	}
	if d.Transient == nil {
		d.Transient = map[string]any{}
	}
	x.displayed = true
	x.pass(m.Header.Type, d, m)
}

func (x *execution) takeBundle(value any) {
	b, err := parseBundle(value)
	if err != nil {
		x.out.add("stderr", fmt.Sprintf("[a display of type %s is not what the kernel reads: %v]\n", MIME, err))
		return
	}
	x.provenance.add(b)
	if b.Clear != "" {
		x.pass("clear_output", map[string]any{"wait": b.Clear == "wait"}, nil)
	}
	switch {
	case b.Result == nil:
	case x.grading.Points != nil: // a number as a result would count as points
		mend(b.Result)
		x.show(b.Result)
	default:
		x.result(b.Result)
	}
}

// result shows data as the cell's result.
func (x *execution) result(data map[string]any) {
	mend(data)
	x.pass("execute_result", map[string]any{"execution_count": x.count, "data": data, "metadata": map[string]any{}}, nil)
}

// pass publishes something between two pieces of the streams. from has buffers to pass on; it may be nil.
func (x *execution) pass(kind string, content any, from *jupyter.Message) {
	x.out.flush()
	if x.request == nil || x.query.Silent {
		return
	}
	var buffers [][]byte
	if from != nil {
		buffers = from.Buffers
	}
	x.relay.publishWith(kind, x.request, content, buffers)
}

func (x *execution) stream(name, text string) {
	if x.relay.config.FoldStderr {
		name = "stdout"
	}
	if x.request == nil || x.query.Silent {
		return
	}
	x.relay.publish("stream", x.request, map[string]string{"name": name, "text": text})
}

// ask passes the cell's question to the front-end that sent it, if that can ask.
func (x *execution) ask(e *gonb.Engine, m *jupyter.Message) {
	x.out.flush()
	if x.request == nil || !x.query.AllowStdin {
		x.halt(e, inputRefused)
		return
	}
	x.relay.askFrontEnd(x.request, m.Content, nil)
}

// died is the outcome of a GoNB that has ended in the cell.
func (x *execution) died(e *gonb.Engine) outcome {
	if x.stopping != "" {
		return outcome{failure: x.stopped()}
	}
	x.relay.told = true
	f := newFailure(gonbDied, e.End(),
		"It is started again, with the declarations and settings of earlier cells; this one is to be run again.")
	return outcome{failure: f}
}

// stopped is the failure of a cell that was stopped.
func (x *execution) stopped() *failure {
	switch x.stopping {
	case timeout:
		return newFailure(timeout, fmt.Sprintf("the cell ran longer than %s", x.relay.config.CellLimit))
	case inputRefused:
		f := newFailure(inputRefused, "the cell asks for input, and this front-end cannot ask (allow_stdin is false)")
		f.hint(hint(f, evidence{}))
		return f
	}
	return newFailure(interrupted, "the cell was interrupted")
}

// judge makes the outcome of GoNB's reply.
func (x *execution) judge(e *gonb.Engine, reply *jupyter.Message) outcome {
	var r struct {
		Status string `json:"status"`
		failure
	}
	if err := reply.Into(&r); err != nil {
		return outcome{failure: newFailure(gonbDied, "GoNB's reply is no reply: "+err.Error())}
	}
	failed := r.Status != "ok"
	value, trace := r.Text, r.Traceback
	if x.gonbError != nil {
		value, trace = x.gonbError.Text, x.gonbError.Traceback
	}
	ran := failed && exitValue.MatchString(value)
	if x.stopping != "" && (failed || x.exit != "" || x.stopping != interrupted) {
		if x.held != "" && x.stopping == interrupted {
			x.release() // what a SIGQUIT or its like has printed
		}
		return outcome{failure: x.stopped(), compiled: !failed || ran}
	}
	if !failed && (x.exit == "" || len(x.cell.Shell) == 0) {
		if x.held != "" {
			x.release()
		}
		if x.exitRaw != "" {
			x.out.add("stderr", x.exitRaw)
		}
		return outcome{failure: x.proof.unproven(), compiled: true}
	}
	f := classify(evidence{cell: x.cell, value: value, traceback: trace, exit: x.exit, panicText: x.held, stderr: x.stderr,
		stdout: x.stdout, program: x.program, lore: x.relay.lore()})
	f = x.relay.explainSpace(e, f, x.stderr)
	return outcome{failure: f, compiled: !failed || ran}
}
