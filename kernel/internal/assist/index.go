package assist

import (
	"bytes"
	"go/ast"
	"go/build"
	"go/doc"
	"go/parser"
	"go/printer"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"advlab/kernel/internal/cell"
)

// library knows the packages of the standard library and of Config.Modules, from their source: it answers in
// milliseconds where gopls cannot be asked.
type library struct {
	once  sync.Once
	paths map[string]string // import path by a package's name, the shortest
	dirs  map[string]string // by import path

	mu     sync.Mutex
	parsed map[string]*doc.Package // by import path; nil: cannot be read
	sets   map[string]*token.FileSet
}

func (l *library) find(goRoot string, modules []Module) {
	l.once.Do(func() {
		l.paths, l.dirs = map[string]string{}, map[string]string{}
		l.parsed, l.sets = map[string]*doc.Package{}, map[string]*token.FileSet{}
		if goRoot != "" {
			l.walk("", filepath.Join(goRoot, "src"))
		}
		for _, m := range modules {
			l.walk(m.Path, m.Dir)
		}
	})
}

func (l *library) walk(prefix, root string) {
	_ = filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return nil // what cannot be read is not known
		}
		name := entry.Name()
		if file != root && (name == "internal" || name == "vendor" || name == "testdata" || name == "cmd" || strings.HasPrefix(name, ".") ||
			strings.HasPrefix(name, "_")) {
			return filepath.SkipDir
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return nil // cannot be, below root
		}
		at := path.Join(prefix, filepath.ToSlash(rel))
		if at == "." || at == "" {
			return nil
		}
		l.dirs[at] = file
		if old, ok := l.paths[name]; !ok || strings.Count(at, "/") < strings.Count(old, "/") {
			l.paths[name] = at
		}
		return nil
	})
}

// parse reads a package's documentation.
func (l *library) parse(importPath string) (*doc.Package, *token.FileSet) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p, ok := l.parsed[importPath]; ok {
		return p, l.sets[importPath]
	}
	l.parsed[importPath] = nil
	dir, ok := l.dirs[importPath]
	if !ok {
		return nil, nil
	}
	context := build.Default
	context.CgoEnabled = true
	info, err := context.ImportDir(dir, 0)
	if err != nil {
		return nil, nil
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range append(info.GoFiles, info.CgoFiles...) {
		if file, err := parser.ParseFile(fset, filepath.Join(dir, name), nil, parser.ParseComments|parser.SkipObjectResolution); err == nil {
			files = append(files, file)
		}
	}
	p, err := doc.NewFromFiles(fset, files, importPath)
	if err != nil {
		return nil, nil
	}
	l.parsed[importPath], l.sets[importPath] = p, fset
	return p, fset
}

// symbols are the exported names of a package with their declarations.
func symbols(p *doc.Package) map[string]symbol {
	all := map[string]symbol{}
	values := func(list []*doc.Value) {
		for _, v := range list {
			for _, name := range v.Names {
				all[name] = symbol{v.Decl, v.Doc}
			}
		}
	}
	functions := func(list []*doc.Func) {
		for _, f := range list {
			all[f.Name] = symbol{f.Decl, f.Doc}
		}
	}
	values(p.Consts)
	values(p.Vars)
	functions(p.Funcs)
	for _, t := range p.Types {
		all[t.Name] = symbol{t.Decl, t.Doc}
		values(t.Consts)
		values(t.Vars)
		functions(t.Funcs)
	}
	maps.DeleteFunc(all, func(name string, _ symbol) bool { return !token.IsExported(name) })
	return all
}

type symbol struct {
	decl ast.Decl
	doc  string
}

var (
	before      = regexp.MustCompile(`(?:([\p{L}_][\p{L}\p{N}_]*)\.)?([\p{L}_][\p{L}\p{N}_]*)?$`)
	behind      = regexp.MustCompile(`^[\p{L}\p{N}_]*`)
	word        = regexp.MustCompile(`[\p{L}_][\p{L}\p{N}_]+`)
	commandWord = regexp.MustCompile(`^%\w*$`)
)

var words = []string{"append", "break", "cap", "case", "clear", "close", "complex", "const", "continue", "copy", "default",
	"defer", "delete", "else", "error", "fallthrough", "false", "float32", "float64", "for", "func", "goto", "import", "int", "int64",
	"interface", "len", "make", "map", "max", "min", "new", "nil", "package", "panic", "print", "println", "range", "recover", "return",
	"rune", "select", "string", "struct", "switch", "true", "type", "uint64", "uint8", "var"}

