package certify_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
	"testing"

	"advlab/advlib/certify"
)

var update = flag.Bool("update", false, "write the README's table of methods anew")

const (
	readme      = "../../README.md"
	readmeBegin = "<!-- certifiers: go test -run TestIndexPrinted -update ./advlib/certify -->\n"
	readmeEnd   = "<!-- end of certifiers -->\n"
)

// The table in the README is the index.
func TestIndexPrinted(t *testing.T) {
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), readmeBegin)
	_, after, ok2 := strings.Cut(rest, readmeEnd)
	if !ok || !ok2 {
		t.Fatalf("the README lacks the lines %q and %q", readmeBegin, readmeEnd)
	}
	want := before + readmeBegin + "\n" + certify.Index().Markdown() + "\n" + readmeEnd + after
	if *update {
		if err := os.WriteFile(readme, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(text) {
		t.Errorf("the README's table is not the index: run go test -run %s -update ./advlib/certify", t.Name())
	}
}

// Names are unlike each other and fit for a command line, methods are all different, and each is found by its name.
func TestIndex(t *testing.T) {
	names, methods := map[string]bool{}, map[string]bool{}
	for _, e := range certify.Index() {
		if names[e.Name] || methods[e.Method.String()] {
			t.Errorf("%s, %v is there twice", e.Name, e.Method)
		}
		names[e.Name], methods[e.Method.String()] = true, true
		if strings.ContainsFunc(e.Name, func(r rune) bool { return r != '-' && (r < 'a' || r > 'z') && (r < '0' || r > '9') }) {
			t.Errorf("the name %q is not made of small letters, digits and hyphens", e.Name)
		}
		if m, err := certify.Named(e.Name); err != nil || m.String() != e.Method.String() {
			t.Errorf("Named(%q) is %v, %v", e.Name, m, err)
		}
		for _, form := range []string{certify.Index().String(), certify.Index().HTML(), certify.Index().Markdown()} {
			if !strings.Contains(form, e.Name) {
				t.Errorf("%s is not in\n%s", e.Name, form)
			}
		}
	}
	if _, err := certify.Named("crwon"); err == nil || !strings.Contains(err.Error(),
		`no method "crwon": there are ibp, crown-ibp, crown, alpha-crown, complete`) {
		t.Errorf("the error is %v", err)
	}
}

// Every method that method.go exports is in the index, and complete verification after them.
func TestIndexIsComplete(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "method.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var exported, indexed []string
	for _, d := range file.Decls {
		block, ok := d.(*ast.GenDecl)
		if !ok || block.Tok != token.VAR {
			continue
		}
		for _, spec := range block.Specs {
			for _, name := range spec.(*ast.ValueSpec).Names {
				if name.IsExported() {
					exported = append(exported, name.Name)
				}
			}
		}
	}
	for _, e := range certify.Index() {
		indexed = append(indexed, e.Go)
	}
	if exported = append(exported, "Complete{}"); !slices.Equal(exported, indexed) {
		t.Errorf("method.go exports %v, the index has %v: give index.go a line for each, in the same order", exported, indexed)
	}
}

// From fast and loose to slow and tight.
func ExampleIndex() {
	for _, e := range slices.Backward(certify.Index()) {
		if e.Method == certify.CROWN || e.Method == certify.IBP {
			fmt.Println(e.Name, "is", e.Method)
		}
	}
	// Output:
	// crown is CROWN
	// ibp is IBP
}
