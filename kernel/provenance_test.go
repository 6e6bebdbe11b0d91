package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// The executed notebook says what its numbers come from, and nothing of an earlier run.
func TestProvenanceIsInTheNotebook(t *testing.T) {
	cell := func(source string) map[string]any {
		return map[string]any{"cell_type": "code", "source": source, "metadata": map[string]any{"advlab": map[string]any{"seed": 99}},
			"outputs": []any{}, "execution_count": nil}
	}
	text, err := json.Marshal(map[string]any{"nbformat": 4, "nbformat_minor": 4,
		"metadata": map[string]any{"advlab": map[string]any{"go": "old", "own": 1}},
		"cells": []any{cell("b, err := backend.Open()\nif err != nil {\n\tpanic(err)\n}\nfmt.Println(b.Name() != \"\")\nshow.Display(7)"),
			cell("%%\nfmt.Println(1)"), cell("show.Result(show.Provenance(advlib.Settings{Seed: 3}))")}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "cells.ipynb")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	executed, _, err := executeFile(t, path)
	if err != nil {
		t.Fatal(err)
	}
	written, err := executed.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Metadata struct{ Advlab map[string]any }
		Cells    []struct {
			Metadata struct{ Advlab map[string]any }
		}
	}
	if err := json.Unmarshal(written, &got); err != nil {
		t.Fatal(err)
	}
	shared := got.Metadata.Advlab
	modules, _ := shared["modules"].(map[string]any)
	if modules["github.com/gomlx/gomlx"] == nil || shared["go"] == nil || shared["go"] == "old" || shared["advlab"] == nil ||
		shared["own"] != nil {
		t.Errorf("the notebook's metadata is %v", shared)
	}
	block := executed.Cells[2].PlainText()
	for _, o := range executed.Cells[2].Outputs {
		block += o.Data["text/plain"]
	}
	for _, want := range []string{
		`(?m)^repeat +go run \./kernel run cells\.ipynb$`, `(?m)^seed +3$`, `(?m)^backend +\S`, `(?m)^device +\S`, `(?m)^processor +\S`,
		`(?m)^Go +go1\.`, `(?m)^build +.*-ldflags=-s`, `(?m)^advlab +\S`, `(?m)^github\.com/gomlx/gomlx +v\S+ h1:\S+=$`,
	} {
		if !regexp.MustCompile(want).MatchString(block) {
			t.Errorf("no %s in the block that the notebook prints:\n%s", want, block)
		}
	}
	if len(got.Cells) != 3 {
		t.Fatalf("%d cells", len(got.Cells))
	}
	first, second := got.Cells[0].Metadata.Advlab, got.Cells[1].Metadata.Advlab
	phases, _ := first["phases"].(map[string]any)
	if first["backend"] == nil || first["device"] == nil || phases["open"] == nil || first["seconds"] == nil || first["modules"] != nil ||
		first["seed"] != nil {
		t.Errorf("the first cell's metadata is %v", first)
	}
	if second["seconds"] == nil || second["backend"] != nil || second["seed"] != nil {
		t.Errorf("the second cell's metadata is %v", second)
	}
}
