package report

import (
	"html/template"
	"strings"
)

// HTML returns the report as a fragment of HTML: the same lines as String. It needs no style sheet, script or
// network, and takes its text colour from the page, so that it reads on light and dark backgrounds.
func (r *Report) HTML() string {
	var b strings.Builder
	err := reportHTML.Execute(&b, struct {
		*Report
		Columns    [7]string
		Tables     []QueryTable
		Masked     bool
		Last       string
		Reductions []Reduction
	}{r, Columns, r.tables(), r.Interrupted || r.Sanity.Masked() || r.Sanity.NotApplicable != "", r.lastLine(), r.reductions()})
	if err != nil {
		panic(err) // the template is fixed and its methods do not fail: only a mistake in this file gets here
	}
	return b.String()
}

// Rules and shades are half-transparent grays, because the page's background is not known. Jupyter's own style for
// tables right-aligns cells and stripes rows; what is said inline here wins over it.
var reportHTML = template.Must(template.New("report").Funcs(template.FuncMap{
	"worst":   func(l Line) bool { return l.What == worstCase },
	"numbers": func(l Line) []string { cells := l.cells(); return cells[1:] },
}).Parse(`
{{- define "cell"}}<td style="padding:2px 10px;text-align:right;white-space:nowrap">{{.}}</td>{{end -}}
<div style="overflow-x:auto">
<table style="border-collapse:collapse;border:none;margin:0.4em 0;font-size:0.95em;font-variant-numeric:tabular-nums">
<caption style="caption-side:top;text-align:left;padding:2px 10px 6px;font-weight:bold;color:inherit">{{.Title}}</caption>
<thead><tr style="border-bottom:2px solid rgba(128,128,128,0.7)">
{{- range $i, $c := .Columns}}<th scope="col" style="padding:2px 10px;text-align:{{if $i}}right{{else}}left{{end}};` +
	`font-weight:bold;vertical-align:bottom">{{$c}}</th>{{end -}}
</tr></thead>
<tbody>
{{- range .Lines}}
{{if .Heading -}}
<tr style="background:rgba(128,128,128,0.16);border-top:1px solid rgba(128,128,128,0.5)"><th scope="rowgroup" ` +
	`colspan="7" style="padding:3px 10px;text-align:left;font-weight:bold">{{.Heading}}</th></tr>
{{- else -}}
<tr style="background:none{{if worst .}};font-weight:bold{{end}}"><th scope="row" style="padding:2px 10px 2px 22px;` +
	`min-width:14em;text-align:left;font-weight:{{if worst .}}bold{{else}}normal{{end}}">{{.What}}</th>
{{- range numbers .}}{{template "cell" .}}{{end}}</tr>
{{- end}}
{{- end}}
</tbody>
</table>
{{- range .Notes}}
<p style="margin:0.3em 0;padding:2px 10px">{{.}}</p>
{{- end}}
{{- range .Tables}}
<table style="border-collapse:collapse;border:none;margin:0.4em 0;font-size:0.95em;font-variant-numeric:tabular-nums">
<caption style="caption-side:top;text-align:left;padding:2px 10px 6px;color:inherit">{{.Title}}</caption>
<tbody>
{{- range .Rows}}
<tr style="background:none">{{range $i, $c := .}}{{if $i}}{{template "cell" $c}}{{else}}<th scope="row" ` +
	`style="padding:2px 10px;text-align:left;font-weight:normal">{{$c}}</th>{{end}}{{end}}</tr>
{{- end}}
</tbody>
</table>
{{.SVG}}
{{- end}}
{{- range .Reductions}}
<p style="white-space:pre-line;margin:0.3em 0;padding:2px 10px;border-left:4px solid {{if .Implausible}}#d55e00;` +
	`font-weight:bold{{else}}rgba(128,128,128,0.5){{end}}">plausibility: {{.}}</p>
{{- end}}
{{- with .Bill}}
<p style="margin:0.3em 0;padding:2px 10px">{{.}}</p>
{{- end}}
<p style="margin:0.3em 0;padding:2px 10px;border-left:4px solid {{if .Masked}}#d55e00;` +
	`font-weight:bold{{else}}rgba(128,128,128,0.5){{end}}">{{.Last}}</p>
{{- range .Beside}}
<p style="margin:0.3em 0;padding:2px 10px;border-left:4px solid {{if .BlackBoxWins}}#d55e00;` +
	`font-weight:bold{{else}}rgba(128,128,128,0.5){{end}}">{{.}}</p>
{{- end}}
{{- range .Warnings}}
<p style="margin:0.3em 0;padding:2px 10px;border-left:4px solid #e69f00"><b>warning:</b> {{.}}</p>
{{- end}}
</div>
`))
