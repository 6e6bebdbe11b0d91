package compose

import (
	"go/scanner"
	"go/token"
	"strings"

	"advlab/kernel/internal/cell"
)

// A piece is a declaration or statement at the top of a cell.
type piece struct {
	start, end int // in the cell's text
	line       int // of its first token, from 0
	tok        token.Token
	named      bool // func with a name, maybe a method's
	receiver   string
	name       string // of a func or type
}

// goText is the cell's text without what is not Go: commands and package clauses are blank lines.
func goText(c cell.Cell) string {
	lines := make([]string, len(c.Lines))
	for i, line := range c.Lines {
		if !c.Command[i] && !strings.HasPrefix(line, "package ") {
			lines[i] = line
		}
	}
	return strings.Join(lines, "\n")
}

// split finds the pieces of a cell. It goes by tokens, so that it finds them in a cell with syntax errors, too: what is
// wrong with those is for the parser to say.
func split(text string) (pieces []piece) {
	fset := token.NewFileSet()
	file := fset.AddFile("", fset.Base(), len(text))
	var s scanner.Scanner
	s.Init(file, []byte(text), func(token.Position, string) {}, scanner.ScanComments)
	var tokens []token.Token // of the piece, without comments
	var words []string
	var p piece
	open, depth := false, 0
	flush := func(end int) {
		if open {
			p.end = end
			p.tok, p.named, p.receiver, p.name = kindOf(tokens, words)
			pieces = append(pieces, p)
		}
		p, open, tokens, words = piece{}, false, nil, nil
		depth = 0
	}
	started := -1 // of the comments above a piece
	for {
		pos, tok, lit := s.Scan()
		at := file.Offset(pos)
		switch {
		case tok == token.EOF:
			flush(len(text))
			return pieces
		case tok == token.COMMENT:
			if !open && started < 0 {
				started = at
			}
			continue
		case tok == token.SEMICOLON && depth == 0:
			flush(at)
			started = -1
			continue
		case !open:
			open = true
			p.start = at
			if started >= 0 {
				p.start = started
			}
			p.line = file.Line(pos) - 1
		}
		switch tok {
		case token.LPAREN, token.LBRACK, token.LBRACE:
			depth++
		case token.RPAREN, token.RBRACK, token.RBRACE:
			depth--
		}
		if len(tokens) < 64 {
			tokens, words = append(tokens, tok), append(words, lit)
		}
	}
}

// kindOf tells a function with a name, a method and a type from their first tokens.
func kindOf(tokens []token.Token, words []string) (first token.Token, named bool, receiver, name string) {
	first = tokens[0]
	switch {
	case first == token.TYPE && len(tokens) > 1 && tokens[1] == token.IDENT:
		return first, true, "", words[1]
	case first != token.FUNC || len(tokens) < 2:
		return first, false, "", ""
	case tokens[1] == token.IDENT:
		return first, true, "", words[1]
	case tokens[1] != token.LPAREN:
		return first, false, "", ""
	}
	depth, last := 0, "" // a method is func (…) Name; a literal's parameters are followed by something else
	bracket := 0
	for i := 1; i < len(tokens); i++ {
		switch tokens[i] {
		case token.LPAREN:
			depth++
		case token.LBRACK:
			bracket++
		case token.RBRACK:
			bracket--
		case token.IDENT:
			if bracket == 0 {
				last = words[i]
			}
		case token.RPAREN:
			if depth--; depth == 0 {
				// func (a T) B {…} would be a literal that returns B; a method has its parameters there.
				if i+2 < len(tokens) && tokens[i+1] == token.IDENT && tokens[i+2] == token.LPAREN {
					return first, true, last, words[i+1]
				}
				return first, false, "", ""
			}
		}
	}
	return first, false, "", ""
}

// parts are a cell's pieces by what becomes of them.
type parts struct {
	text     string
	declared []piece // package level, in their places
	hoisted  []piece // package level, although they stand among statements
	body     []piece // statements of main
	from     int     // where the body begins in the text; -1: the cell has none
}

// takeApart sorts a cell's pieces. Below %% everything is the program's, in a cell without it all from the first
// statement on; but functions with a name, imports, and types with methods in this cell are declarations wherever they
// stand.
func takeApart(c cell.Cell) parts {
	p := parts{text: goText(c), from: -1}
	pieces := split(p.text)
	methods := map[string]bool{}
	for _, x := range pieces {
		if x.receiver != "" {
			methods[x.receiver] = true
		}
	}
	below := false
	if c.MainLine >= 0 {
		p.from = lineStart(p.text, c.MainLine+1)
	}
	for _, x := range pieces {
		declares := x.tok == token.IMPORT || x.tok == token.FUNC && x.named || x.tok == token.TYPE || x.tok == token.VAR || x.tok == token.CONST
		hoists := x.tok == token.IMPORT || x.tok == token.FUNC && x.named || x.tok == token.TYPE && methods[x.name]
		if c.MainLine >= 0 {
			below = x.line > c.MainLine
		} else if !declares && !c.Test {
			below = true
		}
		switch {
		case below && hoists:
			p.hoisted = append(p.hoisted, x)
		case below:
			if p.from < 0 {
				p.from = x.start
			}
			p.body = append(p.body, x)
		default:
			p.declared = append(p.declared, x)
		}
	}
	return p
}

// lineStart is the offset at which a line, from 0, begins; the text's end where there is none.
func lineStart(text string, line int) int {
	at := 0
	for range line {
		n := strings.IndexByte(text[at:], '\n')
		if n < 0 {
			return len(text)
		}
		at += n + 1
	}
	return at
}

// place is the line and column, from 1 and in bytes, of an offset.
func place(text string, at int) (line, column int) {
	before := text[:at]
	return strings.Count(before, "\n") + 1, at - strings.LastIndexByte(before, '\n')
}
