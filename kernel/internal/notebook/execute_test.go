package notebook

import (
	"strings"
	"testing"
)

func TestCellError(t *testing.T) {
	for _, test := range []struct {
		name  string
		cell  Cell
		want  []string
		lacks []string
	}{
		{
			"a panic's stack is on standard error",
			Cell{Source: "%%\nf()", Outputs: []Output{
				{Type: "stream", Stream: "stderr", Text: "panic: \x1b[31mboom\x1b[0m\n"},
				{Type: "error", Name: "ERROR", Value: "exit status 2", Traceback: []string{"\x1b[7mexit status 2\x1b[0m"}},
			}},
			[]string{"cell 1 failed:\n   1  %%\n   2  f()\npanic: boom\nexit status 2"},
			[]string{"\x1b", "exit status 2\nexit status 2"},
		},
		{
			"a compiler's text is in the message",
			Cell{Source: "x", Outputs: []Output{{Type: "error", Name: "ERROR", Value: "undefined: x"}}},
			[]string{"undefined: x"}, nil,
		},
		{
			"a long cell is cut",
			Cell{Source: strings.Repeat("line\n", 40), Outputs: []Output{{Type: "error", Value: "bad"}}},
			[]string{"  12  line\n      … 28 more lines\nbad"}, []string{"  13  line"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := &Notebook{Cells: []Cell{test.cell}}
			failed := n.failedCell()
			if failed == nil {
				t.Fatal("no cell has failed")
			}
			text := failed.Error()
			for _, want := range test.want {
				if !strings.Contains(text, want) {
					t.Errorf("the error lacks %q:\n%s", want, text)
				}
			}
			for _, lacks := range test.lacks {
				if strings.Contains(text, lacks) {
					t.Errorf("the error has %q:\n%s", lacks, text)
				}
			}
		})
	}
}

func TestExpectedErrorsAreNone(t *testing.T) {
	n := &Notebook{Cells: []Cell{
		{Outputs: []Output{{Type: "stream", Stream: "stderr", Text: "a warning"}}},
		{Tags: []string{"raises-exception"}, Outputs: []Output{{Type: "error", Value: "meant"}}},
	}}
	if failed := n.failedCell(); failed != nil {
		t.Errorf("failed: %v", failed)
	}
}
