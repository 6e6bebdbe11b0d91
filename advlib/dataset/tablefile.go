package dataset

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// TableFile says how a file of rows is read: CSV, with whatever separator, or ARFF, packed by gzip or not. The file
// says which, by its first characters. Most files need nothing but the Path.
//
// A column is one of numbers if its first cell is a number, and of whole numbers if all of its cells are; else it is a
// category. What does not fit is an error that names line and column, or, with Skip, a row that is left out and
// counted.
//
// Cells of numbers are read as float32, in which inputs are. Whole numbers above 2²⁴ may be rounded: the table's Notes
// say where.
type TableFile struct {
	// Path is where the file is.
	Path string
	// Comma separates cells; 0 means that the header says it: a comma, a semicolon, a tab or a bar. ARFF has commas.
	Comma rune
	// DecimalComma says that 1,5 is one and a half.
	DecimalComma bool
	// NoHeader says that the first line is a row. Names are then the names of the columns, or "column 1" and so on. With
	// a header, Names replace its own.
	NoHeader bool
	Names    []string
	// RenameDuplicates gives the second column of a name, as CICFlowMeter writes one, the name with ".1" behind it, as
	// pandas does. Otherwise it is an error.
	RenameDuplicates bool
	// Kinds are those of columns, by their names, that are not to be guessed.
	Kinds map[string]Kind
	// Categories are those of columns, by their names, in their order. Other texts are an error.
	Categories map[string][]string
	// Ignore names columns that are not kept, such as time stamps.
	Ignore []string
	// Missing are texts of cells without a value besides the empty one. Nil means ?, NA, N/A, NaN and null, in capitals
	// or not.
	Missing []string
	// Skip leaves out rows that cannot be read, with too few cells or a text for a number, and counts them in the Notes.
	Skip bool
}

// Table reads the file.
func (f TableFile) Table() (*Table, error) {
	file, err := os.Open(f.Path)
	if err != nil {
		return nil, fmt.Errorf("dataset: %w", err)
	}
	defer file.Close()
	t, err := f.Read(file)
	if err != nil {
		return nil, fmt.Errorf("dataset: %s: %w", f.Path, err)
	}
	return t, nil
}

// Read reads the file's content from r; the Path is a name only.
func (f TableFile) Read(r io.Reader) (*Table, error) {
	text, err := plainText(r)
	if err != nil {
		return nil, err
	}
	t := &reading{TableFile: f, missing: map[string]bool{"": true}}
	if f.Missing == nil {
		f.Missing = []string{"?", "na", "n/a", "nan", "null"}
		t.fold = true
	}
	for _, m := range f.Missing {
		t.missing[m] = true
	}
	if isARFF(text) {
		err = t.arff(text)
	} else {
		err = t.csv(text)
	}
	if err != nil {
		return nil, err
	}
	return t.table()
}

// plainText unpacks what is packed by gzip, and takes the byte order mark away.
func plainText(r io.Reader) (*bufio.Reader, error) {
	b := bufio.NewReaderSize(r, 1<<16)
	if start, err := b.Peek(2); err == nil && start[0] == 0x1f && start[1] == 0x8b {
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, fmt.Errorf("it begins like a gzip file, but is none: %w", err)
		}
		b = bufio.NewReaderSize(z, 1<<16)
	}
	start, err := b.Peek(3)
	switch {
	case len(start) == 0 && (err == nil || errors.Is(err, io.EOF)):
		return nil, fmt.Errorf("it is empty")
	case len(start) == 0:
		return nil, err
	case bytes.HasPrefix(start, []byte("\xef\xbb\xbf")):
		_, err = b.Discard(3)
	case bytes.HasPrefix(start, []byte("\xff\xfe")), bytes.HasPrefix(start, []byte("\xfe\xff")):
		return nil, fmt.Errorf("it is in UTF-16: save it as UTF-8")
	default:
		err = nil
	}
	return b, err
}

// cellError is what is wrong with a row.
type cellError struct {
	line, column int // from 1; column 0 is the whole row
	name, what   string
}

// Error names line and column.
func (e *cellError) Error() string {
	if e.column == 0 {
		return fmt.Sprintf("line %d: %s", e.line, e.what)
	}
	return fmt.Sprintf("line %d, column %d (%q): %s", e.line, e.column, e.name, e.what)
}

// reading is a file while it is read.
type reading struct {
	TableFile
	missing map[string]bool
	fold    bool // the missing texts are in small letters
	names   []string
	columns []*growing // nil for columns that are ignored
	lines   chunks[int32]
	skipped int
	first   error // why the first row was left out
}

