package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// Notify is called with a sentence when the store did something that a user should know: a damaged entry was made anew,
// a value could not be kept, another process is being waited for. It may be replaced before the first Keep.
var Notify = func(sentence string) { fmt.Fprintln(os.Stderr, "lab: "+sentence) }

type freshKey struct{}

// Fresh returns a context in which Keep makes every value anew, and replaces what was kept.
func Fresh(ctx context.Context) context.Context { return context.WithValue(ctx, freshKey{}, true) }

// Keep returns the value of that kind and recipe: the kept one, or, if there is none, the one that make returns, which
// is then kept. The value is returned as it was read back from the disk, so that the first call and later ones agree.
//
// make runs at most once at a time over all processes; others wait for it, or until ctx is done. An error or a panic of
// make leaves nothing behind. When the store cannot be written, the value is returned all the same, and Notify told.
func Keep[T any](ctx context.Context, kind Kind[T], r Recipe, make func(ctx context.Context) (T, error)) (T, error) {
	v, _, err := keep(ctx, kind, r, make)
	return v, err
}

// Kept returns the provenance of a kept value, and whether there is one.
func Kept[T any](kind Kind[T], r Recipe) (Entry, bool) {
	dir, err := place(r.Key(kind.Name))
	if err != nil {
		return Entry{}, false
	}
	e, err := readEntry(dir)
	return e, err == nil
}

func keep[T any](ctx context.Context, kind Kind[T], r Recipe, make func(ctx context.Context) (T, error)) (v T, key string, err error) {
	var none T
	if kind.Name == "" || kind.Write == nil || kind.Read == nil {
		return none, "", fmt.Errorf("lab: %s: the kind %q has no name, or cannot be written or read", r.Name, kind.Name)
	}
	if len(r.Parts) == 0 {
		return none, "", fmt.Errorf("lab: %s: the recipe has no parts: name what the value is made of", r.Name)
	}
	key = r.Key(kind.Name)
	dir, err := place(key)
	if err != nil {
		return none, "", err
	}
	fresh := ctx.Value(freshKey{}) != nil
	if !fresh {
		// Without the lock: entries appear whole, by a rename, and this works in a store that is read-only.
		if v, err := load(kind, dir); err == nil {
			return v, key, nil
		}
	}
	if err := ctx.Err(); err != nil {
		return none, "", err
	}
	unlock, err := lock(ctx, r, key)
	switch {
	case ctx.Err() != nil:
		return none, "", ctx.Err()
	case err != nil:
		Notify(fmt.Sprintf("%s is not kept: %v", r.Name, err))
		v, err = make(ctx)
		return v, "", err
	}
	defer unlock()
	if !fresh {
		v, err := load(kind, dir) // another process may have made it while this one waited
		if err == nil {
			return v, key, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			Notify(fmt.Sprintf("%s was damaged and is made anew: %v", r.Name, err))
		}
	}
	start := time.Now()
	if v, err = make(ctx); err != nil {
		return none, "", err
	}
	e := r.entry(key, kind.Name, time.Since(start))
	if err := save(kind, dir, e, v); err != nil {
		var refused *refusal
		if errors.As(err, &refused) {
			return none, "", fmt.Errorf("lab: %s: %w", r.Name, err)
		}
		Notify(fmt.Sprintf("%s is not kept: %v", r.Name, err))
		return v, "", nil
	}
	back, err := load(kind, dir)
	if err != nil {
		Notify(fmt.Sprintf("%s was kept, but cannot be read back: %v", r.Name, err))
		return v, "", nil
	}
	return back, key, nil
}

// entry returns the provenance of a value that was made just now.
func (r Recipe) entry(key, kind string, took time.Duration) Entry {
	e := Entry{Key: key, Kind: kind, Name: r.Name, Parts: r.readable(), Made: time.Now().UTC(), Seconds: took.Seconds()}
	if r.Backend != nil {
		e.Backend = r.Backend.Name() + ": " + r.Backend.Description()
	}
	return e
}

// refusal says that a value is not one that can be kept, which is a mistake of the program rather than of the disk.
type refusal struct{ error }

func (r *refusal) Unwrap() error { return r.error }

func load[T any](kind Kind[T], dir string) (v T, err error) {
	if _, err := readEntry(dir); err != nil {
		return v, err
	}
	return kind.Read(dir)
}

// save writes an entry beside the store and moves it there.
func save[T any](kind Kind[T], dir string, e Entry, v T) error {
	// This process has the lock, so what lies here for the key was left by one that died.
	if err := removeLeft(e.Key); err != nil {
		return err
	}
	return put(kind, dir, e, v)
}

// removeLeft removes what was being written for a key.
func removeLeft(key string) error {
	tmp, err := directory("tmp")
	if err != nil {
		return err
	}
	left, err := filepath.Glob(filepath.Join(tmp, key+"-*"))
	if err != nil {
		return err
	}
	for _, path := range left {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return nil
}

// put is save where no lock is held.
func put[T any](kind Kind[T], dir string, e Entry, v T) error {
	tmp, err := directory("tmp")
	if err != nil {
		return err
	}
	next, err := os.MkdirTemp(tmp, e.Key+"-") // mode 0700
	if err != nil {
		return err
	}
	defer os.RemoveAll(next)
	if err := kind.Write(next, v); err != nil {
		return err
	}
	if err := e.seal(next); err != nil {
		return err
	}
	if _, err := directory(e.Key[:2]); err != nil {
		return err
	}
	if err := discard(dir); err != nil {
		return err
	}
	return os.Rename(next, dir)
}

// lock waits for the right to make the value with a key.
func lock(ctx context.Context, r Recipe, key string) (unlock func(), err error) {
	locks, err := directory("locks")
	if err != nil {
		return nil, err
	}
	l := flock.New(filepath.Join(locks, key), flock.SetPermissions(0o600))
	ok, err := l.TryLock()
	if err == nil && !ok {
		Notify(fmt.Sprintf("%s is being made by another process: waiting for it", r.Name))
		ok, err = l.TryLockContext(ctx, 50*time.Millisecond)
	}
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("the lock on %s was not got", key)
	}
	return func() { _ = l.Close() }, nil // the file stays: deleting it would let a third process lock another one
}
