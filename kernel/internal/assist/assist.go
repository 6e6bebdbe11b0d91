// Package assist answers what a front-end asks about a place of a cell: completions and documentation. It asks gopls,
// and until that has answered, or where it takes too long, an index of the standard library, advlib and the notebook.
//
//	a := assist.New(assist.Config{Gopls: gopls, GoRoot: goRoot, Dir: dir})
//	defer a.Close()
//	found := a.Complete(assist.Question{Code: "strings.TrimSp", Cursor: 14, Earlier: &cell.Declarations{}})
package assist

import (
	"encoding/json"
	"go/ast"
	"maps"
	"slices"
	"strings"
	"time"

	"advlab/kernel/internal/cell"
)

// AnswerLimit is how long an answer may take: JupyterLab does not look at one that comes after a second.
const AnswerLimit = 750 * time.Millisecond

// inspectMore is how much longer types may take for documentation: front-ends wait for that.
const inspectMore = 500 * time.Millisecond

// Config says what there is to ask.
type Config struct {
	Gopls    string                        // the program; empty: answers know less
	Environ  func(temp string) []string    // gopls's environment, with its TMPDIR
	Dir      string                        // gopls's own; it is created, and removed with it
	Guard    []string                      // the command that calls guard.Run with the arguments that follow; empty: none
	GoRoot   string                        // Go's; empty: nothing from the standard library
	Modules  []Module                      // further packages, which cells may use by their name alone
	Pinned   func() []Module               // modules whose packages cells import; nil: none. It is called at the first question
	Commands []Command                     // that begin with %
	Limit    time.Duration                 // how long an answer may take; 0: AnswerLimit
	Log      func(format string, a ...any) // gets what an operator may want to know
}

// Module says where the source of packages lies: package Path/x in Dir/x.
type Module struct{ Path, Dir string }

// Assistant answers questions, also several at once. The first that needs gopls starts it.
type Assistant struct {
	config   Config
	library  library
	universe *universe
	gopls    *gopls
}

// New returns an assistant. Close ends what it starts.
func New(c Config) *Assistant {
	if c.Limit == 0 {
		c.Limit = AnswerLimit
	}
	if c.Log == nil {
		c.Log = func(string, ...any) {}
	}
	a := &Assistant{config: c, gopls: newGopls(c)}
	a.universe = newUniverse(&a.library, c.Log)
	return a
}

// Prepare reads the types of the packages of Config.Modules, so that the first answers need not wait for them. It takes
// some tenths of a second, and answers others in between.
func (a *Assistant) Prepare() {
	a.library.find(a.config)
	for _, path := range slices.Sorted(maps.Keys(a.library.dirs)) {
		if slices.ContainsFunc(a.config.Modules, func(m Module) bool { return path == m.Path || strings.HasPrefix(path, m.Path+"/") }) &&
			hasGo(a.library.dirs[path]) {
			a.universe.mu.Lock()
			_, _ = a.universe.Import(path)
			a.universe.mu.Unlock()
		}
	}
}

// Close ends gopls.
func (a *Assistant) Close() { a.gopls.close() }

// Question is a place of a cell.
type Question struct {
	Code    string
	Cursor  int                // in characters
	Earlier *cell.Declarations // what earlier cells declare
	Module  string             // the directory of the module that cells are built in; empty: gopls is not asked
	Dir     string             // the directory that cells run in; empty: this process's
}

// Completions are what may stand from character Start up to the cursor.
type Completions struct {
	Matches []string
	Start   int
	Typed   []Suggestion // what more is known of some of them
}

// Complete completes what ends at the cursor: a command or what it takes, an import path, a file's name in another
// string, or a name of Go. Names come from the types of the cell, which are read here; gopls is asked where those do
// not say.
func (a *Assistant) Complete(q Question) Completions {
	if c, ok := a.command(q); ok {
		return c
	}
	a.library.find(a.config)
	name, start, selector := nameBefore(q.Code, q.Cursor)
	none := Completions{Matches: []string{}, Start: start}
	if text, inString, inComment := quoted(q.Code, q.Cursor); inComment || cell.Parse(q.Code).Special {
		return none
	} else if inString {
		matches := paths(q.Dir, text, false)
		if inImport(q.Code, q.Cursor) {
			matches = a.library.importPaths(text)
		}
		return Completions{Matches: append([]string{}, matches...), Start: q.Cursor - len([]rune(text))}
	}
	if strings.TrimSpace(string([]rune(q.Code)[:q.Cursor])) == "" {
		return none
	}
	c, began := none, time.Now()
	c.add(a.typed(q, name), q.Cursor)
	if !selector && name != "" {
		for _, other := range a.names(name, q) {
			if !slices.Contains(c.Matches, other) {
				c.Matches = append(c.Matches, other)
			}
		}
	}
	if len(c.Matches) > 0 {
		return c
	}
	if selector {
		_, exports := a.Package(packageBefore(q, start))
		for _, other := range exports { // known at once, where the types take longer
			if strings.HasPrefix(other, name) {
				c.Matches = append(c.Matches, other)
			}
		}
		if len(c.Matches) > 0 {
			return c
		}
	}
	answer := a.ask(q, q.Cursor, "textDocument/completion", a.config.Limit-time.Since(began))
	c.add(suggestions(answer, name), q.Cursor)
	return c
}

