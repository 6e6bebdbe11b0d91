package compose

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// resultMark stands, until the notebook's key is known, for the file that gets the value of the cell's last expression,
// in the form that package value describes: it is beside the program, and its name has the end of the nonce.
const resultMark = "result__" + keyMark

var (
	//go:embed value/value.go
	valueText string
	//go:embed value/draw.go
	drawText string
)

// valueFile and drawFile are the files of a program that has a result.
const (
	valueFile = "value.go"
	drawFile  = "draw.go"
)

// asMain is the text of a package's file as one of package main.
func asMain(text string) string {
	_, rest, _ := strings.Cut("\n"+text, "\npackage ")
	_, rest, _ = strings.Cut(rest, "\n")
	return "package main\n" + rest
}

// last is the expression with which a cell's statements end.
type last struct {
	expr       ast.Expr
	start, end int  // in the cell's text
	semicolon  bool // behind it: its value is not to be shown
}

// lastOf finds it; nil: there is none.
func lastOf(s *Source) *last {
	if s.parts.from < 0 {
		return nil
	}
	const open = "package p; func _() {"
	body := s.bodyText()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "", open+body+"\n}", 0)
	if err != nil || len(file.Decls) != 1 {
		return nil
	}
	f, ok := file.Decls[0].(*ast.FuncDecl)
	if !ok || f.Body == nil || len(f.Body.List) == 0 {
		return nil
	}
	statement, ok := f.Body.List[len(f.Body.List)-1].(*ast.ExprStmt)
	if !ok {
		return nil
	}
	at := func(pos token.Pos) int { return fset.Position(pos).Offset - len(open) }
	rest := body[at(statement.End()):]
	return &last{statement.X, at(statement.Pos()) + s.parts.from, at(statement.End()) + s.parts.from,
		strings.HasPrefix(strings.TrimLeft(rest, " \t"), ";")}
}

// What becomes of a cell's last expression.
const (
	asItIs  = ""     // it is a statement, as Go sees it
	dropped = "_ = " // its value is evaluated, and not shown
	shown   = `value__(` + resultMark + `, 0)(`
	called  = `value__(` + resultMark + `, call__)(`
	counted = `value__(` + resultMark + `, call__|counts__)(`
)

// statementOf says what becomes of the last expression. Whether a call has a value is known of the notebook's functions
// and of packages' from their text; any other call is taken to have one, and whoever builds the program learns if it
// has none: see Valueless.
func (k *composer) statementOf(ctx context.Context, f Finder, p *Program, e *last) string {
	call, ok := ast.Unparen(e.expr).(*ast.CallExpr)
	switch {
	case !ok && e.semicolon:
		if u, unary := ast.Unparen(e.expr).(*ast.UnaryExpr); unary && u.Op == token.ARROW {
			return asItIs
		}
		return dropped
	case !ok:
		return shown
	case e.semicolon:
		return k.quiet(call)
	}
	fun := ast.Unparen(call.Fun)
	switch x := fun.(type) { // of a function with type parameters
	case *ast.IndexExpr:
		fun = x.X
	case *ast.IndexListExpr:
		fun = x.X
	}
	switch fun := fun.(type) {
	case *ast.FuncLit:
		return ifAny(fun.Type)
	case *ast.Ident:
		return k.named(fun)
	case *ast.SelectorExpr:
		name := fun.Sel.Name
		if slices.Contains(printers, name) {
			return asItIs
		}
		if x, ok := fun.X.(*ast.Ident); ok && x.Obj == nil && f != nil {
			if u := k.owners[x.Name]; u == nil || u.kind == function {
				if path := p.Path(x.Name); path != "" {
					p.callee = path + "." + name
					if t := f.Function(ctx, path, name); t != nil && t.Results.NumFields() == 0 || k.callees[p.callee] {
						return asItIs
					}
				}
			}
		}
		if slices.Contains(counters, name) {
			return counted
		}
	}
	return called
}

// quiet is statementOf for a call with a semicolon behind it: those that Go does not take for statements, conversions
// and most builtin functions, are evaluated all the same.
func (k *composer) quiet(call *ast.CallExpr) string {
	fun, ok := ast.Unparen(call.Fun).(*ast.Ident)
	if !ok || fun.Obj != nil || k.owners[fun.Name] != nil {
		return asItIs
	}
	switch types.Universe.Lookup(fun.Name).(type) {
	case *types.TypeName:
		return dropped
	case *types.Builtin:
		if !slices.Contains(valueless, fun.Name) && fun.Name != "copy" && fun.Name != "recover" {
			return dropped
		}
	}
	return asItIs
}

