package dataset

import (
	"bytes"
	"compress/gzip"
	"slices"
	"strings"
	"testing"
)

// idx returns an IDX file of bytes.
func idx(data []byte, dims ...int) []byte {
	b := []byte{0, 0, 8, byte(len(dims))}
	for _, d := range dims {
		b = append(b, byte(d>>24), byte(d>>16), byte(d>>8), byte(d))
	}
	return append(b, data...)
}

func packed(data []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(data)
	_ = z.Close()
	return b.Bytes()
}

func TestReadIDX(t *testing.T) {
	file := idx([]byte{1, 2, 3, 4, 5, 255}, 2, 3)
	for _, f := range [][]byte{file, packed(file)} {
		got, err := ReadIDX(bytes.NewReader(f))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Dims, []int{2, 3}) || !slices.Equal(got.Data, []byte{1, 2, 3, 4, 5, 255}) {
			t.Errorf("got %v", got)
		}
	}
}

func TestReadIDXRefuses(t *testing.T) {
	whole := idx(make([]byte, 6), 2, 3)
	zipped := packed(whole)
	damaged := slices.Clone(zipped)
	damaged[len(damaged)-6] ^= 0xff // in the checksum of the data
	for _, c := range []struct {
		what, want string
		file       []byte
	}{
		{"nothing", "first 4 bytes", nil},
		{"half a header", "within its header", whole[:9]},
		{"half the data", "ends after 3 elements", whole[:len(whole)-3]},
		{"more data", "more than the 6 elements", append(slices.Clone(whole), 0)},
		{"text", "begins with the bytes", []byte("hello, world")},
		{"floats", "type 0x0d", []byte{0, 0, 0x0d, 1, 0, 0, 0, 1, 0, 0, 0, 0}},
		{"no dimensions", "0 dimensions", []byte{0, 0, 8, 0}},
		{"an empty dimension", "dimension 1 is 0", idx(nil, 2, 0)},
		{"a header that promises 16 EiB", "make more than", idx(nil, 1<<31, 1<<31)},
		{"a truncated gzip file", "damaged after", zipped[:len(zipped)-9]},
		{"a damaged gzip file", "damaged after", damaged},
		{"only the start of gzip", "none", []byte{0x1f, 0x8b}},
	} {
		_, err := ReadIDX(bytes.NewReader(c.file))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one that says %q", c.what, err, c.want)
		}
	}
}

func FuzzReadIDX(f *testing.F) {
	f.Add(idx([]byte{1, 2, 3, 4, 5, 6}, 2, 3))
	f.Add(packed(idx([]byte{1}, 1)))
	f.Add([]byte{0, 0, 8, 1, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, file []byte) {
		got, err := ReadIDX(bytes.NewReader(file))
		if err != nil {
			return
		}
		n := 1
		for _, d := range got.Dims {
			n *= d
		}
		if n != len(got.Data) {
			t.Errorf("dimensions %v with %d elements", got.Dims, len(got.Data))
		}
	})
}
