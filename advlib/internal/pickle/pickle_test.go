package pickle

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

func TestReadsWhatPythonWrites(t *testing.T) {
	numbers := []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23}
	whole := Dict{
		"data": &Array{[]int{2, 12}, "u1", numbers}, "labels": []any{int64(3), int64(1)}, "filenames": []any{"a.png", "b.png"},
		"n": int64(-5), "big": int64(1 << 40), "f": 0.25, "none": nil, "yes": true, "t": []any{int64(1), int64(2), int64(3), int64(4)},
		"i8": &Array{[]int{2}, "i8", []byte{1, 0, 0, 0, 0, 0, 0, 0, 254, 255, 255, 255, 255, 255, 255, 255}},
		"f4": &Array{[]int{2}, "f4", []byte{0, 0, 0, 63, 0, 0, 0, 192}}, "u": "café 猫",
	}
	for protocol := range 6 {
		name := fmt.Sprintf("testdata/protocol%d.pickle", protocol)
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Read(bytes.NewReader(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := whole
		if protocol == 0 { // without arrays and bytes, which are escaped there
			want = Dict{}
			for _, k := range []string{"labels", "n", "f", "none", "yes", "big"} {
				want[k] = whole[k]
			}
		}
		if !reflect.DeepEqual(got, any(want)) {
			t.Errorf("%s:\n%v\nwant\n%v", name, got, want)
		}
		for n := range len(text) { // none that is cut is taken for a whole one
			if _, err := Read(bytes.NewReader(text[:n])); err == nil {
				t.Errorf("%s: its first %d of %d bytes are read", name, n, len(text))
			}
		}
	}
}

// A batch as Python 2 wrote CIFAR-10, with texts of one byte a letter.
func TestReadsPython2(t *testing.T) {
	text := "\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq\x05" +
		"(K\x01K\x01K\x03\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb" +
		"\x89U\x03\x01\x02\xfftbU\x06labelsq\x08]q\tK\x07au."
	got, err := Read(strings.NewReader(text))
	want := Dict{"data": &Array{[]int{1, 3}, "u1", []byte{1, 2, 255}}, "labels": []any{int64(7)}}
	if err != nil || !reflect.DeepEqual(got, any(want)) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
}

func TestRunsNothing(t *testing.T) {
	laughs := "]q\x00"
	for i := range 40 { // a list of two lists of two lists …
		laughs += fmt.Sprintf("0]q%c(h%ch%ce", i+1, i, i)
	}
	for text, want := range map[string]string{
		"cos\nsystem\n(S'true'\ntR.":                             `it asks for "system" of the module "os"`,
		"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.": `it asks for "system" of the module "os"`,
		"c__builtin__\neval\n(S'1'\ntR.":                         `it asks for "eval"`,
		"(S'true'\nios\nsystem\n.":                               "the instruction 0x69",
		"Ppersistent\n.":                                         "the instruction 0x50",
		"\x80\x06N.":                                             "protocol 6",
		"}q\x00K\x01h\x00s.":                                     "a key that is no text",
		"]q\x00h\x00a.":                                          "nests them deeper",
		"T\xff\xff\xff\x7f":                                      "a text of 2147483647 bytes",
		"X\xff\xff\xff\x3f":                                      "ends too early",
		"cnumpy\ndtype\n.":                                       "no data",
		"cnumpy.core.multiarray\n_reconstruct\n(tR.":             "an array without its state",
		"K\x05b.":    "it takes a value where there is none",
		"N(I1\nb.":   "it sets the state",
		"h\x07.":     "refers to the object 7",
		"t.":         "a mark",
		".":          "there is none",
		"":           "ends too early",
		laughs + ".": "more than 2097152 objects",
	} {
		if v, err := Read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, error %v; want one that says %q", text, v, err, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	for protocol := range 6 {
		text, err := os.ReadFile(fmt.Sprintf("testdata/protocol%d.pickle", protocol))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("cos\nsystem\n(S'true'\ntR."))
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := Read(bytes.NewReader(text))
		if a, ok := v.(*Array); ok && err == nil {
			n := 1
			for _, d := range a.Shape {
				n *= d
			}
			if n > len(a.Data) {
				t.Errorf("an array of shape %v has %d bytes", a.Shape, len(a.Data))
			}
		}
	})
}
