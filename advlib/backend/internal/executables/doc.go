// Package executables keeps compiled programs on disk, one file per program, so that a program that was compiled once
// is loaded the next time.
//
//	store := executables.NewStore(dir, 1<<30)
//	program, err := store.Get(key) // wraps fs.ErrNotExist, or ErrRefused: compile, and Put what came out
//
// A file says itself what it is: a header with the program's key, the payload's length and its SHA-256. Nothing is
// trusted for its name or its place; a file that is damaged, cut short, swapped for another or owned by somebody else
// is refused, which callers treat as a miss. Files are written aside and renamed, so that a reader sees a whole file
// or none, and any number of processes may share one directory without locks. The directory is bounded in size; the
// files used longest ago go first.
package executables
