package relay

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// golden is what kernel and cells agree on: advlib's package notebook has a test with the same text.
const golden = `{"result":{"image/png":"iVBORw==","text/plain":"42"},"clear":"wait","phases":{"compile":0.25,"run":1.5},` +
	`"backend":"xla:cpu","device":"TFRT_CPU_0","plugin":"0123456789ab","seed":18446744073709551615,` +
	`"modules":{"advlab":"local","github.com/gomlx/gomlx":"v0.28.8"}}`

func TestBundle(t *testing.T) {
	seed := ^uint64(0)
	want := Bundle{
		Result: map[string]any{"text/plain": "42", "image/png": "iVBORw=="}, Clear: "wait",
		Phases: map[string]float64{"compile": 0.25, "run": 1.5}, Backend: "xla:cpu", Device: "TFRT_CPU_0", Plugin: "0123456789ab", Seed: &seed,
		Modules: map[string]string{"advlab": "local", "github.com/gomlx/gomlx": "v0.28.8"},
	}
	for name, value := range map[string]any{"text": golden, "bytes": base64.StdEncoding.EncodeToString([]byte(golden))} {
		if got, err := parseBundle(value); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v (%v), want %+v", name, got, err, want)
		}
	}
	if text, err := json.Marshal(want); err != nil || string(text) != golden {
		t.Errorf("written: %s (%v)", text, err)
	}
	for _, value := range []any{"", "7", "not JSON", 7, []any{}, `{"phases": {"run": "long"}}`} {
		if got, err := parseBundle(value); err == nil {
			t.Errorf("%v is read as %+v", value, got)
		}
	}
}

func TestProvenanceAddsUp(t *testing.T) {
	var p provenance
	one, two := uint64(1), uint64(2)
	p.add(Bundle{Backend: "go", Phases: map[string]float64{"run": 1}, Seed: &one, Modules: map[string]string{"a": "v1"}})
	p.add(Bundle{Phases: map[string]float64{"run": 2, "compile": 3}, Seed: &two, Plugin: "abc", Device: "d"})
	text, err := json.Marshal(p)
	const want = `{"seconds":0,"phases":{"compile":3,"run":3},"backend":"go","device":"d","plugin":"abc","seed":2,"modules":{"a":"v1"}}`
	if err != nil || string(text) != want {
		t.Errorf("got %s (%v), want %s", text, err, want)
	}
}

// What advlib tells in a real cell arrives: backend, device, seed, phases, modules, and results in the order they were
// shown in, between what is printed.
func TestAdvlibTells(t *testing.T) {
	f := startKernel(t).start().frontEnd()
	r := f.run("import (\n\t\"advlab/advlib/backend\"\n\t\"advlab/advlib/show\"\n)\n%%\n" +
		"b, err := backend.Open()\nif err != nil {\n\tpanic(err)\n}\nfmt.Println(b.Name() != \"\")\nshow.Result(show.NewTable(\"a\").Add(1))")
	if r.Status != "ok" || r.stdout != "true\n" {
		t.Fatalf("%+v", r)
	}
	data, _ := r.contents["execute_result"]["data"].(map[string]any)
	if text, _ := data["text/plain"].(string); !strings.HasPrefix(text, "a\n") || data["text/html"] == nil || data[MIME] != nil {
		t.Errorf("the result is %v", data)
	}
	var metadata struct{ Advlab provenance }
	if err := json.Unmarshal(r.metadata, &metadata); err != nil {
		t.Fatal(err)
	}
	p := metadata.Advlab
	if p.Backend == "" || p.Device == "" || p.Modules["github.com/gomlx/gomlx"] == "" || p.Modules["advlab"] != "local" ||
		p.Advlab != "test" ||
		p.Phases["open"] <= 0 || p.Phases["open"]+p.Phases["run"] > p.Seconds {
		t.Errorf("the metadata is %s", r.metadata)
	}
	t.Logf("%d bytes of metadata: %s", len(r.metadata), r.metadata)

	if r := f.run("%%\nshow.Grade(2.5)"); r.contents["execute_result"] == nil {
		t.Errorf("no result: %q", r.order)
	}
	f.run("func answer() { show.Grade(100) }\nfunc later() { defer show.Grade(100) }\n" +
		"func beside() { go show.Grade(100); time.Sleep(time.Second) }")
	for _, call := range []string{"answer", "later", "beside"} {
		r := f.run("%%\n" + call + "()\nshow.Grade(1)")
		if r.Class != "Panic" || !strings.Contains(r.Text, "only the statements of the grader's own cell") ||
			r.contents["execute_result"] != nil {
			t.Errorf("%s grades itself: %+v", call, r)
		}
	}
	if r := f.run("func() { show.Grade(3) }()"); r.contents["execute_result"] == nil {
		t.Errorf("a literal of the cell's: %+v", r)
	}
	if r := f.run("%%\nfmt.Println(1)\nshow.Clear()\nfmt.Println(2)"); r.contents["clear_output"]["wait"] != true {
		t.Errorf("nothing is cleared: %q", r.order)
	}
	if r := f.run("%%\nshow.Grade(math.NaN())"); r.Class != "Panic" || !strings.Contains(r.Text, "NaN points") {
		t.Errorf("%+v", r)
	}
}

// A notebook's last cell names what is needed to repeat it.
func TestProvenanceInANotebook(t *testing.T) {
	f := startKernel(t).start().frontEnd()
	r := f.run("var settings = advlib.Settings{Seed: 11}\n%%\nshow.Result(show.Provenance(settings))")
	data, _ := r.contents["execute_result"]["data"].(map[string]any)
	text, _ := data["text/plain"].(string)
	for _, want := range []string{"seed", "11", "backend", "processor", goVersion(), "-ldflags=-s", "github.com/gomlx/gomlx",
		"github.com/gomlx/compute"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if !strings.Contains(text, "test\n") { // the version of this kernel
		t.Errorf("advlab's version is missing:\n%s", text)
	}
	if r.Status != "ok" {
		t.Errorf("%+v", r)
	}
	t.Log("\n" + text)
}

// Package advlib/internal/notebook has a test with the same signature.
func TestSignatureOfAGrade(t *testing.T) {
	const want = "b5e6709994b647561d37add431988ab82e59858f71fa3767c26f72fe482ec7cc"
	if got := sign("nonce", 2.5); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
