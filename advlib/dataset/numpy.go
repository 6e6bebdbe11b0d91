package dataset

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/internal/npz"
	"advlab/advlib/internal/option"
)

// File says what is read of a file that numpy.savez or numpy.savez_compressed wrote. Only the two arrays that are asked
// for are decoded: the others may hold anything.
//
// Inputs x [n, d...] may be floats of 16, 32 or 64 bits, integers, or booleans, in either byte order and either memory
// order. They become float32 with their values unchanged, but for Scale: pixels stored as bytes stay in 0..255.
//
// Labels y are n numbers of classes, counted from 0. These are read too, and said in [advlib.Examples.Notes]: the shape
// [n, 1], floats that are whole numbers, booleans, and one-hot rows [n, K]. What could mean several things is refused,
// with the line of NumPy that says which: text, labels below 0, probabilities.
type File struct {
	// Path is where the file is.
	Path string
	// X and Y are the names of the arrays. Where they are empty, the arrays are called x and y; or, where there is one
	// pair of usual names only, these: images and labels, data and target, x_test and y_test, test_images and test_labels
	// (MedMNIST), arr_0 and arr_1, in capitals too. Arrays for training and validation are passed over.
	X, Y string
	// Scale is a factor for x: 1./255 brings bytes to [0, 1]. 0 means 1.
	Scale float64
	// First is how many examples are read, from the first on; 0 means all. The rest is not read, nor does it take memory.
	First int
}

// Examples reads the examples.
func (f File) Examples() (*advlib.Examples, error) {
	e, err := f.examples()
	if err != nil {
		return nil, fmt.Errorf("dataset: %s: %w", f.Path, err)
	}
	return e, nil
}

