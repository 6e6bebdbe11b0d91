package scenario

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/dataset"
)

// Outcome is what an attack has made of malicious records.
type Outcome struct {
	// Records are the threat, and Result what the attack returned.
	Records *Records
	Result  *advlib.Result
	// Kinds are the kind of each record, such as "dos"; nil where there is one only.
	Kinds []string
}

// Outcome returns what an attack has made of malicious records. Kind, if it is not nil, tells the kind of the record of
// a line: see [Kinds].
func (r *Records) Outcome(res *advlib.Result, kind func(line int64) string) (*Outcome, error) {
	if res.Adversarial == nil || !slices.Equal(res.Examples.Shape(), []int{r.Coordinates()}) {
		return nil, fmt.Errorf("scenario: the result is of inputs of shape %v, records of %s have [%d]: take what advlib.Run returns for these",
			res.Examples.Shape(), r.Threat.Name, r.Coordinates())
	}
	o := &Outcome{Records: r, Result: res}
	if kind != nil {
		for i := range res.Examples.Len() {
			o.Kinds = append(o.Kinds, kind(res.Examples.Number(i)))
		}
	}
	return o, nil
}

// Kinds tells the kind of the records of a table by their line, from a column, whose texts group maps:
//
//	kind := scenario.Kinds(test, "attack_type", dataset.NSLKDDGroup)
func Kinds(t *dataset.Table, column string, group func(text string) string) func(line int64) string {
	of := make(map[int64]string, t.Len())
	for i, line := range t.Lines {
		of[int64(line)] = group(t.Cell(i, column))
	}
	return func(line int64) string { return of[line] }
}

// Malicious returns the examples of a class, at most n of each kind, and of all if n is 0, in their order: what an
// attacker sends.
func Malicious(e *advlib.Examples, class int32, n int, kind func(line int64) string) *advlib.Examples {
	var rows []int
	count := map[string]int{}
	for i, y := range e.Y {
		k := ""
		if kind != nil {
			k = kind(e.Number(i))
		}
		if y == class && (n == 0 || count[k] < n) {
			count[k]++
			rows = append(rows, i)
		}
	}
	return e.Select(rows)
}

// Evasion is what an attack does to the records of a kind.
type Evasion struct {
	// Kind is the kind; empty for all.
	Kind string
	// Records counts them, Missed those that pass as they are, and Passed those that the attack made to pass, of those
	// that were detected before.
	Records, Missed int
	Passed          advlib.Rate
	// Queries and Distance are the medians over those that were made to pass: questions, 0 for an attack that looks into
	// the model, and the perturbation's norm.
	Queries  int
	Distance float64
}

// Share is the share of all records that pass in the end, attacked where that was needed.
func (e Evasion) Share() float64 {
	if e.Records == 0 {
		return 0
	}
	return float64(e.Missed+e.Passed.Count) / float64(e.Records)
}

// Evasion returns a row for each kind, sorted, and one for all at the end.
func (o *Outcome) Evasion() []Evasion {
	of := map[string][]int{}
	var names []string
	res := o.Result
	for i := range res.Success {
		if !res.Attempted[i] {
			continue
		}
		if o.Kinds != nil {
			if of[o.Kinds[i]] == nil {
				names = append(names, o.Kinds[i])
			}
			of[o.Kinds[i]] = append(of[o.Kinds[i]], i)
		}
		of[""] = append(of[""], i)
	}
	slices.Sort(names)
	var all []Evasion
	for _, name := range append(names, "") {
		e := Evasion{Kind: name, Records: len(of[name])}
		var queries []int
		var distances []float64
		for _, i := range of[name] {
			switch {
			case res.Success[i] && res.Distance[i] == 0:
				e.Missed++
				continue
			case res.Success[i]:
				e.Passed.Count++
				distances = append(distances, res.Distance[i])
				if res.Queries != nil {
					queries = append(queries, res.Queries[i])
				}
			}
			e.Passed.Of++
		}
		e.Distance = math.NaN()
		if slices.Sort(distances); len(distances) > 0 {
			e.Distance = distances[len(distances)/2]
		}
		if slices.Sort(queries); len(queries) > 0 {
			e.Queries = queries[len(queries)/2]
		}
		all = append(all, e)
	}
	return all
}

// Move is a column of a record, or behind it, that has changed.
type Move struct {
	// Column is its name, From and To are its cells.
	Column, From, To string
	// Follows says that it was computed from others.
	Follows bool
}

// Diff is how an adversarial record differs from its original.
type Diff struct {
	// Line is the original's in its file, Kind what it is, Before and After what the model says.
	Line          int64
	Kind          string
	Before, After string
	// Distance is the perturbation's norm.
	Distance float64
	// Moves are the columns that have changed.
	Moves []Move
}

// String is a table of the columns that have changed.
func (d Diff) String() string {
	var b strings.Builder
	kind := ""
	if d.Kind != "" {
		kind = ", " + d.Kind
	}
	fmt.Fprintf(&b, "line %d%s: taken for %s, then for %s; distance %.4g\n", d.Line, kind, d.Before, d.After, d.Distance)
	for _, m := range d.Moves {
		why := ""
		if m.Follows {
			why = "   follows"
		}
		fmt.Fprintf(&b, "  %-28s %12s → %-12s%s\n", m.Column, m.From, m.To, why)
	}
	return b.String()
}

