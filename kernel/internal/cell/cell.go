package cell

import (
	"strings"
)

// Cell is the text of one cell, as GoNB reads it: Go declarations, a main program below a line %%, and command lines
// that begin with % or !.
type Cell struct {
	Lines    []string
	Command  []bool // this line is a command, or continues one
	Special  bool   // %%writefile, %%bash and the like: not Go at all
	MainLine int    // index of the line %% or %main; -1: none
	Test     bool   // %test
	Shell    []string
}

// CommentPrefix hides a command line from Go tools, as GoNB allows.
const CommentPrefix = "//gonb:"

// SpecialCells are the commands that take the whole cell.
var SpecialCells = map[string]bool{"%%writefile": true, "%%script": true, "%%bash": true, "%%sh": true, "%%gx": true}

// Parse follows GoNB's specialcmd.Parse and composer, but for lines of raw strings and comments, which are no commands.
func Parse(code string) Cell {
	c := Cell{Lines: strings.Split(code, "\n"), MainLine: -1}
	c.Command = make([]bool, len(c.Lines))
	first, _, _ := strings.Cut(strings.TrimPrefix(c.Lines[0], CommentPrefix), " ")
	if SpecialCells[first] {
		c.Special = true
		if first != "%%writefile" && first != "%%gx" {
			c.Shell = []string{c.Lines[0]}
		}
		return c
	}
	var raw []bool
	if strings.ContainsAny(code, "`") || strings.Contains(code, "/*") {
		raw = rawLines(c.Lines)
	}
	for i := 0; i < len(c.Lines); i++ {
		if raw != nil && raw[i] {
			continue
		}
		line := strings.TrimPrefix(c.Lines[i], CommentPrefix)
		if len(line) < 2 || line[0] != '%' && line[0] != '!' {
			continue
		}
		c.Command[i] = true
		whole := line
		for strings.HasSuffix(whole, `\`) && i+1 < len(c.Lines) {
			i++
			c.Command[i] = true
			whole = strings.TrimSuffix(whole, `\`) + " " + c.Lines[i]
		}
		word, _, _ := strings.Cut(whole, " ")
		switch {
		case line[0] == '!':
			c.Shell = append(c.Shell, whole)
		case word == "%%" || word == "%main":
			if c.MainLine < 0 {
				c.MainLine = i
			}
		case word == "%test":
			c.Test = true
		}
	}
	return c
}

// GoSource returns the cell as a Go file with the same line numbers: commands are blank, %% begins main, and its end
// is appended. end is the offset where the cell's own text ends.
func (c Cell) GoSource() (source string, end int) { return c.source(c.MainLine, "") }

// Statements returns the cell as the body of a function.
func (c Cell) Statements() (source string, end int) { return c.source(-1, "func _() { ") }

// SourceOpen stands before a cell's first line, to make a file of it.
const SourceOpen = "package p; "

func (c Cell) source(mainLine int, open string) (string, int) {
	var b strings.Builder
	b.WriteString(SourceOpen)
	b.WriteString(open)
	for i, line := range c.Lines {
		switch {
		case i == mainLine:
			b.WriteString("func main() {")
		case c.Command[i] || strings.HasPrefix(line, "package"):
		default:
			b.WriteString(line)
		}
		if i < len(c.Lines)-1 {
			b.WriteByte('\n')
		}
	}
	end := b.Len()
	if mainLine >= 0 || open != "" {
		b.WriteString("\n}")
	}
	return b.String(), end
}

// Empty reports whether there is nothing to run.
func (c Cell) Empty() bool {
	for i, line := range c.Lines {
		if c.Special || c.Command[i] || strings.TrimSpace(line) != "" {
			return false
		}
	}
	return true
}
