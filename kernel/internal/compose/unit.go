package compose

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
)

// kind is what a unit declares.
type kind int

const (
	function kind = iota
	method
	typeKind
	value     // var or const
	starter   // func init, or init_NAME, which runs before each cell's program
	nameless  // var _ = …, which is of its own cell
	mainKind  // func main
	blankKind // import _ "…"
	dotKind   // import . "…"
	importKind
)

// unit is the smallest part of a cell that a program takes or leaves: a function, a method, a type, the names of one
// var, or constants that count together.
type unit struct {
	kind  kind
	names []name // what it declares; of a method, its own
	of    string // the type of a method
	path  string // of an import, unquoted
	start int    // in the cell's text
	end   int
	head  string // what is to stand before the text, where it is one of several in parentheses: "var "
	uses  uses
	plain bool // a type that is no struct
	left  bool // an init function that failed in another cell and is left out
	cell  *Source

	function *ast.FuncType // of a function
}

// word is what a reader calls a unit.
func (u *unit) word() string {
	switch {
	case u.kind == function:
		return "function"
	case u.kind == typeKind:
		return "type"
	case strings.HasPrefix(u.cell.parts.text[u.start:], "const") || strings.HasPrefix(u.head, "const"):
		return "constant"
	}
	return "variable"
}

// name is a declared name and where it stands in the cell's text.
type name struct {
	text string
	at   int
}

// label names a unit as %ls and messages do: T.M for a method.
func (u *unit) label() string {
	var all []string
	for _, n := range u.names {
		all = append(all, n.text)
	}
	s := strings.Join(all, ", ")
	if u.kind == method {
		return u.of + "." + s
	}
	if u.kind == dotKind || u.kind == blankKind || u.kind == importKind {
		return s + " " + strconv.Quote(u.path)
	}
	return s
}

// unitsOf reads a declaration. A declaration with a syntax error has none: the parser of the whole file names it.
func unitsOf(text string, p piece) []*unit {
	const open = "package p\n"
	fset := token.NewFileSet()
	source := open + text[p.start:p.end]
	parsed, err := parser.ParseFile(fset, "", source, parser.SkipObjectResolution)
	if err != nil {
		return nil
	}
	at := func(pos token.Pos) int { return fset.Position(pos).Offset - len(open) + p.start }
	named := func(idents ...*ast.Ident) (all []name) {
		for _, id := range idents {
			all = append(all, name{id.Name, at(id.Pos())})
		}
		return all
	}
	var units []*unit
	for _, d := range parsed.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			u := &unit{kind: function, names: named(d.Name), start: p.start, end: p.end, function: d.Type}
			switch {
			case d.Recv != nil && len(d.Recv.List) == 1:
				u.kind, u.of = method, receiverOf(d.Recv.List[0].Type)
			case d.Name.Name == "main":
				u.kind = mainKind
			case d.Name.Name == "init" || strings.HasPrefix(d.Name.Name, "init_"):
				u.kind = starter
			case d.Name.Name == "_":
				u.kind = nameless
			}
			units = append(units, u)
		case *ast.GenDecl:
			if d.Tok == token.CONST || len(d.Specs) == 1 && (d.Tok != token.IMPORT || d.Specs[0].(*ast.ImportSpec).Path.Value == `"C"`) {
				u := &unit{kind: kindOfSpec(d.Specs[0]), start: p.start, end: p.end}
				for _, spec := range d.Specs {
					u.take(spec, named)
				}
				units = append(units, u)
				continue
			}
			for _, spec := range d.Specs {
				u := &unit{kind: kindOfSpec(spec), start: at(spec.Pos()), end: at(spec.End()), head: d.Tok.String() + " "}
				u.take(spec, named)
				units = append(units, u)
			}
		}
	}
	for _, u := range units {
		if u.kind == value && !slices.ContainsFunc(u.names, func(n name) bool { return n.text != "_" }) {
			u.kind = nameless
		}
		if u.kind < blankKind {
			u.uses = usesOf("package p\n" + u.head + text[u.start:u.end])
		}
	}
	return units
}

// take adds the names of a spec.
func (u *unit) take(spec ast.Spec, named func(...*ast.Ident) []name) {
	switch s := spec.(type) {
	case *ast.TypeSpec:
		u.names, u.plain = append(u.names, named(s.Name)...), !isStruct(s)
	case *ast.ValueSpec:
		u.names = append(u.names, named(s.Names...)...)
	case *ast.ImportSpec:
		u.path, _ = strconv.Unquote(s.Path.Value)
		if s.Name != nil {
			u.names = named(s.Name)
		} else {
			u.names = []name{{text: ""}}
		}
	}
}

