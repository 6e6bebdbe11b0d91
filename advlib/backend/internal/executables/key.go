package executables

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// Key identifies a compiled program by everything that it depends on.
type Key [sha256.Size]byte

// NewKey hashes parts, each with its length before it, so that ("ab", "c") and ("a", "bc") differ.
func NewKey(parts ...[]byte) Key {
	h := sha256.New()
	var length [8]byte
	for _, part := range parts {
		binary.LittleEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write(part)
	}
	return Key(h.Sum(nil))
}

// String returns the key in hexadecimal, which is also the name of its file.
func (k Key) String() string { return hex.EncodeToString(k[:]) }
