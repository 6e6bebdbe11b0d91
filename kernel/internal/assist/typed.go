package assist

import (
	"bytes"
	"go/ast"
	"go/doc/comment"
	"go/parser"
	"go/printer"
	"go/scanner"
	"go/token"
	"go/types"
	"os"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"advlab/kernel/internal/cell"
)

// reading is the notebook as Go, with its types and the place of the cursor. It is made and read under universe.mu.
type reading struct {
	universe *universe
	cell     *ast.File
	earlier  *ast.File
	info     *types.Info
	pkg      *types.Package
	at       token.Pos
	around   []ast.Node // what the cursor is in or touches, the innermost last
}

// reading type-checks the notebook and lends what it has found. Nothing is lent where the cell cannot be read.
func (u *universe) reading(q Question, cursor int, use func(*reading)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	defer func() {
		if fault := recover(); fault != nil { // of go/types, on what is no Go yet: it is no answer
			u.log("reading a cell's types: %v", fault)
		}
	}()
	if r := u.read(q, cursor); r != nil {
		defer r.forget()
		use(r)
	}
}

// read type-checks the notebook. Where the cell is no Go because something is open yet, as after `f(x.`, what is
// behind the cursor is left out and what is open is closed.
func (u *universe) read(q Question, cursor int) *reading {
	o, ok := makeOverlay(q.Code, cursor, q.Earlier, u.lib.paths)
	if fault := firstFault(o.cell); !ok || fault < len(o.cell) {
		runes := []rune(q.Code)
		left := string(runes[:cursor]) + behind.FindString(string(runes[cursor:]))
		for _, end := range endings(left) {
			other, fine := makeOverlay(left+end, cursor, q.Earlier, u.lib.paths)
			if at := firstFault(other.cell); fine && (!ok || at > fault) {
				o, ok, fault = other, true, at
			}
		}
	}
	if !ok {
		return nil
	}
	r := &reading{universe: u, info: &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Defs: map[*ast.Ident]types.Object{},
		Uses: map[*ast.Ident]types.Object{}, Implicits: map[ast.Node]types.Object{}, Scopes: map[ast.Node]*types.Scope{}}}
	r.cell, _ = parser.ParseFile(u.fset, "cell", o.cell, parser.ParseComments|parser.SkipObjectResolution)
	r.earlier, _ = parser.ParseFile(u.fset, "earlier", o.earlier, parser.ParseComments|parser.SkipObjectResolution)
	if r.cell == nil || r.earlier == nil {
		return nil
	}
	lenient := types.Config{Importer: u, FakeImportC: true, Error: func(error) {}} // a cell that is being written has errors
	r.pkg, _ = lenient.Check("main", u.fset, []*ast.File{r.cell, r.earlier}, r.info)
	file := u.fset.File(r.cell.FileStart)
	r.at = file.LineStart(o.line+1) + token.Pos(utf8Column(o.cell, o.line, o.column))
	ast.Inspect(r.cell, func(n ast.Node) bool {
		if n == nil || n.Pos() > r.at || r.at > n.End() {
			return false
		}
		if len(r.around) > 0 && !(r.around[len(r.around)-1].Pos() <= n.Pos() && n.End() <= r.around[len(r.around)-1].End()) {
			// It touches the cursor behind, as the one before did from the front: a name at its end counts.
			return false
		}
		r.around = append(r.around, n)
		return true
	})
	return r
}

// forget drops the notebook's files, which the next question brings anew.
func (r *reading) forget() {
	for _, f := range []*ast.File{r.cell, r.earlier} {
		if file := r.universe.fset.File(f.FileStart); file != nil {
			r.universe.fset.RemoveFile(file)
		}
	}
}

// utf8Column is the column in bytes of one in UTF-16.
func utf8Column(text string, line, column int) int {
	for range line {
		_, text, _ = strings.Cut(text, "\n")
	}
	bytes := 0
	for _, r := range text {
		if column <= 0 {
			break
		}
		column -= utf16.RuneLen(r)
		bytes += utf8.RuneLen(r)
	}
	return bytes
}

