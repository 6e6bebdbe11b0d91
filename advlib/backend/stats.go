package backend

import "time"

// Stats counts what this process compiled on XLA, and what it loaded instead, over all its backends.
type Stats struct {
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

// CacheStats returns the counts so far. All are zero on the Go backend, and while programs are not kept
// (Info.CacheOff).
func CacheStats() Stats { return cacheStats() }
