package scenario

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/dataset"
)

// Threat says what an attacker can do to the records of a table: [Intrusion], [Websites] and [Pages] are some. A column
// that no rule names is fixed.
//
// A record often does not show what an attacker moves. He opens connections; the record shows how many there are, and
// which share of them failed. So a threat has columns behind those of the record: what was counted before he did
// anything, and what he adds. The record's columns follow from them by formulas, and whatever he does they fit
// together.
type Threat struct {
	// Name is shown in messages.
	Name string
	// Behind are the columns behind the record, in their order.
	Behind []Behind
	// Rules are what can be done to the record's columns.
	Rules []Rule
	// Tolerance is by how much, relative to 1 or to its value if that is larger, a table may miss what its columns follow
	// from: tables round. Rows that miss it by more are left out, and counted.
	Tolerance float64
}

// Rule is what an attacker can do to a column of the record.
type Rule struct {
	// Column is its name.
	Column string
	// Formula, if set, is what the column follows from, as in [advlib.Domain]; there flag[SF] is 1 for the category SF.
	Formula string
	// Change and Scale are the direction in which an attacker can move a column without a formula, and the change that
	// costs 1; 0 means 1.
	Change advlib.Change
	Scale  float64
	// Lo and Hi widen the range in which it may be, which is that of the tables.
	Lo, Hi float64
	// Step, if above 0, is the distance of two values; 0 leaves what the table's kind of column has.
	Step float64
	// Grows says that no move makes the column smaller: what [Records.Monotone] takes for evidence.
	Grows bool
	// Why says in a few words how an attacker does it.
	Why string
}

// Behind is a column behind the record.
type Behind struct {
	// Column is its name.
	Column string
	// Of is a formula of the record's columns, for what was before the attacker did anything. Without it the column is
	// something that he adds: it is 0, and can rise to Most.
	Of   string
	Most float64
	// Change, Scale and Step are as in a [Rule]. What an attacker adds can rise only; what was before is fixed, unless
	// Free is set, which makes it something that he chooses.
	Free        bool
	Scale, Step float64
	// Counted says that a defender who counts sees it, too, such as the number of failed connections behind their share.
	Counted bool
	// Why says in a few words what it is.
	Why string
}

// Records are inputs in which a threat's attacker moves: a record's coordinates, as a [dataset.Schema] has them, and
// the columns behind.
type Records struct {
	// Threat is what the attacker can do, Schema how rows become coordinates, and Domain both, for classifiers.
	Threat Threat
	Schema *dataset.Schema
	Domain advlib.Domain

	before advlib.Domain // computes the columns behind from the record
	record int           // coordinates of the record
}

// Learn takes the schema from the training rows. The ranges in which an attacker moves are those of the training rows
// and of the other tables, which hold what will be attacked.
func (t Threat) Learn(f dataset.Features, train *dataset.Table, also ...*dataset.Table) (*Records, error) {
	r, err := t.learn(f, train, also)
	if err != nil {
		return nil, fmt.Errorf("scenario: %s: %w", t.Name, err)
	}
	return r, nil
}

// MustLearn is [Threat.Learn] for notebooks, examples and tests: it panics on an error.
func (t Threat) MustLearn(f dataset.Features, train *dataset.Table, also ...*dataset.Table) *Records {
	r, err := t.Learn(f, train, also...)
	if err != nil {
		panic(err)
	}
	return r
}

func (t Threat) learn(f dataset.Features, train *dataset.Table, also []*dataset.Table) (*Records, error) {
	schema, err := f.Learn(train)
	if err != nil {
		return nil, err
	}
	r := &Records{Threat: t, Schema: schema, record: schema.Coordinates()}
	var cover []*advlib.Examples
	for _, table := range append([]*dataset.Table{train}, also...) {
		e, err := schema.Examples(table)
		if err != nil {
			return nil, err
		}
		cover = append(cover, e)
	}
	plain, err := schema.Domain(cover...)
	if err != nil {
		return nil, err
	}
	for i := range plain {
		plain[i].Change = advlib.EitherWay
	}
	r.before = slices.Clone(plain)
	for _, b := range t.Behind {
		one := advlib.Feature{Name: b.Column, Hi: 1}
		if b.Of != "" {
			if one, err = r.derived(b.Column, b.Of); err != nil {
				return nil, err
			}
		}
		r.before = append(r.before, one)
	}
	r.Domain = slices.Clone(plain)
	if err := r.rule(); err != nil {
		return nil, err
	}
	return r, r.behind(cover)
}

