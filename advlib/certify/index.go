package certify

import (
	"fmt"
	"slices"
	"strings"

	"advlab/advlib"
	"advlab/advlib/internal/table"
)

// Listed is what the index says about one method.
type Listed struct {
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

// Listing is an index of methods. In a notebook, show.Display(certify.Index()) shows it.
type Listing []Listed

// Index returns the methods, from fast and loose to slow and tight. Whatever names a method by a string takes the names
// from here; a new method needs a line here, and nothing else.
func Index() Listing { return slices.Clone(index) }

var index = Listing{
	{"ibp", IBP, "IBP", "intervals, layer by layer", "2 forward", "Gowal et al. 2018, arXiv:1810.12715"},
	{"crown-ibp", CROWNIBP, "CROWNIBP", "linear bounds backward, over intervals by IBP", "IBP's, and 1 backward for each other class",
		"Zhang et al. 2020, arXiv:1906.06316"},
	{"crown", CROWN, "CROWN", "linear bounds backward, for the intervals of each layer too",
		"IBP's, and 1 backward for each other class and each end of each neuron of open sign", "Zhang et al. 2018, arXiv:1811.00866"},
	{"alpha-crown", AlphaCROWN, "AlphaCROWN", "CROWN with the slopes below ReLUs tuned for each bound",
		"CROWN's, and 1 backward and 1 forward for each step of each row that CROWN leaves open", "Xu et al. 2021, arXiv:2011.13824"},
	{"complete", Complete{}, "Complete{}", "search for counterexamples, CROWN, and branch and bound, until decided or a minute is up",
		"as many as it needs", "Wang et al. 2021, arXiv:2103.06624"},
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
func (t Listing) Names() []string {
	var names []string
	for _, e := range t {
		names = append(names, e.Name)
	}
	return names
}

var tableHeader = []string{"method", "on the command line", "how it bounds", "passes", "norms", "paper"}

func (e Listed) row() []string {
	return []string{e.Go, e.Name, e.About, e.Cost, "L1 L2 Linf", e.Paper}
}

// String returns the table as aligned text.
func (t Listing) String() string { return table.Text(tableHeader, t.rows()) }

// Markdown returns the table for a README.
func (t Listing) Markdown() string {
	var b strings.Builder
	b.WriteString("| method | on the command line | how it bounds | passes | norms | paper |\n|---|---|---|---|---|---|\n")
	for _, e := range t {
		r := e.row()
		r[5] = table.Paper(r[5])
		fmt.Fprintf(&b, "| `%s` | `%s` | %s |\n", r[0], r[1], strings.Join(r[2:], " | "))
	}
	return b.String()
}

// HTML returns the table as a fragment of HTML that reads on light and dark pages.
func (t Listing) HTML() string { return table.HTML(tableHeader, t.rows()) }

func (t Listing) rows() (rows [][]string) {
	for _, e := range t {
		rows = append(rows, e.row())
	}
	return rows
}
