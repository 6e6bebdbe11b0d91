package jupyter

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
)

// Why a message was refused.
var (
	ErrShape     = errors.New("jupyter: not a message")
	ErrSignature = errors.New("jupyter: wrong signature")
	ErrReplayed  = errors.New("jupyter: sent before")
	ErrContent   = errors.New("jupyter: not what the protocol says")
)

var delimiter = []byte("<IDS|MSG>")

// Remembered is how many signatures of the latest messages are kept to recognise a replayed one, as in ipykernel.
const Remembered = 1 << 16

// Codec encodes and decodes messages of one connection. Its methods may be called from several goroutines.
type Codec struct {
	key []byte

	mu   sync.Mutex
	seen map[[sha256.Size]byte]bool
	ring [][sha256.Size]byte // the seen ones, oldest at next once it is full
	next int
}

// NewCodec returns a codec that signs with HMAC-SHA256. With an empty key, which Jupyter allows for connections that
// are safe by other means, messages are neither signed nor checked.
func NewCodec(key string) *Codec {
	return &Codec{key: []byte(key), seen: map[[sha256.Size]byte]bool{}}
}

// sign signs the four dictionaries.
func (c *Codec) sign(dicts [][]byte) (sum [sha256.Size]byte) {
	mac := hmac.New(sha256.New, c.key)
	for _, dict := range dicts {
		mac.Write(dict)
	}
	mac.Sum(sum[:0])
	return sum
}

// Encode returns a message's parts.
func (c *Codec) Encode(m *Message) [][]byte {
	dicts := [][]byte{m.HeaderJSON, m.ParentJSON, m.Metadata, m.Content}
	signature := []byte{}
	if len(c.key) > 0 {
		sum := c.sign(dicts)
		signature = hex.AppendEncode(nil, sum[:])
	}
	parts := make([][]byte, 0, len(m.Identities)+6+len(m.Buffers))
	parts = append(parts, m.Identities...)
	parts = append(parts, delimiter, signature)
	parts = append(parts, dicts...)
	return append(parts, m.Buffers...)
}

// Decode checks and decodes a message's parts. The error is one of ErrShape, ErrSignature, ErrReplayed and ErrContent.
func (c *Codec) Decode(parts [][]byte) (*Message, error) {
	at := 0
	for at < len(parts) && !bytes.Equal(parts[at], delimiter) {
		at++
	}
	if len(parts) < at+6 {
		return nil, fmt.Errorf("%w: %d parts, with the delimiter at %d", ErrShape, len(parts), at)
	}
	dicts := parts[at+2 : at+6]
	if err := c.check(parts[at+1], dicts); err != nil {
		return nil, err
	}
	m := &Message{Identities: parts[:at], HeaderJSON: dicts[0], ParentJSON: dicts[1], Metadata: dicts[2], Content: dicts[3],
		Buffers: parts[at+6:]}
	for i, name := range []string{"header", "parent header", "metadata", "content"} {
		if err := dictionary(dicts[i]); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrContent, name, err)
		}
	}
	if err := json.Unmarshal(m.HeaderJSON, &m.Header); err != nil {
		return nil, fmt.Errorf("%w: header: %w", ErrContent, err)
	}
	if m.Header.ID == "" || m.Header.Type == "" {
		return nil, fmt.Errorf("%w: a header without msg_id or msg_type: %.200q", ErrContent, m.HeaderJSON)
	}
	if err := json.Unmarshal(m.ParentJSON, &m.Parent); err != nil {
		return nil, fmt.Errorf("%w: parent header: %w", ErrContent, err)
	}
	return m, nil
}

// dictionary reports whether text is one JSON dictionary.
func dictionary(text []byte) error {
	trimmed := bytes.TrimLeft(text, " \t\r\n")
	if len(trimmed) == 0 || trimmed[0] != '{' {
		return fmt.Errorf("%.40q is not a dictionary", text)
	}
	if !json.Valid(text) {
		return fmt.Errorf("%.40q is not JSON", text)
	}
	return nil
}

func (c *Codec) check(signature []byte, dicts [][]byte) error {
	if len(c.key) == 0 {
		return nil
	}
	want := c.sign(dicts)
	var got [sha256.Size]byte
	if len(signature) != 2*len(got) {
		return fmt.Errorf("%w: of %d bytes, where a SHA-256 in hexadecimal has %d", ErrSignature, len(signature), 2*len(got))
	}
	if _, err := hex.Decode(got[:], signature); err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	if !hmac.Equal(got[:], want[:]) { // in constant time
		return ErrSignature
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen[got] {
		return ErrReplayed
	}
	c.seen[got] = true
	if len(c.ring) < Remembered {
		c.ring = append(c.ring, got)
		return nil
	}
	delete(c.seen, c.ring[c.next])
	c.ring[c.next] = got
	c.next = (c.next + 1) % Remembered
	return nil
}
