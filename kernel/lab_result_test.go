package main

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// What people see of a cell's result, of its questions and of its pictures, in a window of 1300 pixels.
func TestJupyterLabResults(t *testing.T) {
	chromium(t)
	l := startLab(t, "/", false)
	b := startBrowser(t)
	b.do(t, chromedp.EmulateViewport(1300, 900))
	const (
		box  = `?.querySelector('.jp-Stdin-input')`
		outN = `?.querySelector('.jp-OutputArea-executeResult .jp-OutputPrompt')?.innerText`
	)

	t.Run("the input box", func(t *testing.T) {
		l.write(t, "input.ipynb",
			"var name string\nfmt.Println(\"Who are you?\")\nfmt.Print(\"name: \")\nfmt.Scanln(&name)\nfmt.Println(\"hello\", name)",
			"!read -r x; echo \"read $x\"", "var s string\nfmt.Scanln(&s)\ns", "time.Sleep(time.Second)")
		b.open(t, l, "input.ipynb")
		b.runCell(t, 0)
		b.wait(t, patient, cell(0)+box)
		b.picture(t, "asked")
		if got := eval[string](t, b, cell(0)+"?.querySelector('.jp-Stdin-prompt')?.innerText"); strings.TrimSpace(got) != "name:" {
			t.Errorf("the box's prompt is %q", got)
		}
		b.click(t, cell(0)+box)
		b.do(t, chromedp.KeyEvent("gopher"), chromedp.KeyEvent(kb.Enter))
		b.wait(t, patient, output(0)+"?.includes('hello gopher')")
		b.wait(t, patient, idle)
		b.picture(t, "answered")
		if got := strings.Join(strings.Fields(eval[string](t, b, output(0))), " "); !strings.HasPrefix(got,
			"Who are you? name: gopher hello gopher") {
			t.Errorf("the output is %q", got)
		}
		b.runCell(t, 1)
		b.wait(t, patient, cell(1)+box)
		b.click(t, cell(1)+box)
		b.do(t, chromedp.KeyEvent("a line"), chromedp.KeyEvent(kb.Enter))
		b.wait(t, patient, output(1)+"?.includes('read a line')")
		b.wait(t, patient, idle)
		b.runCell(t, 2)
		b.wait(t, patient, cell(2)+box)
		b.button(t, "interrupt")
		b.wait(t, patient, output(2)+"?.includes('Interrupted') && !"+cell(2)+box)
		b.wait(t, patient, idle)
		b.runCell(t, 3)
		b.wait(t, patient, prompt(3)+" === '[4]:'")
		b.wait(t, patient, idle)
		b.picture(t, "interrupted")
	})

	t.Run("the last expression", func(t *testing.T) {
		l.write(t, "result.ipynb",
			"import (\n\t\"image\"\n\t\"advlab/advlib\"\n\t\"advlab/advlib/attack\"\n\t\"advlab/advlib/dataset\"\n"+
				"\t\"advlab/advlib/show\"\n\t\"advlab/advlib/zoo\"\n)\nfunc images() any { _, t := dataset.Digits(); return t }\n"+
				"var ctx = context.Background()\nfunc result() *advlib.Result {\n\ttrain, test := dataset.Digits()\n"+
				"\tclf := zoo.MLP(100, 100).MustFit(ctx, train)\n\treturn advlib.MustRun(ctx, clf, test.First(20), attack.FGSM(.1))\n}",
			"1 + 1", "images()",
			"show.Layout{N: 12, Columns: 10}.Grid(result())", "show.Grid(result(), 3)",
			"image.NewGray(image.Rect(0, 0, 60, 40))", "attack.Index()", "1 + 1;", "show.Grid(result(), 12)")
		b.open(t, l, "result.ipynb")
		b.menu(t, "Run", "Run All Cells")
		b.wait(t, patient, prompt(8)+" === '[9]:'")
		b.wait(t, patient, idle)
		for i, want := range map[int]string{1: "[2]:", 2: "[3]:", 3: "[4]:", 4: "[5]:", 5: "[6]:", 6: "[7]:"} {
			if got := eval[string](t, b, cell(i)+outN+" ?? ''"); got != want {
				t.Errorf("cell %d has the result prompt %q, want %q; its output: %s", i+1, got, want, eval[string](t, b, output(i)))
			}
		}
		if got := eval[string](t, b, output(1)); !strings.Contains(got, "2") {
			t.Errorf("1 + 1 gives %q", got)
		}
		if got := eval[string](t, b, output(7)+" ?? ''"); strings.TrimSpace(got) != "" {
			t.Errorf("with a semicolon, a cell gives %q", got)
		}
		for i, name := range map[int]string{2: "text", 3: "wide", 4: "small", 6: "table", 8: "twelve"} {
			eval[bool](t, b, cell(i)+".scrollIntoView({block: 'start'}) === undefined")
			b.picture(t, name)
		}
		// A wide grid shrinks to its cell, and to nothing less; a small one has its own size.
		type sizes struct{ Picture, Room, Natural, Right, Edge float64 }
		size := func(i int) sizes {
			return eval[sizes](t, b, `(() => {
				const img = `+cell(i)+`.querySelector('.jp-OutputArea-output img, .jp-OutputArea-output svg')
				const area = img.closest('.jp-OutputArea-output')
				const style = getComputedStyle(area)
				return {Picture: img.getBoundingClientRect().width, Natural: img.naturalWidth ?? img.viewBox.baseVal.width * 4 / 3,
					Room: area.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight),
					Right: img.getBoundingClientRect().right, Edge: area.getBoundingClientRect().right}
			})()`)
		}
		wide, small, twelve := size(3), size(4), size(8)
		t.Logf("wide %+v, small %+v, twelve %+v", wide, small, twelve)
		if wide.Natural <= wide.Room || wide.Picture > wide.Room+1 || wide.Picture < 0.9*wide.Room || wide.Right > wide.Edge+1 {
			t.Errorf("a grid of ten columns: %+v", wide)
		}
		if twelve.Picture < 0.9*twelve.Natural || twelve.Picture > twelve.Room {
			t.Errorf("a grid of 12: %+v", twelve)
		}
		if small.Picture < 0.9*small.Natural || small.Picture > small.Room {
			t.Errorf("a grid of 3: %+v", small)
		}
	})
}
