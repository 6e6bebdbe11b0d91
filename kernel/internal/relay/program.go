package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"advlab/kernel/internal/cell"
	"advlab/kernel/internal/compose"
	"advlab/kernel/internal/gonb"
)

// compose makes the cell's program, gives its files to Go, and returns what GoNB gets: the cell's commands and an empty
// program in the place of the cell's. again: the commands have run before.
func (x *execution) compose(ctx context.Context, e *gonb.Engine, code string, again bool) (given string, f *failure) {
	c := cell.Parse(code)
	if c.Special || !compose.HasGo(c) {
		if err := e.Give(nil); err != nil {
			x.relay.log("%v", err)
		}
		return code, nil
	}
	began := time.Now()
	p, err := x.composeStoppable(ctx, e, code, c)
	if x.phases != nil {
		x.phases["imports"] += time.Since(began)
	}
	var syntax *compose.SyntaxError
	var hidden *compose.HiddenError
	switch {
	case x.stopping != "":
		return "", x.stopped()
	case errors.As(err, &syntax):
		return "", x.syntaxFailure(syntax)
	case errors.As(err, &hidden):
		return "", newFailure(compileError, hidden.Error())
	case err != nil:
		return "", x.relay.explainSpace(e, newFailure(compileError, err.Error()), "")
	}
	x.program = p
	x.sayLeftOut(p)
	if slices.ContainsFunc(c.Lines, func(line string) bool { return strings.HasPrefix(line, "%wasm") }) {
		if err := e.Give(nil); err != nil {
			return "", x.relay.explainSpace(e, newFailure(gonbDied, err.Error()), "")
		}
		return "%reset\n" + strings.TrimSuffix(gonb.Stub(c, nil, again), "func main() {}") + p.Whole(), nil
	}
	if err := errors.Join(x.askProof(e, p), e.Give(p.Files)); err != nil {
		return "", x.relay.explainSpace(e, newFailure(gonbDied, err.Error()), "")
	}
	return gonb.Stub(c, p.Tests(), again), nil
}

// composeStoppable composes, and listens meanwhile to who wants to stop the cell: goimports may take long.
func (x *execution) composeStoppable(ctx context.Context, e *gonb.Engine, code string, c cell.Cell) (*compose.Program, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		p   *compose.Program
		err error
	}
	done := make(chan result, 1)
	go func() {
		from := compose.Origin{ID: x.cellID(), Number: x.count, Locked: x.grading.Locked}
		p, err := x.relay.notebook.Compose(ctx, finder{gonb.Finder{Engine: e}, x.relay.assistant}, from, code, c)
		done <- result{p, err}
	}()
	for {
		select {
		case r := <-done:
			return r.p, r.err
		case class := <-x.stop:
			x.stopping, x.stopSince, x.signalled = class, time.Now(), map[int]bool{}
			cancel()
		}
	}
}

// cellID is what the front end calls the cell; empty where it does not say, as nbclient and consoles.
func (x *execution) cellID() string {
	if x.request == nil {
		return ""
	}
	var m struct {
		ID string `json:"cellId"` // JupyterLab and Notebook
	}
	_ = json.Unmarshal(x.request.Metadata, &m)
	return m.ID
}

func (x *execution) syntaxFailure(e *compose.SyntaxError) *failure {
	text := placeOf(x.count, e.Line) + ": " + e.Text
	if e.More > 0 {
		text += fmt.Sprintf(" (and %d more)", e.More)
	}
	f := newFailure(compileError, text, excerptOf(strings.Join(x.cell.Lines, "\n"), e.Line, e.Column))
	f.hint(hint(f, evidence{cell: x.cell}))
	return f
}

// sayLeftOut tells which init functions of other cells the program is without, and what a teacher is to know.
func (x *execution) sayLeftOut(p *compose.Program) {
	for _, label := range p.LeftOut {
		x.notice(label + " has failed, and is left out until its cell runs again")
	}
	for _, note := range p.Notes {
		x.notice(note)
	}
}

func (x *execution) notice(text string) {
	x.show(map[string]any{"text/plain": "[" + text + "]"})
}

// leaveOut leaves init functions of other cells out that alone are to blame for a failure. It returns whether the cell
// is to be compiled again, without them: where it compiled, and they panicked, it has run.
func (x *execution) leaveOut(f *failure) (again bool) {
	if x.program == nil {
		return false
	}
	switch f.Class {
	case compileError:
		var starters []string
		for _, line := range strings.Split(x.errors(), "\n") {
			m := position.FindStringSubmatch(strings.TrimPrefix(strings.TrimSpace(line), "./"))
			if m == nil {
				continue
			}
			_, starter := x.program.Blame(m[1], number(m[2]))
			if starter == "" {
				return false // the cell has an error of its own
			}
			starters = append(starters, starter)
		}
		for _, label := range starters {
			x.relay.notebook.LeaveOut(label)
		}
		x.gonbError = nil
		return len(starters) > 0
	case panicked:
		for _, m := range frame.FindAllStringSubmatch(x.held, -1) {
			declaration, starter := x.program.Blame(m[1], number(m[2]))
			switch {
			case starter != "":
				x.relay.notebook.LeaveOut(starter)
			case x.program.Own(m[1]) && strings.HasPrefix(declaration, "init"):
				x.program.LeaveOut(declaration)
				starter = declaration
			default:
				continue
			}
			f.hint(starter + " runs before each cell's program. It is left out of the next ones, until its cell runs again.")
			return false
		}
	}
	return false
}

// errors is the compiler's output.
func (x *execution) errors() string {
	if x.gonbError == nil {
		return ""
	}
	return x.gonbError.Text
}

// lore is what hints go by.
func (r *relay) lore() lore {
	return lore{failed: r.failed, locals: r.locals, exports: func(path string) []string {
		_, exports, _ := r.assistant.Exports(path)
		return exports
	}, gone: r.config.gone()}
}

// learn remembers what a cell meant to declare that did not compile, and the variables of its statements.
func (r *relay) learn(x *execution, compiled bool) {
	if x.cell.Special {
		return
	}
	for _, name := range compose.Declared(x.cell) {
		if compiled {
			delete(r.failed, name)
		} else {
			r.failed[name] = x.count
		}
	}
	for _, name := range compose.Locals(x.cell) {
		r.locals[name] = x.count
	}
}

// keep takes what a cell that was compiled declares.
func (r *relay) keep(x *execution) {
	if x.program != nil {
		r.notebook.Add(x.program)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.declared.AddSettings(x.cell)
	r.declared.List = nil
	r.declared.AddSource(cell.SourceOpen + r.notebook.Source())
}

// list shows what the notebook declares.
func (r *relay) list() string {
	lists := r.notebook.Labels()
	if len(lists) == 0 {
		return "nothing is declared yet"
	}
	var b strings.Builder
	for _, kind := range slices.Sorted(maps.Keys(lists)) {
		fmt.Fprintf(&b, "%s: %s\n", kind, strings.Join(lists[kind], ", "))
	}
	return b.String()
}

// remove forgets declarations.
func (r *relay) remove(names []string) error {
	if len(names) == 0 {
		return errors.New("takes the names of what is to be forgotten; %ls lists what there is")
	}
	if missing := r.notebook.Remove(names...); len(missing) > 0 {
		return fmt.Errorf("nothing is declared as %s; %%ls lists what there is", strings.Join(missing, ", "))
	}
	return nil
}
