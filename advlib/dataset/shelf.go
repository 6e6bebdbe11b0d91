package dataset

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"advlab/advlib/cachedir"
)

// Variable names the environment variable with the folder of data files.
const Variable = "ADVLAB_DATA"

// OfflineVariable names the environment variable that, set to 1, forbids downloads.
const OfflineVariable = "ADVLAB_OFFLINE"

// MissingError says which files of a dataset were found nowhere, and where to put them.
type MissingError struct {
	// Dataset is its name.
	Dataset string
	// Files are those missing.
	Files []string
	// Folders are where they may lie, with or without .gz.
	Folders []string
	// Why is the reason for not downloading them.
	Why error
}

// Error names the files and the folders.
func (e *MissingError) Error() string {
	packed := " (or with .gz)"
	if strings.Contains(e.Files[0], ".") { // it has an ending of its own
		packed = ""
	}
	return fmt.Sprintf("dataset: %s: %s not found: put %s%s into one of %s; %v", e.Dataset, plural(len(e.Files)),
		strings.Join(e.Files, ", "), packed, strings.Join(e.Folders, ", "), e.Why)
}

// Unwrap returns Why.
func (e *MissingError) Unwrap() error { return e.Why }

func plural(n int) string {
	if n == 1 {
		return "a file was"
	}
	return fmt.Sprintf("%d files were", n)
}

// shelf is where the files of a dataset are looked for, and where they are downloaded from.
type shelf struct {
	name   string
	folder string            // below ADVLAB_DATA, and in the cache
	direct bool              // the files may also lie in ADVLAB_DATA itself
	urls   []string          // folders, tried in this order
	sums   map[string]string // sha256 of the files as they are downloaded
}

// folders returns the folders to look in; the last is the cache's.
func (s shelf) folders() ([]string, error) {
	cache, err := cachedir.Root()
	if err != nil {
		return nil, err
	}
	var folders []string
	if data := os.Getenv(Variable); data != "" {
		folders = append(folders, filepath.Join(data, s.folder))
		if s.direct {
			folders = append(folders, data)
		}
	}
	return append(folders, filepath.Join(cache, "data", s.folder)), nil
}

// download downloads files that lie nowhere into the cache, and returns their paths. Missing are the names that a user
// would look for; without a network, or where downloads are forbidden, the error says where to put them.
func (s shelf) download(ctx context.Context, missing []string, files ...string) ([]string, error) {
	folders, err := s.folders()
	if err != nil {
		return nil, err
	}
	cache := folders[len(folders)-1]
	// The folder that a user would choose comes first; with no variable set it is the one to set.
	lost := &MissingError{Dataset: s.name, Files: missing, Folders: folders}
	if os.Getenv(Variable) == "" {
		lost.Folders = append([]string{"a folder " + s.folder + " in $" + Variable}, folders...)
	}
	if os.Getenv(OfflineVariable) == "1" {
		lost.Why = fmt.Errorf("they are not downloaded because %s=1", OfflineVariable)
		return nil, lost
	}
	var paths []string
	for _, file := range files {
		path, err := download(ctx, cache, file, s.sums[file], s.urls)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			lost.Why = fmt.Errorf("downloading failed: %w", err)
			return nil, lost
		}
		paths = append(paths, path)
	}
	return paths, nil
}