// add adds suggestions, with the place where they stand.
func (c *Completions) add(list []Suggestion, cursor int) {
	for _, s := range list {
		s.Start, s.End = c.Start, cursor
		c.Typed = append(c.Typed, s)
		c.Matches = append(c.Matches, s.Text)
	}
}

// typed lists what may stand at the cursor by the types of the notebook, and begins with a name.
func (a *Assistant) typed(q Question, name string) (list []Suggestion) {
	within(a.config.Limit, func() (found []Suggestion) {
		a.universe.reading(q, q.Cursor, func(r *reading) { found = r.complete() })
		return slices.DeleteFunc(found, func(s Suggestion) bool { return !strings.HasPrefix(s.Text, name) })
	}, &list)
	return list
}

// within calls a function and takes its answer, if that comes within a time.
func within[A any](limit time.Duration, ask func() A, answer *A) {
	c := make(chan A, 1)
	go func() { c <- ask() }()
	select {
	case *answer = <-c:
	case <-time.After(limit):
	}
}

// Inspect describes the name at the cursor, or the function whose arguments the cursor is in; empty: nothing is known.
// more: with its source.
func (a *Assistant) Inspect(q Question, more bool) (markdown, text string) {
	if help, ok := a.help(q); ok {
		return help, help
	}
	a.library.find(a.config)
	cursor, ok := nameAt(q.Code, q.Cursor)
	path := importAt(q.Code, q.Cursor)
	if path == "" && !ok {
		return "", ""
	}
	began := time.Now()
	var d description
	within(a.config.Limit+inspectMore, func() (d description) {
		if path != "" {
			return a.universe.describePackage(path, more)
		}
		a.universe.reading(q, cursor, func(r *reading) { d = r.inspect(more) })
		return d
	}, &d)
	if d.declaration == "" && path == "" {
		return hover(a.ask(q, cursor, "textDocument/hover", a.config.Limit-time.Since(began)))
	}
	return d.markdown(), d.text()
}

// ask asks gopls about a place of a cell, within a time; nil: it has no answer yet.
func (a *Assistant) ask(q Question, cursor int, method string, limit time.Duration) (answer json.RawMessage) {
	if q.Module == "" {
		return nil
	}
	o, ok := makeOverlay(q.Code, cursor, q.Earlier, a.library.paths)
	if !ok {
		return nil
	}
	within(limit, func() json.RawMessage {
		text, _ := a.gopls.ask(o, q.Module, method) // whose first answers come too late, and are prepared for later ones
		return text
	}, &answer)
	return answer
}

// Package is the package that a cell means by a name, and what it exports; empty: none is known.
func (a *Assistant) Package(name string) (path string, exports []string) {
	a.library.find(a.config)
	path = a.library.paths[name]
	_, exports, ok := a.Exports(path)
	if !ok {
		return "", nil
	}
	return path, exports
}

// Exports is a package's name and what it exports, from its source; false where it is not known.
func (a *Assistant) Exports(path string) (name string, exports []string, ok bool) {
	a.library.find(a.config)
	if a.library.dirs[path] == "" {
		return "", nil, false
	}
	p := a.library.parse(path)
	if p == nil {
		return "", nil, false
	}
	return p.Name, exported(p), true
}

// Function is the type of a function that a package exports, from its source; nil where there is none.
func (a *Assistant) Function(path, name string) *ast.FuncType {
	a.library.find(a.config)
	p := a.library.parse(path)
	if p == nil {
		return nil
	}
	all := p.Funcs
	for _, t := range p.Types {
		all = append(slices.Clip(all), t.Funcs...)
	}
	for _, f := range all {
		if f.Name == name {
			return f.Decl.Type
		}
	}
	return nil
}
