package cell

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"strings"
)

// MainOpen begins the program of a cell of statements, on the line of the first: so its lines keep their numbers. Below
// a line %%, GoNB writes the same.
const MainOpen = "func main() { flag.Parse(); "

// WithMain returns a cell whose statements stand in a main function: one that has no %%, that is not Go's declarations,
// and that becomes Go when what begins with its first statement is put into main. It may have declarations above. Every
// other cell is returned as it is. One line is added, at the end.
func WithMain(code string) string {
	c := Parse(code)
	last := len(c.Lines) - 1
	if c.Special || c.Test || c.MainLine >= 0 || c.Command[last] && strings.HasSuffix(c.Lines[last], `\`) {
		return code
	}
	for i, line := range c.Lines {
		line = strings.TrimPrefix(line, CommentPrefix)
		if c.Command[i] && (strings.HasPrefix(line, "%exec") || strings.HasPrefix(line, "%check")) {
			return code // it makes a main of its own
		}
	}
	source, _ := c.GoSource()
	_, err := parser.ParseFile(token.NewFileSet(), "", source, parser.SkipObjectResolution)
	var problems scanner.ErrorList
	if !errors.As(err, &problems) || len(problems) == 0 || !strings.HasPrefix(problems[0].Msg, "expected declaration, found") {
		return code
	}
	at := problems[0].Pos
	line, column := at.Line-1, at.Column-1
	if line == 0 {
		column -= len(SourceOpen)
	}
	lines := append([]string{}, c.Lines...)
	if line > last || c.Command[line] || column < 0 || column > len(lines[line]) {
		return code
	}
	lines[line] = lines[line][:column] + MainOpen + lines[line][column:]
	changed := strings.Join(append(lines, "}"), "\n")
	if !endsInMain(changed) {
		return code
	}
	return changed
}

// endsInMain reports whether a cell is Go, with one main function, which ends with the cell.
func endsInMain(code string) bool {
	source, end := Parse(code).GoSource()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "", source, parser.SkipObjectResolution)
	if err != nil || len(file.Decls) == 0 {
		return false
	}
	mains := 0
	for _, decl := range file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "main" {
			mains++
		}
	}
	f, ok := file.Decls[len(file.Decls)-1].(*ast.FuncDecl)
	return mains == 1 && ok && f.Name.Name == "main" && f.Recv == nil && f.Body != nil && fset.Position(f.Body.Rbrace).Offset == end-1
}
