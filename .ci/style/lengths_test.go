package style

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// Lengths, in characters (a tab is one) and in lines. Code may be wider than prose, since breaking it costs more.
const (
	proseWidth     = 120 // comments that fill their lines, and Markdown outside of its code
	codeWidth      = 140
	functionLength = 90
)

// toDo are the folders that are not mended yet, each without those below it. The list must become empty, and then go.
var toDo = []string{
<<<<<<< HEAD
	"advlib",
=======
	"advlib/attack",
	"advlib/attack/attacktest",
	"advlib/attack/attacktest/testdata",
>>>>>>> main
	"advlib/cachedir",
}

func TestLengths(t *testing.T) {
	files := tracked(t)
	if len(files) < 500 {
		t.Fatalf("git lists %d files only", len(files))
	}
	long, unfinished := 0, map[string]bool{}
	for _, name := range files {
		text, err := os.ReadFile(filepath.Join(root, name))
		if errors.Is(err, os.ErrNotExist) {
			continue // it is deleted, and that not committed yet
		} else if err != nil {
			t.Fatal(err)
		}
		for _, f := range tooLong(name, string(text)) {
			long++
			if folder := path.Dir(name); slices.Contains(toDo, folder) {
				unfinished[folder] = true
			} else {
				t.Error(f)
			}
		}
	}
	for _, folder := range toDo {
		if !unfinished[folder] {
			t.Errorf("nothing is too long in %s: take it out of toDo", folder)
		}
	}
	if t.Failed() {
		t.Log("go test ./.ci/style -wrap FOLDER wraps the prose of a folder")
	}
	t.Logf("%d are too long", long)
}

// root is the repository's.
var root = filepath.Join("..", "..")

// tracked returns the files of Go and Markdown that git knows.
func tracked(t *testing.T) []string {
	t.Helper()
	list := exec.Command("git", "ls-files", "--", "*.go", "*.md")
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	return strings.Fields(string(out))
}

// A finding is what is too long in a file.
type finding struct {
	file       string
	line       int
	what       string
	long, most int
}

func (f finding) String() string {
	return fmt.Sprintf("%s:%d: %s of %d, at most %d", f.file, f.line, f.what, f.long, f.most)
}

func tooLong(file, text string) []finding {
	if strings.HasSuffix(file, ".md") {
		return markdown(file, text)
	}
	return source(file, text)
}

// markdown measures a file of Markdown. The rows of tables, which begin with |, may have any width; so may what has no
// blank to break at, such as an address.
func markdown(file, text string) (found []finding) {
	fenced := false
	for i, line := range strings.Split(text, "\n") {
		what, most := "prose", proseWidth
		switch trimmed := strings.TrimSpace(line); {
		case strings.HasPrefix(trimmed, "```"):
			fenced = !fenced
			continue
		case fenced || strings.HasPrefix(line, "    "):
			what, most = "code", codeWidth
		case strings.HasPrefix(line, "|") || !strings.Contains(trimmed, " "):
			continue
		}
		if n := utf8.RuneCountInString(line); n > most {
			found = append(found, finding{file, i + 1, what, n, most})
		}
	}
	return found
}

// source measures a file of Go. The rows of a table of data may have any width: a row is an element {…} or key: {…} of
// a composite literal that fills its line and has no function in it.
//
// A function is as long as its lines are many, from func to its closing brace, without what is read on its own: the
// elements {…} of tables, texts of several lines, and the functions that Run and Fuzz are given.
//
// Generated files are tables of data in comments.
func source(file, text string) (found []finding) {
	if strings.HasPrefix(text, "// Code generated ") {
		return nil
	}
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, file, text, parser.ParseComments)
	if err != nil {
		return []finding{{file: file, what: err.Error()}}
	}
	at := func(p token.Pos) int { return set.Position(p).Line }
	lines := strings.Split(text, "\n")
	begins := func(p token.Pos) bool {
		return strings.TrimSpace(lines[at(p)-1][:set.Position(p).Column-1]) == ""
	}
	prose, rows := map[int]bool{}, map[int]bool{}
	for _, group := range f.Comments {
		for _, c := range group.List {
			for l := at(c.Pos()); l <= at(c.End()) && begins(c.Pos()); l++ {
				prose[l] = true
			}
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if long := functionLines(at, n); long > functionLength {
				found = append(found, finding{file, at(n.Pos()), "func " + n.Name.Name, long, functionLength})
			}
		case *ast.CompositeLit:
			for _, e := range n.Elts {
				if inTable(e) && begins(e.Pos()) && at(e.Pos()) == at(e.End()) && !holdsFunction(e) {
					rows[at(e.Pos())] = true
				}
			}
		}
		return true
	})
	for i, line := range lines {
		what, most := "code", codeWidth
		if prose[i+1] {
			what, most = "prose", proseWidth
		}
		if n := utf8.RuneCountInString(line); n > most && !rows[i+1] {
			found = append(found, finding{file, i + 1, what, n, most})
		}
	}
	return found
}

