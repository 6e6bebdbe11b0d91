package relay

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"advlab/kernel/internal/guard"
	"advlab/kernel/internal/jupyter"
	"advlab/kernel/internal/zmtp"
)

func itoa(n int) string { return strconv.Itoa(n) }

func TestExecute(t *testing.T) {
	f := startKernel(t).start().frontEnd()
	r := f.run("%%\nfmt.Println(\"hello, world\")", map[string]any{"user_expressions": map[string]string{"a": "1+1"}})
	if r.Status != "ok" || r.stdout != "hello, world\n" || r.Count != 1 {
		t.Errorf("got %+v", r)
	}
	if want := []string{"busy", "execute_input", "stream", "idle"}; !reflect.DeepEqual(r.order, want) {
		t.Errorf("messages %q, want %q", r.order, want)
	}
	if a, ok := r.Answers["a"].(map[string]any); !ok || a["status"] != "error" {
		t.Errorf("user_expressions %v: want an error for each, since a Go cell leaves no values", r.Answers)
	}
	var metadata struct {
		Started string
		Advlab  provenance
	}
	if err := json.Unmarshal(r.metadata, &metadata); err != nil || metadata.Advlab.Seconds <= 0 || metadata.Advlab.Go != goVersion() ||
		metadata.Started == "" {
		t.Errorf("metadata %s (%v)", r.metadata, err)
	}

	silent := f.run("%%\nfmt.Println(1)", map[string]any{"silent": true})
	if want := []string{"busy", "idle"}; !reflect.DeepEqual(silent.order, want) || silent.Count != 1 {
		t.Errorf("silent: messages %q with count %d, want %q with 1", silent.order, silent.Count, want)
	}
	if r := f.run("%%\nfmt.Println(2)", map[string]any{"store_history": false}); r.stdout != "2\n" || r.Count != 1 {
		t.Errorf("store_history false: %+v", r)
	}
	if r := f.run("  \n"); r.Status != "ok" || r.Count != 2 {
		t.Errorf("empty cell: %+v", r)
	}
	if r := f.run("%%\nfmt.Println(3)"); r.Count != 3 {
		t.Errorf("count %d, want 3", r.Count)
	}

	// A request without the optional fields, which GoNB does not survive.
	if r := f.finish(f.send(f.shell, "execute_request", map[string]any{"code": "%%\nfmt.Println(4)"})); r.stdout != "4\n" {
		t.Errorf("bare request: %+v", r)
	}
	for _, content := range []any{map[string]any{"code": 7}, map[string]any{"code": "x", "silent": "yes"}} {
		if r := f.finish(f.send(f.shell, "execute_request", content)); r.Status != "error" || r.Class != "RequestError" {
			t.Errorf("request %v: %+v", content, r)
		}
	}
	if r := f.finish(f.send(f.shell, "unheard_request", map[string]any{})); r.Status != "error" {
		t.Errorf("unknown request: %+v", r)
	}
}

// Every failure is one error message with class, text, the cell's own line, and, where there is one, a hint.
func TestErrors(t *testing.T) {
	f := startKernel(t).start().frontEnd()
	if r := f.run("func third(xs []int) int {\n\treturn xs[2]\n}"); r.Status != "ok" {
		t.Fatalf("%+v", r)
	}
	for _, test := range []struct {
		name, code, class, text string
		trace                   []string
		stderr, stdout          string
	}{
		{"undefined", "%%\nx := 1\n  undefinedName(x)", "CompileError", "cell 2, line 3: undefined: undefinedName",
			[]string{">   3 |   undefinedName(x)\n      |   ^"}, "", ""},
		{"two errors", "%%\nvar a int\nvar b string = 1", "CompileError", "cell 3, line 2: declared and not used: a (and 2 more)",
			[]string{">   2 | var a int", "Hint: Go refuses variables"}, "", ""},
		{"a function among statements", "x := 1\nfunc f() {}", "CompileError", "cell 4, line 1: declared and not used: x", []string{">   1 | x := 1"}, "", ""},
		{"unfinished", "func h( {", "CompileError", "cell 5, line 1: this ( is not closed", nil, "", ""},
		{"wrong package of ours", "import \"advlab/advlib/atack\"\n%%\natack.X()", "CompileError",
			"cell 6, line 1: package advlab/advlib/atack is not in std", []string{">   1 | import", "Hint: there is no such package of advlab"}, "",
			""},
		{"package beyond the pin", "import \"example.org/nope\"\n%%\nnope.X()", "CompileError",
			"cell 7, line 1: no required module provides package example.org/nope",
			[]string{">   1 | import", "Hint: the package is not among those that advlab pins"}, "", ""},
		{"panic", "%%\nvar m map[string]int\nm[\"a\"] = 1", "Panic", "assignment to entry in nil map",
			[]string{">   3 | m[\"a\"] = 1", "goroutine 1 [running]", "cell 8, line 3"}, "", ""},
		{"panic in an earlier cell's function", "%%\nfmt.Println(third(nil))", "Panic", "runtime error: index out of range [2] with length 0",
			[]string{">   2 | \treturn xs[2]", "cell 1, line 2", "cell 9, line 2"}, "", ""},
		{"deadlock", "%%\n<-make(chan int)", "Panic", "all goroutines are asleep - deadlock!", []string{"cell 10, line 2"}, "", ""},
		{"output before a panic", "%%\nfmt.Println(1)\nfmt.Fprintln(os.Stderr, 2)\npanic(fmt.Sprint(\"own \", \"words\"))", "Panic", "own words", nil, "2\n", "1\n"},
		{"exit", "%%\nos.Exit(3)", "ExitError", "exit status 3", nil, "", ""},
		{"log.Fatal", "%%\nlog.SetFlags(0)\nlog.Fatal(\"no data\")", "ExitError", "exit status 1: no data", nil, "no data\n", ""},
		{"killed", "%%\nsyscall.Kill(os.Getpid(), syscall.SIGKILL)", "ExitError", "signal: killed", []string{"Hint: the system has killed the program"}, "", ""},
		{"test", "%test\nfunc TestA(t *testing.T) { t.Error(\"wrong\") }\nfunc TestB(t *testing.T) {}", "TestFailure", "TestA", nil, "", "wrong"},
		{"shell", "!ls /does-not-exist", "ExitError", "!ls /does-not-exist: exit status 2: ls: cannot access", nil, "ls: cannot access", ""},
		{"bash", "%%bash\necho out\nexit 4", "ExitError", "%%bash: exit status 4", nil, "", "out\n"},
		{"statements above %%", "x++\n%%\nfmt.Println(1)", "CompileError", "line 1: statements stand below the line %%",
			[]string{">   1 | x++"}, "", ""},
		{"a brace too many", "%%\nfmt.Println(1) }", "CompileError", "line 2: there is nothing open for this }", nil, "", ""},
		{"unknown command", "%chekc Half\n%%\nfmt.Println(1)", "CommandError", "there is no command %chekc", nil, "", ""},
		{"command", "%cd /does-not-exist", "CommandError", "chdir /does-not-exist", nil, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := f.run(test.code)
			if r.Status != "error" || r.Class != test.class || !strings.Contains(r.Text, test.text) {
				t.Errorf("%s %s: %q; want %s with %q", r.Status, r.Class, r.Text, test.class, test.text)
			}
			trace := strings.Join(r.Traceback, "\n")
			for _, want := range append(test.trace, test.class+": ") {
				if !strings.Contains(trace, want) {
					t.Errorf("no %q in the traceback:\n%s", want, trace)
				}
			}
			for _, never := range []string{"\x1b", "/gonb_", "[[ Cell"} {
				if strings.Contains(trace, never) {
					t.Errorf("%q in the traceback:\n%s", never, trace)
				}
			}
			errors := 0
			for _, kind := range r.order {
				if kind == "error" {
					errors++
				}
			}
			if errors != 1 || r.contents["error"]["ename"] != r.Class || r.contents["error"]["evalue"] != r.Text {
				t.Errorf("%d error messages (%q), the last %v; want one, the same as in the reply", errors, r.order, r.contents["error"])
			}
			if !strings.Contains(r.stderr, test.stderr) || test.stderr == "" && r.stderr != "" {
				t.Errorf("stderr %q, want %q", r.stderr, test.stderr)
			}
			if !strings.Contains(r.stdout, test.stdout) || test.stdout == "" && r.stdout != "" {
				t.Errorf("stdout %q, want %q", r.stdout, test.stdout)
			}
		})
	}
	// What looks like an error and is none.
	for code, want := range map[string]string{
		"!false || true":                  "",
		"%%\nimport \"fmt\"\nfunc f() {}": "",
		"%%\nfmt.Fprintln(os.Stderr, \"panic: not really\")\ntime.Sleep(1500*time.Millisecond)": "panic: not really\n",
		"%%\nfmt.Fprintln(os.Stderr, \"panic: at the end\")":                                    "panic: at the end\n",
		"%%\nfmt.Fprintln(os.Stderr, \"exit status 7\")":                                        "exit status 7\n",
		"%%\nfunc() { defer func() { recover() }(); panic(1) }()":                               "",
	} {
		if r := f.run(code); r.Status != "ok" || r.stderr != want {
			t.Errorf("%q: %s, stderr %q, want ok and %q", code, r.Status, r.stderr, want)
		}
	}
}

