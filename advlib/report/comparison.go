package report

import (
	"encoding/json"
	"fmt"
	"html/template"
	"math"
	"strings"
	"unicode/utf8"
)

// Comparison holds defences against each other: on the same examples, in one ball. Its JSON is documented at
// [Comparison.MarshalJSON].
type Comparison struct {
	// Data names the examples, and Ball is what the attacks may change.
	Data string `json:"data"`
	Ball Ball   `json:"ball"`
	// Rows are the defences, as they were given.
	Rows []ComparisonRow `json:"rows"`
}

// ComparisonRow is one defence.
type ComparisonRow struct {
	// Defence names it.
	Defence string `json:"defence"`
	// Report is its evaluation: each attack on all examples, the naive one first, the adaptive one second, and the
	// certificates.
	Report *Report `json:"report"`
	// Training is how many seconds the training took, when it was made: NaN of a defence that was not trained, null in
	// JSON.
	Training Seconds `json:"training"`
	// Prediction is how many seconds an answer takes, in a batch of all examples.
	Prediction Seconds `json:"prediction"`
}

// Seconds is a time that may not be known: NaN, null in JSON.
type Seconds float64

// MarshalJSON writes null for NaN.
func (s Seconds) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(s)) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(s))
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Seconds) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*s = Seconds(math.NaN())
		return nil
	}
	return json.Unmarshal(text, (*float64)(s))
}

// String returns for example "12.3 s", "1.42 ms" or "18.3 µs"; nothing where it is not known.
func (s Seconds) String() string {
	v := float64(s)
	switch {
	case math.IsNaN(v):
		return ""
	case v >= 1 || v == 0:
		return fmt.Sprintf("%.3g s", v)
	case v >= 1e-3:
		return fmt.Sprintf("%.3g ms", 1e3*v)
	}
	return fmt.Sprintf("%.3g µs", 1e6*v)
}

// Naive returns the robust accuracy under the attack that the defence looks good under, and the attack's name; known is
// false where the evaluation did not come to it.
func (r ComparisonRow) Naive(ball Named) (rate Rate, attack string, known bool) {
	return r.under(0, ball)
}

// Adaptive returns the robust accuracy under the attack that knows the defence, and the attack's name; known is false
// where the evaluation did not come to it.
func (r ComparisonRow) Adaptive(ball Named) (rate Rate, attack string, known bool) {
	return r.under(1, ball)
}

func (r ComparisonRow) under(k int, ball Named) (rate Rate, attack string, known bool) {
	if k >= len(r.Report.Attacks) {
		return Rate{}, "", false
	}
	a := r.Report.Attacks[k]
	rate, known = r.Report.RobustTo(a, ball)
	return rate, a.Name, known
}

// Cells returns the table: its header, and a row for each defence.
func (c *Comparison) Cells() (header []string, rows [][]string) {
	header = []string{"defence", "clean", "naive attack", "adaptive attack", "95 % interval", "certified", "training", "per prediction"}
	for _, r := range c.Rows {
		row := []string{r.Defence, r.Report.Clean().String(), "", "", "", "", r.Training.String(), r.Prediction.String()}
		if rate, _, known := r.Naive(c.Ball); known {
			row[2] = rate.String()
		}
		if rate, _, known := r.Adaptive(c.Ball); known {
			row[3], row[4] = rate.String(), rate.Interval()
		}
		if rate, asked := r.Report.Certified(c.Ball); asked {
			row[5] = rate.String()
		}
		rows = append(rows, row)
	}
	return header, rows
}

// Title says in one line what was compared.
func (c *Comparison) Title() string {
	n := 0
	if len(c.Rows) > 0 {
		n = len(c.Rows[0].Report.Label)
	}
	return fmt.Sprintf("accuracy of %d defences on %s, %v: %d examples", len(c.Rows), c.Data, c.Ball, n)
}

// Attacks says for each defence by which attacks it was judged, and what is to be minded.
func (c *Comparison) Attacks() []string {
	var lines []string
	for _, r := range c.Rows {
		_, naive, one := r.Naive(c.Ball)
		_, adaptive, two := r.Adaptive(c.Ball)
		line := fmt.Sprintf("%s: naive %s; adaptive %s", r.Defence, naive, adaptive)
		if !one || !two || r.Report.Interrupted {
			line = r.Defence + ": INTERRUPTED"
		}
		if names, _ := r.Report.methods(c.Ball); len(names) > 0 {
			line += "; certified by " + strings.Join(names, ", ")
		}
		lines = append(lines, line)
	}
	return lines
}

// Warnings are those of the defences' evaluations, each with the defence's name.
func (c *Comparison) Warnings() []string {
	var all []string
	for _, r := range c.Rows {
		for _, w := range r.Report.Warnings {
			all = append(all, r.Defence+": "+w)
		}
	}
	return all
}

