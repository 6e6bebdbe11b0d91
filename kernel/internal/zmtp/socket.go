package zmtp

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	handshakeLimit = 10 * time.Second
	linger         = time.Second // how long Close waits for what is queued to go out
	firstRetry     = 5 * time.Millisecond
	lastRetry      = 500 * time.Millisecond
)

// Options of a socket. The zero value is fine.
type Options struct {
	// Identity is what a ROUTER knows a DEALER by, at most 255 bytes; empty: it gives one.
	Identity []byte
	// Subscribe lists the prefixes that a SUB subscribes to; nil: the empty one, which is all.
	Subscribe []string
	// Welcome, for a PUB, makes the message that a subscriber gets, alone, when it has subscribed to a topic; nil: none.
	Welcome func(topic string) Message
}

// Stats counts what befell a socket.
type Stats struct {
	Connected int64 // handshakes completed
	Refused   int64 // connections that did not get so far
	Malformed int64 // peers dropped for what they sent
	Slow      int64 // peers cut off because they did not read
}

// Socket is one ZeroMQ socket. Its methods may be called from several goroutines.
type Socket struct {
	kind     Kind
	options  Options
	listener net.Listener // nil for a client
	incoming chan Message

	sending sync.Mutex // keeps the order of messages the same for all subscribers
	mu      sync.Mutex
	peers   map[string]*peer
	open    map[net.Conn]bool // every connection, also those in the handshake
	given   uint32            // the last identity given
	client  *outbox           // of a DEALER or SUB, over all its connections

	connected chan struct{} // closed at the first handshake
	first     sync.Once
	done      chan struct{}
	once      sync.Once
	running   sync.WaitGroup

	nConnected, nRefused, nMalformed, nSlow atomic.Int64
}

// peer is one connection after its handshake.
type peer struct {
	conn net.Conn
	in   *bufio.Reader
	id   string
	out  *outbox

	mu     sync.Mutex
	topics map[string]int // subscriptions, counted
}

// Listen binds a ROUTER, PUB or REP to an endpoint, tcp://HOST:PORT or ipc://PATH; port 0 takes a free one, see Addr.
func Listen(kind Kind, endpoint string, options Options) (*Socket, error) {
	switch kind {
	case Router, Pub, Rep:
	default:
		return nil, fmt.Errorf("zmtp: a %s socket cannot listen: ROUTER, PUB and REP can", kind)
	}
	l, err := listen(endpoint)
	if err != nil {
		return nil, err
	}
	s := newSocket(kind, options)
	s.listener = l
	s.running.Add(1)
	go s.accept()
	return s, nil
}

// Dial makes a DEALER or SUB that connects to an endpoint in the background, and again whenever the connection breaks.
// The endpoint need not exist yet; WaitConnected waits for it.
func Dial(kind Kind, endpoint string, options Options) (*Socket, error) {
	switch kind {
	case Dealer, Sub:
	default:
		return nil, fmt.Errorf("zmtp: a %s socket cannot dial: DEALER and SUB can", kind)
	}
	if len(options.Identity) > maxIdentity || len(options.Identity) > 0 && options.Identity[0] == 0 {
		return nil, fmt.Errorf("zmtp: identity %q: at most %d bytes, and not a zero first", options.Identity, maxIdentity)
	}
	network, address, err := splitEndpoint(endpoint)
	if err != nil {
		return nil, err
	}
	s := newSocket(kind, options)
	s.client = newOutbox()
	s.running.Add(1)
	go s.redial(network, address)
	return s, nil
}

func newSocket(kind Kind, options Options) *Socket {
	if options.Subscribe == nil {
		options.Subscribe = []string{""}
	}
	return &Socket{kind: kind, options: options, incoming: make(chan Message, 16), peers: map[string]*peer{},
		open: map[net.Conn]bool{}, connected: make(chan struct{}), done: make(chan struct{})}
}

// Addr is the address that a listening socket is bound to; nil for a client.
func (s *Socket) Addr() net.Addr {
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// Stats returns the counts so far.
func (s *Socket) Stats() Stats {
	return Stats{s.nConnected.Load(), s.nRefused.Load(), s.nMalformed.Load(), s.nSlow.Load()}
}

// Peers is the number of peers connected now.
func (s *Socket) Peers() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.peers)
}

