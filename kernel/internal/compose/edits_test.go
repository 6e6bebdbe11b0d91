package compose

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"advlab/kernel/internal/cell"
)

// notebookModel is a notebook of twelve cells as its reader sees it. Each name has one value, wherever it is declared,
// and a cell is good, or broken in a known way.
type notebookModel struct {
	r     *rand.Rand
	cells []*cellModel
	ran   []*cellModel // copies, in the order in which they last ran and compiled
	ids   bool
}

type cellModel struct {
	id    string
	items []item
	ok    bool // it compiles, where everything that it uses does
}

// item is one declaration: its text, the names it declares with what an expression of each prints, and what it needs.
type item struct {
	text  string
	gives map[string]string // expression by name
	want  map[string]string // what it prints
	needs []string
}

// make writes a declaration of a name, of a random kind. value is what it prints.
func (m *notebookModel) make(name string, value int) item {
	v := fmt.Sprint(value)
	give := func(text, expression string, needs ...string) item {
		return item{text, map[string]string{name: expression}, map[string]string{name: v}, needs}
	}
	switch m.r.IntN(9) {
	case 0:
		return give("func "+name+"() int { return "+v+" }", name+"()")
	case 1:
		return give("var "+name+" = "+v, name)
	case 2:
		return give("const "+name+" = "+v, name)
	case 3:
		return give("type "+name+" struct{ n int }\nfunc (x "+name+") Get() int { return "+v+" + 0*x.n }", name+"{}.Get()")
	case 4:
		return give("func "+name+"[T any](x T) T { return x }", name+"("+v+")")
	case 5:
		return give("type "+name+" int\nfunc (x *"+name+") Twice() int { return int(*x) * 2 }\nfunc (x "+name+") Get() int { return int(x) }",
			name+"("+v+").Get()")
	case 6:
		return item{"const (\n\t" + name + " = iota + " + v + "\n\t" + name + "x\n)", map[string]string{name: name, name + "x": name + "x"},
			map[string]string{name: v, name + "x": fmt.Sprint(value + 1)}, nil}
	case 7:
		return item{"var " + name + ", " + name + "y = func() (int, string) { return " + v + ", \"y\" }()",
			map[string]string{name: name, name + "y": name + "y"}, map[string]string{name: v, name + "y": "y"}, nil}
	}
	return give("type base"+name+" struct{}\nfunc (base"+name+") Get() int { return "+v+" }\ntype "+name+" struct{ base"+name+" }",
		name+"{}.Get()")
}

func (c *cellModel) code() string {
	var parts []string
	for _, i := range c.items {
		parts = append(parts, i.text)
	}
	return strings.Join(parts, "\n\n")
}

// TestRandomEdits edits a notebook of twelve cells at random, as people do: declares, renames, deletes, breaks,
// repairs, changes kinds, runs in any order, with and without cell ids. After each sequence a cell that uses some names
// prints what the latest good declarations of these say: what is broken elsewhere, or was, does not matter.
func TestRandomEdits(t *testing.T) {
	sequences := 40
	if os.Getenv("ADVLAB_FULL") != "" {
		sequences = 500
	}
	seen := map[string]int{}
	for seed := range sequences {
		m := &notebookModel{r: rand.New(rand.NewPCG(uint64(seed), 7)), ids: seed%2 == 0}
		var n Notebook
		log := m.play(t, &n, seen)
		if t.Failed() {
			t.Fatalf("sequence %d (ids %v):\n%s", seed, m.ids, log)
		}
	}
	t.Logf("%d sequences: %v", sequences, seen)
	for _, what := range []string{"declare", "break", "panic", "delete", "rename", "repair", "rerun", "asked"} {
		if seen[what] == 0 {
			t.Errorf("no sequence has %s: the test proves little", what)
		}
	}
}

var names = []string{"alpha", "beta", "gamma", "delta", "omega", "kappa"}