// String returns the comparison as an aligned table.
func (c *Comparison) String() string {
	header, rows := c.Cells()
	rows = append([][]string{header}, rows...)
	width := make([]int, len(header))
	for _, row := range rows {
		for j, cell := range row {
			width[j] = max(width[j], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	fmt.Fprintln(&b, c.Title())
	for _, row := range rows {
		line := ""
		for j, cell := range row {
			pad := strings.Repeat(" ", width[j]-utf8.RuneCountInString(cell))
			if j == 0 {
				line = "  " + cell + pad
			} else {
				line += "  " + pad + cell
			}
		}
		fmt.Fprintln(&b, strings.TrimRight(line, " "))
	}
	for _, line := range c.Attacks() {
		fmt.Fprintln(&b, line)
	}
	for _, w := range c.Warnings() {
		fmt.Fprintln(&b, "warning: "+w)
	}
	return b.String()
}

// HTML returns the comparison as a fragment of HTML, as [Report.HTML] does.
func (c *Comparison) HTML() string {
	header, rows := c.Cells()
	var b strings.Builder
	err := comparisonHTML.Execute(&b, struct {
		*Comparison
		Header []string
		Cells  [][]string
	}{c, header, rows})
	if err != nil {
		panic(err) // the template is fixed and its methods do not fail: only a mistake in this file gets here
	}
	return b.String()
}

var comparisonHTML = template.Must(template.New("comparison").Parse(`<div style="overflow-x:auto">
<table style="border-collapse:collapse;border:none;margin:0.4em 0;font-size:0.95em;font-variant-numeric:tabular-nums">
<caption style="caption-side:top;text-align:left;padding:2px 10px 6px;font-weight:bold;color:inherit">{{.Title}}</caption>
<thead><tr style="border-bottom:2px solid rgba(128,128,128,0.7)">
{{- range $i, $c := .Header}}<th scope="col" style="padding:2px 10px;text-align:{{if $i}}right{{else}}left{{end}};` +
	`font-weight:bold;vertical-align:bottom">{{$c}}</th>{{end -}}
</tr></thead>
<tbody>
{{- range .Cells}}
<tr style="background:none;border-bottom:1px solid rgba(128,128,128,0.25)">
{{- range $i, $c := .}}{{if $i}}<td style="padding:2px 10px;text-align:right;white-space:nowrap{{if eq $i 3}};` +
	`font-weight:bold{{end}}">{{$c}}</td>{{else}}<th scope="row" style="padding:2px 10px;min-width:12em;text-align:left;` +
	`font-weight:normal">{{$c}}</th>{{end}}{{end}}</tr>
{{- end}}
</tbody>
</table>
{{- range .Attacks}}
<p style="margin:0.3em 0;padding:2px 10px">{{.}}</p>
{{- end}}
{{- range .Warnings}}
<p style="margin:0.3em 0;padding:2px 10px;border-left:4px solid #e69f00"><b>warning:</b> {{.}}</p>
{{- end}}
</div>
`))

// comparisonSchema names the form that MarshalJSON writes.
const comparisonSchema = "advlab.comparison/1"

type (
	plainComparison Comparison
	comparisonJSON  struct {
		Schema string `json:"schema"`
		plainComparison
	}
)

// MarshalJSON writes the comparison in the form "advlab.comparison/1", an object of
//
//	schema   "advlab.comparison/1"
//	data     string
//	ball     {norm, radius}
//	rows     array of {defence, report, training, prediction}: report is the defence's evaluation as
//	         [Report.MarshalJSON] writes it, its attacks first the naive, then the adaptive one; training and prediction
//	         are seconds, or null
func (c Comparison) MarshalJSON() ([]byte, error) {
	c.Rows = orEmpty(c.Rows)
	return json.Marshal(comparisonJSON{comparisonSchema, plainComparison(c)})
}

// UnmarshalJSON reads what MarshalJSON writes. It refuses another schema, and rows without a report.
func (c *Comparison) UnmarshalJSON(text []byte) error {
	var j comparisonJSON
	if err := json.Unmarshal(text, &j); err != nil {
		return fmt.Errorf("report: comparison: %w", err)
	}
	if j.Schema != comparisonSchema {
		return fmt.Errorf("report: comparison: the schema is %q, this version reads %q", j.Schema, comparisonSchema)
	}
	if j.Ball.Norm == "" {
		return fmt.Errorf("report: comparison: its ball has no norm")
	}
	for _, r := range j.Rows {
		if r.Report == nil {
			return fmt.Errorf("report: comparison: the defence %s has no report", r.Defence)
		}
	}
	*c = Comparison(j.plainComparison)
	return nil
}
