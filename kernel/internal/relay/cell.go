package relay

import (
	"strings"
)

// cell is the text of one cell, as GoNB reads it: Go declarations, a main program below a line %%, and command lines that
// begin with % or !.
type cell struct {
	lines    []string
	command  []bool // this line is a command, or continues one
	special  bool   // %%writefile, %%bash and the like: not Go at all
	mainLine int    // index of the line %% or %main; -1: none
	test     bool   // %test
	shell    []string
}

// commentPrefix hides a command line from Go tools, as GoNB allows.
const commentPrefix = "//gonb:"

// specialCells are the commands that take the whole cell.
var specialCells = map[string]bool{"%%writefile": true, "%%script": true, "%%bash": true, "%%sh": true, "%%gx": true}

// parseCell follows GoNB's specialcmd.Parse and composer.
func parseCell(code string) cell {
	c := cell{lines: strings.Split(code, "\n"), mainLine: -1}
	c.command = make([]bool, len(c.lines))
	first, _, _ := strings.Cut(strings.TrimPrefix(c.lines[0], commentPrefix), " ")
	if specialCells[first] {
		c.special = true
		if first != "%%writefile" && first != "%%gx" {
			c.shell = []string{c.lines[0]}
		}
		return c
	}
	for i := 0; i < len(c.lines); i++ {
		line := strings.TrimPrefix(c.lines[i], commentPrefix)
		if len(line) < 2 || line[0] != '%' && line[0] != '!' {
			continue
		}
		c.command[i] = true
		whole := line
		for strings.HasSuffix(whole, `\`) && i+1 < len(c.lines) {
			i++
			c.command[i] = true
			whole = strings.TrimSuffix(whole, `\`) + " " + c.lines[i]
		}
		word, _, _ := strings.Cut(whole, " ")
		switch {
		case line[0] == '!':
			c.shell = append(c.shell, whole)
		case word == "%%" || word == "%main":
			if c.mainLine < 0 {
				c.mainLine = i
			}
		case word == "%test":
			c.test = true
		}
	}
	return c
}

// goSource returns the cell as a Go file with the same line numbers: commands are blank, %% begins main, and its end
// is appended. end is the offset where the cell's own text ends.
func (c cell) goSource() (source string, end int) { return c.source(c.mainLine, "") }

// statements returns the cell as the body of a function.
func (c cell) statements() (source string, end int) { return c.source(-1, "func _() { ") }

// sourceOpen stands before a cell's first line, to make a file of it.
const sourceOpen = "package p; "

func (c cell) source(mainLine int, open string) (string, int) {
	var b strings.Builder
	b.WriteString(sourceOpen)
	b.WriteString(open)
	for i, line := range c.lines {
		switch {
		case i == mainLine:
			b.WriteString("func main() {")
		case c.command[i] || strings.HasPrefix(line, "package"):
		default:
			b.WriteString(line)
		}
		if i < len(c.lines)-1 {
			b.WriteByte('\n')
		}
	}
	end := b.Len()
	if mainLine >= 0 || open != "" {
		b.WriteString("\n}")
	}
	return b.String(), end
}

// empty reports whether there is nothing to run.
func (c cell) empty() bool {
	for i, line := range c.lines {
		if c.special || c.command[i] || strings.TrimSpace(line) != "" {
			return false
		}
	}
	return true
}
