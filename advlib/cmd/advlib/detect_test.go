package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"advlab/advlib"
	"advlab/advlib/cachedir"
)

// TestDetect: what fit keeps, apply and report find; a detector before another model is refused.
func TestDetect(t *testing.T) {
	t.Setenv(cachedir.Variable, t.TempDir())
	data := filepath.Join(models(t), "pytorch.npz")
	call := func(want int, args ...string) (out, said string) {
		t.Helper()
		var o, p bytes.Buffer
		if status := run(t.Context(), append(args, "--backend", "go", "--data", data), &o, &p); status != want {
			t.Fatalf("%v: exit status %d, want %d: %s", args, status, want, p.String())
		}
		return o.String(), p.String()
	}
	key := func(args ...string) string {
		t.Helper()
		out, _ := call(done, args...)
		if !regexp.MustCompile(`^[0-9a-f]{12}\n$`).MatchString(out) {
			t.Fatalf("%v: the output is %q, not a key", args, out)
		}
		return strings.TrimSpace(out)
	}
	model := key("harden", "--method", "natural", "--architecture", "mlp:16", "--epochs", "20")
	other := key("harden", "--method", "natural", "--architecture", "mlp:8", "--epochs", "2")
	fit := []string{"detect", "fit", "--store", model, "--rate", "0.2", "--method", "density"}
	detector := key(fit...)
	if again := key(fit...); again != detector {
		t.Errorf("the same command gives %s and %s", detector, again)
	}
	if _, said := call(done, fit...); !regexp.MustCompile(`are accepted and classified rightly, without the detector \d`).MatchString(said) {
		t.Errorf("fit says %q, and not what the detector costs", said)
	}
	if another := key(append(fit, "--seed", "1")...); another == detector {
		t.Error("other examples set the same threshold")
	}
	verdicts, _ := call(done, "detect", "apply", "--store", model, "--detector", detector, "--limit", "5")
	if rows := strings.Split(strings.TrimSpace(verdicts), "\n"); len(rows) != 6 || rows[0] != "example,class,score,p,rejected" ||
		!regexp.MustCompile(`^4,\d,-?[0-9.e+-]+,[01][0-9.]*,(true|false)$`).MatchString(rows[5]) {
		t.Errorf("verdicts:\n%s", verdicts)
	}
	verdicts, _ = call(done, "detect", "apply", "--store", model, "--detector", detector, "--limit", "5", "--format", "json")
	var v verdictsOf
	if err := json.Unmarshal([]byte(verdicts), &v); err != nil || v.Schema != "advlab.verdicts/1" || len(v.Inputs) != 5 || v.Rate != 0.2 {
		t.Errorf("%s: %v", verdicts, err)
	}
	if text, _ := call(done, "detect", "apply", "--store", model, "--detector", detector, "--format", "text"); !strings.Contains(text,
		"are rejected") {
		t.Error(text)
	}
	page := filepath.Join(t.TempDir(), "report.json")
	attack := []string{"detect", "report", "--store", model, "--detector", detector, "--limit", "4", "--eps", "0.1", "--attacks", "fgm"}
	call(done, append(attack, "--best", model, "--output", page)...)
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	r := new(advlib.Report)
	if err := json.Unmarshal(text, r); err != nil || r.Rejection == nil || len(r.Rejection.Reductions) != 1 || len(r.Attacks) != 2 ||
		r.Attacks[0].Screened.Adaptive || !r.Attacks[1].Screened.Adaptive {
		t.Errorf("the report has not what it should: %v\n%v", err, r)
	}
	on := " --store " + model + " --detector "
	for flags, want := range map[string]string{
		"apply --store " + other + " --detector " + detector:   "has other features: give the model that it was fitted to",
		"apply" + on + "00aa":                                  "there are\n  ",
		"report" + on + detector + " --eps 0.1 --best no.onnx": "--best: stat no.onnx",
		"fit --store " + model + " --method density":           "clean examples are too few for a rate of 0.05: it takes at least 19",
	} {
		if flags[0] == 'f' {
			flags += " --held 0.05"
		}
		if _, said := call(misused, append([]string{"detect"}, strings.Fields(flags)...)...); !strings.Contains(said, want) {
			t.Errorf("%s: %q does not say %q", flags, said, want)
		}
	}
}
