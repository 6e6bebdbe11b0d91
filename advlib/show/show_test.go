package show

import (
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/janpfeifer/gonb/gonbui"
	"github.com/janpfeifer/gonb/gonbui/protocol"

	"advlab/advlib"
	"advlab/advlib/internal/notebook"
)

func madeTable() *Table {
	t := NewTable("attack <&>", "ε", "robust", "note")
	t.Title = "Two attacks & more"
	t.Add("FGM", 8./255, advlib.Rate{Count: 45, Of: 100}, "")
	t.Add("PGD-40", float32(0.5), advlib.Rate{Count: 5, Of: 100}, "猫 and e\u0301", "after")
	t.Add("none", math.Inf(1))
	t.Add("one", 10, "100.0 %", "<script>alert(1)</script>", "more")
	return t
}

func TestTable(t *testing.T) {
	goldenText(t, "table.txt", madeTable().String())
	html := madeTable().HTML()
	goldenText(t, "table.html", html)
	noNetwork(t, html)
	wellFormed(t, html)
	if s := (Table{}).String(); s != "" {
		t.Errorf("the empty table is %q", s)
	}
}

// Every line of a table is as wide as the rule below its header, up to trailing blanks.
func TestTableIsAligned(t *testing.T) {
	lines := strings.Split(strings.TrimRight(madeTable().String(), "\n"), "\n")[1:]
	rule := []rune(lines[1])
	for i, r := range rule {
		if r != ' ' {
			continue
		}
		for _, l := range lines {
			column, text := 0, ""
			for _, c := range l {
				if column == i {
					text = string(c)
					break
				}
				column += cellWidth(string(c))
			}
			if text != "" && text != " " {
				t.Errorf("column %d of %q is %q, want a blank", i, l, text)
			}
		}
	}
}

