// Package stamp remembers what a finished step of the set-up was made from and what it made, so that a step with
// nothing to do is recognised in milliseconds, and a damaged or half-made piece is made again.
//
//	if reason := stamp.Valid(file, inputs); reason != "" { // such as "not made yet"
//		build()
//		err = stamp.Write(file, inputs, products)
//	}
//
// A stamp is removed before its step begins and written, atomically, after the step has ended: an interrupted step
// leaves none.
package stamp

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
	"slices"

	"github.com/google/renameio/v2"
)

// File is one product of a step. Size and modification time stand for the content: hashing 250 MB at every start
// would cost more than the rest of the check.
type File struct {
	Path string `json:"path"` // absolute
	Size int64  `json:"size"` // bytes
	Time int64  `json:"time"` // modification time, seconds since 1970: images and archives keep no fractions
}

// Stamp is what one finished step leaves.
type Stamp struct {
	Inputs string `json:"inputs"` // a Hash
	Files  []File `json:"files"`
}

// NotMade is the reason given where no stamp is: the step never ran, or was interrupted.
const NotMade = "not made yet"

// Valid reports whether the stamp in file was left by a step with these inputs, whose products are all unchanged.
// The reason says what is wrong; it is empty when the stamp is valid.
func Valid(file, inputs string) (reason string) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return NotMade
	}
	if err != nil {
		return err.Error()
	}
	var s Stamp
	if err := json.Unmarshal(text, &s); err != nil {
		return "its stamp is damaged"
	}
	if s.Inputs != inputs {
		return "what it is made from has changed"
	}
	for _, want := range s.Files {
		got, err := fileOf(want.Path)
		if err != nil {
			return want.Path + " is gone"
		}
		// An archive may round a time up.
		if got.Size != want.Size || got.Time < want.Time || got.Time > want.Time+1 {
			return want.Path + " was changed"
		}
	}
	return ""
}

// Write records the products of a finished step, which must all exist.
func Write(file, inputs string, products []string) error {
	s := Stamp{Inputs: inputs, Files: []File{}}
	for _, path := range products {
		f, err := fileOf(path)
		if err != nil {
			return fmt.Errorf("stamp: the step ended, but left no %s: %w", path, err)
		}
		s.Files = append(s.Files, f)
	}
	text, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return renameio.WriteFile(file, append(text, '\n'), 0o600)
}

// Remove forgets a step.
func Remove(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func fileOf(path string) (File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return File{}, err
	}
	if info.IsDir() {
		// A directory's size and time change with every entry; that it is there is all that is asked.
		return File{Path: path}, nil
	}
	return File{Path: path, Size: info.Size(), Time: info.ModTime().Unix()}, nil
}

// Hash returns the SHA-256, in hexadecimal, of named inputs: the parts' lengths are hashed too, so that no two lists
// of parts are confused.
func Hash(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// HashFiles returns a hash of the names and contents of the files. A missing file counts as such; it is no error.
func HashFiles(files ...string) (string, error) {
	files = slices.Clone(files)
	slices.Sort(files)
	parts := make([]string, 0, 2*len(files))
	for _, file := range files {
		sum, err := hashFile(file)
		if err != nil {
			return "", err
		}
		parts = append(parts, file, sum)
	}
	return Hash(parts...), nil
}

func hashFile(file string) (string, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "missing", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
