package show

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/janpfeifer/gonb/gonbui"
	"github.com/janpfeifer/gonb/gonbui/protocol"
	"golang.org/x/term"

	"advlab/advlib"
	"advlab/advlib/internal/notebook"
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
	notebook.Tell(notebook.Bundle{})
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
	if p, ok := v.(Picture); ok && p.screen != "" {
		data[protocol.MIMEImageSVG] = p.screen
	}
	if png, ok, err := asPNG(v); ok && err == nil {
		picture, data[protocol.MIMEImagePNG] = true, png
	}
	if html, ok := asHTML(v); ok && !picture {
		data[protocol.MIMETextHTML] = html
	}
	return data
}

// Result shows a value as the cell's result: in Jupyter's terms an execute_result, with Out[n] beside it, which tools
// that read notebooks take for what the cell is about. A cell has one; where it gives several, the last counts. Without
// a notebook, and in a kernel that is not advlab's, Result is [Display].
//
// An error is thrown, as Display does, so that a call that returns a value and an error can be shown as it is:
//
//	show.Result(show.Grid(result, 8))
func Result(v any, err ...error) {
	if failed := errors.Join(err...); failed != nil {
		Display(v, failed)
		return
	}
	if v == nil || isBlank(v) {
		return
	}
	if !notebook.Active() {
		Display(v)
		return
	}
	data := map[string]any{}
	for kind, form := range bundle(v) {
		data[string(kind)] = form
	}
	notebook.Tell(notebook.Bundle{Result: data})
	flush()
}

// Grade gives the points of a check as the cell's result: a number alone, which graders such as nbgrader read for
// partial credit. Where a cell gives several, the last counts, once the cell has come to its end. Grade panics where
// points are negative, which graders take for full marks, or not finite, and where it is not called by the statements
// of the cell that runs: what an answer calls cannot give itself points.
func Grade(points float64) {
	if caller := callerOf(2); notebook.TakesGrades() && !mayGrade(caller) {
		panic(fmt.Errorf("show: Grade is called by %s: only the statements of the grader's own cell give points", caller))
	}
	if math.IsNaN(points) || math.IsInf(points, 0) || points < 0 {
		panic(fmt.Errorf("show: a grade of %v points: give a finite number, 0 or more", points))
	}
	if !notebook.TakesGrades() {
		Display(points)
		return
	}
	if err := notebook.Grade(points); err != nil {
		panic(fmt.Errorf("show: a grade of %v points cannot be given: %w", points, err))
	}
}

// mayGrade tells the statements of a cell, which are its main, from all else: functions of cells and packages, and what
// the runtime calls for them, as a go statement.
func mayGrade(caller string) bool { return strings.HasPrefix(caller+".", "main.main.") }

// callerOf is the name of the function that calls the one which asks, skip frames up.
func callerOf(skip int) string {
	pc := make([]uintptr, 1)
	if runtime.Callers(skip+1, pc) == 0 {
		return ""
	}
	frame, _ := runtime.CallersFrames(pc).Next()
	return frame.Function
}

// Clear empties the output of the cell once something new is displayed or printed. It does so in advlab's kernel only.
func Clear() {
	notebook.Tell(notebook.Bundle{Clear: "wait"})
	flush() // a cell that ends at once would take it along
}

// flush waits until the notebook has everything.
func flush() {
	if err := notebook.Flush(); err != nil {
		fmt.Fprintf(os.Stderr, "show: %v\n", err)
	}
}

// Progress returns a progress bar for [advlib.Settings].OnProgress. In a notebook it is one display that changes in
// place, on a terminal one line of standard error, and elsewhere nothing.
func Progress() func(advlib.Progress) {
	b := &bar{now: time.Now}
	switch {
	case gonbui.IsNotebook:
		id := "progress-" + gonbui.UniqueId()
		b.draw = func(v moment, done bool) {
			display(v, id)
			if done {
				flush()
			}
		}
	case term.IsTerminal(int(os.Stderr.Fd())):
		b.draw = func(v moment, done bool) {
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
