package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"advlab/advlib/cachedir"
	"advlab/advlib/diagnose"
)

// TestDiagnose: a diagnosis of a model in a file, and its gate.
func TestDiagnose(t *testing.T) {
	t.Setenv(cachedir.Variable, t.TempDir())
	args := []string{
		"diagnose", "--model", filepath.Join(models(t), "pytorch-script.onnx"), "--data", filepath.Join(models(t), "pytorch.npz"),
		"--layout", "channels-last", "--eps", "0.1", "--limit", "8", "--backend", "go", "--only", "clean,gradients,radii", "--attack", "fgm",
	}
	diagnosis := func(status int, more ...string) (out, progress bytes.Buffer) {
		t.Helper()
		if got := run(t.Context(), append(args, more...), &out, &progress); got != status {
			t.Errorf("%v: exit status %d, want %d: %s", more, got, status, progress.String())
		}
		return out, progress
	}
	text, progress := diagnosis(done)
	for _, want := range []string{"8 gradients     passed", "3 black-box     not run", "verdict: not known"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	if !strings.Contains(progress.String(), "check 2 of 3: radii") {
		t.Errorf("progress: %s", progress.String())
	}
	// What decides and was not run does not let the gate pass.
	_, progress = diagnosis(tooLow, "--fail-on", "masking")
	if !strings.Contains(progress.String(), "single-step, which decides, was not run") {
		t.Errorf("%s", progress.String())
	}
	advice := filepath.Join(t.TempDir(), "next.json")
	diagnosis(done, "--advice", advice)
	var attacks []json.RawMessage
	if text, err := os.ReadFile(advice); err != nil || json.Unmarshal(text, &attacks) != nil {
		t.Errorf("%v: %s", err, text)
	}
	page := filepath.Join(t.TempDir(), "page.html")
	diagnosis(done, "--output", page)
	if html, err := os.ReadFile(page); err != nil || !bytes.HasPrefix(html, []byte("<!DOCTYPE html>")) {
		t.Errorf("%v: %.60q", err, html)
	}
	var d diagnose.Diagnosis
	written, _ := diagnosis(done, "--format", "json")
	if err := json.Unmarshal(written.Bytes(), &d); err != nil || d.Attack != "FGM Linf ≤ 0.1" || len(d.Findings) != len(diagnose.Checks()) {
		t.Errorf("%v: %+v", err, d)
	}
}

func TestDiagnoseIsMisused(t *testing.T) {
	model := []string{"--model", filepath.Join(models(t), "pytorch-script.onnx")}
	data := append(model, "--data", filepath.Join(models(t), "pytorch.npz"))
	for want, args := range map[string][]string{
		"--model is missing":        {},
		"--data is missing":         model,
		"--eps is missing":          data,
		"flags only":                append(data, "--eps", "0.1", "now"),
		"there is no check":         append(data, "--eps", "0.1", "--only", "gradient"),
		"there is masking":          append(data, "--eps", "0.1", "--fail-on", "all"),
		"there is no format":        append(data, "--eps", "0.1", "--format", "pdf"),
		"one attack is meant":       append(data, "--eps", "0.1", "--attack", "pgd", "--attack-file", "a.json"),
		"one of L1, L2 or Linf":     append(data, "--eps", "3", "--norm", "l0"),
		"must not be below 0":       append(data, "--eps", "0.1", "--samples", "-1"),
		"there is no attack \"pg\"": append(data, "--eps", "0.1", "--attack", "pg"),
	} {
		var out, progress bytes.Buffer
		status := run(t.Context(), append(append([]string{"diagnose"}, args...), "--backend", "go"), &out, &progress)
		if status == done || !strings.Contains(progress.String(), want) {
			t.Errorf("%v: exit status %d, %s instead of %q", args, status, progress.String(), want)
		}
	}
}
