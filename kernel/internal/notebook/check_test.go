package notebook_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"advlab/kernel/internal/notebook"
)

// printed returns a notebook whose cell tagged check printed the text.
func printed(t *testing.T, text string) *notebook.Notebook {
	t.Helper()
	return parse(t, []map[string]any{
		{"cell_type": "code", "source": "", "metadata": map[string]any{}, "outputs": stream("check untagged 1 0\n")},
		{"cell_type": "code", "source": "", "metadata": map[string]any{"tags": []string{"check"}}, "outputs": stream(text)},
	})
}

func stream(text string) []any {
	return []any{map[string]any{"output_type": "stream", "name": "stdout", "text": strings.SplitAfter(text, "\n")}}
}

func parse(t *testing.T, cells []map[string]any) *notebook.Notebook {
	t.Helper()
	text, err := json.Marshal(map[string]any{"nbformat": 4, "nbformat_minor": 5, "metadata": map[string]any{}, "cells": cells})
	if err != nil {
		t.Fatal(err)
	}
	n, err := notebook.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestCompare(t *testing.T) {
	for _, test := range []struct {
		name, saved, fresh string
		want               map[string]string // by name: what its Wrong begins with; "" means that it holds
	}{
		{"equal", "check a 0.5 0\n", "check a 0.5 0\n", map[string]string{"a": ""}},
		{"within", "check a 0.50 0.02\n", "check a 0.52 0.02\n", map[string]string{"a": ""}},
		{"beyond", "check a 0.50 0.02\n", "check a 0.53 0.02\n", map[string]string{"a": "off by 0.03"}},
		{"the saved tolerance counts", "check a 0.50 0.02\n", "check a 0.6 0.5\n", map[string]string{"a": "off by 0.1"}},
		{"missing", "check a 1 0\ncheck b 2 0\n", "check a 1 0\n", map[string]string{"a": "", "b": "not printed"}},
		{"new", "check a 1 0\n", "check a 1 0\ncheck b 2 0\n", map[string]string{"a": "", "b": "not among the saved"}},
		{"fresh NaN", "check a 1 0.1\n", "check a NaN 0.1\n", map[string]string{"a": "the fresh value is NaN"}},
		{"both NaN", "check a NaN 0.1\n", "check a NaN 0.1\n", map[string]string{"a": "the saved value is NaN"}},
		{"fresh infinite", "check a 1 0.1\n", "check a +Inf 0.1\n", map[string]string{"a": "the fresh value is +Inf"}},
		{"too large for a number", "check a 1 0.1\n", "check a 1e999 0.1\n", map[string]string{"a": "the fresh value is +Inf"}},
		{"other text around", "words\n  check a 1 0\nchecked b 1 0\n", "check a 1 0\n", map[string]string{"a": ""}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := notebook.Compare(printed(t, test.saved), printed(t, test.fresh))
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(test.want) {
				t.Errorf("%d comparisons, want %d: %v", len(got), len(test.want), got)
			}
			for _, c := range got {
				want, ok := test.want[c.Name]
				if !ok || (c.Wrong == "") != (want == "") || !strings.HasPrefix(c.Wrong, want) {
					t.Errorf("%v, want %q", c, want)
				}
			}
		})
	}
}

func TestCompareRefuses(t *testing.T) {
	good := "check a 1 0\n"
	for _, test := range []struct{ name, saved, fresh, want string }{
		{"nothing saved", "", good, "no cell tagged"},
		{"a word too few", "check a 1\n", good, "2 words"},
		{"a word too many", good, "check a 1 0 0\n", "the fresh outputs"},
		{"no number", good, "check a one 0\n", `"one" is no number`},
		{"tolerance NaN", "check a 1 NaN\n", good, "tolerance"},
		{"tolerance negative", "check a 1 -1\n", good, "tolerance"},
		{"tolerance infinite", "check a 1 Inf\n", good, "tolerance"},
		{"twice", good + good, good, "printed twice"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := notebook.Compare(printed(t, test.saved), printed(t, test.fresh))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Compare = %v, %v, want an error with %q", got, err, test.want)
			}
		})
	}
	if _, err := notebook.Compare(printed(t, ""), printed(t, good)); !errors.Is(err, notebook.ErrNoChecks) {
		t.Errorf("without checks the error is %v, want ErrNoChecks", err)
	}
}

func TestPlainTextKeepsTheOrder(t *testing.T) {
	n := parse(t, []map[string]any{{"cell_type": "code", "source": "", "metadata": map[string]any{"tags": []string{"table"}}, "outputs": []any{
		map[string]any{"output_type": "stream", "name": "stdout", "text": "first\n"},
		map[string]any{"output_type": "stream", "name": "stderr", "text": "a log line\n"},
		map[string]any{"output_type": "display_data", "data": map[string]any{"text/plain": []string{"a  b\n", "1  2"}, "text/html": "<table>"},
			"metadata": map[string]any{}},
		map[string]any{"output_type": "display_data", "data": map[string]any{"application/json": map[string]any{"a": 1}},
			"metadata": map[string]any{}},
	}}})
	if got, want := n.TextOf("table"), "first\na  b\n1  2\n"; got != want {
		t.Errorf("TextOf = %q, want %q", got, want)
	}
}
