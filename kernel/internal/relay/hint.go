package relay

import (
	"regexp"
	"strings"
)

// hints says what to do about common errors. The first that matches is given.
var hints = []struct {
	class   string // "": any
	pattern *regexp.Regexp
	text    string
}{
	{compileError, regexp.MustCompile(`expected declaration, found|non-declaration statement outside function body`),
		"statements need a line %% before them: what is above it is declared, what is below it is run."},
	{compileError, regexp.MustCompile(`expected statement, found 'import'|expected '\(', found \w+`),
		"imports, and functions with a name, stand above the line %%."},
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
	{compileError, regexp.MustCompile(`imported and not used`),
		"remove the import; those that are missing are added without asking."},
	{compileError, regexp.MustCompile(`undefined: \w+`),
		"values do not outlive their cell: declare with var, const or func above the line %% what later cells need, and keep results with " +
			"lab.Keep."},
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
	all := f.Text + "\n" + strings.Join(f.Traceback, "\n") + "\n" + e.stderr
	for _, h := range hints {
		if h.class != "" && h.class != f.Class {
			continue
		}
		text := all
		if h.class == exitError {
			text = f.Text
		}
		if h.pattern.MatchString(text) {
			return h.text
		}
	}
	return ""
}
