package dataset

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// Policy is what is done about a row that has no value for a feature, or one that training has not seen.
type Policy int

// The policies. Refuse is an error that names line and column. Skip leaves the row out and counts it in the Notes.
// Fill, of missing values only, takes the median of the training rows, or their most frequent category.
const (
	Refuse Policy = iota
	Skip
	Fill
)

// String returns "refuse", "skip" or "fill".
func (p Policy) String() string {
	if p < Refuse || p > Fill {
		return fmt.Sprintf("policy %d", int(p))
	}
	return [...]string{"refuse", "skip", "fill"}[p]
}

// Features says what the columns of tables mean: which one is the label, which ones are left out. [Features.Learn]
// takes the rest from the training rows.
type Features struct {
	// Label is the column of the classes.
	Label string
	// Class, if set, returns the class for a text of the label's column: "normal" and "attack" for the names of attacks.
	// An empty class is an error.
	Class func(text string) string
	// Classes are the names of the classes in their order; nil means those of the training rows, sorted.
	Classes []string
	// Ignore are columns that are no features.
	Ignore []string
	// Log are columns that models see as log(1 + x): counts that go from 0 to millions.
	Log []string
	// Missing is what is done about missing and infinite values: Refuse, Skip or Fill.
	Missing Policy
	// Unseen is what is done about categories and classes that the training rows do not have: Refuse or Skip.
	Unseen Policy
}

// Feature is one feature as it was learned from the training rows.
type Feature struct {
	// Name and Kind are those of the column.
	Name string
	Kind Kind
	// Categories are those of the training rows, or all that the file declares.
	Categories []string
	// Lo and Hi are the smallest and the largest value of the training rows.
	Lo, Hi float64
	// Fill stands for a missing value: the median, or the place of the most frequent category.
	Fill float32
	// Log says that models see log(1 + x).
	Log bool
}

// coordinates is how many coordinates the feature takes. A category of one value takes one, which is 0.
func (f *Feature) coordinates() int {
	if f.Kind == Category && len(f.Categories) > 1 {
		return len(f.Categories)
	}
	return 1
}

// Schema is what the training rows have taught: how a row becomes an input of a model, and back. Inputs are in the
// units of the file, categories as one-hot coordinates, so that an input is a record that somebody can read;
// [Schema.Normalize] is the model's first layer.
type Schema struct {
	// Features are in the order of the columns.
	Features []Feature
	// Label is the column of the classes, Classes their names.
	Label   string
	Classes []string

	class           func(text string) string
	missing, unseen Policy
}

// Learn takes ranges, categories, medians and classes from the training rows, and from no others.
func (f Features) Learn(train *Table) (*Schema, error) {
	s, err := f.learn(train)
	if err != nil {
		return nil, fmt.Errorf("dataset: %s: %w", train.Name, err)
	}
	return s, nil
}

func (f Features) learn(train *Table) (*Schema, error) {
	for _, name := range slices.Concat([]string{f.Label}, f.Ignore, f.Log) {
		if c := train.Column(name); c == nil {
			return nil, fmt.Errorf("there is no column %q: there are %q", name, train.Names())
		} else if slices.Contains(f.Log, name) && c.Kind == Category {
			return nil, fmt.Errorf("the column %q is a category, which has no logarithm", name)
		}
	}
	switch {
	case train.Len() == 0:
		return nil, fmt.Errorf("there are no rows to learn from")
	case f.Missing < Refuse || f.Missing > Fill:
		return nil, fmt.Errorf("there is no %v for missing values: there are Refuse, Skip and Fill", f.Missing)
	case f.Unseen < Refuse || f.Unseen > Skip:
		return nil, fmt.Errorf("there is no %v for unseen categories: there are Refuse and Skip", f.Unseen)
	}
	s := &Schema{Label: f.Label, Classes: f.Classes, class: f.Class, missing: f.Missing, unseen: f.Unseen}
	if s.Classes == nil {
		label := train.Column(f.Label)
		seen := map[string]bool{}
		for i := range train.Len() {
			if text := label.text(i); text != "" && !seen[s.classOf(text)] {
				seen[s.classOf(text)] = true
				s.Classes = append(s.Classes, s.classOf(text))
			}
		}
		slices.Sort(s.Classes)
	}
	if len(s.Classes) < 2 {
		return nil, fmt.Errorf("the column %q has the classes %q: there must be at least 2", f.Label, s.Classes)
	}
	for i := range train.Columns {
		c := &train.Columns[i]
		if c.Name == f.Label || slices.Contains(f.Ignore, c.Name) {
			continue
		}
		one, err := learnColumn(c)
		if err != nil {
			return nil, err
		}
		if one.Log = slices.Contains(f.Log, c.Name); one.Log && one.Lo < 0 {
			return nil, fmt.Errorf("the column %q goes down to %g, and log(1 + x) is for values from 0 on", c.Name, one.Lo)
		}
		s.Features = append(s.Features, one)
	}
	if len(s.Features) == 0 {
		return nil, fmt.Errorf("it has no columns but the label and those that are ignored")
	}
	return s, nil
}

