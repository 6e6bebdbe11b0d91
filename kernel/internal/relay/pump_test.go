package relay

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// Characters are whole wherever the pieces of a program's, a shell's or a script's output end.
func TestCharactersAreNeverCut(t *testing.T) {
	f := startKernel(t, "-output", "1000000000").start().frontEnd()
	// Every offset of characters of two, three and four bytes against pages and 32 KiB.
	const offsets = "%%\nw := bufio.NewWriterSize(os.Stdout, 1<<20)\n" +
		"for _, c := range []string{\"é\", \"語\", \"😀\"} {\n\tfor i := range 4 {\n" +
		"\t\tfmt.Fprint(w, strings.Repeat(\"x\", i), strings.Repeat(c, 100_000), \"\\n\")\n\t\tw.Flush()\n\t}\n}"
	check := func(name string, r ran, want string) {
		t.Helper()
		if r.Status != "ok" || r.stdout != want {
			bad := strings.Count(r.stdout, "\uFFFD")
			t.Errorf("%s: %s %s %q: %d bytes, want %d, %d characters cut", name, r.Status, r.Class, r.Text, len(r.stdout), len(want), bad)
		}
	}
	var want strings.Builder
	for _, c := range []string{"é", "語", "😀"} {
		for i := range 4 {
			want.WriteString(strings.Repeat("x", i) + strings.Repeat(c, 100_000) + "\n")
		}
	}
	check("program", f.run(offsets), want.String())
	line := strings.Repeat("é", 49_999)
	check("shell", f.run("!for i in 1 2 3; do printf 'x%.0s' $(seq $i); printf 'é%.0s' $(seq 49999); done"), "x"+line+"xx"+line+"xxx"+line)
	check("%%bash", f.run("%%bash\nprintf 'é%.0s' $(seq 49999)"), line)
	check("%%script", f.run("%%script python3\nprint('x' + 'é' * 49999)"), "x"+line+"\n")
	// One byte at a time, as a program without a buffer may.
	check("bytes", f.run("%%\nfor _, b := range []byte(\"日本語😀\") { os.Stdout.Write([]byte{b}); time.Sleep(time.Millisecond) }"), "日本語😀")
	r := f.run("%%\nfmt.Fprint(os.Stderr, strings.Repeat(\"ж\", 100_000))")
	if r.stderr != strings.Repeat("ж", 100_000) {
		t.Errorf("stderr: %d bytes, %d characters cut", len(r.stderr), strings.Count(r.stderr, "\uFFFD"))
	}
	if r := f.run("%%\nos.Stdout.Write([]byte(\"a\\xffb\\xe6\"))"); r.Status != "ok" || r.stdout != "a\uFFFDb\uFFFD" {
		t.Errorf("no UTF-8 at all: %q", r.stdout)
	}
	lines := 10_000
	if os.Getenv("ADVLAB_FULL") != "" {
		lines = 100_000
	}
	one := strings.Repeat("äx日", 83) + "\n" // 499 bytes
	began := time.Now()
	r = f.run(fmt.Sprintf("%%%%\nw := bufio.NewWriter(os.Stdout)\nfor range %d { fmt.Fprint(w, strings.Repeat(\"äx日\", 83), \"\\n\") }\n"+
		"w.Flush()", lines))
	check("flood", r, strings.Repeat(one, lines))
	t.Logf("%d MB in %s", len(r.stdout)>>20, time.Since(began).Round(10*time.Millisecond))
}

// However a program ends, what it has displayed before is shown, in its place between what it has printed.
func TestDisplaysAtTheEnd(t *testing.T) {
	f := startKernel(t).start().frontEnd()
	for _, test := range []struct{ name, end, class string }{
		{"return", "", ""},
		{"panic", "panic(\"oh\")", "Panic"},
		{"nil map", "var m map[string]int\nm[\"a\"] = 1", "Panic"},
		{"os.Exit", "os.Exit(0)", "ExitError"}, // an answer to an assignment may do so: it is no end
		{"os.Exit(3)", "os.Exit(3)", "ExitError"},
		{"log.Fatal", "log.Fatal(\"no\")", "ExitError"},
		{"SIGKILL", "syscall.Kill(os.Getpid(), syscall.SIGKILL)\nselect {}", "ExitError"},
		{"SIGSEGV", "syscall.Kill(os.Getpid(), syscall.SIGSEGV)\nselect {}", "Panic"},
	} {
		t.Run(test.name, func(t *testing.T) {
			const n = 50
			began := time.Now()
			r := f.run(fmt.Sprintf("%%%%\nfmt.Println(\"before\")\nfor i := range %d { gonbui.DisplayHTML(fmt.Sprintf(\"<b>%%d</b>\", i)) }\n"+
				"gonbui.DisplayHTML(strings.Repeat(\"x\", 3_000_000))\n%s", n, test.end))
			t.Logf("%s", time.Since(began).Round(time.Millisecond))
			if r.Class != test.class {
				t.Errorf("%s %s: %q, want %q", r.Status, r.Class, r.Text, test.class)
			}
			shown := 0
			for _, kind := range r.order {
				if kind == "display_data" {
					shown++
				}
			}
			if shown != n+1 || r.stdout != "before\n" {
				t.Errorf("%d of %d displays, stdout %q", shown, n+1, r.stdout)
			}
			if data, _ := r.contents["display_data"]["data"].(map[string]any); len(fmt.Sprint(data["text/html"])) != 3_000_000 {
				t.Error("the last display is not the last")
			}
			if r.order[2] != "stream" {
				t.Errorf("messages %.6q…, want the stream first", r.order)
			}
		})
	}
	// One that is not to be decoded is said to be dropped, and the next one is shown.
	r := f.run("type own struct{ X int }\n%%\ngob.Register(own{})\n" +
		"gonbui.SendData(&protocol.DisplayData{Data: map[protocol.MIMEType]any{\"text/plain\": own{1}}})\n" +
		"gonbui.SendData(&protocol.DisplayData{Data: map[protocol.MIMEType]any{\"text/plain\": \"sound\"}})")
	if data, _ := r.contents["display_data"]["data"].(map[string]any); r.Status != "ok" ||
		!strings.Contains(r.stderr, "a display was dropped") || data["text/plain"] != "sound" {
		t.Errorf("%s %q, stderr %q, shown %v", r.Status, r.Text, r.stderr, r.contents["display_data"])
	}
}

