package cell

import (
	"reflect"
	"testing"
)

func TestBlanks(t *testing.T) {
	var d Declarations
	d.Add(Parse("import _ \"a\"\nimport (\n\t\"fmt\"\n\t_ \"b\"\n\tm \"math\"\n)\nvar _ = 1"))
	next := d.With(Parse("import _ `c`\nimport _ \"a\"\n%%\nx()"))
	if got, want := d.Blanks(), []string{`"a"`, `"b"`}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := next.Blanks(), []string{`"b"`, "`c`", `"a"`}; !reflect.DeepEqual(got, want) {
		t.Errorf("after the next cell %q, want %q", got, want)
	}
	for _, code := range []string{"%reset", "%rm _"} {
		if got := next.With(Parse(code + "\nimport _ \"d\"")).Blanks(); !reflect.DeepEqual(got, []string{`"d"`}) {
			t.Errorf("after %s: %q", code, got)
		}
	}
	if got := next.With(Parse("%rm m")).Blanks(); len(got) != 3 {
		t.Errorf("after %%rm of another name: %q", got)
	}
}