// Diff compares two inputs column by column.
func (r *Records) Diff(x, y []float32) (moves []Move) {
	was, is := r.cells(x), r.cells(y)
	for i, f := range r.Domain {
		if was[i] != is[i] {
			moves = append(moves, Move{f.Name, was[i], is[i], f.Formula != ""})
		}
	}
	return moves
}

// cells are the texts of an input's columns, those behind included.
func (r *Records) cells(x []float32) []string {
	cells := r.Schema.Record(r.Row(x))
	for _, v := range x[r.record:] {
		cells = append(cells, dataset.Cell(v))
	}
	return cells
}

// passed are the rows of the records that the attack made to pass.
func (o *Outcome) passed() (rows []int) {
	for i, ok := range o.Result.Success {
		if ok && o.Result.Distance[i] > 0 {
			rows = append(rows, i)
		}
	}
	return rows
}

// Diffs returns, of each record that the attack made to pass, how it differs from its original.
func (o *Outcome) Diffs() []Diff {
	size := o.Records.Coordinates()
	x, y := tensors.MustCopyFlatData[float32](o.Result.Examples.X), tensors.MustCopyFlatData[float32](o.Result.Adversarial)
	name := func(p advlib.Prediction) string {
		if p.Class < 0 {
			return "nothing"
		}
		return o.Records.Schema.Classes[p.Class]
	}
	var all []Diff
	for _, i := range o.passed() {
		d := Diff{Line: o.Result.Examples.Number(i), Before: name(o.Result.Clean[i]), After: name(o.Result.Final[i]),
			Distance: o.Result.Distance[i], Moves: o.Records.Diff(x[i*size:(i+1)*size], y[i*size:(i+1)*size])}
		if o.Kinds != nil {
			d.Kind = o.Kinds[i]
		}
		all = append(all, d)
	}
	return all
}

// Table returns the records that the attack made to pass, with their true class, to be written by
// [dataset.Table.WriteCSV] or WriteARFF. Behind them it has the columns behind, and the line of the original in its
// file, where whole is true: what somebody needs who checks that they fit together.
func (o *Outcome) Table(whole bool) (*dataset.Table, error) {
	return o.table(o.Result.Adversarial, "adversarial records", whole)
}

// Originals returns the records that [Outcome.Table] has, row by row, as they were before the attack.
func (o *Outcome) Originals(whole bool) (*dataset.Table, error) {
	return o.table(o.Result.Examples.X, "original records", whole)
}

func (o *Outcome) table(x *tensors.Tensor, name string, whole bool) (*dataset.Table, error) {
	r := o.Records
	var flat []float32
	var classes []int32
	var lines []int64
	behind := make([]dataset.Column, len(r.Threat.Behind)+1)
	for i, b := range r.Threat.Behind {
		behind[i] = dataset.Column{Name: b.Column, Kind: dataset.Number}
	}
	behind[len(behind)-1] = dataset.Column{Name: "line", Kind: dataset.Category}
	number := &behind[len(behind)-1]
	size := r.Coordinates()
	tensors.MustConstFlatData(x, func(all []float32) {
		for k, i := range o.passed() {
			row := all[i*size : (i+1)*size]
			flat = append(flat, r.Row(row)...)
			for j, v := range row[r.record:] {
				behind[j].Numbers = append(behind[j].Numbers, v)
			}
			line := o.Result.Examples.Number(i)
			classes, lines = append(classes, o.Result.Examples.Y[i]), append(lines, line)
			number.Codes, number.Categories = append(number.Codes, int32(k)), append(number.Categories, fmt.Sprint(line))
		}
	})
	t, err := r.Schema.Table(name, flat, classes, lines)
	if err != nil {
		return nil, err
	}
	if whole {
		t.Columns = append(t.Columns, behind...)
	}
	return t, nil
}

// Report writes a table of the kinds. A missed record costs missed, in a unit of the user's; 0 leaves costs out.
func (o *Outcome) Report(w io.Writer, missed float64) error {
	cost := ""
	if missed > 0 {
		cost = "    cost of a record"
	}
	fmt.Fprintf(w, "%s, %v\n", o.Result.Attack, o.Result.Threat)
	_, err := fmt.Fprintf(w, "%-10s %8s %8s  %-26s %8s %10s%s\n", "", "records", "missed", "made to pass", "queries", "distance", cost)
	for _, e := range o.Evasion() {
		name := e.Kind
		if name == "" {
			name = "all"
		}
		queries := "–"
		if e.Queries > 0 {
			queries = fmt.Sprint(e.Queries)
		}
		if missed > 0 {
			cost = fmt.Sprintf("    %.3g → %.3g", missed*float64(e.Missed)/float64(max(1, e.Records)), missed*e.Share())
		}
		_, err = fmt.Fprintf(w, "%-10s %8d %8d  %-26s %8s %10.4g%s\n", name, e.Records, e.Missed,
			strings.TrimSpace(e.Passed.String()+" "+e.Passed.Interval()), queries, e.Distance, cost)
	}
	return err
}

// String is what [Outcome.Report] writes, without costs.
func (o *Outcome) String() string {
	var b strings.Builder
	_ = o.Report(&b, 0) // into memory
	return b.String()
}
