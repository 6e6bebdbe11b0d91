package relay

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"time"

	"advlab/kernel/internal/assist"
	"advlab/kernel/internal/cell"
	"advlab/kernel/internal/compose"
	"advlab/kernel/internal/gonb"
	"advlab/kernel/internal/guard"
	"advlab/kernel/internal/jupyter"
)

// relay is one running kernel.
type relay struct {
	front

	config    Config
	history   *history
	assistant *assist.Assistant
	asides    chan struct{} // holds one for each question that is being answered
	prepare   sync.Once     // the assistant, for a person's first question

	end      context.CancelFunc
	restarts int    // engines started; this and the next two are of the goroutine that runs cells
	told     bool   // the user knows that the latest GoNB has ended
	notice   string // what the user is to be told with the next cell

	mu       sync.Mutex
	queue    []*jupyter.Message // execute requests
	arrived  chan struct{}
	current  *execution
	engine   *gonb.Engine
	count    int
	parents  map[string]*jupyter.Message // requests by the id that GoNB knows them by; latest only
	order    []string
	comms    map[string]string // targets of open comms
	question string            // id of the execution whose input request is open
	read     *gonb.Read        // what it is to answer; nil: GoNB asks
	asking   string            // id of the input request itself
	declared cell.Declarations // what the notebook declares, for the assistants, and GoNB's settings
	notebook compose.Notebook  // this and the next two are of the goroutine that runs cells
	failed   map[string]int    // names that a cell meant to declare which did not compile, and the cell
	locals   map[string]int    // variables of statements, and their cell
	lookAt   []note            // what a teacher is told in graded cells; of the goroutine that runs cells
	environ  map[string]string // what %env has set; of the goroutine that runs cells
}

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
	defer r.assistant.Close()
	if r.history, err = openHistory(c.History); err != nil {
		r.log("%v: this kernel's cells are remembered until it ends", err)
	}
	if err := r.listen(front); err != nil {
		return err
	}
	defer r.close()
	guard.BecomeSubreaper()

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
	person := time.AfterFunc(personAfter, func() {
		r.mu.Lock()
		idle := r.count == 0 && r.current == nil && len(r.queue) == 0
		r.mu.Unlock()
		if idle {
			r.prepareAssistant()
		}
	})
	defer person.Stop()
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

// personAfter is how long a new kernel has nothing to do where a person has opened a notebook: programs send a cell at
// once. The next thing may be a Tab.
const personAfter = 2 * time.Second

// prepareAssistant reads, once, what the first question would have to wait for.
func (r *relay) prepareAssistant() {
	r.prepare.Do(func() { go r.assistant.Prepare() })
}

// newRelay returns a relay without sockets and history.
func newRelay(c Config, key string) *relay {
	r := &relay{front: front{id: kernelID(c.Connection), session: jupyter.NewID(), codec: jupyter.NewCodec(key)}, config: c,
		asides: make(chan struct{}, mostAside), arrived: make(chan struct{}, 1),
		failed: map[string]int{}, locals: map[string]int{}, parents: map[string]*jupyter.Message{},
		comms: map[string]string{}}
	r.front.log = func(format string, args ...any) {
		if c.Log != nil {
			fmt.Fprintf(c.Log, "advlab: "+format+"\n", args...)
		}
	}
	r.notice = c.gone()
	r.assistant = assist.New(assist.Config{Gopls: c.Gopls, Dir: filepath.Join(c.Dir, "gopls"), Guard: c.Guard, GoRoot: c.GoRoot,
		Modules: c.Modules, Pinned: c.Pinned, Commands: c.Magics.Commands(), Log: r.log,
		Environ: func(temp string) []string { return c.Start("", temp).Environ() }})
	return r
}

// parentEvery is how often it is looked whether the process that started the kernel is still there.
const parentEvery = time.Second

// jupyterParent is the process that has started this one, if it is Jupyter's, which says so; 0: it is not known, and
// the kernel may outlive it.
func jupyterParent() int {
	pid, err := strconv.Atoi(os.Getenv("JPY_PARENT_PID"))
	if err != nil || pid != os.Getppid() {
		return 0
	}
	return pid
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

var kernelFile = regexp.MustCompile(`^kernel-([0-9a-zA-Z-]{1,64})\.json$`)

// kernelID is the id in a connection file's name, by which Jupyter's server knows the kernel.
func kernelID(connection string) string {
	if m := kernelFile.FindStringSubmatch(filepath.Base(connection)); m != nil {
		return m[1]
	}
	return jupyter.NewID()
}
