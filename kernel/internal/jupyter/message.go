package jupyter

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"time"
)

// Version of the protocol that our messages announce. 5.4 is the first with a status for aborted requests that all
// front-ends know; 5.5 and 5.6 add optional messages only.
const Version = "5.4"

// Header says what a message is.
type Header struct {
	ID       string `json:"msg_id"`
	Session  string `json:"session"`
	Username string `json:"username"`
	Date     string `json:"date"`
	Type     string `json:"msg_type"`
	Version  string `json:"version"`
}

// Message is one message. The four dictionaries are kept as they came, so that what we do not know is passed on.
type Message struct {
	Identities [][]byte // of the way back; on iopub, the topic
	Header     Header
	Parent     Header // zero where there is none

	HeaderJSON json.RawMessage // Header with all that it had
	ParentJSON json.RawMessage
	Metadata   json.RawMessage
	Content    json.RawMessage
	Buffers    [][]byte
}

// Into decodes the content.
func (m *Message) Into(content any) error { return json.Unmarshal(m.Content, content) }

// NewID returns a random identifier of 32 hexadecimal digits.
func NewID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, says its documentation
	return hex.EncodeToString(b[:])
}

var empty = json.RawMessage("{}")

// New makes a message of a session. parent, the request that it belongs to, may be nil. content must be a value that
// encoding/json can encode as a dictionary.
func New(session, kind string, parent *Message, content any) (*Message, error) {
	m := &Message{
		Header: Header{ID: NewID(), Session: session, Username: "kernel", Date: time.Now().UTC().Format(time.RFC3339Nano),
			Type: kind, Version: Version},
		ParentJSON: empty,
		Metadata:   empty,
	}
	if parent != nil {
		m.Parent, m.ParentJSON = parent.Header, parent.HeaderJSON
	}
	var err error
	if m.HeaderJSON, err = json.Marshal(m.Header); err != nil {
		return nil, err
	}
	m.Content, err = json.Marshal(content)
	return m, err
}
