package npz

import (
	"archive/zip"
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/tensors"
)

// Array is an array of a file. Its values are read by [Array.Numbers], [Array.Tensor] and [Array.Texts].
type Array struct {
	// Name is that in the file, without ".npy".
	Name string
	// Type is NumPy's name of the type of the elements, such as "<f4".
	Type string
	// Shape is the array's; a dimension may be 0.
	Shape []int

	fortran bool
	entry   *zip.File
}

// element says how NumPy stores a number, and what it is as a tensor.
type element struct {
	dtype  dtypes.DType
	size   int
	number func(b []byte) float64 // of an element whose bytes are in little-endian order
}

var little = binary.LittleEndian

var elements = map[string]element{
	"f2": {dtypes.Float32, 2, func(b []byte) float64 { return half(little.Uint16(b)) }}, // exact
	"f4": {dtypes.Float32, 4, func(b []byte) float64 { return float64(math.Float32frombits(little.Uint32(b))) }},
	"f8": {dtypes.Float64, 8, func(b []byte) float64 { return math.Float64frombits(little.Uint64(b)) }},
	"b1": {dtypes.Bool, 1, func(b []byte) float64 { return float64(min(b[0], 1)) }}, // any other byte than 0 is true
	"i1": {dtypes.Int8, 1, func(b []byte) float64 { return float64(int8(b[0])) }},
	"i2": {dtypes.Int16, 2, func(b []byte) float64 { return float64(int16(little.Uint16(b))) }},
	"i4": {dtypes.Int32, 4, func(b []byte) float64 { return float64(int32(little.Uint32(b))) }},
	"i8": {dtypes.Int64, 8, func(b []byte) float64 { return float64(int64(little.Uint64(b))) }},
	"u1": {dtypes.Uint8, 1, func(b []byte) float64 { return float64(b[0]) }},
	"u2": {dtypes.Uint16, 2, func(b []byte) float64 { return float64(little.Uint16(b)) }},
	"u4": {dtypes.Uint32, 4, func(b []byte) float64 { return float64(little.Uint32(b)) }},
	"u8": {dtypes.Uint64, 8, func(b []byte) float64 { return float64(little.Uint64(b)) }},
}

// half returns the value of an IEEE 754 binary16.
func half(bits uint16) float64 {
	exponent, fraction := int(bits>>10&0x1f), float64(bits&0x3ff)
	var v float64
	switch exponent {
	case 0:
		v = math.Ldexp(fraction, -24)
	case 0x1f:
		if v = math.Inf(1); fraction != 0 {
			v = math.NaN()
		}
	default:
		v = math.Ldexp(1024+fraction, exponent-25)
	}
	return math.Copysign(v, -float64(bits>>15)*2+1)
}

// Kind is the letter of NumPy's for what the elements are: f for floats, i and u for integers, b for booleans, c for
// complex numbers, U and S for text, O for Python's objects, and others.
func (a *Array) Kind() string { return strings.TrimLeft(a.Type, "<>=|")[:1] }

// String returns for example "x [100 28 28] of |u1".
func (a *Array) String() string { return fmt.Sprintf("%s %v of %s", a.Name, a.Shape, a.Type) }

// element returns how a number is stored, or an error for what is none.
func (a *Array) element() (element, error) {
	e, ok := elements[strings.TrimLeft(a.Type, "<>=|")]
	switch {
	case a.Kind() == "O":
		return e, fmt.Errorf("it holds Python objects (dtype %q), which are not read: save numbers, by %[2]s.astype(numpy.float32), "+
			"or, where each object is an array, by numpy.stack(list(%[2]s)).astype(numpy.float32)", a.Type, a.Name)
	case !ok:
		return e, fmt.Errorf("its elements have the dtype %q, which is not read: convert them, for example by "+
			"%s.astype(numpy.float32)", a.Type, a.Name)
	}
	return e, nil
}

