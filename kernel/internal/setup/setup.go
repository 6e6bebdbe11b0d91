package setup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"advlab/kernel/internal/place"
	"advlab/kernel/internal/progress"
	"advlab/kernel/internal/session"
	"advlab/kernel/internal/stamp"
)

// Status is what became of a step.
type Status string

// The outcomes.
const (
	Ready   Status = "ready"   // nothing was to be done
	Made    Status = "made"    // made now
	Without Status = "without" // could not be made, and the rest works without it
	Failed  Status = "failed"
	Skipped Status = "skipped" // not tried, since a step before it failed
)

// Result is one step's outcome.
type Result struct {
	Name    string  `json:"name"`
	Status  Status  `json:"status"`
	Seconds float64 `json:"seconds"`
	Note    string  `json:"note,omitempty"` // what was made; what is lost; what went wrong
}

// Options are what a caller may ask of a set-up.
type Options struct {
	Offline bool // never touch the network: what is missing is an error
}

// Go is the Go toolchain in use, as `go env` tells it.
type Go struct {
	Root    string `json:"GOROOT"`
	Version string `json:"GOVERSION"`
	CGO     string `json:"CGO_ENABLED"`
	CC      string `json:"CC"`
	Cache   string `json:"GOCACHE"`
	Modules string `json:"GOMODCACHE"`
}

// Toolchain asks the go command on PATH. CGO is "0" too where no C compiler is found.
func Toolchain(ctx context.Context) (Go, error) {
	var g Go
	cmd := exec.CommandContext(ctx, "go", "env", "-json", "GOROOT", "GOVERSION", "CGO_ENABLED", "CC", "GOCACHE", "GOMODCACHE")
	out, err := cmd.Output()
	if err != nil {
		return g, fmt.Errorf("asking `go env`: %w: is Go installed, and is its bin folder in PATH?", err)
	}
	if err := json.Unmarshal(out, &g); err != nil {
		return g, fmt.Errorf("reading what `go env` printed: %w", err)
	}
	if compiler, _, _ := strings.Cut(g.CC, " "); g.CGO == "1" && compiler != "" {
		if _, err := exec.LookPath(compiler); err != nil {
			g.CGO = "0"
		}
	}
	return g, nil
}

// step is one piece of the set-up.
type step struct {
	name   string
	doing  string                 // what is said while it runs: "building gonb, goimports and gopls"
	stamp  string                 // name of its stamp
	inputs func() (string, error) // hash of what the piece is made from
	whole  func() (damage string) // a check beyond the stamp's; may be nil
	// decided tells an outcome that needs no work, such as a piece the user has brought along; may be nil. An empty
	// status means that the stamp decides.
	decided func() (Status, string)
	make    func(context.Context, *work) (made, error) // makes the piece
	// without says what is lost when the piece cannot be made; empty when nothing works without it.
	without string
	// forgives tells the errors for which without holds; nil: all.
	forgives func(error) bool
}

// made is what a step leaves.
type made struct {
	products []string // files and folders whose absence or change makes the step run again
	note     string
}

// work is a step's hold on its surroundings while it runs.
type work struct {
	*progress.Step
	log string // file that takes what its commands print
}

// machine is one run of the set-up.
type machine struct {
	place   place.Place
	options Options
	printer *progress.Printer
	goTool  Go
	mu      sync.Mutex
	results map[string]Result
}

// Run prepares the place and reports each step on the printer. The error joins what failed; a piece that is only
// missed is no error.
func Run(ctx context.Context, p place.Place, o Options, printer *progress.Printer) ([]Result, error) {
	o.Offline = o.Offline || session.Offline()
	goTool, err := Toolchain(ctx)
	if err != nil {
		return nil, err
	}
	m := &machine{place: p, options: o, printer: printer, goTool: goTool, results: map[string]Result{}}
	lanes := [][]step{
		{m.pythonStep(), m.bridgeStep(), m.pluginStep()},
		{m.toolsStep(), m.programStep(), m.pumpStep(), m.workspaceStep(), m.warmStep(), m.kernelspecStep()},
	}
	results, err := m.run(ctx, lanes)
	if err != nil {
		return results, err
	}
	err = session.WriteFacts(p, session.Facts{
		Checkout: p.Checkout, GoRoot: goTool.Root, GoVersion: goTool.Version, CGO: goTool.CGO == "1", Plugin: m.foundPlugin(),
	})
	if _, readErr := session.ReadFacts(p); err != nil && readErr == nil {
		return results, nil // a read-only cache keeps the facts of the set-up that made it
	}
	return results, err
}