func TestSave(t *testing.T) {
	dir := t.TempDir()
	picture := must[Picture](t)(Grid(madeResult(t, 4, []int{4, 4}, advlib.UnitBox, 0.1), 2))
	report := madeReport("mlp", 20, 0.1, 0.1)
	for _, test := range []struct {
		name  string
		value any
		begin string
		has   string
	}{
		{"p.svg", picture, "<svg ", "</svg>"},
		{"p.png", picture, "\x89PNG", "IEND"},
		{"p.PNG", image.NewGray(image.Rect(0, 0, 2, 2)), "\x89PNG", "IEND"},
		{"p.html", picture, "<!DOCTYPE html>", "alt=\"PGD-40 Linf ≤ 0.1 on rings/test\""},
		{"p.txt", picture, "PGD-40", "success"},
		{"r.html", report, "<!DOCTYPE html>", "<title>mlp on rings/test: 20 examples"},
		{"r.json", report, "{", `"schema":"advlab.report/2"`},
		{"r.txt", report, "mlp on", "worst case"},
		{"t.html", madeTable(), "<!DOCTYPE html>", "&lt;script&gt;"},
		{"t.txt", madeTable(), "Two", "PGD-40"},
	} {
		path := filepath.Join(dir, test.name)
		if err := os.WriteFile(path, []byte("before"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Save(path, test.value); err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(got), test.begin) || !strings.Contains(string(got), test.has) {
			t.Errorf("%s begins with %.40q and should have %q and contain %q", test.name, got, test.begin, test.has)
		}
		if strings.HasSuffix(test.name, ".html") {
			noNetwork(t, string(got))
		}
	}
	var back advlib.Report
	text, _ := os.ReadFile(filepath.Join(dir, "r.json"))
	if err := json.Unmarshal(text, &back); err != nil || len(back.Label) != 20 {
		t.Errorf("the saved report reads as %d examples, %v", len(back.Label), err)
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 10 {
		t.Errorf("%d files are left, want 10: %v", len(entries), entries)
	}
}

// What cannot be saved is refused, and the file that was there stays.
func TestSaveRefuses(t *testing.T) {
	dir := t.TempDir()
	picture := must[Picture](t)(Grid(madeResult(t, 4, []int{4, 4}, advlib.UnitBox, 0.1), 2))
	for _, test := range []struct {
		name  string
		value any
		want  string
	}{
		{"x.svg", madeTable(), "use one of .html, .json, .txt"},
		{"x.png", madeReport("mlp", 5, 0.1, 0.1), "use one of .html, .json, .txt"},
		{"x.json", picture, "use one of .svg, .png, .html, .txt"},
		{"x.pdf", picture, "use one of .svg, .png, .html, .txt"},
		{"x.tiff", picture, `".tiff" is not one of`},
		{"x", picture, `"" is not one of`},
		{"x.svg", Picture{}, "empty"},
		{"x.txt", nil, "empty"},
		{"x.txt", (*advlib.Report)(nil), "empty"},
		{"x.json", math.NaN(), "NaN"},
	} {
		path := filepath.Join(dir, test.name)
		if err := os.WriteFile(path, []byte("before"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Save(path, test.value); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s of a %T: the error is %v, want one with %q", test.name, test.value, err, test.want)
		}
		if got, _ := os.ReadFile(path); string(got) != "before" {
			t.Errorf("%s was overwritten with %q", test.name, got)
		}
	}
	if err := Save(filepath.Join(dir, "no", "such", "x.txt"), 1); err == nil {
		t.Error("a file was saved in a folder that does not exist")
	}
}

func TestProgress(t *testing.T) {
	clock := time.Unix(0, 0)
	var drawn []string
	b := &bar{now: func() time.Time { return clock }, draw: func(s moment, done bool) { drawn = append(drawn, fmt.Sprint(s.Done, done)) }}
	for i := 1; i <= 100; i++ {
		clock = clock.Add(10 * time.Millisecond)
		b.update(advlib.Progress{What: "PGD", Done: i, Total: 100})
	}
	// One second: the first, five a second, and the end.
	if want := "1 false|21 false|41 false|61 false|81 false|100 true"; strings.Join(drawn, "|") != want {
		t.Errorf("drawn %s, want %s", strings.Join(drawn, "|"), want)
	}
	s := moment{What: "<PGD>", Done: 250, Total: 1000, Elapsed: 1500 * time.Millisecond, Remaining: -1}
	if want := "<PGD> [██████░░░░░░░░░░░░░░░░░░] 250 of 1000, 1.5 s"; s.String() != want {
		t.Errorf("the bar is %q, want %q", s, want)
	}
	if strings.Contains(s.HTML(), "<PGD>") || !strings.Contains(s.HTML(), `value="0.250" max="1"`) {
		t.Errorf("the bar is %s", s.HTML())
	}
	// Of several attacks, the bar is the whole.
	s.Part, s.Parts, s.Remaining, s.Share = 2, 4, 200*time.Second, 0.5
	if want := "<PGD> [████████████░░░░░░░░░░░░] 2 of 4: 250 of 1000, 1.5 s, about 3 min left"; s.String() != want {
		t.Errorf("the bar is %q, want %q", s, want)
	}
	drawn = nil
	for part := 1; part <= 2; part++ { // the end of one is not the end
		b.update(advlib.Progress{What: "PGD", Part: part, Parts: 2, Done: 3, Total: 3})
	}
	if want := "3 true"; strings.Join(drawn, "|") != want {
		t.Errorf("drawn %s, want %s", strings.Join(drawn, "|"), want)
	}
	if s := (moment{What: "x"}).String(); !strings.Contains(s, "0 of 0") {
		t.Errorf("of nothing: %q", s)
	}
}

// kernel plays GoNB: it reads what a cell sends through one pipe, and confirms through another.
func kernel(t *testing.T) (received <-chan *protocol.DisplayData) {
	t.Helper()
	dir := t.TempDir()
	to, from := filepath.Join(dir, "to"), filepath.Join(dir, "from")
	for _, path := range []string{to, from} {
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv(protocol.GONB_PIPE_ENV, to)
	t.Setenv(protocol.GONB_PIPE_BACK_ENV, from)
	gonbui.IsNotebook = true
	t.Cleanup(func() { gonbui.IsNotebook = false })
	messages := make(chan *protocol.DisplayData, 100)
	go func() {
		defer close(messages)
		in, err := os.Open(to)
		if err != nil {
			t.Error(err)
			return
		}
		out, err := os.OpenFile(from, os.O_WRONLY, 0)
		if err != nil {
			t.Error(err)
			return
		}
		decoder, encoder := gob.NewDecoder(in), gob.NewEncoder(out)
		for {
			m := &protocol.DisplayData{}
			if err := decoder.Decode(m); err != nil {
				if !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrClosed) {
					t.Error(err)
				}
				return
			}
			if v, ok := m.Data[protocol.MIMECommValue].(protocol.CommValue); ok {
				if err := encoder.Encode(&protocol.CommValue{Address: protocol.GonbuiSyncAckAddress, Value: v.Value}); err != nil {
					t.Error(err)
				}
				continue
			}
			messages <- m
		}
	}()
	return messages
}

type ownType struct{}

func (ownType) String() string { return "own text" }
func (ownType) HTML() string   { return "<i>own</i>" }

// displays are what the notebook gets.
type displays <-chan *protocol.DisplayData

// next returns what was displayed. Display has waited for the kernel, so it is here.
func (d displays) next(t *testing.T) map[protocol.MIMEType]any {
	t.Helper()
	select {
	case m := <-d:
		return m.Data
	default:
		t.Fatal("nothing was displayed")
		return nil
	}
}

// told returns what a kernel of ours was told.
func (d displays) told(t *testing.T) (b notebook.Bundle) {
	t.Helper()
	m := d.next(t)
	text, ok := m[notebook.MIME].([]byte)
	if !ok || len(m) != 1 {
		t.Fatalf("the kernel gets %v", m)
	}
	if err := json.Unmarshal(text, &b); err != nil {
		t.Fatal(err)
	}
	return b
}

// wantForms checks in which forms a value was displayed.
func wantForms(t *testing.T, m map[protocol.MIMEType]any, want ...protocol.MIMEType) {
	t.Helper()
	for _, k := range want {
		if m[k] == nil {
			t.Errorf("no %s among %d forms", k, len(m))
		}
	}
	if len(m) != len(want) {
		t.Errorf("%d forms, want %v", len(m), want)
	}
}

// gonbui opens its pipes once per process, so everything about notebooks is in this one test.
func TestNotebook(t *testing.T) {
	messages := displays(kernel(t))

	t.Run("pictures", func(t *testing.T) {
		Display(Grid(madeResult(t, 4, []int{4, 4}, advlib.UnitBox, 0.1), 2))
		m := messages.next(t)
		wantForms(t, m, protocol.MIMETextPlain, protocol.MIMEImageSVG, protocol.MIMEImagePNG)
		if s, ok := m[protocol.MIMEImageSVG].(string); !ok || !strings.HasPrefix(s, "<svg ") {
			t.Errorf("the SVG is %.40q", m[protocol.MIMEImageSVG])
		}
		if b, ok := m[protocol.MIMEImagePNG].([]byte); !ok || !strings.HasPrefix(string(b), "\x89PNG") {
			t.Errorf("the PNG is %.40q", m[protocol.MIMEImagePNG])
		}
	})
	t.Run("several values", func(t *testing.T) {
		Display(madeReport("mlp", 5, 0.1, 0.1), nil, ownType{}, 42, image.NewGray(image.Rect(0, 0, 3, 2)))
		wantForms(t, messages.next(t), protocol.MIMETextPlain, protocol.MIMETextHTML)
		wantForms(t, messages.next(t), protocol.MIMETextPlain, protocol.MIMETextHTML)
		m := messages.next(t)
		wantForms(t, m, protocol.MIMETextPlain)
		if m[protocol.MIMETextPlain] != "42" {
			t.Errorf("42 is displayed as %q", m[protocol.MIMETextPlain])
		}
		m = messages.next(t)
		wantForms(t, m, protocol.MIMETextPlain, protocol.MIMEImagePNG)
		if m[protocol.MIMETextPlain] != "image of 3 × 2 pixels" {
			t.Errorf("the image's text is %q", m[protocol.MIMETextPlain])
		}
	})
	t.Run("an error fails the cell after everything else was shown", func(t *testing.T) {
		func() {
			defer func() {
				if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), "at least 1") {
					t.Errorf("Display threw %v", r)
				}
			}()
			grid, err := Grid(madeResult(t, 4, []int{4, 4}, advlib.UnitBox, 0.1), 0)
			Display(grid, (*advlib.Report)(nil), err, "shown")
		}()
		if m := messages.next(t); m[protocol.MIMETextPlain] != "shown" {
			t.Errorf("displayed %q beside the error", m[protocol.MIMETextPlain])
		}
	})
	t.Run("a progress bar is one display", func(t *testing.T) {
		update := Progress()
		update(advlib.Progress{What: "PGD", Done: 1, Total: 3})
		update(advlib.Progress{What: "PGD", Done: 2, Total: 3}) // at once: not shown
		update(advlib.Progress{What: "PGD", Done: 3, Total: 3})
		first, last := <-messages, <-messages
		if first.DisplayID == "" || first.DisplayID != last.DisplayID {
			t.Errorf("the bar is displayed as %q and then as %q", first.DisplayID, last.DisplayID)
		}
		if s := fmt.Sprint(last.Data[protocol.MIMETextPlain]); !strings.Contains(s, "3 of 3") {
			t.Errorf("the bar ends with %q", s)
		}
		if len(messages) > 0 {
			t.Errorf("%d more displays", len(messages))
		}
	})
	t.Run("results are displays in a kernel that is not ours", func(t *testing.T) {
		Result(ownType{})
		wantForms(t, messages.next(t), protocol.MIMETextPlain, protocol.MIMETextHTML)
		Grade(2.5)
		if m := messages.next(t); m[protocol.MIMETextPlain] != "2.5" {
			t.Errorf("a grade is displayed as %v", m)
		}
	})
	t.Run("results are told to a kernel of ours", func(t *testing.T) { toldResults(t, messages) })
}

// toldResults checks that results travel in the private bundle.
func toldResults(t *testing.T, messages displays) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(notebook.Variable, "v1")
	t.Setenv(protocol.GONB_TMP_DIR_ENV, filepath.Dir(self))
	Result(ownType{})
	if b := messages.told(t); b.Result["text/plain"] != "own text" || b.Result["text/html"] != "<i>own</i>" {
		t.Errorf("a result is told as %+v", b)
	}
	Result(image.NewGray(image.Rect(0, 0, 3, 2)))
	if png, _ := messages.told(t).Result["image/png"].(string); !strings.HasPrefix(png, "iVBOR") {
		t.Errorf("a picture is told as %.20q, want base64", png)
	}
	Result(nil)
	Result(Picture{})
	if len(messages) > 0 {
		t.Error("nothing is shown as a result")
	}
	Clear()
	Display("x")
	if b := messages.told(t); b.Clear != "wait" {
		t.Errorf("Clear tells %+v", b)
	}
	if m := messages.next(t); m[protocol.MIMETextPlain] != "x" {
		t.Errorf("then comes %v", m)
	}
	if b := messages.told(t); b.Phases[notebook.Run] <= 0 || b.Result != nil {
		t.Errorf("a display tells %+v", b)
	}
}