func TestQueueIsAbortedAfterAnError(t *testing.T) {
	f := startKernel(t).start().frontEnd()
	statuses := func(options map[string]any) string {
		var ids, list []string
		for _, code := range []string{"%%\nfmt.Println(1)", "%%\nnope()", "%%\nfmt.Println(3)", "%%\nfmt.Println(4)"} {
			ids = append(ids, f.start(code, options))
		}
		for _, id := range ids {
			list = append(list, f.finish(id).Status)
		}
		return strings.Join(list, " ")
	}
	if got := statuses(nil); got != "ok error aborted aborted" {
		t.Errorf("got %q", got)
	}
	if r := f.run("%%\nfmt.Println(5)"); r.Status != "ok" || r.Count != 3 {
		t.Errorf("the next cell: %+v", r)
	}
	if got := statuses(map[string]any{"stop_on_error": false}); got != "ok error ok ok" {
		t.Errorf("stop_on_error false: got %q", got)
	}
}

// interruptAfter runs a cell, interrupts it after a time, or, if it says that it is ready, then, and returns how long
// it took to end.
func interruptAfter(t *testing.T, f *frontEnd, code string, after time.Duration, how func()) (ran, time.Duration) {
	t.Helper()
	id := f.start(code)
	if strings.Contains(code, "ready") {
		if !f.wait(cellTime, func() bool {
			return slices.ContainsFunc(f.messages, func(m *jupyter.Message) bool { return m.Parent.ID == id && m.Header.Type == "stream" })
		}) {
			t.Fatal("the cell is not ready")
		}
	} else {
		time.Sleep(after)
	}
	began := time.Now()
	how()
	r := f.finish(id)
	return r, time.Since(began)
}

func TestInterrupt(t *testing.T) {
	t.Parallel() // it waits more than it works
	k := startKernel(t)
	// A goimports that takes long where it is told to: as the real one does when it looks through a large module cache.
	bin := t.TempDir()
	slow := "#!/bin/sh\nif grep -q slow_imports \"$2\"; then sleep 60; fi\n" +
		"exec " + filepath.Join(prepared(t).Tools(), "goimports") + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(bin, "goimports"), []byte(slow), 0o700); err != nil {
		t.Fatal(err)
	}
	for i, entry := range k.cmd.Env {
		if path, ok := strings.CutPrefix(entry, "PATH="); ok {
			k.cmd.Env[i] = "PATH=" + bin + string(os.PathListSeparator) + path
		}
	}
	k.start()
	f := k.frontEnd()
	f.run("%%\nfmt.Println(0)") // what the first cell alone needs is there
	byMessage := func() {
		if got := f.ask(f.control, "interrupt_request", map[string]any{}); got["status"] != "ok" {
			t.Errorf("reply %v", got)
		}
	}
	bySignal := func() { _ = k.cmd.Process.Signal(os.Interrupt) }
	for _, test := range []struct {
		name, code string
		how        func()
	}{
		{"run", "%%\nfmt.Println(\"ready\")\ntime.Sleep(time.Minute)", byMessage},
		{"run, by signal", "%%\nfmt.Println(\"ready\")\ntime.Sleep(time.Minute)", bySignal},
		{"compile", "%goflags -a\n%%\nfmt.Println(1)", byMessage},
		{"imports", "%%\nslow_imports.F()", byMessage},
		{"a child of the cell's", "%%\nfmt.Println(\"ready\")\nexec.Command(\"sh\", \"-c\", \"sleep 60; sleep 60\").Run()", byMessage},
		{"a child that ignores it", "%%\nfmt.Println(\"ready\")\nexec.Command(\"sh\", \"-c\", \"trap '' INT; sleep 60\").Run()\nselect {}", byMessage},
		{"test", "%test\nfunc TestA(t *testing.T) { fmt.Println(\"ready\"); time.Sleep(time.Minute) }", byMessage},
		{"%%bash", "%%bash\necho ready\nsleep 60\nsleep 60", byMessage},
		{"shell", "!echo ready; sleep 60", byMessage},
		{"shell in the background", "!sleep 60 & echo ready; sleep 60", byMessage},
		{"that ignores it", "%%\nsignal.Ignore(os.Interrupt)\nfmt.Println(\"ready\")\ntime.Sleep(time.Minute)", byMessage},
		{"that left its group", "!echo ready; setsid sleep 60", byMessage},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, took := interruptAfter(t, f, test.code, 1200*time.Millisecond, test.how)
			if r.Status != "error" || r.Class != "Interrupted" {
				t.Errorf("%s %s %q", r.Status, r.Class, r.Text)
			}
			if took > 4*time.Second { // 2 s are promised, on a machine with nothing else to do
				t.Errorf("it took %s", took)
			}
			t.Logf("ended after %s", took.Round(10*time.Millisecond))
			f.run("%goflags \"\"")
			for _, name := range []string{"sleep", "go", "goimports"} {
				if pid := k.pid(name); pid != 0 {
					t.Errorf("%s goes on", name)
				}
			}
			if r := f.run("%%\nfmt.Println(2)"); r.stdout != "2\n" {
				t.Errorf("the next cell: %+v", r)
			}
		})
	}
	// One that saves its work at the first signal gets no second.
	r, _ := interruptAfter(t, f, "%%\nc := make(chan os.Signal, 9)\nsignal.Notify(c, os.Interrupt)\nfmt.Println(\"ready\")\n<-c\nselect {\n"+
		"case <-c:\n\tfmt.Println(\"again\")\ncase <-time.After(500*time.Millisecond):\n\tfmt.Println(\"saved\")\n}",
		1500*time.Millisecond, byMessage)
	if r.stdout != "ready\nsaved\n" {
		t.Errorf("got %q (%s)", r.stdout, r.Class)
	}
	if got := f.ask(f.control, "interrupt_request", map[string]any{}); got["status"] != "ok" {
		t.Errorf("without a cell: %v", got)
	}
	if r := f.run("%%\nfmt.Println(3)"); r.stdout != "3\n" {
		t.Errorf("after all: %+v", r)
	}
}