// inTable tells whether an element of a composite literal is {…} or key: {…}.
func inTable(e ast.Expr) bool {
	if pair, ok := e.(*ast.KeyValueExpr); ok {
		e = pair.Value
	}
	lit, ok := e.(*ast.CompositeLit)
	return ok && lit.Type == nil
}

func holdsFunction(n ast.Node) bool {
	found := false
	ast.Inspect(n, func(n ast.Node) bool {
		_, ok := n.(*ast.FuncLit)
		found = found || ok
		return !found
	})
	return found
}

func functionLines(at func(token.Pos) int, f *ast.FuncDecl) int {
	apart := map[int]bool{}
	mark := func(from, to int) {
		for l := from; l <= to; l++ {
			apart[l] = true
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			for _, e := range n.Elts {
				if inTable(e) && at(e.Pos()) > at(n.Lbrace) {
					mark(at(e.Pos()), at(e.End()))
				}
			}
		case *ast.BasicLit:
			mark(at(n.Pos())+1, at(n.End()))
		case *ast.CallExpr:
			called, ok := n.Fun.(*ast.SelectorExpr)
			if ok && (called.Sel.Name == "Run" || called.Sel.Name == "Fuzz") && len(n.Args) > 0 {
				if body, ok := n.Args[len(n.Args)-1].(*ast.FuncLit); ok {
					mark(at(body.Pos())+1, at(body.End()))
				}
			}
		}
		return true
	})
	return at(f.End()) - at(f.Pos()) + 1 - len(apart)
}

// What is too long, and what may be.
func TestTooLong(t *testing.T) {
	wide := strings.Repeat("wide ", 29)
	many := strings.Repeat("\tf()\n", functionLength)
	for _, c := range []struct {
		name, file, text string
		want             []string
	}{
		{"code", "a.go", "package a\n\nvar a = `" + wide + "`", []string{"a.go:3: code of 155, at most 140"}},
		{"comment", "a.go", "package a\n\n// " + wide[:118], []string{"a.go:3: prose of 121, at most 120"}},
		{"comment of several lines", "a.go", "package a\n\n/*\n" + wide + "*/", []string{"a.go:4: prose of 147, at most 120"}},
		{"comment behind code", "a.go", "package a // " + wide[:120], nil},
		{"characters, not bytes", "a.go", "package a\n\n//" + strings.Repeat(" é", 59), nil},
		{"row", "a.go", "package a\n\nvar a = []b{\n\t{`" + wide + "`},\n}", nil},
		{"row with a key", "a.go", "package a\n\nvar a = map[string]b{\n\t`a`: {`" + wide + "`},\n}", nil},
		{"row that does not fill its line", "a.go", "package a\n\nvar a = []b{{`" + wide + "`}}", []string{"a.go:3: code of 162, at most 140"}},
		{"row with a function", "a.go", "package a\n\nvar a = []b{\n\t{`" + wide + "`, func() {}},\n}", []string{"a.go:4: code of 162, at most 140"}},
		{"element with a type", "a.go", "package a\n\nvar a = []b{\n\tb{`" + wide + "`},\n}", []string{"a.go:4: code of 152, at most 140"}},
		{"function", "a.go", "package a\n\nfunc a() {\n" + many + "}", []string{"a.go:3: func a of 92, at most 90"}},
		{"function with a table", "a.go", "package a\n\nfunc a() {\n\tb = []c{\n\t\t{\n" + strings.ReplaceAll(many, ")", "),") + "},\n\t}\n}", nil},
		{"function with a text", "a.go", "package a\n\nfunc a() {\n\tb = `\n" + many + "`\n}", nil},
		{"function with subtests", "a.go", "package a\n\nfunc a() {\n\tt.Run(`b`, func() {\n" + many + "\t})\n}", nil},
		{"Markdown", "a.md", "- " + wide, []string{"a.md:1: prose of 147, at most 120"}},
		{"Markdown's table", "a.md", "| " + wide + "|", nil},
		{"Markdown's code", "a.md", "```\n" + wide + "\n" + wide[:139] + "\n```\n\n    " + wide[:137],
			[]string{"a.md:2: code of 145, at most 140", "a.md:6: code of 141, at most 140"}},
		{"address", "a.md", "(https://" + strings.Repeat("a", 200) + ")", nil},
	} {
		found := tooLong(c.file, c.text)
		same := len(found) == len(c.want)
		for i := range found {
			same = same && strings.HasPrefix(found[i].String(), c.want[i])
		}
		if !same {
			t.Errorf("%s: %v, want %v", c.name, found, c.want)
		}
	}
}