func (m *notebookModel) play(t *testing.T, n *Notebook, seen map[string]int) string {
	var log strings.Builder
	for k := range 12 {
		m.cells = append(m.cells, &cellModel{id: fmt.Sprintf("cell-%d", k), ok: true})
	}
	for step := range 25 {
		c := m.cells[m.r.IntN(len(m.cells))]
		what := m.edit(c, step)
		seen[what]++
		fmt.Fprintf(&log, "-- %s %s\n%s\n", c.id, what, c.code())
		m.run(t, n, c)
		if t.Failed() {
			return log.String()
		}
	}
	m.ask(t, n, seen, &log)
	return log.String()
}

// edit changes a cell, or leaves it.
func (m *notebookModel) edit(c *cellModel, step int) string {
	name := names[m.r.IntN(len(names))]
	if !c.ok {
		c.ok = true
		c.items = nil
		return "repair"
	}
	switch k := m.r.IntN(12); {
	case k < 6 || len(c.items) == 0:
		i := m.make(name, 10*step+m.r.IntN(10))
		for _, old := range c.items {
			for g := range i.gives {
				if old.gives[g] != "" {
					c.items = nil // one cell declares a name once
				}
			}
		}
		c.items = append(c.items, i)
		return "declare"
	case k < 7:
		c.items = c.items[1:]
		return "delete"
	case k < 8:
		c.items = []item{m.make(name, 10*step)}
		return "rename"
	case k < 9: // it does not compile
		c.ok = false
		c.items = append(slices.Clone(c.items), item{text: "var broken" + name + " int = \"text\""})
		return "break"
	case k < 10: // it compiles, and panics where it is reached
		c.items = append(slices.Clone(c.items), item{text: "var fatal" + name + " = func() int { panic(1) }()"})
		return "panic"
	case k < 11: // an init function that panics: another cell's is left out
		c.items = append(slices.Clone(c.items), item{text: "func init_" + name + "() { _ = fatal" + name + " }", needs: []string{"fatal" + name}})
		return "starter"
	}
	return "rerun"
}

// run composes a cell, and adds it to the notebook where the model says that it compiles.
func (m *notebookModel) run(t *testing.T, n *Notebook, c *cellModel) {
	id := ""
	if m.ids {
		id = c.id
	}
	p, err := n.Compose(t.Context(), known, Origin{ID: id, Number: n.order + 1}, c.code(), cell.Parse(c.code()))
	if err != nil {
		t.Errorf("composing %q: %v", c.code(), err)
		return
	}
	if !c.ok {
		return
	}
	n.Add(p)
	for _, u := range p.own.units { // an init function that may fail does so in its cell, and is left out of others
		if u.kind == starter {
			n.LeaveOut(u.label())
		}
	}
	if m.ids {
		m.ran = slices.DeleteFunc(m.ran, func(old *cellModel) bool { return old.id == c.id })
	}
	m.ran = append(m.ran, &cellModel{id: c.id, items: slices.Clone(c.items), ok: true})
}

// ask runs a cell that uses every name that is declared, and some that have been, and looks at what it prints.
func (m *notebookModel) ask(t *testing.T, n *Notebook, seen map[string]int, log *strings.Builder) {
	latest := map[string]item{}
	for _, c := range m.ran {
		for _, i := range c.items {
			for name := range i.gives {
				latest[name] = i
			}
		}
	}
	code, want := "", ""
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range latest {
			if !yield(name) {
				return
			}
		}
	}) {
		code += "fmt.Println(" + latest[name].gives[name] + ")\n"
		want += latest[name].want[name] + "\n"
		seen["asked"]++
	}
	if code == "" {
		return
	}
	fmt.Fprintf(log, "-- asked\n%s", code)
	p := compose(t, n, "", code)
	got, err := run(t, p)
	if _, exits := err.(*exec.ExitError); err != nil && !exits || got != want {
		t.Errorf("got %q (%v), want %q\n%s", got, err, want, all(p))
	}
}
