package setup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"advlab/kernel/internal/place"
	"advlab/kernel/internal/stamp"
)

// programStep copies the running program into the workspace: kernelspecs must not depend on `go run`, whose program is
// in the build cache and may go at any time.
func (m *machine) programStep() step {
	target := m.place.Program()
	return step{
		name:  "program",
		doing: "copying this program for the kernelspecs",
		stamp: "program-" + m.place.Key(),
		// The content decides, so that the copy, when it runs itself, finds nothing to do.
		inputs: func() (string, error) {
			self, err := os.Executable()
			if err != nil {
				return "", fmt.Errorf("finding this program: %w", err)
			}
			return hashContent(self)
		},
		make: func(context.Context, *work) (made, error) {
			self, err := os.Executable()
			if err != nil {
				return made{}, err
			}
			if self == target {
				return made{[]string{target}, ""}, nil
			}
			return made{[]string{target}, place.Short(target)}, copyFile(self, target, 0o700)
		},
	}
}

// pumpStep builds the small program that runs what cells run.
func (m *machine) pumpStep() step {
	target, sources := m.place.Pump(), []string{"kernel/pump", "kernel/internal/pump"}
	return step{
		name:  "pump",
		doing: "building the program that runs cells",
		stamp: "pump-" + m.place.Key(),
		inputs: func() (string, error) {
			files := []string{filepath.Join(m.place.Checkout, "go.mod"), filepath.Join(m.place.Checkout, "go.sum")}
			for _, dir := range sources {
				found, err := filepath.Glob(filepath.Join(m.place.Checkout, filepath.FromSlash(dir), "*.go"))
				if err != nil {
					return "", err
				}
				files = append(files, found...)
			}
			content, err := stamp.HashFiles(files...)
			return stamp.Hash(content, target, m.goTool.Version), err
		},
		make: func(ctx context.Context, w *work) (made, error) {
			args := []string{"build", "-trimpath", "-ldflags=-s -w", "-o", target, "./" + sources[0]}
			if err := w.run(ctx, m.place.Checkout, m.goEnv("CGO_ENABLED=0"), "go", args...); err != nil {
				return made{}, m.offlineHint(err)
			}
			return made{[]string{target}, place.Short(target)}, nil
		},
	}
}

func hashContent(file string) (string, error) {
	f, err := os.Open(file)
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

// copyFile copies a file, atomically.
func copyFile(from, to string, mode os.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	out, err := renameio.NewPendingFile(to, renameio.WithPermissions(mode))
	if err != nil {
		return err
	}
	defer func() { _ = out.Cleanup() }() // after a success nothing is left
	if _, err := io.Copy(out, in); err != nil {
		return fmt.Errorf("copying %s to %s: %w", from, to, err)
	}
	return out.CloseAtomicallyReplace()
}
