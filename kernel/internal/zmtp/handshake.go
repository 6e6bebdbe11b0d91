package zmtp

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"
	"strings"
)

// Kind is a socket type, by ZeroMQ's name.
type Kind string

// The sockets of a Jupyter kernel and of its clients.
const (
	Router Kind = "ROUTER" // Recv puts the peer's identity in front of the parts, Send takes it off and sends to that peer
	Rep    Kind = "REP"    // as Router: a heartbeat is Send(Recv())
	Pub    Kind = "PUB"    // Send reaches the subscribers to a prefix of the first part
	Dealer Kind = "DEALER" // the client of a Router
	Sub    Kind = "SUB"    // the client of a Pub
)

// partners lists the socket types that each may be connected with.
var partners = map[Kind][]string{
	Router: {"DEALER", "REQ", "ROUTER"},
	Rep:    {"REQ", "DEALER"},
	Pub:    {"SUB", "XSUB"},
	Dealer: {"ROUTER", "REP", "DEALER"},
	Sub:    {"PUB", "XPUB"},
}

// maxIdentity is ZeroMQ's limit on a routing id.
const maxIdentity = 255

// handshake exchanges greeting and READY, RFC 23 sections "The greeting" and "The NULL security mechanism", and returns
// the peer's identity.
func handshake(w io.Writer, r io.Reader, kind Kind, identity []byte) (peer []byte, err error) {
	var greeting [64]byte
	greeting[0], greeting[9] = 0xff, 0x7f // signature
	greeting[10] = 3                      // version 3.0
	copy(greeting[12:32], "NULL")
	if _, err := w.Write(greeting[:]); err != nil {
		return nil, err
	}
	var theirs [64]byte
	if _, err := io.ReadFull(r, theirs[:]); err != nil {
		return nil, err
	}
	mechanism := string(bytes.TrimRight(theirs[12:32], "\x00"))
	switch {
	case theirs[0] != 0xff || theirs[9]&1 == 0:
		return nil, protocolError("not a ZMTP greeting: %q", theirs[:10])
	case theirs[10] < 3:
		return nil, protocolError("ZMTP version %d; 3 is needed", theirs[10])
	case mechanism != "NULL":
		return nil, protocolError("security mechanism %q; NULL is needed", mechanism)
	}

	ready := command("READY", append(property("Socket-Type", []byte(kind)), property("Identity", identity)...))
	if _, err := w.Write(append(appendHeader(nil, flagCommand, len(ready)), ready...)); err != nil {
		return nil, err
	}
	flags, body, err := readFrame(r, maxCommand)
	if err != nil {
		return nil, err
	}
	if flags&flagCommand == 0 {
		return nil, protocolError("a message before READY")
	}
	name, data, err := cutCommand(body)
	if err != nil {
		return nil, err
	}
	if name != "READY" {
		return nil, protocolError("command %q instead of READY", name)
	}
	properties, err := parseProperties(data)
	if err != nil {
		return nil, err
	}
	if socket := string(properties["socket-type"]); !slices.Contains(partners[kind], socket) {
		return nil, protocolError("a %s socket cannot talk with a %s socket", kind, socket)
	}
	peer = properties["identity"]
	if len(peer) > maxIdentity || len(peer) > 0 && peer[0] == 0 { // a zero first byte marks identities given by us
		return nil, protocolError("identity %q", peer)
	}
	return peer, nil
}

func property(name string, value []byte) []byte {
	b := append([]byte{byte(len(name))}, name...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(value)))
	return append(b, value...)
}

// parseProperties reads the metadata of READY. Names are compared without case.
func parseProperties(data []byte) (map[string][]byte, error) {
	properties := map[string][]byte{}
	for len(data) > 0 {
		n := 1 + int(data[0])
		if len(data) < n+4 {
			return nil, protocolError("READY's properties are cut short")
		}
		name := strings.ToLower(string(data[1:n]))
		size := uint64(binary.BigEndian.Uint32(data[n:]))
		data = data[n+4:]
		if size > uint64(len(data)) {
			return nil, protocolError("READY's property %q is cut short", name)
		}
		properties[name] = data[:size]
		data = data[size:]
	}
	return properties, nil
}