// chunks is a column that grows without being copied.
type chunks[T any] struct {
	full [][]T
	last []T
}

const chunkRows = 1 << 14

func (c *chunks[T]) add(v T) {
	if len(c.last) == cap(c.last) {
		if c.last != nil {
			c.full = append(c.full, c.last)
		}
		c.last = make([]T, 0, chunkRows)
	}
	c.last = append(c.last, v)
}

// whole returns the column in one piece, and lets go of the pieces.
func (c *chunks[T]) whole() []T {
	out := make([]T, 0, len(c.full)*chunkRows+len(c.last))
	for i, part := range c.full {
		out = append(out, part...)
		c.full[i] = nil
	}
	out = append(out, c.last...)
	c.full, c.last = nil, nil
	return out
}

// maxCategories is how many different texts a column may have: more are names of single rows.
const maxCategories = 1 << 16

// growing is a column while it is read.
type growing struct {
	name     string
	kind     Kind
	numbers  chunks[float32]
	codes    chunks[int32]
	code     map[string]int32
	texts    []string
	closed   bool // no other categories than those declared
	fraction bool // a number that is not whole was read
	some     int  // cells that are not missing
	none     int  // cells that are missing
	rounded  int  // whole numbers that float32 does not hold
	cell     cell // of the row that is being read
}

// cell is what a cell holds: nothing, a number, or a text.
type cell struct {
	missing bool
	number  float64
	text    string
	isText  bool
}

// begin takes the names of the columns; the kinds and categories of some may be declared.
func (t *reading) begin(line int, names []string, declared func(i int) (Kind, []string)) error {
	names = slices.Clone(names)
	for i := range names {
		names[i] = strings.TrimSpace(names[i])
	}
	if t.Names != nil {
		if len(t.Names) != len(names) {
			return fmt.Errorf("line %d: it has %d columns, and Names are %d: %q", line, len(names), len(t.Names), t.Names)
		}
		copy(names, t.Names)
	}
	at := map[string]int{}
	for i, name := range names {
		if name == "" {
			name = fmt.Sprintf("column %d", i+1)
		}
		if j, twice := at[name]; twice {
			if !t.RenameDuplicates {
				return fmt.Errorf("line %d: the columns %d and %d are both called %q: give Names, or set RenameDuplicates", line, j+1, i+1,
					name)
			}
			base := name
			for k := 1; twice; k++ {
				name = fmt.Sprintf("%s.%d", base, k)
				_, twice = at[name]
			}
		}
		at[name] = i
		names[i] = name
	}
	for _, asked := range []struct {
		field string
		names []string
	}{{"Ignore", t.Ignore}, {"Kinds", sortedKeys(t.Kinds)}, {"Categories", sortedKeys(t.Categories)}} {
		for _, name := range asked.names {
			if _, ok := at[name]; !ok {
				return fmt.Errorf("there is no column %q, which %s names: there are %q", name, asked.field, names)
			}
		}
	}
	t.names = names
	for i, name := range names {
		if slices.Contains(t.Ignore, name) {
			t.columns = append(t.columns, nil)
			continue
		}
		c := &growing{name: name, kind: t.Kinds[name]}
		kind, texts := declared(i)
		if c.kind == Unknown {
			c.kind = kind
		}
		if given := t.Categories[name]; given != nil {
			c.kind, texts = Category, given
		}
		if c.kind == Category {
			c.code, c.closed = map[string]int32{}, texts != nil
			for _, text := range texts {
				if _, twice := c.code[text]; twice {
					return fmt.Errorf("the column %q has the category %q twice", name, text)
				}
				c.code[text] = int32(len(c.texts))
				c.texts = append(c.texts, text)
			}
		}
		t.columns = append(t.columns, c)
	}
	return nil
}

func undeclared(int) (Kind, []string) { return Unknown, nil }

// row takes a row, or leaves it out and counts it. Quoted tells that a cell was in quotes, so that it is a text even
// if it looks as if it were missing; it may be nil.
func (t *reading) row(line int, cells []string, quoted func(i int) bool) error {
	err := t.parse(line, cells, quoted)
	if err != nil {
		return t.leaveOut(err)
	}
	for _, c := range t.columns {
		if c != nil {
			c.take()
		}
	}
	t.lines.add(int32(line))
	return nil
}

// leaveOut returns err, or counts it.
func (t *reading) leaveOut(err error) error {
	if !t.Skip {
		return err
	}
	if t.skipped++; t.first == nil {
		t.first = err
	}
	return nil
}