// Tab in the first seconds, while a cell runs: an answer at once, and the cell does not wait for it, nor the next one.
func TestTabAtOnce(t *testing.T) {
	k := startKernel(t).start()
	f := k.frontEnd()
	first := f.start("%%\nfmt.Println(1)\ntime.Sleep(3*time.Second)")
	var slowest time.Duration
	asked := 0
	ended := func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.replies[first] != nil
	}
	for _, code := range []string{"strings.TrimSpac", "x := strings.NewReader(\"\"); x.", "fmt.Printl", "unknown.", "f().", "adv", "%ti",
		"sync.WaitGroup{}."} {
		for _, kind := range []string{"complete_request", "inspect_request"} {
			if ended() {
				break
			}
			began := time.Now()
			reply := f.ask(f.shell, kind, map[string]any{"code": code, "cursor_pos": len(code)})
			slowest = max(slowest, time.Since(began))
			asked++
			if reply["status"] != "ok" {
				t.Errorf("%s of %q: %v", kind, code, reply)
			}
		}
	}
	t.Logf("%d answers, the slowest after %s", asked, slowest.Round(time.Millisecond))
	if asked < 8 || slowest > 1500*time.Millisecond { // AnswerLimit is promised, on a machine with nothing else to do
		t.Errorf("%d answers before the cell has ended, the slowest after %s", asked, slowest)
	}
	if r := f.finish(first); r.stdout != "1\n" {
		t.Errorf("%+v", r)
	}
	// A cell behind a burst of them.
	for range 20 {
		f.send(f.shell, "complete_request", map[string]any{"code": "y := strings.NewReader(\"\"); y.", "cursor_pos": 31})
	}
	began := time.Now()
	if r := f.run("!echo 2"); r.stdout != "2\n" {
		t.Errorf("%+v", r)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("the cell behind 20 completions took %s", took)
	}
}

// Over ipc, and nothing of it is open to other users.
func TestIPC(t *testing.T) {
	k := startKernel(t)
	dir := shortTemp(t)
	k.connection = jupyter.Connection{Transport: "ipc", IP: filepath.Join(dir, "k"), Shell: 1, IOPub: 2, Stdin: 3, Control: 4, Heartbeat: 5,
		Key: jupyter.NewID(), Scheme: jupyter.Scheme}
	if err := k.connection.Write(k.cmd.Args[len(k.cmd.Args)-1]); err != nil {
		t.Fatal(err)
	}
	k.start()
	f := k.frontEnd()
	if r := f.run("%%\ngonbui.DisplayHTML(\"x\")\nfmt.Println(1)"); r.stdout != "1\n" || r.contents["display_data"] == nil {
		t.Errorf("%+v", r)
	}
	f.ask(f.shell, "complete_request", map[string]any{"code": "unknown.", "cursor_pos": 8}) // gopls may know it
	eventually(t, "gopls runs", cellTime, func() bool { return k.pid("gopls") != 0 })
	id := f.start("%%\ngonbui.DisplayHTML(\"x\")\ntime.Sleep(time.Minute)") // with named pipes
	if !f.wait(cellTime, func() bool {
		return slices.ContainsFunc(f.messages, func(m *jupyter.Message) bool { return m.Parent.ID == id && m.Header.Type == "display_data" })
	}) {
		t.Fatal("no display")
	}
	// A folder that others cannot enter may hold what they could read.
	private, pipes := 0, 0
	for _, root := range []string{k.temp, dir} {
		_ = filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
			if err != nil {
				return nil
			}
			info, err := entry.Info()
			if err != nil {
				return nil
			}
			mode := info.Mode()
			if mode&os.ModeNamedPipe != 0 {
				pipes++
			}
			open := mode.Perm()&0o077 != 0
			switch {
			case path == root && root == dir: // the front-end's
			case entry.IsDir() && filepath.Dir(path) == k.temp && open, path == k.temp && open, mode&os.ModeNamedPipe != 0 && open,
				// connection files; gopls makes others
				mode&os.ModeSocket != 0 && open && root == dir, strings.HasPrefix(filepath.Base(path), "kernel-") && open:
				t.Errorf("%s has mode %v", path, mode)
			default:
				private++
			}
			return nil
		})
	}
	if pipes < 4 || private < 10 {
		t.Errorf("%d named pipes and %d files were looked at: the test proves little", pipes, private)
	}
	f.ask(f.control, "shutdown_request", map[string]any{"restart": false})
	<-k.ended
	for _, root := range []string{k.temp, dir} {
		if left, err := os.ReadDir(root); err != nil || len(left) > 0 {
			t.Errorf("left in %s: %v (%v)", root, left, err)
		}
	}
}

func TestCellLimit(t *testing.T) {
	f := startKernel(t, "-limit", "3s").start().frontEnd()
	if r := f.run("%%\ntime.Sleep(time.Minute)"); r.Class != "Timeout" || !strings.Contains(r.Text, "3s") {
		t.Errorf("%+v", r)
	}
	if r := f.run("%%\nfmt.Println(1)"); r.stdout != "1\n" {
		t.Errorf("%+v", r)
	}
}

