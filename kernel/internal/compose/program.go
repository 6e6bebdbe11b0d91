package compose

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"advlab/kernel/internal/cell"
)

// Program is what is to be built and run for a cell.
type Program struct {
	// Files are the program's Go files, text by name.
	Files map[string]string
	// LeftOut names the init functions of other cells that are left out, since they failed, with their cells' numbers.
	LeftOut []string
	// Notes say what the teacher is to know of a locked cell's program: see locked.go.
	Notes []string

	own      *Source
	sources  map[string]*Source // by the name of the file
	included []*unit
	imported *imports // of the cell's own file
	key      string
	starting map[*unit]string // units that only an init function of another cell needs, and its name

	plain                    string // the cell's own file without its result; empty: it has none
	resultLine, resultColumn int
	callee                   string // of the last expression: a package's function, as path.Name; empty: something else
	resultKey                [sha256.Size]byte
}

// BeginFile is the file that every program has besides those of cells. By its name it is the first, so that its
// variables are initialised before any of a cell's.
const BeginFile = "begin.go"

// A program whose statements come to their end, by their last line, a return or a panic that was recovered, and not by
// an exit or a panic from somewhere within, proves it: a file beside the program, of its name and NonceSuffix, tells it
// something that cannot be guessed, and is gone before the first line of a cell runs; at its end, the program writes
// the same into a file with EndSuffix. What stands in the nonce from NonceSplit on is also a part of a name: that of
// the file with the value of the cell's last expression, behind ResultSuffix.
const (
	NonceSuffix  = ".nonce"
	NonceSplit   = 26
	EndSuffix    = ".end"
	ResultSuffix = ".result-"
)

// beginText is BeginFile's, with the notebook's key in place of KEY: no text of a cell can name what it declares.
const beginText = `package main

import (
	flag__ "flag"
	os__ "os"
)

var result__KEY, end__KEY = func() (string, func()) {
	self, _ := os__.Executable()
	nonce, err := os__.ReadFile(self + "` + NonceSuffix + `")
	if err != nil {
		return os__.DevNull, func() {}
	}
	os__.Remove(self + "` + NonceSuffix + `")
	return self + "` + ResultSuffix + `" + string(nonce[26:]), func() {
		if err := os__.WriteFile(self+"` + EndSuffix + `", nonce, 0o600); err != nil {
			panic(err)
		}
	}
}()

func start__KEY() { flag__.Parse() }
`

// checkText is what BeginFile has for a cell with %check.
const checkText = `
func check__KEY(name string, err error) {
	if err != nil {
		os__.Stderr.WriteString(name + ": " + err.Error() + "\n")
		os__.Exit(1)
	}
	os__.Stdout.WriteString(name + ": passed\n")
}
`

// beginUses are the names of Go's that BeginFile needs.
var beginUses = usesOf(beginText + checkText)

const noMain = "\nfunc main() {}\n"

// Key stands in the texts above for what no cell can guess.
const keyMark = "KEY"

// checkCall begins the call that CheckCall writes.
const checkCall = "check__"

// CheckCall is the statement for a cell's %check: it calls a function and ends the program where that returns an error.
func (n *Notebook) CheckCall(name string) string {
	return fmt.Sprintf("%s%s(%q, %s());", checkCall, n.secret(), name, name)
}

// secret is the notebook's key.
func (n *Notebook) secret() string {
	if n.key == "" {
		n.key = rand.Text()
	}
	return n.key
}

// fileOf is the name of a cell's file. Files are compiled, and their variables initialised, in the order of their
// names.
func (s *Source) fileOf(test bool) string {
	if test {
		return fmt.Sprintf("cell_%05d_test.go", s.order)
	}
	return fmt.Sprintf("cell_%05d.go", s.order)
}

// composer collects what a program needs.
type composer struct {
	owners   owners
	included map[*unit]bool
	order    []*unit
	needs    map[*Source]*imports
	key      string
	by       string          // the init function on whose behalf units are taken; empty: the cell's
	locked   uses            // what locked cells use
	callees  map[string]bool // that are known to have no value
	isImport func(s *Source, x string, names map[string]bool) bool
	starting map[*unit]string
}

