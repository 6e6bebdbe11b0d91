//go:build unix

package executables

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/renameio/v2"
)

const suffix = ".xla"

// Store is a directory of compiled programs. Its methods may be called concurrently, and several processes may have
// stores in one directory.
type Store struct {
	dir   string
	limit int64

	mu      sync.Mutex
	scanned bool
	size    int64 // what this process believes the directory to hold, once scanned
}

// NewStore returns the store in dir, which must exist, with at most limit bytes in it. Other processes may exceed the
// limit for a moment: each looks at the directory when it first writes, then whenever its own count says that it is
// full.
func NewStore(dir string, limit int64) *Store {
	return &Store{dir: dir, limit: limit}
}

// Dir returns the directory.
func (s *Store) Dir() string { return s.dir }

func (s *Store) path(key Key) string { return filepath.Join(s.dir, key.String()+suffix) }

// Get returns the program kept under key. The error is fs.ErrNotExist when there is none, and wraps ErrRefused when
// there is a file that must not be used.
func (s *Store) Get(key Key) ([]byte, error) {
	file, err := readOwned(s.path(key), s.limit)
	if err != nil {
		return nil, err
	}
	payload, err := decode(key, file)
	if err != nil {
		return nil, err
	}
	// The time of last use, for trim. It fails in a read-only directory, which nothing trims.
	now := time.Now()
	_ = os.Chtimes(s.path(key), now, now)
	return payload, nil
}

// Put keeps payload under key in place of whatever is there, and removes the programs used longest ago when the
// directory outgrows its limit. payload is not retained.
func (s *Store) Put(key Key, payload []byte) error {
	size := int64(payloadOffset + len(payload))
	if size > s.limit {
		return fmt.Errorf("executables: a program of %d bytes exceeds the cache's limit of %d", size, s.limit)
	}
	if err := writeAtomic(s.path(key), header(key, payload), payload); err != nil {
		return fmt.Errorf("executables: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.size += size
	if !s.scanned || s.size > s.limit {
		return s.trim()
	}
	return nil
}

// trim measures the directory and, when it exceeds the limit, removes the files used longest ago until a tenth of the
// limit is free again, so that the next programs do not each cause another scan. Files that vanish meanwhile were
// removed by another process.
func (s *Store) trim() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("executables: %w", err)
	}
	type file struct {
		path string
		size int64
		used time.Time
	}
	var files []file
	s.size, s.scanned = 0, true
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		path := filepath.Join(s.dir, entry.Name())
		switch {
		case strings.HasPrefix(entry.Name(), "."):
			// A file being written; one that has been for an hour was left behind by a process that died.
			if time.Since(info.ModTime()) > time.Hour && os.Remove(path) == nil {
				continue
			}
		case strings.HasSuffix(entry.Name(), suffix), strings.HasSuffix(entry.Name(), hashSuffix):
			files = append(files, file{path, info.Size(), info.ModTime()})
		}
		s.size += info.Size()
	}
	if s.size <= s.limit {
		return nil
	}
	slices.SortFunc(files, func(a, b file) int { return a.used.Compare(b.used) })
	for _, f := range files[:max(0, len(files)-1)] { // the newest stays: it is what this was called for
		if s.size <= s.limit-s.limit/10 {
			break
		}
		if err := os.Remove(f.path); err == nil || os.IsNotExist(err) {
			s.size -= f.size
		}
	}
	return nil
}

// writeAtomic writes parts to path, readable by the user alone, by way of a file beside it.
func writeAtomic(path string, parts ...[]byte) error {
	pending, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return err
	}
	defer func() { _ = pending.Cleanup() }() // does nothing once the file has replaced the old one
	for _, part := range parts {
		if _, err := pending.Write(part); err != nil {
			return err
		}
	}
	return pending.CloseAtomicallyReplace()
}

// readOwned reads a file of at most limit bytes that nobody but the user or root can have written: a regular one, not
// a link, owned by one of the two (root: images whose cache is baked in), not writable by others.
func readOwned(path string, limit int64) ([]byte, error) {
	f, err := openNoFollow(path)
	if err != nil {
		if os.IsNotExist(err) {
			return nil, fs.ErrNotExist
		}
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%w: %s is not a regular file", ErrRefused, path)
	case info.Mode().Perm()&0o022 != 0:
		return nil, fmt.Errorf("%w: %s may be written by others (mode %o)", ErrRefused, path, info.Mode().Perm())
	case info.Size() > limit:
		return nil, fmt.Errorf("%w: %s has %d bytes, more than the cache's limit of %d", ErrRefused, path, info.Size(), limit)
	case !trustedOwner(info):
		return nil, fmt.Errorf("%w: %s belongs to another user", ErrRefused, path)
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return data, nil
}
