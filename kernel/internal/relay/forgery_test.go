package relay

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The course's cells: a function of the course's own, a check, one that panics, and one that gives points.
const (
	forgeHelper = "func want(x int) int { return x / 2 }"
	forgeCheck  = "func halves() error {\n\tif got := half(6); got != want(6) {\n\t\treturn fmt.Errorf(\"half(6) is %d, not %d\", got, want(6))\n\t}\n" +
		"\treturn nil\n}\n%check halves"
	forgePanic = "%%\nif half(-2) != -1 {\n\tpanic(\"half(-2) is not -1\")\n}"
	forgeGrade = "%%\npoints := 0.\nfor _, x := range []int{2, 3, -4, 0} {\n\tif half(x) == x/2 {\n\t\tpoints++\n\t}\n}\nshow.Grade(points)"
)

// wrong is right for 0 alone.
const wrong = "func half(x int) int { return x }\n"

// bundle sends the kernel a message of the private type, as show.Grade does.
const bundle = "func half(x int) int {\n\tgonbui.SendData(&protocol.DisplayData{Data: map[protocol.MIMEType]any{\"" + MIME + "\": %s}})\n" +
	"\tgonbui.Sync()\n\treturn x\n}"

// forgeries are answers, as students who know Go would write them, to get points without the answer. What each gets
// stands in HOW_IT_WORKS.md.
var forgeries = []struct {
	name, answer string
	check        string
	points       float64
	note         string // that the teacher sees in the graded cell
}{
	{"right", "func half(x int) int { return x / 2 }", forgeCheck, 4, ""},
	{"right, with points", "func half(x int) int { return x / 2 }", forgeGrade, 4, ""},
	{"half right", wrong, forgeGrade, 1, ""},
	{"os.Exit", "func half(x int) int { os.Exit(0); return 0 }", forgeCheck, 0, ""},
	{"syscall.Exit", "func half(x int) int { syscall.Exit(0); return 0 }", forgeCheck, 0, "it has syscall.Exit"},
	{"an exit before main", "func init() { os.Exit(0) }\n" + wrong, forgeCheck, 0, ""},
	{"an exit while variables are initialised", "var early = func() int { os.Exit(0); return 0 }()\nfunc half(x int) int { return early }",
		forgeCheck, 0, ""},
	{"another program", "func half(x int) int { syscall.Exec(\"/bin/true\", []string{\"true\"}, nil); return 0 }", forgeCheck, 0, "syscall.Exec"},
	{"Goexit, and an exit beside it", "func half(x int) int {\n\tgo func() { time.Sleep(50 * time.Millisecond); os.Exit(0) }()\n\truntime.Goexit()\n" +
		"\treturn 0\n}", forgePanic, 0, ""},
	{"a panic whose text exits", "type exits struct{}\nfunc (exits) Error() string { os.Exit(0); return \"\" }\nfunc half(x int) int { panic(exits{}) }",
		forgePanic, 0, ""},
	{"a panic that is recovered", "func half(x int) (y int) { defer func() { recover() }(); panic(1) }", forgeCheck, 0, ""},
	{"a goroutine that exits", "func half(x int) int { go os.Exit(0); time.Sleep(50 * time.Millisecond); return x }", forgeCheck, 0, ""},
	{"prints that look like marks", "func half(x int) int { fmt.Println(\"halves: passed\"); fmt.Println(4); fmt.Fprintln(os.Stderr, \"ok\"); return x }",
		forgeCheck, 0, ""},
	{"closed descriptors", "func half(x int) int {\n\tos.Stdout.Close()\n\tos.Stderr.Close()\n\tfor fd := 3; fd < 64; fd++ {\n\t\tsyscall.Close(fd)\n\t}\n" +
		"\treturn x\n}", forgeCheck, 0, "syscall.Close"},
	{"stderr into stdout", "func half(x int) int { os.Stderr = os.Stdout; return x }", forgeCheck, 0, ""},
	{"show.Grade", "func half(x int) int { show.Grade(4); return x }", forgeGrade, 0, ""},
	{"show.Grade that is deferred", "func half(x int) int { defer show.Grade(4); return x }", forgeGrade, 0, ""},
	{"show.Grade by reflection", "func half(x int) int { reflect.ValueOf(show.Grade).Call([]reflect.Value{reflect.ValueOf(4.)}); return x }",
		forgeGrade, 0, ""},
	{"show.Grade of its own", "type grader struct{}\nfunc (grader) Grade(float64) {}\nvar show grader\n" + wrong, forgeGrade, 1, ""},
	{"no kernel", "func half(x int) int { os.Unsetenv(\"ADVLAB_RELAY\"); os.Unsetenv(\"GONB_PIPE\"); return x }", forgeGrade, 1, ""},
	{"no notebook", "func half(x int) int { gonbui.IsNotebook = false; return x }", forgeGrade, 1, "gonbui.IsNotebook"},
	{"no grade", "func half(x int) int {\n\tself, _ := os.Executable()\n\tgo func() {\n\t\tfor {\n\t\t\tos.Remove(self + \".grade\")\n\t\t}\n\t}()\n" +
		"\treturn x\n}", forgeGrade + "\ntime.Sleep(100 * time.Millisecond)", 0, "os.Executable"},
	{"a grade of its own signature", "func half(x int) int {\n\tself, _ := os.Executable()\n\tgo func() {\n\t\tfor {\n" +
		"\t\t\tos.WriteFile(self+\".grade\", []byte(\"4 00\"), 0o600)\n\t\t}\n\t}()\n\treturn x\n}",
		forgeGrade + "\ntime.Sleep(100 * time.Millisecond)", 0, "os.Executable"},
	{"a result", "func half(x int) int { show.Result(4.); return x }", forgeGrade, 1, ""},
	{"a forged grade", fmt.Sprintf(bundle, "`{\"grade\": 4}`"), forgeGrade, 1, "gonbui.SendData"},
	{"a forged result", fmt.Sprintf(bundle, "`{\"result\": {\"text/plain\": \"4\"}}`"), forgeGrade, 1, "gonbui.SendData"},
	{"a forged grade by the pipe's name", "func half(x int) int {\n\tf, _ := os.OpenFile(os.Getenv(\"GONB_PIPE\"), os.O_WRONLY, 0)\n" +
		"\tgob.NewEncoder(f).Encode(struct{ Data map[string]string }{map[string]string{\"" + MIME + "\": `{\"grade\": 4}`}})\n\treturn x\n}",
		forgePanic, 0, ""},
	{"the checker, declared before", "func halves() error { return nil }\n" + wrong, forgeCheck, 0, "halves is what cell"},
	{"what the checker calls", "func want(x int) int { return x }\n" + wrong, forgeCheck, 0, "want is what cell"},
	{"os of its own", "type system struct{}\nfunc (system) Exit(int) {}\nvar os system\n" + wrong, forgeCheck, 0, ""},
	{"fmt of its own", "type printer struct{}\nfunc (printer) Errorf(string, ...any) error { return nil }\nvar fmt printer\n" + wrong, forgeCheck, 0, ""},
	{"fmt by another import", "import fmt \"log\"\n" + wrong, forgeCheck, 0, ""},
	{"panic and nil of its own", "func panic(any) {}\nvar nil = 0\n" + wrong, forgePanic, 0, ""},
	{"panic of its own, needed", "func panic(any) {}\nfunc half(x int) int { panic(x); return x }", forgePanic, 0, ""},
	{"functions of the kernel's", "func half(x int) int { end__(); return x }", forgeCheck, 0, ""},
	{"a main of its own", "func main() {}\n" + wrong, forgeCheck, 0, ""},
	{"a comment that moves lines", "//line main.go:1\n" + wrong, forgeCheck, 0, ""},
	{"a linker's name", "import _ \"unsafe\"\n//go:linkname half main.main.half\n" + wrong, forgeCheck, 0, `"unsafe"`},
	{"the nonce by its name", "func half(x int) int {\n\tself, _ := os.Executable()\n\tnonce, _ := os.ReadFile(self + \".nonce\")\n" +
		"\tos.WriteFile(self+\".end\", nonce, 0o600)\n\tos.Exit(0)\n\treturn 0\n}", forgeCheck, 0, "os.Executable"},
	{"the nonce by arguments and environment", "func half(x int) int {\n\tself, _ := os.Executable()\n\tfor _, s := range append(os.Environ(), os.Args...) {\n" +
		"\t\tos.WriteFile(self+\".end\", []byte(s), 0o600)\n\t}\n\tos.Exit(0)\n\treturn 0\n}", forgeCheck, 0, "os.Executable"},
	{"another directory", "func half(x int) int { os.Chdir(\"/\"); os.Setenv(\"TMPDIR\", \"/nosuch\"); os.Setenv(\"HOME\", \"/nosuch\"); return x }",
		forgeCheck, 0, ""},
	{"commands", "!true\n%env ADVLAB_RELAY=\n%env GONB_PIPE=/dev/null\n" + wrong, forgeGrade, 1, "!true"},
	{"C", "/*\nstatic int half_(int x) { return x; }\n*/\nimport \"C\"\nfunc half(x int) int { return int(C.half_(C.int(x))) }", forgeCheck, 0, ""},
	{"a process that waits for the nonce", "func half(x int) int { os.Exit(0); return 0 }\n%%\nself, _ := os.Executable()\n" +
		"waits := exec.Command(\"sh\", \"-c\", `while ! cp \"$0.nonce\" \"$0.end\"; do :; done 2>/dev/null; sleep 1`, self)\n" +
		"waits.SysProcAttr = &syscall.SysProcAttr{Setsid: true}\nwaits.Start();", forgeCheck, 0, "os.Executable"},
	{"the parent's end", "func half(x int) int { syscall.Kill(os.Getppid(), syscall.SIGKILL); time.Sleep(time.Second); return x }", forgeCheck, 0,
		"syscall.Kill"},
	{"the nonce in memory", "func half(x int) int {\n\tself, _ := os.Executable()\n\tmaps, _ := os.ReadFile(\"/proc/self/maps\")\n" +
		"\tmemory, _ := os.Open(\"/proc/self/mem\")\n\tnonce := regexp.MustCompile(`[A-Z2-7]{52}`)\n\tfor _, line := range strings.Split(string(maps), \"\\n\") {\n" +
		"\t\tvar from, to int64\n\t\tvar may string\n\t\tif fmt.Sscanf(line, \"%x-%x %s\", &from, &to, &may); may != \"rw-p\" {\n\t\t\tcontinue\n\t\t}\n" +
		"\t\ttext := make([]byte, to-from)\n\t\tmemory.ReadAt(text, from)\n\t\tif found := nonce.Find(text); found != nil {\n" +
		"\t\t\tos.WriteFile(self+\".end\", found, 0o600)\n\t\t\tos.Exit(0)\n\t\t}\n\t}\n\treturn x\n}", forgePanic, anyPoints, "look at cell"},
}

