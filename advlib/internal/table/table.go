// Package table lays out the indexes of attacks and of certifiers: the same rows as text, as HTML, and with links for a
// README.
//
//	fmt.Print(table.Text([]string{"method", "paper"}, [][]string{{"IBP", "Gowal et al. 2018"}}))
package table

import (
	"fmt"
	"html/template"
	"strings"
	"unicode/utf8"
)

// Text returns rows below a header as aligned columns, as many as the header has.
func Text(header []string, rows [][]string) string {
	rows = append([][]string{header}, rows...)
	width := make([]int, len(header))
	for _, r := range rows {
		for j := range header {
			width[j] = max(width[j], utf8.RuneCountInString(r[j]))
		}
	}
	var b strings.Builder
	for _, r := range rows {
		var line strings.Builder
		for j := range header {
			fmt.Fprintf(&line, "%-*s", width[j]+2, r[j])
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}

// Paper returns "Gowal et al. 2018, arXiv:1810.12715" as a link in Markdown; other text as it is.
func Paper(text string) string {
	if text, number, ok := strings.Cut(text, ", arXiv:"); ok {
		return fmt.Sprintf("[%s](https://arxiv.org/abs/%s)", text, number)
	}
	return text
}

// HTML returns rows below a header as a fragment of HTML that reads on light and dark pages.
func HTML(header []string, rows [][]string) string {
	var b strings.Builder
	if err := page.Execute(&b, struct {
		Header []string
		Rows   [][]string
	}{header, rows}); err != nil {
		panic(err) // the template is fixed, and its data are strings: only a mistake in this file gets here
	}
	return b.String()
}

var page = template.Must(template.New("table").Parse(`<div style="overflow-x:auto"><table ` +
	`style="border-collapse:collapse;border:none;margin:0.4em 0;font-size:0.95em">
<thead><tr style="border-bottom:2px solid rgba(128,128,128,0.7)">
{{- range .Header}}<th scope="col" style="padding:2px 10px;text-align:left;font-weight:bold">{{.}}</th>{{end -}}
</tr></thead>
<tbody>
{{- range .Rows}}
<tr style="background:none">
{{- range $i, $c := .}}
{{- if $i}}<td style="padding:2px 10px;text-align:left">{{$c}}</td>
{{- else}}<th scope="row" style="padding:2px 10px;text-align:left;font-weight:normal">{{$c}}</th>{{end}}
{{- end}}</tr>
{{- end}}
</tbody></table></div>`))