func TestOnlyTheStatementsOfACellGrade(t *testing.T) {
	for caller, may := range map[string]bool{
		"main.main": true, "main.main.func1": true, "main.main.func1.2": true, "main.answer": false, "main.mainly": false,
		"main.T.main": false, "main.(*T).main": false, "runtime.goexit": false, "reflect.Value.call": false, "slices.Sort": false, "": false,
	} {
		if mayGrade(caller) != may {
			t.Errorf("%q may give a grade: %v", caller, !may)
		}
	}
}

func TestThrown(t *testing.T) {
	for name, throw := range map[string]func(){
		"no good": func() { Result(ownType{}, errors.New("no good")) },
		"NaN":     func() { Grade(math.NaN()) },
		"+Inf":    func() { Grade(math.Inf(1)) },
		"-1":      func() { Grade(-1) },
	} {
		func() {
			defer func() {
				if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), name) {
					t.Errorf("%s: threw %v", name, r)
				}
			}()
			throw()
		}()
	}
}

// Without a notebook everything is printed as text.
func ExampleDisplay() {
	Display(NewTable("norm", "ε").Add(advlib.Linf, 0.1).Add(advlib.L2, 0.5), "and text")
	// Output:
	// norm    ε
	// ────  ───
	// Linf  0.1
	// L2    0.5
	//
	// and text
}

// Columns that a terminal gives to a character (Unicode Standard Annex 11).
func TestCellWidth(t *testing.T) {
	for s, want := range map[string]int{"": 0, "ab": 2, "猫": 2, "ｗ": 2, "e\u0301": 1, "‖δ‖": 3, "a\u200bb": 2, "\n": 1} {
		if got := cellWidth(s); got != want {
			t.Errorf("%q takes %d columns, want %d", s, got, want)
		}
	}
}
