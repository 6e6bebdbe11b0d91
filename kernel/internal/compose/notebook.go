package compose

import (
	"crypto/sha256"
	"maps"
	"slices"
	"strings"

	"advlab/kernel/internal/cell"
)

// Notebook is what the cells that were run have declared. The zero value is a new notebook. It is not safe for several
// goroutines.
type Notebook struct {
	sources []*Source // as they were last run; the latest counts where several declare a name
	order   int       // of the next new file
	memory  memory
	key     string // see secret
}

// Source is a cell that was run, or is about to be.
type Source struct {
	// ID is the front end's identifier of the cell; empty where it sends none. What a cell with an ID declared before is
	// forgotten when it is run again.
	ID string
	// Number is the cell's execution count, for messages.
	Number int
	// Code is the text that the user sees.
	Code string
	// Locked says that the cell is a course's and has not been changed: see locked.go.
	Locked bool

	cell  cell.Cell
	order int // its place among the files, and so of its initialisers: that of its first run
	parts parts
	units []*unit
	body  uses            // of the program's statements
	gone  map[string]bool // names that %rm took away
}

// Origin says where a cell's text comes from: the fields of its Source.
type Origin struct {
	ID     string
	Number int
	Locked bool
}

// prepare reads a cell. It is at its place already if it has run before.
func (n *Notebook) prepare(from Origin, code string, c cell.Cell) *Source {
	id := from.ID
	s := &Source{ID: id, Number: from.Number, Locked: from.Locked, Code: code, cell: c, parts: takeApart(c), gone: map[string]bool{}}
	for _, p := range slices.Concat(s.parts.declared, s.parts.hoisted) {
		s.units = append(s.units, unitsOf(s.parts.text, p)...)
	}
	for _, u := range s.units {
		u.cell = s
	}
	if s.parts.from >= 0 {
		s.body = usesOf("package p; func _() {" + s.bodyText() + "\n}")
	}
	s.order = n.order
	for _, old := range n.sources {
		if id != "" && old.ID == id || id == "" && old.ID == "" && sha256.Sum256([]byte(old.Code)) == sha256.Sum256([]byte(code)) {
			s.order = old.order
		}
	}
	return s
}

// bodyText is the statements of main, with blanks where declarations stood among them.
func (s *Source) bodyText() string {
	if s.parts.from < 0 {
		return ""
	}
	return blank(s.parts.text, s.parts.from, len(s.parts.text), s.parts.hoisted)
}

// blank is the text between two offsets with blanks in place of pieces; lines stay.
func blank(text string, from, to int, pieces []piece) string {
	b := []byte(text[from:to])
	for _, p := range pieces {
		for i := max(p.start, from); i < min(p.end, to); i++ {
			if text[i] != '\n' {
				b[i-from] = ' '
			}
		}
	}
	return string(b)
}

// Add takes what a cell declares into the notebook, as the latest. p is its program, which was compiled.
func (n *Notebook) Add(p *Program) {
	s := p.own
	n.forget(s)
	if s.order == n.order {
		n.order++
	}
	n.sources = append(n.sources, s)
	n.prune()
}

// forget drops what the same cell declared before.
func (n *Notebook) forget(s *Source) {
	n.sources = slices.DeleteFunc(n.sources, func(old *Source) bool {
		return s.ID != "" && old.ID == s.ID || s.ID == "" && old.ID == "" && old.order == s.order
	})
}

// prune drops cells without an ID, and not locked, of which nothing is in use any more: others have declared the same
// names since.
func (n *Notebook) prune() {
	owners := n.owners(nil)
	n.sources = slices.DeleteFunc(n.sources, func(s *Source) bool {
		return s.ID == "" && !s.Locked && !slices.ContainsFunc(s.units, func(u *unit) bool { return owners.alive(u) })
	})
}

