package impact

import (
	"cmp"
	"fmt"
	"html/template"
	"slices"
	"strings"
)

// SVG returns the pictures: the reliability diagrams before and after, what is taken for what, and, of several budgets,
// the accuracy against them.
func (r *Report) SVG() string {
	const side, gap, head = 250., 60., 46.
	var b strings.Builder
	rows := 1.
	if r.Before.Trust != nil && r.After.Trust != nil {
		rows = 2
	}
	width, height := 2*side+3*gap, rows*(side+gap+head)
	if len(r.Budgets) > 1 {
		height += side/2 + gap + head
	}
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" width="%g" height="%g" role="img" style="max-width:100%%;`+
		`height:auto;font-family:Liberation Sans,Arial,Helvetica,sans-serif;font-size:11px"><title>%s</title>`+
		`<rect width="%g" height="%g" fill="white"/>`, width, height, width, height, template.HTMLEscapeString(r.Title()), width, height)
	for i, s := range []struct {
		name string
		Side
	}{{"before the attack", r.Before}, {"after the attack", r.After}} {
		left := gap + float64(i)*(side+gap)
		top := head
		if rows == 2 {
			fmt.Fprintf(&b, `<g transform="translate(%g %g)">`, left, top)
			s.Trust.diagram(&b, side, s.name)
			b.WriteString("</g>")
			top += side + gap + head
		}
		fmt.Fprintf(&b, `<g transform="translate(%g %g)">`, left, top)
		r.confusion(&b, side, s.name, s.Confusion)
		b.WriteString("</g>")
	}
	if len(r.Budgets) > 1 {
		fmt.Fprintf(&b, `<g transform="translate(%g %g)">`, gap, rows*(side+gap+head)+head)
		r.againstBudget(&b, 2*side+gap, side/2)
		b.WriteString("</g>")
	}
	b.WriteString("</svg>")
	return b.String()
}

// againstBudget draws the accuracy against the budget, from none on, with Wilson's intervals.
func (r *Report) againstBudget(b *strings.Builder, width, height float64) {
	points := append([]Budget{{0, r.Before.Accuracy}}, r.Budgets...)
	slices.SortStableFunc(points, func(p, q Budget) int { return cmp.Compare(p.Radius, q.Radius) })
	most := points[len(points)-1].Radius
	if most == 0 {
		most = 1
	}
	fmt.Fprintf(b, `<text x="%g" y="-24" text-anchor="middle" font-weight="bold">Accuracy against the budget</text>`+
		`<path d="M0 0V%gH%g" fill="none" stroke="#555"/>`, width/2, height, width)
	for _, v := range []float64{0, 0.5, 1} {
		fmt.Fprintf(b, `<text x="-6" y="%g" text-anchor="end">%g</text><path d="M0 %gH%g" stroke="#ddd"/>`, height-v*height+4, v, height-v*height,
			width)
	}
	var line strings.Builder
	for i, p := range points {
		x, y := p.Radius/most*width, height-p.Robust.Value()*height
		fmt.Fprintf(&line, "%s%.2f %.2f", map[bool]string{true: "M", false: "L"}[i == 0], x, y)
		lo, hi := p.Robust.Wilson()
		fmt.Fprintf(b, `<g><title>%s ≤ %.4g: %s</title><path d="M%.2f %.2fV%.2f" stroke="#333"/>`+
			`<circle cx="%.2f" cy="%.2f" r="4" fill="#0072b2"/></g>`, template.HTMLEscapeString(r.Ball.Norm), p.Radius, p.Robust, x,
			height-lo*height, height-hi*height, x, y)
		fmt.Fprintf(b, `<text x="%.2f" y="%g" text-anchor="middle">%.3g</text>`, x, height+14, p.Radius)
	}
	fmt.Fprintf(b, `<path d="%s" fill="none" stroke="#0072b2" stroke-width="1.5"/>`, line.String())
	fmt.Fprintf(b, `<text x="%g" y="%g" text-anchor="middle">%s ≤</text>`, width/2, height+30, template.HTMLEscapeString(r.Ball.Norm))
}

