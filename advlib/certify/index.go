package certify

import (
	"fmt"
	"html/template"
	"slices"
	"strings"
	"unicode/utf8"

	"advlab/advlib"
)

// Entry is what the index says about one method.
type Entry struct {
	// Name is what command lines and files call it: lower case, no spaces.
	Name string
	// Method is the method with its default options, a [Method] or [Complete]; Go is the expression for it.
	Method advlib.Prover
	Go     string
	// About says how it bounds.
	About string
	// Cost is what it takes for each example, in passes through the model.
	Cost string
	// Paper is where it comes from, with its number at arxiv.org.
	Paper string
}

// Table is an index of methods. In a notebook, show.Display(certify.Index()) shows it.
type Table []Entry

// Index returns the methods, from fast and loose to slow and tight. Whatever names a method by a string takes the names from here; a
// new method needs a line here, and nothing else.
func Index() Table { return slices.Clone(index) }

var index = Table{
	{"ibp", IBP, "IBP", "intervals, layer by layer", "2 forward", "Gowal et al. 2018, arXiv:1810.12715"},
	{"crown-ibp", CROWNIBP, "CROWNIBP", "linear bounds backward, over intervals by IBP", "IBP's, and 1 backward for each other class", "Zhang et al. 2020, arXiv:1906.06316"},
	{"crown", CROWN, "CROWN", "linear bounds backward, for the intervals of each layer too", "IBP's, and 1 backward for each other class and each end of each neuron of open sign", "Zhang et al. 2018, arXiv:1811.00866"},
	{"alpha-crown", AlphaCROWN, "AlphaCROWN", "CROWN with the slopes below ReLUs tuned for each bound", "CROWN's, and 1 backward and 1 forward for each step of each row that CROWN leaves open", "Xu et al. 2021, arXiv:2011.13824"},
	{"complete", Complete{}, "Complete{}", "search for counterexamples, CROWN, and branch and bound, until decided or a minute is up", "as many as it needs", "Wang et al. 2021, arXiv:2103.06624"},
}

// Named returns the method that has the given name in the index.
func Named(name string) (advlib.Prover, error) {
	for _, e := range index {
		if e.Name == name {
			return e.Method, nil
		}
	}
	return nil, fmt.Errorf("certify: there is no method %q: there are %s", name, strings.Join(index.Names(), ", "))
}

// Names returns the names of the methods.
func (t Table) Names() []string {
	var names []string
	for _, e := range t {
		names = append(names, e.Name)
	}
	return names
}

var tableHeader = []string{"method", "on the command line", "how it bounds", "passes", "norms", "paper"}

func (e Entry) row() []string {
	return []string{e.Go, e.Name, e.About, e.Cost, "L1 L2 Linf", e.Paper}
}

// String returns the table as aligned text.
func (t Table) String() string {
	rows := [][]string{tableHeader}
	for _, e := range t {
		rows = append(rows, e.row())
	}
	width := make([]int, len(tableHeader))
	for _, r := range rows {
		for j, cell := range r {
			width[j] = max(width[j], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, r := range rows {
		var line strings.Builder
		for j, cell := range r {
			fmt.Fprintf(&line, "%-*s", width[j]+2, cell)
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}

// Markdown returns the table for a README.
func (t Table) Markdown() string {
	var b strings.Builder
	b.WriteString("| method | on the command line | how it bounds | passes | norms | paper |\n|---|---|---|---|---|---|\n")
	for _, e := range t {
		r := e.row()
		if text, number, ok := strings.Cut(r[5], ", arXiv:"); ok {
			r[5] = fmt.Sprintf("[%s](https://arxiv.org/abs/%s)", text, number)
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s |\n", r[0], r[1], strings.Join(r[2:], " | "))
	}
	return b.String()
}

// HTML returns the table as a fragment of HTML that reads on light and dark pages.
func (t Table) HTML() string {
	data := struct {
		Header []string
		Rows   [][]string
	}{Header: tableHeader}
	for _, e := range t {
		data.Rows = append(data.Rows, e.row())
	}
	var b strings.Builder
	if err := indexHTML.Execute(&b, data); err != nil {
		panic(err) // the template is fixed and its methods do not fail: only a mistake in this file gets here
	}
	return b.String()
}

var indexHTML = template.Must(template.New("index").Parse(`<div style="overflow-x:auto"><table style="border-collapse:collapse;border:none;margin:0.4em 0;font-size:0.95em">
<thead><tr style="border-bottom:2px solid rgba(128,128,128,0.7)">
{{- range .Header}}<th scope="col" style="padding:2px 10px;text-align:left;font-weight:bold">{{.}}</th>{{end -}}
</tr></thead>
<tbody>
{{- range .Rows}}
<tr style="background:none">
{{- range .}}<td style="padding:2px 10px;text-align:left">{{.}}</td>{{end}}</tr>
{{- end}}
</tbody></table></div>`))
