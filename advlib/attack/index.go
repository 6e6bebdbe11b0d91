package attack

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
	"advlab/advlib/internal/table"
)

// Listed is what the index says about one attack.
type Listed struct {
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
	// Defaults are the fields that have a value of their own where they are left at zero, "Steps 40, StepSize 0.0625·ε";
	// empty if there are none.
	Defaults string
	// Commands are its names on the command line, as in "--attacks pgd,pgd-margin".
	Commands []Command
}

// Knowledge is what an attack asks a model for.
type Knowledge string

// What attacks ask for.
const (
	Gradients Knowledge = "gradients"
	Scores    Knowledge = "logits"
	Labels    Knowledge = "labels"
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

// Listing is an index of attacks. In a notebook, show.Display(attack.Index()) shows it.
type Listing []Listed

// Index returns all attacks of this package, by what they look for, and then in the order of their papers; those that
// are learned, by Fit, stand for what Fit returns. What it says is what the attacks describe; a test holds norms,
// kinds, goals and knowledge against what they do, and the table in the package's documentation and the one in the
// README against this one.
func Index() Listing {
	t := make(Listing, len(registry))
	for i, r := range registry {
		t[i] = r.entry()
	}
	kinds := []Kind{InBall, Nearest, ForAll, InPatch, Wrapper}
	slices.SortStableFunc(t, func(a, b Listed) int {
		return cmp.Or(
			cmp.Compare(slices.Index(kinds, a.Kind), slices.Index(kinds, b.Kind)),
			cmp.Compare(a.published(), b.published()), cmp.Compare(a.Attack, b.Attack),
		)
	})
	return t
}

// published is the number of the paper, which begins with year and month; what has no paper comes last.
func (e Listed) published() string {
	if _, number, ok := strings.Cut(e.Paper, "arXiv:"); ok {
		return number
	}
	return "~"
}

// threatened is what has a name and a threat: an attack, or what learns one.
type threatened interface {
	String() string
	Threat(v advlib.Victim) (advlib.Threat, error)
}

// Command is a name for an attack on the command line, with what its help says about it.
type Command struct {
	Name, About string
	// Make returns the attack in a ball, or, of one that looks for the nearest example, in the ball's norm.
	Make func(b advlib.Ball) advlib.Attack
	// Norms are those that Make takes; nil stands for those of the attack in the index.
	Norms []advlib.Norm
}

// registered is an attack in the index.
type registered struct {
	kind     Kind
	commands []Command
	zero     func() craft.Described // a pointer to its zero value
}

// registry holds the attacks as their files register them; Index brings them into order.
var registry []registered

// register puts an attack into the index, with its names on the command line. Each attack does so in its own file.
func register[A threatened, P interface {
	*A
	craft.Described
}](kind Kind, commands ...Command) {
	registry = append(registry, registered{kind, commands, func() craft.Described { return P(new(A)) }})
}

var convexNorms = []advlib.Norm{advlib.L1, advlib.L2, advlib.Linf}

// entry says what the index says about an attack.
func (r registered) entry() Listed {
	d := craft.Describe(r.zero())
	gradients, targeted, paper := d.ForIndex()
	e := Listed{
		Attack: r.name(), Kind: r.kind, Norms: d.Norms(), Targeted: targeted, Paper: paper, Knowledge: Labels,
		Defaults: r.defaults(d.Norms()), Commands: slices.Clone(r.commands),
	}
	for i := range e.Commands {
		if c := &e.Commands[i]; c.Norms == nil {
			c.Norms = e.Norms
		}
	}
	switch {
	case r.kind == Wrapper:
		e.Knowledge = Inner
	case gradients:
		e.Knowledge = Gradients
	case d.AsksScores():
		e.Knowledge = Scores
	}
	return e
}

// name returns the name of the attack's type.
func (r registered) name() string { return reflect.TypeOf(r.zero()).Elem().Name() }

// defaults returns the fields that have a value where they are left at zero. What grows with the radius of a ball is in
// units of ε; what has one in some norms only says in which.
func (r registered) defaults(norms []advlib.Norm) string {
	if len(norms) == 0 {
		norms = []advlib.Norm{nil}
	}
	var names []string
	texts, where := map[string]string{}, map[string][]string{}
	for _, n := range norms {
		double := map[string]any{}
		craft.DescribeIn(r.zero(), advlib.Ball{Norm: n, Radius: 2}).Values(func(name string, v any) { double[name] = v })
		craft.DescribeIn(r.zero(), advlib.Ball{Norm: n, Radius: 1}).Values(func(name string, v any) {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
			if texts[name] = fmt.Sprint(v); v != double[name] {
				texts[name] += "·ε"
			}
			if n != nil {
				where[name] = append(where[name], n.String())
			}
		})
	}
	for i, name := range names {
		names[i] += " " + texts[name]
		if n := len(where[name]); n > 0 && n < len(norms) {
			names[i] += " in " + strings.Join(where[name], " ")
		}
	}
	return strings.Join(names, ", ")
}

// tableHeader names the columns of a table.
var tableHeader = [...]string{"attack", "asks for", "looks for", "norms", "goals", "paper", "defaults"}

// row returns the cells of an entry.
func (e Listed) row() []string {
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
func (t Listing) String() string {
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
func (t Listing) Markdown() string {
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
func (t Listing) HTML() string { return table.HTML(tableHeader[:], t.rows()) }

func (t Listing) rows() (rows [][]string) {
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
