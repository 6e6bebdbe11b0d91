package relay

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"advlab/kernel/internal/magic"
)

// Each command that %help lists does what it says: the list and what runs the commands are held together by a cell for
// each, with what it shows. A command without a cell here fails the test.
func TestHelpIsTrue(t *testing.T) {
	f := startKernel(t).start().frontEnd()
	dir := t.TempDir()
	cells := []struct{ command, code, want string }{
		{"%%", "func above() int { return 4 }\n%%\nfmt.Println(above())", "4\n"},
		{"%main", "%main\nfmt.Println(above())", "4\n"}, // declared for later cells
		{"%args", "%args one two\nfmt.Println(os.Args[2])", "two\n"},
		{"%capture", "%capture " + dir + "/said\nfmt.Println(8)", "8\n"},
		{"%cd", "%cd " + dir + "\nwhere, _ := os.Getwd()\nfmt.Println(where)", dir},
		{"%exec", "func ran() { fmt.Println(os.Args[1]) }\n%exec ran argument", "argument\n"},
		{"%goflags", "%goflags -tags=special\nfmt.Println(1)", "-tags=special"},
		{"%goflags", "%goflags \"\"", "%goflags=[]"},
		{"%list", "%list", "above"},
		{"%ls", "%ls", "above"},
		{"%rm", "%rm ran\n%ls", "above"},
		{"%remove", "%remove above\n%ls", "nothing is declared yet"},
		{"%reset", "var kept = 1", ""},
		{"%reset", "%reset", ""},
		{"%reset", "%ls", "nothing is declared yet"},
		{"%test", "%test\nfunc TestSum(t *testing.T) { if 1+1 != 2 { t.Error(\"no\") } }", "PASS"},
		{"%with_inputs", "%with_inputs\n!echo typed", "typed\n"},
		{"%with_password", "%with_password\n!echo hidden", "hidden\n"},
		{"%%writefile", "%%writefile " + dir + "/file\nits text", "file"},
		{"%%bash", "%%bash\ncat " + dir + "/file; cat " + dir + "/said", "its text\n8\n"},
		{"%%sh", "%%sh\necho $((6*7))", "42\n"},
		{"%%script", "%%script cat\nas it is", "as it is"},
		{"!", "!basename " + dir + "/x", "x\n"},
		{"!", "!false || true", ""},
		{"!*", "!*ls go.mod", "go.mod\n"},
		{"%check", "func Fine() error { return nil }\n%check Fine", "Fine: passed\n"},
		{"%env", "%env HELP_TEST=a b\n%env HELP_TEST", "a b"},
		{"%help", "%help", "What advlab's kernel adds"},
		{"%help", "%help gonb", "GoNB"},
		{"%time", "%time\nfmt.Println(1)", "total "},
		{"%hello", "%hello world", "hello world"}, // the magics of this test's kernel
		{"%setting", "%setting A_B=1", "A_B"},
	}
	shown := map[string]bool{}
	for _, c := range cells {
		shown[c.command] = true
		r := f.run(c.code)
		data, _ := r.contents["display_data"]["data"].(map[string]any)
		text, _ := data["text/plain"].(string)
		if text == "" {
			text, _ = data["text/markdown"].(string)
		}
		if all := r.stdout + r.stderr + text; r.Status != "ok" || !strings.Contains(all, c.want) {
			t.Errorf("%q: %s %q %q, want %q", c.code, r.Status, r.Text, all, c.want)
		}
	}
	if r := f.run("!false"); r.Class != "ExitError" {
		t.Errorf("a ! command that fails: %+v", r)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "said")); err != nil || string(text) != "8\n" {
		t.Errorf("%%capture wrote %q (%v)", text, err)
	}
	page := magic.List{"hello": {Help: "x"}, "setting": {Help: "x"}}.Help()
	for _, m := range regexp.MustCompile("(?m)^- (`.*?`): ").FindAllStringSubmatch(page, -1) {
		for _, usage := range strings.Split(m[1], ", ") {
			name, _, _ := strings.Cut(strings.Trim(usage, "`"), " ")
			if name = strings.TrimSuffix(name, "COMMAND"); !shown[name] {
				t.Errorf("%%help lists %s, and no cell here shows that it is so", name)
			}
		}
	}
	for _, c := range (magic.List{}).Commands() {
		if c.Help != "" && !strings.Contains(page, "`"+c.Name) {
			t.Errorf("%s is missing in %%help", c.Name)
		}
	}
}
