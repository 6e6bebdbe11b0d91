package stamp_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"advlab/kernel/internal/stamp"
)

func TestValid(t *testing.T) {
	dir := t.TempDir()
	product, file := filepath.Join(dir, "tool"), filepath.Join(dir, "stamps", "tools")
	make := func(t *testing.T) {
		t.Helper()
		if err := os.WriteFile(product, []byte("binary"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := stamp.Write(file, "inputs", []string{product, dir}); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name   string
		inputs string
		damage func() error
		want   string // in the reason; empty: still valid
	}{
		{"unchanged", "inputs", func() error { return nil }, ""},
		{"other inputs", "other", func() error { return nil }, "changed"},
		{"product removed", "inputs", func() error { return os.Remove(product) }, "gone"},
		{"product truncated", "inputs", func() error { return os.Truncate(product, 3) }, "was changed"},
		{"stamp cut", "inputs", func() error { return os.Truncate(file, 10) }, "damaged"},
		{"stamp removed", "inputs", func() error { return stamp.Remove(file) }, "not made"},
	} {
		t.Run(test.name, func(t *testing.T) {
			make(t)
			if err := test.damage(); err != nil {
				t.Fatal(err)
			}
			got := stamp.Valid(file, test.inputs)
			if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
				t.Errorf("Valid = %q, want %q", got, test.want)
			}
		})
	}
}

func TestWriteRefusesAMissingProduct(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing")
	err := stamp.Write(filepath.Join(dir, "stamp"), "inputs", []string{missing})
	if err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("error %v, want one that names %s", err, missing)
	}
	if reason := stamp.Valid(filepath.Join(dir, "stamp"), "inputs"); reason == "" {
		t.Error("a step without its product is taken as finished")
	}
}

func TestHashKeepsPartsApart(t *testing.T) {
	if stamp.Hash("ab", "c") == stamp.Hash("a", "bc") {
		t.Error(`Hash("ab", "c") = Hash("a", "bc")`)
	}
}

func TestHashFilesFollowsContentAndAbsence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "go.sum")
	hash := func() string {
		t.Helper()
		sum, err := stamp.HashFiles(file)
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	seen := map[string]bool{hash(): true}
	for _, text := range []string{"", "a", "b"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if sum := hash(); seen[sum] {
			t.Errorf("content %q has the hash of another", text)
		} else {
			seen[sum] = true
		}
	}
}