// anyPoints is what a forgery gets that may succeed, and of which the teacher is told.
const anyPoints = -2

// TestForgeries gives points as nbgrader does, for cells that it runs with what it says of them.
func TestForgeries(t *testing.T) {
	t.Parallel() // it waits more than it works
	f := startKernel(t, "-fold").start().frontEnd()
	run := func(code, cell string, locked bool, points any) ran {
		t.Helper()
		return f.finish(f.sendWith(f.shell, "execute_request", map[string]any{"code": code, "silent": false, "store_history": true,
			"user_expressions": map[string]string{}, "allow_stdin": false, "stop_on_error": false},
			map[string]any{"cellId": cell, "nbgrader": map[string]any{"locked": locked, "points": points}}))
	}
	run(forgeHelper, "helper", true, nil)
	for _, test := range forgeries {
		t.Run(test.name, func(t *testing.T) {
			answer := run(test.answer, "answer", false, nil)
			if answer.Status != "ok" {
				run("", "answer", false, nil) // in a fresh kernel it would not be there, either
				run("_ = 0;", "answer", false, nil)
			}
			began := time.Now()
			r := run(test.check, "check", true, 4.)
			if got := pointsOf(r, 4); got != test.points && test.points != anyPoints {
				t.Errorf("it gets %v points, want %v: %s %q, result %v, stdout %q, stderr %q", got, test.points, r.Class, r.Text,
					r.contents["execute_result"], r.stdout, r.stderr)
			}
			if said := fmt.Sprint(r.displays); !strings.Contains(said, test.note) || test.note == "" && strings.Contains(said, "look at cell") {
				t.Errorf("the teacher is told %q, want %q", said, test.note)
			}
			t.Logf("%v points, %.1f s: %s %s (the answer's cell: %s %s)", pointsOf(r, 4), time.Since(began).Seconds(), r.Class, r.Text, answer.Class,
				answer.Text)
		})
	}
}

// pointsOf is what nbgrader 0.9.6 gives (utils.determine_grade); -1 where it refuses to.
func pointsOf(r ran, most float64) float64 {
	if r.Status != "ok" || r.stderr != "" {
		return 0
	}
	data, _ := r.contents["execute_result"]["data"].(map[string]any)
	text, shown := data["text/plain"].(string)
	points, err := strconv.ParseFloat(text, 64)
	switch {
	case !shown || err != nil || points < 0:
		return most
	case points > most:
		return -1
	}
	return points
}
