package relay

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// %env sets, shows and lists variables, for this and later cells, and after a restart of GoNB.
func TestEnvironment(t *testing.T) {
	f := startKernel(t).start().frontEnd()
	shown := func(code string) string {
		t.Helper()
		r := f.run(code)
		if r.Status != "ok" {
			t.Errorf("%q: %s %q", code, r.Class, r.Text)
		}
		data, _ := r.contents["display_data"]["data"].(map[string]any)
		text, _ := data["text/plain"].(string)
		return text
	}
	for _, test := range []struct{ line, name, want string }{
		{"%env A=1", "A", "1"},
		{"%env GREETING=hello to all", "GREETING", "hello to all"},
		{"%env GREETING hi  there", "GREETING", "hi  there"},
		{`%env QUOTED="a \ b"`, "QUOTED", `a \ b`},
		{`%env INNER=say "x" = 'y'`, "INNER", `say "x" = 'y'`},
		{"%env FOLDERS=/opt/x:$GREETING:${A}", "FOLDERS", "/opt/x:hi  there:1"},
		{"%env LITERAL='$A'", "LITERAL", "$A"},
		{"%env PRICE=5$nothing", "PRICE", "5$nothing"},
		{"%env EMPTY=", "EMPTY", ""},
		{"%env LONG=a\\\nb", "LONG", "a b"},
	} {
		if r := f.run(test.line + "\nfmt.Printf(\"<%s>\", os.Getenv(\"" + test.name + "\"))"); !strings.HasSuffix(r.stdout, "<"+test.want+">") {
			t.Errorf("%s: %+v", test.line, r)
		}
		if got := shown("%env " + test.name); got != test.want {
			t.Errorf("after %s, %%env %s shows %q, want %q", test.line, test.name, got, test.want)
		}
	}
	if r := f.run("!echo \"<$GREETING>\""); r.stdout != "<hi  there>\n" {
		t.Errorf("a later cell: %+v", r)
	}
	f.run("%env API_TOKEN=abc123")
	if list := shown("%env"); !strings.Contains(list, "GREETING=hi  there\n") || !strings.Contains(list, "PATH=") ||
		strings.Contains(list, "abc123") || !strings.Contains(list, "API_TOKEN=<hidden>\n") {
		t.Errorf("%%env lists\n%s", list)
	}
	for code, want := range map[string]string{
		"%env NOT_SET_ANYWHERE": "there is no variable NOT_SET_ANYWHERE",
		"%env 1A=x":             `"1A" is no name of a variable`,
		"%env =x":               `"" is no name`,
	} {
		if r := f.run(code); r.Class != "CommandError" || !strings.Contains(r.Text, want) {
			t.Errorf("%s: %s %q, want %q", code, r.Class, r.Text, want)
		}
	}
	if r := f.run("%setting A=2\nfmt.Print(os.Getenv(\"A\"))"); !strings.HasSuffix(r.stdout, "2") || shown("%env A") != "2" {
		t.Errorf("what a magic sets: %+v", r)
	}
}

// What would change the pinned environment, or another module than the user thinks, is refused, with what to do.
func TestRefusedCommands(t *testing.T) {
	f := startKernel(t).start().frontEnd()
	ran := filepath.Join(t.TempDir(), "ran")
	for code, want := range map[string]string{
		"!pip install torch":                            "make an environment of your own",
		"!touch " + ran + " && python -m pip install x": "make an environment of your own",
		"!pip3 -q install -U numpy":                     "make an environment of your own",
		"!uv pip install x":                             "make an environment of your own",
		"%%bash\ncd /\npip install x":                   "make an environment of your own",
		"%pip install torch":                            "make an environment of your own",
		"%conda install torch":                          "make an environment of your own",
		"!go get example.org/x":                         "!*go get MODULE@VERSION",
		"%timeit f()":                                   "%time tells",
	} {
		if r := f.run(code); r.Class != "CommandError" || !strings.Contains(r.Text, want) {
			t.Errorf("%q: %s %q, want %q", code, r.Class, r.Text, want)
		}
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("a part of the refused command was run")
	}
	for _, code := range []string{"!echo pip install x", "!pip --version || true", "!ls pip 2>/dev/null || true", "!go version",
		"fmt.Println(`\n!pip install x`)"} {
		if r := f.run(code); r.Status != "ok" {
			t.Errorf("%q: %s %q", code, r.Class, r.Text)
		}
	}
	r := f.run("!*go get example.org/x@v1.0.0")
	if !strings.Contains(strings.Join(r.Traceback, "\n"), "%env GOPROXY=https://proxy.golang.org") {
		t.Errorf("no word on GOPROXY: %+v", r)
	}
}

// exit ends a console, and says what to do elsewhere; a function of that name is called.
func TestExit(t *testing.T) {
	f := startKernel(t).start().frontEnd()
	for _, code := range []string{"exit", "quit", "exit()", " quit ( ) ;\n"} {
		id := f.start(code)
		r := f.finish(id)
		var reply struct{ Payload []map[string]any }
		if err := f.replies[id].Into(&reply); err != nil {
			t.Fatal(err)
		}
		if r.Status != "ok" || len(reply.Payload) != 1 || reply.Payload[0]["source"] != "ask_exit" ||
			!strings.Contains(r.stdout, "the menu Kernel") {
			t.Errorf("%q: %+v with the payload %v", code, r, reply.Payload)
		}
	}
	if r := f.run("fmt.Println(1)\nexit()"); r.Class != "CompileError" || !strings.Contains(fmt.Sprint(r.Traceback), "os.Exit") {
		t.Errorf("in a cell: %+v", r)
	}
	f.run("func exit() { fmt.Println(\"mine\") }")
	if r := f.run("exit()"); r.stdout != "mine\n" {
		t.Errorf("a function of the notebook's: %+v", r)
	}
}