// What GoNB does not answer, and what must not wait for a cell.
func TestAnswersWhileACellRuns(t *testing.T) {
	f := startKernel(t, "-history", filepath.Join(t.TempDir(), "h")).start().frontEnd()
	id := f.start("var shared = 1\n%%\ntime.Sleep(4*time.Second)")
	if !f.wait(cellTime, func() bool {
		return slices.ContainsFunc(f.messages, func(m *jupyter.Message) bool { return m.Parent.ID == id && m.Header.Type == "execute_input" })
	}) {
		t.Fatal("the cell does not start")
	}
	began := time.Now()
	check := func(what string, ok bool, reply map[string]any) {
		t.Helper()
		if !ok {
			t.Errorf("%s: %v", what, reply)
		}
	}
	reply := f.ask(f.shell, "complete_request", map[string]any{"code": "strings.TrimSpac", "cursor_pos": 16})
	check("complete", fmt.Sprint(reply["matches"]) == "[TrimSpace]" && reply["cursor_start"] == 8.0, reply)
	reply = f.ask(f.shell, "inspect_request", map[string]any{"code": "fmt.Println", "cursor_pos": 5, "detail_level": 0})
	check("inspect", reply["found"] == true && strings.Contains(fmt.Sprint(reply["data"]), "func Println(a ...any)"), reply)
	reply = f.ask(f.shell, "is_complete_request", map[string]any{"code": "func f() {"})
	check("is_complete", reply["status"] == "incomplete" && reply["indent"] == "\t", reply)
	reply = f.ask(f.shell, "history_request", map[string]any{"hist_access_type": "tail", "n": 1, "output": false, "raw": true})
	check("history", strings.Contains(fmt.Sprint(reply["history"]), "var shared"), reply)
	reply = f.ask(f.shell, "comm_info_request", map[string]any{})
	check("comm_info", fmt.Sprint(reply["comms"]) == "map[]", reply)
	reply = f.ask(f.shell, "connect_request", map[string]any{})
	check("connect", reply["shell_port"] == float64(f.k.connection.Shell), reply)
	for _, s := range []*zmtp.Socket{f.shell, f.control} {
		reply = f.ask(s, "kernel_info_request", map[string]any{})
		info, _ := reply["language_info"].(map[string]any)
		check("kernel_info", reply["implementation"] == "advlab" && info["name"] == "go" && info["pygments_lexer"] == "go" &&
			info["codemirror_mode"] == "go" && info["version"] == strings.TrimPrefix(goVersion(), "go") && info["file_extension"] == ".go" &&
			reply["status"] == "ok", reply)
	}
	for _, kind := range []string{"complete_request", "inspect_request", "is_complete_request", "history_request", "comm_info_request"} {
		bad := f.ask(f.shell, kind, map[string]any{"code": []int{1}, "cursor_pos": "x", "n": "y", "target_name": 3})
		check("malformed "+kind, bad["status"] == "error", bad)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("the answers took %s: they waited for the cell", took)
	}
	f.mu.Lock()
	if f.replies[id] != nil {
		t.Error("the cell has ended before the questions were answered: they proved nothing")
	}
	f.mu.Unlock()
	if r := f.finish(id); r.Status != "ok" {
		t.Errorf("%+v", r)
	}
	reply = f.ask(f.shell, "complete_request", map[string]any{"code": "sha", "cursor_pos": 3})
	if !strings.Contains(fmt.Sprint(reply["matches"]), "shared") {
		t.Errorf("a name of an earlier cell: %v", reply)
	}
}

func TestInputReachesTheCell(t *testing.T) {
	k := startKernel(t).start()
	f, other := k.frontEnd(), k.frontEnd()
	const code = "%%\ngonbui.RequestInput(\"name? \", false)\nvar s string\nfmt.Scanln(&s)\nfmt.Println(\"hello\", s)"
	id := f.start(code)
	if !f.wait(cellTime, func() bool { return f.replies["stdin"] != nil }) {
		t.Fatal("no input request")
	}
	f.mu.Lock()
	request := f.replies["stdin"]
	f.mu.Unlock()
	if request.Parent.ID != id || !strings.Contains(string(request.Content), "name? ") {
		t.Errorf("request %s for %s, want for %s", request.Content, request.Parent.ID, id)
	}
	other.send(other.stdin, "input_reply", map[string]any{"value": "intruder"})
	f.send(f.stdin, "input_reply", map[string]any{"value": 7}) // GoNB would not survive it
	time.Sleep(200 * time.Millisecond)
	f.send(f.stdin, "input_reply", map[string]any{"value": "gopher"})
	if r := f.finish(id); r.stdout != "hello gopher\n" {
		t.Errorf("%+v", r)
	}
	other.mu.Lock()
	if other.replies["stdin"] != nil {
		t.Error("the other front-end was asked, too")
	}
	other.mu.Unlock()
	// Of a ! command that is to be asked.
	f.mu.Lock()
	delete(f.replies, "stdin")
	f.mu.Unlock()
	id = f.start("%with_inputs\n!read -r x; echo \"got $x\"")
	if !f.wait(cellTime, func() bool { return f.replies["stdin"] != nil }) {
		t.Fatal("no input request of a ! command")
	}
	f.send(f.stdin, "input_reply", map[string]any{"value": "a line"})
	if r := f.finish(id); r.stdout != "got a line\n" {
		t.Errorf("%+v", r)
	}
	if r := f.run(code, map[string]any{"allow_stdin": false}); r.Class != "InputRefused" {
		t.Errorf("%+v", r)
	}
}