// Where the program waits for its displays, as advlib's show does, what it prints stands in order with them.
func TestOrderOfStreamsAndDisplays(t *testing.T) {
	f := startKernel(t).start().frontEnd()
	r := f.run("%%\nfor i := range 20 {\n\tfmt.Print(i, \" \")\n\tgonbui.DisplayHTML(fmt.Sprint(i))\n\tgonbui.Sync()\n}\nfmt.Print(\"end\")")
	f.mu.Lock()
	defer f.mu.Unlock()
	var got, want []string
	id := ""
	for _, m := range f.messages {
		if m.Header.Type == "execute_input" {
			id = m.Parent.ID
		}
	}
	for _, m := range f.messages {
		content := map[string]any{}
		if m.Parent.ID != id || m.Into(&content) != nil {
			continue
		}
		switch m.Header.Type {
		case "stream":
			got = append(got, fmt.Sprint(content["text"]))
		case "display_data":
			got = append(got, fmt.Sprint("<", content["data"].(map[string]any)["text/html"], ">"))
		}
	}
	for i := range 20 {
		want = append(want, fmt.Sprint(i, " "), fmt.Sprint("<", i, ">"))
	}
	want = append(want, "end")
	if r.Status != "ok" || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %q,\nwant %q", r.Status, got, want)
	}
}

// The pump is not to be noticed: exit codes, arguments, stdin and the environment are the program's own.
func TestProgramsBehindThePump(t *testing.T) {
	k := startKernel(t).start()
	f := k.frontEnd()
	for _, test := range []struct{ code, class, text, stdout string }{
		{"var n = flag.Int(\"n\", 0, \"\")\n%% -n 3 \"a b\"\nfmt.Println(*n, flag.Args())", "", "", "3 [a b]\n"},
		{"%%\nfmt.Println(os.Getenv(\"BASH_ENV\"), os.Getenv(\"ADVLAB_PUMP\"))", "", "", " \n"},
		{"!echo \"$BASH_ENV$ADVLAB_PUMP$0\"", "", "", "/bin/bash\n"},
		{"!bash -c 'echo inner; exit 5'", "ExitError", "exit status 5", "inner\n"},
		{"!kill -TERM $$", "ExitError", "signal: terminated", ""},
		{"!echo one \\\n  two", "", "", "one two\n"},
		{"%goflags -race=false", "", "", "%goflags=[\"-race=false\"]\n"},
		{"%goflags", "", "", "%goflags=[\"-race=false\"]\n"},
		{"%goflags \"\"", "", "", "%goflags=[]\n"},
		{"%%script does-not-exist-at-all", "ExitError", "exit status 127", ""},
		{"%%sh\necho $0", "", "", "sh\n"},
		{"%%writefile " + k.temp + "/written\nx", "", "", "Cell contents written to"},
		{"%test\nfunc TestA(t *testing.T) { fmt.Println(\"in a test\") }", "", "", "in a test"},
		{"%capture " + k.temp + "/captured\n%%\nfmt.Println(\"kept\")", "", "", "kept\n"},
		{"!cat " + k.temp + "/captured", "", "", "kept\n"},
		{"!sleep 30 & echo started", "", "", "started\n[programs that the cell has left go on; what they print from now on is not shown]\n"},
	} {
		r := f.run(test.code)
		if r.Class != test.class || !strings.Contains(r.Text, test.text) || !strings.Contains(r.stdout, test.stdout) ||
			test.stdout == "" && r.stdout != "" {
			t.Errorf("%q: %s %q, stdout %q, stderr %q; want %s %q, %q", test.code, r.Class, r.Text, r.stdout, r.stderr, test.class,
				test.text, test.stdout)
		}
	}
	// A stack trace that is written in small pieces keeps its marks.
	r := f.run("func deep(n int) int {\n\tif n == 0 {\n\t\tpanic(\"deep\")\n\t}\n\treturn deep(n-1) + 1\n}\n%%\ndeep(30)")
	if trace := strings.Join(r.Traceback, "\n"); strings.Count(trace, "cell ") < 30 || strings.Contains(trace, "\tmain.go:") ||
		strings.Contains(trace, "/gonb_") {
		t.Errorf("the trace lacks places:\n%s", trace)
	}
}
