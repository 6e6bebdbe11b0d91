package main

import (
	"fmt"

	"github.com/spf13/pflag"

	"advlab/advlib"
	"advlab/advlib/dataset"
)

// dataFlags are the flags that say which examples are meant.
type dataFlags struct {
	data, x, y, scale string
	limit             int
}

// add adds the flags; about is the help of --data, and limit the default of --limit.
func (d *dataFlags) add(f *pflag.FlagSet, about string, limit int) {
	f.StringVar(&d.data, "data", "", about)
	d.addForm(f, limit)
}

// addForm adds those that say how a file is read.
func (d *dataFlags) addForm(f *pflag.FlagSet, limit int) {
	f.StringVar(&d.x, "x", "", "name of the array of inputs, if it is not x or another usual one")
	f.StringVar(&d.y, "y", "", "name of the array of labels")
	f.StringVar(&d.scale, "scale", "1", "factor for x: 1/255 brings bytes to 0..1")
	f.IntVar(&d.limit, "limit", limit, "use the first N examples only; 0 means all")
}

// labelled is the help of --data where it says no more.
const labelled = "labelled examples, .npz with x and y"

// examplesFile is a file of examples that a flag names, checked but not read.
type examplesFile struct {
	flag string
	dataset.File
}

// check refuses flags before anything is read.
func (d dataFlags) check() (examplesFile, error) {
	if d.data == "" {
		return examplesFile{}, misuse("--data is missing: name a file .npz with x and y")
	}
	return d.file("data", d.data)
}

// file is a file that another flag names, and that is read in the same way.
func (d dataFlags) file(flag, path string) (examplesFile, error) {
	e := examplesFile{flag, dataset.File{Path: path, X: d.x, Y: d.y, First: d.limit}}
	if d.limit < 0 {
		return e, misuse("--limit: %d is below 0", d.limit)
	}
	var err error
	if e.Scale, err = number("scale", d.scale); err != nil {
		return e, err
	}
	if e.Scale == 0 {
		return e, misuse("--scale: 0 makes no inputs: give another factor, such as 1/255 for bytes")
	}
	return e, nil
}

// read reads the examples; what is wrong with them is the user's to mend.
func (f examplesFile) read() (*advlib.Examples, error) {
	e, err := f.Examples()
	if err != nil {
		return nil, statusError{misused, fmt.Errorf("--%s: %w", f.flag, err)}
	}
	return e, nil
}

// fit names the classes of examples, and refuses those that a classifier does not take.
func (f examplesFile) fit(c *advlib.Classifier, e *advlib.Examples, classes []string) error {
	e.Classes = classes
	if err := e.Check(advlib.Spec{Name: c.Name(), Input: c.Input(), Box: c.Box(), Domain: c.Domain()}, c.Classes()); err != nil {
		return statusError{misused, fmt.Errorf("--%s: %s: %w", f.flag, f.Path, err)}
	}
	return nil
}
