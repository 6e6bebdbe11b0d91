package session

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"advlab/kernel/internal/place"
)

// Facts is what the set-up found out and a starting kernel has to know. It lies in the workspace, so that a kernel
// needs neither the checkout nor the environment of the shell that ran the set-up.
type Facts struct {
	Checkout  string `json:"checkout"`   // the advlab checkout that the workspace pins
	GoRoot    string `json:"goroot"`     // of the toolchain that built the warm cache
	GoVersion string `json:"go_version"` // such as go1.26.5
	CGO       bool   `json:"cgo"`        // false: no C compiler, or CGO_ENABLED=0; cells use the pure Go backend
	Plugin    string `json:"plugin"`     // folder with the PJRT plugin; empty where there is none
}

// ErrNotPrepared is returned for a workspace that no set-up has finished.
var ErrNotPrepared = errors.New("not set up")

// ReadFacts reads the facts of a prepared workspace.
func ReadFacts(p place.Place) (Facts, error) {
	text, err := os.ReadFile(p.Facts())
	if errors.Is(err, fs.ErrNotExist) {
		return Facts{}, fmt.Errorf("%w: %s is missing: run `go run ./kernel setup` in the advlab checkout", ErrNotPrepared, p.Facts())
	}
	if err != nil {
		return Facts{}, err
	}
	var f Facts
	if err := json.Unmarshal(text, &f); err != nil {
		return Facts{}, fmt.Errorf("%w: %s is damaged (%w): run `go run ./kernel setup` in the advlab checkout", ErrNotPrepared, p.Facts(), err)
	}
	return f, nil
}

// WriteFacts writes the facts unless they are already there: an image's cache is read-only.
func WriteFacts(p place.Place, f Facts) error {
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if old, err := os.ReadFile(p.Facts()); err == nil && bytes.Equal(old, text) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(p.Facts()), 0o700); err != nil {
		return err
	}
	return renameio.WriteFile(p.Facts(), text, 0o600)
}