// WaitConnected waits for the first completed handshake.
func (s *Socket) WaitConnected(ctx context.Context) error {
	select {
	case <-s.connected:
		return nil
	case <-s.done:
		return net.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Recv returns the next message; on a ROUTER and a REP the sender's identity is its first part. After Close the error
// is net.ErrClosed. A PUB receives nothing.
func (s *Socket) Recv() (Message, error) {
	select {
	case <-s.done:
		return nil, net.ErrClosed
	default:
	}
	select {
	case m := <-s.incoming:
		return m, nil
	case <-s.done:
		return nil, net.ErrClosed
	}
}

// Send queues a message, whose parts must not be changed afterwards. On a ROUTER or a REP the first part names the
// peer; that the peer is gone is no error, as with ZeroMQ. On a PUB each subscriber to a prefix of the first part gets
// it. Where a peer has Backlog bytes unread, Send waits; one that hardly reads for two seconds is cut off.
func (s *Socket) Send(m Message) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	select {
	case <-s.done:
		return net.ErrClosed
	default:
	}
	switch s.kind {
	case Router, Rep:
		if len(m) < 2 {
			return fmt.Errorf("zmtp: a %s's message needs an identity and a part, and has %d parts", s.kind, len(m))
		}
		s.mu.Lock()
		p := s.peers[string(m[0])]
		s.mu.Unlock()
		if p != nil {
			s.deliver(p, m[1:])
		}
	case Pub:
		if len(m) == 0 {
			return fmt.Errorf("zmtp: a message without parts")
		}
		for _, p := range s.all() {
			if p.wants(string(m[0])) {
				s.deliver(p, m)
			}
		}
	case Dealer:
		if !s.client.room(s.done) {
			return fmt.Errorf("zmtp: nobody reads: %d bytes are queued", Backlog)
		}
		s.client.put(m)
	default:
		return fmt.Errorf("zmtp: a %s socket cannot send", s.kind)
	}
	return nil
}

func (s *Socket) deliver(p *peer, m Message) {
	if p.out.room(s.done) {
		p.out.put(m)
		return
	}
	select {
	case <-s.done:
	case <-p.out.gone: // it had left by itself
	default:
		s.nSlow.Add(1)
		s.drop(p)
	}
}

func (s *Socket) all() []*peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*peer, 0, len(s.peers))
	for _, p := range s.peers {
		list = append(list, p)
	}
	return list
}

// Close ends the socket. What is queued gets a second to go out.
func (s *Socket) Close() error {
	s.once.Do(func() {
		close(s.done)
		if s.listener != nil {
			_ = s.listener.Close()
		}
		deadline := time.Now().Add(linger)
		for _, p := range s.all() {
			for !p.out.empty() && time.Now().Before(deadline) {
				time.Sleep(time.Millisecond)
			}
		}
		if s.client != nil {
			s.client.close()
		}
		for _, p := range s.all() {
			s.drop(p)
		}
		s.mu.Lock()
		for conn := range s.open {
			_ = conn.Close()
		}
		s.mu.Unlock()
	})
	s.running.Wait()
	return nil
}

func (s *Socket) accept() {
	defer s.running.Done()
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			select {
			case <-s.done:
				return
			case <-time.After(10 * time.Millisecond): // out of file descriptors: some will be free again
				continue
			}
		}
		s.running.Add(1)
		go func() {
			defer s.running.Done()
			_ = s.serve(conn)
		}()
	}
}

func (s *Socket) redial(network, address string) {
	defer s.running.Done()
	var dialer net.Dialer
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-s.done
		cancel()
	}()
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		if conn, err := dialer.DialContext(ctx, network, address); err == nil && s.serve(conn) {
			wait = firstRetry
		}
		select {
		case <-s.done:
			return
		case <-time.After(wait):
		}
	}
}

