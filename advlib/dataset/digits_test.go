package dataset

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"
)

// The file's hash is that of README.md, and of the file in scikit-learn 1.x (sklearn/datasets/data/digits.csv.gz).
const digitsSum = "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"

func TestDigits(t *testing.T) {
	if sum := sha256.Sum256(digitsFile); hex.EncodeToString(sum[:]) != digitsSum {
		t.Errorf("digits.csv.gz has sha256 %x, README.md says %s", sum, digitsSum)
	}
	train, test := Digits()
	if train.Len() != 1285 || test.Len() != 512 {
		t.Fatalf("%d and %d examples, want 1285 and 512", train.Len(), test.Len())
	}
	seen := make(map[int64]bool)
	for _, index := range append(train.Index, test.Index...) {
		if seen[index] {
			t.Fatalf("example %d is on both sides", index)
		}
		seen[index] = true
	}
	// Counts by: zcat digits.csv.gz | awk -F, '(NR-1)%7>=5{n[$NF]++} END{for(k in n) print k, n[k]}'
	want := []int{44, 46, 51, 55, 46, 66, 54, 47, 51, 52}
	got := make([]int, 10)
	for _, y := range test.Y {
		got[y]++
	}
	for k := range want {
		if got[k] != want[k] {
			t.Errorf("%d test examples of class %d, want %d", got[k], k, want[k])
		}
	}
	// The first line of the file begins 0,0,5,13,9,1 and its label is 0; the first of the test is line 5, a 5.
	x := tensors.MustCopyFlatData[float32](train.X)
	if x[2] != 5./16 || x[3] != 13./16 || train.Y[0] != 0 || test.Index[0] != 5 || test.Y[0] != 5 {
		t.Errorf("the first examples are not those of the file: x = %v, labels %d and %d, index %d", x[:8], train.Y[0], test.Y[0], test.Index[0])
	}
	lo, hi := x[0], x[0]
	for _, v := range x {
		lo, hi = min(lo, v), max(hi, v)
	}
	if lo != 0 || hi != 1 {
		t.Errorf("pixels lie in [%g, %g], want [0, 1]", lo, hi)
	}
}

func TestDigitsAreFresh(t *testing.T) {
	a, _ := Digits()
	hash := a.Hash()
	a.Y[0] = 9
	tensors.MustMutableFlatData(a.X, func(x []float32) { x[0] = 0.5 })
	b, _ := Digits()
	if b.Hash() != hash {
		t.Error("changing the examples that one call returned changes those of the next")
	}
}

func TestParseDigitsRefuses(t *testing.T) {
	for what, text := range map[string]string{
		"a short line":     "0,1,2\n",
		"a negative pixel": strings.Repeat("-1,", 64) + "0\n",
		"no lines":         "",
	} {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write([]byte(text))
		_ = z.Close()
		if _, err := parseDigits(&b); err == nil {
			t.Errorf("%s is accepted", what)
		}
	}
}
