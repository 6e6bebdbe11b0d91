package npz

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"
	"github.com/sbinet/npyio/npz"
)

func arrays() map[string]*tensors.Tensor {
	return map[string]*tensors.Tensor{
		"f4":     tensors.FromFlatDataAndDimensions([]float32{1, -2.5, float32(math.Inf(1)), 4, 5, 6}, 1, 3, 2),
		"f8":     tensors.FromFlatDataAndDimensions([]float64{math.Pi}, 1),
		"b1":     tensors.FromFlatDataAndDimensions([]bool{true, false}, 2),
		"i1":     tensors.FromFlatDataAndDimensions([]int8{-1}, 1),
		"i2":     tensors.FromFlatDataAndDimensions([]int16{-300, 7}, 2, 1),
		"i4":     tensors.FromFlatDataAndDimensions([]int32{1 << 30}, 1),
		"i8":     tensors.FromFlatDataAndDimensions([]int64{-1 << 60}, 1),
		"u1":     tensors.FromFlatDataAndDimensions([]uint8{255, 0}, 2),
		"u2":     tensors.FromFlatDataAndDimensions([]uint16{65535}, 1),
		"u4":     tensors.FromFlatDataAndDimensions([]uint32{1 << 31}, 1),
		"u8":     tensors.FromFlatDataAndDimensions([]uint64{1 << 63}, 1),
		"a/b":    tensors.FromFlatDataAndDimensions([]float32{7}, 1),
		"scalar": tensors.FromScalar(float32(3)),
	}
}

