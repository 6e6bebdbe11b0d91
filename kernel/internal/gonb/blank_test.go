package gonb

import (
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

func TestBlankSource(t *testing.T) {
	source := blankSource([]string{`"b"`, "`c`", `"a"`})
	file, err := parser.ParseFile(token.NewFileSet(), "", source, parser.ImportsOnly)
	if err != nil || len(file.Imports) != 3 || file.Imports[2].Name.Name != "_" || strings.Split(source, "\n")[BlankFirst-1] != "\t_ \"b\"" {
		t.Errorf("%v:\n%s", err, source)
	}
}