// endings are what may close the parentheses and braces that a text has left open.
func endings(left string) []string {
	fset := token.NewFileSet()
	source, _ := cell.Parse(left).GoSource()
	var s scanner.Scanner
	s.Init(fset.AddFile("", -1, len(source)), []byte(source), func(token.Position, string) {}, 0)
	var open []byte
	for {
		_, tok, _ := s.Scan()
		if tok == token.EOF {
			break
		}
		switch tok {
		case token.LPAREN:
			open = append(open, ')')
		case token.LBRACK:
			open = append(open, ']')
		case token.LBRACE:
			open = append(open, '}')
		case token.RPAREN, token.RBRACK, token.RBRACE:
			if len(open) > 0 {
				open = open[:len(open)-1]
			}
		}
	}
	slices.Reverse(open)
	closing := string(open)
	if strings.HasSuffix(left, ".") {
		closing = placeholder + closing
	}
	if at := strings.IndexByte(closing, '}'); at >= 0 { // `if x.` in a function: the statement's own braces, too
		return []string{closing, closing[:at] + "{}" + closing[at:]}
	}
	return []string{closing, closing + "{}"}
}

// complete lists what may stand at the cursor: the members of what is before its dot, else the fields of the literal
// that it is in, and what is declared there.
func (r *reading) complete() []Suggestion {
	objects := map[string]types.Object{}
	var order []string
	add := func(o types.Object) {
		if _, known := objects[o.Name()]; !known && o.Name() != placeholder && o.Name() != "_" {
			objects[o.Name()] = o
			order = append(order, o.Name())
		}
	}
	if s := r.selector(); s != nil {
		if x, ok := s.X.(*ast.Ident); ok {
			if p, ok := r.info.Uses[x].(*types.PkgName); ok {
				scope := p.Imported().Scope()
				for _, name := range scope.Names() {
					if token.IsExported(name) {
						add(scope.Lookup(name))
					}
				}
				return r.describe(objects, order)
			}
		}
		for _, o := range members(r.info.Types[s.X].Type, r.pkg) {
			add(o)
		}
		return r.describe(objects, order)
	}
	for _, field := range r.fields() {
		add(field)
	}
	file := r.info.Scopes[r.cell]
	if file == nil {
		return r.describe(objects, order)
	}
	scope := file.Innermost(r.at)
	if scope == nil {
		scope = file
	}
	for ; scope != nil && scope != types.Universe; scope = scope.Parent() {
		for _, name := range scope.Names() {
			if _, o := scope.LookupParent(name, r.at); o != nil && !strings.Contains(name, placeholder) && name != "main" {
				add(o)
			}
		}
	}
	return r.describe(objects, order)
}

// selector is the x.y whose y the cursor touches.
func (r *reading) selector() *ast.SelectorExpr {
	for _, n := range r.around {
		if s, ok := n.(*ast.SelectorExpr); ok && s.X.End() < r.at {
			if s.Sel.Pos() <= r.at && r.at <= s.Sel.End() || r.at <= s.End() && len(r.around) > 0 && r.around[len(r.around)-1] == ast.Node(s) {
				return s
			}
		}
	}
	return nil
}

// fields are those that a composite literal of a struct, in which the cursor is where a field's name may stand, has not
// yet given.
func (r *reading) fields() (fields []types.Object) {
	at := -1
	for i, n := range r.around {
		if lit, ok := n.(*ast.CompositeLit); ok && lit.Lbrace < r.at && r.at <= lit.Rbrace {
			at = i
		}
	}
	if at < 0 {
		return nil
	}
	lit := r.around[at].(*ast.CompositeLit)
	given := map[string]bool{}
	for _, e := range lit.Elts {
		pair, keyed := e.(*ast.KeyValueExpr)
		touched := e.Pos() <= r.at && r.at <= e.End()
		_, named := e.(*ast.Ident)
		switch {
		case keyed && touched && pair.Colon < r.at:
			return nil // in a value
		case keyed:
			if key, ok := pair.Key.(*ast.Ident); ok && !touched {
				given[key.Name] = true
			}
		case touched && named:
		default:
			return nil // values in order
		}
	}
	t := r.info.Types[lit].Type
	if t == nil {
		return nil
	}
	if p, ok := t.Underlying().(*types.Pointer); ok {
		t = p.Elem()
	}
	s, ok := t.Underlying().(*types.Struct)
	if !ok {
		return nil
	}
	for f := range s.Fields() {
		if (f.Exported() || f.Pkg() == r.pkg) && !given[f.Name()] {
			fields = append(fields, f)
		}
	}
	return fields
}

