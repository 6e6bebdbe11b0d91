package show

import (
	"fmt"
	"html"
	"strings"
	"sync"
	"time"

	"advlab/advlib"
)

// status is a moment of a measurement: what a progress bar shows.
type status advlib.Progress

func (s status) share() float64 {
	if s.Total <= 0 {
		return 0
	}
	return min(max(float64(s.Done)/float64(s.Total), 0), 1)
}

func (s status) words() string {
	return fmt.Sprintf("%d of %d, %.1f s", s.Done, s.Total, s.Elapsed.Seconds())
}

// String draws the bar with characters.
func (s status) String() string {
	const width = 24
	full := int(s.share() * width)
	return fmt.Sprintf("%s [%s%s] %s", oneLine(s.What), strings.Repeat("█", full), strings.Repeat("░", width-full), s.words())
}

// HTML draws the bar with the browser's own element.
func (s status) HTML() string {
	return fmt.Sprintf(`<div style="font-size:0.95em;font-variant-numeric:tabular-nums">%s <progress value="%d" max="%d" style="vertical-align:middle;width:14em"></progress> %s</div>`,
		html.EscapeString(oneLine(s.What)), s.Done, max(s.Total, 1), s.words())
}

// pause is the shortest time between two updates: a front-end keeps up with five a second.
const pause = 200 * time.Millisecond

// bar shows progress, not more often than is of use, and always the end.
type bar struct {
	mu   sync.Mutex
	last time.Time
	now  func() time.Time
	draw func(s status, done bool)
}

func (b *bar) update(p advlib.Progress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	done := p.Done >= p.Total
	if now := b.now(); done || now.Sub(b.last) >= pause {
		b.last = now
		b.draw(status(p), done)
	}
}
