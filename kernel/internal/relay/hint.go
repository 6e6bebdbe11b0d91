package relay

import (
	"fmt"
	"regexp"
	"strings"
)

// hints says what to do about common errors. The first that matches is given.
var hints = []struct {
	class   string // "": any
	pattern *regexp.Regexp
	text    string
}{
	{compileError, regexp.MustCompile(`advlab/\S* is not in std`),
		"there is no such package of advlab: see the list with !*go list advlab/advlib/..."},
	{compileError, regexp.MustCompile(`is not in std`),
		"the import path is mistyped, or its module is not pinned: a path without a dot in its first part is looked for in the standard " +
			"library only."},
	{compileError, regexp.MustCompile(`no required module provides package|cannot find module providing package|` +
		`module lookup disabled by GOPROXY=off`),
		"the package is not among those that advlab pins, and cells do not use the network. To add it: %env GOPROXY=https://proxy.golang.org " +
			"and then !*go get MODULE@VERSION"},
	{compileError, regexp.MustCompile(`declared and not used`),
		"Go refuses variables that nothing reads: use it, or assign it to _."},
	{compileError, regexp.MustCompile(`undefined: (True|False|None)\b`), "this is Go: true, false and nil."},
	{compileError, regexp.MustCompile(`undefined: (ls|cd|cat|pwd|pip|git|mkdir|grep)\b`),
		"a shell's command begins with !, as in !ls; %cd and %env set what later cells run with."},
	{compileError, regexp.MustCompile(`undefined: (exit|quit)\b`),
		"os.Exit(1) ends the program of a cell, with a status, and return ends it as its last line does; exit alone in a cell ends a console."},
	{exitError, regexp.MustCompile(`GOPROXY=off`), "cells do not use the network until told to: " + getInstead},
	{compileError, regexp.MustCompile(`undefined: print`), "values are printed by fmt.Println(x), and shown by show.Display(x)."},
	{compileError, regexp.MustCompile(`is not used`),
		"only the last line of a cell may be a value alone, and is shown as Out[n]; above it, print values with fmt.Println(x), or show them " +
			"with show.Display(x)."},
	{compileError, regexp.MustCompile(`imported and not used`),
		"remove the import; those that are missing are added without asking."},
	{panicked, regexp.MustCompile(`nil pointer dereference`),
		"something that was not set is used: values of an earlier cell's %% part are not there any more."},
	{"", regexp.MustCompile(`(?i)plugin.*(not found|cannot be|could not|failed)|pjrt.*not found|no plugin`),
		"XLA's plugin is missing: `go run ./kernel doctor` says what to do; ADVLAB_BACKEND=go computes without it, more slowly."},
	{"", regexp.MustCompile(`(?i)RESOURCE_EXHAUSTED|out of memory|cannot allocate memory`),
		"memory ran out: make the batch smaller, or use fewer examples."},
	{exitError, regexp.MustCompile(`^signal: killed`),
		"the system has killed the program, most likely because memory ran out: make the batch smaller, or use fewer examples."},
	{inputRefused, regexp.MustCompile(``),
		"run the notebook in JupyterLab, or give the program its input in another way."},
}

func hint(f *failure, e evidence) string {
	if gone := e.lore.gone; gone != "" && f.Class == compileError && strings.Contains(f.Text, "undefined: ") || gone != "" &&
		strings.Contains(f.Text, "advlab@") {
		return gone
	}
	if text := e.habit(f); text != "" {
		return text
	}
	if text := e.undefined(f); text != "" {
		return text
	}
	if text := e.elsewhere(f); text != "" {
		return text
	}
	all := f.Text + "\n" + strings.Join(f.Traceback, "\n") + "\n" + e.stderr
	for _, h := range hints {
		if h.class != "" && h.class != f.Class {
			continue
		}
		text := all
		if h.class == exitError && strings.HasPrefix(h.pattern.String(), "^") {
			text = f.Text
		}
		if h.pattern.MatchString(text) {
			return h.text
		}
	}
	return ""
}

// lore is what the relay knows of the notebook beyond what is declared.
type lore struct {
	failed  map[string]int // the cell that declares a name and did not compile, by the name
	locals  map[string]int // the cell whose statements had a variable of this name
	exports func(path string) []string
	gone    string // what to do about a checkout that is not there any more; empty: it is
}

var undefinedName = regexp.MustCompile(`undefined: (?:(\w+)\.)?(\w+)(?: \(and \d+ more\))?$`)