func TestWriteReadIsExact(t *testing.T) {
	var b bytes.Buffer
	if err := Write(&b, arrays()); err != nil {
		t.Fatal(err)
	}
	got, err := Read(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(arrays()) {
		t.Errorf("%d arrays, want %d", len(got), len(arrays()))
	}
	for name, want := range arrays() {
		if !want.Equal(got[name]) {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	var again bytes.Buffer
	if err := Write(&again, arrays()); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
		t.Errorf("the same arrays give other bytes (%v)", err)
	}
}

// npyio is another implementation of the format: it must read what we write.
func TestNpyioReadsIt(t *testing.T) {
	var b bytes.Buffer
	if err := Write(&b, arrays()); err != nil {
		t.Fatal(err)
	}
	var x []float32
	if err := npz.Read(bytes.NewReader(b.Bytes()), "f4.npy", &x); err != nil {
		t.Fatal(err)
	}
	if len(x) != 6 || x[1] != -2.5 {
		t.Errorf("npyio reads %v", x)
	}
}

// array returns an archive with one array x, made of a header and data.
func array(header string, data []byte) []byte {
	head := append([]byte("\x93NUMPY\x01\x00"), 0, 0)
	binary.LittleEndian.PutUint16(head[8:], uint16(len(header)))
	return archive("x.npy", append(append(head, header...), data...))
}

func archive(name string, content []byte) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, _ := z.Create(name)
	_, _ = w.Write(content)
	_ = z.Close()
	return b.Bytes()
}

func dict(descr string, fortran bool, shape string) string {
	order := "False"
	if fortran {
		order = "True"
	}
	return fmt.Sprintf("{'descr': '%s', 'fortran_order': %s, 'shape': %s, }\n", descr, order, shape)
}

func TestByteAndMemoryOrder(t *testing.T) {
	// numpy.asfortranarray([[1, 2, 3], [4, 5, 6]], dtype='>i2').tobytes(order='A')
	file := array(dict(">i2", true, "(2, 3)"), []byte{0, 1, 0, 4, 0, 2, 0, 5, 0, 3, 0, 6})
	got, err := Read(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	if want := tensors.FromValue([][]int16{{1, 2, 3}, {4, 5, 6}}); !want.Equal(got["x"]) {
		t.Errorf("got %v, want %v", got["x"], want)
	}
}

// The bytes are numpy.array([[1.5, -2, 65504], [2**-24, inf, -0.]], '<f2').tobytes(), and in the other orders.
func TestHalf(t *testing.T) {
	want := []float32{1.5, -2, 65504, 0x1p-24, float32(math.Inf(1)), float32(math.Copysign(0, -1))}
	for _, c := range []struct {
		descr   string
		fortran bool
		data    []byte
	}{
		{"<f2", false, []byte{0x00, 0x3e, 0x00, 0xc0, 0xff, 0x7b, 0x01, 0x00, 0x00, 0x7c, 0x00, 0x80}},
		{">f2", false, []byte{0x3e, 0x00, 0xc0, 0x00, 0x7b, 0xff, 0x00, 0x01, 0x7c, 0x00, 0x80, 0x00}},
		{"<f2", true, []byte{0x00, 0x3e, 0x01, 0x00, 0x00, 0xc0, 0x00, 0x7c, 0xff, 0x7b, 0x00, 0x80}},
	} {
		file := array(dict(c.descr, c.fortran, "(2, 3)"), c.data)
		got, err := Read(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range tensors.MustCopyFlatData[float32](got["x"]) {
			if math.Float32bits(v) != math.Float32bits(want[i]) {
				t.Errorf("%s, Fortran order %v: value %d is %g, want %g", c.descr, c.fortran, i, v, want[i])
			}
		}
	}
	if v := half(0x7e00); v == v {
		t.Errorf("NaN is read as %g", v)
	}
	for bits := range 1 << 16 { // against the definition
		sign, exponent, fraction := bits>>15, bits>>10&31, float64(bits&1023)
		v := math.Pow(2, float64(max(exponent, 1)-15)) * (fraction/1024 + float64(min(exponent, 1)))
		if got := half(uint16(bits)); exponent < 31 && math.Abs(got) != v || math.Signbit(got) != (sign == 1) && got == got {
			t.Fatalf("%#x is read as %g, want ±%g", bits, got, v)
		}
	}
}

// Of an array in either order the first rows are read; of one in C order nothing behind them, which may be damaged.
func TestFirstRows(t *testing.T) {
	for fortran, want := range map[bool][]float64{
		false: {1, 2, 3, 4, 5, 6, 7, 8},
		true:  {1, 7, 4, 10, 2, 8, 5, 11}, // element (i, j, k) is at i + 3j + 6k
	} {
		file := array(dict("|u1", fortran, "(3, 2, 2)"), []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
		read := func() ([]float64, error) {
			f, err := NewFile(bytes.NewReader(file), int64(len(file)))
			if err != nil {
				t.Fatal(err)
			}
			a, err := f.Array("x")
			if err != nil {
				t.Fatal(err)
			}
			got := make([]float64, 8)
			return got, a.Numbers(2, func(i int, v float64) { got[i] = v })
		}
		if got, err := read(); err != nil || !slices.Equal(got, want) {
			t.Errorf("Fortran order %v: %v, want %v (%v)", fortran, got, want, err)
		}
		z, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			t.Fatal(err)
		}
		z.File[0].CRC32++ // of the copy in the directory
		at := bytes.Index(file, []byte("PK\x01\x02"))
		binary.LittleEndian.PutUint32(file[at+16:], z.File[0].CRC32)
		if got, err := read(); (err == nil) != !fortran || !fortran && !slices.Equal(got, want) {
			t.Errorf("Fortran order %v, with a wrong checksum: %v (%v)", fortran, got, err)
		}
	}
}

// What is not asked for may be anything.
func TestOthersAreNotDecoded(t *testing.T) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	entry := func(name, header string, data []byte) {
		w, _ := z.Create(name + ".npy")
		head := append([]byte("\x93NUMPY\x01\x00"), 0, 0)
		binary.LittleEndian.PutUint16(head[8:], uint16(len(header)))
		_, _ = w.Write(append(append(head, header...), data...))
	}
	entry("x", dict("<f4", false, "(2, 1)"), make([]byte, 8))
	entry("objects", dict("|O", false, "(2,)"), []byte("\x80\x04\x95 a pickle"))
	entry("text", dict("<U3", false, "(2,)"), []byte("d\x00\x00\x00o\x00\x00\x00g\x00\x00\x00c\x00\x00\x00a\x00\x00\x00\x00\x00\x00\x00"))
	entry("bytes", dict("|S3", false, "(2,)"), []byte("dogca\x00"))
	entry("none", dict("<f4", false, "(0, 4)"), nil)
	entry("pairs", "{'descr': [('a', '<f4'), ('b', '<i4')], 'fortran_order': False, 'shape': (2,), }\n", make([]byte, 16))
	entry("noise", "not a header\n", nil)
	_ = z.Close()
	f, err := NewFile(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	if x, err := f.Array("x"); err != nil || x.String() != "x [2 1] of <f4" {
		t.Fatal(x, err)
	}
	for name, want := range map[string]string{"objects": "numpy.stack(list(objects))", "none": "below 1",
		"text": "text.astype(numpy.float32)", "pairs": "which is not read"} {
		a, err := f.Array(name)
		if err == nil {
			_, err = a.Tensor()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one that says %q", name, err, want)
		}
	}
	for _, name := range []string{"text", "bytes"} {
		a, err := f.Array(name)
		if err != nil {
			t.Fatal(err)
		}
		if texts, err := a.Texts(9); err != nil || !slices.Equal(texts, []string{"ca", "dog"}) {
			t.Errorf("%s: %q, %v", name, texts, err)
		}
	}
	for _, name := range []string{"noise", "nothing"} {
		if a, err := f.Array(name); err == nil {
			t.Errorf("%v is an array of numbers", a)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	whole := array(dict("<f4", false, "(4,)"), make([]byte, 16))
	for _, c := range []struct {
		what string
		file []byte
		want string
	}{
		{"nothing", nil, "not an .npz file"},
		{"half an archive", whole[:len(whole)/2], "not an .npz file"},
		{"too short an array", array(dict("<f4", false, "(4,)"), make([]byte, 15)), "ends before its shape [4] is filled"},
		{"too long an array", array(dict("<f4", false, "(4,)"), make([]byte, 17)), "has more bytes than its shape"},
		{"a shape that overflows", array(dict("<f4", false, "(4294967296, 4294967296, 4)"), make([]byte, 16)), "needs more than the"},
		{"a huge shape", array(dict("<f8", false, "(1000000000000,)"), make([]byte, 16)), "needs more than the"},
		{"a negative dimension", array(dict("<f4", false, "(-4,)"), make([]byte, 16)), "below 1"},
		{"an empty array", array(dict("<f4", false, "(0, 3)"), nil), "below 1"},
		{"objects", array(dict("|O", false, "(4,)"), make([]byte, 16)), "Python objects"},
		{"complex numbers", array(dict("<c8", false, "(1,)"), make([]byte, 8)), "x.astype(numpy.float32)"},
		{"one array", []byte("\x93NUMPY\x01\x00v\x00{'descr'"), "it is one array of NumPy's (.npy)"},
		{"no dtype", array(dict("", false, "(4,)"), make([]byte, 8)), "damaged"},
		{"an empty header", array("", nil), "header"},
		{"a header of noise", array(strings.Repeat("x", 30)+"\n", nil), "header"},
		{"a header in the wrong order", array("{'shape': (4,), 'fortran_order': False, 'descr': '<f4'}\n", nil), "header"},
		{"no magic", archive("x.npy", []byte("hello, world")), "header"},
		{"a header of 4 GiB", archive("x.npy", []byte("\x93NUMPY\x02\x00\xff\xff\xff\xff{'descr'")), "longer than"},
	} {
		_, err := Read(bytes.NewReader(c.file), int64(len(c.file)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one that says %q", c.what, err, c.want)
		}
	}
}

func TestDamageIsSeen(t *testing.T) {
	var b bytes.Buffer
	if err := Write(&b, map[string]*tensors.Tensor{"x": tensors.FromValue([]float32{1, 2, 3})}); err != nil {
		t.Fatal(err)
	}
	file := b.Bytes()
	at := bytes.Index(file, []byte{0, 0, 0x80, 0x3f}) // 1 in float32
	file[at] ^= 1
	if _, err := Read(bytes.NewReader(file), int64(len(file))); err == nil {
		t.Error("a flipped bit of the data is not seen")
	}
}

func FuzzRead(f *testing.F) {
	var b bytes.Buffer
	_ = Write(&b, arrays())
	f.Add(b.Bytes())
	f.Add(array(dict(">i2", true, "(2, 3)"), make([]byte, 12)))
	f.Add(array(dict("<f4", false, "()"), make([]byte, 4)))
	f.Fuzz(func(t *testing.T, file []byte) {
		got, err := Read(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := Write(&b, got); err != nil {
			t.Fatalf("what was read is not written: %v", err)
		}
		again, err := Read(bytes.NewReader(b.Bytes()), int64(b.Len()))
		if err != nil || len(again) != len(got) {
			t.Fatalf("what was written is not read: %v", err)
		}
	})
}

// FuzzArray skips the archive, whose checksum keeps the fuzzer out.
func FuzzArray(f *testing.F) {
	f.Add([]byte(dict("<f4", false, "(2, 2)")), make([]byte, 16))
	f.Add([]byte(dict("|b1", true, "(2, 3)")), make([]byte, 6))
	f.Add([]byte(dict(">f2", true, "(3, 2)")), []byte("abcdefghijkl"))
	f.Add([]byte(dict("<U2", false, "(1,)")), []byte("a\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte(dict("<i8", false, "(0, 3)")), []byte{})
	f.Fuzz(func(t *testing.T, header, data []byte) {
		if len(header) > 1<<15 {
			return
		}
		file := array(string(header), data)
		all, err := Read(bytes.NewReader(file), int64(len(file)))
		f, openErr := NewFile(bytes.NewReader(file), int64(len(file)))
		if openErr != nil {
			t.Fatal(openErr)
		}
		a, openErr := f.Array("x")
		if openErr != nil {
			return
		}
		_, _ = a.Texts(3)
		// What is read by rows is what is read as a whole.
		got := map[int]float64{}
		rowsErr := a.Numbers(1, func(i int, v float64) { got[i] = v })
		if err != nil || rowsErr != nil {
			if err == nil {
				t.Fatalf("the first row is not read: %v", rowsErr)
			}
			return
		}
		var b bytes.Buffer
		if err := Write(&b, all); err != nil {
			t.Fatal(err)
		}
		again, err := NewFile(bytes.NewReader(b.Bytes()), int64(b.Len()))
		if err != nil {
			t.Fatal(err)
		}
		if a, err = again.Array("x"); err != nil {
			t.Fatal(err)
		}
		size := 1
		if len(a.Shape) > 0 {
			size = all["x"].Size() / a.Shape[0]
		}
		if len(got) != size {
			t.Fatalf("%d numbers in the first row, want %d", len(got), size)
		}
		if err := a.Numbers(-1, func(i int, v float64) {
			if first, ok := got[i]; ok && first != v && v == v {
				t.Fatalf("number %d is %g alone, %g among all", i, first, v)
			}
		}); err != nil {
			t.Fatal(err)
		}
	})
}
