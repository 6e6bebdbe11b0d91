package dataset

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"advlab/advlib"
)

// Folder reads a folder that has one folder for each class, with pictures in it or in folders below: the layout that
// torchvision calls ImageFolder, that of faces by person (the ORL faces' s1/1.pgm, Labeled Faces in the Wild), and any
// of one's own.
//
//	faces, err := dataset.Folder{Path: "orl_faces", Pictures: dataset.Pictures{Height: 56, Width: 46}}.Examples()
//	train, test, err := dataset.Shots(faces, 5, seed)
//
// Classes and pictures are in the order of their names, numbers in them by their value: s2 before s10. torchvision
// takes the order of text, in which s10 comes before s2, so that 10 classes that are called by their numbers from 1 are
// not in the order of their numbers. Where the two orders of classes differ, a note says so, and Classes says what a
// model from elsewhere needs. Files that are no pictures by their names are passed over.
type Folder struct {
	// Path is the folder.
	Path string
	// Pictures says how files become inputs.
	Pictures
	// Classes are the folders to take, in the order of the labels; nil means all.
	Classes []string
	// AtLeast leaves out classes with fewer pictures, as persons of whom there are too few photographs; 0 means none.
	AtLeast int
}

// Examples reads the pictures.
func (f Folder) Examples() (*advlib.Examples, error) {
	g, err := f.examples()
	if err != nil {
		return nil, fmt.Errorf("dataset: %s: %w", f.Path, err)
	}
	return g.Examples, nil
}

func (f Folder) examples() (*Grouped, error) {
	if f.AtLeast < 0 {
		return nil, fmt.Errorf("classes with at least %d pictures are asked for: give a number from 0 up", f.AtLeast)
	}
	classes, notes, err := f.classes()
	if err != nil {
		return nil, err
	}
	var names []string
	var entries []entry
	few := 0
	for _, class := range classes {
		paths, err := picturesBelow(filepath.Join(f.Path, class))
		if err != nil {
			return nil, err
		}
		if len(paths) < f.AtLeast {
			few++
			continue
		}
		if len(paths) == 0 {
			return nil, fmt.Errorf("the folder %s has no pictures: take it away, or leave it out by Folder.Classes or Folder.AtLeast", class)
		}
		for _, path := range paths {
			entries = append(entries, entry{path: path, label: int32(len(names)), group: path})
		}
		names = append(names, class)
	}
	if len(entries) == 0 {
		return nil, fmt.Errorf("none of its %d classes has %d pictures", len(classes), f.AtLeast)
	}
	if few > 0 {
		notes = append(notes, fmt.Sprintf("%d of %d classes have fewer than %d pictures and are left out", few, len(classes), f.AtLeast))
	}
	g, err := f.read(f.Path, names, entries)
	if err == nil {
		g.Notes = append(notes, g.Notes...)
	}
	return g, err
}

// classes returns the folders of the classes in the order of the labels.
func (f Folder) classes() (classes, notes []string, err error) {
	inside, err := os.ReadDir(f.Path)
	if err != nil {
		return nil, nil, err
	}
	loose := 0
	for _, e := range inside {
		info, err := os.Stat(filepath.Join(f.Path, e.Name())) // a link to a folder is one
		switch {
		case strings.HasPrefix(e.Name(), "."):
		case err == nil && info.IsDir():
			classes = append(classes, e.Name())
		case isPicture(e.Name()):
			loose++
		}
	}
	switch {
	case len(classes) == 0 && loose > 0:
		return nil, nil, fmt.Errorf("it has %d pictures and no folders: put those of each class into a folder", loose)
	case len(classes) == 0:
		return nil, nil, fmt.Errorf("it has no folders: it must have one for each class")
	case loose > 0:
		notes = append(notes, fmt.Sprintf("%d pictures lie beside the folders of the classes, and are of none: they are left out", loose))
	}
	if f.Classes != nil {
		for i, class := range f.Classes {
			if !slices.Contains(classes, class) {
				return nil, nil, fmt.Errorf("it has no folder %q: it has %s", class, few(classes))
			}
			if slices.Contains(f.Classes[:i], class) {
				return nil, nil, fmt.Errorf("Folder.Classes names %q twice", class)
			}
		}
		if n := len(classes) - len(f.Classes); n > 0 {
			notes = append(notes, fmt.Sprintf("%d of %d folders are taken as classes", len(f.Classes), len(classes)))
		}
		return f.Classes, notes, nil
	}
	slices.SortFunc(classes, byNumber)
	if !slices.IsSorted(classes) {
		notes = append(notes, "the classes are in the order of the numbers in their names; a model trained with torchvision's ImageFolder "+
			"has them in the order of text: give that by Folder.Classes")
	}
	return classes, notes, nil
}

// few names the first of many.
func few(names []string) string {
	const most = 20
	if n := len(names) - most; n > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), n)
	}
	return strings.Join(names, ", ")
}

// picturesBelow returns the paths of the pictures in a folder and in those below it, in the order of their names.
func picturesBelow(folder string) ([]string, error) {
	if real, err := filepath.EvalSymlinks(folder); err == nil {
		folder = real
	}
	var paths []string
	err := filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && strings.HasPrefix(e.Name(), ".") && path != folder:
			return filepath.SkipDir
		case !e.IsDir() && isPicture(e.Name()):
			paths = append(paths, path)
		}
		return nil
	})
	slices.SortFunc(paths, byNumber)
	return paths, err
}

// byNumber compares names, numbers in them by their value.
func byNumber(a, b string) int {
	x, y := a, b
	for x != "" && y != "" {
		if isDigit(x[0]) && isDigit(y[0]) {
			n, m := leadingDigits(x), leadingDigits(y)
			p, q := strings.TrimLeft(n, "0"), strings.TrimLeft(m, "0")
			if c := cmp.Or(cmp.Compare(len(p), len(q)), cmp.Compare(p, q)); c != 0 {
				return c
			}
			x, y = x[len(n):], y[len(m):]
			continue
		}
		if x[0] != y[0] {
			return cmp.Compare(x[0], y[0])
		}
		x, y = x[1:], y[1:]
	}
	return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(a, b))
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func leadingDigits(s string) string {
	return s[:len(s)-len(strings.TrimLeft(s, "0123456789"))]
}
