package intercept

import (
	"sync"
	"time"
)

// Counts is what was compiled and loaded by this process so far, over all its plugins.
type Counts struct {
	Hits     int // programs loaded from disk
	Misses   int // programs compiled, for whatever reason
	Refused  int // files found damaged, foreign or not loadable, among the misses
	Unstored int // programs compiled but not kept on disk, among the misses

	Compiling time.Duration
	Loading   time.Duration // reading, checking and loading hits
	Storing   time.Duration // serializing and writing misses

	BytesRead    int64 // of hits
	BytesWritten int64

	Problem string // why a file was last refused or a program not kept; "" if that never happened
}

var (
	countsMu sync.Mutex
	counts   Counts
)

// Counted returns the counts.
func Counted() Counts {
	countsMu.Lock()
	defer countsMu.Unlock()
	return counts
}

func count(f func(c *Counts)) {
	countsMu.Lock()
	defer countsMu.Unlock()
	f(&counts)
}