func (f File) examples() (*advlib.Examples, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	file, err := npz.Open(f.Path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	x, y, notes, err := f.arrays(file)
	if err != nil {
		return nil, err
	}
	if err := checkInputs(x); err != nil {
		return nil, err
	}
	if len(y.Shape) == 0 || y.Shape[0] != x.Shape[0] {
		return nil, fmt.Errorf("%s has the shape %v and %s the shape %v: there must be one label for each input", y.Name, y.Shape,
			x.Name, x.Shape)
	}
	n := f.rows(x)
	e := &advlib.Examples{Name: f.Path, Notes: notes}
	var note string
	if e.Y, note, err = readLabels(y, n); err != nil {
		return nil, err
	}
	if note != "" {
		e.Notes = append(e.Notes, note)
	}
	e.X, err = f.inputs(x, n)
	return e, err
}

// Inputs reads the inputs [n, d...] alone, for what needs no labels: the file need not have any.
func (f File) Inputs() (*tensors.Tensor, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	file, err := npz.Open(f.Path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	const any = "y" // a label to look for, whether there is one or not
	name, _, found := findPair(append(file.Names(), any), f.X, any)
	if !found || !slices.Contains(file.Names(), name) {
		return nil, fmt.Errorf("it has the arrays %s, and which are the inputs cannot be told: name the array by %v", listed(file),
			option.Name("dataset.File.X"))
	}
	x, err := file.Array(name)
	if err == nil {
		err = checkInputs(x)
	}
	if err != nil {
		return nil, err
	}
	return f.inputs(x, f.rows(x))
}

// check refuses what makes no inputs, and fills in the scale.
func (f *File) check() error {
	if f.Scale == 0 {
		f.Scale = 1
	}
	if math.IsNaN(f.Scale) || math.IsInf(f.Scale, 0) {
		return fmt.Errorf("the scale %g makes no inputs: give a finite number other than 0, such as 1./255", f.Scale)
	}
	if f.First < 0 {
		return fmt.Errorf("the first %d examples are asked for: give a number above 0, or 0 for all", f.First)
	}
	return nil
}

// checkInputs refuses an array that holds no inputs.
func checkInputs(x *npz.Array) error {
	switch {
	case len(x.Shape) < 2:
		return fmt.Errorf("%s has the shape %v: its first axis must be the examples and the others one input%s", x.Name, x.Shape,
			columnAdvice(x))
	case slices.Contains(x.Shape, 0):
		return fmt.Errorf("%s has the shape %v: there are no examples in it", x.Name, x.Shape)
	}
	return nil
}

// rows is how many examples are read.
func (f File) rows(x *npz.Array) int {
	if f.First > 0 {
		return min(x.Shape[0], f.First)
	}
	return x.Shape[0]
}

// inputs reads the first n inputs.
func (f File) inputs(x *npz.Array, n int) (t *tensors.Tensor, err error) {
	t = tensors.FromShape(shapes.Make(dtypes.Float32, append([]int{n}, x.Shape[1:]...)...))
	tensors.MustMutableFlatData(t, func(flat []float32) {
		err = x.Numbers(n, func(i int, v float64) { flat[i] = float32(v * f.Scale) })
	})
	return t, err
}

// columnAdvice is advice for inputs of one number.
func columnAdvice(x *npz.Array) string {
	if len(x.Shape) == 1 {
		return fmt.Sprintf(" (inputs of one number: save %s[:, None])", x.Name)
	}
	return ""
}

// arrays returns the arrays of inputs and labels, and what is to be said of how they were found.
func (f File) arrays(file *npz.File) (x, y *npz.Array, notes []string, err error) {
	names := file.Names()
	nameX, nameY, found := f.X, f.Y, true
	if nameX == "" || nameY == "" {
		var pairX, pairY string
		pairX, pairY, found = findPair(names, f.X, f.Y)
		if found && (f.X == "" && pairX != "x" || f.Y == "" && pairY != "y") {
			notes = append(notes, fmt.Sprintf("the inputs are the array %s and the labels the array %s, of %s", pairX, pairY, listed(file)))
		}
		nameX, nameY = pairX, pairY
	}
	if !found {
		return nil, nil, nil, fmt.Errorf("it has the arrays %s: examples need x, the inputs, and y, the labels, as "+
			"numpy.savez(path, x=x, y=y) writes them; "+
			"or say which two they are, by %v", listed(file), option.Name("dataset.File.X and Y"))
	}
	for _, name := range []string{nameX, nameY} {
		if !slices.Contains(names, name) {
			return nil, nil, nil, fmt.Errorf("it has no array %s: it has the arrays %s", name, listed(file))
		}
	}
	if x, err = file.Array(nameX); err == nil {
		y, err = file.Array(nameY)
	}
	return x, y, notes, err
}

// Usual names of inputs and of labels, in small letters.
var (
	inputNames = []string{"x", "images", "image", "data", "inputs", "features", "samples", "arr_0"}
	labelNames = []string{"y", "labels", "label", "target", "targets", "classes", "arr_1"}
)

// findPair finds the names of the inputs and the labels. A name that is given is taken. Else there must be just one
// usual name, such as images; if there is none, just one for testing, such as test_images. ok is false if there are
// none, or several.
func findPair(names []string, givenX, givenY string) (x, y string, ok bool) {
	if slices.Contains(names, "x") && givenX == "" {
		givenX = "x"
	}
	if slices.Contains(names, "y") && givenY == "" {
		givenY = "y"
	}
	find := func(given string, usual []string, test bool) []string {
		if given != "" {
			return []string{given}
		}
		var all []string
		for _, name := range names {
			bare, tested := strings.ToLower(name), false
			for _, word := range []string{"test_", "_test"} {
				if s := strings.TrimSuffix(strings.TrimPrefix(bare, word), word); s != bare {
					bare, tested = s, true
				}
			}
			if tested == test && slices.Contains(usual, bare) {
				all = append(all, name)
			}
		}
		return all
	}
	for _, test := range []bool{false, true} {
		xs, ys := find(givenX, inputNames, test), find(givenY, labelNames, test)
		if len(xs) == 1 && len(ys) == 1 {
			return xs[0], ys[0], true
		}
	}
	return "", "", false
}

// readLabels reads the labels of the first n examples, and says what was made of them.
func readLabels(y *npz.Array, n int) (labels []int32, note string, err error) {
	width := 1
	for _, d := range y.Shape[1:] {
		width *= d
	}
	name := y.Name
	switch kind := y.Kind(); {
	case kind == "U" || kind == "S":
		return nil, "", text(y)
	case kind == "O":
		return nil, "", fmt.Errorf("%[1]s holds Python objects, which are not read: where they are numbers, save "+
			"numpy.array(%[1]s.tolist(), dtype=numpy.int32)", name)
	case kind == "M" || kind == "m" || kind == "V" || kind == "c" || !strings.Contains("fiub", kind):
		return nil, "", fmt.Errorf("%s has the dtype %q: labels are numbers of classes, from 0", name, y.Type)
	case width == 0 || len(y.Shape) > 2 && width > 1:
		return nil, "", fmt.Errorf("%s has the shape %v: labels are one number for each input", name, y.Shape)
	}
	values := make([]float64, n*width)
	if err := y.Numbers(n, func(i int, v float64) { values[i] = v }); err != nil {
		return nil, "", err
	}
	if width > 1 {
		return oneHot(y, values, width)
	}
	labels = make([]int32, n)
	for i, v := range values {
		switch {
		case v != math.Trunc(v) || math.IsInf(v, 0):
			return nil, "", fmt.Errorf("the label of example %d in %s is %g: labels are numbers of classes, from 0; a number "+
				"that is predicted (a regression) has none", i, name, v)
		case v == -1 && !slices.ContainsFunc(values, func(v float64) bool { return v != 1 && v != -1 }):
			return nil, "", fmt.Errorf("the label of example %d in %s is -1, and all are -1 or 1: labels are numbers of "+
				"classes, from 0, so save (%[2]s > 0).astype(numpy.int32)", i, name)
		case v < 0:
			return nil, "", fmt.Errorf("the label of example %d in %s is %g: labels are numbers of classes, from 0, so save "+
				"%[2]s.astype(numpy.int32) with those that have none left out, or %[2]s - %[2]s.min() "+
				"if they count from another number", i, name, v)
		case v > math.MaxInt32:
			return nil, "", fmt.Errorf("the label of example %d in %s is %.0f: labels are numbers of classes, from 0", i, name, v)
		}
		labels[i] = int32(v)
	}
	switch {
	case y.Kind() == "f" || y.Kind() == "b":
		note = fmt.Sprintf("the labels %s are of dtype %s and whole numbers: read as numbers of classes", name, y.Type)
	case len(y.Shape) > 1:
		note = fmt.Sprintf("the labels %s have the shape %v: read as one number for each example", name, y.Shape)
	}
	return labels, note, nil
}

// oneHot reads rows of numbers of which one is 1 and the others are 0.
func oneHot(y *npz.Array, values []float64, classes int) ([]int32, string, error) {
	var labels []int32
	for row := range slices.Chunk(values, classes) {
		at, others := slices.Index(row, 1), 0
		for _, v := range row {
			if v != 0 {
				others++
			}
		}
		if at < 0 || others != 1 {
			return nil, "", fmt.Errorf("%[1]s has the shape %[2]v, and the row of example %[3]d is not one-hot: %[4]v. Labels "+
				"are one number for each input: where the rows are scores or probabilities of classes, save %[1]s.argmax(1); "+
				"where several classes hold at once, there is no label", y.Name, y.Shape, len(labels), firstNumbers(row))
		}
		labels = append(labels, int32(at))
	}
	return labels, fmt.Sprintf("%s looks one-hot, of the shape %v: read as %[1]s.argmax(1)", y.Name, y.Shape), nil
}

// firstNumbers prints the first numbers of a row.
func firstNumbers(row []float64) string {
	const most = 6
	if len(row) > most {
		return strings.TrimSuffix(fmt.Sprint(row[:most]), "]") + " …]"
	}
	return fmt.Sprint(row)
}

// text is the error for labels that are text, with the line that makes them numbers.
func text(y *npz.Array) error {
	const most = 20
	texts, err := y.Texts(most)
	if err != nil {
		return err
	}
	numbers := true
	for _, s := range texts {
		numbers = numbers && s != "" && strings.Trim(s, "0123456789") == ""
	}
	if numbers {
		return fmt.Errorf("%[1]s holds text (dtype %[2]q), the numbers %[3]s: labels are numbers of classes, so save "+
			"%[1]s.astype(numpy.int32)", y.Name, y.Type, strings.Join(texts, ", "))
	}
	quoted := make([]string, len(texts))
	for i, s := range texts {
		quoted[i] = fmt.Sprintf("%q", s)
	}
	more := ""
	if len(texts) == most {
		more = ", …"
	}
	return fmt.Errorf("%[1]s holds text (dtype %[2]q), %[3]s%[4]s: labels are numbers of classes, from 0, in the order "+
		"of the model's outputs; where that is the order of the alphabet, save numpy.unique(%[1]s, return_inverse=True)[1], "+
		"else numpy.array([[%[3]s%[4]s].index(v) for v in %[1]s]) with the names in the model's order",
		y.Name, y.Type, strings.Join(quoted, ", "), more)
}

// listed names the arrays of a file with their shapes, for messages.
func listed(file *npz.File) string {
	var all []string
	names := file.Names()
	const most = 40
	for _, name := range names[:min(len(names), most)] {
		if a, err := file.Array(name); err == nil {
			all = append(all, fmt.Sprintf("%s %v", name, a.Shape))
		} else {
			all = append(all, name)
		}
	}
	if len(names) == 0 {
		return "no arrays"
	}
	if n := len(names) - most; n > 0 {
		all = append(all, fmt.Sprintf("and %d more", n))
	}
	return strings.Join(all, ", ")
}