// Compose makes the program of a cell: the cell's statements, its declarations, the init functions of the notebook, and
// what these reach. The notebook stays as it is; see Add. f may be nil.
func (n *Notebook) Compose(ctx context.Context, f Finder, from Origin, code string, c cell.Cell) (*Program, error) {
	s := n.prepare(from, code, c)
	if err := s.syntax(); err != nil {
		return nil, err
	}
	if s.Locked && s.hasMain() {
		return nil, errors.New("func main in a locked cell: write its statements below a line %%, so that they can prove " +
			"that they have come to their end")
	}
	k := &composer{owners: n.owners(s), included: map[*unit]bool{}, needs: map[*Source]*imports{}, starting: map[*unit]string{},
		key: n.secret(), locked: newUses(), callees: n.memory.callees}
	k.isImport = func(s *Source, x string, names map[string]bool) bool {
		return n.isImport(ctx, f, s, k.owners, x, names)
	}
	for _, u := range s.units {
		k.include(u)
	}
	k.need(s, s.body)
	p := &Program{Files: map[string]string{}, own: s, sources: map[string]*Source{}, key: n.secret()}
	for _, u := range n.starters(k.owners, s) {
		if u.left {
			p.LeftOut = append(p.LeftOut, fmt.Sprintf("%s of cell %d", u.label(), u.cell.Number))
			continue
		}
		k.by = u.label()
		k.include(u)
	}
	p.included, p.starting = k.order, k.starting
	if err := k.hidden(s); err != nil {
		return p, err
	}
	p.imported = k.importsOf(s)
	if s.Locked {
		p.Notes = n.overruled(k.order)
	}
	files := map[*Source][]*unit{s: nil}
	for _, u := range k.order {
		files[u.cell] = append(files[u.cell], u)
	}
	for source := range files {
		need := k.importsOf(source)
		if err := n.resolve(ctx, f, source, k.owners, need); err != nil {
			return p, err
		}
		if source == s {
			need.units = append(need.units, n.blanks(k.owners, s)...)
		}
	}
	for source, units := range files {
		name := source.fileOf(c.Test)
		p.sources[name] = source
		p.Files[name] = k.render(name, source, units, source == s, nil)
	}
	n.showResult(ctx, f, k, p, files[s])
	if p.mayStandStill() {
		p.Files[stillFile] = asMain(stillText)
	}
	switch {
	case c.Test:
	case s.parts.from >= 0:
		text := beginText
		if strings.Contains(s.bodyText(), checkCall+n.secret()) {
			text += checkText
		}
		p.Files[BeginFile] = strings.ReplaceAll(text, keyMark, n.secret())
	case !s.hasMain():
		p.Files[BeginFile] = "package main\n" + noMain
	}
	return p, nil
}

// starters are the init functions of other cells that count.
func (n *Notebook) starters(o owners, own *Source) (all []*unit) {
	for _, s := range n.sources {
		for _, u := range s.units {
			if u.kind == starter && u.cell != own && o.alive(u) {
				all = append(all, u)
			}
		}
	}
	return all
}

// blanks are the blank imports of the notebook.
func (n *Notebook) blanks(o owners, own *Source) (all []*unit) {
	for _, key := range slices.Sorted(maps.Keys(o)) {
		if u := o[key]; u.kind == blankKind {
			all = append(all, u)
		}
	}
	return all
}

func (k *composer) importsOf(s *Source) *imports {
	if k.needs[s] == nil {
		k.needs[s] = &imports{wanted: map[string]map[string]bool{}, plain: map[string]bool{}}
	}
	return k.needs[s]
}

// include takes a unit and what it reaches.
func (k *composer) include(u *unit) {
	if u == nil || k.included[u] || u.kind >= blankKind {
		return
	}
	k.included[u] = true
	k.order = append(k.order, u)
	if k.by != "" {
		k.starting[u] = k.by
	}
	k.need(u.cell, u.uses)
	if u.kind == typeKind {
		for _, n := range u.names {
			for _, m := range k.owners.methods(n.text) {
				k.include(m)
			}
		}
	}
}

