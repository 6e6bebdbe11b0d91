package onnx

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// store is where a model's external data may lie: in the folder in which the model was named, or in the one in which it
// really is, when its name is a symbolic link. Caches lay models out so: Hugging Face's has
// snapshots/REVISION/model.onnx and its data as links to ../../blobs/HASH.
type store struct {
	named string     // the folder in which the model was named
	roots []*os.Root // the real folders: of the name, and of the file
	paths []string   // of roots
	model string     // the name of the file in the last of roots
}

// openStore opens the folders of the model at path.
func openStore(path string) (*store, error) {
	s := &store{named: filepath.Dir(path)}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	folder, err := filepath.EvalSymlinks(s.named)
	if err != nil {
		return nil, err
	}
	s.model = filepath.Base(real)
	for i, dir := range []string{folder, filepath.Dir(real)} {
		if dir, err = filepath.Abs(dir); err == nil && (i == 0 || dir != s.paths[0]) {
			var root *os.Root
			if root, err = os.OpenRoot(dir); err == nil {
				s.roots, s.paths = append(s.roots, root), append(s.paths, dir)
			}
		}
		if err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

// read returns the model's file.
func (s *store) read() ([]byte, error) { return s.roots[len(s.roots)-1].ReadFile(s.model) }

func (s *store) close() {
	for _, root := range s.roots {
		_ = root.Close() // read only: nothing is lost
	}
}

// open opens external data. The location is relative to the folder in which the model was named, or else to its real
// one. Links may lead from one folder to the other, and nowhere else. The file is found by its real path, but opened
// below one of the folders as they were opened first, so that a link that is changed meanwhile leads nowhere else
// either.
func (s *store) open(location string) (*os.File, error) {
	if !filepath.IsLocal(location) {
		return nil, fmt.Errorf("its path %q escapes from the model's folder", location)
	}
	real, err := filepath.EvalSymlinks(filepath.Join(s.named, location))
	if errors.Is(err, fs.ErrNotExist) && len(s.roots) > 1 {
		if beside, second := filepath.EvalSymlinks(filepath.Join(s.paths[1], location)); second == nil {
			real, err = beside, nil
		}
	}
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if err != nil {
		return nil, err
	}
	for i, root := range s.roots {
		if inside, err := filepath.Rel(s.paths[i], real); err == nil && filepath.IsLocal(inside) {
			return root.Open(inside)
		}
	}
	return nil, fmt.Errorf("its path %q is a link that escapes from the model's folder, to %s: data may lie below the "+
		"folder in which the model was named, or the one in which it really is", location, real)
}
