package relay

import (
	"slices"
	"strings"
	"testing"
	"time"

	"advlab/kernel/internal/cell"
	"advlab/kernel/internal/compose"
)

// A program with cgo in which all goroutines wait for each other says so, and goes on until it is interrupted.
func TestDeadlock(t *testing.T) {
	t.Parallel() // it waits more than it works
	f := startKernel(t).start().frontEnd()
	id := f.start("import _ \"net\"\nfunc take(c chan int) { <-c }\n%%\nc := make(chan int)\nfor range 3 {\n\tgo take(c)\n}\nselect {}")
	told := ""
	f.wait(cellTime, func() bool {
		for _, m := range f.messages {
			if m.Parent.ID == id && m.Header.Type == "display_data" {
				told = string(m.Content)
			}
		}
		return told != ""
	})
	for _, want := range []string{"nothing moves any more", `  select (no cases), cell 1, line 8\n`, "3 times chan receive, cell 1, line 2"} {
		if !strings.Contains(told, want) {
			t.Errorf("the notice lacks %q: %s", want, told)
		}
	}
	time.Sleep(50 * time.Millisecond)
	f.ask(f.control, "interrupt_request", map[string]any{})
	if r := f.finish(id); r.Class != "Interrupted" {
		t.Errorf("%+v", r)
	}
	if r := f.run("fmt.Println(1)"); r.stdout != "1\n" || r.contents["display_data"] != nil {
		t.Errorf("the next cell: %+v", r)
	}
}

func TestWaiting(t *testing.T) {
	const code = "func f(c chan int) {\n\t<-c\n}\n%%\nf(nil)"
	p, err := new(compose.Notebook).Compose(t.Context(), nil, compose.Origin{Number: 4}, code, cell.Parse(code))
	if err != nil {
		t.Fatal(err)
	}
	const one = "[chan receive (nil chan), 2 minutes]:\nmain.f(...)\n\t/t/gonb_1/cell_00000.go:2\n" +
		"main.main.func1()\n\t/t/gonb_1/cell_00000.go:5 +0x1d"
	const other = "[select]:\nnet/http.(*persistConn).writeLoop(0xc000)\n\t/go/src/net/http/transport.go:2600 +0xe7"
	got := evidence{program: p}.waiting("goroutine 1 " + one + "\n\ngoroutine 7 " + one + "\n\ngoroutine 9 " + other)
	want := []string{"  2 times chan receive (nil chan), cell 4, line 2", "  select, in net/http.(*persistConn).writeLoop"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
