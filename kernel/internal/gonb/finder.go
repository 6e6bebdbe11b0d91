package gonb

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"advlab/kernel/internal/compose"
)

// Finder asks Go's tools, in the module and with the environment in which cells are compiled.
type Finder struct{ Engine *Engine }

// Find has goimports look for packages.
func (f Finder) Find(ctx context.Context, selectors map[string][]string) (map[string]compose.Import, error) {
	module, err := f.Engine.Module()
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	b.WriteString("package main\n\nvar (\n")
	for _, x := range slices.Sorted(maps.Keys(selectors)) {
		for _, name := range selectors[x] {
			fmt.Fprintf(&b, "\t_ = %s.%s\n", x, name)
		}
	}
	b.WriteString(")\n")
	dir, err := os.MkdirTemp(module, "imports")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "imports.go")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		return nil, err
	}
	out, err := f.output(ctx, module, "goimports", "-w", file)
	if err != nil {
		return nil, fmt.Errorf("goimports: %w: %s", err, out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), "", text, parser.ImportsOnly)
	if err != nil {
		return nil, fmt.Errorf("reading what goimports wrote: %w", err)
	}
	found := map[string]compose.Import{}
	for _, spec := range parsed.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		i := compose.Import{Path: path}
		if spec.Name != nil {
			i.Name = spec.Name.Name
		}
		name := i.Name
		if name == "" {
			name = compose.AssumedName(path)
		}
		if _, asked := selectors[name]; asked {
			found[name] = i
		}
	}
	return found, nil
}

// Package reads a package's name and what it exports from its sources.
func (f Finder) Package(ctx context.Context, path string) (name string, exports []string, ok bool) {
	module, err := f.Engine.Module()
	if err != nil {
		return "", nil, false
	}
	out, err := f.output(ctx, module, "go", "list", "-find", "-f",
		"{{.Name}}\n{{.Dir}}\n{{range .GoFiles}}{{.}}\n{{end}}{{range .CgoFiles}}{{.}}\n{{end}}", "--", path)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if err != nil || len(lines) < 2 {
		return "", nil, false
	}
	set := map[string]bool{}
	for _, file := range lines[2:] {
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(lines[1], file), nil, parser.SkipObjectResolution)
		if err != nil {
			continue
		}
		for _, d := range parsed.Decls {
			for _, name := range exportedOf(d) {
				set[name] = true
			}
		}
	}
	return lines[0], slices.Sorted(maps.Keys(set)), true
}

func exportedOf(d ast.Decl) (names []string) {
	add := func(ids ...*ast.Ident) {
		for _, id := range ids {
			if id.IsExported() {
				names = append(names, id.Name)
			}
		}
	}
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			add(d.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				add(s.Name)
			case *ast.ValueSpec:
				add(s.Names...)
			}
		}
	}
	return names
}

// output runs one of Go's tools.
func (f Finder) output(ctx context.Context, dir, name string, arguments ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, arguments...)
	cmd.Dir, cmd.Env = dir, f.Engine.cmd.Env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // with what it has started
	cmd.WaitDelay = time.Second
	if path, err := lookPath(name, cmd.Env); err == nil {
		cmd.Path, cmd.Err = path, nil
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// lookPath finds a program by the PATH of an environment.
func lookPath(name string, env []string) (string, error) {
	for _, entry := range slices.Backward(env) {
		if list, ok := strings.CutPrefix(entry, "PATH="); ok {
			for _, dir := range filepath.SplitList(list) {
				if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
					return path, nil
				}
			}
			break
		}
	}
	return exec.LookPath(name)
}
