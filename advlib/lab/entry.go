package lab

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/cpu"

	"advlab/advlib/cachedir"
)

// Entry is a kept value's provenance.
type Entry struct {
	// Key and Kind identify the value; Name is the recipe's.
	Key, Kind, Name string
	// Damaged says what is wrong with an entry that cannot be read; empty for a good one.
	Damaged string `json:",omitempty"`
	// Parts are what it is made of, long ones as their hash.
	Parts map[string]string
	// Library is the version of advlib and GoMLX, Modules are versions of what computes, Go that of the compiler.
	Library string
	Modules map[string]string
	Go      string
	// Backend describes where it was computed, Host the machine: system, processors, their vector instructions.
	Backend, Host string
	// Made is when it was finished, Seconds how long it took.
	Made    time.Time
	Seconds float64
	// Files are what it consists of.
	Files []File
	// Sum is the sha256 of all this with an empty Sum.
	Sum string
}

// File is one file of an entry.
type File struct {
	Name   string
	Bytes  int64
	SHA256 string
}

// Bytes returns the size of the value on disk, without its provenance.
func (e Entry) Bytes() int64 {
	var n int64
	for _, f := range e.Files {
		n += f.Bytes
	}
	return n
}

// String is one line: the beginning of the key, kind, size, when it was made, how long that took, and the name.
func (e Entry) String() string {
	if e.Damaged != "" {
		return fmt.Sprintf("%.12s  damaged: %s", e.Key, e.Damaged)
	}
	return fmt.Sprintf("%.12s  %-8s  %9d bytes  %s  %6.1f s  %s", e.Key, e.Kind, e.Bytes(),
		e.Made.Local().Format("2006-01-02 15:04"), e.Seconds, e.Name)
}

const provenanceFile = "provenance.json"

// directory returns a directory of the store, created if need be.
func directory(elem ...string) (string, error) {
	return cachedir.Dir(append([]string{"store"}, elem...)...)
}

// place returns where the entry with a key lies, or would.
func place(key string) (string, error) {
	root, err := cachedir.Root()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, "store", key[:2], key), nil
}

// readEntry returns the provenance of the entry in a directory after comparing every checksum. It is fs.ErrNotExist
// when there is none.
func readEntry(dir string) (Entry, error) {
	var e Entry
	text, err := os.ReadFile(filepath.Join(dir, provenanceFile))
	if errors.Is(err, fs.ErrNotExist) {
		if _, statErr := os.Stat(dir); statErr == nil {
			return e, fmt.Errorf("%s is missing", provenanceFile)
		}
		return e, err
	}
	if err != nil {
		return e, err
	}
	if err := json.Unmarshal(text, &e); err != nil {
		return e, fmt.Errorf("%s: %w", provenanceFile, err)
	}
	if e.Sum != e.sum() {
		return e, fmt.Errorf("%s does not have its checksum", provenanceFile)
	}
	if e.Key != filepath.Base(dir) {
		return e, fmt.Errorf("it is the entry %s", e.Key)
	}
	for _, f := range e.Files {
		got, err := sumFile(dir, f.Name)
		if err != nil {
			return e, fmt.Errorf("%s cannot be read: %v", f.Name, err) // the entry exists, and is damaged
		}
		if got != f {
			return e, fmt.Errorf("%s does not have its size and checksum", f.Name)
		}
	}
	return e, nil
}

// seal fills in what is known of a value whose files have been written to dir, and writes its provenance there.
func (e *Entry) seal(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		sum, err := sumFile(dir, f.Name())
		if err != nil {
			return err
		}
		e.Files = append(e.Files, sum)
	}
	e.Library, e.Go, e.Host = Version(), runtime.Version(), host()
	e.Modules = make(map[string]string)
	for _, m := range []string{"github.com/gomlx/gomlx", "github.com/gomlx/compute", "github.com/gomlx/go-xla"} {
		e.Modules[m] = moduleVersion(m)
	}
	e.Sum = e.sum()
	text, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(dir, provenanceFile, func(w io.Writer) error { _, err := w.Write(append(text, '\n')); return err })
}

func (e Entry) sum() string {
	e.Sum = ""
	text, err := json.Marshal(e)
	if err != nil {
		return err.Error() // an infinite number of seconds: equal to nothing
	}
	return digest(text)
}

func sumFile(dir, name string) (File, error) {
	f, err := os.Open(filepath.Join(dir, filepath.Base(name)))
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return File{Name: name, Bytes: n, SHA256: hex.EncodeToString(h.Sum(nil))}, err
}

// writeFile writes a new file of an entry, through to the disk.
func writeFile(dir, name string, write func(w io.Writer) error) error {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(write(f), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// host describes the machine. Vector instructions matter because they change the last bits.
func host() string {
	features := []string{}
	for _, f := range []struct {
		name string
		has  bool
	}{
		{"avx2", cpu.X86.HasAVX2}, {"fma", cpu.X86.HasFMA}, {"avx512f", cpu.X86.HasAVX512F}, {"avx512bf16", cpu.X86.HasAVX512BF16},
		{"amx", cpu.X86.HasAMXTile}, {"asimd", cpu.ARM64.HasASIMD}, {"sve", cpu.ARM64.HasSVE},
	} {
		if f.has {
			features = append(features, f.name)
		}
	}
	return strings.TrimSpace(fmt.Sprintf("%s/%s, %d processors %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(),
		strings.Join(features, " ")))
}

// List returns the provenance of everything that is kept, newest first. Damaged entries have their Key and Damaged
// only.
func List() ([]Entry, error) {
	root, err := cachedir.Root()
	if err != nil {
		return nil, err
	}
	dirs, err := filepath.Glob(filepath.Join(root, "store", "[0-9a-f][0-9a-f]", "*"))
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	var entries []Entry
	for _, dir := range dirs {
		e, err := readEntry(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist): // removed in the meantime
			continue
		case err != nil:
			e = Entry{Key: filepath.Base(dir), Damaged: err.Error()}
		}
		entries = append(entries, e)
	}
	slices.SortStableFunc(entries, func(a, b Entry) int { return b.Made.Compare(a.Made) })
	return entries, nil
}

// Remove deletes the entry with a key, which may be shortened to what is unique. It is an error if there is none.
func Remove(key string) error {
	entries, err := List()
	if err != nil {
		return err
	}
	var found []string
	for _, e := range entries {
		if key != "" && strings.HasPrefix(e.Key, key) {
			found = append(found, e.Key)
		}
	}
	if len(found) != 1 {
		return fmt.Errorf("lab: %d of %d entries have a key that begins with %q: give one key of lab.List", len(found), len(entries), key)
	}
	dir, err := place(found[0])
	if err != nil {
		return err
	}
	if err := discard(dir); err != nil {
		return fmt.Errorf("lab: removing %s: %w", found[0], err)
	}
	return nil
}

// discard moves an entry out of the way, so that no reader meets half of it, and deletes it.
func discard(dir string) error {
	tmp, err := directory("tmp")
	if err != nil {
		return err
	}
	away, err := os.MkdirTemp(tmp, filepath.Base(dir)+"-")
	if err != nil {
		return err
	}
	if err := os.Rename(dir, filepath.Join(away, "old")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(away)
}