// parse reads all cells of a row before any is taken.
func (t *reading) parse(line int, cells []string, quoted func(i int) bool) error {
	if len(cells) != len(t.names) {
		return &cellError{line: line, what: fmt.Sprintf("it has %d cells, and there are %d columns", len(cells), len(t.names))}
	}
	for i, c := range t.columns {
		if c == nil {
			continue
		}
		cell := strings.TrimSpace(cells[i])
		missing := t.isMissing(cell) && (quoted == nil || !quoted(i) || cell == "")
		if c.closed && missing {
			_, declared := c.code[cell]
			missing = !declared
		}
		if what := c.parse(cell, missing, t.DecimalComma); what != "" {
			return &cellError{line, i + 1, c.name, what}
		}
	}
	return nil
}

func (t *reading) isMissing(cell string) bool {
	if t.fold {
		if len(cell) > 4 || cell != "" && cell[0] >= '0' && cell[0] <= '9' { // most cells, at once
			return false
		}
		cell = strings.ToLower(cell)
	}
	return t.missing[cell]
}

// parse reads a cell, and returns what is wrong with it.
func (c *growing) parse(text string, missing, decimalComma bool) string {
	c.cell = cell{missing: missing}
	if missing {
		return ""
	}
	if c.kind != Category {
		v, err := parseNumber(text, decimalComma)
		switch {
		case err == nil && c.kind == Whole && v != math.Trunc(v):
			return fmt.Sprintf("%q is no whole number", text)
		case err == nil && math.Abs(v) > math.MaxFloat32 && !math.IsInf(v, 0):
			return fmt.Sprintf("%q does not fit float32, in which inputs are", text)
		case err == nil:
			c.cell.number = v
			return ""
		case c.kind != Unknown:
			return fmt.Sprintf("%q is not a number", text)
		case c.some > 0:
			return fmt.Sprintf("%q is not a number, as the %d cells before it are: if they are names, say so by Kinds", text, c.some)
		}
	}
	if _, known := c.code[text]; !known {
		switch {
		case c.closed:
			return fmt.Sprintf("%q is none of its categories %s", text, listing(c.texts))
		case len(c.texts) == maxCategories:
			return fmt.Sprintf("%q is one more than %d different texts: leave the column out by Ignore", text, maxCategories)
		}
	}
	c.cell.text, c.cell.isText = text, true
	return ""
}

// take adds the cell that was parsed last.
func (c *growing) take() {
	if c.cell.isText && c.kind == Unknown { // the first cell that is not missing
		c.kind, c.code = Category, map[string]int32{}
		for range c.none {
			c.codes.add(-1)
		}
		c.numbers = chunks[float32]{}
	}
	if c.cell.missing {
		c.none++
	} else {
		c.some++
	}
	switch v := c.cell.number; {
	case c.kind == Category && c.cell.missing:
		c.codes.add(-1)
	case c.kind == Category:
		k, known := c.code[c.cell.text]
		if !known {
			k = int32(len(c.texts))
			own := strings.Clone(c.cell.text) // a cell is a part of its line, which would be kept
			c.code[own], c.texts = k, append(c.texts, own)
		}
		c.codes.add(k)
	case c.cell.missing:
		c.numbers.add(float32(math.NaN()))
	default:
		if v != math.Trunc(v) || math.IsInf(v, 0) {
			c.fraction = true
		} else if float64(float32(v)) != v {
			c.rounded++
		}
		c.numbers.add(float32(v))
	}
}

// parseNumber reads a number, infinities among them.
func parseNumber(cell string, decimalComma bool) (float64, error) {
	if decimalComma {
		if strings.Contains(cell, ".") {
			return 0, fmt.Errorf("a point")
		}
		cell = strings.Replace(cell, ",", ".", 1)
	}
	if strings.ContainsAny(cell, "_xXpP") { // Go's own numbers
		return 0, fmt.Errorf("no number")
	}
	v, err := strconv.ParseFloat(cell, 64)
	if err != nil && errors.Is(err, strconv.ErrRange) {
		return math.MaxFloat64, nil // too large: said by the caller, who knows what for
	}
	return v, err
}

