package diagnose

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"strings"
)

// Schema is the JSON Schema (draft 2020-12) of what MarshalJSON writes.
//
//go:embed schema.json
var Schema string

// schema names the form that MarshalJSON writes. It changes when a field changes its name or meaning.
const schema = "advlab.diagnosis/1"

// plainDiagnosis is a Diagnosis without its methods.
type plainDiagnosis Diagnosis

// MarshalJSON writes the diagnosis with the fields that it has, the schema "advlab.diagnosis/1", and the verdict:
//
//	schema, overall, masking   "advlab.diagnosis/1", the sentence of Overall, what Masking says
//	classifier, data, ball, attack, seed, threat_model, interrupted, seconds
//	clean, robust, worst       {"count", "of"}
//	findings                   [{"number", "name", "verdict", "why", "measured", "value", "threshold", "decides", "next",
//	                           "attacks", "planted", "picture", "seconds"}]
//
// schema.json, in this folder, is the JSON Schema; [Schema] holds it.
//
// A verdict is "passed", "failed", "not applicable" or "not run".
func (d *Diagnosis) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Schema  string `json:"schema"`
		Overall string `json:"overall"`
		Masking bool   `json:"masking"`
		*plainDiagnosis
	}{schema, d.Overall(), d.Masking(), (*plainDiagnosis)(d)})
}

// UnmarshalJSON reads what MarshalJSON writes. It refuses another schema.
func (d *Diagnosis) UnmarshalJSON(text []byte) error {
	read := struct {
		Schema string `json:"schema"`
		*plainDiagnosis
	}{plainDiagnosis: new(plainDiagnosis)}
	if err := json.Unmarshal(text, &read); err != nil {
		return fmt.Errorf("diagnose: %w", err)
	}
	if read.Schema != schema {
		return fmt.Errorf("diagnose: the schema is %q, this version reads %q", read.Schema, schema)
	}
	*d = Diagnosis(*read.plainDiagnosis)
	return nil
}

// HTML returns the diagnosis as a fragment of HTML, which needs no style sheet, script or network, and takes its text
// colour from the page.
func (d *Diagnosis) HTML() string {
	var b strings.Builder
	if err := page.Execute(&b, d); err != nil {
		panic(err) // the template is fixed and its methods do not fail: only a mistake in this file gets here
	}
	return b.String()
}

var page = template.Must(template.New("diagnosis").Funcs(template.FuncMap{
	"colour": func(v Verdict) string {
		return map[Verdict]string{Passed: "#009e73", Failed: "#d55e00"}[v]
	},
	"asks": func(number int) string { return checklist[number-1].Asks },
	"said": func(f Finding) string {
		if f.Verdict == NotApplicable || f.Verdict == NotRun {
			return f.Why
		}
		return f.Measured
	},
	"svg":    func(p *Picture) template.HTML { return template.HTML(p.SVG()) },
	"source": func(number int) string { return checklist[number-1].Source },
}).Parse(`
<div style="overflow-x:auto">
<p style="margin:0.3em 0;padding:2px 10px;font-weight:bold">{{.Classifier}} on {{.Data}}: ` +
	`clean {{.Clean}}, {{.Attack}} leaves {{.Robust}} {{.Robust.Interval}} in {{.Ball}}</p>
<p style="margin:0.3em 0;padding:2px 10px;border-left:4px solid {{if .Masking}}#d55e00{{else}}rgba(128,128,128,0.5){{end}};` +
	`font-weight:bold">{{.Overall}}</p>
<ul style="margin:0.3em 0">{{range .Threat.Lines}}<li>{{.}}</li>{{end}}</ul>
<table style="border-collapse:collapse;border:none;margin:0.4em 0;font-size:0.95em">
<thead><tr style="border-bottom:2px solid rgba(128,128,128,0.7)">{{range $c := .Columns}}` +
	`<th scope="col" style="padding:2px 10px;text-align:left">{{$c}}</th>{{end}}</tr></thead>
<tbody>
{{- range .Findings}}
<tr style="background:none;border-top:1px solid rgba(128,128,128,0.3);vertical-align:top">
<td style="padding:2px 10px;text-align:right">{{.Number}}</td>
<td style="padding:2px 10px;text-align:left"><b>{{.Name}}</b><br>{{asks .Number}}</td>
<td style="padding:2px 10px;text-align:left;white-space:nowrap;font-weight:bold;` +
	`{{with colour .Verdict}}color:{{.}}{{end}}">{{.Verdict}}</td>
<td style="padding:2px 10px;text-align:left">{{said .}}{{range .Next}}<br>next: <code>{{.}}</code>{{end}}` +
	`{{with .Picture}}<br>{{svg .}}{{end}}</td>
<td style="padding:2px 10px;text-align:left">{{.Threshold}}<br><small>{{source .Number}}</small></td>
</tr>
{{- end}}
</tbody>
</table>
{{if .Interrupted}}<p style="margin:0.3em 0;padding:2px 10px;font-weight:bold">INTERRUPTED: not all checks were reached</p>{{end}}
</div>
`))

// Columns are the headings of the table.
func (*Diagnosis) Columns() []string {
	return []string{"", "check", "verdict", "measured", "passes if"}
}
