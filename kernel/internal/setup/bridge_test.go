package setup

import (
	"bytes"
	"encoding/json"
	"go/parser"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"advlab/kernel/internal/place"
)

// preparedPython is the interpreter that a set-up has made.
func preparedPython(t *testing.T) string {
	t.Helper()
	p, err := place.Here()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(p.PythonExe()); err != nil {
		t.Skipf("%s is missing: `go run ./kernel test` prepares Python and runs this test", p.PythonExe())
	}
	return p.PythonExe()
}

// askPython runs a script with the modules beside this test, not those that are installed, and passes values to it and
// back.
func askPython[A any](t *testing.T, script string, question any, answer *[]A) {
	t.Helper()
	input, err := json.Marshal(question)
	if err != nil {
		t.Fatal(err)
	}
	folder, err := filepath.Abs("python")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(preparedPython(t), "-c", script)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+folder, "PYTHONDONTWRITEBYTECODE=1")
	cmd.Stdin = bytes.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	if err := json.Unmarshal(out, answer); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
}

const translate = `
import json, sys
import papermill  # loads the module itself
from advlab_papermill import GoTranslator
from papermill.exceptions import PapermillException
answers = []
for text in json.load(sys.stdin):
    try:
        answers.append(GoTranslator.codify({"x": eval(text)}).split("\n")[1])
    except PapermillException as error:
        answers.append("refused: " + str(error))
json.dump(answers, sys.stdout)
`

func TestTranslatorWritesGo(t *testing.T) {
	tests := []struct{ python, want string }{
		{"0.03", "var x = 0.03"},
		{"1.0", "var x = 1.0"},
		{"1e-300", "var x = 1e-300"},
		{"-7", "var x = -7"},
		{"2**63", "refused: 9223372036854775808 does not fit Go's int"},
		{"True", "var x = true"},
		{"float('nan')", "var x = math.NaN()"},
		{"float('-inf')", "var x = math.Inf(-1)"},
		{`"a\n\"b\" \\ é\u2028\U0001F600\ufeff\x00"`, "var x = \"a\\n\\\"b\\\" \\\\ é\u2028😀\\ufeff\\u0000\""},
		{`"\ud800"`, "refused: '\\ud800' is no valid text"},
		{"[1, 2]", "var x = []int{1, 2}"},
		{"[1, 2.5]", "var x = []float64{1.0, 2.5}"},
		{"[['a'], ['b', 'c']]", `var x = [][]string{[]string{"a"}, []string{"b", "c"}}`},
		{"{'a': 1, 'b': 2}", `var x = map[string]int{"a": 1, "b": 2}`},
		{"[]", "refused: the type of an empty list is not known"},
		{"[1, 'a']", "refused: the values of a list are of different types in Go: int, string"},
		{"[True, 1.5]", "refused: the values of a list are of different types in Go: bool, float64"},
		{"None", "refused: None of type NoneType has no counterpart in Go"},
	}
	var values []string
	for _, test := range tests {
		values = append(values, test.python)
	}
	var got []string
	askPython(t, translate, values, &got)
	for i, test := range tests {
		if refused := strings.HasPrefix(test.want, "refused"); refused && !strings.HasPrefix(got[i], test.want) ||
			!refused && got[i] != test.want {
			t.Errorf("%s: %s, want %s", test.python, got[i], test.want)
		}
		if value, ok := strings.CutPrefix(got[i], "var x = "); ok {
			if _, err := parser.ParseExpr(value); err != nil {
				t.Errorf("%s: %s is not Go: %v", test.python, value, err)
			}
		}
	}
}

// The files are what pip takes for an installed package.
func TestBridgeIsAPackage(t *testing.T) {
	site := t.TempDir()
	for name, text := range bridgeFiles() {
		file := filepath.Join(site, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	info, err := filepath.Glob(filepath.Join(site, "*.dist-info"))
	if err != nil || len(info) != 1 {
		t.Fatal(info, err)
	}
	if damage := damagedDistribution(info[0]); damage != "" {
		t.Error(damage)
	}
	if err := os.WriteFile(filepath.Join(site, "advlab_papermill.py"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if damage := damagedDistribution(info[0]); damage == "" {
		t.Error("a file that was emptied is no damage")
	}
	out, err := exec.Command(preparedPython(t), "-c",
		"import importlib.metadata as m, sys; d = [d for d in m.distributions(path=[sys.argv[1]])]; "+
			"print(d[0].name, d[0].version, [e.value for e in d[0].entry_points])", site).CombinedOutput()
	if want := "advlab-jupyter 3 ['advlab_papermill:GoEngine', 'advlab_nbval']\n"; err != nil || string(out) != want {
		t.Errorf("%s (%v), want %s", out, err, want)
	}
}

const compare = `
import json, sys
from advlab_nbval import tolerate
json.dump([tolerate(fresh, saved) == saved for fresh, saved in json.load(sys.stdin)], sys.stdout)
`

func TestNbvalTolerates(t *testing.T) {
	tests := []struct {
		fresh, saved string
		same         bool
	}{
		{"check a 0.5 0.02\n", "check a 0.52 0.02\n", true}, // exactly the tolerance
		{"check a 0.5 0.02\n", "check a 0.521 0.02\n", false},
		{"check a 0.5 9\n", "check a 0.6 0.02\n", false}, // the saved tolerance counts
		{"check a nan 0.02\n", "check a 0.5 0.02\n", false},
		{"check a 0.5 0.02\n", "check a nan 0.02\n", false},
		{"check a 1 0\ncheck b 2.001 0.01\n", "check a 1 0\ncheck b 2 0.01\n", true},
		{"check b 1 0\n", "check a 1 0\n", false},
		{"text 1\ncheck a 1.0 0\n", "text 1\ncheck a 1 0\n", true},
		{"text 1\ncheck a 1 0\n", "text 2\ncheck a 1 0\n", false},
		{"check a 1 0\n", "check a 1 0\ncheck b 1 0\n", false},
	}
	var pairs [][2]string
	for _, test := range tests {
		pairs = append(pairs, [2]string{test.fresh, test.saved})
	}
	var got []bool
	askPython(t, compare, pairs, &got)
	for i, test := range tests {
		if got[i] != test.same {
			t.Errorf("fresh %q, saved %q: the same %v, want %v", test.fresh, test.saved, got[i], test.same)
		}
	}
}

const checks = `
import json, sys
from advlab_nbval import only_checks
json.dump(["".join(o["text"] for o in only_checks(outputs)) for outputs in json.load(sys.stdin)], sys.stdout)
`

func TestNbvalComparesChecksOnly(t *testing.T) {
	type output map[string]any
	stream := func(text string) output { return output{"output_type": "stream", "name": "stdout", "text": text} }
	table := output{"output_type": "display_data", "data": map[string]string{"text/html": "<p>1109 steps</p>"}, "metadata": output{}}
	tests := []struct {
		outputs []output
		want    string
	}{
		{[]output{table, stream("checking\ncheck a 1 0\n"), stream("  check b 2 0.5  \nthat is all\n")}, "check a 1 0\ncheck b 2 0.5\n"},
		{[]output{table, stream("check the weather\ncheck a b c\n")}, ""},
		{[]output{}, ""},
	}
	question := [][]output{}
	for _, test := range tests {
		question = append(question, test.outputs)
	}
	var got []string
	askPython(t, checks, question, &got)
	for i, test := range tests {
		if got[i] != test.want {
			t.Errorf("%v: %q, want %q", test.outputs, got[i], test.want)
		}
	}
}
