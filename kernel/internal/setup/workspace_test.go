package setup

import (
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"

	"advlab/kernel/internal/place"
)

func TestGenerateGoMod(t *testing.T) {
	got, err := GenerateGoMod("/home/ann/advlab", []byte(`module advlab

go 1.26.5

toolchain go1.26.8

tool example.org/tool

require example.org/a v1.2.3

require (
	example.org/b/v2 v2.0.0 // indirect
)

replace example.org/a => ../a

replace example.org/c v1.0.0 => example.org/d v1.1.0

exclude example.org/e v0.1.0
`))
	if err != nil {
		t.Fatal(err)
	}
	mod, err := modfile.Parse("go.mod", got, nil)
	if err != nil {
		t.Fatalf("%v in\n%s", err, got)
	}
	if mod.Module.Mod.Path != "advlab.workspace" || mod.Go.Version != "1.26.5" || len(mod.Tool) != 0 {
		t.Errorf("module, go and tool lines are wrong:\n%s", got)
	}
	want := map[string]string{"advlab": "v0.0.0", "example.org/a": "v1.2.3", "example.org/b/v2": "v2.0.0"}
	for _, r := range mod.Require {
		if want[r.Mod.Path] != r.Mod.Version {
			t.Errorf("requires %v", r.Mod)
		}
		delete(want, r.Mod.Path)
	}
	if len(want) > 0 {
		t.Errorf("does not require %v", want)
	}
	replaced := map[string]string{}
	for _, r := range mod.Replace {
		replaced[r.Old.Path] = r.New.String()
	}
	for path, target := range map[string]string{"advlab": "/home/ann/advlab", "example.org/a": "/home/ann/a",
		"example.org/c": "example.org/d@v1.1.0"} {
		if replaced[path] != target {
			t.Errorf("%s is replaced by %q, want %q", path, replaced[path], target)
		}
	}
	if len(mod.Exclude) != 1 {
		t.Errorf("excludes %v", mod.Exclude)
	}
}

func TestGenerateGoModRefusesNonsense(t *testing.T) {
	for _, text := range []string{"", "module advlab\n", "hello"} {
		if got, err := GenerateGoMod("/x", []byte(text)); err == nil {
			t.Errorf("GenerateGoMod(%q) = %q, want an error", text, got)
		}
	}
}

func TestGenerateImports(t *testing.T) {
	for _, packages := range [][]string{nil, {"advlab/advlib", "advlab/advlib/attack"}} {
		for _, clause := range []string{"workspace", "main"} {
			text := GenerateImports(clause, packages)
			file, err := parser.ParseFile(token.NewFileSet(), "advlib.go", text, 0)
			if err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			if file.Name.Name != clause || len(file.Imports) != len(packages) {
				t.Errorf("package %s with %d imports, want %s with %d", file.Name.Name, len(file.Imports), clause, len(packages))
			}
		}
	}
}

