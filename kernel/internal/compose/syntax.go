package compose

import (
	"errors"
	"fmt"
	"go/parser"
	"go/scanner"
	"go/token"
	"slices"
	"strings"
)

// SyntaxError says that a cell is no Go.
type SyntaxError struct {
	Line, Column int // in the cell, from 1
	Text         string
	More         int // further errors
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Text) }

// syntax returns the cell's first syntax error, as a *SyntaxError.
func (s *Source) syntax() error {
	text := s.parts.text
	var list scanner.ErrorList
	add := func(at int, message string) {
		line, column := place(text, at)
		list.Add(token.Position{Line: line, Column: column}, message)
	}
	check := func(open, code, shut string, at int) {
		line, column := place(text, at)
		_, err := parser.ParseFile(token.NewFileSet(), "", fmt.Sprintf("package p; %s/*line :%d:%d*/%s%s", open, line, column, code, shut),
			parser.SkipObjectResolution|parser.AllErrors)
		var problems scanner.ErrorList
		if errors.As(err, &problems) {
			list = append(list, problems...)
		} else if err != nil {
			add(at, err.Error())
		}
	}
	for _, p := range slices.Concat(s.parts.declared, s.parts.hoisted, s.parts.body) {
		open, suspect, stray := brackets(text[p.start:p.end])
		if stray >= 0 {
			line, column := place(text, p.start+stray)
			return &SyntaxError{line, column, fmt.Sprintf("there is nothing open for this %c", text[p.start+stray]), 0}
		}
		if open >= 0 {
			line, column := place(text, p.start+open)
			e := &SyntaxError{line, column, fmt.Sprintf("this %c is not closed", text[p.start+open]), 0}
			if at, _ := place(text, p.start+max(suspect, open)); suspect >= 0 && at != line {
				e.Text += fmt.Sprintf("; by the indentation, it is that of line %d which lacks its }", at)
			}
			return e
		}
	}
	for _, p := range slices.Concat(s.parts.declared, s.parts.hoisted) {
		switch {
		case p.tok == token.IMPORT || p.tok == token.CONST || p.tok == token.VAR || p.tok == token.TYPE || p.tok == token.FUNC && p.named:
			check("", text[p.start:p.end], "", p.start)
		case s.cell.Test:
			add(p.start, "a cell of tests has declarations only: put the statements into a function")
		default:
			add(p.start, "statements stand below the line %%, and above it what later cells know, too")
		}
	}
	if s.parts.from >= 0 {
		check("func _() {", s.bodyText(), "\n}", s.parts.from)
	}
	if len(list) == 0 {
		return nil
	}
	list.Sort()
	first := list[0]
	return &SyntaxError{first.Pos.Line, first.Pos.Column, first.Msg, len(list) - 1}
}

// brackets finds the outermost bracket that a text leaves open, and, where a brace was closed by one that is indented
// less, the first such brace: most likely its own is missing. stray is the first bracket that closes nothing. -1: none.
func brackets(text string) (open, suspect, stray int) {
	fset := token.NewFileSet()
	file := fset.AddFile("", fset.Base(), len(text))
	var s scanner.Scanner
	s.Init(file, []byte(text), func(token.Position, string) {}, 0)
	indent := func(at int) int {
		start := strings.LastIndexByte(text[:at], '\n') + 1
		return len(text[start:]) - len(strings.TrimLeft(text[start:], " \t"))
	}
	var stack []int
	suspect = -1
	for {
		pos, tok, _ := s.Scan()
		at := file.Offset(pos)
		switch tok {
		case token.EOF:
			if len(stack) == 0 {
				return -1, -1, -1
			}
			return stack[0], suspect, -1
		case token.LPAREN, token.LBRACK, token.LBRACE:
			stack = append(stack, at)
		case token.RPAREN, token.RBRACK, token.RBRACE:
			if len(stack) == 0 {
				return -1, -1, at
			}
			last := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if tok == token.RBRACE && text[last] == '{' && indent(at) < indent(last) && suspect < 0 {
				suspect = last
			}
		}
	}
}
