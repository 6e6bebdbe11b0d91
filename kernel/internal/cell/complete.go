package cell

import (
	"errors"
	"go/parser"
	"go/scanner"
	"go/token"
	"strings"
)

// IsComplete says whether a console should run the code or ask for another line: complete, incomplete or invalid.
// Statements without a line %% count as complete: the error that follows says what to do.
func IsComplete(code string) (status, indent string) {
	c := Parse(code)
	if c.Special || c.Empty() && c.MainLine < 0 {
		return "complete", ""
	}
	if c.MainLine >= 0 && strings.TrimSpace(strings.Join(c.Lines[c.MainLine+1:], "")) == "" {
		return "incomplete", "" // who types %% has something to say
	}
	if strings.HasSuffix(code, `\`) && c.Command[len(c.Lines)-1] {
		return "incomplete", ""
	}
	status = "invalid"
	for _, form := range []func() (string, int){c.GoSource, c.Statements} {
		source, end := form()
		switch fault, atEnd := syntaxFault(source, end); {
		case !fault:
			return "complete", ""
		case atEnd:
			status = "incomplete"
		}
	}
	if status == "incomplete" {
		indent = indentOf(c.Lines)
	}
	return status, indent
}

// syntaxFault reports whether a Go file has a syntax error, and whether the first one is at or behind offset end, or an
// unfinished literal or comment: then more text may mend it.
func syntaxFault(source string, end int) (fault, atEnd bool) {
	_, err := parser.ParseFile(token.NewFileSet(), "", source, parser.SkipObjectResolution)
	var list scanner.ErrorList
	if !errors.As(err, &list) || len(list) == 0 {
		return err != nil, false
	}
	first := list[0]
	last := len(strings.TrimRight(source[:end], " \t\n"))
	for _, e := range list {
		if strings.Contains(e.Msg, "not terminated") && !strings.Contains(e.Msg, "rune") && e.Msg != "string literal not terminated" {
			return true, true // a raw string or a comment
		}
	}
	return true, first.Pos.Offset >= last
}

// indentOf is the indentation for the next line.
func indentOf(lines []string) string {
	last := lines[len(lines)-1]
	indent := last[:len(last)-len(strings.TrimLeft(last, " \t"))]
	if trimmed := strings.TrimSpace(last); strings.HasSuffix(trimmed, "{") || strings.HasSuffix(trimmed, "(") {
		indent += "\t"
	}
	return indent
}
