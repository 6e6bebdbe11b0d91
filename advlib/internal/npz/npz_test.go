package npz

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
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
		{"half floats", array(dict("<f2", false, "(4,)"), make([]byte, 8)), "astype(numpy.float32)"},
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
	f.Fuzz(func(t *testing.T, header, data []byte) {
		if len(header) > 1<<15 {
			return
		}
		file := array(string(header), data)
		_, _ = Read(bytes.NewReader(file), int64(len(file)))
	})
}
