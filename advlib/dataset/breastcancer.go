package dataset

import (
	"bytes"
	"compress/gzip"
	_ "embed" // for breast_cancer.csv.gz
	"encoding/csv"
	"fmt"
	"io"
	"sync"

	"advlab/advlib"
)

//go:embed breast_cancer.csv.gz
var breastCancerFile []byte

const breastCancerFeatures = 30

// BreastCancer returns the diagnostic breast cancer data of Wisconsin: 407 examples to train on and 162 to test on, of
// 30 features each, computed from images of cell nuclei, in the units of the file; class 0 is malignant, 1 benign. An
// example's number is its line in the file, counted from 0; those with number mod 7 ≥ 5 are the test. It is tabular
// data: see [BreastCancerDomain].
//
// The source is "Breast Cancer Wisconsin (Diagnostic)" by W. Wolberg, O. Mangasarian, N. Street and W. Street (1993),
// UCI Machine Learning Repository, https://doi.org/10.24432/C5DW2B, licence CC BY 4.0, as scikit-learn ships it.
func BreastCancer() (train, test *advlib.Examples) {
	train, test = split(breastCancer())
	train.Name, test.Name = "breast cancer/train", "breast cancer/test"
	return train, test
}

// BreastCancerDomain returns the features of [BreastCancer] with their names, such as "mean radius" and "worst
// texture", the ranges that occur, and the widths of these as scales, so that a radius of 0.1 means a tenth of each
// feature's range. Copy it and set Change to say what an attacker cannot do.
func BreastCancerDomain() advlib.Domain {
	var d advlib.Domain
	for _, of := range []string{"mean", "standard error of", "worst"} {
		for _, what := range []string{"radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity",
			"concave points", "symmetry", "fractal dimension"} {
			d = append(d, advlib.Feature{Name: of + " " + what})
		}
	}
	d, err := d.FitTo(breastCancer())
	if err != nil {
		panic(fmt.Sprintf("dataset: the domain of the embedded breast_cancer.csv.gz: %v", err)) // a test calls it
	}
	return d
}

var breastCancer = sync.OnceValue(func() *advlib.Examples {
	e, err := parseBreastCancer(bytes.NewReader(breastCancerFile))
	if err != nil {
		panic(fmt.Sprintf("dataset: the embedded breast_cancer.csv.gz is damaged: %v", err)) // a test reads it
	}
	return e
})

func parseBreastCancer(r io.Reader) (*advlib.Examples, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	lines := csv.NewReader(z)
	lines.FieldsPerRecord = -1
	header, err := lines.Read() // number of lines and features, names of the classes
	if err != nil {
		return nil, err
	}
	if len(header) != 4 {
		return nil, fmt.Errorf("its first line has %d fields, not 4", len(header))
	}
	lines.FieldsPerRecord = breastCancerFeatures + 1
	x, y, err := labelled(lines)
	if err != nil {
		return nil, err
	}
	e, err := advlib.NewExamples("breast cancer", x, []int{breastCancerFeatures}, y)
	if err != nil {
		return nil, err
	}
	e.Classes = []string{"malignant", "benign"}
	return e, nil
}