// classOf is the class of a label's text.
func (s *Schema) classOf(text string) string {
	if s.class == nil {
		return text
	}
	return s.class(text)
}

// learnColumn learns one feature.
func learnColumn(c *Column) (Feature, error) {
	f := Feature{Name: c.Name, Kind: c.Kind, Lo: math.Inf(1), Hi: math.Inf(-1)}
	if c.Kind == Category {
		count := make([]int, len(c.Categories))
		for _, k := range c.Codes {
			if k >= 0 {
				count[k]++
			}
		}
		most := 0
		for k, n := range count {
			if n == 0 && !c.Declared { // of the rows that test
				continue
			}
			if n > most {
				most, f.Fill = n, float32(len(f.Categories))
			}
			f.Categories = append(f.Categories, c.Categories[k])
		}
		if len(f.Categories) == 0 {
			return f, fmt.Errorf("the column %q has no values: leave it out by Ignore", c.Name)
		}
		f.Lo, f.Hi = 0, 1
		return f, nil
	}
	var finite []float32
	for _, v := range c.Numbers {
		if isFinite(v) {
			finite = append(finite, v)
		}
	}
	if len(finite) == 0 {
		return f, fmt.Errorf("the column %q has no values: leave it out by Ignore", c.Name)
	}
	slices.Sort(finite)
	f.Lo, f.Hi, f.Fill = float64(finite[0]), float64(finite[len(finite)-1]), finite[len(finite)/2]
	return f, nil
}

func isFinite(v float32) bool { return v == v && !math.IsInf(float64(v), 0) }

// Coordinates is how many coordinates an input has.
func (s *Schema) Coordinates() int {
	n := 0
	for i := range s.Features {
		n += s.Features[i].coordinates()
	}
	return n
}

// Examples makes inputs of the rows. The number of an example is its line in the file. A column that is missing, a text
// for a number, a category that training has not seen: all are errors that name the column and the line, or rows that
// are left out and counted in the Notes.
func (s *Schema) Examples(t *Table) (*advlib.Examples, error) {
	e, err := s.examples(t)
	if err != nil {
		return nil, fmt.Errorf("dataset: %s: %w", t.Name, err)
	}
	return e, nil
}

func (s *Schema) examples(t *Table) (*advlib.Examples, error) {
	columns := make([]*Column, len(s.Features))
	codes := make([][]int32, len(s.Features)) // of each category of the table, its place in the schema's
	for i := range s.Features {
		f := &s.Features[i]
		c := t.Column(f.Name)
		switch {
		case c == nil:
			return nil, fmt.Errorf("the column %q is missing, which the model was trained on: there are %q", f.Name, t.Names())
		case (c.Kind == Category) != (f.Kind == Category):
			return nil, fmt.Errorf("the column %q is of kind %v, and was of kind %v in training: say which by Kinds", f.Name, c.Kind, f.Kind)
		}
		columns[i] = c
		for _, text := range c.Categories {
			codes[i] = append(codes[i], int32(slices.Index(f.Categories, text)))
		}
	}
	label := t.Column(s.Label)
	if label == nil {
		return nil, fmt.Errorf("the column %q is missing, which has the classes: there are %q", s.Label, t.Names())
	}
	b := rowsOf{schema: s, table: t, columns: columns, codes: codes, label: label, place: map[string]int32{},
		left: map[string]int{}, example: map[string]error{}}
	for k, name := range s.Classes {
		b.place[name] = int32(k)
	}
	size := s.Coordinates()
	b.x = make([]float32, 0, t.Len()*size)
	b.y, b.index = make([]int32, 0, t.Len()), make([]int64, 0, t.Len())
	for i := range t.Len() {
		if err := b.add(i, size); err != nil {
			return nil, err
		}
	}
	if len(b.y) == 0 {
		return nil, fmt.Errorf("none of its %d rows can be used: %s", t.Len(), strings.Join(b.notes(), "; "))
	}
	return &advlib.Examples{Name: t.Name, X: tensors.FromFlatDataAndDimensions(b.x, len(b.y), size), Y: b.y, Index: b.index,
		Classes: s.Classes, Notes: slices.Concat(t.Notes, b.notes())}, nil
}

