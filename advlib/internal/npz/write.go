package npz

import (
	"archive/zip"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/core/tensors"
)

// Write writes arrays as an uncompressed .npz, in the order of their names: the same arrays give the same bytes.
func Write(w io.Writer, arrays map[string]*tensors.Tensor) error {
	z := zip.NewWriter(w)
	for _, name := range slices.Sorted(maps.Keys(arrays)) {
		entry, err := z.CreateHeader(&zip.FileHeader{Name: name + ".npy", Method: zip.Store})
		if err == nil {
			err = writeArray(entry, arrays[name])
		}
		if err != nil {
			return fmt.Errorf("array %q: %w", name, err)
		}
	}
	return z.Close()
}

// writeArray writes version 1.0 of NumPy's format (numpy.lib.format); npyio writes tensors of at most two axes.
func writeArray(w io.Writer, t *tensors.Tensor) error {
	descr := ""
	for code, e := range elements {
		if e.dtype == t.DType() && e.size == t.DType().Size() { // float16 is read as float32
			descr = code
		}
	}
	if descr == "" {
		return fmt.Errorf("%v is not written", t.DType())
	}
	order := "<"
	if nativeBigEndian {
		order = ">"
	}
	dims := strings.ReplaceAll(strings.Trim(fmt.Sprint(t.Shape().Dimensions), "[]"), " ", ", ")
	if t.Rank() == 1 {
		dims += ","
	}
	text := fmt.Sprintf("{'descr': '%s%s', 'fortran_order': False, 'shape': (%s), }", order, descr, dims)
	// The data begins at a multiple of 64 bytes; the header ends with a newline.
	const before = 10
	text += strings.Repeat(" ", 63-(before+len(text))%64) + "\n"
	head := append([]byte("\x93NUMPY\x01\x00"), 0, 0)
	binary.LittleEndian.PutUint16(head[8:], uint16(len(text)))
	if _, err := w.Write(append(head, text...)); err != nil {
		return err
	}
	var err error
	if e := t.ConstBytes(func(data []byte) { _, err = w.Write(data) }); e != nil {
		return e
	}
	return err
}
