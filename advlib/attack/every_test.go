package attack_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"advlab/advlib"
	"advlab/advlib/attack/attacktest"
)

// everySubject is what the tests of conformance run.
func everySubject() []attacktest.Subject {
	return slices.Concat(basicSubjects(), apgdSubjects(), mifgsmSubjects(), squareSubjects(), minimalSubjects(), labelSubjects(),
		scoreSubjects(), autoAttackSubjects(), wrapperSubjects())
}

// Every exported type of the package that is an attack, by its source, is run by the suite, but for what a Fit returns:
// a perturbation or a patch fits the inputs that it was learned on, and the suite has models of several shapes;
// universal_test.go and patch_test.go hold them.
func TestEveryAttackIsInTheSuite(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var attacks, learned []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if ok && f.Recv != nil && f.Name.Name == "Fit" {
				learned = append(learned, f.Type.Results.List[0].Type.(*ast.StarExpr).X.(*ast.Ident).Name)
			}
			if !ok || f.Recv == nil || f.Name.Name != "Perturb" {
				continue
			}
			if of, ok := f.Recv.List[0].Type.(*ast.Ident); ok && of.IsExported() {
				attacks = append(attacks, of.Name)
			}
		}
	}
	if len(attacks) < 20 {
		t.Fatalf("the source has the attacks %v only: this test reads it wrong", attacks)
	}
	seen := map[string]bool{}
	for _, s := range everySubject() {
		a := s.New(advlib.Untargeted)
		if s.Wrap != nil {
			a = s.Wrap(a, digits(t).Classifier)
		}
		note(seen, reflect.ValueOf(a))
	}
	for _, name := range attacks {
		if !seen[name] && !slices.Contains(learned, name) {
			t.Errorf("%s is an attack, but no subject of the suite: add it to one of the functions that everySubject calls", name)
		}
	}
}

// note marks the types of an attack and of those in its fields.
func note(seen map[string]bool, v reflect.Value) {
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer:
		if !v.IsNil() {
			note(seen, v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			note(seen, v.Index(i))
		}
	case reflect.Struct:
		if _, ok := v.Interface().(advlib.Attack); !ok {
			return
		}
		seen[v.Type().Name()] = true
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				note(seen, v.Field(i))
			}
		}
	}
}
