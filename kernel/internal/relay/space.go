package relay

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"advlab/kernel/internal/gonb"
)

// leastSpace is what has to be free on a disk for a cell to be built: less is none.
const leastSpace = 1 << 20

var noSpace = regexp.MustCompile(`(?i)no space left on device|disk quota exceeded`)

// full says which disk is full, and what to do; empty: none of those that cells need.
func (r *relay) full(e *gonb.Engine) (what, remedy string) {
	cells, cache := "", ""
	if e != nil {
		cells = e.Dir()
		for _, entry := range e.Environ() {
			if value, ok := strings.CutPrefix(entry, "GOCACHE="); ok {
				cache = value
			}
		}
	}
	if value := r.environ["GOCACHE"]; value != "" {
		cache = value
	}
	if own, err := os.UserCacheDir(); cache == "" && err == nil {
		cache = filepath.Join(own, "go-build")
	}
	for _, place := range []struct{ what, dir, remedy string }{
		{"Go's build cache", cache, "remove files there that are not needed; `!go clean -cache` empties it, and cells build anew"},
		{"the kernel's temporary files", r.config.Dir,
			"remove files there that are not needed, or start Jupyter with TMPDIR set to a folder of a larger disk"},
		{"the folder in which cells run", cells, "remove files there that are not needed, or write elsewhere: %cd changes the folder"},
	} {
		if place.dir != "" && free(place.dir) < leastSpace {
			return fmt.Sprintf("no space is left for %s, in %s", place.what, place.dir), place.remedy
		}
	}
	return "", ""
}

// free is the space in bytes that is left for the user on a folder's disk; what cannot be found out is much.
func free(dir string) uint64 {
	for {
		var s unix.Statfs_t
		err := unix.Statfs(dir, &s)
		switch {
		case err == nil && s.Files > 0 && s.Ffree == 0:
			return 0 // no file can be made
		case err == nil:
			return s.Bavail * uint64(s.Bsize)
		case !os.IsNotExist(err) || dir == filepath.Dir(dir):
			return 1 << 62
		}
		dir = filepath.Dir(dir)
	}
}

// explainSpace gives a failure whose cause is a full disk that reason: Go then says, among others, that packages are
// not in std.
func (r *relay) explainSpace(e *gonb.Engine, f *failure, stderr string) *failure {
	said := noSpace.MatchString(f.Text + strings.Join(f.Traceback, "\n") + stderr)
	if !said && f.Class != compileError {
		return f
	}
	what, remedy := r.full(e)
	switch {
	case what == "" && !said:
		return f
	case what == "":
		f.hint("a disk is full: `!df -h` tells which.")
		return f
	case f.Class == compileError || f.Class == gonbDied:
		_, first, _ := strings.Cut(f.Traceback[0], ": ")
		f = newFailure(f.Class, what, strings.SplitN(first, "\n", 2)[0])
	}
	f.hint(what + ": " + remedy + ".")
	return f
}
