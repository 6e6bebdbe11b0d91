package assist

import (
	"go/ast"
	"go/build"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// library knows the packages of the standard library and of Config.Modules, from their source: it answers in
// milliseconds where gopls cannot be asked.
type library struct {
	once   sync.Once
	pinned func() []Module // asked for where nothing else has a package, since Go has to be asked first
	goRoot string
	paths  map[string]string // import path by a package's name, the shortest
	dirs   map[string]string // by import path

	mu     sync.Mutex
	parsed map[string]*doc.Package // by import path; nil: cannot be read
}

func (l *library) find(c Config) {
	l.once.Do(func() {
		l.goRoot = c.GoRoot
		l.pinned = func() []Module { return nil }
		if c.Pinned != nil {
			l.pinned = sync.OnceValue(c.Pinned)
		}
		l.paths, l.dirs = map[string]string{}, map[string]string{}
		l.parsed = map[string]*doc.Package{}
		if c.GoRoot != "" {
			l.walk("", filepath.Join(c.GoRoot, "src"))
		}
		for _, m := range c.Modules {
			l.walk(m.Path, m.Dir)
		}
	})
}

// dir is where a package's source lies; empty: it is not known.
func (l *library) dir(importPath string) string {
	if dir := l.dirs[importPath]; dir != "" {
		return dir
	}
	best := Module{}
	for _, m := range l.pinned() {
		if len(m.Path) > len(best.Path) && (importPath == m.Path || strings.HasPrefix(importPath, m.Path+"/")) {
			best = m
		}
	}
	if best.Path != "" {
		return filepath.Join(best.Dir, filepath.FromSlash(strings.TrimPrefix(importPath, best.Path)))
	}
	if l.goRoot != "" {
		return filepath.Join(l.goRoot, "src", "vendor", filepath.FromSlash(importPath)) // which the standard library imports
	}
	return ""
}

// importPaths lists the packages whose path begins with a text: of the standard library and Config.Modules, and, where
// the text leads to them, of pinned modules.
func (l *library) importPaths(text string) (list []string) {
	for at, dir := range l.dirs {
		if strings.HasPrefix(at, text) && hasGo(dir) {
			list = append(list, at)
		}
	}
	slices.Sort(list)
	var others []string
	for _, m := range l.pinned() {
		if !strings.HasPrefix(m.Path, text) && !strings.HasPrefix(text, m.Path) || text == "" {
			continue
		}
		var one library
		one.dirs, one.paths = map[string]string{}, map[string]string{}
		one.walk(m.Path, m.Dir)
		for at, dir := range one.dirs {
			if strings.HasPrefix(at, text) && hasGo(dir) {
				others = append(others, at)
			}
		}
	}
	slices.Sort(others)
	list = append(list, others...)
	return list[:min(len(list), most)]
}

// hasGo tells whether a folder has a package, not only its tests.
func hasGo(dir string) bool {
	files, _ := filepath.Glob(filepath.Join(dir, "*.go"))
	return slices.ContainsFunc(files, func(name string) bool { return !strings.HasSuffix(name, "_test.go") })
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
func (l *library) parse(importPath string) *doc.Package {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p, ok := l.parsed[importPath]; ok {
		return p
	}
	l.parsed[importPath] = nil
	dir := l.dir(importPath)
	if dir == "" {
		return nil
	}
	context := build.Default
	context.CgoEnabled = true
	info, err := context.ImportDir(dir, 0)
	if err != nil {
		return nil
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
		return nil
	}
	l.parsed[importPath] = p
	return p
}

// exported lists what a package exports, sorted.
func exported(p *doc.Package) (names []string) {
	values := func(list []*doc.Value) {
		for _, v := range list {
			names = append(names, v.Names...)
		}
	}
	functions := func(list []*doc.Func) {
		for _, f := range list {
			names = append(names, f.Name)
		}
	}
	values(p.Consts)
	values(p.Vars)
	functions(p.Funcs)
	for _, t := range p.Types {
		names = append(names, t.Name)
		values(t.Consts)
		values(t.Vars)
		functions(t.Funcs)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !token.IsExported(name) })
	slices.Sort(names)
	return slices.Compact(names)
}

var (
	before = regexp.MustCompile(`(?:[\p{L}_][\p{L}\p{N}_]*)?$`)
	behind = regexp.MustCompile(`^[\p{L}\p{N}_]*`)
	word   = regexp.MustCompile(`[\p{L}_][\p{L}\p{N}_]+`)
)

var words = []string{"append", "break", "cap", "case", "clear", "close", "complex", "const", "continue", "copy", "default",
	"defer", "delete", "else", "error", "fallthrough", "false", "float32", "float64", "for", "func", "goto", "import", "int", "int64",
	"interface", "len", "make", "map", "max", "min", "new", "nil", "package", "panic", "print", "println", "range", "recover", "return",
	"rune", "select", "string", "struct", "switch", "true", "type", "uint64", "uint8", "var"}

// nameBefore is the name that ends at the cursor, and where it begins; selector says that it stands behind a dot.
func nameBefore(code string, cursor int) (name string, start int, selector bool) {
	left := string([]rune(code)[:cursor])
	name = before.FindString(left)
	left = strings.TrimSuffix(left, name)
	return name, cursor - len([]rune(name)), strings.HasSuffix(strings.TrimRight(left, " \t\n"), ".") && !strings.HasSuffix(left, "..")
}

// packageBefore is the name before the dot that stands before start; empty: it is a part of something longer.
func packageBefore(q Question, start int) string {
	left := strings.TrimSuffix(string([]rune(q.Code)[:start]), ".")
	name := before.FindString(left)
	if strings.HasSuffix(strings.TrimSuffix(left, name), ".") {
		return ""
	}
	return name
}

// names lists Go's words, what earlier cells declare, packages, and the words of the cell, that begin with a text.
func (a *Assistant) names(text string, q Question) (matches []string) {
	set := map[string]bool{}
	for _, name := range word.FindAllString(q.Code, -1) {
		set[name] = strings.HasPrefix(name, text) && name != text // which is what is being written
	}
	for _, name := range slices.Concat(q.Earlier.Names(), words, slices.Collect(maps.Keys(a.library.paths))) {
		set[name] = strings.HasPrefix(name, text)
	}
	for name, fits := range set {
		if fits {
			matches = append(matches, name)
		}
	}
	slices.Sort(matches)
	return matches
}

// nameAt returns the cursor if it touches a name, else the place of the name of the function whose arguments it is in.
func nameAt(code string, cursor int) (at int, ok bool) {
	runes := []rune(code)
	left, right := string(runes[:cursor]), string(runes[cursor:])
	if before.FindString(left+behind.FindString(right)) != "" {
		return cursor, true
	}
	depth := 0
	for i := len(left) - 1; i >= 0; i-- {
		if left[i] == ')' {
			depth++
		} else if left[i] == '(' {
			if depth--; depth < 0 {
				name := before.FindString(left[:i])
				return len([]rune(left[:i])) - 1, name != ""
			}
		}
	}
	return 0, false
}
