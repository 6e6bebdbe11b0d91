package show

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/width"

	"advlab/advlib"
	"advlab/advlib/report"
)

// Table is a small table of your own. Rows may be shorter than the header or longer: missing cells are empty.
type Table struct {
	// Title stands above the table; it may be empty.
	Title string
	// Header names the columns; it may be empty.
	Header []string
	// Rows are the cells as text.
	Rows [][]string
}

// Verdicts is what is known of each example in a ball, as a table: verified by which method with which margin,
// falsified by which attack at which distance, or unknown. The same as data is [report.Report.Verdicts].
func Verdicts(r *advlib.Report, ball report.Named) *Table {
	t := NewTable("example", "label", "predicted", "verdict", "margin ≥", "method", "broken by", "at distance")
	count := map[advlib.Status]int{}
	for _, v := range r.Verdicts(ball) {
		count[v.Status]++
		predicted, margin, distance := fmt.Sprint(v.Predicted), "", ""
		if v.Predicted < 0 {
			predicted = "abstains"
		}
		if v.Method != "" && !math.IsInf(float64(v.Margin), 0) {
			margin = numberText(float64(v.Margin))
		}
		if v.Status == advlib.Falsified {
			distance = numberText(float64(v.Distance))
		}
		attack := v.Attack
		switch {
		case attack == "none" && v.Predicted < 0:
			attack = "nothing: it abstains"
		case attack == "none":
			attack = "nothing: it is misclassified"
		}
		t.Add(v.Example, v.Label, predicted, v.Status, margin, v.Method, attack, distance)
	}
	if _, asked := r.Certified(ball); !asked {
		t.Title = "; no certifier was asked for this ball or a larger one"
	}
	t.Title = fmt.Sprintf("%s on %s, %v: %d examples, %d verified, %d falsified, %d unknown%s", r.Classifier, r.Data,
		ball.Named(), len(r.Label), count[advlib.Verified], count[advlib.Falsified], count[advlib.Unknown], t.Title)
	return t
}

// NewTable returns a table with the given header and no rows.
func NewTable(header ...string) *Table { return &Table{Header: header} }

// Add appends a row and returns the table. Floating-point numbers are written with four digits, everything else as
// fmt.Print writes it.
func (t *Table) Add(cells ...any) *Table {
	row := make([]string, len(cells))
	for i, c := range cells {
		switch v := c.(type) {
		case float64:
			row[i] = numberText(v)
		case float32:
			row[i] = numberText(float64(v))
		default:
			row[i] = fmt.Sprint(c)
		}
	}
	t.Rows = append(t.Rows, row)
	return t
}

func numberText(v float64) string {
	switch {
	case math.IsInf(v, 1):
		return "∞"
	case math.IsInf(v, -1):
		return "−∞"
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

func (t Table) columns() int {
	n := len(t.Header)
	for _, r := range t.Rows {
		n = max(n, len(r))
	}
	return n
}

// right tells which columns are aligned at the right: those whose filled cells all begin like numbers.
func (t Table) right() []bool {
	right := make([]bool, t.columns())
	for j := range right {
		filled := false
		right[j] = true
		for _, r := range t.Rows {
			if j < len(r) && r[j] != "" {
				filled = true
				right[j] = right[j] && strings.IndexAny(r[j], "0123456789+-.∞−") == 0
			}
		}
		right[j] = right[j] && filled
	}
	return right
}

// String returns the table as text, its columns aligned in a font of fixed width.
func (t Table) String() string {
	right := t.right()
	rows := t.Rows
	if len(t.Header) > 0 {
		rows = append([][]string{t.Header}, rows...)
	}
	widest := make([]int, len(right))
	for _, r := range rows {
		for j, c := range r {
			widest[j] = max(widest[j], cellWidth(c))
		}
	}
	var b strings.Builder
	if t.Title != "" {
		b.WriteString(oneLine(t.Title) + "\n")
	}
	for i, r := range rows {
		var line strings.Builder
		for j := range right {
			var c string
			if j < len(r) {
				c = oneLine(r[j])
			}
			pad := strings.Repeat(" ", widest[j]-cellWidth(c))
			if right[j] {
				c = pad + c
			} else {
				c += pad
			}
			if j > 0 {
				line.WriteString("  ")
			}
			line.WriteString(c)
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
		if i == 0 && len(t.Header) > 0 {
			for j, w := range widest {
				if j > 0 {
					b.WriteString("  ")
				}
				b.WriteString(strings.Repeat("─", w))
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

// cellWidth counts columns of a terminal: East Asian wide characters take two, combining marks none.
func cellWidth(s string) int {
	n := 0
	for _, r := range oneLine(s) {
		switch k := width.LookupRune(r).Kind(); {
		case k == width.EastAsianWide || k == width.EastAsianFullwidth:
			n += 2
		case !unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
			n++
		}
	}
	return n
}

// HTML returns the table as a fragment of HTML that reads on light and dark pages.
func (t Table) HTML() string {
	type htmlCell struct {
		Text  string
		Align string
	}
	right := t.right()
	cells := func(r []string) []htmlCell {
		out := make([]htmlCell, len(right))
		for j := range out {
			out[j].Align = "left"
			if right[j] {
				out[j].Align = "right"
			}
			if j < len(r) {
				out[j].Text = oneLine(r[j])
			}
		}
		return out
	}
	data := struct {
		Title  string
		Header []htmlCell
		Rows   [][]htmlCell
	}{Title: oneLine(t.Title)}
	if len(t.Header) > 0 {
		data.Header = cells(t.Header)
	}
	for _, r := range t.Rows {
		data.Rows = append(data.Rows, cells(r))
	}
	var b strings.Builder
	if err := tableHTML.Execute(&b, data); err != nil {
		panic(err) // the template is fixed: only a mistake in this file gets here
	}
	return b.String()
}

// Colours come from the page or are half-transparent: the background is not known.
var tableHTML = template.Must(template.New("table").Parse(`<div style="overflow-x:auto"><table ` +
	`style="border-collapse:collapse;border:none;margin:0.4em 0;font-size:0.95em;font-variant-numeric:tabular-nums">
{{- with .Title}}
<caption style="caption-side:top;text-align:left;padding:2px 10px 6px;font-weight:bold;color:inherit">{{.}}</caption>{{end}}
{{- with .Header}}
<thead><tr style="border-bottom:2px solid rgba(128,128,128,0.7)">{{range .}}<th scope="col" style="padding:2px 10px;` +
	`text-align:{{.Align}};font-weight:bold">{{.Text}}</th>{{end}}</tr></thead>{{end}}
<tbody>
{{- range .Rows}}
<tr style="background:none;border-bottom:1px solid rgba(128,128,128,0.25)">{{range .}}<td style="padding:2px 10px;` +
	`text-align:{{.Align}}">{{.Text}}</td>{{end}}</tr>{{end}}
</tbody></table></div>
`))
