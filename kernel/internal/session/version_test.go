package session

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

func TestSourcesVersion(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("needs git, as the kernel does to tell a commit: sudo apt-get install git")
	}
	checkout := t.TempDir()
	if got := sourcesVersion(checkout, "(devel)"); got != "(devel)" {
		t.Errorf("outside of a repository: %q", got)
	}
	write := func(name, text string) {
		t.Helper()
		file := filepath.Join(checkout, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", checkout, "-c", "user.name=n", "-c", "user.email=e@example.org", "-c",
			"commit.gpgsign=false"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
	}
	write("advlib/a.go", "package advlib\n")
	write("go.mod", "module advlab\n")
	git("init", "--quiet")
	if got := sourcesVersion(checkout, "(devel)"); got != "(devel)" {
		t.Errorf("without a commit: %q", got)
	}
	git("add", ".")
	git("commit", "--quiet", "-m", "first")
	clean := sourcesVersion(checkout, "(devel)")
	if !regexp.MustCompile(`^[0-9a-f]{40}$`).MatchString(clean) {
		t.Errorf("committed: %q", clean)
	}
	write("notes.txt", "not compiled\n")
	if got := sourcesVersion(checkout, "(devel)"); got != clean {
		t.Errorf("with a file that cells do not compile: %q", got)
	}
	write("advlib/b.go", "package advlib\n")
	if got := sourcesVersion(checkout, "(devel)"); got != clean+", changed" {
		t.Errorf("with another source: %q", got)
	}
	write("below/go.mod", "module advlab\n")
	if got := sourcesVersion(filepath.Join(checkout, "below"), "(devel)"); got != "(devel)" {
		t.Errorf("a copy inside of another repository: %q", got)
	}
}