// open reads the header, and calls do to read what comes behind it.
func (a *Array) open(do func(r *bufio.Reader) error) error {
	f := a.entry
	if f.UncompressedSize64 > f.CompressedSize64*maxRatio+maxHeader {
		return fmt.Errorf("its size of %d bytes cannot be true, it is packed into %d: the file is damaged", f.UncompressedSize64,
			f.CompressedSize64)
	}
	entry, err := f.Open()
	if err != nil {
		return err
	}
	defer entry.Close()
	r := bufio.NewReaderSize(entry, 1<<16)
	h, err := readHeader(r)
	if err != nil {
		return err
	}
	if len(h.Shape) > maxRank {
		return fmt.Errorf("it has %d axes: NumPy has at most %d, the file is damaged", len(h.Shape), maxRank)
	}
	if strings.TrimLeft(h.Type, "<>=|") == "" {
		return fmt.Errorf("its header names no dtype: the file is damaged")
	}
	a.Type, a.Shape, a.fortran = h.Type, h.Shape, h.Fortran
	return do(r)
}

// values calls put with the bytes of each element of the first rows, and its place in an array of them whose last axis
// varies fastest. Rows below 0 stand for all. With swap, the bytes of an element come in the opposite order. Only an
// array that is read to its end is compared with its checksum.
func (a *Array) values(rows, size int, swap bool, put func(i int, b []byte)) error {
	return a.open(func(r *bufio.Reader) error {
		n, wanted, err := a.count(rows, size)
		if err != nil {
			return err
		}
		if a.fortran { // the first rows are all over the file
			wanted = n
		}
		at := a.places(rows)
		block := make([]byte, max(1, 1<<15/size)*size)
		for done := 0; done < wanted; {
			got := block[:min(len(block), (wanted-done)*size)]
			if _, err := io.ReadFull(r, got); err != nil {
				return fmt.Errorf("it ends before its shape %v is filled (%w): the file is damaged", a.Shape, err)
			}
			for ; len(got) > 0; got = got[size:] {
				if swap {
					slices.Reverse(got[:size])
				}
				if to := at(done); to >= 0 {
					put(to, got[:size])
				}
				done++
			}
		}
		if wanted < n {
			return nil
		}
		// The end of the entry is where package zip compares its checksum.
		switch _, err := r.ReadByte(); err {
		case io.EOF:
			return nil
		case nil:
			return fmt.Errorf("it has more bytes than its shape %v of %s: the file is damaged", a.Shape, a.Type)
		default:
			return err
		}
	})
}

// count returns how many elements the array has, and how many its first rows.
func (a *Array) count(rows, size int) (n, wanted int, err error) {
	limit := a.entry.UncompressedSize64 / uint64(size)
	all := uint64(1)
	if slices.Contains(a.Shape, 0) {
		return 0, 0, nil
	}
	for _, d := range a.Shape {
		if d < 0 {
			return 0, 0, fmt.Errorf("its shape %v has a dimension below 0: the file is damaged", a.Shape)
		}
		if all > limit/uint64(d) {
			return 0, 0, fmt.Errorf("its shape %v of %s needs more than the %d bytes that it has: the file is damaged", a.Shape,
				a.Type, a.entry.UncompressedSize64)
		}
		all *= uint64(d)
	}
	wanted = int(all)
	if rows >= 0 && len(a.Shape) > 0 && rows < a.Shape[0] {
		wanted = int(all) / a.Shape[0] * rows
	}
	if wanted*size > maxBytes {
		return 0, 0, fmt.Errorf("what is asked of it takes %d bytes, more than %d: ask for fewer rows", wanted*size, int64(maxBytes))
	}
	return int(all), wanted, nil
}