// diagram draws accuracy against confidence. A bar is an accuracy, its line Wilson's interval, its shade tells how many
// examples it is of, the cross the mean confidence.
func (t *Trust) diagram(b *strings.Builder, side float64, name string) {
	fmt.Fprintf(b, `<text x="%g" y="-24" text-anchor="middle" font-weight="bold">Reliability, %s</text>`+
		`<text x="%g" y="-9" text-anchor="middle">ECE %s</text>`, side/2, name, side/2, t.ECE.share())
	fmt.Fprintf(b, `<path d="M0 0V%gH%g" fill="none" stroke="#555"/><path d="M0 %gL%g 0" stroke="#999" stroke-dasharray="4 3"/>`, side, side,
		side, side)
	for _, v := range []float64{0, 0.5, 1} {
		fmt.Fprintf(b, `<text x="%g" y="%g" text-anchor="middle">%g</text><text x="-6" y="%g" text-anchor="end">%g</text>`, v*side, side+14, v,
			side-v*side+4, v)
	}
	fmt.Fprintf(b, `<text x="%g" y="%g" text-anchor="middle">confidence</text>`+
		`<text x="%g" y="%g" text-anchor="middle" font-size="8">bar: share right, with its 95 %% interval; ×: mean confidence; number: n</text>`+
		`<text transform="translate(-30 %g) rotate(-90)" text-anchor="middle">accuracy</text>`, side/2, side+30, side/2, side+44, side/2)
	most := 0
	for _, bin := range t.Bins {
		most = max(most, bin.Right.Of)
	}
	for _, bin := range t.Bins {
		n := bin.Right.Of
		if n == 0 {
			continue
		}
		x, w := bin.Low*side, (bin.High-bin.Low)*side
		lo, hi := bin.Right.Wilson()
		middle := x + w/2
		fmt.Fprintf(b, `<g><title>confidence %.3f to %.3f: %d examples, %s right, mean confidence %.3f</title>`, bin.Low, bin.High, n,
			bin.Right, bin.Confidence)
		fmt.Fprintf(b, `<rect x="%.2f" y="%.2f" width="%.2f" height="%.2f" fill="#0072b2" fill-opacity="%.2f"/>`, x+1,
			side-bin.Right.Value()*side, w-2, bin.Right.Value()*side, 0.25+0.6*float64(n)/float64(most))
		fmt.Fprintf(b, `<path d="M%.2f %.2fV%.2f" stroke="#333"/>`, middle, side-lo*side, side-hi*side)
		fmt.Fprintf(b, `<path d="M%.2f %.2fl6 6m0 -6l-6 6" stroke="#d55e00" stroke-width="2"/>`, bin.Confidence*side-3,
			side-bin.Confidence*side-3)
		fmt.Fprintf(b, `<text x="%.2f" y="%.2f" text-anchor="middle" font-size="9">%d</text></g>`, middle, max(8, side-hi*side-3), n)
	}
}

// confusion draws how often each class, by row, is answered as each other, by column.
func (r *Report) confusion(b *strings.Builder, side float64, name string, counts [][]int) {
	fmt.Fprintf(b, `<text x="%g" y="-24" text-anchor="middle" font-weight="bold">Answers, %s</text>`+
		`<text x="%g" y="-9" text-anchor="middle">rows: truth; columns: answer; share of the row</text>`, side/2, name, side/2)
	k := len(counts)
	cell := side / float64(k)
	const most, letters = 20, 9 // with more classes there is no room for names
	for i, row := range counts {
		of := r.Before.PerClass[i].Of
		for j, n := range row {
			share := 0.
			if of > 0 {
				share = float64(n) / float64(of)
			}
			colour := "#0072b2"
			if i != j {
				colour = "#d55e00"
			}
			fmt.Fprintf(b, `<rect x="%.2f" y="%.2f" width="%.2f" height="%.2f" fill="%s" fill-opacity="%.3f" stroke="#ddd" stroke-width="0.5">`+
				`<title>%s answered as %s: %d of %d</title></rect>`, float64(j)*cell, float64(i)*cell, cell, cell, colour, share,
				template.HTMLEscapeString(r.Classes[i]), template.HTMLEscapeString(r.Classes[j]), n, of)
			if n > 0 && k <= most {
				fmt.Fprintf(b, `<text x="%.2f" y="%.2f" text-anchor="middle" font-size="%.3g">%d</text>`, (float64(j)+0.5)*cell,
					(float64(i)+0.5)*cell+3, min(11, cell*0.6), n)
			}
		}
		if k <= most {
			label := []rune(r.Classes[i])
			if len(label) > letters {
				label = append(label[:letters-1], '…')
			}
			text := template.HTMLEscapeString(string(label))
			fmt.Fprintf(b, `<text x="-4" y="%.2f" text-anchor="end" font-size="9">%s</text>`, (float64(i)+0.5)*cell+3, text)
			fmt.Fprintf(b, `<text transform="translate(%.2f %.2f) rotate(-40)" text-anchor="end" font-size="9">%s</text>`, (float64(i)+0.5)*cell+3,
				side+10, text)
		}
	}
}

// HTML returns the tables and pictures as a fragment of HTML that needs no style sheet, script or network, and reads on
// light and dark pages.
func (r *Report) HTML() string {
	var b strings.Builder
	err := impactHTML.Execute(&b, struct {
		*Report
		Sections []section
		Picture  template.HTML
	}{r, r.sections(), template.HTML(r.SVG())}) // its texts are escaped, all else are numbers
	if err != nil {
		panic(err) // the template is fixed: only a mistake in this file gets here
	}
	return b.String()
}

var impactHTML = template.Must(template.New("impact").Parse(`<div style="overflow-x:auto">
<h3 style="margin:0.4em 0">{{.Title}}</h3>
{{- range .Sections}}
<table style="border-collapse:collapse;border:none;margin:0.8em 0;font-size:0.95em;font-variant-numeric:tabular-nums">
<caption style="caption-side:top;text-align:left;padding:2px 10px 6px;font-weight:bold;color:inherit">{{.Heading}}</caption>
<tbody>
{{- range $n, $row := .Rows}}
<tr style="background:none;border-bottom:1px solid rgba(128,128,128,{{if $n}}0.25{{else}}0.7{{end}})">
{{- range $i, $c := $row}}<td style="padding:2px 10px;text-align:{{if $i}}right{{else}}left{{end}}` +
	`{{if not $n}};font-weight:bold{{end}}">{{$c}}</td>{{end}}</tr>
{{- end}}
</tbody>
</table>
{{- end}}
{{.Picture}}
{{- range .Warnings}}
<p style="margin:0.3em 0;padding:2px 10px;border-left:4px solid #e69f00"><b>warning:</b> {{.}}</p>
{{- end}}
</div>
`))
