package cell

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Declarations is what earlier cells have left in GoNB: declarations by name, of which the latest counts, and
// settings. A GoNB that was restarted gets them as one cell. Programs (below %%), commands (!) and what failed to
// compile are not in it.
type Declarations struct {
	List     []Declaration
	settings []setting
}

// Declaration is one of them, or several constants that count with iota.
type Declaration struct {
	Names []string // what it declares; imports and methods under a text that is no name in Go
	Text  string
}

type setting struct{ key, line string }

// Add takes a cell that was compiled.
func (d *Declarations) Add(c Cell) {
	if c.Special {
		return
	}
	d.AddSettings(c)
	source, _ := c.GoSource()
	d.AddSource(source)
}

// AddSettings takes the settings of a cell that was run.
func (d *Declarations) AddSettings(c Cell) {
	if c.Special {
		return
	}
	for i, line := range c.Lines {
		line = strings.TrimPrefix(line, CommentPrefix)
		if c.Command[i] && line != "" && line[0] == '%' {
			d.command(strings.Fields(line[1:]), line)
		}
	}
}

// AddSource takes the declarations of a Go file; of one with a syntax error, none.
func (d *Declarations) AddSource(source string) {
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
			d.put(Declaration{[]string{name}, text(from, decl.End())})
		case *ast.GenDecl:
			d.general(decl, text)
		}
	}
}

// general takes an import, const, type or var declaration: one by one, but for constants that count with iota.
func (d *Declarations) general(decl *ast.GenDecl, text func(from, to token.Pos) string) {
	if decl.Tok == token.CONST && len(decl.Specs) > 1 {
		var names []string
		for _, spec := range decl.Specs {
			names = append(names, namesOf(spec)...)
		}
		d.put(Declaration{names, text(decl.Pos(), decl.End())})
		return
	}
	for _, spec := range decl.Specs {
		d.put(Declaration{namesOf(spec), decl.Tok.String() + " " + text(spec.Pos(), spec.End())})
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
func (d *Declarations) put(n Declaration) {
	d.Remove(func(name string) bool { return name != "_" && slices.Contains(n.Names, name) })
	d.List = append(d.List, n)
}

func (d *Declarations) Remove(gone func(name string) bool) {
	d.List = slices.DeleteFunc(d.List, func(old Declaration) bool { return slices.ContainsFunc(old.Names, gone) })
}

// command takes a command line that changes GoNB's state.
func (d *Declarations) command(words []string, line string) {
	if len(words) == 0 {
		return
	}
	key := words[0]
	switch key {
	case "reset":
		d.List = nil
		return
	case "rm", "remove":
		d.Remove(func(name string) bool {
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

// Settings returns a cell that makes all settings again; empty where there is none.
func (d *Declarations) Settings() string {
	var b strings.Builder
	for _, s := range d.settings {
		b.WriteString(s.line + "\n")
	}
	return b.String()
}

// Names returns what is declared, sorted: functions, types, variables and constants.
func (d *Declarations) Names() []string {
	set := map[string]bool{}
	for _, n := range d.List {
		for _, name := range n.Names {
			if token.IsIdentifier(name) && name != "_" {
				set[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(set))
}

var function = regexp.MustCompile(`(?m)^func\b`)

// Functions returns the functions that are declared, sorted.
func (d *Declarations) Functions() []string {
	var names []string
	for _, n := range d.List {
		for _, name := range n.Names {
			if token.IsIdentifier(name) && name != "_" && function.MatchString(n.Text) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// Variables returns the names of the environment's variables that %env has set.
func (d *Declarations) Variables() (names []string) {
	for _, s := range d.settings {
		if name, ok := strings.CutPrefix(s.key, "env "); ok {
			names = append(names, name)
		}
	}
	return names
}

// Source is the declarations as Go without a package clause, imports first.
func (d *Declarations) Source() string {
	var imports, others strings.Builder
	for _, n := range d.List {
		if strings.HasPrefix(n.Text, "import ") {
			imports.WriteString(n.Text + "\n")
		} else {
			others.WriteString(n.Text + "\n")
		}
	}
	return imports.String() + others.String()
}

// blankPrefix is how names of blank imports begin in declarations.
const blankPrefix = "import _ "

// Blanks returns the paths, quoted, that are imported for their effect alone, each once.
func (d *Declarations) Blanks() (paths []string) {
	for _, n := range d.List {
		for _, name := range n.Names {
			if path, ok := strings.CutPrefix(name, blankPrefix); ok && !slices.Contains(paths, path) {
				paths = append(paths, path)
			}
		}
	}
	return paths
}

// Clone returns a copy.
func (d *Declarations) Clone() *Declarations {
	return &Declarations{List: slices.Clone(d.List), settings: slices.Clone(d.settings)}
}

// With returns the declarations that there would be after a cell.
func (d *Declarations) With(c Cell) *Declarations {
	next := d.Clone()
	next.Add(c)
	return next
}
