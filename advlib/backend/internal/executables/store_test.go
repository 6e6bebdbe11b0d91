//go:build unix

package executables

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const large = 1 << 30

func mustPut(t *testing.T, s *Store, key Key, payload []byte) {
	t.Helper()
	if err := s.Put(key, payload); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsPutIsGot(t *testing.T) {
	s := NewStore(t.TempDir(), large)
	key := NewKey([]byte("program"))
	if _, err := s.Get(key); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("Get from an empty store: %v, want fs.ErrNotExist", err)
	}
	for _, payload := range [][]byte{{}, []byte("x"), bytes.Repeat([]byte("abc\x00"), 1<<16)} {
		mustPut(t, s, key, payload)
		got, err := s.Get(key)
		if err != nil || !bytes.Equal(got, payload) {
			t.Fatalf("Get = %d bytes, %v, want the %d that were put", len(got), err, len(payload))
		}
	}
	info, err := os.Stat(s.path(key))
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("mode %o, want 600", mode)
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("%v in the directory (%v), want one file and nothing left beside it", entries, err)
	}
}

func TestKeysTellPartsApart(t *testing.T) {
	seen := map[Key]string{}
	for _, parts := range [][]string{{"ab", "c"}, {"a", "bc"}, {"abc"}, {"abc", ""}, {"", "abc"}, {}} {
		var raw [][]byte
		for _, p := range parts {
			raw = append(raw, []byte(p))
		}
		key := NewKey(raw...)
		if other, ok := seen[key]; ok {
			t.Errorf("%q and %s have one key", parts, other)
		}
		seen[key] = fmt.Sprintf("%q", parts)
	}
}

func TestDamagedAndForeignFilesAreRefused(t *testing.T) {
	key, other := NewKey([]byte("mine")), NewKey([]byte("other"))
	payload := bytes.Repeat([]byte("payload "), 100)
	good := append(header(key, payload), payload...)
	changed := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 1
		return b
	}
	for name, content := range map[string][]byte{
		"empty":               {},
		"half a header":       good[:payloadOffset/2],
		"header only":         good[:payloadOffset],
		"last byte missing":   good[:len(good)-1],
		"a byte too many":     append(bytes.Clone(good), 0),
		"magic":               changed(0),
		"layout":              changed(len(magic)),
		"key":                 changed(keyOffset),
		"length":              changed(lengthOffset),
		"huge length":         changed(lengthOffset + 7),
		"checksum":            changed(sumOffset),
		"first payload byte":  changed(payloadOffset),
		"last payload byte":   changed(len(good) - 1),
		"another key's file":  append(header(other, payload), payload...),
		"zeros":               make([]byte, len(good)),
		"text":                []byte("<html>502 Bad Gateway</html>"),
		"a file written over": append(bytes.Clone(good[:200]), make([]byte, len(good)-200)...),
	} {
		t.Run(name, func(t *testing.T) {
			s := NewStore(t.TempDir(), large)
			if err := os.WriteFile(s.path(key), content, 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := s.Get(key); !errors.Is(err, ErrRefused) || got != nil {
				t.Fatalf("Get = %d bytes, %v, want ErrRefused", len(got), err)
			}
			mustPut(t, s, key, payload)
			if got, err := s.Get(key); err != nil || !bytes.Equal(got, payload) {
				t.Errorf("after Put: %d bytes, %v: the bad file was not replaced", len(got), err)
			}
		})
	}
}