// members are the fields and methods of a value that a package may use, fields first.
func members(t types.Type, from *types.Package) (list []types.Object) {
	if t == nil {
		return nil
	}
	seen := map[string]bool{}
	add := func(o types.Object) {
		if !seen[o.Name()] && (o.Exported() || o.Pkg() == from) {
			if found, _, _ := types.LookupFieldOrMethod(t, true, o.Pkg(), o.Name()); found != nil { // no other of its name hides it
				seen[o.Name()] = true
				list = append(list, found)
			}
		}
	}
	entered := map[types.Type]bool{}
	level := []types.Type{t}
	for len(level) > 0 { // fields, those of embedded structs after the struct's own
		var next []types.Type
		for _, t := range level {
			t = types.Unalias(t)
			if p, ok := t.Underlying().(*types.Pointer); ok {
				t = types.Unalias(p.Elem())
			}
			s, ok := t.Underlying().(*types.Struct)
			if !ok || entered[t] {
				continue
			}
			entered[t] = true
			for f := range s.Fields() {
				add(f)
				if f.Embedded() {
					next = append(next, f.Type())
				}
			}
		}
		level = next
	}
	sets := []types.Type{t}
	if _, isPointer := t.Underlying().(*types.Pointer); !isPointer && !types.IsInterface(t) {
		sets = append(sets, types.NewPointer(t))
	}
	for _, t := range sets {
		for m := range types.NewMethodSet(t).Methods() {
			add(m.Obj())
		}
	}
	return list
}

// describe makes suggestions of objects, with their kinds in the words of JupyterLab's icons.
func (r *reading) describe(objects map[string]types.Object, order []string) (list []Suggestion) {
	for _, name := range order {
		s := Suggestion{Text: name}
		switch o := objects[name].(type) {
		case *types.Func:
			s.Type = "function"
			signature, _ := o.Type().(*types.Signature)
			if signature == nil {
				break
			}
			if signature.Recv() != nil {
				s.Type = "method"
			}
			s.Signature = strings.TrimPrefix(types.TypeString(signature, r.qualify), "func")
		case *types.Var:
			s.Type = "variable"
			if o.IsField() {
				s.Type = "field"
			}
		case *types.Const:
			s.Type = "constant"
		case *types.PkgName:
			s.Type = "module"
		case *types.TypeName:
			s.Type = "class"
			if types.IsInterface(o.Type()) {
				s.Type = "interface"
			}
		}
		list = append(list, s)
	}
	return list
}

func (r *reading) qualify(p *types.Package) string {
	if p == r.pkg {
		return ""
	}
	return p.Name()
}

// object is what the name at the cursor means, or the function in whose arguments it is.
func (r *reading) object() types.Object {
	for _, n := range slices.Backward(r.around) {
		switch n := n.(type) {
		case *ast.Ident:
			if o := r.info.Uses[n]; o != nil {
				return o
			}
			if o := r.info.Defs[n]; o != nil {
				return o
			}
		case *ast.SelectorExpr:
			if o := r.info.Uses[n.Sel]; o != nil && n.Sel.Pos() <= r.at {
				return o
			}
		case *ast.CallExpr:
			if n.Lparen >= r.at {
				break
			}
			switch f := ast.Unparen(n.Fun).(type) {
			case *ast.Ident:
				return r.info.Uses[f]
			case *ast.SelectorExpr:
				return r.info.Uses[f.Sel]
			}
		}
	}
	return nil
}