// rowsOf makes examples of rows.
type rowsOf struct {
	schema  *Schema
	table   *Table
	columns []*Column
	codes   [][]int32
	label   *Column
	place   map[string]int32
	x       []float32
	y       []int32
	index   []int64
	left    map[string]int   // rows left out, and values filled in, by reason
	example map[string]error // the first of each
}

// add makes an example of a row, or counts why not.
func (b *rowsOf) add(row, size int) error {
	n := len(b.x)
	b.x = b.x[:n+size]
	x := b.x[n:]
	clear(x)
	at := 0
	for i := range b.schema.Features {
		f := &b.schema.Features[i]
		why, policy, err := b.feature(i, row, x[at:at+f.coordinates()])
		if err != nil {
			if policy == Refuse {
				return err
			}
			if b.left[why]++; b.example[why] == nil {
				b.example[why] = err
			}
			if policy == Skip {
				b.x = b.x[:n]
				return nil
			}
		}
		at += f.coordinates()
	}
	text := b.label.text(row)
	k, known := b.place[b.schema.classOf(text)]
	if !known {
		err := fmt.Errorf("line %d, column %q: the class %q is none of %s", b.table.Lines[row], b.schema.Label, text,
			listing(b.schema.Classes))
		if b.schema.unseen == Refuse {
			return err
		}
		why := "left out, of an unknown class"
		if b.left[why]++; b.example[why] == nil {
			b.example[why] = err
		}
		b.x = b.x[:n]
		return nil
	}
	b.y, b.index = append(b.y, k), append(b.index, int64(b.table.Lines[row]))
	return nil
}

// feature writes the coordinates x of a feature, and says what is wrong, and what is done about it.
func (b *rowsOf) feature(i, row int, x []float32) (why string, policy Policy, err error) {
	f, c := &b.schema.Features[i], b.columns[i]
	set := func(v float32) {
		switch {
		case f.Kind != Category:
			x[0] = v
		case len(x) > 1:
			x[int(v)] = 1
		}
	}
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("line %d, column %q: %s", b.table.Lines[row], f.Name, fmt.Sprintf(format, args...))
	}
	var v float32
	missing := false
	if f.Kind == Category {
		code := c.Codes[row]
		if missing = code < 0; !missing {
			if code = b.codes[i][code]; code < 0 {
				return "left out, of a category that training has not", b.schema.unseen, wrong("the category %q is none of those in training: %s",
					c.text(row), listing(f.Categories))
			}
			v = float32(code)
		}
	} else {
		v = c.Numbers[row]
		missing = !isFinite(v)
	}
	if !missing {
		set(v)
		return "", Refuse, nil
	}
	what := "the value is missing"
	if f.Kind != Category && v == v {
		what = fmt.Sprintf("the value is %g", v)
	}
	if b.schema.missing == Fill {
		set(f.Fill)
		return fmt.Sprintf("missing in the column %q and filled in", f.Name), Fill, wrong("%s", what)
	}
	return "left out, without a value", b.schema.missing, wrong("%s: leave such rows out, or fill them in, by Features.Missing", what)
}

// notes says what was left out and filled in.
func (b *rowsOf) notes() []string {
	var notes []string
	for _, why := range sortedKeys(b.left) {
		notes = append(notes, fmt.Sprintf("%d rows %s; the first: %v", b.left[why], why, b.example[why]))
	}
	return notes
}

// Domain returns the features with their names, steps of 1 for whole numbers, categories, and as scales the widths of
// the training rows' ranges, so that a radius of 0.1 means a tenth of each. The ranges are those of the training rows,
// widened to what is to be attacked, which may lie outside. Features that are constant in training are fixed. Set
// Change and Formula to say what an attacker cannot do.
func (s *Schema) Domain(cover ...*advlib.Examples) (advlib.Domain, error) {
	var d advlib.Domain
	lo, hi := make([]float64, s.Coordinates()), make([]float64, s.Coordinates())
	at := 0
	for i := range s.Features {
		f := &s.Features[i]
		lo[at], hi[at] = f.Lo, f.Hi
		at += f.coordinates()
	}
	for _, e := range cover {
		if len(e.Shape()) != 1 || e.Shape()[0] != len(lo) {
			return nil, fmt.Errorf("dataset: the examples %s have inputs of shape %v, the schema makes [%d]", e.Name, e.Shape(), len(lo))
		}
		tensors.MustConstFlatData(e.X, func(flat []float32) {
			for i, v := range flat {
				j := i % len(lo)
				lo[j], hi[j] = min(lo[j], float64(v)), max(hi[j], float64(v))
			}
		})
	}
	at = 0
	for i := range s.Features {
		f := &s.Features[i]
		one := advlib.Feature{Name: f.Name, Lo: lo[at], Hi: hi[at], Scale: f.Hi - f.Lo}
		switch {
		case f.Kind == Category && len(f.Categories) > 1:
			one = advlib.Feature{Name: f.Name, OneHot: len(f.Categories)}
		case f.Kind == Category:
			one = advlib.Feature{Name: f.Name, Hi: 1, Change: advlib.Fixed}
		case f.Kind == Whole:
			one.Step = 1
		}
		if one.Lo == one.Hi && one.OneHot == 0 {
			one.Hi = one.Lo + 1
		}
		if f.Lo == f.Hi && f.Kind != Category {
			one.Change, one.Scale = advlib.Fixed, 0
		}
		d = append(d, one)
		at += f.coordinates()
	}
	return d, nil
}