// index completes from what is known here: names of earlier cells and of this one, Go's words, packages and what they
// export. start is where the matches begin, in characters; selector says that they stand behind a dot.
func (a *Assistant) index(code string, cursor int, earlier *cell.Declarations) (matches []string, start int, selector bool) {
	runes := []rune(code)
	left := string(runes[:cursor])
	line := left[strings.LastIndexByte(left, '\n')+1:]
	if commandWord.MatchString(line) || strings.HasPrefix(line, "%%") && !strings.Contains(line, " ") {
		for _, command := range a.config.Commands {
			if strings.HasPrefix(command, line) {
				matches = append(matches, command)
			}
		}
		return matches, cursor - len([]rune(line)), false
	}
	matches = []string{}
	m := before.FindStringSubmatch(line)
	start = cursor - len([]rune(m[2]))
	set := map[string]bool{}
	if front := strings.TrimSuffix(line, m[0]); strings.HasSuffix(front, ".") {
		return matches, start, true // of what is not a name, or is a selector itself
	}
	if m[1] != "" {
		selector = true
		if p, _ := a.packageNamed(m[1], code, earlier); p != nil {
			for name := range symbols(p) {
				set[name] = true
			}
		}
	} else {
		if m[2] == "" {
			return matches, start, false
		}
		for _, name := range earlier.Names() {
			set[name] = true
		}
		for _, name := range words {
			set[name] = true
		}
		for _, name := range word.FindAllString(code, -1) {
			set[name] = true
		}
		delete(set, m[2]) // what is being typed
		a.library.find(a.config.GoRoot, a.config.Modules)
		for name := range a.library.paths {
			set[name] = true
		}
	}
	for name := range set {
		if strings.HasPrefix(name, m[2]) {
			matches = append(matches, name)
		}
	}
	slices.Sort(matches)
	return matches, start, selector
}

// packageNamed finds the package that a name stands for in a cell: by the cell's imports, earlier ones, or, as
// goimports would add it, by name.
func (a *Assistant) packageNamed(name, code string, earlier *cell.Declarations) (p *doc.Package, fset *token.FileSet) {
	a.library.find(a.config.GoRoot, a.config.Modules)
	var d cell.Declarations
	d.Add(cell.Parse(code))
	imports := append(slices.Clone(d.List), earlier.List...)
	for _, decl := range imports {
		for _, n := range decl.Names {
			rest, ok := strings.CutPrefix(n, "import ")
			if !ok {
				continue
			}
			alias, quoted, _ := strings.Cut(rest, " ")
			importPath := strings.Trim(quoted, "\"`")
			if alias == name || alias == "" && path.Base(importPath) == name {
				return a.library.parse(importPath)
			}
		}
	}
	return a.library.parse(a.library.paths[name])
}

// nameAt returns the cursor if it touches a name, else the place of the name of the function whose arguments it is in.
func nameAt(code string, cursor int) (at int, ok bool) {
	runes := []rune(code)
	left, right := string(runes[:cursor]), string(runes[cursor:])
	if before.FindStringSubmatch(left + behind.FindString(right))[2] != "" {
		return cursor, true
	}
	depth := 0
	for i := len(left) - 1; i >= 0; i-- {
		if left[i] == ')' {
			depth++
		} else if left[i] == '(' {
			if depth--; depth < 0 {
				name := before.FindStringSubmatch(left[:i])[2]
				return len([]rune(left[:i])) - 1, name != ""
			}
		}
	}
	return 0, false
}

// document describes the name at the cursor, or the function whose arguments the cursor is in.
func (a *Assistant) document(code string, cursor int, earlier *cell.Declarations) string {
	at, ok := nameAt(code, cursor)
	if !ok {
		return ""
	}
	runes := []rune(code)
	m := before.FindStringSubmatch(string(runes[:at]) + behind.FindString(string(runes[at:])))
	if m[1] == "" {
		return declaration(earlier, m[2])
	}
	p, fset := a.packageNamed(m[1], code, earlier)
	if p == nil {
		return ""
	}
	s, ok := symbols(p)[m[2]]
	if !ok {
		return ""
	}
	var b bytes.Buffer
	if err := printer.Fprint(&b, fset, s.decl); err != nil {
		return ""
	}
	text := b.String()
	if s.doc != "" && !strings.Contains(text, strings.TrimSpace(strings.SplitN(s.doc, "\n", 2)[0])) {
		text += "\n\n" + s.doc
	}
	return strings.TrimSpace(text) + "\n\nimport " + `"` + p.ImportPath + `"`
}

// declaration returns the text of what an earlier cell has declared by a name.
func declaration(earlier *cell.Declarations, name string) string {
	for _, d := range earlier.List {
		if name != "" && slices.Contains(d.Names, name) {
			return d.Text
		}
	}
	return ""
}
