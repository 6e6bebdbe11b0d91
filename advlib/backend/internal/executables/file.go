package executables

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// A file is, all numbers little-endian:
//
//	offset  bytes
//	     0      8  magic
//	     8      4  version of this layout
//	    12     32  key
//	    44      8  length of the payload
//	    52     32  SHA-256 of the payload
//	    84         payload
const (
	magic         = "advlabX\n"
	layout        = 1
	keyOffset     = 12
	lengthOffset  = 44
	sumOffset     = 52
	payloadOffset = 84
)

// ErrRefused is wrapped by every error about a file that is there but must not be used.
var ErrRefused = errors.New("executables: file refused")

// header returns the bytes that precede payload in the file of key.
func header(key Key, payload []byte) []byte {
	h := make([]byte, payloadOffset)
	copy(h, magic)
	binary.LittleEndian.PutUint32(h[len(magic):], layout)
	copy(h[keyOffset:], key[:])
	binary.LittleEndian.PutUint64(h[lengthOffset:], uint64(len(payload)))
	sum := sha256.Sum256(payload)
	copy(h[sumOffset:], sum[:])
	return h
}

// decode returns the payload of a file's bytes, which it shares, after checking all that the header says.
func decode(key Key, file []byte) ([]byte, error) {
	if len(file) < payloadOffset {
		return nil, fmt.Errorf("%w: %d bytes are less than a header's %d", ErrRefused, len(file), payloadOffset)
	}
	if string(file[:len(magic)]) != magic {
		return nil, fmt.Errorf("%w: it starts with %q, not %q", ErrRefused, file[:len(magic)], magic)
	}
	if v := binary.LittleEndian.Uint32(file[len(magic):]); v != layout {
		return nil, fmt.Errorf("%w: layout %d, this program reads %d", ErrRefused, v, layout)
	}
	if !bytes.Equal(file[keyOffset:lengthOffset], key[:]) {
		return nil, fmt.Errorf("%w: it holds another program, %x", ErrRefused, file[keyOffset:lengthOffset])
	}
	payload := file[payloadOffset:]
	if n := binary.LittleEndian.Uint64(file[lengthOffset:]); n != uint64(len(payload)) {
		return nil, fmt.Errorf("%w: %d bytes of payload, its header says %d", ErrRefused, len(payload), n)
	}
	if sum := sha256.Sum256(payload); !bytes.Equal(sum[:], file[sumOffset:payloadOffset]) {
		return nil, fmt.Errorf("%w: checksum %x, its header says %x", ErrRefused, sum, file[sumOffset:payloadOffset])
	}
	return payload, nil
}
