package relay

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"advlab/kernel/internal/jupyter"
	"advlab/kernel/internal/zmtp"
)

// front is the side of the relay that Jupyter sees: five sockets, and messages that are signed.
type front struct {
	id      string // the kernel's, in Jupyter's server
	session string
	codec   *jupyter.Codec
	log     func(format string, args ...any)

	shell, control, stdin, iopub, heartbeat *zmtp.Socket

	status sync.Mutex // keeps the status messages of different goroutines in order: busy before idle

	refused [4]atomic.Int64 // messages, by refusals
}

// refusals are the classes of messages that were dropped.
var refusals = [4]error{jupyter.ErrShape, jupyter.ErrSignature, jupyter.ErrReplayed, jupyter.ErrContent}

func (f *front) listen(to jupyter.Connection) (err error) {
	for _, s := range []struct {
		socket **zmtp.Socket
		kind   zmtp.Kind
		port   int
	}{
		{&f.heartbeat, zmtp.Rep, to.Heartbeat},
		{&f.iopub, zmtp.Pub, to.IOPub},
		{&f.stdin, zmtp.Router, to.Stdin},
		{&f.control, zmtp.Router, to.Control},
		{&f.shell, zmtp.Router, to.Shell},
	} {
		options := zmtp.Options{}
		if s.kind == zmtp.Pub {
			options.Welcome = f.welcome
		}
		if *s.socket, err = zmtp.Listen(s.kind, to.Endpoint(s.port), options); err != nil {
			f.close()
			return err
		}
	}
	return nil
}

// welcome tells a front-end that it hears iopub from now on (JEP 65).
func (f *front) welcome(topic string) zmtp.Message {
	m, err := jupyter.New(f.session, "iopub_welcome", nil, map[string]string{"subscription": topic})
	if err != nil {
		return nil
	}
	m.Identities = [][]byte{[]byte(topic)}
	return f.codec.Encode(m)
}

func (f *front) close() {
	for _, s := range []*zmtp.Socket{f.shell, f.control, f.stdin, f.iopub, f.heartbeat} {
		if s != nil {
			_ = s.Close()
		}
	}
}

// echo is the heartbeat.
func (f *front) echo() {
	for {
		m, err := f.heartbeat.Recv()
		if err != nil {
			return
		}
		_ = f.heartbeat.Send(m)
	}
}

// receive returns the next message that is signed and sound; others are counted.
func (f *front) receive(s *zmtp.Socket) (*jupyter.Message, error) {
	for {
		parts, err := s.Recv()
		if err != nil {
			return nil, err
		}
		if m := f.decode(parts); m != nil {
			return m, nil
		}
	}
}

// decode returns the message, if it is signed and sound; nil: it is counted and dropped.
func (f *front) decode(parts [][]byte) *jupyter.Message {
	m, err := f.codec.Decode(parts)
	if err == nil {
		return m
	}
	for i, class := range refusals {
		if errors.Is(err, class) {
			f.refused[i].Add(1)
		}
	}
	return nil
}

func (f *front) refusedCounts() string {
	var parts []string
	for i, class := range refusals {
		if n := f.refused[i].Load(); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, strings.TrimPrefix(class.Error(), "jupyter: ")))
		}
	}
	return strings.Join(parts, ", ")
}

// publish sends something to all front-ends.
func (f *front) publish(kind string, parent *jupyter.Message, content any) {
	f.publishWith(kind, parent, content, nil)
}

func (f *front) publishWith(kind string, parent *jupyter.Message, content any, buffers [][]byte) {
	m, err := jupyter.New(f.session, kind, parent, content)
	if err != nil {
		f.log("a %s message cannot be encoded: %v", kind, err)
		return
	}
	m.Identities = [][]byte{[]byte("kernel." + f.id + "." + kind)}
	m.Buffers = buffers
	_ = f.iopub.Send(f.codec.Encode(m)) // fails only at the end
}

// reply answers a request on the channel that it came on.
func (f *front) reply(s *zmtp.Socket, request *jupyter.Message, content any, metadata any) {
	kind := strings.TrimSuffix(request.Header.Type, "_request") + "_reply"
	m, err := jupyter.New(f.session, kind, request, content)
	if err != nil {
		f.log("a %s cannot be encoded: %v", kind, err)
		return
	}
	if metadata != nil {
		if text, err := encode(metadata); err == nil {
			m.Metadata = text
		}
	}
	m.Identities = request.Identities
	_ = s.Send(f.codec.Encode(m))
}

func (f *front) setStatus(state string, parent *jupyter.Message) {
	f.publish("status", parent, map[string]string{"execution_state": state})
}
