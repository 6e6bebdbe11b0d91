package compose

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"slices"
)

// A course's notebook has cells that an answer cannot change: nbgrader puts their text back before it grades, and says
// so (Origin.Locked). They are graded by what they call, so what they mean by a name is not for an answer to say. In
// the program of a locked cell
//
//   - a name that a locked cell declares is that cell's, whatever cells that are not locked declare later;
//   - in the text of locked cells, Go's predeclared names are Go's, a package's name is the package, and no other
//     cell's import gives a package another name;
//   - what hides those, and is needed by the answer itself, is refused.
//
// A declaration that a locked cell uses, and no locked cell has, is an answer's: that is what is graded.

// lockedLast puts locked cells behind all others; the last has the last word.
func lockedLast(all []*Source) []*Source {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b *Source) int {
		switch {
		case a.Locked == b.Locked:
			return 0
		case b.Locked:
			return -1
		}
		return 1
	})
	return all
}

// trusts tells whether an import holds in a cell. In a locked one, another's holds that calls a package by its name.
func (s *Source) trusts(u *unit) bool {
	return !s.Locked || u.cell.Locked || u.kind == importKind && u.importName() == AssumedName(u.path)
}

// predeclared tells Go's own names.
func predeclared(name string) bool { return types.Universe.Lookup(name) != nil }

// isImport tells whether a locked cell that writes x.Name means a package.
func (n *Notebook) isImport(ctx context.Context, f Finder, s *Source, o owners, x string, names map[string]bool) bool {
	if n.importsBefore(s, o).named(x, assumedNameOf) != nil {
		return true
	}
	list := slices.Sorted(maps.Keys(names))
	if _, known := n.memory.finds[findKey(x, list)]; known || f == nil {
		return known
	}
	found, err := f.Find(ctx, map[string][]string{x: list})
	return err == nil && found[x].Path != ""
}

// overruled says which declarations of locked cells count although other cells have declared the same since.
func (n *Notebook) overruled(order []*unit) (notes []string) {
	for _, u := range order {
		if !u.cell.Locked {
			continue
		}
		for _, s := range n.sources[slices.Index(n.sources, u.cell)+1:] {
			for _, other := range s.units {
				if !s.Locked && slices.ContainsFunc(other.keys(), func(key string) bool { return slices.Contains(u.keys(), key) }) {
					notes = append(notes, fmt.Sprintf("%s is what cell %d declares, which is locked, and not what cell %d declares",
						u.label(), u.cell.Number, s.Number))
				}
			}
		}
	}
	return notes
}

// Grades reports whether a program that comes to its end has called show.Grade: as one of its statements, with no way
// around it.
func (p *Program) Grades() bool {
	if p.own.parts.from < 0 {
		return false
	}
	file, err := parser.ParseFile(token.NewFileSet(), "", "package p; func _() {"+p.own.bodyText()+"\n}", parser.SkipObjectResolution)
	if err != nil || len(file.Decls) != 1 || p.Path("show") != "advlab/advlib/show" {
		return false
	}
	body := file.Decls[0].(*ast.FuncDecl).Body
	leaves := false
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.ReturnStmt:
			leaves = true
		case *ast.BranchStmt:
			leaves = leaves || n.Tok == token.GOTO
		}
		return true
	})
	return !leaves && slices.ContainsFunc(body.List, func(s ast.Stmt) bool {
		e, ok := s.(*ast.ExprStmt)
		if !ok {
			return false
		}
		call, ok := e.X.(*ast.CallExpr)
		if !ok {
			return false
		}
		f, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || f.Sel.Name != "Grade" {
			return false
		}
		x, ok := f.X.(*ast.Ident)
		return ok && x.Name == "show"
	})
}
