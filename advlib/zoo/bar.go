package zoo

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
	out   io.Writer
	bar   *progressbar.ProgressBar
	t     *training
	start time.Time
	steps int
	loss  float64
}

// out returns where progress is written.
func (t *training) out() io.Writer {
	switch {
	case t.Progress != nil:
		return t.Progress
	case notebooks.IsNotebook() || term.IsTerminal(int(os.Stdout.Fd())):
		return os.Stdout
	}
	return io.Discard
}

func newBar(t *training) *bar {
	b := &bar{out: t.out(), t: t, start: time.Now()}
	b.bar = progressbar.NewOptions(t.steps,
		progressbar.OptionSetWriter(b.out),
		progressbar.OptionSetDescription(t.Name),
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

// close replaces the bar by a sentence.
func (b *bar) close() {
	_ = b.bar.Clear()
	if b.steps < b.t.steps {
		fmt.Fprintf(b.out, "%s: stopped after %d of %d steps\n", b.t.Name, b.steps, b.t.steps)
		return
	}
	fmt.Fprintf(b.out, "%s: trained on %s, %d examples × %d epochs in %.1f s, loss %.3g\n", b.t.Name, b.t.examples.Name, b.t.examples.Len(), b.t.Epochs, time.Since(b.start).Seconds(), b.loss)
}
