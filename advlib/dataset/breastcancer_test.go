package dataset

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"
)

const breastCancerSum = "fed3eb72d0575ef6192293f5093c6e801b1476b577d0386bf4455504522172ed"

// The hash is that of README.md, of the file before it was compressed: sklearn/datasets/data/breast_cancer.csv of
// scikit-learn 1.x.
func TestBreastCancer(t *testing.T) {
	z, err := gzip.NewReader(bytes.NewReader(breastCancerFile))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != breastCancerSum {
		t.Errorf("breast_cancer.csv has sha256 %x, README.md says %s", sum, breastCancerSum)
	}
	train, test := BreastCancer()
	if train.Len() != 407 || test.Len() != 162 {
		t.Fatalf("%d and %d examples, want 407 and 162", train.Len(), test.Len())
	}
	// Counts by: tail -n +2 breast_cancer.csv | awk -F, '(NR-1)%7>=5{n[$NF]++} END{for(k in n) print k, n[k]}'
	got := [2]int{}
	for _, y := range test.Y {
		got[y]++
	}
	if want := [2]int{60, 102}; got != want {
		t.Errorf("%v test examples of the classes, want %v", got, want)
	}
	x := tensors.MustCopyFlatData[float32](train.X)
	if x[0] != 17.99 || x[29] != 0.1189 || train.Y[0] != 0 || test.Index[0] != 5 {
		t.Errorf("the first example begins with %g and ends with %g, label %d", x[0], x[29], train.Y[0])
	}
	d := BreastCancerDomain()
	if f := d[3]; len(d) != 30 || f.Name != "mean area" || f.Lo != 143.5 || f.Hi != 2501 || f.Scale != 2501-143.5 {
		t.Errorf("feature 3 is %+v", f)
	}
}

func FuzzParseBreastCancer(f *testing.F) {
	f.Add(breastCancerFile)
	f.Fuzz(func(t *testing.T, file []byte) {
		if e, err := parseBreastCancer(bytes.NewReader(file)); err == nil && e.Len() == 0 {
			t.Error("no examples, and no error")
		}
	})
}