// serve does all that happens on one connection; true when its handshake was completed.
func (s *Socket) serve(conn net.Conn) bool {
	if !s.register(conn) {
		return false
	}
	defer s.unregister(conn)

	_ = conn.SetDeadline(time.Now().Add(handshakeLimit))
	in := bufio.NewReaderSize(conn, 16<<10)
	identity, err := handshake(conn, in, s.kind, s.options.Identity)
	if err != nil {
		s.nRefused.Add(1)
		return false
	}
	_ = conn.SetDeadline(time.Time{})

	p := &peer{conn: conn, in: in, id: string(identity), out: s.client, topics: map[string]int{}}
	if p.out == nil {
		p.out = newOutbox()
	}
	if s.kind == Sub {
		for _, topic := range s.options.Subscribe {
			// ZMTP 3.0 subscribes by a message; commands came with 3.1.
			if writeMessage(conn, Message{append([]byte{1}, topic...)}) != nil {
				return true
			}
		}
	}
	s.add(p)
	ended, written := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(written)
		p.out.writeTo(conn, ended)
		_ = conn.Close() // ends the reader, too
	}()
	if err := s.read(p); errors.Is(err, ErrProtocol) {
		s.nMalformed.Add(1)
	}
	close(ended)
	s.drop(p)
	<-written // before a client's next connection takes from the same queue
	return true
}

func (s *Socket) register(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.done:
		_ = conn.Close()
		return false
	default:
	}
	s.open[conn] = true
	return true
}

func (s *Socket) unregister(conn net.Conn) {
	_ = conn.Close()
	s.mu.Lock()
	delete(s.open, conn)
	s.mu.Unlock()
}

// add makes a peer known. A client that comes again under its old identity, which it does after a broken connection,
// takes the place of the old connection.
func (s *Socket) add(p *peer) {
	s.nConnected.Add(1)
	s.mu.Lock()
	if p.id == "" || s.kind != Router {
		s.given++
		p.id = string(binary.BigEndian.AppendUint32([]byte{0}, s.given))
	}
	old := s.peers[p.id]
	s.peers[p.id] = p
	s.mu.Unlock()
	s.first.Do(func() { close(s.connected) })
	if old != nil {
		s.drop(old)
	}
}

func (s *Socket) drop(p *peer) {
	_ = p.conn.Close()
	if p.out != s.client {
		p.out.close()
	}
	s.mu.Lock()
	if s.peers[p.id] == p {
		delete(s.peers, p.id)
	}
	s.mu.Unlock()
}

func (s *Socket) read(p *peer) error {
	for {
		m, err := readMessage(p.in, func(body []byte) error { return s.command(p, body) })
		if err != nil {
			return err
		}
		switch s.kind {
		case Pub:
			if len(m) == 1 && len(m[0]) > 0 && m[0][0] <= 1 {
				s.subscribe(p, string(m[0][1:]), m[0][0] == 1)
			}
			continue
		case Router, Rep:
			m = append(Message{[]byte(p.id)}, m...)
		}
		select {
		case s.incoming <- m:
		case <-s.done:
			return net.ErrClosed
		}
	}
}

// command handles what a peer of version 3.1 may send to one of 3.0, for all that it should not.
func (s *Socket) command(p *peer, body []byte) error {
	name, data, err := cutCommand(body)
	if err != nil {
		return err
	}
	switch name {
	case "SUBSCRIBE", "CANCEL":
		if s.kind == Pub {
			s.subscribe(p, string(data), name == "SUBSCRIBE")
		}
	case "ERROR":
		return protocolError("the peer reports an error: %q", data)
	}
	return nil
}

// What a subscriber can make us remember.
const (
	maxTopics = 256
	maxTopic  = 1024 // bytes
)

func (s *Socket) subscribe(p *peer, topic string, on bool) {
	if len(topic) > maxTopic {
		return
	}
	p.mu.Lock()
	switch {
	case on && (len(p.topics) < maxTopics || p.topics[topic] > 0):
		p.topics[topic]++
	case !on && p.topics[topic] > 1:
		p.topics[topic]--
	case !on:
		delete(p.topics, topic)
	}
	p.mu.Unlock()
	if on && s.options.Welcome != nil {
		if m := s.options.Welcome(topic); len(m) > 0 && p.out.room(s.done) {
			p.out.put(m)
		}
	}
}

func (p *peer) wants(topic string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for prefix := range p.topics {
		if strings.HasPrefix(topic, prefix) {
			return true
		}
	}
	return false
}
