package report

import (
	"fmt"
	"strings"
)

// String returns the report as an aligned table.
func (r *Report) String() string {
	rows := [][7]string{Columns}
	for _, l := range r.Lines() {
		row := l.cells()
		row[0] = "  " + row[0]
		if l.Heading != "" {
			row = [7]string{l.Heading}
		}
		rows = append(rows, row)
	}
	var b strings.Builder
	fmt.Fprintln(&b, r.Title())
	for _, n := range r.Notes {
		fmt.Fprintln(&b, "  "+n)
	}
	align(&b, rows)
	for _, t := range r.tables() {
		fmt.Fprintln(&b, t.Title)
		t.write(&b)
	}
	for _, c := range r.reductions() {
		fmt.Fprintln(&b, "plausibility: "+c.String())
	}
	if bill := r.Bill(); bill != "" {
		fmt.Fprintln(&b, bill)
	}
	fmt.Fprintln(&b, r.lastLine())
	for _, c := range r.Beside() {
		fmt.Fprintln(&b, "sanity: "+c.String())
	}
	for _, w := range r.Warnings {
		fmt.Fprintln(&b, "warning: "+w)
	}
	return b.String()
}

// align writes rows in columns, the first at the left and the others at the right. A row whose second cell is empty is
// a heading, which may be wider than its column.
func align(b *strings.Builder, rows [][7]string) {
	var width [7]int
	for _, row := range rows {
		for i, cell := range row {
			if heading := i == 0 && row[1] == ""; !heading {
				width[i] = max(width[i], len([]rune(cell)))
			}
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", max(0, width[i]-len([]rune(cell))))
			if i == 0 {
				line.WriteString(cell + pad)
			} else {
				line.WriteString("  " + pad + cell)
			}
		}
		fmt.Fprintln(b, strings.TrimRight(line.String(), " "))
	}
}

// write writes the rows of the table, indented.
func (t QueryTable) write(b *strings.Builder) {
	var width []int
	for _, row := range t.Rows {
		width = append(width, make([]int, max(0, len(row)-len(width)))...)
		for i, cell := range row {
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	for _, row := range t.Rows {
		line := ""
		for i, cell := range row {
			pad := strings.Repeat(" ", width[i]-len([]rune(cell)))
			if i == 0 {
				line = "  " + cell + pad
			} else {
				line += "  " + pad + cell
			}
		}
		fmt.Fprintln(b, line)
	}
}

// Title says in one line what was measured.
func (r *Report) Title() string {
	inputs := fmt.Sprintf("box %v", r.Box)
	if r.Domain != "" {
		inputs = fmt.Sprintf("domain of %s", r.Domain)
	}
	return fmt.Sprintf("%s on %s: %d examples, %s, seed %d, backend %s", r.Classifier, r.Data, len(r.Label), inputs, r.Seed, r.Backend)
}

// SanityLine says in one line what the check of the gradients saw.
func (r *Report) SanityLine() string {
	s := r.Sanity
	if len(s.NoGradient) > 0 || s.NotApplicable != "" {
		return "sanity: " + s.Judgement()
	}
	notFinite := ""
	if s.NonFinite.Count > 0 {
		notFinite = fmt.Sprintf("%s of the gradients' entries infinite or not a number, ", s.NonFinite.Fine())
	}
	return fmt.Sprintf("sanity: %szero gradients on %v of %d examples, unbounded ball breaks %v: %s",
		notFinite, s.ZeroGradient, s.ZeroGradient.Of, s.Unbounded, s.Judgement())
}

// interruptedLine stands for the check of the gradients where it was not reached.
const interruptedLine = "INTERRUPTED: not all that was planned was run, and the gradients were not checked: " +
	"the robust accuracies may be too high"

// lastLine says whether the numbers can be trusted.
func (r *Report) lastLine() string {
	if r.Interrupted {
		return interruptedLine
	}
	return r.SanityLine()
}
