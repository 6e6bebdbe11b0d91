package attack

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"advlab/advlib"
	"advlab/advlib/internal/table"
)

// Entry is what the index says about one attack.
type Entry struct {
	// Attack is the name of the type.
	Attack string
	// Knowledge is what it asks the model for.
	Knowledge Knowledge
	// Kind is what it looks for.
	Kind Kind
	// Norms are those it can be given, or the one that it has. Wrappers have those of what they run, and leave it empty.
	Norms []advlib.Norm
	// Targeted says that it can be given a target.
	Targeted bool
	// Paper is where it comes from, with its number at arxiv.org.
	Paper string
	// Defaults are the fields that have a value of their own where they are left at zero, "Steps 40, StepSize 0.0625·ε"; empty if there
	// are none.
	Defaults string
}

// Knowledge is what an attack asks a model for.
type Knowledge string

// What attacks ask for.
const (
	Gradients Knowledge = "gradients"
	Scores    Knowledge = "logits"
	Inner     Knowledge = "what it runs does"
)

// Kind is what an attack looks for.
type Kind string

// What attacks look for.
const (
	InBall  Kind = "any in a ball"
	Nearest Kind = "the nearest"
	ForAll  Kind = "one δ for all"
	InPatch Kind = "a patch"
	Wrapper Kind = "wrapper"
)

// Table is an index of attacks. In a notebook, show.Display(attack.Index()) shows it.
type Table []Entry

// Index returns all attacks of this package; those that are learned, by Fit, stand for what Fit returns. Defaults are those of the types; a test holds norms, kinds, goals and knowledge against what
// the types do, and the table in the package's documentation and the one in the README against this one.
func Index() Table {
	t := make(Table, len(registry))
	for i, r := range registry {
		t[i] = Entry{
			Attack: reflect.TypeOf(r.zero).Name(), Knowledge: r.knowledge, Kind: r.kind, Norms: r.norms, Targeted: !r.untargeted,
			Paper: r.paper, Defaults: defaults(r.zero, r.norms),
		}
	}
	return t
}

// threatened is what has a name and a threat: an attack, or what learns one.
type threatened interface {
	String() string
	Threat(v advlib.Victim) (advlib.Threat, error)
}

// indexed is an attack whose fields have defaults.
type indexed interface {
	threatened
	// filled returns the attack with its defaults in the place of zeros.
	filled() any
}

// registry holds the zero value of each attack, and what cannot be read off it, in the order of the table.
var registry = []struct {
	zero       threatened
	knowledge  Knowledge
	kind       Kind
	norms      []advlib.Norm
	untargeted bool
	paper      string
}{
	{FGM{}, Gradients, InBall, convexNorms, false, "Goodfellow et al. 2015, arXiv:1412.6572"},
	{BIM{}, Gradients, InBall, convexNorms, false, "Kurakin et al. 2017, arXiv:1607.02533"},
	{PGD{}, Gradients, InBall, convexNorms, false, "Madry et al. 2018, arXiv:1706.06083"},
	{MIFGSM{}, Gradients, InBall, []advlib.Norm{advlib.L2, advlib.Linf}, false, "Dong et al. 2018, arXiv:1710.06081"},
	{APGD{}, Gradients, InBall, convexNorms, false, "Croce & Hein 2020, arXiv:2003.01690"},
	{Square{}, Scores, InBall, convexNorms, false, "Andriushchenko et al. 2020, arXiv:1912.00049"},
	{AutoAttack{}, Gradients, InBall, convexNorms, true, "Croce & Hein 2020, arXiv:2003.01690"},
	{CarliniWagner{}, Gradients, Nearest, []advlib.Norm{advlib.L2}, false, "Carlini & Wagner 2017, arXiv:1608.04644"},
	{CarliniWagnerLinf{}, Gradients, Nearest, []advlib.Norm{advlib.Linf}, false, "Carlini & Wagner 2017, arXiv:1608.04644"},
	{CarliniWagnerL0{}, Gradients, Nearest, []advlib.Norm{advlib.L0}, false, "Carlini & Wagner 2017, arXiv:1608.04644"},
	{DeepFool{}, Gradients, Nearest, []advlib.Norm{advlib.L2, advlib.Linf}, false, "Moosavi-Dezfooli et al. 2016, arXiv:1511.04599"},
	{DDN{}, Gradients, Nearest, []advlib.Norm{advlib.L2}, false, "Rony et al. 2019, arXiv:1811.09600"},
	{FMN{}, Gradients, Nearest, []advlib.Norm{advlib.L0, advlib.L1, advlib.L2, advlib.Linf}, false, "Pintor et al. 2021, arXiv:2102.12827"},
	{FAB{}, Gradients, Nearest, convexNorms, false, "Croce & Hein 2020, arXiv:1907.02044"},
	{SigmaZero{}, Gradients, Nearest, []advlib.Norm{advlib.L0}, false, "Cinà et al. 2025, arXiv:2402.01879"},
	{EAD{}, Gradients, Nearest, []advlib.Norm{advlib.L1}, false, "Chen et al. 2018, arXiv:1709.04114"},
	{JSMA{}, Gradients, Nearest, []advlib.Norm{advlib.L0}, false, "Papernot et al. 2016, arXiv:1511.07528"},
	{Universal{}, Gradients, ForAll, convexNorms, false, "Shafahi et al. 2018, arXiv:1811.11304"},
	{UniversalDeepFool{}, Gradients, ForAll, []advlib.Norm{advlib.L2, advlib.Linf}, false, "Moosavi-Dezfooli et al. 2017, arXiv:1610.08401"},
	{AdversarialPatch{}, Gradients, InPatch, []advlib.Norm{advlib.L0}, false, "Brown et al. 2017, arXiv:1712.09665"},
	{AllTargets{}, Inner, Wrapper, nil, true, "Croce & Hein 2020, arXiv:2003.01690"},
	{Repeat{}, Inner, Wrapper, nil, false, ""},
	{WorstOf{}, Inner, Wrapper, nil, false, ""},
	{EOT{}, Inner, Wrapper, nil, false, "Athalye et al. 2018, arXiv:1707.07397"},
	{BPDA{}, Inner, Wrapper, nil, false, "Athalye et al. 2018, arXiv:1802.00420"},
	{Temperature{}, Inner, Wrapper, nil, false, "Carlini & Wagner 2016, arXiv:1607.04311"},
	{Lattice8{}, Inner, Wrapper, nil, false, ""},
	{Transfer{}, Inner, Wrapper, nil, false, "Papernot et al. 2016, arXiv:1605.07277"},
}

