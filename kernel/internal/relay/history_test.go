package relay

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func n(i int) *int { return &i }

func TestHistory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sub", "history.jsonl")
	for session := 1; session <= 2; session++ {
		h, err := openHistory(file)
		if err != nil {
			t.Fatal(err)
		}
		if h.session != session {
			t.Errorf("session %d, want %d", h.session, session)
		}
		for i, code := range []string{"fmt.Println(1)", "var x = 1", "fmt.Println(1)"} {
			if err := h.add(i+1, code); err != nil {
				t.Fatal(err)
			}
		}
		if session == 1 { // a damaged line must not take the others with it
			f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(f, `{"session": 1, "li`)
			f.Close()
		}
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("mode %o, want 600", mode)
	}
	h, err := openHistory(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.add(1, "now"); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		q    historyRequest
		want string
	}{
		{historyRequest{Type: "tail", N: n(2)}, "[[2 3 fmt.Println(1)] [3 1 now]]"},
		{historyRequest{Type: "tail", N: n(0)}, "[]"},
		{historyRequest{Type: "tail", N: n(1), Output: true}, "[[3 1 [now <nil>]]]"},
		{historyRequest{Type: "range", Session: 0, Start: 1}, "[[3 1 now]]"},
		{historyRequest{Type: "range", Session: -1, Start: 2, Stop: n(3)}, "[[2 2 var x = 1]]"},
		{historyRequest{Type: "range", Session: 1, Start: 1, Stop: n(2)}, "[[1 1 fmt.Println(1)]]"},
		{historyRequest{Type: "search", Pattern: "fmt*", Unique: true}, "[[2 3 fmt.Println(1)]]"},
		{historyRequest{Type: "search", Pattern: "*Print*", N: n(3)}, "[[1 3 fmt.Println(1)] [2 1 fmt.Println(1)] [2 3 fmt.Println(1)]]"},
		{historyRequest{Type: "search", Pattern: "nothing*"}, "[]"},
	} {
		if got := fmt.Sprint(h.find(test.q)); got != test.want {
			t.Errorf("find(%+v) = %s, want %s", test.q, got, test.want)
		}
	}
}

func TestLongHistoryIsTidied(t *testing.T) {
	file := filepath.Join(t.TempDir(), "h")
	var b strings.Builder
	for i := range historyMost + 1 {
		fmt.Fprintf(&b, `{"session":1,"line":%d,"code":"x"}`+"\n", i+1)
	}
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openHistory(file); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(text), "\n"); got != historyKept {
		t.Errorf("%d lines are kept, want %d", got, historyKept)
	}
	if !strings.Contains(string(text), fmt.Sprintf(`"line":%d,`, historyMost+1)) {
		t.Error("the latest is not among them")
	}
}

func TestGlob(t *testing.T) {
	for _, test := range []struct {
		pattern, text string
		want          bool
	}{
		{"*", "any\nthing", true},
		{"a*c", "a\nb/c", true},
		{"a?c", "aéc", true},
		{"[a-c]x", "bx", true},
		{"[^a-c]x", "bx", false},
		{"[", "[", true},
		{"", "", true},
		{"", "a", false},
		{strings.Repeat("*a", 50) + "b", strings.Repeat("a", 10_000), false}, // and not for ever
	} {
		if got := glob(test.pattern, test.text); got != test.want {
			t.Errorf("glob(%.20q, %.20q) = %v", test.pattern, test.text, got)
		}
	}
}

// A folder that cannot be written, as in an image, costs one error, not one for each cell.
func TestHistoryThatCannotBeWritten(t *testing.T) {
	h, err := openHistory(filepath.Join(t.TempDir(), "history.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	h.file = filepath.Join(os.DevNull, "history.jsonl") // no folder, for nobody
	if err := h.add(1, "a"); err == nil {
		t.Fatal("no error")
	}
	if err := h.add(2, "b"); err != nil {
		t.Errorf("a second error: %v", err)
	}
	if n := 2; len(h.find(historyRequest{Type: "tail", N: &n})) != 2 {
		t.Error("the cells are not remembered")
	}
}