func TestFilesThatOthersMayHaveWrittenAreRefused(t *testing.T) {
	key, payload := NewKey([]byte("mine")), []byte("payload")
	good := append(header(key, payload), payload...)
	for name, plant := range map[string]func(path string) error{
		"writable by the group": func(path string) error {
			return errors.Join(os.WriteFile(path, good, 0o600), os.Chmod(path, 0o620))
		},
		"writable by all": func(path string) error {
			return errors.Join(os.WriteFile(path, good, 0o600), os.Chmod(path, 0o602))
		},
		"a link": func(path string) error {
			aside := path + ".aside"
			return errors.Join(os.WriteFile(aside, good, 0o600), os.Symlink(aside, path))
		},
		"a directory": func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			s := NewStore(t.TempDir(), large)
			if err := plant(s.path(key)); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Get(key); !errors.Is(err, ErrRefused) {
				t.Errorf("Get: %v, want ErrRefused", err)
			}
		})
	}
	t.Run("another owner", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("only root can give a file to another user")
		}
		s := NewStore(t.TempDir(), large)
		if err := errors.Join(os.WriteFile(s.path(key), good, 0o644), os.Chown(s.path(key), 12345, 12345)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(key); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "another user") {
			t.Errorf("Get: %v, want ErrRefused for the owner", err)
		}
	})
}

func TestTheOldestGoFirst(t *testing.T) {
	payload := make([]byte, 1000)
	file := int64(payloadOffset + len(payload))
	s := NewStore(t.TempDir(), 10*file)
	keys := make([]Key, 14)
	for i := range keys {
		keys[i] = NewKey([]byte{byte(i)})
	}
	for i := range 10 {
		mustPut(t, s, keys[i], payload)
		old := time.Now().Add(time.Duration(i-100) * time.Minute)
		if err := os.Chtimes(s.path(keys[i]), old, old); err != nil {
			t.Fatal(err)
		}
	}
	// Key 0 is the oldest, but used again, so keys 1 and 2 have to go for key 10: to the limit less a tenth.
	if _, err := s.Get(keys[0]); err != nil {
		t.Fatal(err)
	}
	mustPut(t, s, keys[10], payload)
	for i, want := range []bool{true, false, false, true, true, true, true, true, true, true, true} {
		if _, err := s.Get(keys[i]); (err == nil) != want {
			t.Errorf("key %d: %v, want it there: %t", i, err, want)
		}
	}
	// A store that is new in a full directory keeps the limit too.
	again := NewStore(s.dir, 5*file)
	mustPut(t, again, keys[11], payload)
	if n := bytesIn(t, s.dir); n > 5*file {
		t.Errorf("%d bytes in the directory, limit %d", n, 5*file)
	}
	if err := again.Put(keys[12], make([]byte, 6*file)); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Errorf("Put of more than the limit: %v", err)
	}
	if _, err := again.Get(keys[11]); err != nil {
		t.Errorf("the newest program went: %v", err)
	}
	// One that fills the limit nearly alone must not be thrown out by its own arrival.
	mustPut(t, again, keys[13], make([]byte, 5*file-payloadOffset))
	if _, err := again.Get(keys[13]); err != nil {
		t.Errorf("a program of the limit's size went at once: %v", err)
	}
}

func TestLeftoversOfDeadWritersGo(t *testing.T) {
	s := NewStore(t.TempDir(), large)
	dead, live := filepath.Join(s.dir, ".dead123"), filepath.Join(s.dir, ".live123")
	for _, path := range []string{dead, live} {
		if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(dead, old, old); err != nil {
		t.Fatal(err)
	}
	mustPut(t, s, NewKey(), nil)
	if _, err := os.Stat(dead); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a leftover of two hours ago is still there: %v", err)
	}
	if _, err := os.Stat(live); err != nil {
		t.Errorf("a file that may still be written went: %v", err)
	}
}