func TestTwoFrontEnds(t *testing.T) {
	k := startKernel(t).start()
	a, b := k.frontEnd(), k.frontEnd()
	idA, idB := a.start("%%\nfmt.Println(\"from a\")"), b.start("%%\nfmt.Println(\"from b\")")
	if r := a.finish(idA); r.stdout != "from a\n" {
		t.Errorf("a: %+v", r)
	}
	if r := b.finish(idB); r.stdout != "from b\n" {
		t.Errorf("b: %+v", r)
	}
	// Both see both outputs; each gets its own reply only.
	if !a.wait(cellTime, func() bool { return a.idle(idB) }) || !b.wait(cellTime, func() bool { return b.idle(idA) }) {
		t.Error("a front-end does not see what the other one runs")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.replies[idB] != nil {
		t.Error("a got b's reply")
	}
}

func TestDisplays(t *testing.T) {
	f := startKernel(t).start().frontEnd()
	const send = "%%\ngonbui.SendData(&protocol.DisplayData{Data: map[protocol.MIMEType]any{\"" + MIME + "\": `"
	r := f.run(send + `{"result": {"text/html": "<b>4</b>2"}, "backend": "go", "seed": 7, "phases": {"run": 0.5}}` + "`}})\ngonbui.Sync()")
	data, _ := r.contents["execute_result"]["data"].(map[string]any)
	if data["text/html"] != "<b>4</b>2" || data["text/plain"] != "42" || r.contents["execute_result"]["execution_count"] != 1.0 {
		t.Errorf("%v", r.contents["execute_result"])
	}
	if !strings.Contains(string(r.metadata), `"backend":"go"`) || !strings.Contains(string(r.metadata), `"seed":7`) ||
		!strings.Contains(string(r.metadata), `"run":0.5`) {
		t.Errorf("metadata %s", r.metadata)
	}
	r = f.run(send + `{"grade": 2.5}` + "`}})\ngonbui.Sync()")
	if r.contents["execute_result"] != nil {
		t.Errorf("a forged grade: %v", r.contents)
	}
	r = f.run(send + `{"clear": "wait"}` + "`}})\ngonbui.Sync()")
	if r.contents["clear_output"]["wait"] != true {
		t.Errorf("%q", r.order)
	}
	r = f.run(send + `not JSON` + "`}})\ngonbui.Sync()")
	if r.Status != "ok" || !strings.Contains(r.stderr, MIME) {
		t.Errorf("%+v", r)
	}
	r = f.run("%%\ngonbui.DisplayHTML(\"<p>x &lt; y</p>\")\ngonbui.Sync()")
	data, _ = r.contents["display_data"]["data"].(map[string]any)
	if data["text/html"] != "<p>x &lt; y</p>" || data["text/plain"] != "x < y" {
		t.Errorf("%v", r.contents["display_data"])
	}
}

func TestOwnCommands(t *testing.T) {
	f := startKernel(t).start().frontEnd()
	r := f.run("%hello gopher\n%%\nfmt.Println(1)")
	if data, _ := r.contents["display_data"]["data"].(map[string]any); r.Status != "ok" || data["text/plain"] != "hello gopher" ||
		r.stdout != "1\n" || r.stderr != "" {
		t.Errorf("%+v", r)
	}
	if r := f.run("%hello\n%%\nfmt.Println(1)"); r.Class != "CommandError" || r.Text != "%hello: takes one name, and got []" ||
		r.stdout != "" {
		t.Errorf("%+v", r)
	}
	r = f.run("%time\n%%\ntime.Sleep(300*time.Millisecond)")
	var total, program float64
	if _, err := fmt.Sscanf(r.stdout, "total %f s:", &total); err != nil {
		t.Errorf("%q: %v", r.stdout, err)
	}
	if _, after, _ := strings.Cut(r.stdout, "program "); after != "" {
		_, _ = fmt.Sscanf(after, "%f s", &program)
	}
	if program < 0.2 || program > total {
		t.Errorf("a program that sleeps 0.3 s: %q", r.stdout)
	}
	// A command that stands for a setting of GoNB's.
	f.run("%setting ADVLAB_TEST=1")
	if r := f.run("%%\nfmt.Println(os.Getenv(\"ADVLAB_TEST\"))"); r.stdout != "1\n" {
		t.Errorf("%+v", r)
	}
	// A console shows text/plain alone.
	for command, want := range map[string]string{"%help": "`%hello`: says hello", "%help gonb": "GoNB Help Page"} {
		data, _ := f.run(command).contents["display_data"]["data"].(map[string]any)
		if text, _ := data["text/plain"].(string); !strings.Contains(text, want) {
			t.Errorf("%s shows %v, without %q", command, data, want)
		}
	}
	for code, want := range map[string]string{
		"%nonsense\n%%\nfmt.Println(1)":          "there is no command %nonsense: %help lists them",
		"%%time\nfmt.Println(1)":                 "there is no command %%time, but %time",
		"fmt.Println(1)\n%%bash":                 "%%bash takes the whole cell, so it has to be its first line",
		"%time 5\n%%\nfmt.Println(1)":            "%time: takes nothing, measures the rest of its cell, and got [\"5\"]",
		"%time":                                  "%time: there is nothing to measure in this cell",
		"%help me":                               "%help: takes nothing, or gonb, and got [\"me\"]",
		"!printf '%s' \\\n%nonsense > /dev/null": "",
	} {
		if r := f.run(code); r.Text != want || r.stdout != "" || want != "" && r.Class != "CommandError" {
			t.Errorf("%q: %+v, want %q", code, r, want)
		}
	}
}

func TestCheck(t *testing.T) {
	f := startKernel(t).start().frontEnd()
	if r := f.run("func Half(x int) int { return x / 2 }\nfunc Halves() error {\n\tif got := Half(5); got != 3 {\n" +
		"\t\treturn fmt.Errorf(\"Half(5) = %d, want 3\", got)\n\t}\n\treturn nil\n}"); r.Status != "ok" {
		t.Fatalf("%+v", r)
	}
	if r := f.run("%check Halves"); r.Class != "CheckFailed" || r.Text != "Halves: Half(5) = 2, want 3" || r.stdout != "" || r.stderr != "" {
		t.Errorf("%+v", r)
	}
	if r := f.run("func Half(x int) int { return (x + 1) / 2 }\n\n%check Halves\n"); r.Status != "ok" || r.stdout != "Halves: passed\n" ||
		r.stderr != "" {
		t.Errorf("%+v", r)
	}
	for code, want := range map[string]string{
		"%check":                            "%check: takes the name of a function, and got []",
		"%check 1x":                         `%check: takes the name of a function, and got ["1x"]`,
		"%check Halves\nvar x = 1":          `%check: is the last line of its cell, and "var x = 1" follows`,
		"%%\nfmt.Println(1)\n%check Halves": "%check: stands for the main program, so its cell may not have %%, %main or %test",
	} {
		if r := f.run(code); r.Class != "CommandError" || r.Text != want || r.stdout != "" {
			t.Errorf("%q: %+v", code, r)
		}
	}
	// An answer that ends the program, however it does.
	for answer, class := range map[string]string{
		"os.Exit(0)": checkFailed, "syscall.Exit(0)": checkFailed, "log.Fatal(1)": checkFailed,
		"go func() { os.Exit(0) }(); select {}": checkFailed, "panic(1)": panicked,
		"os.Stdout.Close(); os.Stderr.Close(); os.Exit(0)": checkFailed, "fmt.Println(\"Halves: passed\"); os.Exit(0)": checkFailed,
		"runtime.Goexit()": panicked,
	} {
		f.run("func Half(x int) int { " + answer + "; return 0 }")
		if r := f.run("%check Halves"); r.Status != "error" || r.Class != class {
			t.Errorf("%s: %s %s %q", answer, r.Status, r.Class, r.Text)
		}
		// As a cell of a grader's own.
		if r := f.run("if got := Half(5); got != 3 {\n\tpanic(got)\n}"); r.Status != "error" {
			t.Errorf("%s, in a cell: %s %s", answer, r.Status, r.Class)
		}
	}
	if r := f.run("%check Thirds"); r.Class != "CheckFailed" || !strings.Contains(r.Text, "Thirds is not declared") {
		t.Errorf("%+v", r)
	}
}

// What GoNB would misread or not survive.
func TestCellsThatGoNBMisreads(t *testing.T) {
	f := startKernel(t).start().frontEnd()
	if r := f.run("%%\nfmt.Println(`a\n![img](u)\n% b`)"); r.Status != "ok" || r.stdout != "a\n![img](u)\n% b\n" {
		t.Errorf("%+v", r)
	}
	if r := f.run("%%\ns := `\n!x`\nvar n int = s\n_ = n"); !strings.HasPrefix(r.Text, "cell 2, line 4: cannot use s") {
		t.Errorf("%q", r.Text)
	}
	if r := f.run("% \n!\t\n%%\nfmt.Println(1)"); r.stdout != "1\n" {
		t.Errorf("%+v", r)
	}
}

func TestFlood(t *testing.T) {
	over := t.TempDir()
	f := startKernel(t, "-overflow", over).start().frontEnd()
	const lines = 100_000 // of 500 bytes: 50 MB
	began := time.Now()
	r := f.run(fmt.Sprintf("%%%%\nw := bufio.NewWriter(os.Stdout)\n"+
		"for i := range %d { fmt.Fprintf(w, \"%%07d%%s\\n\", i, strings.Repeat(\"x\", 492)) }\nw.Flush()", lines))
	took := time.Since(began)
	if r.Status != "ok" {
		t.Fatalf("%+v", r)
	}
	head, note, _ := strings.Cut(r.stdout, "\n[…")
	files, err := filepath.Glob(filepath.Join(over, "*.txt"))
	if err != nil || len(files) != 1 || !strings.Contains(note, files[0]) {
		t.Fatalf("files %q, note %.300q", files, note)
	}
	rest, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Split(strings.TrimSuffix(head+string(rest), "\n"), "\n")
	if len(all) != lines {
		t.Fatalf("%d lines, want %d", len(all), lines)
	}
	for i, line := range all {
		if want := fmt.Sprintf("%07d%s", i, strings.Repeat("x", 492)); line != want {
			t.Fatalf("line %d is %.30q…", i, line)
		}
	}
	streams := 0
	for _, kind := range r.order {
		if kind == "stream" {
			streams++
		}
	}
	t.Logf("50 MB in %s and %d messages, %d bytes of them shown", took.Round(10*time.Millisecond), streams, len(head))
}

// A GoNB that is killed comes back with what earlier cells declared, and does not repeat what they did.
func TestGoNBDies(t *testing.T) {
	k := startKernel(t).start()
	f := k.frontEnd()
	counter := filepath.Join(t.TempDir(), "counter")
	f.run("%env RELAY_TEST value\nvar declared = 17\nfunc twice(x int) int { return 2 * x }\n%%\nfmt.Println(\"once\")")
	f.run("!echo once >> " + counter)
	elsewhere := t.TempDir()
	f.run("%cd " + elsewhere + "\n%goflags -race=false\nimport (_ \"image/png\"; _ \"image/jpeg\")\ntype pair struct{ a, b int }\n" +
		"func (p pair) sum() int { return p.a + p.b }\nconst (zero = iota; one; two)")
	id := f.start("%%\ntime.Sleep(time.Minute)")
	time.Sleep(time.Second)
	gonb := k.pid("gonb")
	if gonb == 0 {
		t.Fatalf("no GoNB among %q", k.processes())
	}
	_ = syscall.Kill(gonb, syscall.SIGKILL)
	r := f.finish(id)
	if r.Class != "GoNBDied" || !strings.Contains(r.Text, "killed") || !strings.Contains(strings.Join(r.Traceback, "\n"), "declarations") {
		t.Errorf("%+v", r)
	}
	if r := f.run("%%\nfmt.Println(twice(declared), os.Getenv(\"RELAY_TEST\"), pair{1, 2}.sum(), two)"); r.stdout != "34 value 3 2\n" ||
		r.Count != 5 {
		t.Errorf("%+v", r)
	}
	if text, _ := os.ReadFile(counter); string(text) != "once\n" {
		t.Errorf("the ! command was repeated: %q", text)
	}
	if r := f.run("%goflags\n!pwd"); r.stdout != "%goflags=[\"-race=false\"]\n"+elsewhere+"\n" {
		t.Errorf("settings are lost: %+v", r)
	}
	if r := f.run("%%\nnope()"); !strings.HasPrefix(r.Text, "cell 7, line 2") {
		t.Errorf("cells are counted wrongly after a restart: %q", r.Text)
	}
	// Between cells.
	_ = syscall.Kill(k.pid("gonb"), syscall.SIGKILL)
	if r := f.run("%%\nfmt.Println(twice(1))"); r.stdout != "2\n" && r.Class != "GoNBDied" {
		t.Errorf("%+v", r)
	}
	if r := f.run("%%\nfmt.Println(twice(2))"); r.stdout != "4\n" {
		t.Errorf("%+v", r)
	}
}

// A GoNB that hangs is noticed, between cells and in one, whether its program runs or has ended.
func TestGoNBHangs(t *testing.T) {
	t.Parallel() // it waits more than it works
	k := startKernel(t, "-beat", "300ms").start()
	f := k.frontEnd()
	f.run("var declared = 17\n%%\nfmt.Println(1)")
	shown := func(r ran) string {
		data, _ := r.contents["display_data"]["data"].(map[string]any)
		return fmt.Sprint(data["text/plain"])
	}
	restarted := func() {
		t.Helper()
		r := f.run("%%\nfmt.Println(declared)")
		if r.Class == "GoNBDied" { // it was not yet noticed
			r = f.run("%%\nfmt.Println(declared)")
		} else if !strings.Contains(shown(r), "GoNB did not answer for 6s and was ended, and was started again") {
			t.Errorf("the user is not told: %+v", r)
		}
		if r.stdout != "17\n" {
			t.Errorf("%+v", r)
		}
	}
	freeze := func() {
		t.Helper()
		if pid := k.pid("gonb"); pid == 0 || syscall.Kill(pid, syscall.SIGSTOP) != nil {
			t.Fatalf("no GoNB among %q", k.processes())
		}
	}
	old := k.pid("gonb")
	freeze()
	began := time.Now()
	eventually(t, "another GoNB", cellTime, func() bool { pid := k.pid("gonb"); return pid != 0 && pid != old })
	t.Logf("between cells: noticed after %s", time.Since(began).Round(100*time.Millisecond))
	restarted()

	id := f.start("%%\nfmt.Println(1)\ntime.Sleep(2*time.Second)")
	eventually(t, "the cell runs", cellTime, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return slices.ContainsFunc(f.messages, func(m *jupyter.Message) bool { return m.Parent.ID == id && m.Header.Type == "stream" })
	})
	freeze()
	began = time.Now()
	r := f.finish(id)
	t.Logf("in a cell: noticed after %s", time.Since(began).Round(100*time.Millisecond))
	if r.Class != "GoNBDied" || !strings.Contains(r.Text, "GoNB did") || !strings.Contains(strings.Join(r.Traceback, "\n"), "declarations") {
		t.Errorf("%+v", r)
	}
	if r := f.run("%%\nfmt.Println(declared)"); r.stdout != "17\n" || r.contents["display_data"] != nil {
		t.Errorf("after it: %+v", r)
	}
}