// undefined explains a name that nobody declares, where the reason is known.
func (e evidence) undefined(f *failure) string {
	m := undefinedName.FindStringSubmatch(f.Text)
	if f.Class != compileError || m == nil || e.program == nil {
		return ""
	}
	if m[1] != "" {
		path := e.program.Path(m[1])
		if path == "" || e.lore.exports == nil {
			return ""
		}
		if close := nearest(m[2], e.lore.exports(path)); len(close) > 0 {
			return fmt.Sprintf("package %s has no %s; did you mean %s?", path, m[2], strings.Join(close, ", "))
		}
		return fmt.Sprintf("package %s has no %s: Tab behind %s. lists what it has.", path, m[2], m[1])
	}
	if cell := e.lore.failed[m[2]]; cell > 0 {
		return fmt.Sprintf("cell %d declares %s, and failed: mend it and run it again.", cell, m[2])
	}
	if cell := e.lore.locals[m[2]]; cell > 0 {
		return fmt.Sprintf("%s was a variable of cell %d's program, and its value ended with that cell: declare with var, const or func what "+
			"later "+
			"cells need (var at the top of its cell), and keep results with lab.Keep.", m[2], cell)
	}
	return ""
}

// elsewhere explains an error in another cell's declaration.
func (e evidence) elsewhere(f *failure) string {
	if f.Class != compileError || e.program == nil {
		return ""
	}
	for _, line := range strings.Split(e.value, "\n") {
		m := position.FindStringSubmatch(strings.TrimPrefix(strings.TrimSpace(line), "./"))
		if m == nil {
			continue
		}
		source := e.program.Source(m[1])
		if source == nil || e.program.Own(m[1]) {
			return ""
		}
		declaration, _ := e.program.Blame(m[1], number(m[2]))
		if declaration == "" {
			return ""
		}
		return fmt.Sprintf("this cell uses %s of cell %d, which does not compile any more with what was declared since: mend cell %d and run it "+
			"again, or forget it with %%rm %s.", declaration, source.Number, source.Number, declaration)
	}
	return ""
}

// habits are what people type who come from elsewhere, by a cell's line.
var habits = []struct {
	pattern *regexp.Regexp
	text    string
}{
	{regexp.MustCompile(`^\s*def \w+\(.*:\s*$`), "this is Go, and that is Python: a function is func f(x float64) float64 { return x }."},
	{regexp.MustCompile(`^\s*class \w+.*:\s*$`), "this is Go, and that is Python: a type is type T struct { X float64 }, and methods are functions with a receiver."},
	{regexp.MustCompile(`^\s*(for .* in .*|if .*|while .*|elif .*|else|try|with .*):\s*$`), "this is Go, and that is Python: braces hold a block, as in for i := range 3 { … } and if x > 0 { … }."},
	{regexp.MustCompile(`^\s*from \S+ import |^\s*import \w[\w.]* as |^\s*import \w[\w.]*\s*$`), "this is Go, and that is Python: an import is import \"math\"; most need none, since they are added by themselves."},
	{regexp.MustCompile(`^\s*print\(|^\s*print `), "this is Go: values are printed by fmt.Println(x), and shown by show.Display(x)."},
	{regexp.MustCompile(`^\s*\?+[\w.]+|[\w)]\?+\s*$`), "Shift+Tab behind a name documents it, in Go as in Python."},
	{regexp.MustCompile(`^\s*#`), "this is Go: a comment begins with //."},
	{regexp.MustCompile(`^\s*(pip|conda|apt|ls|cd|cat|git|mkdir|wget|curl|export) `), "a shell's command begins with !, as in !ls; %cd and %env set what later cells run with."},
	{regexp.MustCompile(`^\s*[\w.]+(, [\w.]+)+\s*$`), "the last line of a cell shows one value: print values with fmt.Println(a, b), or show them with show.Display(a, b)."},
}

var lineOf = regexp.MustCompile(`^(?:cell \d+, )?line (\d+): `)

// habit explains a line that is no Go, since it is something else.
func (e evidence) habit(f *failure) string {
	m := lineOf.FindStringSubmatch(f.Text)
	if f.Class != compileError || m == nil || e.program != nil {
		return ""
	}
	line := number(m[1])
	if line < 1 || line > len(e.cell.Lines) {
		return ""
	}
	for _, h := range habits {
		if h.pattern.MatchString(e.cell.Lines[line-1]) {
			return h.text
		}
	}
	return ""
}
