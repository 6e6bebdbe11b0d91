package cell

import (
	"slices"
	"testing"
)

// Lines of raw strings and comments are no commands, whatever they begin with.
func TestCommandsAreNoText(t *testing.T) {
	for _, test := range []struct {
		name, code string
		commands   []int // lines, from 0
		main       int
	}{
		{"nothing to do", "%%\nfmt.Println(`a\nb`)", []int{0}, 0},
		{"markdown", "%%\nshow(`text\n![img](u)\n% done`)\n!ls", []int{0, 4}, 0},
		{"a main in the string", "var s = `\n%%\nx`\n%%\nfmt.Println(s)", []int{3}, 3},
		{"a tag", "type T struct {\n\tA int `a\n!b`\n}", nil, -1},
		{"sliced", "%%\nfmt.Println(`a\n!b`[1:])", []int{0}, 0},
		{"quotes in commands", "!echo `date`\n%env A 'x\n%%\nfmt.Println(\"`\", '`') // `\nx := `\n!y`\n_ = x", []int{0, 1, 2}, 2},
		{"blank commands", "% \n!\t\nvar x = 1", []int{0, 1}, -1},
		{"comment", "/* `\n!ls\n*/\nvar a = `\n!b`", nil, -1},
	} {
		c := Parse(test.code)
		var commands []int
		for i := range c.Lines {
			if c.Command[i] {
				commands = append(commands, i)
			}
		}
		if !slices.Equal(commands, test.commands) || c.MainLine != test.main {
			t.Errorf("%s: commands %v, main %d; want %v, %d", test.name, commands, c.MainLine, test.commands, test.main)
		}
	}
}