// Remove forgets names: of functions, variables, constants, types with their methods, methods as T.M or T~M, and
// imports where nothing else is called so. It returns those that it did not find.
func (n *Notebook) Remove(names ...string) (missing []string) {
	for _, text := range names {
		owners := n.owners(nil)
		text = strings.Replace(text, "~", ".", 1)
		found := false
		keys := []string{text, importKey + text}
		if text == "_" {
			keys = []string{blankKey}
		}
		for _, key := range keys {
			for _, s := range n.sources {
				for _, u := range s.units {
					if slices.Contains(u.keys(), key) && owners.alive(u) || strings.HasPrefix(key, blankKey) && u.kind == blankKind {
						s.gone[key], found = true, true
						for _, m := range n.sources { // older ones of the name do not come back
							m.gone[key] = true
							for _, mu := range m.units {
								if mu.kind == method && mu.of == text {
									for _, k := range mu.keys() {
										m.gone[k] = true
									}
								}
							}
						}
					}
				}
			}
			if found {
				break
			}
		}
		if !found {
			missing = append(missing, text)
		}
	}
	n.prune()
	return missing
}

// Reset forgets everything.
func (n *Notebook) Reset() { n.sources = nil }

// Labels lists what is declared, sorted, each kind by itself, as %ls prints it.
func (n *Notebook) Labels() map[string][]string {
	owners := n.owners(nil)
	lists := map[string][]string{}
	for _, s := range n.sources {
		for _, u := range s.units {
			if owners.alive(u) && u.kind != nameless && u.kind != mainKind {
				lists[u.kind.String()] = append(lists[u.kind.String()], u.label())
			}
		}
	}
	for _, l := range lists {
		slices.Sort(l)
	}
	return lists
}

func (k kind) String() string {
	switch k {
	case function, mainKind:
		return "functions"
	case method:
		return "methods"
	case typeKind:
		return "types"
	case starter:
		return "init functions"
	case blankKind, dotKind, importKind:
		return "imports"
	}
	return "variables and constants"
}

// Names in the index of owners that no Go name can have.
const (
	importKey  = "import "
	blankKey   = "import _ "
	dotKey     = "import . "
	starterKey = "func "
)

// keys are what a unit is known by; a later unit with the same key stands in its place.
func (u *unit) keys() (keys []string) {
	switch u.kind {
	case method:
		return []string{u.of + "." + u.names[0].text}
	case importKind:
		return []string{importKey + u.importName()}
	case blankKind:
		return []string{blankKey + u.path}
	case dotKind:
		return []string{dotKey + u.path}
	case starter:
		return []string{starterKey + u.names[0].text}
	case nameless, mainKind:
		return nil
	}
	for _, n := range u.names {
		if n.text != "_" {
			keys = append(keys, n.text)
		}
	}
	return keys
}

// owners tells which unit a name belongs to: the latest that declares it.
type owners map[string]*unit

// owners looks at the notebook, and at a cell that is about to run, which has the last word and whose former self
// counts no more.
func (n *Notebook) owners(own *Source) owners {
	o := owners{}
	all := n.sources
	if own != nil {
		all = append(slices.DeleteFunc(slices.Clone(all), func(s *Source) bool {
			return own.ID != "" && s.ID == own.ID || own.ID == "" && s.ID == "" && s.order == own.order
		}), own)
	}
	if own != nil && own.Locked {
		all = lockedLast(all)
	}
	for _, s := range all {
		for _, u := range s.units {
			if u.kind == function || u.kind == typeKind || u.kind == value {
				o.retire(u)
			}
		}
		for _, u := range s.units {
			for _, key := range u.keys() {
				if !s.gone[key] {
					o[key] = u
				}
			}
		}
	}
	return o
}

// retire drops the methods that were declared in the cell of a type, if another cell gives its name to something else.
// Methods in cells of their own stay.
func (o owners) retire(again *unit) {
	for _, n := range again.names {
		old := o[n.text]
		if old == nil || old.kind != typeKind || old.cell == again.cell {
			continue
		}
		for key, u := range o {
			if u.kind == method && u.of == n.text && u.cell == old.cell {
				delete(o, key)
			}
		}
	}
}

// alive tells whether anything of a unit counts.
func (o owners) alive(u *unit) bool {
	return slices.ContainsFunc(u.keys(), func(key string) bool { return o[key] == u })
}

// methods are the methods of a type.
func (o owners) methods(of string) (all []*unit) {
	for _, key := range slices.Sorted(maps.Keys(o)) {
		if u := o[key]; u.kind == method && u.of == of {
			all = append(all, u)
		}
	}
	return all
}