// Nothing is left of a kernel, however it ends.
func TestNothingIsLeft(t *testing.T) {
	for name, end := range map[string]func(k *kernel, f *frontEnd){
		"shutdown": func(_ *kernel, f *frontEnd) {
			if got := f.ask(f.control, "shutdown_request", map[string]any{"restart": false}); got["restart"] != false {
				t.Errorf("reply %v", got)
			}
		},
		"SIGTERM": func(k *kernel, _ *frontEnd) { _ = k.cmd.Process.Signal(syscall.SIGTERM) },
		"SIGKILL": func(k *kernel, _ *frontEnd) { _ = k.cmd.Process.Kill() },
		"SIGKILL of the guard, then of the relay": func(k *kernel, _ *frontEnd) {
			for _, p := range guard.Descendants(k.cmd.Process.Pid, nil) {
				if p.Parent == k.cmd.Process.Pid {
					_ = syscall.Kill(p.PID, syscall.SIGKILL)
				}
			}
			time.Sleep(300 * time.Millisecond)
			_ = k.cmd.Process.Kill()
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := startKernel(t).start()
			f := k.frontEnd()
			f.run("%%\nfmt.Println(1)")
			f.start("!setsid sleep 77 & sleep 78")
			eventually(t, "the cell runs", cellTime, func() bool { return k.pid("sleep") != 0 })
			f.ask(f.shell, "complete_request", map[string]any{"code": "unknown.", "cursor_pos": 8}) // gopls may know it
			eventually(t, "gopls runs", cellTime, func() bool { return k.pid("gopls") != 0 })
			end(k, f)
			began := time.Now()
			eventually(t, "all processes are gone", 5*time.Second, func() bool { return len(k.processes()) == 0 })
			t.Logf("processes gone after %s", time.Since(began).Round(10*time.Millisecond))
			<-k.ended
			// The relay's own directory, empty, stays after SIGKILL: the next kernel's start removes it (package session).
			left := 0
			_ = filepath.WalkDir(k.temp, func(path string, entry os.DirEntry, err error) error {
				own := err == nil && entry.IsDir() && strings.HasPrefix(entry.Name(), "relay-")
				if err == nil && path != k.temp && !own {
					left++
					t.Errorf("left: %s", path)
				}
				return nil
			})
		})
	}
}

