package cell

import (
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"strings"
	"testing"
)

func TestWithoutTraps(t *testing.T) {
	for _, test := range []struct{ name, code, want string }{
		{"nothing to do", "%%\nfmt.Println(`a\nb`)", "%%\nfmt.Println(`a\nb`)"},
		{"markdown", "%%\nshow(`text\n![img](u)\n% done`)\n!ls", "%%\nshow(`text\n`+\"!\"+`[img](u)\n`+\"%\"+` done`)\n!ls"},
		{"a main in the string", "var s = `\n%%\nx`\n%%\nfmt.Println(s)", "var s = `\n`+\"%\"+`%\nx`\n%%\nfmt.Println(s)"},
		{"a tag is no sum", "type T struct {\n\tA int `a\n!b`\n}", "type T struct {\n\tA int `a\n!b`\n}"},
		{"sliced", "%%\nfmt.Println(`a\n!b`[1:])", "%%\nfmt.Println(`a\n!b`[1:])"},
		{"quotes in commands", "!echo `date`\n%env A 'x\n%%\nfmt.Println(\"`\", '`') // `\nx := `\n!y`\n_ = x", "!echo `date`\n%env A 'x\n%%\nfmt.Println(\"`\", '`') // `\nx := `\n`+\"!\"+`y`\n_ = x"},
		{"blank commands", "% \n!\t\nvar x = 1", "\n\nvar x = 1"},
		{"bash", "%%bash\necho '\n! '", "%%bash\necho '\n! '"},
		{"comment", "/* `\n!ls\n*/\nvar a = `\n!b`", "/* `\n!ls\n*/\nvar a = `\n`+\"!\"+`b`"},
	} {
		if got := withoutTraps(test.code); got != test.want {
			t.Errorf("%s: got\n%s\nwant\n%s", test.name, got, test.want)
		}
	}
}

// FuzzWithoutTraps: lines stay, and a string constant keeps its value.
func FuzzWithoutTraps(f *testing.F) {
	f.Add("a\n!b\n%c")
	f.Add("\n%%\n! ")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.ContainsAny(text, "`\r") {
			return // ends a raw string; is dropped in one
		}
		code := "const s = `" + text + "`"
		got := withoutTraps(code)
		if strings.Count(got, "\n") != strings.Count(code, "\n") {
			t.Fatalf("%q became %q", code, got)
		}
		value := func(code string) (constant.Value, bool) {
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, "", "package p\n"+code, 0)
			if err != nil {
				return nil, false
			}
			p, err := new(types.Config).Check("p", fset, []*ast.File{file}, nil)
			if err != nil {
				return nil, false
			}
			return p.Scope().Lookup("s").(*types.Const).Val(), true
		}
		want, ok := value(code)
		if !ok {
			return
		}
		if v, ok := value(got); !ok || constant.StringVal(v) != constant.StringVal(want) {
			t.Fatalf("%q became %q: value %v", code, got, v)
		}
	})
}
