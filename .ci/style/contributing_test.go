package style

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// CONTRIBUTING.md names files, folders and tests: they exist, but for those of the section on what is to come, in the
// second column of its table, which do not yet.
func TestContributing(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "CONTRIBUTING.md"))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]bool{}
	for _, name := range tracked(t) {
		if !strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(string(source), -1) {
			tests[m[1]] = true
		}
	}
	paths, names := 0, 0
	for section := range strings.SplitSeq(string(text), "\n## ") {
		toCome := strings.HasPrefix(section, "What has no room yet")
		for i, line := range strings.Split(section, "\n") {
			first := true // of a line
			for _, m := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(line, -1) {
				word := m[1]
				switch {
				case regexp.MustCompile(`^Test[A-Z]\w*$`).MatchString(word):
					names++
					if !tests[word] {
						t.Errorf("there is no test %s", word)
					}
				case regexp.MustCompile(`^\.?\w[\w.-]*(/[\w.-]+)+$|^[A-Z]+\.md$`).MatchString(word):
					paths++
					_, err := os.Stat(filepath.Join(root, word))
					switch come := toCome && first; {
					case come && err == nil:
						t.Errorf("line %d of its section says that %s is to come, and it is there", i, word)
					case !come && err != nil:
						t.Error(err)
					}
					first = false
				}
			}
		}
	}
	if paths < 30 || names < 5 {
		t.Errorf("%d paths and %d tests are named: this test reads the file wrong", paths, names)
	}
}