var convexNorms = []advlib.Norm{advlib.L1, advlib.L2, advlib.Linf}

// defaults returns the fields that filled sets, in their order, with their values. What grows with the radius of a ball is in units of ε;
// what is set in some norms only says in which.
func defaults(zero threatened, norms []advlib.Norm) string {
	if _, ok := zero.(indexed); !ok {
		return ""
	}
	if len(norms) == 0 {
		norms = []advlib.Norm{nil}
	}
	fields := reflect.TypeOf(zero)
	var parts []string
	for i := range fields.NumField() {
		f := fields.Field(i)
		var text string
		var where []string
		for _, n := range norms {
			unit, double := filledAt(zero, n, 1).Field(i), filledAt(zero, n, 2).Field(i)
			if unit.IsZero() || f.Name == "Ball" || f.Name == "Norm" {
				continue
			}
			text = fmt.Sprint(unit.Interface())
			if !double.Equal(unit) {
				text += "·ε"
			}
			if n != nil {
				where = append(where, n.String())
			}
		}
		switch {
		case text == "":
		case len(where) < len(norms) && norms[0] != nil:
			parts = append(parts, fmt.Sprintf("%s %s in %s", f.Name, text, strings.Join(where, " ")))
		default:
			parts = append(parts, f.Name+" "+text)
		}
	}
	return strings.Join(parts, ", ")
}

// filledAt returns an attack's fields with its defaults, in the given norm and with the given radius where it has a ball.
func filledAt(zero threatened, n advlib.Norm, radius float64) reflect.Value {
	a := reflect.New(reflect.TypeOf(zero)).Elem()
	if f := a.FieldByName("Ball"); f.IsValid() {
		f.Set(reflect.ValueOf(advlib.Ball{Norm: n, Radius: radius}))
	}
	if f := a.FieldByName("Norm"); f.IsValid() {
		f.Set(reflect.ValueOf(n))
	}
	return reflect.ValueOf(a.Interface().(indexed).filled())
}

// tableHeader names the columns of a table.
var tableHeader = [...]string{"attack", "asks for", "looks for", "norms", "goals", "paper", "defaults"}

// row returns the cells of an entry.
func (e Entry) row() []string {
	var norms []string
	for _, n := range e.Norms {
		norms = append(norms, n.String())
	}
	goals := "untargeted"
	if e.Targeted {
		goals += ", targeted"
	}
	where := strings.Join(norms, " ")
	if e.Kind == Wrapper && where == "" {
		where = "those of what it runs"
	}
	return []string{e.Attack, string(e.Knowledge), string(e.Kind), where, goals, e.Paper, e.Defaults}
}

// String returns the table as aligned text, without the defaults, which follow below it.
func (t Table) String() string {
	var b strings.Builder
	b.WriteString(table.Text(tableHeader[:len(tableHeader)-1], t.rows()))
	width := utf8.RuneCountInString(tableHeader[0])
	for _, e := range t {
		width = max(width, utf8.RuneCountInString(e.Attack))
	}
	b.WriteString("\nDefaults, where fields are left at zero:\n\n")
	for _, e := range t {
		if e.Defaults != "" {
			fmt.Fprintf(&b, "%-*s%s\n", width+2, e.Attack, e.Defaults)
		}
	}
	return b.String()
}

// Markdown returns the table for a README: without goals and defaults, and the wrappers in a sentence.
func (t Table) Markdown() string {
	var b strings.Builder
	b.WriteString("| attack | asks for | looks for | norms | paper |\n|---|---|---|---|---|\n")
	var wrappers []string
	for _, e := range t {
		if e.Kind == Wrapper {
			wrappers = append(wrappers, "`"+e.Attack+"`")
			continue
		}
		r := e.row()
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", r[0], r[1], r[2], r[3], table.Paper(r[5]))
	}
	if n := len(wrappers); n > 0 {
		all := strings.Join(slices.Concat(wrappers[:n-1], []string{"and " + wrappers[n-1]}), ", ")
		b.WriteString("\n" + wrapped("Wrappers change how another attack is run: "+all+".", 120) + "\n")
	}
	return b.String()
}

// HTML returns the table as a fragment of HTML that reads on light and dark pages.
func (t Table) HTML() string { return table.HTML(tableHeader[:], t.rows()) }

func (t Table) rows() (rows [][]string) {
	for _, e := range t {
		rows = append(rows, e.row())
	}
	return rows
}

// wrapped breaks a text into lines of at most width characters.
func wrapped(text string, width int) string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && utf8.RuneCountInString(line+" "+word) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	return strings.Join(append(lines, line), "\n")
}