// named is statementOf for a call of a function by its name alone.
func (k *composer) named(fun *ast.Ident) string {
	if fun.Obj != nil {
		assigned, ok := fun.Obj.Decl.(*ast.AssignStmt)
		if !ok || len(assigned.Lhs) != len(assigned.Rhs) {
			return called
		}
		for i, name := range assigned.Lhs {
			if id, ok := name.(*ast.Ident); ok && id.Name == fun.Name {
				if f, ok := assigned.Rhs[i].(*ast.FuncLit); ok {
					return ifAny(f.Type)
				}
			}
		}
		return called
	}
	if u := k.owners[fun.Name]; u != nil {
		if u.kind == function {
			return ifAny(u.function)
		}
		return called
	}
	if b, ok := types.Universe.Lookup(fun.Name).(*types.Builtin); ok && slices.Contains(valueless, b.Name()) {
		return asItIs
	}
	return called
}

func ifAny(f *ast.FuncType) string {
	if f != nil && f.Results.NumFields() == 0 {
		return asItIs
	}
	return called
}

var (
	// valueless are the builtin functions without a value.
	valueless = []string{"clear", "close", "delete", "panic", "print", "println"}
	// printers print; how many bytes, nobody wants to see. A cell that ends with one has no result.
	printers = []string{"Print", "Printf", "Println", "Fprint", "Fprintf", "Fprintln"}
	// counters say how much they have read or written. An error of theirs fails the cell.
	counters = []string{"Copy", "CopyBuffer", "CopyN", "Fscan", "Fscanf", "Fscanln", "ReadFrom", "Scan", "Scanf", "Scanln", "Sscan", "Sscanf",
		"Sscanln", "Write", "WriteByte", "WriteRune", "WriteString", "WriteTo"}
)

// showResult makes a program show the cell's last expression.
func (n *Notebook) showResult(ctx context.Context, f Finder, k *composer, p *Program, units []*unit) {
	e := lastOf(p.own)
	if e == nil || p.own.cell.Test {
		return
	}
	statement := strings.Replace(k.statementOf(ctx, f, p, e), keyMark, k.key, 1)
	if statement == asItIs {
		return
	}
	name := p.own.fileOf(false)
	plain := p.Files[name]
	text := k.render(name, p.own, units, true, &insertion{e.start, e.end, statement})
	if statement == dropped {
		p.Files[name] = text
		return
	}
	p.resultKey = sha256.Sum256([]byte(text))
	if n.memory.valueless[p.resultKey] {
		return
	}
	p.plain = plain
	p.resultLine, p.resultColumn = place(p.own.parts.text, e.start)
	p.Files[name], p.Files[valueFile] = text, asMain(valueText)
	if p.linksImages() {
		p.Files[drawFile] = asMain(drawText)
	}
}

// linksImages tells whether a program's packages may have images.
func (p *Program) linksImages() bool {
	return p.imports(func(path string) bool { return !std(path) || path == "image" || strings.HasPrefix(path, "image/") })
}

// imports tells whether a program imports a package of a kind.
func (p *Program) imports(is func(path string) bool) bool {
	for _, text := range p.Files {
		file, err := parser.ParseFile(token.NewFileSet(), "", text, parser.ImportsOnly)
		if err != nil {
			continue
		}
		for _, i := range file.Imports {
			if is(strings.Trim(i.Path.Value, "`\"")) {
				return true
			}
		}
	}
	return false
}

// Shows reports whether the program writes the value of its last expression into a file.
func (p *Program) Shows() bool { return p.plain != "" }

// ResultPlace is the line and column, from 1, of the cell's text where its last expression begins.
func (p *Program) ResultPlace() (line, column int) { return p.resultLine, p.resultColumn }

// Valueless remembers that the last expression of a program has no value, as its compiler has found out. Composed
// again, the program is one without a result.
func (n *Notebook) Valueless(p *Program) {
	if n.memory.valueless == nil {
		n.memory.valueless, n.memory.callees = map[[sha256.Size]byte]bool{}, map[string]bool{}
	}
	n.memory.valueless[p.resultKey] = true
	if p.callee != "" {
		n.memory.callees[p.callee] = true
	}
}

// insertion puts a call around a part of a cell's statements.
type insertion struct {
	start, end int
	call       string
}

// into returns the statements, which begin at from in the cell's text, with the call. Lines and columns of what is in
// it stay.
func (i *insertion) into(body string, from int, at func(int) string) string {
	if i == nil {
		return body
	}
	start, end := i.start-from, i.end-from
	shut := ""
	if strings.HasSuffix(i.call, "(") {
		shut = ")"
	}
	return fmt.Sprintf("%s%s/*line %s*/%s%s%s", body[:start], i.call, at(i.start), body[start:end], shut, body[end:])
}
