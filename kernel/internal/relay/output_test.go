package relay

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

type emitted struct{ name, text string }

func collect(o *output) *[]emitted {
	var list []emitted
	o.emit = func(name, text string) { list = append(list, emitted{name, text}) }
	return &list
}

func TestOutputIsMerged(t *testing.T) {
	o := &output{limit: 1 << 20}
	got := collect(o)
	began := time.Now()
	const n = 20_000
	for i := range n {
		o.add("stdout", fmt.Sprintln("line", i))
		if i%100 == 0 {
			o.add("stderr", "é\n")
		}
	}
	o.finish()
	most := (int(time.Since(began)/flushEvery) + 2) * maxSegments
	if len(*got) > most {
		t.Errorf("%d messages, want at most %d", len(*got), most)
	}
	var stdout, stderr strings.Builder
	for _, e := range *got {
		if e.name == "stdout" {
			stdout.WriteString(e.text)
		} else {
			stderr.WriteString(e.text)
		}
	}
	if strings.Count(stdout.String(), "\n") != n || !strings.HasSuffix(stdout.String(), "line 19999\n") {
		t.Errorf("stdout has %d lines", strings.Count(stdout.String(), "\n"))
	}
	if stderr.String() != strings.Repeat("é\n", n/100) {
		t.Errorf("stderr has %d bytes", stderr.Len())
	}
}

func TestOrderOfStreams(t *testing.T) {
	o := &output{limit: 1 << 20, flushed: time.Now()}
	got := collect(o)
	for _, e := range []emitted{{"stdout", "a"}, {"stdout", "b"}, {"stderr", "c"}, {"stdout", "d"}} {
		o.add(e.name, e.text)
	}
	o.finish()
	if s := fmt.Sprint(*got); s != "[{stdout ab} {stderr c} {stdout d}]" {
		t.Error(s)
	}
}

func TestOutputIsCut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "over")
	o := &output{limit: 1001, dir: dir, name: "cell-1.txt"} // an odd number: within a character of two bytes
	got := collect(o)
	for i := range 500 {
		o.add("stdout", fmt.Sprintf("%d%s\n", i, strings.Repeat("é", 20)))
	}
	o.finish()
	var shown strings.Builder
	for _, e := range *got {
		if !utf8.ValidString(e.text) {
			t.Errorf("a character was cut: %q", e.text)
		}
		shown.WriteString(e.text)
	}
	file := filepath.Join(dir, "cell-1.txt")
	if !strings.Contains(shown.String(), file) || !strings.HasSuffix(shown.String(), "499"+strings.Repeat("é", 20)+"\n") {
		t.Errorf("the end of what is shown: %q", shown.String()[max(0, shown.Len()-300):])
	}
	head, _, _ := strings.Cut(shown.String(), "\n[…")
	rest, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(head, "0é") || len(head) > 1001 {
		t.Errorf("%d bytes are shown", len(head))
	}
	all := head + string(rest)
	if strings.Count(all, "\n") != 500 || !strings.HasSuffix(all, "499"+strings.Repeat("é", 20)+"\n") {
		t.Errorf("shown and kept together have %d lines, want 500", strings.Count(all, "\n"))
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("mode %o, want 600", mode)
	}
}

func TestOldOutputsAreRemoved(t *testing.T) {
	dir := t.TempDir()
	for name, age := range map[string]time.Duration{"1-cell-1.txt": 8 * 24 * time.Hour, "2-cell-2.txt": time.Hour,
		"mine.txt": 8 * 24 * time.Hour} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	f, err := create(dir, "3-cell-3.txt")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 3 || filepath.Base(files[0]) != "2-cell-2.txt" {
		t.Errorf("left are %q (%v)", files, err)
	}
}

func TestOutputThatCannotBeKept(t *testing.T) {
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{"": "is not kept", blocked: "could not be kept"} {
		o := &output{limit: 10, dir: dir, name: "x"}
		got := collect(o)
		o.add("stdout", strings.Repeat("x", 100))
		o.finish()
		if last := (*got)[len(*got)-1].text; !strings.Contains(last, want) {
			t.Errorf("%q, want %q in it", last, want)
		}
	}
}

func TestInPlace(t *testing.T) {
	for text, want := range map[string]string{
		"plain\n":                     "plain\n",
		"10%\r20%\r30%\n":             "10%\r30%\n",
		"\r 1/9\r 2/9\r 3/9":          "\r 3/9",
		"start\rlonger part\rshort\n": "start\rlonger part\rshort\n", // the middle one shows behind the last
		"a\r\nb\r\n":                  "a\r\nb\r\n",
	} {
		if got := inPlace(text); got != want {
			t.Errorf("inPlace(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestPlainText(t *testing.T) {
	for source, want := range map[string]string{
		"<b>x</b>":                    "x",
		"<style>p{}</style><p>a</p>b": "a\nb",
		"<table><tr><td>1</td><td>2</td></tr><tr><td>3</td></tr></table>": "1\t2\n3",
		"a &lt; b &amp;&amp; c":    "a < b && c",
		"<script>run()</script>":   "[HTML]",
		"x<br/>y<!-- not this -->": "x\ny",
	} {
		if got := plainText(source); got != want {
			t.Errorf("plainText(%q) = %q, want %q", source, got, want)
		}
	}
}

func TestMendedWidgetURL(t *testing.T) {
	// The line of gonb v0.11.5, internal/websocket/websocket.js:47.
	data := map[string]any{"text/html": `<script>_ws_url: "ws://" + document.location.host + "/api/kernels/{{.KernelId}}/channels",</script>`}
	mend(data)
	got := data["text/html"].(string)
	if strings.Contains(got, `_ws_url: "ws://"`) || !strings.Contains(got, `"wss://"`) || !strings.Contains(got, "baseUrl") ||
		!strings.HasSuffix(got, `"api/kernels/{{.KernelId}}/channels",</script>`) {
		t.Error(got)
	}
}
