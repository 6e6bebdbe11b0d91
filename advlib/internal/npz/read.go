package npz

import (
	"archive/zip"
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/sbinet/npyio/npy"
)

// Limits of what is read.
const (
	maxBytes  = 4 << 30 // all arrays together, unpacked
	maxArrays = 100_000
	maxHeader = 1 << 16
	maxRank   = 64
	// maxRatio is a little more than deflate can compress, 1032:1.
	maxRatio = 1100
)

// ReadFile reads all arrays of a file, by their names without ".npy".
func ReadFile(path string) (map[string]*tensors.Tensor, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	arrays, err := Read(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return arrays, nil
}

// Read reads all arrays of an archive of the given size, by their names without ".npy". Booleans, integers and floats of
// 32 and 64 bits are read, in either byte order and either memory order; other entries of the archive are passed over.
func Read(r io.ReaderAt, size int64) (map[string]*tensors.Tensor, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("it is not an .npz file as numpy.savez writes it (%w)", err)
	}
	if len(z.File) > maxArrays {
		return nil, fmt.Errorf("it has %d entries: more than %d are not read", len(z.File), maxArrays)
	}
	arrays := make(map[string]*tensors.Tensor)
	var total uint64
	for _, f := range z.File {
		name, ok := strings.CutSuffix(f.Name, ".npy")
		if !ok {
			continue
		}
		if arrays[name] != nil {
			return nil, fmt.Errorf("it has two arrays named %q", name)
		}
		if f.UncompressedSize64 > f.CompressedSize64*maxRatio+maxHeader || f.CompressedSize64 > uint64(size) {
			return nil, fmt.Errorf("array %q: its size of %d bytes cannot be true, it is packed into %d: the file is damaged", name, f.UncompressedSize64, f.CompressedSize64)
		}
		if total += f.UncompressedSize64; total > maxBytes {
			return nil, fmt.Errorf("its arrays take more than %d bytes: split the file", int64(maxBytes))
		}
		if arrays[name], err = readEntry(f); err != nil {
			return nil, fmt.Errorf("array %q: %w", name, err)
		}
	}
	return arrays, nil
}

func readEntry(f *zip.File) (*tensors.Tensor, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	t, err := readArray(bufio.NewReaderSize(r, 1<<16), f.UncompressedSize64)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// element says how NumPy stores a type.
type element struct {
	dtype dtypes.DType
	size  int
}

var elements = map[string]element{
	"f4": {dtypes.Float32, 4}, "f8": {dtypes.Float64, 8}, "b1": {dtypes.Bool, 1},
	"i1": {dtypes.Int8, 1}, "i2": {dtypes.Int16, 2}, "i4": {dtypes.Int32, 4}, "i8": {dtypes.Int64, 8},
	"u1": {dtypes.Uint8, 1}, "u2": {dtypes.Uint16, 2}, "u4": {dtypes.Uint32, 4}, "u8": {dtypes.Uint64, 8},
}

// readArray reads one array in NumPy's format, at most limit bytes long.
func readArray(r *bufio.Reader, limit uint64) (*tensors.Tensor, error) {
	h, err := readHeader(r)
	if err != nil {
		return nil, err
	}
	code := strings.TrimLeft(h.Type, "<>=|")
	e, ok := elements[code]
	switch {
	case strings.HasPrefix(code, "O"):
		return nil, fmt.Errorf("it holds Python objects (dtype %q), which are not read: save arrays of numbers", h.Type)
	case !ok:
		return nil, fmt.Errorf("its elements have the dtype %q, which is not read: convert them, for example by x.astype(numpy.float32)", h.Type)
	}
	if len(h.Shape) > maxRank {
		return nil, fmt.Errorf("it has %d axes: NumPy has at most %d, the file is damaged", len(h.Shape), maxRank)
	}
	n := uint64(1)
	for _, d := range h.Shape {
		if d < 1 {
			return nil, fmt.Errorf("its shape %v has a dimension below 1", h.Shape)
		}
		if n *= uint64(d); n > limit {
			return nil, fmt.Errorf("its shape %v needs more than the %d bytes that it has: the file is damaged", h.Shape, limit)
		}
	}
	if n*uint64(e.size) > limit {
		return nil, fmt.Errorf("its shape %v of %s needs more than the %d bytes that it has: the file is damaged", h.Shape, h.Type, limit)
	}
	data := make([]byte, n*uint64(e.size))
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, fmt.Errorf("it ends before its shape %v is filled (%w): the file is damaged", h.Shape, err)
	}
	// The end of the entry is where package zip compares its checksum.
	switch _, err := r.ReadByte(); err {
	case io.EOF:
	case nil:
		return nil, fmt.Errorf("it has more bytes than its shape %v of %s: the file is damaged", h.Shape, h.Type)
	default:
		return nil, err
	}
	if bigEndian(h.Type) != nativeBigEndian {
		for i := 0; i < len(data); i += e.size {
			slices.Reverse(data[i : i+e.size])
		}
	}
	if e.dtype == dtypes.Bool {
		for i, b := range data {
			if b != 0 { // any other byte than 0 or 1 is no Go bool
				data[i] = 1
			}
		}
	}
	if h.Fortran {
		data = rowMajor(data, h.Shape, e.size)
	}
	t := tensors.FromShape(shapes.Make(e.dtype, h.Shape...))
	if err := t.MutableBytes(func(to []byte) { copy(to, data) }); err != nil {
		return nil, err
	}
	return t, nil
}

var nativeBigEndian = binary.NativeEndian.Uint16([]byte{0, 1}) == 1

func bigEndian(descr string) bool {
	switch descr[0] {
	case '>':
		return true
	case '<':
		return false
	}
	return nativeBigEndian
}

type header struct {
	Type    string
	Fortran bool
	Shape   []int
}

// readHeader reads what comes before the data.
func readHeader(r *bufio.Reader) (h header, err error) {
	// npyio takes as much memory as the header of a version 2 file says it needs.
	if start, err := r.Peek(12); err == nil && start[6] == 2 && binary.LittleEndian.Uint32(start[8:]) > maxHeader {
		return h, fmt.Errorf("its header is longer than %d bytes: the file is damaged", maxHeader)
	}
	defer func() {
		if p := recover(); p != nil { // npyio v0.9.0 slices a malformed header out of range
			err = fmt.Errorf("its header is not that of a NumPy array: the file is damaged")
		}
	}()
	parsed, err := npy.NewReader(r)
	if err != nil {
		return h, fmt.Errorf("its header is not that of a NumPy array (%w)", err)
	}
	d := parsed.Header.Descr
	if d.Type == "" {
		return h, fmt.Errorf("its header names no dtype: the file is damaged")
	}
	return header{Type: d.Type, Fortran: d.Fortran, Shape: d.Shape}, nil
}

// rowMajor returns data of the given shape, whose first axis varies fastest, with the last varying fastest.
func rowMajor(data []byte, shape []int, size int) []byte {
	out := make([]byte, len(data))
	index := make([]int, len(shape))
	for to := 0; to < len(data); to += size {
		from, stride := 0, size
		for axis, d := range shape {
			from += index[axis] * stride
			stride *= d
		}
		copy(out[to:to+size], data[from:from+size])
		for axis := len(shape) - 1; axis >= 0; axis-- {
			if index[axis]++; index[axis] < shape[axis] {
				break
			}
			index[axis] = 0
		}
	}
	return out
}
