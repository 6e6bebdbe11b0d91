package compose

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"

	"advlab/kernel/internal/cell"
)

// Declared names what a cell means to declare, also where it does not compile.
func Declared(c cell.Cell) (all []string) {
	p := takeApart(c)
	for _, x := range slices.Concat(p.declared, p.hoisted) {
		units := unitsOf(p.text, x)
		for _, u := range units {
			if u.kind == function || u.kind == typeKind || u.kind == value {
				for _, n := range u.names {
					all = append(all, n.text)
				}
			}
		}
		if len(units) == 0 && x.named && x.receiver == "" {
			all = append(all, x.name)
		}
	}
	return all
}

// Locals names the variables that a cell's statements declare for themselves.
func Locals(c cell.Cell) (all []string) {
	s := &Source{cell: c, parts: takeApart(c)}
	if s.parts.from < 0 {
		return nil
	}
	file, err := parser.ParseFile(token.NewFileSet(), "", "package p; func _() {"+s.bodyText()+"\n}", parser.SkipObjectResolution)
	if err != nil || len(file.Decls) == 0 {
		return nil
	}
	body, ok := file.Decls[0].(*ast.FuncDecl)
	if !ok || body.Body == nil {
		return nil
	}
	for _, statement := range body.Body.List {
		switch s := statement.(type) {
		case *ast.AssignStmt:
			if s.Tok == token.DEFINE {
				for _, e := range s.Lhs {
					if id, ok := e.(*ast.Ident); ok {
						all = append(all, id.Name)
					}
				}
			}
		case *ast.DeclStmt:
			if d, ok := s.Decl.(*ast.GenDecl); ok && d.Tok == token.VAR {
				for _, spec := range d.Specs {
					for _, id := range spec.(*ast.ValueSpec).Names {
						all = append(all, id.Name)
					}
				}
			}
		}
	}
	return all
}

// Path is the import path of a package by the name that the cell's file knows it by; empty: there is none.
func (p *Program) Path(x string) string {
	need := p.imported
	if need == nil {
		return ""
	}
	for _, u := range need.units {
		if u.importName() == x {
			return u.path
		}
	}
	for _, i := range need.added {
		if i.Name == x || i.Name == "" && AssumedName(i.Path) == x {
			return i.Path
		}
	}
	return ""
}
