package serve_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/oracle"
	"advlab/advlib/serve"
)

// tritonPython names an interpreter that has tritonclient[http]; the one in the PATH is asked otherwise.
const tritonPython = "ADVLAB_TRITON_PYTHON"

// TestTritonClient asks the server with a client that nobody here wrote: testdata/triton.py.
func TestTritonClient(t *testing.T) {
	python := os.Getenv(tritonPython)
	if python == "" {
		python = "python3"
	}
	if out, err := exec.Command(python, "-c", "import tritonclient.http").CombinedOutput(); err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		t.Skipf("%s has no tritonclient (%v: %s): make a virtual environment, pip install 'tritonclient[http]' there, and name its python "+
			"in %s", python, err, lines[len(lines)-1], tritonPython)
	}
	x := [][][]float32{{{0.1, 0.2}, {0.3, -1}}, {{1, 0}, {0, 0.5}}, {{-1, 1}, {0.25, 1. / 3}}}
	var flat []float32
	for _, row := range x {
		flat = append(flat, row[0]...)
		flat = append(flat, row[1]...)
	}
	for name, v := range map[string]advlib.Victim{"logits": victim(), "labels": oracle.Labels(victim()), "top": oracle.TopK(victim(), 2)} {
		said, err := v.Query(t.Context(), tensors.FromFlatDataAndDimensions(flat, 3, 2, 2))
		if err != nil {
			t.Fatal(err)
		}
		outputs := map[string][]any{}
		for _, a := range said {
			switch a.Kind {
			case advlib.Label:
				outputs["label"] = append(outputs["label"], []int32{a.Label})
			case advlib.TopClasses:
				outputs["classes"] = append(outputs["classes"], a.Top)
				outputs["probabilities"] = append(outputs["probabilities"], a.Scores)
			default:
				outputs["logits"] = append(outputs["logits"], a.Scores)
			}
		}
		text, err := json.Marshal(map[string]any{"x": x, "outputs": outputs})
		if err != nil {
			t.Fatal(err)
		}
		expected := filepath.Join(t.TempDir(), "expected.json")
		if err := os.WriteFile(expected, text, 0o600); err != nil {
			t.Fatal(err)
		}
		_, r := start(t, v, serve.Options{})
		out, err := exec.Command(python, "testdata/triton.py", r.URL, expected).CombinedOutput()
		t.Logf("%s:\n%s", name, out)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := r.Stats(); got.Requests[400] != 4 || got.Requests[404] != 3 {
			t.Errorf("%s: %v", name, got)
		}
	}
}