// A Jupyter that is killed takes its kernels with it.
func TestJupyterIsKilled(t *testing.T) {
	k := startKernel(t)
	kernel := k.cmd
	k.cmd = exec.Command("sh", append([]string{"-c", `JPY_PARENT_PID=$$ "$@" & wait`, "jupyter"}, kernel.Args...)...)
	k.cmd.Env, k.cmd.Stderr, k.cmd.SysProcAttr = kernel.Env, kernel.Stderr, kernel.SysProcAttr
	k.start()
	f := k.frontEnd()
	f.run("%%\nfmt.Println(1)")
	f.start("!sleep 77")
	eventually(t, "the cell runs", cellTime, func() bool { return k.pid("sleep") != 0 })
	_ = k.cmd.Process.Kill()
	eventually(t, "all processes are gone", 5*time.Second, func() bool { return len(k.processes()) == 0 })
}

// What cells and dead GoNBs leave in the relay's process and in its TMPDIR, between cells: nothing.
func TestNothingGrows(t *testing.T) {
	t.Parallel() // it waits more than it works
	k := startKernel(t).start()
	f := k.frontEnd()
	const code = "%%\ngonbui.DisplayHTML(\"x\")\nfmt.Println(1)"
	f.run(code)
	completes(t, f, "x := strings.NewReader(\"\")\nx.", "ReadRune")
	count := func() (descriptors, files int) {
		list, err := os.ReadDir(filepath.Join("/proc", itoa(k.cmd.Process.Pid), "fd"))
		if err != nil {
			t.Skipf("this system does not list a process's files: %v", err)
		}
		_ = filepath.WalkDir(k.temp, func(path string, entry os.DirEntry, err error) error {
			if err == nil && entry.Type()&(os.ModeNamedPipe|os.ModeSocket) != 0 {
				files++
			}
			return nil
		})
		return len(list), files
	}
	descriptors, files := count()
	cells := 10
	if os.Getenv("ADVLAB_FULL") != "" {
		cells = 100
	}
	for i := range cells {
		if r := f.run(code); r.stdout != "1\n" {
			t.Errorf("%+v", r)
		}
		if i%5 == 4 {
			old := k.pid("gonb")
			_ = syscall.Kill(old, syscall.SIGKILL)
			eventually(t, "another GoNB", cellTime, func() bool { pid := k.pid("gonb"); return pid != 0 && pid != old })
			f.run("%%\npanic(1)")
		}
	}
	f.run(code)
	var more, pipes int
	ok := func() bool { more, pipes = count(); return more <= descriptors+1 && pipes <= files }
	for deadline := time.Now().Add(5 * time.Second); !ok() && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
	}
	if !ok() {
		t.Errorf("%d descriptors, %d pipes and sockets before; %d and %d after %d cells", descriptors, files, more, pipes, cells)
	}
	if dirs, _ := filepath.Glob(filepath.Join(k.temp, "relay-*", "[0-9]*")); len(dirs) != 1 {
		t.Errorf("directories of GoNBs: %q", dirs)
	}
	t.Logf("%d descriptors, %d pipes and sockets before; %d and %d after %d cells", descriptors, files, more, pipes, cells)
}

// Comms are GoNB's; which are open is known here.
func TestComms(t *testing.T) {
	f := startKernel(t).start().frontEnd()
	f.run("%%\nfmt.Println(1)") // GoNB is there
	open := func(target string) string {
		reply := f.ask(f.shell, "comm_info_request", map[string]any{"target_name": target})
		return fmt.Sprint(reply["comms"])
	}
	f.send(f.shell, "comm_open", map[string]any{"comm_id": "c1", "target_name": "gonb_comm", "data": map[string]any{}})
	if got := open(""); got != "map[c1:map[target_name:gonb_comm]]" {
		t.Errorf("open comms %s", got)
	}
	if got := open("other"); got != "map[]" {
		t.Errorf("open comms of another target %s", got)
	}
	f.send(f.shell, "comm_close", map[string]any{"comm_id": "c1", "data": map[string]any{}})
	if got := open(""); got != "map[]" {
		t.Errorf("open comms after comm_close %s", got)
	}
	if r := f.run("%%\nfmt.Println(2)"); r.stdout != "2\n" {
		t.Errorf("%+v", r)
	}
}

func TestRestarts(t *testing.T) {
	times := 20
	if testing.Short() {
		times = 3
	}
	k := startKernel(t)
	before := len(guard.Processes())
	for i := range times {
		next := *k
		next.cmd = cloneCommand(k)
		next.ended = make(chan struct{})
		next.start()
		f := next.frontEnd()
		if r := f.run(fmt.Sprintf("%%%%\nfmt.Println(%d)", i)); r.stdout != fmt.Sprintf("%d\n", i) || r.Count != 1 {
			t.Fatalf("%+v", r)
		}
		if got := f.ask(f.control, "shutdown_request", map[string]any{"restart": true}); got["restart"] != true {
			t.Errorf("reply %v", got)
		}
		select {
		case <-next.ended:
		case <-time.After(10 * time.Second):
			t.Fatal("the kernel goes on")
		}
		for _, s := range []*zmtp.Socket{f.shell, f.control, f.stdin, f.iopub} {
			s.Close()
		}
	}
	eventually(t, "no process more", 5*time.Second, func() bool { return len(k.processes()) == 0 })
	// Neither files nor named pipes nor sockets.
	if left, err := os.ReadDir(k.temp); err != nil || len(left) > 0 {
		t.Errorf("left in its TMPDIR: %v (%v)", left, err)
	}
	t.Logf("%d processes before, %d after", before, len(guard.Processes()))
}

// Strangers at every port, then a cell.
func TestMalformedFrames(t *testing.T) {
	k := startKernel(t).start()
	f := k.frontEnd()
	for _, s := range []*zmtp.Socket{f.shell, f.control, f.stdin} {
		good := jupyter.NewCodec(k.connection.Key)
		m, err := jupyter.New(f.session, "execute_request", nil, map[string]any{"code": "!touch " + filepath.Join(k.temp, "owned")})
		if err != nil {
			t.Fatal(err)
		}
		for _, parts := range [][][]byte{
			{[]byte("no delimiter")},
			{[]byte("<IDS|MSG>")},
			{[]byte("<IDS|MSG>"), nil, nil, nil},
			jupyter.NewCodec("wrong key").Encode(m),
			jupyter.NewCodec("").Encode(m),
		} {
			if err := s.Send(parts); err != nil {
				t.Fatal(err)
			}
		}
		m.Content = json.RawMessage(`[`)
		if err := s.Send(good.Encode(m)); err != nil {
			t.Fatal(err)
		}
	}
	for _, port := range []int{k.connection.Shell, k.connection.IOPub, k.connection.Control, k.connection.Stdin, k.connection.Heartbeat} {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = conn.Write([]byte("GET / HTTP/1.1\r\n\r\n" + strings.Repeat("\xff", 1000)))
	}
	if r := f.run("%%\nfmt.Println(1)"); r.stdout != "1\n" || r.Count != 1 {
		t.Errorf("%+v", r)
	}
	// The same message twice is executed once.
	m, err := jupyter.New(f.session, "execute_request", nil, map[string]any{"code": "!echo twice"})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := f.shell.Send(f.codec.Encode(m)); err != nil {
			t.Fatal(err)
		}
	}
	if r := f.finish(m.Header.ID); r.stdout != "twice\n" {
		t.Errorf("%+v", r)
	}
	if r := f.run("%%\nfmt.Println(2)"); r.Count != 3 {
		t.Errorf("count %d, want 3: a replayed message was executed", r.Count)
	}
	if _, err := os.Stat(filepath.Join(k.temp, "owned")); err == nil {
		t.Error("an unsigned command was executed")
	}
	_ = k.cmd.Process.Signal(syscall.SIGTERM)
	<-k.ended
	if got := k.log.String(); !strings.Contains(got, "9 not a message, 6 wrong signature, 1 sent before, 3 not what the protocol says") {
		t.Errorf("the counts are not in the log:\n%s", got)
	}
}

