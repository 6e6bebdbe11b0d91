package dataset

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
)

// IDX is the content of an IDX file of bytes, the format of MNIST (LeCun, Cortes & Burges, "The MNIST database of
// handwritten digits", section "file formats").
type IDX struct {
	// Dims are the dimensions, the last one varying fastest.
	Dims []int
	// Data are the elements.
	Data []uint8
}

// maxIDX is the largest number of elements that is read, 20 times the largest file of MNIST.
const maxIDX = 1 << 30

// ReadIDX reads an IDX file of unsigned bytes, packed by gzip or not. Memory is taken as data arrives, not as the
// header promises.
func ReadIDX(r io.Reader) (IDX, error) {
	idx, err := readIDX(r)
	if err != nil {
		return IDX{}, fmt.Errorf("dataset: IDX: %w", err)
	}
	return idx, nil
}

func readIDX(r io.Reader) (IDX, error) {
	b := bufio.NewReader(r)
	if start, err := b.Peek(2); err == nil && start[0] == 0x1f && start[1] == 0x8b {
		z, err := gzip.NewReader(b)
		if err != nil {
			return IDX{}, fmt.Errorf("it begins like a gzip file, but is none: %w", err)
		}
		b = bufio.NewReader(z)
	}
	var magic [4]byte
	if _, err := io.ReadFull(b, magic[:]); err != nil {
		return IDX{}, fmt.Errorf("it ends within its first 4 bytes: %w", err)
	}
	// Two zero bytes, the type of the elements, the number of dimensions.
	switch {
	case magic[0] != 0 || magic[1] != 0:
		return IDX{}, fmt.Errorf("it begins with the bytes %x, an IDX file with 0000", magic)
	case magic[2] != 0x08:
		return IDX{}, fmt.Errorf("its elements have the type %#02x, only unsigned bytes (0x08) are read", magic[2])
	case magic[3] < 1 || magic[3] > 8:
		return IDX{}, fmt.Errorf("it has %d dimensions, 1 to 8 are read", magic[3])
	}
	idx := IDX{Dims: make([]int, magic[3])}
	n := int64(1)
	for i := range idx.Dims {
		var d uint32
		if err := binary.Read(b, binary.BigEndian, &d); err != nil {
			return IDX{}, fmt.Errorf("it ends within its header: %w", err)
		}
		if d == 0 {
			return IDX{}, fmt.Errorf("its dimension %d is 0", i)
		}
		idx.Dims[i] = int(d)
		if n *= int64(d); n > maxIDX {
			return IDX{}, fmt.Errorf("its dimensions %v make more than %d elements", idx.Dims[:i+1], maxIDX)
		}
	}
	data, err := io.ReadAll(io.LimitReader(b, n+1))
	switch {
	case err != nil:
		return IDX{}, fmt.Errorf("it is damaged after %d of %d elements: %w", len(data), n, err)
	case int64(len(data)) < n:
		return IDX{}, fmt.Errorf("it ends after %d elements, its dimensions %v need %d", len(data), idx.Dims, n)
	case int64(len(data)) > n:
		return IDX{}, fmt.Errorf("it has more than the %d elements of its dimensions %v", n, idx.Dims)
	}
	idx.Data = data
	return idx, nil
}