// description is what Shift-Tab shows.
type description struct {
	declaration string // Go
	comment     string // as in the source, without //
	more        string // Go
}

// markdown is the description for front-ends that can show it.
func (d description) markdown() string {
	if d.declaration == "" {
		return ""
	}
	var p comment.Parser
	parts := []string{"```go\n" + d.declaration + "\n```"}
	if d.comment != "" {
		out := comment.Printer{HeadingLevel: 4, HeadingID: func(*comment.Heading) string { return "" }}
		parts = append(parts, strings.TrimSpace(string(out.Markdown(p.Parse(d.comment)))))
	}
	if d.more != "" {
		parts = append(parts, "```go\n"+d.more+"\n```")
	}
	return strings.Join(parts, "\n\n")
}

func (d description) text() string {
	parts := slices.DeleteFunc([]string{d.declaration, d.comment, d.more}, func(s string) bool { return s == "" })
	return strings.Join(parts, "\n\n")
}

// inspect describes what the name at the cursor means: its declaration and its comment; more: with its source.
func (r *reading) inspect(more bool) description {
	o := r.object()
	if o == nil {
		return description{}
	}
	if p, ok := o.(*types.PkgName); ok {
		return r.universe.packageText(p.Imported(), more)
	}
	u := r.universe
	node, doc, file := u.declared(o, r.cell, r.earlier)
	d := description{declaration: types.ObjectString(o, r.qualify), comment: strings.TrimSpace(doc)}
	if node == nil {
		if o.Parent() == types.Universe {
			return description{} // of Go itself, of which gopls knows the documentation
		}
		return d
	}
	switch n := node.(type) {
	case *ast.FuncDecl:
		d.declaration = u.print(&ast.FuncDecl{Recv: n.Recv, Name: n.Name, Type: n.Type})
	case *ast.TypeSpec:
		d.declaration = "type " + u.source(n, file)
	}
	if more {
		switch n := node.(type) {
		case *ast.FuncDecl:
			d.more = u.source(n, file)
		case *ast.ValueSpec:
			d.more = u.source(n, file)
		}
	}
	if o.Pkg() != nil && o.Pkg() != r.pkg {
		d.comment = strings.TrimSpace(d.comment + "\n\nIn package " + o.Pkg().Path() + ".")
	}
	return d
}

// print writes a part of a file in gofmt's layout.
func (u *universe) print(n ast.Node) string {
	var b bytes.Buffer
	if printer.Fprint(&b, u.fset, n) != nil {
		return ""
	}
	return b.String()
}

// source is a declaration as it stands in its file, of which the function bodies are not kept.
func (u *universe) source(n ast.Node, file *ast.File) string {
	from, to := u.fset.Position(n.Pos()), u.fset.Position(n.End())
	if text, err := os.ReadFile(from.Filename); err == nil && to.Offset <= len(text) && u.files[from.Filename] == file {
		return string(text[from.Offset:to.Offset])
	}
	return u.print(n)
}

// describePackage describes a package by its import path.
func (u *universe) describePackage(path string, more bool) description {
	u.mu.Lock()
	defer u.mu.Unlock()
	p, err := u.Import(path)
	if err != nil {
		return description{}
	}
	return u.packageText(p, more)
}

// packageText describes a package: its comment; more: and what it exports.
func (u *universe) packageText(p *types.Package, more bool) description {
	d := description{declaration: "package " + p.Name() + ` // import "` + p.Path() + `"`}
	if documented := u.lib.parse(p.Path()); documented != nil {
		d.comment = strings.TrimSpace(documented.Doc)
	}
	if more {
		var names []string
		for _, name := range p.Scope().Names() {
			if token.IsExported(name) {
				names = append(names, types.ObjectString(p.Scope().Lookup(name), (*types.Package).Name))
			}
		}
		d.more = strings.Join(names, "\n")
	}
	return d
}
