package pump

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// Pieces are whole lines, or else whole characters, and together they are the text; what is no UTF-8 is passed on, too.
func TestPiece(t *testing.T) {
	for _, text := range []string{"", "a", "äöü", "日本語", "😀😀😀", "a\nb\nc", "\xff\xfe", "ä\xc3", "ä\xe6\x97", "😀\xf0\x9f\x98",
		strings.Repeat("é", 50) + "\n" + strings.Repeat("日", 50)} {
		for most := 4; most < 40; most++ {
			rest, all := []byte(text), ""
			for len(rest) > 0 {
				n := piece(rest, most)
				if n == 0 { // the beginning of a character at the end
					if utf8.FullRune(rest) {
						t.Fatalf("%q waits", rest)
					}
					n = len(rest)
				} else if part := rest[:n]; utf8.ValidString(text) && !utf8.Valid(part) {
					t.Fatalf("%q of %q is cut", part, text)
				}
				all += string(rest[:n])
				rest = rest[n:]
			}
			if all != text {
				t.Fatalf("%q became %q", text, all)
			}
		}
	}
	if n := piece([]byte("one\ntwo\nthree"), 10); n != len("one\ntwo\n") {
		t.Errorf("the first piece has %d bytes", n)
	}
}

func TestCommand(t *testing.T) {
	for _, test := range []struct{ args, want []string }{
		{[]string{"/t/gonb_0123abcd", "-x", "y"}, []string{"/t/gonb_0123abcd" + CellSuffix, "-x", "y"}},
		{[]string{"/t/" + ShellName, "bash", "-c", "ls"}, []string{"bash", "-c", "ls"}},
		{[]string{"/t/" + ShellName}, nil},
		{nil, nil},
	} {
		if got := Command(test.args); fmt.Sprint(got) != fmt.Sprint(test.want) {
			t.Errorf("%q: %q, want %q", test.args, got, test.want)
		}
	}
}
