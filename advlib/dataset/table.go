package dataset

import (
	"bufio"
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Kind is what the cells of a column are.
type Kind int

// The kinds. Unknown is for [TableFile.Kinds] alone: a reader then decides by what it finds.
const (
	Unknown  Kind = iota
	Number        // any number
	Whole         // whole numbers
	Category      // texts, or numbers that are names
)

// String returns "unknown", "number", "whole" or "category".
func (k Kind) String() string {
	if k < Unknown || k > Category {
		return fmt.Sprintf("kind %d", int(k))
	}
	return [...]string{"unknown", "number", "whole", "category"}[k]
}

// Column is one column of a [Table].
type Column struct {
	// Name is what the file calls it.
	Name string
	// Kind is what its cells are.
	Kind Kind
	// Numbers are the cells of a column that is no category, as float32; NaN where there is none.
	Numbers []float32
	// Codes are the cells of a category, as places in Categories; −1 where there is none. Categories are in the order in
	// which the file declares them (ARFF), else sorted.
	Codes      []int32
	Categories []string
	// Declared says that there are no categories but these: the file, or [TableFile.Categories], says so. Those of other
	// columns are what was found in the rows.
	Declared bool
}

// text returns the cell of a row, "" where there is none. A number is written so that it is read back as the same
// float32.
func (c *Column) text(row int) string {
	if c.Kind == Category {
		if k := c.Codes[row]; k >= 0 {
			return c.Categories[k]
		}
		return ""
	}
	return Cell(c.Numbers[row])
}

// Cell writes a number so that it is read back as the same float32, and "" for one that is missing.
func Cell(v float32) string {
	if v != v {
		return ""
	}
	if a := math.Abs(float64(v)); a != 0 && a < 1e-5 {
		return strconv.FormatFloat(float64(v), 'g', -1, 32)
	}
	return strconv.FormatFloat(float64(v), 'f', -1, 32)
}

// Table is a file of rows in memory, column by column: 4 bytes for each cell.
type Table struct {
	// Name says where it comes from.
	Name string
	// Columns all have as many cells.
	Columns []Column
	// Lines are the line of each row in its file, counted from 1.
	Lines []int32
	// Notes are sentences on what was decided while it was read, and on what was left out.
	Notes []string
}

// Len returns the number of rows.
func (t *Table) Len() int { return len(t.Lines) }

// String describes the table in a line.
func (t *Table) String() string {
	var of [Category + 1]int
	for i := range t.Columns {
		of[t.Columns[i].Kind]++
	}
	return fmt.Sprintf("%s: %d rows of %d columns: %d of numbers, %d of whole numbers, %d of categories", t.Name, t.Len(),
		len(t.Columns), of[Number], of[Whole], of[Category])
}

// Names returns the names of the columns.
func (t *Table) Names() []string {
	names := make([]string, len(t.Columns))
	for i := range names {
		names[i] = t.Columns[i].Name
	}
	return names
}

// Column returns the column of a name, nil if there is none.
func (t *Table) Column(name string) *Column {
	if i := slices.IndexFunc(t.Columns, func(c Column) bool { return c.Name == name }); i >= 0 {
		return &t.Columns[i]
	}
	return nil
}

// Cell returns the text of a cell, "" where it is missing, and where there is no such column.
func (t *Table) Cell(row int, column string) string {
	if c := t.Column(column); c != nil {
		return c.text(row)
	}
	return ""
}

// Select returns the rows for which keep is true, in a table of their own. They keep the numbers of their lines, and
// the columns their categories.
func (t *Table) Select(keep func(row int) bool) *Table {
	var rows []int
	for i := range t.Len() {
		if keep(i) {
			rows = append(rows, i)
		}
	}
	s := &Table{Name: t.Name, Lines: pick(t.Lines, rows), Notes: t.Notes, Columns: slices.Clone(t.Columns)}
	for i := range s.Columns {
		c := &s.Columns[i]
		c.Numbers, c.Codes = pick(c.Numbers, rows), pick(c.Codes, rows)
	}
	return s
}

// pick returns the given rows of a column, nil of one that is nil.
func pick[T any](of []T, rows []int) []T {
	if of == nil {
		return nil
	}
	out := make([]T, len(rows))
	for i, r := range rows {
		out[i] = of[r]
	}
	return out
}

// Split returns the rows that train on, and every n-th one, from the n-th on, that tests.
func (t *Table) Split(n int) (train, test *Table) {
	train = t.Select(func(row int) bool { return row%n != n-1 })
	test = t.Select(func(row int) bool { return row%n == n-1 })
	train.Name, test.Name = t.Name+"/train", t.Name+"/test"
	return train, test
}

// WriteCSV writes a header and the rows, separated by commas, as [TableFile] reads them. Cells that are missing are
// empty.
func (t *Table) WriteCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	if err := out.Write(t.Names()); err != nil {
		return err
	}
	fields := make([]string, len(t.Columns))
	for i := range t.Len() {
		for j := range t.Columns {
			fields[j] = t.Columns[j].text(i)
		}
		if err := out.Write(fields); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// WriteARFF writes the table as a relation of its name, with nominal attributes for categories.
func (t *Table) WriteARFF(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "@relation %s\n\n", quotedARFF(t.Name))
	for i := range t.Columns {
		c := &t.Columns[i]
		kind := map[Kind]string{Number: "real", Whole: "integer"}[c.Kind]
		if c.Kind == Category {
			quoted := make([]string, len(c.Categories))
			for k, name := range c.Categories {
				quoted[k] = quotedARFF(name)
			}
			kind = "{" + strings.Join(quoted, ",") + "}"
		}
		fmt.Fprintf(b, "@attribute %s %s\n", quotedARFF(c.Name), kind)
	}
	fmt.Fprint(b, "\n@data\n")
	for i := range t.Len() {
		for j := range t.Columns {
			if j > 0 {
				b.WriteByte(',')
			}
			c := &t.Columns[j]
			switch cell := c.text(i); {
			case cell == "" && (c.Kind != Category || c.Codes[i] < 0):
				b.WriteByte('?')
			case c.Kind == Category:
				b.WriteString(quotedARFF(cell))
			default:
				b.WriteString(cell)
			}
		}
		b.WriteByte('\n')
	}
	return b.Flush()
}
