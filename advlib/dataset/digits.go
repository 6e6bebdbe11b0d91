package dataset

import (
	"bytes"
	"compress/gzip"
	_ "embed" // for digits.csv.gz
	"encoding/csv"
	"fmt"
	"io"
	"sync"

	"advlab/advlib"
)

//go:embed digits.csv.gz
var digitsFile []byte

const (
	digitsSide = 8
	digitsMax  = 16
)

// Digits returns the handwritten digits of the UCI repository: 1285 examples to train on and 512 to test on, gray
// images of shape [8, 8, 1] in [0, 1], where each pixel is a count from 0 to 16 divided by 16. An example's number is
// its line in the file, counted from 0; those with number mod 7 ≥ 5 are the test. Each class has 116 to 136 of the
// training examples and 44 to 66 of the test examples.
//
// The lines come in 14 runs with the same sequence of labels, forms filled in by hand, and the split takes from each of
// them: a classifier is tested on hands that it has seen. On forms that it has not seen, the accuracy of an MLP is four
// points lower.
//
// The source is the test part of "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak (1998), UCI
// Machine Learning Repository, https://doi.org/10.24432/C50P49, licence CC BY 4.0, in the order in which scikit-learn
// ships it.
func Digits() (train, test *advlib.Examples) {
	train, test = split(digits())
	train.Name, test.Name = "digits/train", "digits/test"
	return train, test
}

var digits = sync.OnceValue(func() *advlib.Examples {
	e, err := parseDigits(bytes.NewReader(digitsFile))
	if err != nil {
		panic(fmt.Sprintf("dataset: the embedded digits.csv.gz is damaged: %v", err)) // a test reads it
	}
	return e
})

func parseDigits(r io.Reader) (*advlib.Examples, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	lines := csv.NewReader(z)
	lines.FieldsPerRecord = digitsSide*digitsSide + 1
	x, y, err := labelled(lines)
	if err != nil {
		return nil, err
	}
	for i, v := range x {
		if v != float32(uint8(v)) {
			return nil, fmt.Errorf("pixel %g is no count", v)
		}
		x[i] = v / digitsMax
	}
	e, err := advlib.NewExamples("digits", x, []int{digitsSide, digitsSide, 1}, y)
	if err != nil {
		return nil, err
	}
	e.Classes = tenDigits()
	return e, nil
}

func tenDigits() []string { return []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"} }
