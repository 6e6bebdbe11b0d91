package npz

import (
	"archive/zip"
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/core/tensors"
	"github.com/sbinet/npyio/npy"
)

// Limits of what is read.
const (
	maxBytes  = 16 << 30 // of what is asked for, unpacked
	maxArrays = 100_000
	maxHeader = 1 << 16
	maxRank   = 64
	// maxRatio is a little more than deflate can compress, 1032:1.
	maxRatio = 1100
)

// File is an .npz file. An array is read when it is asked for, and not before: the others may hold anything.
type File struct {
	arrays map[string]*zip.File
	close  func() error
}

// Open opens a file. It must be closed.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	archive, err := NewFile(f, info.Size())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	archive.close = f.Close
	return archive, nil
}

// NewFile returns the arrays of an archive of the given size. Other entries of it are passed over.
func NewFile(r io.ReaderAt, size int64) (*File, error) {
	if size == 0 {
		return nil, errors.New("it is empty, and not an .npz file as numpy.savez writes it")
	}
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, notAnArchive(r, err)
	}
	if len(z.File) > maxArrays {
		return nil, fmt.Errorf("it has %d entries: more than %d are not read", len(z.File), maxArrays)
	}
	f := &File{arrays: map[string]*zip.File{}}
	for _, entry := range z.File {
		name, ok := strings.CutSuffix(entry.Name, ".npy")
		if !ok {
			continue
		}
		if f.arrays[name] != nil {
			return nil, fmt.Errorf("it has two arrays named %q", name)
		}
		if entry.CompressedSize64 > uint64(size) {
			return nil, fmt.Errorf("array %q: it takes %d bytes, more than the file: the file is damaged", name, entry.CompressedSize64)
		}
		f.arrays[name] = entry
	}
	return f, nil
}

// notAnArchive says what a file may be instead.
func notAnArchive(r io.ReaderAt, err error) error {
	start := make([]byte, 8)
	n, _ := r.ReadAt(start, 0) // a short file is none of these
	for magic, what := range map[string]string{
		"\x93NUMPY": `it is one array of NumPy's (.npy): put inputs and labels into one file by numpy.savez("test.npz", ` +
			`x=numpy.load("x.npy"), y=numpy.load("y.npy"))`,
		"\x89HDF\r\n":  "it is a file of HDF5: save what is in it by numpy.savez",
		"\x80\x04\x95": "it is a pickle of Python's, which may run any program and is not read: save what is in it by numpy.savez",
	} {
		if bytes.HasPrefix(start[:n], []byte(magic)) {
			return errors.New(what)
		}
	}
	return fmt.Errorf("it is not an .npz file as numpy.savez writes it (%w)", err)
}

// Close closes the file.
func (f *File) Close() error {
	if f.close == nil {
		return nil
	}
	return f.close()
}

// Names returns the names of the arrays, without ".npy", sorted.
func (f *File) Names() []string { return slices.Sorted(maps.Keys(f.arrays)) }

// Array returns what the header of an array says, which is all that is read of it.
func (f *File) Array(name string) (*Array, error) {
	entry := f.arrays[name]
	if entry == nil {
		return nil, fmt.Errorf("there is no array %q", name)
	}
	a := &Array{Name: name, entry: entry}
	if err := a.open(func(*bufio.Reader) error { return nil }); err != nil {
		return nil, fmt.Errorf("array %q: %w", name, err)
	}
	return a, nil
}

// ReadFile reads all arrays of a file, by their names without ".npy".
func ReadFile(path string) (map[string]*tensors.Tensor, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	arrays, err := f.tensors()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return arrays, nil
}

// Read reads all arrays of an archive of the given size, by their names without ".npy".
func Read(r io.ReaderAt, size int64) (map[string]*tensors.Tensor, error) {
	f, err := NewFile(r, size)
	if err != nil {
		return nil, err
	}
	return f.tensors()
}

func (f *File) tensors() (map[string]*tensors.Tensor, error) {
	all := make(map[string]*tensors.Tensor)
	var total uint64
	for _, name := range f.Names() {
		if total += f.arrays[name].UncompressedSize64; total > maxBytes {
			return nil, fmt.Errorf("its arrays take more than %d bytes: split the file", int64(maxBytes))
		}
		a, err := f.Array(name)
		if err != nil {
			return nil, err
		}
		if all[name], err = a.Tensor(); err != nil {
			return nil, err
		}
	}
	return all, nil
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
