package dataset

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
)

// ARFF is the format of Weka: https://waikato.github.io/weka-wiki/formats_and_processing/arff_stable. The reader is our
// own, because those for Go that there are (sbinet/go-arff, CloudForest's) read no nominal attributes, or neither
// quotes nor sparse rows.

// isARFF tells whether the first thing in the text that is no comment is a declaration.
func isARFF(text *bufio.Reader) bool {
	start, _ := text.Peek(1 << 16) // an error is found again by who reads
	for line := range strings.Lines(string(start)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '%' {
			return line[0] == '@'
		}
	}
	return false
}

// arff reads declarations and rows.
func (t *reading) arff(text *bufio.Reader) error {
	var names []string
	var kinds []Kind
	var texts [][]string
	data := false
	for line := 1; ; line++ {
		s, err := text.ReadString('\n')
		if err != nil && err != io.EOF {
			return fmt.Errorf("behind line %d: %w", line-1, err)
		}
		if s == "" && err == io.EOF {
			break
		}
		s = strings.TrimSpace(s)
		switch word, rest := firstWord(s); {
		case s == "" || s[0] == '%':
		case data:
			if err := t.arffRow(line, s); err != nil {
				return err
			}
		case strings.EqualFold(word, "@relation"):
		case strings.EqualFold(word, "@attribute"):
			name, kind, values, err := attribute(rest)
			if err != nil {
				return fmt.Errorf("line %d: %w", line, err)
			}
			names, kinds, texts = append(names, name), append(kinds, kind), append(texts, values)
		case strings.EqualFold(word, "@data"):
			if len(names) == 0 {
				return fmt.Errorf("line %d: @data without a line @attribute before", line)
			}
			if err := t.begin(line, names, func(i int) (Kind, []string) { return kinds[i], texts[i] }); err != nil {
				return err
			}
			data = true
		default:
			return fmt.Errorf("line %d: %.40q stands before @data, where @relation, @attribute and comments (%%) are expected", line, s)
		}
	}
	if !data {
		return fmt.Errorf("it has no line @data: is it cut off?")
	}
	return nil
}

func firstWord(s string) (word, rest string) {
	i := strings.IndexFunc(s, unicode.IsSpace)
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimSpace(s[i:])
}

// attribute reads what stands behind @attribute.
func attribute(s string) (name string, kind Kind, texts []string, err error) {
	if s == "" {
		return "", 0, nil, fmt.Errorf("@attribute without a name")
	}
	var rest string
	if s[0] == '\'' || s[0] == '"' {
		if name, rest, err = unquoteARFF(s); err != nil {
			return "", 0, nil, err
		}
		rest = strings.TrimSpace(rest)
	} else if i := strings.IndexFunc(s, func(r rune) bool { return unicode.IsSpace(r) || r == '{' }); i > 0 {
		name, rest = s[:i], strings.TrimSpace(s[i:])
	} else {
		return "", 0, nil, fmt.Errorf("@attribute %.40q has no type", s)
	}
	switch word, _ := firstWord(strings.ToLower(rest)); {
	case strings.HasPrefix(rest, "{"):
		cells, _, err := arffCells(rest[1:], '}')
		if err != nil {
			return "", 0, nil, fmt.Errorf("@attribute %q: %w", name, err)
		}
		for i, cell := range cells {
			if cell == "" && len(cells) == 1 {
				return "", 0, nil, fmt.Errorf("@attribute %q has no values", name)
			}
			cells[i] = strings.TrimSpace(cell)
		}
		return name, Category, cells, nil
	case word == "numeric" || word == "real":
		return name, Number, nil, nil
	case word == "integer":
		return name, Whole, nil, nil
	case word == "string" || word == "date":
		return name, Category, nil, nil
	}
	return "", 0, nil,
		fmt.Errorf("@attribute %q has the type %.40q: there are numeric, real, integer, string, date and {a, b, …}", name, rest)
}

