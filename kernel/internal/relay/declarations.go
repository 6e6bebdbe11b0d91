package relay

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"strings"
)

// declarations is what earlier cells have left in GoNB: declarations by name, of which the latest counts, and
// settings. A GoNB that was restarted gets them as one cell. Programs (below %%), commands (!) and what failed to
// compile are not in it.
type declarations struct {
	list     []declaration
	settings []setting
}

type declaration struct {
	names []string // what it declares; imports and methods in a notation that no name can have
	text  string
}

type setting struct{ key, line string }

// add takes a cell that GoNB has compiled.
func (d *declarations) add(c cell) {
	if c.special {
		return
	}
	for i, line := range c.lines {
		line = strings.TrimPrefix(line, commentPrefix)
		if c.command[i] && line != "" && line[0] == '%' {
			d.command(strings.Fields(line[1:]), line)
		}
	}
	source, _ := c.goSource()
	d.addSource(source)
}

// addSource takes the declarations of a Go file; of one with a syntax error, none.
func (d *declarations) addSource(source string) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "", source, parser.SkipObjectResolution|parser.ParseComments)
	if err != nil {
		return
	}
	text := func(from, to token.Pos) string { return source[fset.Position(from).Offset:fset.Position(to).Offset] }
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			name := decl.Name.Name
			if decl.Recv == nil && name == "main" {
				continue
			}
			if decl.Recv != nil && len(decl.Recv.List) == 1 {
				name = receiver(decl.Recv.List[0].Type) + "." + name
			}
			from := decl.Pos()
			if decl.Doc != nil {
				from = decl.Doc.Pos()
			}
			d.put(declaration{[]string{name}, text(from, decl.End())})
		case *ast.GenDecl:
			d.general(decl, text)
		}
	}
}

// general takes an import, const, type or var declaration: one by one, but for constants that count with iota.
func (d *declarations) general(decl *ast.GenDecl, text func(from, to token.Pos) string) {
	if decl.Tok == token.CONST && len(decl.Specs) > 1 {
		var names []string
		for _, spec := range decl.Specs {
			names = append(names, namesOf(spec)...)
		}
		d.put(declaration{names, text(decl.Pos(), decl.End())})
		return
	}
	for _, spec := range decl.Specs {
		d.put(declaration{namesOf(spec), decl.Tok.String() + " " + text(spec.Pos(), spec.End())})
	}
}

func namesOf(spec ast.Spec) (names []string) {
	switch spec := spec.(type) {
	case *ast.ImportSpec:
		alias := ""
		if spec.Name != nil {
			alias = spec.Name.Name
		}
		return []string{"import " + alias + " " + spec.Path.Value}
	case *ast.TypeSpec:
		return []string{spec.Name.Name}
	case *ast.ValueSpec:
		for _, name := range spec.Names {
			names = append(names, name.Name)
		}
	}
	return names
}

func receiver(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return receiver(t.X)
	case *ast.IndexExpr:
		return receiver(t.X)
	case *ast.IndexListExpr:
		return receiver(t.X)
	case *ast.Ident:
		return t.Name
	}
	return ""
}

// put adds a declaration in place of those that declared one of its names.
func (d *declarations) put(n declaration) {
	d.remove(func(name string) bool { return name != "_" && slices.Contains(n.names, name) })
	d.list = append(d.list, n)
}

func (d *declarations) remove(gone func(name string) bool) {
	d.list = slices.DeleteFunc(d.list, func(old declaration) bool { return slices.ContainsFunc(old.names, gone) })
}

// command takes a command line that changes GoNB's state.
func (d *declarations) command(words []string, line string) {
	if len(words) == 0 {
		return
	}
	key := words[0]
	switch key {
	case "reset":
		d.list = nil
		return
	case "rm", "remove":
		d.remove(func(name string) bool {
			return slices.Contains(words[1:], name) || strings.HasPrefix(name, blankPrefix) && slices.Contains(words[1:], "_")
		})
		return
	case "env":
		if len(words) < 2 {
			return
		}
		name, _, _ := strings.Cut(words[1], "=")
		key += " " + name
	case "cd", "goflags":
		if len(words) < 2 { // only asks
			return
		}
		if key == "cd" {
			key = line // a relative one counts from the one before
		}
	case "autoget", "noautoget":
		key = "autoget"
	default:
		return
	}
	if !strings.HasPrefix(key, "%cd") {
		d.settings = slices.DeleteFunc(d.settings, func(s setting) bool { return s.key == key })
	}
	d.settings = append(d.settings, setting{key, line})
}

// cell returns one cell that declares everything again; empty where there is nothing.
func (d *declarations) cell() string {
	var b strings.Builder
	for _, s := range d.settings {
		b.WriteString(s.line + "\n")
	}
	b.WriteString(d.source())
	return b.String()
}

// names returns what is declared, sorted: functions, types, variables and constants.
func (d *declarations) names() []string {
	set := map[string]bool{}
	for _, n := range d.list {
		for _, name := range n.names {
			if token.IsIdentifier(name) && name != "_" {
				set[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(set))
}