// need takes what a text of a cell uses.
func (k *composer) need(s *Source, used uses) {
	need := k.importsOf(s)
	if s.Locked {
		k.locked.add(used)
	}
	for _, x := range slices.Sorted(maps.Keys(used.plain)) {
		if u := k.owners[x]; u != nil && !(s.Locked && !u.cell.Locked && predeclared(x)) {
			k.include(u)
		} else {
			need.plain[x] = true
		}
	}
	for _, x := range slices.Sorted(maps.Keys(used.selected)) {
		if u := k.owners[x]; u != nil && u.kind != function && !(s.Locked && !u.cell.Locked && k.isImport(s, x, used.selected[x])) {
			k.include(u)
			continue
		}
		// A function has nothing to select: what is meant is a package.
		for name := range used.selected[x] {
			put(need.wanted, x, name)
		}
	}
	for _, t := range slices.Sorted(maps.Keys(used.keys)) {
		if u := k.owners[t]; u == nil || u.kind != typeKind || !u.plain {
			continue // fields
		}
		for _, x := range slices.Sorted(maps.Keys(used.keys[t])) {
			k.include(k.owners[x])
		}
	}
}

// HiddenError says that a program needs a package, or what Go predeclares, and a declaration of that name.
type HiddenError struct {
	Name           string
	Number, Needed int    // the cells that declare the name and need the other
	What           string // what is declared
}

func (e *HiddenError) Error() string {
	other := "the package of that name"
	if predeclared(e.Name) {
		other = "what Go calls so"
	}
	return fmt.Sprintf("%s is a %s of cell %d, and cell %d needs %s: rename the %[2]s, or forget it with %%rm %[1]s",
		e.Name, e.What, e.Number, e.Needed, other)
}

// hidden refuses a program in which a declaration hides a package that is needed. Go would refuse it, too, at the
// import. In a locked cell, it refuses one as well that hides what Go predeclares.
func (k *composer) hidden(own *Source) error {
	for _, u := range k.order {
		if u.kind != function && !own.Locked {
			continue
		}
		for _, name := range u.names {
			for s, need := range k.needs {
				if need.wanted[name.text] != nil && (u.kind == function || s.Locked && !u.cell.Locked) {
					return &HiddenError{name.text, u.cell.Number, s.Number, u.word()}
				}
			}
			if own.Locked && !u.cell.Locked && u.kind != method && predeclared(name.text) && (k.locked.plain[name.text] ||
				beginUses.plain[name.text]) {
				return &HiddenError{name.text, u.cell.Number, own.Number, u.word()}
			}
		}
	}
	return nil
}

// render writes a cell's file: the units that are included, each where it stands in the cell. result may be nil.
func (k *composer) render(file string, s *Source, units []*unit, own bool, result *insertion) string {
	need := k.importsOf(s)
	var b strings.Builder
	b.WriteString("package main\n")
	at := func(of *Source, start int) string {
		line, column := place(of.parts.text, start)
		name := file
		if of != s {
			name = of.fileOf(strings.HasSuffix(file, "_test.go"))
		}
		return fmt.Sprintf("%s:%d:%d", name, line, column)
	}
	for _, u := range need.units {
		b.WriteString(u.placed(at(u.cell, u.start), u.cell.parts.text[u.start:u.end]))
	}
	for _, i := range need.added {
		fmt.Fprintf(&b, "//line imports.go:1:1\nimport %s %s\n", i.Name, strconv.Quote(i.Path))
	}
	units = slices.SortedFunc(slices.Values(units), func(a, b *unit) int { return a.start - b.start })
	for _, u := range units {
		b.WriteString(u.placed(at(s, u.start), u.masked(k.owners, own)))
	}
	if own && s.parts.from >= 0 {
		body := result.into(s.bodyText(), s.parts.from, func(start int) string { return at(s, start) })
		// Statements that end by a panic or runtime.Goexit do not come to what stands behind them.
		fmt.Fprintf(&b, "func main() { start__%s(); func() { /*line %s*/%s\n/*line %s:1:1*/}(); end__%[1]s() }\n", k.key,
			at(s, s.parts.from), body, BeginFile)
	}
	return b.String()
}

// placed is a unit's text, which the compiler is told stands at a place in a cell.
func (u *unit) placed(at, text string) string {
	if u.head == "" {
		return "//line " + at + "\n" + text + "\n"
	}
	return u.head + "/*line " + at + "*/" + text + "\n"
}