// run brings all steps about, lane beside lane.
func (m *machine) run(ctx context.Context, lanes [][]step) ([]Result, error) {
	// What is ready needs no lock, so an image's read-only cache serves as it is.
	if todo := m.todo(lanes); todo != "" {
		unlock, err := m.lock(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s, but %w", todo, err)
		}
		defer unlock()
		m.prune()
		var wait sync.WaitGroup
		for _, lane := range lanes {
			wait.Go(func() { m.runLane(ctx, lane) })
		}
		wait.Wait()
	}

	var results []Result
	var failures []error
	for _, lane := range lanes {
		for _, s := range lane {
			r := m.results[s.name]
			results = append(results, r)
			if r.Status == Failed {
				failures = append(failures, fmt.Errorf("%s: %s", r.Name, r.Note))
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return results, err
	}
	if len(failures) > 0 {
		return results, fmt.Errorf("the set-up did not finish: %w", errors.Join(failures...))
	}
	return results, nil
}

// Missing names the steps that a set-up would have to run, with the reason for each. It makes nothing.
func Missing(ctx context.Context, p place.Place) (map[string]string, error) {
	goTool, err := Toolchain(ctx)
	if err != nil {
		return nil, err
	}
	m := &machine{place: p, goTool: goTool, results: map[string]Result{}}
	missing := map[string]string{}
	for _, s := range []step{m.pythonStep(), m.bridgeStep(), m.pluginStep(), m.toolsStep(), m.programStep(), m.pumpStep(), m.workspaceStep(),
		m.warmStep(), m.kernelspecStep()} {
		if s.name == "program" {
			continue // its check says only whether this very binary is the one copied last
		}
		if r, ok := m.ready(s); !ok {
			missing[s.name] = m.check(s)
		} else if r.Status == Without {
			missing[s.name] = r.Note
		}
	}
	if _, err := session.ReadFacts(p); err != nil && missing["workspace"] == "" {
		missing["workspace"] = err.Error()
	}
	return missing, nil
}

func (m *machine) lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(m.place.Root, 0o700); err != nil {
		return nil, fmt.Errorf("the cache %s cannot be made (%w): set ADVLAB_CACHE to a folder that can be written", m.place.Root, err)
	}
	lock := flock.New(m.place.Lock())
	ok, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("the cache %s cannot be written (%w): set ADVLAB_CACHE to a folder that can be", m.place.Root, err)
	}
	if !ok {
		waiting := m.printer.Begin("lock", "waiting for another set-up to finish")
		_, err := lock.TryLockContext(ctx, 200*time.Millisecond)
		if err != nil {
			waiting.End("gave up")
			return nil, fmt.Errorf("waiting for %s: %w", m.place.Lock(), err)
		}
		waiting.End("its turn is over")
	}
	return func() { _ = lock.Close() }, nil
}

// prune removes the workspaces of checkouts that are gone, such as clones in temporary folders.
func (m *machine) prune() {
	spaces, err := filepath.Glob(filepath.Join(filepath.Dir(m.place.Space()), "*"))
	if err != nil {
		return
	}
	for _, space := range spaces {
		p, err := place.At(space)
		if err != nil || p.Space() == m.place.Space() {
			continue
		}
		facts, err := session.ReadFacts(p)
		if err != nil || facts.Checkout == "" || exists(facts.Checkout) {
			continue // what cannot be read may be in the making
		}
		m.printer.Line("workspace", "removing that of %s, which is gone", facts.Checkout)
		_ = os.RemoveAll(space)
		stamps, err := filepath.Glob(filepath.Join(m.place.Stamps(), "*-"+p.Key()+"*.json"))
		if err != nil {
			continue
		}
		for _, file := range stamps {
			_ = stamp.Remove(file)
		}
	}
}

func (m *machine) stampFile(s step) string { return filepath.Join(m.place.Stamps(), s.stamp+".json") }

// check returns why a step has to run; empty when it need not.
func (m *machine) check(s step) (reason string) {
	inputs, err := s.inputs()
	if err != nil {
		return err.Error()
	}
	if reason := stamp.Valid(m.stampFile(s), inputs); reason != "" {
		return reason
	}
	if s.whole != nil {
		return s.whole()
	}
	return ""
}

