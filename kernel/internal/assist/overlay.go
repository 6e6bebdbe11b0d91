package assist

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"maps"
	"math"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"advlab/kernel/internal/cell"
)

// overlay is the notebook as Go, with the place of the cursor: two files of one package, since a cell may begin with
// imports.
type overlay struct {
	cell, earlier string
	line, column  int // in cell, as LSP counts: from 0, in UTF-16
}

const (
	cellFile    = "main.go"
	earlierFile = "earlier.go"
)

// placeholder stands behind a dot that nothing follows, so that what is being written is Go.
const placeholder = "x__"

var isName = regexp.MustCompile(`^[\p{L}_][\p{L}\p{N}_]*$`)

// makeOverlay writes the notebook as Go. cursor counts characters of code. paths are import paths by a package's name,
// for packages that nobody imports: goimports will.
func makeOverlay(code string, cursor int, earlier *cell.Declarations, paths map[string]string) (o overlay, ok bool) {
	runes := []rune(code)
	left, right := string(runes[:cursor]), string(runes[cursor:])
	o.line = strings.Count(left, "\n")
	column := len(left) - strings.LastIndexByte(left, '\n') - 1
	if strings.HasSuffix(left, ".") && behind.FindString(right) == "" {
		right = placeholder + right
	}
	code = left + right
	if c := cell.Parse(code); c.Special || c.Command[o.line] {
		return o, false
	}

	// The cell may be declarations, statements, or both. The reading counts whose first syntax error comes last.
	var source string
	best := -1
	for _, c := range []cell.Cell{cell.Parse(code), cell.Parse(cell.WithMain(code))} {
		if text, _ := c.GoSource(); firstFault(text) > best {
			best, source = firstFault(text), text
		}
	}
	if text, _ := cell.Parse(code).Statements(); cell.Parse(code).MainLine < 0 && firstFault(text) > best {
		source = text
	}
	source = strings.TrimPrefix(source, cell.SourceOpen)

	var own cell.Declarations
	own.AddSource(cell.SourceOpen + source)
	var names []string
	for _, d := range own.List {
		names = append(names, d.Names...)
	}
	rest := &cell.Declarations{List: slices.Clone(earlier.List)}
	rest.Remove(func(name string) bool {
		return slices.Contains(names, name) && name != "_" && !strings.HasPrefix(name, "import ")
	})

	all := append(slices.Clone(names), rest.Names()...)
	first := "package main; " + importsFor(source, all, paths, imported(earlier))
	lines := strings.Split(first+source, "\n")
	if o.line >= len(lines) {
		return o, false
	}
	// What was put in front of the cursor on its line.
	line := lines[o.line]
	if o.line == 0 {
		column += len(first)
	}
	for _, open := range []string{cell.MainOpen, "func _() { "} {
		if at := strings.Index(line, open); at >= 0 && at <= column && !strings.Contains(left, open) {
			column += len(open)
		}
	}
	if column > len(line) {
		return o, false
	}
	o.column = len(utf16.Encode([]rune(line[:column])))
	o.cell = strings.Join(lines, "\n") + "\n"
	text := rest.Source()
	o.earlier = "package main; " + importsFor(text, all, paths, nil) + "\n" + text
	return o, true
}

// firstFault is the offset of the first syntax error.
func firstFault(source string) int {
	_, err := parser.ParseFile(token.NewFileSet(), "", source, parser.SkipObjectResolution)
	var list scanner.ErrorList
	if errors.As(err, &list) && len(list) > 0 {
		return list[0].Pos.Offset
	}
	return math.MaxInt
}

// imported are the imports of earlier cells, which hold in later ones, by the name that a cell uses.
func imported(earlier *cell.Declarations) map[string]string {
	found := map[string]string{}
	for _, d := range earlier.List {
		for _, name := range d.Names {
			rest, ok := strings.CutPrefix(name, "import ")
			alias, quoted, _ := strings.Cut(rest, " ")
			importPath, err := strconv.Unquote(quoted)
			switch {
			case !ok || err != nil || alias == "_":
			case alias == ".":
				found[". "+importPath] = ". " + quoted
			case alias != "":
				found[alias] = alias + " " + quoted
			default:
				name := path.Base(importPath)
				if versioned.MatchString(name) && path.Dir(importPath) != "." {
					name = path.Base(path.Dir(importPath))
				}
				found[name] = quoted
			}
		}
	}
	return found
}

// importsFor is the imports that a source without package clause has from earlier cells, or that goimports would add,
// on one line.
func importsFor(source string, declared []string, paths, earlier map[string]string) string {
	file, _ := parser.ParseFile(token.NewFileSet(), "", cell.SourceOpen+source, parser.SkipObjectResolution)
	if file == nil {
		return ""
	}
	imported := map[string]bool{}
	for _, spec := range file.Imports {
		if spec.Name != nil {
			imported[spec.Name.Name] = true
		} else if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			imported[path.Base(p)] = true
		}
	}
	added := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			x, ok := s.X.(*ast.Ident)
			if ok && (paths[x.Name] != "" || earlier[x.Name] != "") && !imported[x.Name] && !slices.Contains(declared, x.Name) {
				added[x.Name] = true
			}
		}
		return true
	})
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(earlier)) {
		if added[name] || strings.HasPrefix(name, ". ") {
			b.WriteString("import " + earlier[name] + "; ")
			delete(added, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(added)) {
		b.WriteString("import " + strconv.Quote(paths[name]) + "; ")
	}
	return b.String()
}
