package training

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/gomlx/gomlx/ui/notebooks"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// bar shows how far a training is on one line, redrawn twice a second. GoMLX's own bar is not used because it redraws a
// thousand times, which a notebook keeps all of, and because it cannot be silent.
type bar struct {
	out     io.Writer
	bar     *progressbar.ProgressBar
	r       *run
	start   time.Time
	steps   int
	loss    float64
	stopped string // why it ended early; empty: it did not
}

// out returns where progress is written.
func (r *run) out() io.Writer {
	switch {
	case r.Progress != nil:
		return r.Progress
	case notebooks.IsNotebook() || term.IsTerminal(int(os.Stdout.Fd())):
		return os.Stdout
	}
	return io.Discard
}

func newBar(r *run) *bar {
	b := &bar{out: r.out(), r: r, start: time.Now()}
	b.bar = progressbar.NewOptions(r.steps,
		progressbar.OptionSetWriter(b.out),
		progressbar.OptionSetDescription(r.Name),
		progressbar.OptionSetWidth(30),
		progressbar.OptionSetTheme(progressbar.ThemeASCII),
		progressbar.OptionThrottle(500*time.Millisecond),
		progressbar.OptionSetElapsedTime(true),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionClearOnFinish(),
	)
	return b
}

// step is called after each step with the moving average of the loss.
func (b *bar) step(loss float64) {
	b.steps++
	b.loss = loss
	_ = b.bar.Add(1) // what cannot be drawn must not stop the training
}

// measured writes the last measurement on a line above the bar, and hands all of them on. In a notebook a picture of
// them makes the lines needless.
func (b *bar) measured(all record) {
	if b.r.OnEpoch == nil || !notebooks.IsNotebook() {
		_ = b.bar.Clear()
		fmt.Fprintf(b.out, "%s: %v\n", b.r.Name, all.epochs[len(all.epochs)-1])
	}
	if b.r.OnEpoch != nil {
		b.r.OnEpoch(b.r.record(all, false))
	}
}

// close replaces the bar by a sentence.
func (b *bar) close() {
	_ = b.bar.Clear()
	if b.stopped != "" {
		fmt.Fprintf(b.out, "%s: stopped after %d of %d steps: %s\n", b.r.Name, b.steps, b.r.steps, b.stopped)
		return
	}
	if b.steps < b.r.steps {
		fmt.Fprintf(b.out, "%s: stopped after %d of %d steps\n", b.r.Name, b.steps, b.r.steps)
		return
	}
	fmt.Fprintf(b.out, "%s: trained on %s, %d examples × %d epochs in %.1f s, loss %.3g\n", b.r.Name, b.r.examples.Name,
		b.r.examples.Len(), b.r.Epochs, time.Since(b.start).Seconds(), b.loss)
}