// TestPackages lists a small module with everything that cells must not import.
func TestPackages(t *testing.T) {
	checkout := t.TempDir()
	for file, text := range map[string]string{
		"go.mod":                            "module advlab\n\ngo 1.26.5\n",
		"advlib/doc.go":                     "package advlib\n",
		"advlib/attack/fgm.go":              "package attack\n\nimport _ \"advlab/advlib\"\n",
		"advlib/attack/attacktest/suite.go": "package attacktest\n\nimport _ \"testing\"\n",
		"advlib/backend/internal/x/x.go":    "package x\n",
		"advlib/cmd/advlib/main.go":         "package main\n\nfunc main() {}\n",
		"advlib/onlytests/only_test.go":     "package onlytests\n",
		"advlib/certify/testdata/x.go":      "package x\n",
		"kernel/kernel.go":                  "package kernel\n",
	} {
		path := filepath.Join(checkout, filepath.FromSlash(file))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m := &machine{}
	got, err := Packages(t.Context(), checkout, m.goEnv())
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"advlab/advlib", "advlab/advlib/attack"}; !slices.Equal(got, want) {
		t.Errorf("Packages = %q, want %q", got, want)
	}
	folders, err := advlibFolders(checkout)
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(folders, func(f string) bool { return strings.Contains(f, "testdata") || strings.HasSuffix(f, "onlytests") }) {
		t.Errorf("folders of tests count: %q", folders)
	}
	if err := os.Mkdir(filepath.Join(checkout, "advlib", "show"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(checkout, "advlib", "show", "doc.go"), []byte("package show\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if more, err := advlibFolders(checkout); err != nil || slices.Equal(more, folders) {
		t.Errorf("a new package does not change what the workspace is made from: %q, %v", more, err)
	}
}

// TestWorkspaceHasTheBuildListOfAdvlab compares the versions that cells get with those that the tests are run with.
func TestWorkspaceHasTheBuildListOfAdvlab(t *testing.T) {
	checkout, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(checkout, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	mod, err := GenerateGoMod(checkout, text)
	if err != nil {
		t.Fatal(err)
	}
	sum, err := os.ReadFile(filepath.Join(checkout, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string][]byte{"go.mod": mod, "go.sum": sum, "advlib.go": GenerateImports("workspace",
		[]string{"advlab/advlib"})} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m := &machine{options: Options{Offline: true}}
	versions := func(dir string) map[string]string {
		t.Helper()
		// The modules of the packages, not of the whole graph, whose go.mod files need not be on this machine.
		cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}} {{.Version}}{{end}}", "advlab/advlib")
		cmd.Dir, cmd.Env = dir, m.goEnv()
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list in %s: %v\n%s", dir, err, stderr.String())
		}
		list := map[string]string{}
		for line := range strings.Lines(string(out)) {
			if path, version, ok := strings.Cut(strings.TrimSpace(line), " "); ok && path != "advlab" {
				list[path] = version
			}
		}
		return list
	}
	want, got := versions(checkout), versions(dir)
	if len(want) == 0 || len(got) != len(want) {
		t.Errorf("%d modules in the workspace, %d in the checkout", len(got), len(want))
	}
	for path, version := range want {
		if got[path] != version {
			t.Errorf("%s %s in the workspace, %s in the checkout", path, got[path], version)
		}
	}
}

// TestToolsMatchTheLibrary: the gonb that runs cells and the gonbui that they display with speak one protocol.
func TestToolsMatchTheLibrary(t *testing.T) {
	const gonb = "github.com/janpfeifer/gonb"
	version := func(file string) string {
		t.Helper()
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		mod, err := modfile.Parse(file, text, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range mod.Require {
			if r.Mod.Path == gonb {
				return r.Mod.Version
			}
		}
		t.Fatalf("%s does not require %s", file, gonb)
		return ""
	}
	library, tools := version("../../../go.mod"), version("../../tools/go.mod")
	if library != tools {
		t.Errorf("cells display with gonb %s, and gonb %s runs them", library, tools)
	}
}

// TestCheckoutsShareTheTools: two clones of the same commit must not build the tools in turns.
func TestCheckoutsShareTheTools(t *testing.T) {
	root := t.TempDir()
	inputs := func(goMod string) string {
		t.Helper()
		m := &machine{place: place.Of(root, t.TempDir())}
		if err := os.MkdirAll(m.place.ToolsModule(), 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"go.mod": goMod, "go.sum": ""} {
			if err := os.WriteFile(filepath.Join(m.place.ToolsModule(), name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		hash, err := m.toolsStep().inputs()
		if err != nil {
			t.Fatal(err)
		}
		return hash
	}
	one := inputs("module a\n")
	if inputs("module a\n") != one {
		t.Error("the checkout's folder counts")
	}
	if inputs("module b\n") == one {
		t.Error("the versions do not count")
	}
}
