package setup

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestLocksAreExactAndNeutral(t *testing.T) {
	for name, lock := range map[string]string{"requirements.lock": requirements, "plugin.lock": pluginLock} {
		if lock == "" {
			t.Errorf("%s is empty", name)
		}
		// A package's lines: "name==1.2 ; marker \" and then its hashes.
		pinned := regexp.MustCompile(`^[A-Za-z0-9._-]+==[^ ]+( ; .*)? \\$`)
		lines := strings.Split(lock, "\n")
		for i, line := range lines {
			switch {
			case line == "" || strings.HasPrefix(strings.TrimSpace(line), "#"):
			case strings.HasPrefix(line, "    --hash=sha256:"):
			case pinned.MatchString(line) && strings.HasPrefix(lines[i+1], "    --hash=sha256:"):
			default:
				t.Errorf("%s:%d: %q is neither an exact version with hashes nor a hash", name, i+1, line)
			}
			if strings.Contains(line, "://") || strings.HasPrefix(line, "-") {
				t.Errorf("%s:%d: %q names a server or sets an option; those are the user's", name, i+1, line)
			}
		}
	}
	for _, want := range []string{"jupyterlab==", "nbclient==", "nbconvert=="} {
		if !strings.Contains(requirements, "\n"+want) {
			t.Errorf("requirements.lock lacks %s", want)
		}
	}
	if strings.Contains(requirements, "xla-cpu-pjrt") {
		t.Error("the plugin's wheel is among the requirements: without it the whole environment could not be made")
	}
}

// environment makes what pip leaves of one package, as far as DamagedEnvironment looks.
func environment(t *testing.T) (dir, file string) {
	t.Helper()
	dir = t.TempDir()
	site := filepath.Join(dir, "lib", "python3.11", "site-packages")
	info := filepath.Join(site, "package-1.0.dist-info")
	file = filepath.Join(site, "package.py")
	if err := os.MkdirAll(info, 0o700); err != nil {
		t.Fatal(err)
	}
	record := "package.py,sha256=abc,6\npackage-1.0.dist-info/RECORD,,\n__pycache__/package.pyc,,\n"
	for path, text := range map[string]string{file: "x = 1\n", filepath.Join(info, "RECORD"): record} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir, file
}

func TestDamagedEnvironment(t *testing.T) {
	for _, test := range []struct {
		name   string
		damage func(file string) error
		want   string
	}{
		{"whole", func(string) error { return nil }, ""},
		{"the user added a file", func(file string) error { return os.WriteFile(file+".more", nil, 0o600) }, ""},
		{"gone", os.Remove, "is gone"},
		{"cut", func(file string) error { return os.Truncate(file, 2) }, "has 2 bytes instead of 6"},
		{"no record", func(file string) error {
			return os.Remove(filepath.Join(filepath.Dir(file), "package-1.0.dist-info", "RECORD"))
		}, "RECORD"},
		{"damaged record", func(file string) error {
			return os.WriteFile(filepath.Join(filepath.Dir(file), "package-1.0.dist-info", "RECORD"), []byte("package.py,sha"), 0o600)
		}, "damaged"},
		{"nothing installed", func(file string) error { return os.RemoveAll(filepath.Dir(file)) }, "no package"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, file := environment(t)
			if err := test.damage(file); err != nil {
				t.Fatal(err)
			}
			got := DamagedEnvironment(dir)
			if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
				t.Errorf("DamagedEnvironment = %q, want %q", got, test.want)
			}
		})
	}
}

func TestFindPython(t *testing.T) {
	dir := t.TempDir()
	fake := func(name, prints string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(fmt.Sprintf("#!/bin/sh\necho '%s'\n", prints)), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, test := range []struct{ path, version, want string }{
		{fake("new", "3.14.0 3 14"), "3.14.0", ""},
		{fake("oldest", "3.10.0 3 10"), "3.10.0", ""},
		{fake("old", "3.9.18 3 9"), "", "version 3.9.18"},
		{fake("older", "2.7.18 2 7"), "", "version 2.7.18"},
		{fake("strange", "hello"), "", "instead of its version"},
		{filepath.Join(dir, "none"), "", "not found"},
	} {
		t.Setenv("ADVLAB_PYTHON", test.path)
		got, err := FindPython(t.Context())
		switch {
		case test.want == "" && (err != nil || got.Version != test.version || got.Path != test.path):
			t.Errorf("FindPython with %s = %+v, %v", test.path, got, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "apt install")):
			t.Errorf("FindPython with %s: error %v, want one with %q and what to type", test.path, err, test.want)
		}
	}
}
