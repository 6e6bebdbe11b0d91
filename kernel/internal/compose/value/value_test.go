package value

import (
	"errors"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type drawing struct{ svg string }

func (d drawing) SVG() string    { return d.svg }
func (d drawing) HTML() string   { return "<b>not beside a picture</b>" }
func (d drawing) String() string { return "drawing " + d.svg }

type table struct{}

func (table) HTML() string   { return "<table/>" }
func (table) String() string { return "a table" }

type named struct{ A, B int }

type broken struct{}

func (*broken) Error() string { panic("of nil") }

// A value's forms, and what is no value.
func TestForms(t *testing.T) {
	var nothing *named
	var noError *broken
	for _, test := range []struct {
		is     int
		values []any
		want   string // forms without PNG, each "number type text"
	}{
		{0, []any{2}, "0 text/plain 2|"},
		{0, []any{"two\nlines"}, "0 text/plain two\nlines|"},
		{0, []any{""}, "0 text/plain \"\"|"},
		{0, []any{nil}, ""},
		{0, []any{nothing}, ""},
		{0, []any{struct{}{}}, ""},
		{0, []any{named{1, 2}}, "0 text/plain {A:1 B:2}|"},
		{0, []any{&named{1, 2}}, "0 text/plain &{A:1 B:2}|"},
		{0, []any{3 * time.Second}, "0 text/plain 3s|"},
		{0, []any{errors.New("an error")}, "0 text/plain an error|"},
		{0, []any{strings.ToUpper}, "0 text/plain func(string) string|"},
		{0, []any{make(chan int)}, "0 text/plain chan int|"},
		{0, []any{make([]float32, 1001)}, "0 text/plain [0 0 0 … 0 0 0] (1001 elements)|"},
		{0, []any{make([]bool, 3)}, "0 text/plain [false false false]|"},
		{0, []any{drawing{"<svg/>"}}, "0 image/svg+xml <svg/>|0 text/plain drawing <svg/>|"},
		{0, []any{table{}}, "0 text/html <table/>|0 text/plain a table|"},
		{0, []any{image.NewGray(image.Rect(0, 0, 3, 2))}, "0 image/png|0 text/plain image of 3 × 2 pixels|"},
		{call__, []any{1, 0.5}, "0 text/plain 1|1 text/plain 0.5|"},
		{call__, []any{1, nil}, "0 text/plain 1|"},
		{call__, []any{1, noError}, "0 text/plain 1|"},
		{call__, []any{nil}, ""},
		{call__, nil, ""},
		{call__ | counts__, []any{12, nil}, ""},
		{call__ | counts__, []any{int64(12), nil}, ""},
		{call__ | counts__, []any{true}, "0 text/plain true|"},
	} {
		file := filepath.Join(t.TempDir(), "result")
		value__(file, test.is)(test.values...)
		data, err := os.ReadFile(file)
		if (err != nil) != (test.want == "") {
			t.Errorf("%#v: %v", test.values, err)
		}
		got := ""
		for rest := string(data); rest != ""; {
			var i, n int
			var kind string
			head, body, _ := strings.Cut(rest, "\n")
			if _, err := fmt.Sscan(head, &i, &kind, &n); err != nil || n > len(body) {
				t.Fatalf("%#v: %q: %v", test.values, data, err)
			}
			got += fmt.Sprint(i, " ", kind)
			if kind != "image/png" {
				got += " " + body[:n]
			} else if !strings.HasPrefix(body, "\x89PNG") {
				t.Errorf("%#v: no PNG: %q", test.values, body)
			}
			got, rest = got+"|", body[n:]
		}
		if got != test.want {
			t.Errorf("%#v: got %q, want %q", test.values, got, test.want)
		}
	}
}

// An error of a call fails the cell.
func TestErrorOfACallIsThrown(t *testing.T) {
	failed := errors.New("it failed")
	defer func() {
		if r := recover(); r != failed {
			t.Errorf("panic with %v, want %v", r, failed)
		}
	}()
	value__(filepath.Join(t.TempDir(), "result"), call__)(1, failed)
}
