package report

import (
	"encoding/json"
	"fmt"
	"html/template"
	"math"
	"slices"
)

// Improvement is a nearer adversarial example, and the query, counted from 1 for each example, that found it. In JSON
// it is the array [query, distance].
type Improvement struct {
	Query    int
	Distance Distance
}

// MarshalJSON writes [query, distance].
func (i Improvement) MarshalJSON() ([]byte, error) { return json.Marshal([]any{i.Query, i.Distance}) }

// UnmarshalJSON reads what MarshalJSON writes.
func (i *Improvement) UnmarshalJSON(text []byte) error {
	var pair []json.RawMessage
	if err := json.Unmarshal(text, &pair); err != nil {
		return err
	}
	if len(pair) != 2 {
		return fmt.Errorf("report: %s is not a query and a distance", text)
	}
	if err := json.Unmarshal(pair[0], &i.Query); err != nil {
		return err
	}
	return json.Unmarshal(pair[1], &i.Distance)
}

// Asks tells whether the attack only asked, and did not look into a model: then its queries are known.
func (a AttackRow) Asks() bool { return len(a.Queries) > 0 }

// CopyQueries takes the queries of row i of another run of the attack for example at of n.
func (a *AttackRow) CopyQueries(at int, from AttackRow, i, n int) {
	if !from.Asks() {
		return
	}
	if a.Queries == nil {
		a.Queries, a.Progress = make([]int, n), make([][]Improvement, n)
	}
	a.Queries[at], a.Progress[at] = from.Queries[i], from.Progress[i]
}

// searched tells whether the attack was run on example i: it was neither skipped nor left out, nor misclassified.
func (a AttackRow) searched(i int) bool {
	return a.Attempted[i] && !a.skipped(i) && !(a.Success[i] && a.Distance[i] == 0)
}

// DistanceAfter returns the distance of the nearest adversarial example for example i that the first queries found:
// +Inf if there is none.
func (a AttackRow) DistanceAfter(i, queries int) float64 {
	d := math.Inf(1)
	for _, p := range a.Progress[i] {
		if p.Query <= queries {
			d = min(d, float64(p.Distance))
		}
	}
	return d
}

// After is what an attack had reached with so many queries for each example, of those it was run on.
type After struct {
	Queries int
	// Success counts the examples for which there was an adversarial one.
	Success Rate
	// Low, Median and High are the quantiles of the distances at 10 %, 50 % and 90 %; +Inf where there was none.
	Low, Median, High float64
}

// Curve returns what the attack had reached after 10, 20, 50, 100, 200, … queries, and after the most that an example
// took. It is nil where queries are not known.
func (a AttackRow) Curve() []After {
	if !a.Asks() {
		return nil
	}
	most := slices.Max(a.Queries)
	var at []int
	for unit := 10; unit < most; unit *= 10 {
		for _, k := range []int{1, 2, 5} {
			if q := k * unit; q < most {
				at = append(at, q)
			}
		}
	}
	var curve []After
	for _, q := range append(at, most) {
		curve = append(curve, a.after(q))
	}
	return curve
}

// after is one point of the curve.
func (a AttackRow) after(queries int) After {
	p := After{Queries: queries}
	var d []float64
	for i := range a.Attempted {
		if !a.searched(i) {
			continue
		}
		d = append(d, a.DistanceAfter(i, queries))
		if p.Success.Of++; !math.IsInf(d[len(d)-1], 1) {
			p.Success.Count++
		}
	}
	slices.Sort(d)
	p.Low, p.Median, p.High = quantile(d, 0.1), quantile(d, 0.5), quantile(d, 0.9)
	return p
}

// quantile returns the smallest of sorted numbers below which, with it, there is the given share of them; NaN of none.
func quantile(sorted []float64, share float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	return sorted[max(0, int(math.Ceil(share*float64(len(sorted))))-1)]
}

// QueryTable is a table below that of the accuracies: what one attack that only asks took, and what it had reached by
// when; without a curve, how inputs were changed, see [Report.ChangeTable], or what was rejected.
type QueryTable struct {
	// Title is a line about the queries of an example.
	Title string
	// Rows are the lines of the table; the first cell of each says what it is, and the first line the numbers of queries.
	Rows [][]string
	// Curve is what the table shows; Minimal tells whether distances are to be shown.
	Curve   []After
	Minimal bool

	drawn template.HTML // the picture, where it is not of the Curve
}

// QueryTables returns the tables of all attacks that only asked, in their order.
func (r *Report) QueryTables() []QueryTable {
	var all []QueryTable
	for _, k := range r.Order() {
		a := r.Attacks[k]
		if !a.Asks() {
			continue
		}
		t := QueryTable{Title: a.queriesLine(), Curve: a.Curve(), Minimal: a.Minimal()}
		if n := len(t.Curve); n == 0 || t.Curve[n-1].Success.Of == 0 {
			t.Curve = nil
		}
		t.fill()
		all = append(all, t)
	}
	return all
}

// tables are all tables below that of the accuracies.
func (r *Report) tables() []QueryTable {
	all := r.QueryTables()
	if t := r.ChangeTable(); len(t.Rows) > 0 {
		all = append(all, t)
	}
	return append(all, r.rejectionTables()...)
}

// fill writes the rows.
func (t *QueryTable) fill() {
	if len(t.Curve) == 0 {
		return
	}
	row := func(what string, of func(p After) string) {
		cells := []string{what}
		for _, p := range t.Curve {
			cells = append(cells, of(p))
		}
		t.Rows = append(t.Rows, cells)
	}
	row("after queries", func(p After) string { return fmt.Sprint(p.Queries) })
	row("success", func(p After) string { return p.Success.String() })
	if t.Minimal {
		row("‖δ‖, 10 % nearer", func(p After) string { return medianText(p.Low) })
		row("‖δ‖, median", func(p After) string { return medianText(p.Median) })
		row("‖δ‖, 90 % nearer", func(p After) string { return medianText(p.High) })
	}
}

// queriesLine says in a line how many queries an attack took.
func (a AttackRow) queriesLine() string {
	var n []float64
	var sum int64
	for i, q := range a.Queries {
		if sum += int64(q); a.searched(i) {
			n = append(n, float64(q))
		}
	}
	slices.Sort(n)
	s := fmt.Sprintf("queries of %s: %d on originals", a.Name, sum)
	if len(n) > 0 {
		s = fmt.Sprintf("queries of %s: median %g, 90 %% at most %g, most %g for each of %d examples; %d in all", a.Name, quantile(n, 0.5),
			quantile(n, 0.9), n[len(n)-1], len(n), sum)
	}
	if a.Shared > 0 {
		s += fmt.Sprintf(", and %d about none in particular", a.Shared)
	}
	return s
}

// Bill says in a line what was sent in all, and what it costs where a price is known; "" where nothing only asked.
func (r *Report) Bill() string {
	sent, asks := r.Originals, false
	for _, a := range r.Attacks {
		sent, asks = sent+a.Sent, asks || a.Asks()
	}
	if !asks {
		return ""
	}
	s := fmt.Sprintf("bill: %d inputs sent, the originals, repeated ones and those of the measurement included", sent)
	if r.Price > 0 {
		s += fmt.Sprintf("; %.2f at %g for 1000", float64(sent)*r.Price/1000, r.Price)
	}
	return s
}
