package zmtp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
)

func noCommand([]byte) error { return nil }

func TestMessagesSurviveTheWire(t *testing.T) {
	for _, m := range []Message{
		{{}},
		{[]byte("a")},
		{[]byte("identity"), {}, bytes.Repeat([]byte("x"), 255), bytes.Repeat([]byte("y"), 256), bytes.Repeat([]byte("z"), eager+1)},
	} {
		var wire bytes.Buffer
		if err := writeMessage(&wire, m); err != nil {
			t.Fatal(err)
		}
		if wire.Len() != wireSize(m) {
			t.Errorf("wireSize = %d, and %d bytes were written", wireSize(m), wire.Len())
		}
		got, err := readMessage(&wire, noCommand)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(m) {
			t.Fatalf("%d parts, want %d", len(got), len(m))
		}
		for i := range m {
			if !bytes.Equal(got[i], m[i]) {
				t.Errorf("part %d: %d bytes, want %d", i, len(got[i]), len(m[i]))
			}
		}
	}
}

// The octets of RFC 23, section "Framing": a short last frame, a short frame with more to come, a long one.
func TestFramesAreRFC23s(t *testing.T) {
	long := bytes.Repeat([]byte("l"), 300)
	var wire bytes.Buffer
	if err := writeMessage(&wire, Message{[]byte("ab"), long}); err != nil {
		t.Fatal(err)
	}
	want := append([]byte{1, 2, 'a', 'b', 2, 0, 0, 0, 0, 0, 0, 0x01, 0x2c}, long...)
	if !bytes.Equal(wire.Bytes(), want) {
		t.Errorf("wire begins %x, want %x", wire.Bytes()[:13], want[:13])
	}
}

func TestRefusedFrames(t *testing.T) {
	long := func(size uint64) string {
		return "\x02" + string(binary.BigEndian.AppendUint64(nil, size))
	}
	for name, wire := range map[string]string{
		"2^62 bytes":                  long(1 << 62),
		"2^40 bytes":                  long(1 << 40),
		"one byte over the limit":     long(MaxMessage + 1),
		"reserved flags":              "\x80\x01a",
		"command with more":           "\x05\x01a",
		"command over its limit":      "\x06" + string(binary.BigEndian.AppendUint64(nil, maxCommand+1)),
		"command inside of a message": "\x01\x01a" + "\x04\x02\x01C",
		"too many parts":              strings.Repeat("\x01\x00", MaxParts+1),
		"two parts that are too large": "\x03" + string(binary.BigEndian.AppendUint64(nil, 1000)) + strings.Repeat("x", 1000) +
			long(MaxMessage-999),
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := readMessage(strings.NewReader(wire), noCommand)
			runtime.ReadMemStats(&after)
			if !errors.Is(err, ErrProtocol) {
				t.Errorf("error %v, want a protocol error", err)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
				t.Errorf("%d bytes of memory for a message that is refused", used)
			}
		})
	}
}

// A header may announce what is allowed and never comes: memory grows with what arrives.
func TestHeaderAloneTakesNoMemory(t *testing.T) {
	wire := "\x02" + string(binary.BigEndian.AppendUint64(nil, MaxMessage)) + strings.Repeat("x", 1000)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := readMessage(strings.NewReader(wire), noCommand)
	runtime.ReadMemStats(&after)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v, want an unexpected end", err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
		t.Errorf("%d bytes of memory for 1000 that arrived", used)
	}
}

// FuzzReadMessage: whatever a peer sends is a message within the limits or an error, and a message that was read
// comes out of the wire again as it was.
func FuzzReadMessage(f *testing.F) {
	for _, seed := range []string{"\x00\x01a", "\x01\x01a\x00\x00", "\x04\x06\x05READY", "\x02\x00\x00\x00\x00\x00\x00\x00\x01a",
		"\x06\xff\xff\xff\xff\xff\xff\xff\xff", "\x03"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		r := bytes.NewReader(wire)
		for {
			m, err := readMessage(r, func(body []byte) error { _, _, err := cutCommand(body); return err })
			if err != nil {
				return
			}
			if len(m) == 0 || len(m) > MaxParts {
				t.Fatalf("a message of %d parts", len(m))
			}
			var again bytes.Buffer
			if err := writeMessage(&again, m); err != nil {
				t.Fatal(err)
			}
			back, err := readMessage(&again, noCommand)
			if err != nil || len(back) != len(m) {
				t.Fatalf("written and read again: %d parts, error %v", len(back), err)
			}
		}
	})
}

func FuzzHandshake(f *testing.F) {
	greeting := make([]byte, 64)
	greeting[0], greeting[9], greeting[10] = 0xff, 0x7f, 3
	copy(greeting[12:], "NULL")
	ready := command("READY", append(property("Socket-Type", []byte("DEALER")), property("Identity", []byte("me"))...))
	f.Add(append(greeting, append([]byte{4, byte(len(ready))}, ready...)...))
	f.Add(greeting)
	f.Fuzz(func(t *testing.T, wire []byte) {
		id, err := handshake(io.Discard, bytes.NewReader(wire), Router, nil)
		if err == nil && (len(id) > maxIdentity || len(id) > 0 && id[0] == 0) {
			t.Fatalf("identity %q was taken", id)
		}
	})
}
