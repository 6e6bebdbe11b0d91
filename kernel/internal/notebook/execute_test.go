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
			"what the program wrote, then the traceback",
			Cell{Source: "%%\nf()", Count: 4, Outputs: []Output{
				{Type: "stream", Stream: "stderr", Text: "\x1b[31mno file\x1b[0m\n"},
				{Type: "error", Name: "ExitError", Value: "exit status 2", Traceback: []string{"ExitError: exit status 2", "", "Hint: …"}},
			}},
			[]string{"cell 1 failed, the kernel's cell 4:\n   1  %%\n   2  f()\nno file\nExitError: exit status 2\n\nHint: …"},
			[]string{"\x1b"},
		},
		{
			"a traceback that shows the line",
			Cell{Source: "%%\nx", Count: 1, Outputs: []Output{{Type: "error", Name: "CompileError", Value: "undefined: x",
				Traceback: []string{"CompileError: cell 1, line 2: undefined: x", "", "    1 | %%\n>   2 | x"}}}},
			[]string{"cell 1 failed:\nCompileError: cell 1, line 2: undefined: x\n\n    1 | %%\n>   2 | x"}, nil,
		},
		{
			"no traceback",
			Cell{Source: "x", Outputs: []Output{{Type: "error", Name: "CompileError", Value: "undefined: x"}}},
			[]string{"cell 1 failed:\n   1  x\nCompileError: undefined: x"}, nil,
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