func kindOfSpec(spec ast.Spec) kind {
	switch s := spec.(type) {
	case *ast.TypeSpec:
		return typeKind
	case *ast.ImportSpec:
		switch {
		case s.Name != nil && s.Name.Name == "_":
			return blankKind
		case s.Name != nil && s.Name.Name == ".":
			return dotKind
		}
		return importKind
	}
	return value
}

// receiverOf is the name of a receiver's type.
func receiverOf(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.ParenExpr:
		return receiverOf(t.X)
	case *ast.StarExpr:
		return receiverOf(t.X)
	case *ast.IndexExpr:
		return receiverOf(t.X)
	case *ast.IndexListExpr:
		return receiverOf(t.X)
	case *ast.Ident:
		return t.Name
	}
	return ""
}

// uses are the names that a text uses and does not declare, in any scope.
type uses struct {
	plain    map[string]bool            // as a value or a type
	selected map[string]map[string]bool // as x in x.Name, with these names
	keys     map[string]map[string]bool // as keys of literals of a type of this name, which may be a struct's fields
}

func newUses() uses {
	return uses{plain: map[string]bool{}, selected: map[string]map[string]bool{}, keys: map[string]map[string]bool{}}
}

// add takes the plain names of another text.
func (u uses) add(other uses) {
	for x := range other.plain {
		u.plain[x] = true
	}
}

// usesOf finds what a Go file uses. Of a file with a syntax error it finds what it can.
func usesOf(source string) uses {
	u := newUses()
	// The parser's own resolution is what is wanted: names of a file by Go's scopes, without types.
	parsed, _ := parser.ParseFile(token.NewFileSet(), "", source, 0)
	if parsed == nil {
		return u
	}
	free := map[*ast.Ident]bool{}
	for _, id := range parsed.Unresolved {
		free[id] = true
	}
	var walk func(n ast.Node, literal ast.Expr)
	walk = func(n ast.Node, literal ast.Expr) {
		ast.Inspect(n, func(m ast.Node) bool {
			switch m := m.(type) {
			case *ast.SelectorExpr:
				if x, ok := m.X.(*ast.Ident); ok && free[x] {
					put(u.selected, x.Name, m.Sel.Name)
					return false
				}
			case *ast.Ident:
				if free[m] {
					u.plain[m.Name] = true
				}
			case *ast.CompositeLit:
				u.literal(m, literal, walk)
				return false
			}
			return true
		})
	}
	walk(parsed, nil)
	return u
}

// literal walks through a composite literal. The parser leaves keys that are declared nowhere in the file out, since
// they may be fields of a struct. They are uses where the type is no struct; whether a type of the notebook is one is
// known later. Of another package's type, an exported key is taken for a field.
func (u uses) literal(lit *ast.CompositeLit, elided ast.Expr, walk func(ast.Node, ast.Expr)) {
	t := lit.Type
	if t == nil {
		t = elided
	} else {
		walk(t, nil)
	}
	if index, ok := t.(*ast.IndexExpr); ok {
		t = index.X
	}
	if index, ok := t.(*ast.IndexListExpr); ok {
		t = index.X
	}
	var element ast.Expr
	key := func(*ast.Ident) {} // a field
	plain := func(k *ast.Ident) { u.plain[k.Name] = true }
	switch t := t.(type) {
	case *ast.ArrayType:
		element, key = t.Elt, plain
	case *ast.MapType:
		element, key = t.Value, plain
	case *ast.SelectorExpr:
		key = func(k *ast.Ident) {
			if !k.IsExported() {
				plain(k)
			}
		}
	case *ast.Ident:
		if t.Obj == nil {
			key = func(k *ast.Ident) { put(u.keys, t.Name, k.Name) }
		} else if spec, ok := t.Obj.Decl.(*ast.TypeSpec); ok && !isStruct(spec) {
			key = plain
		}
	}
	if star, ok := element.(*ast.StarExpr); ok {
		element = star.X
	}
	for _, e := range lit.Elts {
		pair, ok := e.(*ast.KeyValueExpr)
		if !ok {
			walk(e, element)
			continue
		}
		if k, ok := pair.Key.(*ast.Ident); !ok {
			walk(pair.Key, nil)
		} else if k.Obj == nil {
			key(k)
		}
		walk(pair.Value, element)
	}
}

func isStruct(spec *ast.TypeSpec) bool {
	_, ok := spec.Type.(*ast.StructType)
	return ok
}

func put(sets map[string]map[string]bool, set, element string) {
	if sets[set] == nil {
		sets[set] = map[string]bool{}
	}
	sets[set][element] = true
}