// rule makes the domain's features of the record what the rules say.
func (r *Records) rule() error {
	for i := range r.Domain {
		r.Domain[i].Change = advlib.Fixed
	}
	for _, rule := range r.Threat.Rules {
		i := slices.IndexFunc(r.Schema.Features, func(f dataset.Feature) bool { return f.Name == rule.Column })
		if i < 0 {
			return fmt.Errorf("the table has no column %q, which the threat has a rule for", rule.Column)
		}
		f := &r.Domain[i]
		if rule.Formula != "" {
			one, err := r.derived(rule.Column, rule.Formula)
			if err != nil {
				return err
			}
			*f = one // its range follows from those of the others
			continue
		}
		f.Change, f.Scale = rule.Change, max(rule.Scale, 0)
		if rule.Lo != 0 || rule.Hi != 0 {
			f.Lo, f.Hi = min(f.Lo, rule.Lo), max(f.Hi, rule.Hi)
		}
		if rule.Step > 0 {
			f.Step = rule.Step
		}
	}
	return nil
}

// behind appends the columns behind to the domain, with the ranges that they have in examples.
func (r *Records) behind(cover []*advlib.Examples) error {
	lo, hi := make([]float64, len(r.Threat.Behind)), make([]float64, len(r.Threat.Behind))
	for _, e := range cover {
		x, err := r.lift(e)
		if err != nil {
			return err
		}
		tensors.MustConstFlatData(x.X, func(flat []float32) {
			for row := range slices.Chunk(flat, r.record+len(lo)) {
				for i, v := range row[r.record:] {
					lo[i], hi[i] = min(lo[i], float64(v)), max(hi[i], float64(v))
				}
			}
		})
		advlib.Free(x.X)
	}
	for i, b := range r.Threat.Behind {
		f := advlib.Feature{Name: b.Column, Lo: lo[i], Hi: max(hi[i], b.Most, lo[i]+1), Scale: b.Scale, Step: b.Step}
		switch {
		case b.Of == "":
			f.Change = advlib.RiseOnly
		case !b.Free:
			f.Change, f.Scale = advlib.Fixed, 0
		}
		r.Domain = append(r.Domain, f)
	}
	return nil
}

var categoryNamed = regexp.MustCompile(`(\w+)\[(\w+)\]`)

// derived is a feature with a formula, whose categories are named.
func (r *Records) derived(name, formula string) (advlib.Feature, error) {
	var wrong error
	formula = categoryNamed.ReplaceAllStringFunc(formula, func(s string) string {
		m := categoryNamed.FindStringSubmatch(s)
		i := slices.IndexFunc(r.Schema.Features, func(f dataset.Feature) bool { return f.Name == m[1] })
		if i < 0 || r.Schema.Features[i].Kind != dataset.Category {
			wrong = fmt.Errorf("the formula of %q has the category %s, and the table has no column of categories %q", name, s, m[1])
			return s
		}
		k := slices.Index(r.Schema.Features[i].Categories, m[2])
		switch {
		case k < 0:
			return "0"
		case len(r.Schema.Features[i].Categories) == 1:
			return "1"
		}
		return fmt.Sprintf("%s[%d]", m[1], k)
	})
	return advlib.Feature{Name: name, Formula: formula}, wrong
}

// lift appends to the coordinates of records those behind.
func (r *Records) lift(e *advlib.Examples) (*advlib.Examples, error) {
	n := len(r.Threat.Behind)
	if n == 0 {
		out := *e
		out.X = tensors.FromFlatDataAndDimensions(tensors.MustCopyFlatData[float32](e.X), e.X.Shape().Dimensions...)
		return &out, nil
	}
	var x []float32
	tensors.MustConstFlatData(e.X, func(flat []float32) {
		for row := range slices.Chunk(flat, r.record) {
			x = append(append(x, row...), make([]float32, n)...)
		}
	})
	out := *e
	out.X = tensors.FromFlatDataAndDimensions(x, e.Len(), r.record+n)
	lifted, err := r.before.Recompute(&out)
	if err != nil {
		return nil, err
	}
	lifted.Notes = e.Notes
	return lifted, nil
}

