package zmtp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Message is the parts of one ZeroMQ message.
type Message [][]byte

// Limits of what a peer may send.
const (
	MaxMessage = 64 << 20 // bytes in all parts of one message
	MaxParts   = 256      // parts of one message; Jupyter's have six, identities and buffers
	maxCommand = 64 << 10 // bytes of one command
)

// ErrProtocol is what a peer's bytes are refused with when they are not ZMTP 3, or exceed a limit.
var ErrProtocol = errors.New("zmtp: protocol error")

func protocolError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}

// The flags of a frame, RFC 23 section "Framing".
const (
	flagMore    = 1
	flagLong    = 2
	flagCommand = 4
)

// eager is the size up to which a frame's memory is taken at once. A longer one grows as its bytes arrive, so that a
// header alone costs nothing.
const eager = 64 << 10

// readFrame reads one frame of at most limit bytes; a longer command, or a longer part, is an error before any memory
// is taken.
func readFrame(r io.Reader, limit int) (flags byte, body []byte, err error) {
	var head [9]byte
	if _, err := io.ReadFull(r, head[:2]); err != nil {
		return 0, nil, err
	}
	flags = head[0]
	size := uint64(head[1])
	if flags&^(flagMore|flagLong|flagCommand) != 0 || flags&flagCommand != 0 && flags&flagMore != 0 {
		return 0, nil, protocolError("frame flags %#x", flags)
	}
	if flags&flagLong != 0 {
		if _, err := io.ReadFull(r, head[2:]); err != nil {
			return 0, nil, unexpected(err)
		}
		size = binary.BigEndian.Uint64(head[1:])
	}
	if flags&flagCommand != 0 {
		limit = maxCommand
	}
	if size > uint64(limit) {
		return 0, nil, protocolError("a frame of %d bytes where at most %d are allowed", size, limit)
	}
	if size <= eager {
		body = make([]byte, size)
		_, err = io.ReadFull(r, body)
		return flags, body, unexpected(err)
	}
	var grown bytes.Buffer
	_, err = io.CopyN(&grown, r, int64(size))
	return flags, grown.Bytes(), unexpected(err)
}

// unexpected turns an end of file inside a frame into the error that says so.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readMessage reads the frames of one message. Commands before it are given to command.
func readMessage(r io.Reader, command func(body []byte) error) (Message, error) {
	var m Message
	left := MaxMessage
	for {
		flags, body, err := readFrame(r, left)
		if err != nil {
			if len(m) > 0 {
				err = unexpected(err)
			}
			return nil, err
		}
		if flags&flagCommand != 0 {
			if len(m) > 0 {
				return nil, protocolError("a command inside of a message")
			}
			if err := command(body); err != nil {
				return nil, err
			}
			continue
		}
		m = append(m, body)
		left -= len(body)
		if flags&flagMore == 0 {
			return m, nil
		}
		if len(m) == MaxParts {
			return nil, protocolError("a message of more than %d parts", MaxParts)
		}
	}
}

// appendHeader appends the header of a frame of size bytes.
func appendHeader(b []byte, flags byte, size int) []byte {
	if size > 255 {
		b = append(b, flags|flagLong)
		return binary.BigEndian.AppendUint64(b, uint64(size))
	}
	return append(b, flags, byte(size))
}

// wireSize is the number of bytes that writeMessage writes.
func wireSize(m Message) int {
	n := 0
	for _, part := range m {
		n += 2 + len(part)
		if len(part) > 255 {
			n += 7
		}
	}
	return n
}

// writeMessage writes a message. An empty one (no parts) cannot be sent over ZeroMQ; nothing is written.
func writeMessage(w io.Writer, m Message) error {
	var head [9]byte
	for i, part := range m {
		var flags byte
		if i < len(m)-1 {
			flags = flagMore
		}
		if _, err := w.Write(appendHeader(head[:0], flags, len(part))); err != nil {
			return err
		}
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// command makes the body of a command frame.
func command(name string, data []byte) []byte {
	return append(append([]byte{byte(len(name))}, name...), data...)
}

// cutCommand splits a command frame's body.
func cutCommand(body []byte) (name string, data []byte, err error) {
	if len(body) == 0 || len(body) < 1+int(body[0]) {
		return "", nil, protocolError("a command cut short")
	}
	n := 1 + int(body[0])
	return string(body[1:n]), body[n:], nil
}
