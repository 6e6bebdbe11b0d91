package session

import (
	"testing"
	"time"
)

func TestCellLimit(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 0, "90s": 90 * time.Second, "10m": 10 * time.Minute} {
		t.Setenv(CellLimit, text)
		if got, err := cellLimit(); err != nil || got != want {
			t.Errorf("%q: %s, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"10", "-1s", "0s", "soon"} {
		t.Setenv(CellLimit, text)
		if got, err := cellLimit(); err == nil {
			t.Errorf("%q is %s", text, got)
		}
	}
}

func TestHistoryFile(t *testing.T) {
	for _, test := range []struct{ variable, cache, want string }{
		{"", "/cache", "/cache/history.jsonl"}, {"", "", ""}, {"off", "/cache", ""}, {"/h", "/cache", "/h"}, {"/h", "", "/h"},
	} {
		t.Setenv(History, test.variable)
		if got := historyFile(test.cache); got != test.want {
			t.Errorf("%+v: %q", test, got)
		}
	}
}
