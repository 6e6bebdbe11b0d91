package relay

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	flushEvery    = 50 * time.Millisecond // at most 20 messages a second and stream
	flushBytes    = 256 << 10             // a message of this size does not wait
	maxSegments   = 8                     // pieces between two flushes that keep the order of stdout and stderr
	overflowBytes = 256 << 20             // what the file of the rest may hold
	tailBytes     = 1000                  // how much of the end is shown of an output that was cut
)

// output merges a cell's streams into few messages, and puts what exceeds the limit into a file. It is used by one
// goroutine.
type output struct {
	emit  func(name, text string)
	limit int
	dir   string // for the file; empty: the rest is dropped
	name  string // of the file

	pending []*segment
	size    int // of pending
	flushed time.Time
	shown   int

	cut     int64 // bytes beyond the limit
	tail    string
	file    *os.File
	fileErr error
}

type segment struct {
	name string
	text strings.Builder
}

// add takes a piece of a stream and returns when flush should be called at the latest; zero: nothing waits.
func (o *output) add(name, text string) {
	if text == "" {
		return
	}
	if room := o.limit - o.shown - o.size; len(text) > room {
		n := max(0, room)
		for n > 0 && !utf8.RuneStart(text[n]) {
			n--
		}
		o.over(text[n:])
		text = text[:n]
		if text == "" {
			return
		}
	}
	at := len(o.pending) - 1
	if at >= maxSegments-1 {
		for at > 0 && o.pending[at].name != name {
			at--
		}
	}
	if at < 0 || o.pending[at].name != name {
		o.pending = append(o.pending, &segment{name: name})
		at = len(o.pending) - 1
	}
	o.pending[at].text.WriteString(text)
	o.size += len(text)
	if o.size >= flushBytes || time.Since(o.flushed) >= flushEvery {
		o.flush()
	}
}

// waiting reports whether something waits for a flush.
func (o *output) waiting() bool { return len(o.pending) > 0 }

// flush sends what waits.
func (o *output) flush() {
	for i := range o.pending {
		o.emit(o.pending[i].name, inPlace(o.pending[i].text.String()))
	}
	o.shown += o.size
	o.pending, o.size = nil, 0
	o.flushed = time.Now()
}

// over takes what exceeds the limit.
func (o *output) over(text string) {
	if o.cut == 0 && o.dir != "" {
		o.file, o.fileErr = create(o.dir, o.name)
	}
	if o.file != nil && o.fileErr == nil && o.cut < overflowBytes {
		_, o.fileErr = io.WriteString(o.file, text[:min(int64(len(text)), overflowBytes-o.cut)])
	}
	o.cut += int64(len(text))
	o.tail += text
	if len(o.tail) > 4*tailBytes {
		o.tail = o.tail[len(o.tail)-tailBytes:]
	}
}

func create(dir, name string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	removeOld(dir)
	return os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
}

// overflowAge is how long a file of the rest is kept.
const overflowAge = 7 * 24 * time.Hour

// removeOld removes the files of old outputs; what it cannot remove is of no consequence.
func removeOld(dir string) {
	files, err := filepath.Glob(filepath.Join(dir, "*-cell-*.txt"))
	if err != nil {
		return
	}
	for _, file := range files {
		if info, err := os.Stat(file); err == nil && time.Since(info.ModTime()) > overflowAge {
			_ = os.Remove(file)
		}
	}
}

// finish sends what waits and, where the output was cut, says so and where the rest is. It goes to stdout: graders
// take text on stderr for a failure.
func (o *output) finish() {
	o.flush()
	if o.cut == 0 {
		return
	}
	where := "is not kept"
	if o.file != nil {
		if err := o.file.Close(); o.fileErr == nil {
			o.fileErr = err
		}
		switch {
		case o.fileErr != nil:
			where = fmt.Sprintf("could not be kept: %v", o.fileErr)
		case o.cut > overflowBytes:
			where = fmt.Sprintf("begins in %s; %s of it are lost", o.file.Name(), bytesText(o.cut-overflowBytes))
		default:
			where = "is in " + o.file.Name()
		}
	} else if o.fileErr != nil {
		where = fmt.Sprintf("could not be kept: %v", o.fileErr)
	}
	tail := o.tail[max(0, len(o.tail)-tailBytes):]
	if _, rest, ok := strings.Cut(tail, "\n"); ok && int64(len(tail)) < o.cut {
		tail = rest
	}
	for len(tail) > 0 && !utf8.RuneStart(tail[0]) {
		tail = tail[1:]
	}
	o.emit("stdout", fmt.Sprintf("\n[… cut after %s. The rest, %s, %s. It ends:]\n%s", bytesText(int64(o.limit)),
		bytesText(o.cut), where, tail))
}

func bytesText(n int64) string {
	switch {
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 10<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}

// inPlace drops what a progress bar has written over in the same piece of text: of parts of a line that are parted by
// carriage returns, those that a later one covers.
func inPlace(text string) string {
	if !strings.Contains(text, "\r") {
		return text
	}
	lines := strings.SplitAfter(text, "\n")
	for i, line := range lines {
		body := strings.TrimRight(line, "\r\n")
		end := line[len(body):]
		parts := strings.Split(body, "\r")
		kept := parts[:1]
		for _, part := range parts[1:] {
			// The first may continue a line that is shown already, so it stays.
			for len(kept) > 1 && utf8.RuneCountInString(kept[len(kept)-1]) <= utf8.RuneCountInString(part) {
				kept = kept[:len(kept)-1]
			}
			kept = append(kept, part)
		}
		lines[i] = strings.Join(kept, "\r") + end
	}
	return strings.Join(lines, "")
}