// todo names the first step that has something to do, and why. When there is none it records so and is empty.
func (m *machine) todo(lanes [][]step) string {
	results := map[string]Result{}
	for _, lane := range lanes {
		for _, s := range lane {
			r, ok := m.ready(s)
			if !ok {
				return s.name + ": " + m.check(s)
			}
			results[s.name] = r
		}
	}
	for _, r := range results {
		if r.Status == Without {
			m.printer.Line(r.Name, "%s", r.Note)
		}
	}
	m.results = results
	return ""
}

// ready returns the outcome of a step that has nothing to do.
func (m *machine) ready(s step) (Result, bool) {
	if s.decided != nil {
		if status, note := s.decided(); status != "" {
			return Result{Name: s.name, Status: status, Note: note}, true
		}
	}
	return Result{Name: s.name, Status: Ready}, m.check(s) == ""
}

func (m *machine) runLane(ctx context.Context, lane []step) {
	blocked := ""
	for _, s := range lane {
		r := Result{Name: s.name}
		switch {
		case blocked != "":
			r.Status, r.Note = Skipped, "needs "+blocked
		default:
			r = m.runStep(ctx, s)
		}
		if r.Status == Failed && blocked == "" {
			blocked = s.name
		}
		m.mu.Lock()
		m.results[s.name] = r
		m.mu.Unlock()
	}
}

func (m *machine) runStep(ctx context.Context, s step) Result {
	r, ok := m.ready(s)
	if ok {
		if r.Status == Without {
			m.printer.Line(s.name, "%s", r.Note)
		}
		return r
	}
	if reason := m.check(s); reason != stamp.NotMade {
		m.printer.Line(s.name, "%s", reason) // something was there: say why it is not good enough
	}
	if err := ctx.Err(); err != nil {
		r.Status, r.Note = Failed, err.Error()
		return r
	}
	w := &work{Step: m.printer.Begin(s.name, "%s", s.doing), log: filepath.Join(m.place.Log(), s.stamp+".log")}
	done, err := m.makeStep(ctx, s, w)
	switch {
	case err == nil:
		r.Status, r.Note = Made, done.note
		r.Seconds = w.End("ready%s", colon(done.note)).Seconds()
	case ctx.Err() == nil && s.without != "" && (s.forgives == nil || s.forgives(err)):
		r.Status, r.Note = Without, fmt.Sprintf("%v\n%s", err, s.without)
		r.Seconds = w.End("%s", r.Note).Seconds()
	default:
		r.Status, r.Note = Failed, err.Error()
		r.Seconds = w.End("FAILED: %v", err).Seconds()
	}
	return r
}

func (m *machine) makeStep(ctx context.Context, s step, w *work) (made, error) {
	inputs, err := s.inputs()
	if err != nil {
		return made{}, err
	}
	if err := stamp.Remove(m.stampFile(s)); err != nil {
		return made{}, err
	}
	if err := os.MkdirAll(m.place.Log(), 0o700); err != nil {
		return made{}, err
	}
	if err := stamp.Remove(w.log); err != nil {
		return made{}, err
	}
	done, err := s.make(ctx, w)
	if err != nil {
		return done, err
	}
	return done, stamp.Write(m.stampFile(s), inputs, done.products)
}

func colon(note string) string {
	if note == "" {
		return ""
	}
	return ": " + note
}

// run runs a command, keeps what it prints in the step's log, and puts its last lines into the error.
func (w *work) run(ctx context.Context, dir string, env []string, name string, args ...string) error {
	log, err := os.OpenFile(w.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	from, err := log.Seek(0, 2)
	if err != nil {
		return err
	}
	fmt.Fprintf(log, "$ %s %s\n", name, strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, env, log, log
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%s: %w\n%s\n(the whole output: %s)", filepath.Base(name)+" "+firstWord(args), err, tail(w.log, from), w.log)
	}
	return nil
}

func firstWord(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// tailLines is how much of a failed command's output an error shows.
const tailLines = 15

func tail(file string, from int64) string {
	text, err := os.ReadFile(file)
	if err != nil || int64(len(text)) < from {
		return ""
	}
	lines := strings.Split(strings.TrimRight(string(text[from:]), "\n"), "\n")
	if len(lines) > tailLines {
		lines = append([]string{"…"}, lines[len(lines)-tailLines:]...)
	}
	return strings.Join(lines, "\n")
}

// exists tells a file that is not there from one that cannot be seen.
func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// onPluginPlatform reports whether the wheel with the plugin is made for this machine.
func onPluginPlatform() bool { return runtime.GOOS == "linux" && runtime.GOARCH == "amd64" }