func TestManyStoresInOneDirectory(t *testing.T) {
	dir := t.TempDir()
	// Few keys and a limit of five files of twenty: writers replace, evict and read one another's files all the time.
	const writers, rounds, programs, size = 8, 60, 20, 4096
	limit := int64(5 * (size + payloadOffset))
	payload := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, size) }
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			s := NewStore(dir, limit)
			for r := range rounds {
				i := (w*7 + r) % programs
				key := NewKey([]byte{byte(i)})
				got, err := s.Get(key)
				switch {
				case err == nil && !bytes.Equal(got, payload(i)):
					t.Errorf("program %d: wrong bytes", i)
				case err != nil && !errors.Is(err, fs.ErrNotExist):
					t.Errorf("program %d: %v", i, err)
				}
				if err := s.Put(key, payload(i)); err != nil {
					t.Errorf("put program %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
	last := NewStore(dir, limit)
	mustPut(t, last, NewKey([]byte("last")), nil)
	if n := bytesIn(t, dir); n > limit {
		t.Errorf("%d bytes in the directory, limit %d", n, limit)
	}
}

func TestAReadOnlyDirectoryStillGives(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root writes to directories of any mode; advlab/advlib/backend tests a read-only cache by other means")
	}
	s := NewStore(t.TempDir(), large)
	key := NewKey()
	mustPut(t, s, key, []byte("x"))
	if err := os.Chmod(s.dir, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(s.dir, 0o700) })
	if _, err := s.Get(key); err != nil {
		t.Error(err)
	}
	if err := s.Put(NewKey([]byte("other")), nil); err == nil {
		t.Error("Put into a read-only directory succeeded")
	}
}

func TestHashFileRemembers(t *testing.T) {
	s := NewStore(t.TempDir(), large)
	path := filepath.Join(t.TempDir(), "library")
	content := []byte("library one")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	link := path + ".link"
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	want := func(content []byte) string { sum := sha256.Sum256(content); return hex.EncodeToString(sum[:]) }
	check := func(what string, want string) {
		t.Helper()
		for _, p := range []string{path, link} {
			if got, err := s.HashFile(p); err != nil || got != want {
				t.Errorf("%s: HashFile(%s) = %s, %v, want %s", what, p, got, err, want)
			}
		}
	}
	check("first", want(content))
	notes, err := filepath.Glob(filepath.Join(s.dir, "*"+hashSuffix))
	if err != nil || len(notes) != 1 {
		t.Fatalf("notes %v, %v, want one", notes, err)
	}
	// That the second call reads the note shows when the note is made to lie.
	text, err := os.ReadFile(notes[0])
	if err != nil {
		t.Fatal(err)
	}
	lie := want([]byte("lie"))
	if err := os.WriteFile(notes[0], []byte(lie+string(text[64:])), 0o600); err != nil {
		t.Fatal(err)
	}
	check("remembered", lie)
	// A note that is not about this file, or damaged, is not believed.
	for _, bad := range []string{"", lie, lie + "\nanother file\n", "xyz" + string(text[3:]), string(text[:len(text)-1])} {
		if err := os.WriteFile(notes[0], []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		check(fmt.Sprintf("note %q", bad), want(content))
	}
	// Another file of the same size in its place has another inode and time.
	content = []byte("library two")
	if err := errors.Join(os.Remove(path), os.WriteFile(path, content, 0o600)); err != nil {
		t.Fatal(err)
	}
	check("replaced", want(content))
	if _, err := s.HashFile(path + ".missing"); err == nil {
		t.Error("HashFile of a missing file succeeded")
	}
}

func bytesIn(t *testing.T, dir string) (n int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		n += info.Size()
	}
	return n
}

// FuzzDecode holds the parser to two promises: it never fails but by an error, and it accepts exactly what Put writes.
func FuzzDecode(f *testing.F) {
	key := NewKey([]byte("fuzz"))
	f.Add([]byte{})
	f.Add(header(key, nil))
	f.Add(append(header(key, []byte("payload")), "payload"...))
	f.Add(append(header(key, []byte("payload")), "pay"...))
	f.Add(append(header(Key{}, []byte("payload")), "payload"...))
	f.Fuzz(func(t *testing.T, file []byte) {
		payload, err := decode(key, file)
		if err != nil {
			if !errors.Is(err, ErrRefused) || payload != nil {
				t.Fatalf("decode = %d bytes, %v", len(payload), err)
			}
			return
		}
		if again := append(header(key, payload), payload...); !bytes.Equal(again, file) {
			t.Fatalf("accepted %x, which Put would write as %x", file, again)
		}
	})
}