// arffRow reads a row, or a sparse one: {3 X, 7 Y} has 0, or the first category, in all other columns.
func (t *reading) arffRow(line int, s string) error {
	if s[0] != '{' {
		cells, quoted, err := arffCells(s, 0)
		if err != nil {
			return t.leaveOut(&cellError{line: line, what: err.Error()})
		}
		return t.row(line, cells, func(i int) bool { return quoted[i] })
	}
	pairs, _, err := arffCells(s[1:], '}')
	if err != nil {
		return t.leaveOut(&cellError{line: line, what: err.Error()})
	}
	cells := make([]string, len(t.names))
	for i, c := range t.columns {
		if cells[i] = "0"; c != nil && c.kind == Category && len(c.texts) > 0 {
			cells[i] = c.texts[0]
		}
	}
	for _, pair := range pairs {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		at, value := firstWord(pair)
		i, err := strconv.Atoi(at)
		if err != nil || i < 0 || i >= len(cells) {
			return t.leaveOut(&cellError{line: line, what: fmt.Sprintf("%.40q names no column from 0 to %d", pair, len(cells)-1)})
		}
		if value != "" && (value[0] == '\'' || value[0] == '"') {
			if value, _, err = unquoteARFF(value); err != nil {
				return t.leaveOut(&cellError{line, i + 1, t.names[i], err.Error()})
			}
		}
		cells[i] = value
	}
	return t.row(line, cells, nil)
}

// arffCells splits cells at commas; end, if it is not 0, ends them. Quoted tells which are in quotes. In a sparse row
// quotes are left, because a number stands before them.
func arffCells(s string, end byte) (cells []string, quoted []bool, err error) {
	for {
		s = strings.TrimLeft(s, " \t")
		cell, isQuoted := "", false
		if s != "" && (s[0] == '\'' || s[0] == '"') {
			if cell, s, err = unquoteARFF(s); err != nil {
				return nil, nil, err
			}
			s, isQuoted = strings.TrimLeft(s, " \t"), true
			if s != "" && s[0] != ',' && s[0] != '%' && (end == 0 || s[0] != end) {
				return nil, nil, fmt.Errorf("%.20q stands behind a quoted cell", s)
			}
		} else {
			i := plainEnd(s, end)
			cell, s = strings.TrimSpace(s[:i]), s[i:]
		}
		cells, quoted = append(cells, cell), append(quoted, isQuoted)
		switch {
		case s != "" && s[0] == ',':
			s = s[1:]
		case end == 0 && (s == "" || s[0] == '%'):
			return cells, quoted, nil
		case s != "" && s[0] == end:
			return cells, quoted, nil
		default:
			return nil, nil, fmt.Errorf("the closing %q is missing", end)
		}
	}
}

// plainEnd is where a cell without quotes ends; quotes in the middle, of a sparse row, hide commas.
func plainEnd(s string, end byte) int {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == ',', end != 0 && s[i] == end:
			return i
		case end == '}' && (s[i] == '\'' || s[i] == '"'):
			_, rest, err := unquoteARFF(s[i:])
			if err != nil {
				return len(s)
			}
			i = len(s) - len(rest) - 1
		}
	}
	return len(s)
}

// unquoteARFF reads a text in quotes of either kind, with \ before what it would mean otherwise.
func unquoteARFF(s string) (text, rest string, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			switch s[i] {
			case 'n':
				b.WriteByte('\n')
			case 't':
				b.WriteByte('\t')
			case 'r':
				b.WriteByte('\r')
			default:
				b.WriteByte(s[i])
			}
		case s[i] == s[0]:
			return b.String(), s[i+1:], nil
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", fmt.Errorf("a quote %c is not closed: in ARFF cells end with their line", s[0])
}

// quotedARFF returns a text as a cell.
func quotedARFF(s string) string {
	if s != "" && s != "?" && !strings.ContainsAny(s, " \t\r\n,{}%'\"\\@") && strings.TrimSpace(s) == s {
		return s
	}
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(s) + "'"
}
