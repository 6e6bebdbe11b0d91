package assist

import (
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"go/types"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
)

// universe knows the types of packages, from their source. It reads what their exported names need, no more: function
// bodies and what only those import are left out, so that advlib and GoMLX take some tenths of a second, and 30 MB,
// where gopls needs seconds.
type universe struct {
	lib *library

	mu       sync.Mutex // of all below; it is held by whoever reads types, which are completed as they are read
	fset     *token.FileSet
	packages map[string]*types.Package // by import path; nil: it is being read, or cannot be
	files    map[string]*ast.File      // by the file's name, without function bodies
	context  build.Context
	log      func(format string, a ...any)
}

func newUniverse(lib *library, log func(string, ...any)) *universe {
	u := &universe{lib: lib, fset: token.NewFileSet(), packages: map[string]*types.Package{}, files: map[string]*ast.File{},
		context: build.Default, log: log}
	u.context.CgoEnabled = true
	return u
}

var errUnknownPackage = errors.New("no such package, or it imports itself")

// Import is for types.Config.
func (u *universe) Import(importPath string) (*types.Package, error) {
	if importPath == "unsafe" {
		return types.Unsafe, nil
	}
	if p, ok := u.packages[importPath]; ok {
		if p == nil {
			return nil, fmt.Errorf("%w: %s", errUnknownPackage, importPath)
		}
		return p, nil
	}
	u.packages[importPath] = nil
	dir := u.lib.dir(importPath)
	if dir == "" {
		return nil, fmt.Errorf("%w: %s", errUnknownPackage, importPath)
	}
	info, err := u.context.ImportDir(dir, 0)
	if err != nil {
		return nil, err
	}
	var files []*ast.File
	for _, name := range append(info.GoFiles, info.CgoFiles...) {
		name = filepath.Join(dir, name)
		if file, _ := parser.ParseFile(u.fset, name, nil, parser.ParseComments|parser.SkipObjectResolution); file != nil {
			prune(file)
			u.files[name] = file
			files = append(files, file)
		}
	}
	// What it says of errors is of no use here: a completion of most is better than none.
	lenient := types.Config{Importer: u, FakeImportC: true, IgnoreFuncBodies: true, Error: func(error) {}}
	p, _ := lenient.Check(importPath, u.fset, files, nil)
	u.packages[importPath] = p
	return p, nil
}

// versioned are the last elements of import paths that may not be the package's name.
var versioned = regexp.MustCompile(`^v\d+$|[^\pL\pN_]`)

// prune takes out of a file what its exported names do not need: function bodies, and imports that nothing else uses.
// Those import unsafe instead, so that places in the file stay as they are.
func prune(file *ast.File) {
	used := map[string]bool{}
	for _, decl := range file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Body != nil {
			f.Body.List = nil
		}
		ast.Inspect(decl, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok {
					used[x.Name] = true
				}
			}
			return true
		})
	}
	for _, spec := range file.Imports {
		importPath, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		name := path.Base(importPath)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		if used[name] || name == "." || spec.Name == nil && versioned.MatchString(name) {
			continue
		}
		spec.Name = ast.NewIdent("_")
		spec.Path = &ast.BasicLit{ValuePos: spec.Path.ValuePos, Kind: token.STRING, Value: `"unsafe"`}
	}
}

// declared finds the declaration whose name an object is, its comment, and its file, which may be one of the
// notebook's own.
func (u *universe) declared(o types.Object, own ...*ast.File) (decl ast.Node, doc string, file *ast.File) {
	pos := o.Pos()
	if !pos.IsValid() {
		return nil, "", nil
	}
	file = u.files[u.fset.Position(pos).Filename]
	for _, f := range own {
		if f.FileStart <= pos && pos <= f.FileEnd {
			file = f
		}
	}
	if file == nil {
		return nil, "", nil
	}
	var general *ast.GenDecl
	take := func(n ast.Node, names []*ast.Ident, comments ...*ast.CommentGroup) {
		if !slices.ContainsFunc(names, func(i *ast.Ident) bool { return i.Pos() == pos }) {
			return
		}
		decl = n
		for _, g := range comments {
			if doc = g.Text(); doc != "" {
				return
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if n == nil || pos < n.Pos() || pos >= n.End() {
			return false
		}
		switch n := n.(type) {
		case *ast.FuncDecl:
			take(n, []*ast.Ident{n.Name}, n.Doc)
		case *ast.GenDecl:
			general = n
		case *ast.TypeSpec:
			take(n, []*ast.Ident{n.Name}, n.Doc, general.Doc, n.Comment)
		case *ast.ValueSpec:
			take(n, n.Names, n.Doc, n.Comment, general.Doc)
		case *ast.Field:
			take(n, n.Names, n.Doc, n.Comment)
		}
		return true
	})
	return decl, doc, file
}
