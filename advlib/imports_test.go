package advlib_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// allowed lists, for each package of the module, which others of the module it may import. Arrows go one way: the
// vocabulary knows nothing of the attacks, the kernel knows nothing of advlib but where things lie.
var allowed = map[string][]string{
	"advlib":                            {"advlib/backend", "advlib/internal/hidden", "advlib/internal/notebook", "advlib/internal/option", "advlib/report", "advlib/similarity"},
	"advlib/oracle":                     {"advlib"},
	"advlib/detect":                     {"advlib", "advlib/attack", "advlib/attack/craft", "advlib/internal/...", "advlib/lab", "advlib/report", "advlib/training", "advlib/transform", "advlib/zoo"},
	"advlib/diagnose":                   {"advlib", "advlib/attack", "advlib/attack/craft", "advlib/report", "advlib/zoo"},
	"advlib/serve":                      {"advlib", "advlib/detect"},
	"advlib/endpoint":                   {"advlib", "advlib/cachedir", "advlib/internal/option"},
	"advlib/report":                     {},
	"advlib/impact":                     {"advlib", "advlib/attack", "advlib/report", "advlib/similarity"},
	"advlib/similarity":                 {},
	"advlib/cachedir":                   {},
	"advlib/internal":                   {},
	"advlib/backend":                    {"advlib/backend/...", "advlib/cachedir", "advlib/internal/notebook"},
	"advlib/attack":                     {"advlib", "advlib/attack/craft", "advlib/internal/equation", "advlib/internal/table"},
	"advlib/attack/craft":               {"advlib", "advlib/backend"},
	"advlib/bench":                      {"advlib/..."},
	"advlib/attack/attacktest":          {"advlib", "advlib/backend", "advlib/dataset", "advlib/internal/..."},
	"advlib/certify":                    {"advlib", "advlib/backend", "advlib/certify/internal/...", "advlib/internal/option", "advlib/internal/table", "advlib/vnnlib"},
	"advlib/certify/internal/propagate": {"advlib", "advlib/internal/inspect", "advlib/internal/operator"},
	"advlib/certify/internal/search":    {"advlib", "advlib/vnnlib"},
	"advlib/certify/internal/chain":     {"advlib/backend", "advlib/certify/internal/propagate", "advlib/certify/internal/search"},
	"advlib/dataset":                    {"advlib", "advlib/cachedir", "advlib/internal/..."},
	"advlib/lab":                        {"advlib", "advlib/backend", "advlib/cachedir", "advlib/internal/..."},
	"advlib/training":                   {"advlib", "advlib/backend", "advlib/lab", "advlib/internal/..."},
	"advlib/zoo":                        {"advlib", "advlib/internal/option", "advlib/training"},
	"advlib/defense":                    {"advlib", "advlib/attack", "advlib/attack/craft", "advlib/internal/option", "advlib/report", "advlib/training"},
	"advlib/transform":                  {"advlib", "advlib/attack", "advlib/backend", "advlib/internal/operator", "advlib/training"},
	"advlib/scenario":                   {"advlib", "advlib/dataset"},
	"advlib/scenario/signs":             {"advlib", "advlib/attack/craft", "advlib/dataset", "advlib/internal/...", "advlib/training"},
	"advlib/scenario/faces":             {"advlib", "advlib/attack/craft", "advlib/training"},
	"advlib/scenario/medicine":          {"advlib", "advlib/attack", "advlib/dataset", "advlib/report"},
	"advlib/show":                       {"advlib", "advlib/backend", "advlib/internal/notebook", "advlib/report", "advlib/training"},
	"advlib/smooth":                     {"advlib", "advlib/backend", "advlib/report", "advlib/training"},
	"advlib/onnx":                       {"advlib", "advlib/backend", "advlib/internal/option", "advlib/internal/inspect", "advlib/internal/operator", "advlib/internal/vmap"},
	"advlib/internal/hidden":            {"advlib/internal/inspect"},
	"advlib/internal/vmap":              {"advlib/internal/inspect"},
	"advlib/onnx/onnxtest":              {},
	"advlib/vnnlib":                     {},
	"advlib/cmd":                        {"advlib/..."},
	"kernel":                            {"kernel/...", "advlib/cachedir", "advlib/backend/plugin"},
}

// display are the packages that may know how GoNB displays: those that send, and the pump, which passes on.
var display = []string{"advlib/show", "advlib/internal/notebook", "kernel/internal/pump"}

func TestImportsPointOneWay(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "advlab/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		seen++
		from := strings.TrimPrefix(p.ImportPath, "advlab/")
		// A rule covers the packages below it unless they have their own.
		rule, ok := from, false
		for rule != "" && !ok {
			if _, ok = allowed[rule]; !ok {
				rule = rule[:max(0, strings.LastIndex(rule, "/"))]
			}
		}
		if !ok {
			t.Errorf("%s has no rule: say in this test what it may import", from)
			continue
		}
		for _, to := range p.Imports {
			if !slices.Contains(display, from) && strings.HasPrefix(to, "github.com/janpfeifer/gonb") {
				t.Errorf("%s imports %s: only %s may know of the notebook's display", from, to, strings.Join(display, ", "))
			}
			to, ours := strings.CutPrefix(to, "advlab/")
			if ours && !slices.ContainsFunc(allowed[rule], func(pattern string) bool {
				tree, isTree := strings.CutSuffix(pattern, "/...")
				return to == pattern || isTree && (to == tree || strings.HasPrefix(to, tree+"/"))
			}) {
				t.Errorf("%s imports %s, which its rule %q does not allow", from, to, rule)
			}
		}
	}
	if seen < 5 {
		t.Errorf("go list named %d packages only", seen)
	}
}

// Reports are read where there is no XLA: what package report imports, by whatever way, is the standard library's.
func TestReportsNeedNoXLA(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "advlab/advlib/report").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	if got := strings.Fields(string(out)); !slices.Equal(got, []string{"advlab/advlib/report"}) {
		t.Errorf("advlib/report needs %q: only itself and the standard library are allowed", got)
	}
}
