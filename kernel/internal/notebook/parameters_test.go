package notebook_test

import (
	"strings"
	"testing"

	"advlab/kernel/internal/notebook"
)

func withParameters(t *testing.T, source string) *notebook.Notebook {
	t.Helper()
	return parse(t, []map[string]any{
		{"cell_type": "markdown", "id": "a", "source": "text", "metadata": map[string]any{}},
		{"cell_type": "code", "id": "b", "source": source, "metadata": map[string]any{"tags": []string{"parameters"}}, "outputs": []any{}},
		{"cell_type": "code", "id": "c", "source": "%%\nfmt.Println(eps)", "metadata": map[string]any{}, "outputs": []any{}},
	})
}

func TestSet(t *testing.T) {
	source := "// What this notebook measures.\n%env GODEBUG=\nvar eps = 8. / 255 // in pixel values\nvar rows = -4\n" +
		"var name = \"digits\"\nvar ok = true\n%%\nfmt.Println()"
	for _, test := range []struct{ setting, want string }{
		{"eps=0.1", "var eps = 0.1"},
		{"eps=4./255", "var eps = 4./255"},
		{"eps=-1", "var eps = float64(-1)"},
		{"rows=7", "var rows = 7"},
		{"rows=2*3", "var rows = 2*3"},
		{"name=MNIST", `var name = "MNIST"`},
		{`name="MNIST"`, `var name = "MNIST"`},
		{`name=a=b\`, `var name = "a=b\\"`},
		{"name=", `var name = ""`},
		{"ok=false", "var ok = false"},
	} {
		t.Run(test.setting, func(t *testing.T) {
			n := withParameters(t, source)
			set, err := n.Set([]string{test.setting})
			if err != nil {
				t.Fatal(err)
			}
			if len(n.Cells) != 3 || len(set.Cells) != 4 {
				t.Fatalf("%d cells became %d, want 3 and 4", len(n.Cells), len(set.Cells))
			}
			if got := set.Cells[2]; got.Source != "// Parameters\n"+test.want+"\n" || !got.HasTag("injected-parameters") {
				t.Errorf("the cell after the parameters is %+v, want %q", got, test.want)
			}
		})
	}
}

func TestSetRefuses(t *testing.T) {
	source := "var eps = 0.1\nvar rows = 4\nvar ok = true"
	for _, test := range []struct {
		source   string
		settings []string
		want     string
	}{
		{source, []string{"eps"}, "NAME=VALUE"},
		{source, []string{"other=1"}, "the notebook has eps, rows, ok"},
		{source, []string{"eps=1", "eps=2"}, "set twice"},
		{source, []string{"eps=1/255"}, "a number with a dot"},
		{source, []string{"eps=abc"}, "a number is wanted"},
		{source, []string{"eps="}, "a number is wanted"},
		{source, []string{`eps=f()`}, "a number is wanted"},
		{source, []string{"rows=1.0"}, "a whole number is wanted"},
		{source, []string{"rows=1\nvar x = 2"}, "a whole number is wanted"},
		{source, []string{"ok=1"}, "true or false"},
		{"var eps = f()", []string{"eps=1"}, "parameter eps"},
		{"var a, b = 1, 2", []string{"a=1"}, "one a line"},
		{"var eps float64 = 1", []string{"eps=1"}, "without type"},
		{"var eps == 1", []string{"eps=1"}, "not Go"},
		{"x := 1", []string{"x=1"}, "not Go"},
	} {
		set, err := withParameters(t, test.source).Set(test.settings)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("Set(%q) of %q = %v, %v, want an error with %q", test.settings, test.source, set, err, test.want)
		}
	}
}

func TestTwoParameterCellsAreRefused(t *testing.T) {
	cell := map[string]any{"cell_type": "code", "source": "var a = 1", "metadata": map[string]any{"tags": []string{"parameters"}},
		"outputs": []any{}}
	_, err := parse(t, []map[string]any{cell, cell}).Set([]string{"a=2"})
	if err == nil || !strings.Contains(err.Error(), "cells 1 and 2") {
		t.Errorf("error %v, want one that names both cells", err)
	}
}

func TestParseKeepsWhatItDoesNotUnderstand(t *testing.T) {
	const text = `{"nbformat":4,"nbformat_minor":5,"metadata":{"x":{"big":12345678901234567890,"f":1.50}},"cells":[]}`
	n, err := notebook.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	got, err := n.JSON()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"12345678901234567890", "1.50"} {
		if !strings.Contains(string(got), want) {
			t.Errorf("the notebook lost %s: %s", want, got)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"", "hello", "[]", `{"nbformat":3}`, `{"nbformat":4,"cells":[{"source":7}]}`} {
		if n, err := notebook.Parse([]byte(text)); err == nil {
			t.Errorf("Parse(%q) = %v, want an error", text, n)
		}
	}
}
