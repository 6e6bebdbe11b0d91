// Package cachedir says where advlab keeps what it can make again: compiled executables, kept models and results,
// downloaded data, and, put there by the kernel's set-up, the PJRT plugin, the tools and the Python environment.
//
//	dir, err := cachedir.Dir("executables") // such as ~/.cache/advlab/executables
//
// It imports the standard library only, so that the kernel, which imports nothing else of advlib but the plugin
// finder, agrees with the cells on the place.
package cachedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Variable names the environment variable that moves the whole cache.
const Variable = "ADVLAB_CACHE"

// Root returns the cache's root: $ADVLAB_CACHE, which must be an absolute path, else advlab/ in the user's cache
// directory. It creates nothing.
func Root() (string, error) {
	if root := os.Getenv(Variable); root != "" {
		if !filepath.IsAbs(root) {
			return "", fmt.Errorf("cachedir: %s=%q is not an absolute path: cells run in directories of their own, so set a path that starts with /",
				Variable, root)
		}
		return filepath.Clean(root), nil
	}
	user, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("cachedir: no user cache directory (%w): set %s to an absolute path", err, Variable)
	}
	return filepath.Join(user, "advlab"), nil
}

// Dir returns the directory elem... below Root, created for the user alone (mode 0700) where it is missing.
// A directory that exists but may not be written, as in an image whose cache is baked in, is returned as it is.
func Dir(elem ...string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(append([]string{root}, elem...)...)
	if err := os.MkdirAll(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("cachedir: %w: make it writable, or set %s to another absolute path", err, Variable)
	}
	return dir, nil
}
