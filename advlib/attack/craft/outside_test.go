package craft_test

import (
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The attack of the package's documentation, in a module of its own, passes the conformance suite: what it takes is
// public, and what the documentation says of it is so. It runs on the Go backend, which need not compile.
func TestOwnAttackFromOutside(t *testing.T) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	read := func(name string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	// Requirements of the module are those of advlab itself: nothing has to be looked up.
	mod := regexp.MustCompile(`(?m)^module .*$`).ReplaceAllString(read("go.mod"), "module own")
	write("go.mod", mod+"\nrequire advlab v0.0.0\n\nreplace advlab => "+root+"\n")
	write("go.sum", read("go.sum"))
	blocks := examples(t)
	if len(blocks) != 2 {
		t.Fatalf("the documentation has %d pieces of code, want the attack and its test", len(blocks))
	}
	if n := strings.Count(blocks[0], "\n"); n > 40 {
		t.Errorf("the attack of the documentation has %d lines: it should be short", n)
	}
	write("signs.go", `package own

import (
	"context"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

`+blocks[0])
	write("signs_test.go", `package own

import (
	"context"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/attacktest"
)

func TestSigns(t *testing.T) {
`+blocks[1]+`}

// It runs as the package's own attacks do: in wrappers, with its budget, named by its fields.
func TestSignsInWrappers(t *testing.T) {
	c := advlib.MustClassifier(advlib.Spec{
		Name: "three", Input: []int{3}, Box: advlib.UnitBox,
		Logits: func(_ *model.Scope, x *graph.Node) *graph.Node { return graph.MulScalar(x, 5) },
	})
	e, err := advlib.NewExamples("one", []float32{0.5, 0.4, 0.2}, []int{3}, []int32{0})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []struct {
		ε      float64
		broken bool
	}{{0.04, false}, {0.06, true}} {
		res := advlib.MustRun(context.Background(), c, e, attack.AllTargets{Attack: Signs{Ball: advlib.Linf.Ball(k.ε)}})
		if res.Success[0] != k.broken || !strings.HasPrefix(res.Attack, "signs-20 Linf ≤ ") {
			t.Errorf("%v: success %v", res.Attack, res.Success)
		}
	}
	if _, err := (Signs{Ball: advlib.L2.Ball(1)}).Threat(c); err == nil || !strings.Contains(err.Error(), "use Linf") {
		t.Errorf("in L2: %v", err)
	}
}
`)
	cmd := exec.Command("go", "test", "-count=1", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off", "ADVLAB_BACKEND=go")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// examples returns the pieces of code in the package's documentation.
func examples(t *testing.T) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "doc.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	code := ""
	for line := range strings.Lines(f.Doc.Text()) {
		switch {
		case strings.HasPrefix(line, "\t"):
			code += strings.TrimPrefix(line, "\t")
		case strings.TrimSpace(line) == "":
			if code != "" {
				code += "\n"
			}
		default:
			if code != "" {
				blocks = append(blocks, code)
			}
			code = ""
		}
	}
	return append(blocks, code)[:len(blocks)+min(1, len(code))]
}
