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
	"go/token"
	"slices"
	"strings"
	"time"

	"advlab/kernel/internal/cell"
)

// AnswerLimit is how long an answer may take before it is made of what is known here.
const AnswerLimit = 450 * time.Millisecond

// Config says what there is to ask.
type Config struct {
	Gopls    string                        // the program; empty: answers know less
	Environ  func(temp string) []string    // gopls's environment, with its TMPDIR
	Dir      string                        // gopls's own; it is created, and removed with it
	Guard    []string                      // the command that calls guard.Run with the arguments that follow; empty: none
	GoRoot   string                        // Go's; empty: nothing from the standard library
	Modules  []Module                      // further packages
	Commands []string                      // that begin with %
	Log      func(format string, a ...any) // gets what an operator may want to know
}

// Module says where the source of packages lies: package Path/x in Dir/x.
type Module struct{ Path, Dir string }

// Assistant answers questions, also several at once. The first that needs gopls starts it.
type Assistant struct {
	config  Config
	library library
	gopls   *gopls
}

// New returns an assistant. Close ends what it starts.
func New(c Config) *Assistant { return &Assistant{config: c, gopls: newGopls(c)} }

// Close ends gopls.
func (a *Assistant) Close() { a.gopls.close() }

// Question is a place of a cell.
type Question struct {
	Code    string
	Cursor  int                // in characters
	Earlier *cell.Declarations // what earlier cells declare
	Module  string             // the directory of the module that cells are built in; empty: gopls is not asked
}

// Completions are what may stand from character Start up to the cursor.
type Completions struct {
	Matches []string
	Start   int
	Typed   []Suggestion // what more is known of some of them
}

// Complete completes the name at the cursor.
func (a *Assistant) Complete(q Question) Completions {
	matches, start, selector := a.index(q.Code, q.Cursor, q.Earlier)
	c := Completions{Matches: []string{}, Start: start}
	runes := []rune(q.Code)
	if q.Module == "" || strings.TrimSpace(string(runes[:q.Cursor])) == "" || strings.HasPrefix(string(runes[start:q.Cursor]), "%") {
		c.Matches = append(c.Matches, matches...)
		return c
	}
	answer := a.ask(q, q.Cursor, "textDocument/completion", len(matches) > 0)
	c.Typed = suggestions(answer, string(runes[start:q.Cursor]))
	for i := range c.Typed {
		c.Typed[i].Start, c.Typed[i].End = start, q.Cursor
		c.Matches = append(c.Matches, c.Typed[i].Text)
	}
	if len(c.Matches) > 0 && selector {
		matches = nil // which were found by their package's name alone
	}
	for _, name := range matches {
		if !slices.Contains(c.Matches, name) {
			c.Matches = append(c.Matches, name)
		}
	}
	return c
}

// Inspect describes the name at the cursor, or the function whose arguments the cursor is in; empty: nothing is known.
func (a *Assistant) Inspect(q Question) (markdown, text string) {
	text = a.document(q.Code, q.Cursor, q.Earlier)
	if at, ok := nameAt(q.Code, q.Cursor); ok && q.Module != "" {
		if m, plain := hover(a.ask(q, at, "textDocument/hover", text != "")); plain != "" {
			return m, plain
		}
	}
	return "", text
}

// ask asks gopls about a place of a cell, within AnswerLimit; nil: it has no answer yet. Until it has given its first
// one, only those wait for it who know nothing themselves.
func (a *Assistant) ask(q Question, cursor int, method string, known bool) json.RawMessage {
	a.library.find(a.config.GoRoot, a.config.Modules)
	o, ok := makeOverlay(q.Code, cursor, q.Earlier, a.library.paths)
	if !ok {
		return nil
	}
	answer := make(chan json.RawMessage, 1)
	go func() {
		text, _ := a.gopls.ask(o, q.Module, method) // whose first answers come too late, and are prepared for later ones
		answer <- text
	}()
	wait := AnswerLimit
	if _, ready := a.gopls.running(); known && !ready {
		wait = 0
	}
	select {
	case text := <-answer:
		return text
	case <-time.After(wait):
		return nil
	}
}

// Package is the package that a cell means by a name, and what it exports; empty: none is known.
func (a *Assistant) Package(name string) (path string, exports []string) {
	a.library.find(a.config.GoRoot, a.config.Modules)
	path = a.library.paths[name]
	_, exports, ok := a.Exports(path)
	if !ok {
		return "", nil
	}
	return path, exports
}

// Exports is a package's name and what it exports, from its source; false where it is not known.
func (a *Assistant) Exports(path string) (name string, exports []string, ok bool) {
	a.library.find(a.config.GoRoot, a.config.Modules)
	if a.library.dirs[path] == "" {
		return "", nil, false
	}
	p, _ := a.library.parse(path)
	if p == nil {
		return "", nil, false
	}
	for symbol := range symbols(p) {
		if token.IsExported(symbol) {
			exports = append(exports, symbol)
		}
	}
	slices.Sort(exports)
	return p.Name, exports, true
}

// Function is the type of a function that a package exports, from its source; nil where there is none.
func (a *Assistant) Function(path, name string) *ast.FuncType {
	a.library.find(a.config.GoRoot, a.config.Modules)
	p, _ := a.library.parse(path)
	if p == nil {
		return nil
	}
	if f, ok := symbols(p)[name].decl.(*ast.FuncDecl); ok {
		return f.Type
	}
	return nil
}