// What a browser's reloads do, while a cell prints.
func TestReconnects(t *testing.T) {
	times := 200
	if testing.Short() {
		times = 20
	}
	k := startKernel(t).start()
	f := k.frontEnd()
	id := f.start("%%\nfor i := range 300 { fmt.Println(i); time.Sleep(10*time.Millisecond) }")
	for range times {
		s, err := zmtp.Dial(zmtp.Sub, k.connection.Endpoint(k.connection.IOPub), zmtp.Options{})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
		s.Close()
	}
	r := f.finish(id)
	if strings.Count(r.stdout, "\n") != 300 {
		t.Errorf("%d lines, want 300", strings.Count(r.stdout, "\n"))
	}
	if later := k.frontEnd().run("%%\nfmt.Println(1)"); later.stdout != "1\n" {
		t.Errorf("a new front-end: %+v", later)
	}
}

// Questions never hold up a cell, and are answered within a second, whatever gopls does.
func TestQuestionsDoNotHoldUpCells(t *testing.T) {
	f := startKernel(t).start().frontEnd()
	f.run("var kept = 5\n%%\nfmt.Println(0)")
	questions := func() {
		t.Helper()
		for _, code := range []string{"func f() {", "", "\x00", "*[*", "x := kept", "%%\nx := strings.NewReader(\"\")\nx.Re", "%%\nx", "é.ü(",
			"\n\n", "package", "!ls", "%%bash\nls", "a\r\nb.", "%%", "%"} {
			for _, kind := range []string{"complete_request", "inspect_request"} {
				began := time.Now()
				reply := f.ask(f.shell, kind, map[string]any{"code": code, "cursor_pos": len([]rune(code))})
				if took := time.Since(began); reply["status"] != "ok" || took > 2*time.Second { // AnswerLimit, on a machine with nothing else to do
					t.Errorf("%s of %q: %v after %s", kind, code, reply, took)
				}
			}
		}
		began := time.Now()
		if r := f.run("%%\nfmt.Println(kept)"); r.stdout != "5\n" || time.Since(began) > 10*time.Second {
			t.Errorf("the cell behind them: %+v after %s", r, time.Since(began))
		}
	}
	questions() // gopls is starting
	completes(t, f, "x := strings.NewReader(\"\")\nx.", "ReadRune")
	questions()
	stopped := f.k.pid("gopls")
	if stopped == 0 {
		t.Fatal("gopls does not run: nobody has asked it")
	}
	_ = syscall.Kill(stopped, syscall.SIGSTOP)
	questions()
	_ = syscall.Kill(stopped, syscall.SIGKILL)
	questions()
	completes(t, f, "x := strings.NewReader(\"\")\nx.", "ReadRune")
}

// completes asks for a completion at the end of the code until gopls has loaded what it needs.
func completes(t *testing.T, f *frontEnd, code, want string) map[string]any {
	t.Helper()
	var reply map[string]any
	eventually(t, "a completion of "+code, cellTime, func() bool {
		reply = f.ask(f.shell, "complete_request", map[string]any{"code": code, "cursor_pos": len([]rune(code))})
		list, _ := reply["matches"].([]any)
		return slices.Contains(list, any(want))
	})
	return reply
}

// What is known at the cursor, also while a cell runs: types of earlier cells, fields, methods, packages beyond the
// standard library, and what they are documented with.
func TestAnswersKnowTypes(t *testing.T) {
	f := startKernel(t).start().frontEnd()
	f.run("type Point struct {\n\tWidth, Height int // in pixels\n}\n\n// Area is what it covers.\n" +
		"func (p Point) Area() int { return p.Width * p.Height }\n\nvar r = strings.NewReader(\"x\")\n%%\nfmt.Println(r.Len())")
	id := f.start("%%\ntime.Sleep(20*time.Second)")
	completes(t, f, "%%\np := Point{}\np.", "Area")
	for code, want := range map[string]string{
		"p := Point{}\np.Wi":                             "Width",
		"r.ReadR":                                        "ReadRune",
		"func f(p Point) {\n\tp.":                        "Height",
		"%%\nstrings.NewReader(\"\").Re":                 "ReadByte",
		"import \"advlab/advlib/attack\"\n%%\nattack.PG": "PGD",
		"é := Point{}; fmt.Println(\"😀\"); é.A":          "Area",
		"http.Get(\"\"); json.Mars":                      "MarshalIndent",
	} {
		reply := completes(t, f, code, want)
		if start := int(reply["cursor_start"].(float64)); !strings.HasPrefix(want, string([]rune(code)[start:])) {
			t.Errorf("%q: the matches begin at %d", code, start)
		}
	}
	inspect := func(code string, cursor int) string {
		reply := f.ask(f.shell, "inspect_request", map[string]any{"code": code, "cursor_pos": cursor, "detail_level": 0})
		data, _ := reply["data"].(map[string]any)
		return fmt.Sprint(data["text/plain"])
	}
	for code, want := range map[string]string{"p := Point{}\np.Area": "Area is what it covers.", "r.ReadRune": "ReadRune implements",
		"Point{}.Width":       "in pixels",
		"fmt.Printf(\"%d\", ": "Printf formats according to a format specifier"} {
		eventually(t, fmt.Sprintf("what %q is documented with: %q", code, want), cellTime, func() bool {
			return strings.Contains(inspect(code, len([]rune(code))), want)
		})
	}
	f.mu.Lock()
	if f.replies[id] != nil {
		t.Log("the cell has ended before the questions were answered")
	}
	f.mu.Unlock()
	f.ask(f.control, "interrupt_request", map[string]any{})
	f.finish(id)
}

// Without GoNB, cells say so, and all else is answered.
func TestGoNBDoesNotStart(t *testing.T) {
	f := startKernel(t, "-gonb", "/does-not-exist/gonb").start().frontEnd()
	for range 2 {
		if r := f.run("%%\nfmt.Println(1)"); r.Class != "GoNBDied" || r.Text == "" {
			t.Errorf("%+v", r)
		}
	}
	if got := f.ask(f.shell, "is_complete_request", map[string]any{"code": "func f() {}"}); got["status"] != "complete" {
		t.Errorf("%v", got)
	}
}
