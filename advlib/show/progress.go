package show

import (
	"fmt"
	"html"
	"strings"
	"sync"
	"time"

	"advlab/advlib"
)

// moment is a moment of a measurement: what a progress bar shows.
type moment advlib.Progress

// share is how much of the bar is full: of the whole measurement, or, while that is not known, of the attack that runs.
func (s moment) share() float64 {
	share := s.Share
	if share == 0 && s.Parts <= 1 && s.Total > 0 {
		share = float64(s.Done) / float64(s.Total)
	}
	return min(max(share, 0), 1)
}

// finished tells whether nothing is left of the whole.
func (s moment) finished() bool { return s.Done >= s.Total && s.Part >= s.Parts }

func (s moment) words() string {
	words := fmt.Sprintf("%d of %d, %.1f s", s.Done, s.Total, s.Elapsed.Seconds())
	if s.Parts > 1 {
		words = fmt.Sprintf("%d of %d: %s", s.Part, s.Parts, words)
	}
	if s.Remaining >= time.Second && !s.finished() {
		words += ", about " + advlib.Progress(s).Left() + " left"
	}
	return words
}

// String draws the bar with characters.
func (s moment) String() string {
	const width = 24
	full := int(s.share() * width)
	return fmt.Sprintf("%s [%s%s] %s", oneLine(s.What), strings.Repeat("█", full), strings.Repeat("░", width-full), s.words())
}

// HTML draws the bar with the browser's own element.
func (s moment) HTML() string {
	return fmt.Sprintf(`<div style="font-size:0.95em;font-variant-numeric:tabular-nums">%s <progress value="%.3f" `+
		`max="1" style="vertical-align:middle;width:14em"></progress> %s</div>`,
		html.EscapeString(oneLine(s.What)), s.share(), s.words())
}

// pause is the shortest time between two updates: a front-end keeps up with five a second.
const pause = 200 * time.Millisecond

// bar shows progress, not more often than is of use, and always the end.
type bar struct {
	mu   sync.Mutex
	last time.Time
	now  func() time.Time
	draw func(s moment, done bool)
}

func (b *bar) update(p advlib.Progress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	done := moment(p).finished()
	if now := b.now(); done || now.Sub(b.last) >= pause {
		b.last = now
		b.draw(moment(p), done)
	}
}