// Examples makes inputs of a table's rows: see [dataset.Schema.Examples]. Columns that follow from others are computed
// from them, so that an attack starts at a record that fits together; the notes say by how much at most that changes
// what the table has. Rows that miss the threat's Tolerance are left out, and counted in the notes.
func (r *Records) Examples(t *dataset.Table) (*advlib.Examples, error) {
	e, err := r.Schema.Examples(t)
	if err != nil {
		return nil, err
	}
	lifted, err := r.lift(e)
	if err != nil {
		return nil, fmt.Errorf("scenario: %s: %w", t.Name, err)
	}
	fits, err := r.Domain.Recompute(lifted)
	if err != nil {
		return nil, fmt.Errorf("scenario: %s: %w", t.Name, err)
	}
	was, is := tensors.MustCopyFlatData[float32](lifted.X), tensors.MustCopyFlatData[float32](fits.X)
	size := r.Coordinates()
	var rows []int
	left := ""
	for i := range e.Len() {
		if why := r.misses(was[i*size:(i+1)*size], is[i*size:(i+1)*size]); why == "" {
			rows = append(rows, i)
		} else if left == "" {
			left = fmt.Sprintf("the first: line %d, %s", e.Number(i), why)
		}
	}
	if len(rows) == e.Len() {
		return fits, nil
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("scenario: %s: in none of its %d rows the columns fit together; %s", t.Name, e.Len(), left)
	}
	some := fits.Select(rows)
	some.Notes = append(slices.Clone(fits.Notes), fmt.Sprintf("%d rows left out, whose columns do not fit together; %s",
		e.Len()-len(rows), left))
	return some, nil
}

// misses says which column of a row misses the tolerance, and by how much; "" if none does.
func (r *Records) misses(was, is []float32) string {
	at := 0
	for _, f := range r.Domain {
		v, w := float64(was[at]), float64(is[at])
		at += max(1, f.OneHot)
		if f.Formula != "" && math.Abs(v-w) > r.Threat.Tolerance*max(1, math.Abs(v)) {
			return fmt.Sprintf("column %q: it is %g, and %s gives %g", f.Name, float32(v), f.Formula, float32(w))
		}
	}
	return ""
}

// MustExamples is [Records.Examples] for notebooks, examples and tests: it panics on an error.
func (r *Records) MustExamples(t *dataset.Table) *advlib.Examples {
	e, err := r.Examples(t)
	if err != nil {
		panic(err)
	}
	return e
}

// Coordinates is how many coordinates an input has, those behind the record included.
func (r *Records) Coordinates() int { return r.record + len(r.Threat.Behind) }

// Seen returns what a model of records sees of inputs x [n, d]: the record's coordinates, by [dataset.Schema.Normalize]
// mapped to what a model computes with well. Of what is behind it sees nothing.
func (r *Records) Seen(x *graph.Node) *graph.Node {
	if dims := x.Shape().Dimensions; len(dims) != 2 || dims[1] != r.Coordinates() {
		panic(fmt.Errorf("scenario: inputs of shape %v, the records of %s have [n, %d]", dims, r.Threat.Name, r.Coordinates()))
	}
	return r.Schema.Normalize(graph.Slice(x, graph.AxisRange(), graph.AxisRange(0, r.record)))
}

// On makes a model of the package zoo, or of one's own, a model of these records, which sees of them what
// [Records.Seen] says:
//
//	m := zoo.MLP(32)
//	m.Build, m.Domain = r.On(m.Build), r.Domain
func (r *Records) On(build func(classes int) advlib.LogitsFn) func(classes int) advlib.LogitsFn {
	return func(classes int) advlib.LogitsFn {
		logits := build(classes)
		return func(scope *model.Scope, x *graph.Node) *graph.Node { return logits(scope, r.Seen(x)) }
	}
}

// Row is the record of an input: its coordinates without those behind, shared with it.
func (r *Records) Row(x []float32) []float32 { return x[:r.record] }

