package vnnlib

import (
	"bytes"
	"fmt"
)

// Place is a line and a column of a file, both counted from 1; the column counts bytes.
type Place struct{ Line, Column int }

// Error is what is wrong with a file, and where.
type Error struct {
	Place
	Problem string
}

// Error returns for example "line 3, column 9: …".
func (e *Error) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Problem)
}

func (p Place) errorf(format string, args ...any) error {
	return &Error{p, fmt.Sprintf(format, args...)}
}

// term is an atom, or a list of terms in parentheses. Its place is that of its first byte.
type term struct {
	Place
	atom string // empty for a list
	list []term
}

// String returns the beginning of a term, for errors.
func (t term) String() string {
	if t.atom != "" {
		return shortened(t.atom)
	}
	if len(t.list) == 0 {
		return "()"
	}
	return "(" + t.list[0].String() + " …)"
}

func shortened(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

// Limits on what is read, far above any file of the competition.
const (
	maxBytes = 1 << 28
	maxDepth = 1000
	maxAtom  = 1 << 10
	// maxCases is the most conjunctions that "and" over "or" is multiplied out to, and maxNumbers the most bounds and
	// coefficients that all cases have together.
	maxCases   = 1 << 16
	maxNumbers = 1 << 24
)

// scanner takes terms from a file, one after the other.
type scanner struct {
	rest []byte
	at   Place
}

func newScanner(text []byte) *scanner { return &scanner{rest: text, at: Place{1, 1}} }

func (s *scanner) advance(n int) {
	taken := s.rest[:n]
	s.rest = s.rest[n:]
	if lines := bytes.Count(taken, []byte{'\n'}); lines > 0 {
		s.at.Line += lines
		s.at.Column = n - bytes.LastIndexByte(taken, '\n')
	} else {
		s.at.Column += n
	}
}

// skip passes over white space and comments.
func (s *scanner) skip() {
	for len(s.rest) > 0 {
		switch s.rest[0] {
		case ' ', '\t', '\r', '\n':
			s.advance(1)
		case ';':
			end := bytes.IndexByte(s.rest, '\n')
			if end < 0 {
				end = len(s.rest) - 1
			}
			s.advance(end + 1)
		default:
			return
		}
	}
}

// next returns the next term on the outermost level; ok is false at the end of the file.
func (s *scanner) next() (t term, ok bool, err error) {
	s.skip()
	if len(s.rest) == 0 {
		return term{}, false, nil
	}
	t, err = s.term(0)
	return t, err == nil, err
}

func (s *scanner) term(depth int) (term, error) {
	start := s.at
	switch c := s.rest[0]; {
	case c == ')':
		return term{}, start.errorf("this parenthesis closes nothing: one is too many, or an opening one is missing before it")
	case c == '(':
		if depth == maxDepth {
			return term{}, start.errorf("parentheses are nested more than %d deep", maxDepth)
		}
		s.advance(1)
		t := term{Place: start}
		for {
			s.skip()
			if len(s.rest) == 0 {
				return term{}, start.errorf("this parenthesis is not closed before the end of the file: the file is cut off, or a closing one is " +
					"missing")
			}
			if s.rest[0] == ')' {
				s.advance(1)
				return t, nil
			}
			inner, err := s.term(depth + 1)
			if err != nil {
				return term{}, err
			}
			t.list = append(t.list, inner)
		}
	case c < ' ' || c > '~':
		return term{}, start.errorf("the byte 0x%02x is no part of VNN-LIB, which is a text of ASCII: is it another kind of file?", c)
	case c == '"' || c == '|':
		return term{}, start.errorf("quoted names and strings are not read: outside of comments there are numbers, names such as X_0, and " +
			"parentheses")
	}
	n := bytes.IndexFunc(s.rest, func(r rune) bool { return r <= ' ' || r > '~' || r == '(' || r == ')' || r == ';' })
	if n < 0 {
		n = len(s.rest)
	}
	if n > maxAtom {
		return term{}, start.errorf("a name or number of %d characters, more than %d", n, maxAtom)
	}
	t := term{Place: start, atom: string(s.rest[:n])}
	s.advance(n)
	return t, nil
}
