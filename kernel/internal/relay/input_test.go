package relay

import (
	"strings"
	"testing"
	"time"
)

// asked waits for an input request and returns its prompt.
func (f *frontEnd) asked(id string) string {
	f.t.Helper()
	if !f.wait(cellTime, func() bool { return f.replies["stdin"] != nil }) {
		f.t.Fatal("no input request")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.replies["stdin"]
	delete(f.replies, "stdin")
	var q struct {
		Prompt   string
		Password bool
	}
	if err := m.Into(&q); err != nil || m.Header.Type != "input_request" || m.Parent.ID != id || q.Password {
		f.t.Errorf("%s %s of %s: %v", m.Header.Type, m.Content, m.Parent.ID, err)
	}
	return q.Prompt
}

func (f *frontEnd) answer(text string) {
	f.send(f.stdin, "input_reply", map[string]any{"value": text})
}

// A program that reads its standard input is noticed, and its front end asked, for each line once.
func TestReadersAreAsked(t *testing.T) {
	f := startKernel(t).start().frontEnd()
	for _, test := range []struct {
		name, code string
		prompts    []string
		answers    []string
		want       string
	}{
		{"Scanln", "%%\nvar s string\nfmt.Scanln(&s)\nfmt.Println(\"got\", s)", []string{""}, []string{"ü"}, "got ü\n"},
		{"a prompt", "var s string\nfmt.Println(\"hello\")\nfmt.Print(\"name? \")\nfmt.Scanln(&s)\nfmt.Println(\"got\", s)",
			[]string{"name? "}, []string{"gopher"}, "hello\ngot gopher\n"},
		{"several lines", "r := bufio.NewReader(os.Stdin)\nfor range 3 {\n\tfmt.Print(\"> \")\n\ts, _ := r.ReadString('\\n')\n" +
			"\tfmt.Printf(\"%q\\n\", s)\n}", []string{"> ", "> ", "> "}, []string{"one", "", "three"}, "\"one\\n\"\n\"\\n\"\n\"three\\n\"\n"},
		{"until the end", "s := bufio.NewScanner(os.Stdin)\nn := 0\nfor s.Scan() { n++ }\nfmt.Println(n)", []string{"", "", ""},
			[]string{"a", "b", endOfInput}, "2\n"},
		{"a shell", "!read -r x; echo \"got $x\"", []string{""}, []string{"a line"}, "got a line\n"},
		{"a shell's prompt", "!printf 'sure? '; read -r x; echo \"$x\"", []string{"sure? "}, []string{"yes"}, "yes\n"},
		{"a child of a shell", "!sleep 0.01; python3 -c 'print(input(\"x: \") + \"!\")'; echo", []string{"x: "}, []string{"deep"}, "deep!\n\n"},
		{"a goroutine", "%%\ndone := make(chan string)\ngo func() { var s string; fmt.Scanln(&s); done <- s }()\nfmt.Println(<-done)",
			[]string{""}, []string{"side"}, "side\n"},
		{"a long line", "var s string\nfmt.Scanln(&s)\nfmt.Println(len(s))", []string{""}, []string{strings.Repeat("x", 100_000)}, "100000\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			id := f.start(test.code)
			for i, prompt := range test.prompts {
				if got := f.asked(id); got != prompt {
					t.Errorf("question %d: %q, want %q", i, got, prompt)
				}
				f.answer(test.answers[i])
			}
			if r := f.finish(id); r.Status != "ok" || r.stdout != test.want || r.stderr != "" {
				t.Errorf("%s %q: %q, want %q; %q", r.Class, r.Text, r.stdout, test.want, r.stderr)
			}
		})
	}
}

// Where nobody can be asked, the program reads an end, and the output says why.
func TestNobodyToAsk(t *testing.T) {
	f := startKernel(t).start().frontEnd()
	silent := map[string]any{"allow_stdin": false} // as nbclient
	r := f.run("var s string\nfmt.Print(\"name? \")\n_, err := fmt.Scanln(&s)\nfmt.Println(\"got\", s, err)", silent)
	if want := "name? \n[this cell reads input, and the front end cannot ask for any: it reads an end of file]\ngot  EOF\n"; r.stdout != want {
		t.Errorf("%+v: %q, want %q", r, r.stdout, want)
	}
	if r := f.run("!cat; echo done", silent); !strings.HasSuffix(r.stdout, "end of file]\ndone\n") || r.Status != "ok" {
		t.Errorf("%+v", r)
	}
	if r := f.run("%%bash\nread x\necho \"not read\"\necho \"$x\"", silent); r.stdout != "echo \"not read\"\n" {
		t.Errorf("a script is its shell's input: %q", r.stdout)
	}
}

// A cell that reads nothing is not asked, whatever it waits for; one that waits is interrupted.
func TestOnlyReadersAreAsked(t *testing.T) {
	f := startKernel(t).start().frontEnd()
	for _, code := range []string{
		"for range 8 { fmt.Print(\".\"); time.Sleep(60 * time.Millisecond) }",
		"!sleep 0.5",
		"!sleep 0.3 | cat",
		"r, w, _ := os.Pipe()\ngo func() { time.Sleep(500 * time.Millisecond); w.WriteString(\"x\\n\") }()\nvar s string\nfmt.Fscanln(r, &s)",
		"!cat < /dev/null; sleep 0.2",
	} {
		if r := f.run(code); r.Status != "ok" {
			t.Errorf("%q: %+v", code, r)
		}
		f.mu.Lock()
		if m := f.replies["stdin"]; m != nil {
			t.Errorf("%q: %s", code, m.Content)
			delete(f.replies, "stdin")
		}
		f.mu.Unlock()
	}
	for _, code := range []string{"var s string\nfmt.Print(\"name? \")\nfmt.Scanln(&s)", "!read x"} {
		id := f.start(code)
		f.asked(id)
		began := time.Now()
		f.ask(f.control, "interrupt_request", map[string]any{})
		if r := f.finish(id); r.Class != "Interrupted" || time.Since(began) > 5*time.Second {
			t.Errorf("%q: %s %q after %s", code, r.Class, r.Text, time.Since(began))
		}
	}
	f.answer("too late") // an answer that nobody waits for is dropped
	id := f.start("var s string\nfmt.Scanln(&s)\nfmt.Println(s)")
	f.asked(id)
	f.answer("punctual")
	if r := f.finish(id); r.stdout != "punctual\n" {
		t.Errorf("%+v", r)
	}
}