// masked is a unit's text with a blank in place of names that another cell has declared since, and of the ends of names
// of init functions. Of the cell's own, every name counts.
func (u *unit) masked(o owners, own bool) string {
	text := []byte(u.cell.parts.text[u.start:u.end])
	replace := func(n name, by string) {
		copy(text[n.at-u.start:], by+strings.Repeat(" ", len(n.text)-len(by)))
	}
	for _, n := range u.names {
		switch {
		case u.kind == starter:
			replace(n, "init")
		case u.kind == value && !own && n.text != "_" && o[n.text] != u:
			replace(n, "_")
		}
	}
	return string(text)
}

// Own reports whether a file of the program is that of the cell that runs.
func (p *Program) Own(file string) bool { return p.sources[file] == p.own }

// Source is the cell of a file; nil: none.
func (p *Program) Source(file string) *Source { return p.sources[file] }

// Blame finds the declaration at a line of a file, and the init function of another cell that alone needs it; empty:
// the cell itself does.
func (p *Program) Blame(file string, line int) (declaration, starter string) {
	s := p.sources[file]
	if s == nil {
		return "", ""
	}
	for _, u := range p.included {
		if u.cell != s {
			continue
		}
		first, _ := place(s.parts.text, u.start)
		last, _ := place(s.parts.text, u.end)
		if first <= line && line <= last {
			return u.label(), p.starting[u]
		}
	}
	return "", ""
}

// LeaveOut leaves an init function of the cell itself out of the programs of other cells: it has failed in its own.
func (p *Program) LeaveOut(label string) {
	for _, u := range p.own.units {
		if u.kind == starter && u.label() == label {
			u.left = true
		}
	}
}

// LeaveOut leaves an init function out of the programs of other cells, until its cell is run again.
func (n *Notebook) LeaveOut(label string) {
	for _, s := range n.sources {
		for _, u := range s.units {
			if u.kind == starter && u.label() == label {
				u.left = true
			}
		}
	}
}

// hasMain tells a cell that declares main.
func (s *Source) hasMain() bool {
	return slices.ContainsFunc(s.units, func(u *unit) bool { return u.kind == mainKind })
}

// Ends reports whether the program proves that it has come to its end.
func (p *Program) Ends() bool { return !p.own.cell.Test && p.own.parts.from >= 0 }

// Tests names the tests and benchmarks of a %test cell.
func (p *Program) Tests() (names []string) {
	for _, u := range p.own.units {
		if name := u.names[0].text; u.kind == function && (strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Benchmark")) {
			names = append(names, name)
		}
	}
	return names
}

// Whole is the program as one text without package clause, for where it cannot be files.
func (p *Program) Whole() string {
	var imports, rest strings.Builder
	seen := map[string]bool{}
	plain := strings.NewReplacer("start__"+p.key+"()", "flag.Parse()", "; end__"+p.key+"()", "")
	for _, name := range slices.Sorted(maps.Keys(p.Files)) {
		text := p.Files[name]
		switch {
		case name == BeginFile || name == valueFile || name == drawFile || name == stillFile:
			continue
		case p.plain != "" && name == p.own.fileOf(false):
			text = p.plain
		}
		for _, line := range strings.Split(directive.ReplaceAllString(text, ""), "\n") {
			switch {
			case strings.HasPrefix(line, "package ") || strings.HasPrefix(line, "//line "):
			case strings.HasPrefix(line, "import "):
				if !seen[line] {
					imports.WriteString(line + "\n")
				}
				seen[line] = true
			default:
				rest.WriteString(plain.Replace(line) + "\n")
			}
		}
	}
	return imports.String() + rest.String()
}

var directive = regexp.MustCompile(`/\*line [^*]*\*/`)

// HasGo reports whether there is anything in a cell but commands.
func HasGo(c cell.Cell) bool { return c.MainLine >= 0 || strings.TrimSpace(goText(c)) != "" }

// Source is all that the notebook declares, as Go without a package clause, imports first: for tools that read it.
func (n *Notebook) Source() string {
	o := n.owners(nil)
	var imports, rest strings.Builder
	for _, s := range n.sources {
		for _, u := range s.units {
			if !o.alive(u) || u.kind == starter {
				continue
			}
			b := &rest
			if u.kind >= blankKind {
				b = &imports
			}
			b.WriteString(u.head + u.masked(o, false) + "\n")
		}
	}
	return imports.String() + rest.String()
}
