package show

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/janpfeifer/gonb/gonbui"
	"github.com/janpfeifer/gonb/gonbui/protocol"
	"golang.org/x/term"

	"advlab/advlib"
)

// Display shows values in the notebook, one below the other, or prints them as text where there is no notebook. It
// returns when the notebook has them, so that a cell that ends or panics right after loses nothing.
//
// Nil is passed over. An error is not shown but thrown: Display panics with it once all other values are shown. So a
// call that returns a value and an error can be displayed as it is, and a cell in which it fails is a failed cell:
//
//	show.Display(show.Grid(result, 8))
func Display(values ...any) {
	var failed error
	for _, v := range values {
		if err, ok := v.(error); ok {
			failed = errors.Join(failed, err)
			continue
		}
		if v != nil && !isBlank(v) {
			display(v, "")
		}
	}
	flush()
	if failed != nil {
		panic(failed)
	}
}

// display sends one value, under a name by which it can be replaced, or prints it.
func display(v any, id string) {
	if gonbui.IsNotebook && gonbui.Error() == nil {
		gonbui.SendData(&protocol.DisplayData{Data: bundle(v), DisplayID: id})
		if gonbui.Error() == nil {
			return
		}
	}
	fmt.Println(asText(v))
}

// bundle is a value in all forms that a front-end may choose from, by MIME type. A picture has no text/html: front-ends
// prefer that to an image, and remove what they do not trust from it.
func bundle(v any) map[protocol.MIMEType]any {
	data := map[protocol.MIMEType]any{protocol.MIMETextPlain: asText(v)}
	picture := false
	if svg, ok := asSVG(v); ok {
		picture, data[protocol.MIMEImageSVG] = true, svg
	}
	if png, ok, err := asPNG(v); ok && err == nil {
		picture, data[protocol.MIMEImagePNG] = true, png
	}
	if html, ok := asHTML(v); ok && !picture {
		data[protocol.MIMETextHTML] = html
	}
	return data
}

// patience is how long flush waits for a notebook that may be gone.
const patience = 10 * time.Second

// flush waits until the notebook has everything. gonbui.Sync alone waits for ever when the kernel does not answer.
func flush() {
	if !gonbui.IsNotebook || gonbui.Error() != nil {
		return
	}
	done := make(chan struct{})
	go func() {
		gonbui.Sync()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(patience):
		fmt.Fprintf(os.Stderr, "show: the notebook did not confirm what was displayed within %v\n", patience)
	}
}

// Progress returns a progress bar for [advlib.Settings].OnProgress. In a notebook it is one display that changes in
// place, on a terminal one line of standard error, and elsewhere nothing.
func Progress() func(advlib.Progress) {
	b := &bar{now: time.Now}
	switch {
	case gonbui.IsNotebook:
		id := "progress-" + gonbui.UniqueId()
		b.draw = func(v status, done bool) {
			display(v, id)
			if done {
				flush()
			}
		}
	case term.IsTerminal(int(os.Stderr.Fd())):
		b.draw = func(v status, done bool) {
			fmt.Fprintf(os.Stderr, "\r\033[K%v", v)
			if done {
				fmt.Fprintln(os.Stderr)
			}
		}
	default:
		return func(advlib.Progress) {}
	}
	return b.update
}