// csv reads a file of separated cells.
func (t *reading) csv(text *bufio.Reader) error {
	if t.Comma == 0 {
		t.Comma = separator(text)
	}
	in := csv.NewReader(text)
	in.Comma, in.FieldsPerRecord, in.ReuseRecord = t.Comma, -1, true
	line := 0
	for {
		cells, err := in.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			var bad *csv.ParseError
			if !errors.As(err, &bad) {
				return fmt.Errorf("behind line %d: %w", line, err)
			}
			what := fmt.Sprintf("character %d: %v", bad.Column, bad.Err)
			if errors.Is(bad.Err, csv.ErrQuote) {
				what = fmt.Sprintf("a cell in quotes has not ended by line %d, character %d, or has a quote in it that is not doubled", bad.Line,
					bad.Column)
			}
			err := error(&cellError{line: bad.StartLine, what: what})
			if t.names != nil {
				err = t.leaveOut(err)
			}
			if err != nil {
				return err
			}
			continue
		}
		line, _ = in.FieldPos(0)
		if t.names == nil {
			names := cells
			if t.NoHeader {
				names = make([]string, len(cells))
				if t.Names != nil && len(t.Names) != len(cells) {
					return fmt.Errorf("line %d: it has %d cells, and Names are %d", line, len(cells), len(t.Names))
				}
			}
			if err := t.begin(line, names, undeclared); err != nil || !t.NoHeader {
				if err != nil {
					return err
				}
				continue
			}
		}
		if err := t.row(line, cells, nil); err != nil {
			return err
		}
	}
	return nil
}

// separator is what the first line of a file separates its cells with: of those that are usual, the most frequent one
// outside of quotes.
func separator(text *bufio.Reader) rune {
	start, _ := text.Peek(1 << 16) // an error is found again by who reads
	counts := map[rune]int{}
	inside, some := false, false
	for _, r := range string(start) {
		if r == '"' {
			inside = !inside
		}
		if r == '\n' && !inside && some {
			break
		}
		some = some || r > ' '
		if !inside {
			counts[r]++
		}
	}
	best := ','
	for _, r := range []rune{';', '\t', '|'} {
		if counts[r] > counts[best] {
			best = r
		}
	}
	return best
}

// table is what was read.
func (t *reading) table() (*Table, error) {
	if t.names == nil {
		return nil, fmt.Errorf("it is empty")
	}
	name := strings.TrimSuffix(filepath.Base(t.Path), ".gz")
	out := &Table{Name: strings.TrimSuffix(name, filepath.Ext(name)), Lines: t.lines.whole()}
	if out.Len() == 0 {
		if t.first != nil {
			return nil, fmt.Errorf("none of its %d rows can be read; the first: %w", t.skipped, t.first)
		}
		return nil, fmt.Errorf("it has a header and no rows")
	}
	if t.skipped > 0 {
		out.Notes = append(out.Notes, fmt.Sprintf("%d rows could not be read and were left out; the first: %v", t.skipped, t.first))
	}
	for _, g := range t.columns {
		if g == nil {
			continue
		}
		c := Column{Name: g.name, Kind: g.kind}
		if g.kind == Category {
			c.Codes, c.Categories, c.Declared = g.codes.whole(), g.texts, g.closed
			if !g.closed {
				sortCategories(&c)
			}
			out.Columns = append(out.Columns, c)
			continue
		}
		c.Numbers = g.numbers.whole()
		if c.Kind == Unknown {
			if c.Kind = Number; !g.fraction && g.some > 0 {
				c.Kind = Whole
			}
		}
		if g.rounded > 0 {
			out.Notes = append(out.Notes, fmt.Sprintf("%d whole numbers of the column %q are rounded: float32 holds those up to 2²⁴",
				g.rounded, g.name))
		}
		out.Columns = append(out.Columns, c)
	}
	return out, nil
}

// sortCategories puts the categories into an order that does not depend on that of the rows: by value if all are
// numbers, else as texts.
func sortCategories(c *Column) {
	order := make([]int, len(c.Categories))
	values, numbers := make([]float64, len(order)), true
	for i, text := range c.Categories {
		v, err := strconv.ParseFloat(text, 64)
		order[i], values[i], numbers = i, v, numbers && err == nil
	}
	slices.SortFunc(order, func(a, b int) int {
		if numbers && values[a] != values[b] {
			if values[a] < values[b] {
				return -1
			}
			return 1
		}
		return strings.Compare(c.Categories[a], c.Categories[b])
	})
	to, texts := make([]int32, len(order)), make([]string, len(order))
	for k, i := range order {
		to[i], texts[k] = int32(k), c.Categories[i]
	}
	c.Categories = texts
	for i, k := range c.Codes {
		if k >= 0 {
			c.Codes[i] = to[k]
		}
	}
}

// listing is some of the texts, quoted.
func listing(texts []string) string {
	const most = 12
	var quoted []string
	for _, text := range texts[:min(len(texts), most)] {
		quoted = append(quoted, strconv.Quote(text))
	}
	s := strings.Join(quoted, ", ")
	if n := len(texts) - most; n > 0 {
		s += fmt.Sprintf(" and %d more", n)
	}
	return s
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