// places returns the function from the number of an element in the file to its place among those of the first rows; -1
// for others.
func (a *Array) places(rows int) func(i int) int {
	if !a.fortran || len(a.Shape) == 0 {
		return func(i int) int { return i }
	}
	index := make([]int, len(a.Shape)) // of the next element: the first axis varies fastest
	strides := make([]int, len(a.Shape))
	for axis, s := len(a.Shape)-1, 1; axis >= 0; axis-- {
		strides[axis] = s
		s *= a.Shape[axis]
	}
	at := 0
	return func(int) int {
		to := at
		if rows >= 0 && index[0] >= rows {
			to = -1
		}
		for axis, d := range a.Shape {
			index[axis]++
			at += strides[axis]
			if index[axis] < d {
				break
			}
			at -= d * strides[axis]
			index[axis] = 0
		}
		return to
	}
}

// Numbers calls put with each number of the first rows, and its place in an array of them whose last axis varies
// fastest; rows below 0 stand for all. Booleans are 0 and 1; integers of 64 bits are exact up to 2⁵³. It takes no
// memory to speak of.
func (a *Array) Numbers(rows int, put func(i int, v float64)) error {
	e, err := a.element()
	if err == nil {
		err = a.values(rows, e.size, bigEndian(a.Type), func(i int, b []byte) { put(i, e.number(b)) })
	}
	if err != nil {
		return fmt.Errorf("array %q: %w", a.Name, err)
	}
	return nil
}

// Tensor reads the array. Booleans, integers and floats of 32 and 64 bits are read as they are, floats of 16 bits as
// float32, which holds them exactly.
func (a *Array) Tensor() (*tensors.Tensor, error) {
	t, err := a.tensor()
	if err != nil {
		return nil, fmt.Errorf("array %q: %w", a.Name, err)
	}
	return t, nil
}

func (a *Array) tensor() (*tensors.Tensor, error) {
	e, err := a.element()
	if err != nil {
		return nil, err
	}
	for _, d := range a.Shape {
		if d < 1 {
			return nil, fmt.Errorf("its shape %v has a dimension below 1", a.Shape)
		}
	}
	if _, _, err := a.count(-1, e.size); err != nil {
		return nil, err
	}
	t := tensors.FromShape(shapes.Make(e.dtype, a.Shape...))
	var readErr error
	err = t.MutableBytes(func(to []byte) {
		readErr = a.values(-1, e.size, bigEndian(a.Type), func(i int, b []byte) {
			switch {
			case e.size == 2 && e.dtype == dtypes.Float32:
				binary.NativeEndian.PutUint32(to[4*i:], math.Float32bits(float32(e.number(b))))
				return
			case e.dtype == dtypes.Bool:
				b[0] = min(b[0], 1) // any other byte than 0 or 1 is no Go bool
			case nativeBigEndian:
				slices.Reverse(b)
			}
			copy(to[i*e.size:], b)
		})
	})
	if err == nil {
		err = readErr
	}
	return t, err
}

// Texts returns the different texts of an array of text, sorted; of more than most, the first that came.
func (a *Array) Texts(most int) ([]string, error) {
	var length int
	if _, err := fmt.Sscanf(strings.TrimLeft(a.Type, "<>=|")[1:], "%d", &length); err != nil || length < 1 || length > 1<<16 {
		return nil, fmt.Errorf("array %q: the dtype %q is that of no text", a.Name, a.Type)
	}
	width, order := 1, binary.ByteOrder(little)
	if a.Kind() == "U" {
		width = 4
	}
	if bigEndian(a.Type) {
		order = binary.BigEndian
	}
	seen := map[string]bool{}
	err := a.values(-1, length*width, false, func(_ int, b []byte) {
		var text []byte
		for ; len(b) > 0; b = b[width:] {
			c := rune(b[0])
			if width == 4 {
				c = rune(order.Uint32(b))
			}
			if c == 0 {
				break
			}
			text = utf8.AppendRune(text, c)
		}
		if len(seen) < most {
			seen[string(text)] = true
		}
	})
	if err != nil {
		return nil, fmt.Errorf("array %q: %w", a.Name, err)
	}
	return slices.Sorted(maps.Keys(seen)), nil
}