// Scaled is the record of an input in the places of its columns' ranges, 0 to 1, by their logarithms where the schema
// has them: where distances of records mean something, as for a detector of query sequences.
func (r *Records) Scaled(x []float32) []float32 {
	scaled := make([]float32, 0, r.record)
	for i, f := range r.Schema.Features {
		if n := max(1, r.Domain[i].OneHot); n > 1 || f.Kind == dataset.Category {
			scaled = append(scaled, x[len(scaled):len(scaled)+n]...)
			continue
		}
		v, lo, hi := float64(x[len(scaled)]), f.Lo, f.Hi
		if f.Log {
			v, lo, hi = math.Log1p(max(0, v)), math.Log1p(lo), math.Log1p(hi)
		}
		if lo == hi {
			hi = lo + 1
		}
		scaled = append(scaled, float32((v-lo)/(hi-lo)))
	}
	return scaled
}

// Bare returns v, whose inputs are these, as a victim of records alone, as a service has them: what is behind is
// computed from them, with nothing added.
func (r *Records) Bare(v advlib.Victim) advlib.Victim { return bare{v, r} }

type bare struct {
	advlib.Victim
	of *Records
}

// Signature has the record's coordinates, and the box around their ranges.
func (b bare) Signature() advlib.Signature {
	s := b.Victim.Signature()
	return advlib.Signature{Input: []int{b.of.record}, Box: s.Box, Classes: s.Classes, ClassNames: s.ClassNames, Returns: s.Returns,
		Random: s.Random, Queries: s.Queries, Notes: s.Notes, Warnings: s.Warnings}
}

// Query implements [advlib.Victim].
func (b bare) Query(ctx context.Context, x *tensors.Tensor) ([]advlib.Answer, error) {
	n := x.Shape().Dimensions[0]
	lifted, err := b.of.lift(&advlib.Examples{Name: "records", X: x, Y: make([]int32, n)})
	if err != nil {
		return nil, err
	}
	defer advlib.Free(lifted.X)
	return b.Victim.Query(ctx, lifted.X)
}

// Behind returns v, a victim of records alone such as a service, as one whose inputs are these: attacks move what is
// behind, and the service is sent the record that follows.
func (r *Records) Behind(v advlib.Victim) (advlib.Victim, error) {
	if in := v.Signature().Input; len(in) != 1 || in[0] != r.record {
		return nil, fmt.Errorf("scenario: %s takes inputs of shape %v, a record of %s has [%d]", v.Name(), in, r.Threat.Name, r.record)
	}
	return sender{v, r}, nil
}

type sender struct {
	advlib.Victim
	of *Records
}

// Signature has the coordinates behind the record, too, and the threat's domain.
func (s sender) Signature() advlib.Signature {
	g := s.Victim.Signature()
	return advlib.Signature{Input: []int{s.of.Coordinates()}, Domain: s.of.Domain, Classes: g.Classes, ClassNames: g.ClassNames,
		Returns: g.Returns, Random: g.Random, Queries: g.Queries, Notes: g.Notes, Warnings: g.Warnings}
}

// Query implements [advlib.Victim].
func (s sender) Query(ctx context.Context, x *tensors.Tensor) ([]advlib.Answer, error) {
	var some []float32
	tensors.MustConstFlatData(x, func(flat []float32) {
		for row := range slices.Chunk(flat, s.of.Coordinates()) {
			some = append(some, s.of.Row(row)...)
		}
	})
	y := tensors.FromFlatDataAndDimensions(some, len(some)/s.of.record, s.of.record)
	defer advlib.Free(y)
	return s.Victim.Query(ctx, y)
}

// String is a table of what the attacker can do.
func (r *Records) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %v\n", r.Threat.Name, r.Domain)
	line := func(name, what, why string) {
		if why != "" {
			why = ": " + why
		}
		fmt.Fprintf(&b, "  %-28s %s%s\n", name, what, why)
	}
	for _, c := range r.Threat.Behind {
		if c.Of == "" {
			line(c.Column, fmt.Sprintf("added, up to %g, %g of it cost 1", c.Most, max(1, c.Scale)), c.Why)
		} else if c.Free {
			line(c.Column, "chosen", c.Why)
		}
	}
	for _, rule := range r.Threat.Rules {
		if rule.Formula != "" {
			line(rule.Column, "follows", rule.Formula)
		} else {
			line(rule.Column, rule.Change.String(), rule.Why)
		}
	}
	return b.String()
}