// Normalize maps inputs x [n, d] to what a model computes with well: numbers from the training rows' range to [0, 1],
// those of Log by their logarithm. Call it in the model's Logits.
func (s *Schema) Normalize(x *graph.Node) *graph.Node {
	var lo, factor, log []float32
	some := false
	for i := range s.Features {
		f := &s.Features[i]
		from, to := f.Lo, f.Hi
		if f.Log {
			from, to = math.Log1p(from), math.Log1p(to)
		}
		if f.Kind == Category || from == to {
			from, to = min(from, 0), min(from, 0)+1
		}
		for range f.coordinates() {
			lo, factor = append(lo, float32(from)), append(factor, float32(1/(to-from)))
			if f.Log {
				log, some = append(log, 1), true
			} else {
				log = append(log, 0)
			}
		}
	}
	if dims := x.Shape().Dimensions; len(dims) != 2 || dims[1] != len(lo) {
		panic(fmt.Errorf("dataset: inputs of shape %v, the schema makes [n, %d]", dims, len(lo)))
	}
	row := func(v []float32) *graph.Node {
		c := graph.ConstAsDType(x.Graph(), x.DType(), [][]float32{v})
		return graph.BroadcastToDims(c, x.Shape().Dimensions...)
	}
	if some {
		is := row(log)
		x = graph.Add(graph.Mul(is, graph.Log1P(graph.Max(x, graph.ZerosLike(x)))), graph.Mul(graph.OneMinus(is), x))
	}
	return graph.Mul(graph.Sub(x, row(lo)), row(factor))
}

// Record returns the cells of an input, in the order of Features.
func (s *Schema) Record(x []float32) []string {
	cells := make([]string, len(s.Features))
	at := 0
	for i := range s.Features {
		f := &s.Features[i]
		part := x[at : at+f.coordinates()]
		at += f.coordinates()
		c := Column{Kind: f.Kind, Numbers: part[:1], Categories: f.Categories}
		if f.Kind == Category {
			k := 0
			if len(part) > 1 {
				k = slices.Index(part, slices.Max(part))
			}
			c.Codes = []int32{int32(k)}
		}
		cells[i] = c.text(0)
	}
	return cells
}

// Table returns inputs x, flat, as a table of their features and classes: what attacks return, to be written to a file.
func (s *Schema) Table(name string, x []float32, classes []int32, lines []int64) (*Table, error) {
	size := s.Coordinates()
	if len(x) != len(classes)*size || len(lines) != len(classes) {
		return nil, fmt.Errorf("dataset: %d values, %d classes and %d lines: there must be %d values and a line for each class", len(x),
			len(classes), len(lines), size)
	}
	t := &Table{Name: name}
	at := 0
	for i := range s.Features {
		f := &s.Features[i]
		c := Column{Name: f.Name, Kind: f.Kind, Categories: f.Categories}
		for r := range classes {
			part := x[r*size+at : r*size+at+f.coordinates()]
			switch {
			case f.Kind != Category:
				c.Numbers = append(c.Numbers, part[0])
			case len(part) > 1:
				c.Codes = append(c.Codes, int32(slices.Index(part, slices.Max(part))))
			default:
				c.Codes = append(c.Codes, 0)
			}
		}
		t.Columns = append(t.Columns, c)
		at += f.coordinates()
	}
	label := Column{Name: s.Label, Kind: Category, Codes: slices.Clone(classes), Categories: s.Classes}
	t.Columns = append(t.Columns, label)
	for _, line := range lines {
		t.Lines = append(t.Lines, int32(line))
	}
	return t, nil
}
