package zmtp_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"advlab/kernel/internal/zmtp"
)

func listen(t testing.TB, kind zmtp.Kind, endpoint string, options zmtp.Options) (*zmtp.Socket, string) {
	t.Helper()
	s, err := zmtp.Listen(kind, endpoint, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if strings.HasPrefix(endpoint, "ipc://") {
		return s, endpoint
	}
	return s, "tcp://" + s.Addr().String()
}

func dial(t testing.TB, kind zmtp.Kind, endpoint string, options zmtp.Options) *zmtp.Socket {
	t.Helper()
	s, err := zmtp.Dial(kind, endpoint, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func connected(t testing.TB, s *zmtp.Socket) *zmtp.Socket {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.WaitConnected(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

func send(t testing.TB, s *zmtp.Socket, parts ...string) {
	t.Helper()
	var m zmtp.Message
	for _, part := range parts {
		m = append(m, []byte(part))
	}
	if err := s.Send(m); err != nil {
		t.Fatal(err)
	}
}

// receive fails the test where nothing comes.
func receive(t testing.TB, s *zmtp.Socket) []string {
	t.Helper()
	got := make(chan zmtp.Message, 1)
	go func() {
		if m, err := s.Recv(); err == nil {
			got <- m
		}
	}()
	select {
	case m := <-got:
		var parts []string
		for _, part := range m {
			parts = append(parts, string(part))
		}
		return parts
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was received")
		return nil
	}
}

func same(got []string, want ...string) bool {
	return fmt.Sprintf("%q", got) == fmt.Sprintf("%q", want)
}

func wait(t testing.TB, what string, ready func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ready(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}

func endpoints(t testing.TB) map[string]string {
	return map[string]string{"tcp": "tcp://127.0.0.1:0", "ipc": "ipc://" + filepath.Join(t.TempDir(), "s")}
}

func TestRequestAndReply(t *testing.T) {
	for name, endpoint := range endpoints(t) {
		t.Run(name, func(t *testing.T) {
			router, at := listen(t, zmtp.Router, endpoint, zmtp.Options{})
			a := dial(t, zmtp.Dealer, at, zmtp.Options{Identity: []byte("a")})
			b := dial(t, zmtp.Dealer, at, zmtp.Options{})
			send(t, a, "question", "")
			if got := receive(t, router); !same(got, "a", "question", "") {
				t.Fatalf("router got %q", got)
			}
			send(t, b, "other")
			anonymous := receive(t, router)
			if len(anonymous) != 2 || len(anonymous[0]) != 5 || anonymous[0][0] != 0 {
				t.Fatalf("router got %q, want a given identity of 5 bytes", anonymous)
			}
			send(t, router, "a", "answer")
			send(t, router, anonymous[0], "other answer")
			send(t, router, "nobody", "lost")
			if got := receive(t, a); !same(got, "answer") {
				t.Errorf("a got %q", got)
			}
			if got := receive(t, b); !same(got, "other answer") {
				t.Errorf("b got %q", got)
			}
		})
	}
}

func TestHeartbeatEchoes(t *testing.T) {
	rep, at := listen(t, zmtp.Rep, "tcp://127.0.0.1:0", zmtp.Options{})
	a := dial(t, zmtp.Dealer, at, zmtp.Options{})
	send(t, a, "", "ping") // a REQ puts the empty part there itself
	m, err := rep.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if err := rep.Send(m); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, a); !same(got, "", "ping") {
		t.Errorf("got %q", got)
	}
}

func TestSubscriptionsFilter(t *testing.T) {
	pub, at := listen(t, zmtp.Pub, "tcp://127.0.0.1:0", zmtp.Options{
		Welcome: func(topic string) zmtp.Message { return zmtp.Message{[]byte("welcome"), []byte(topic)} }})
	all := dial(t, zmtp.Sub, at, zmtp.Options{})
	some := dial(t, zmtp.Sub, at, zmtp.Options{Subscribe: []string{"k.stream"}})
	if got := receive(t, all); !same(got, "welcome", "") {
		t.Fatalf("got %q", got)
	}
	if got := receive(t, some); !same(got, "welcome", "k.stream") {
		t.Fatalf("got %q", got)
	}
	send(t, pub, "k.status", "busy")
	send(t, pub, "k.stream.stdout", "text")
	if got := receive(t, all); !same(got, "k.status", "busy") {
		t.Errorf("got %q", got)
	}
	if got := receive(t, some); !same(got, "k.stream.stdout", "text") {
		t.Errorf("got %q", got)
	}
}

func TestClientComesBack(t *testing.T) {
	endpoint := "ipc://" + filepath.Join(t.TempDir(), "s")
	client := dial(t, zmtp.Dealer, endpoint, zmtp.Options{Identity: []byte("c")})
	send(t, client, "before anyone listens")
	for i := range 3 {
		router, err := zmtp.Listen(zmtp.Router, endpoint, zmtp.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			wait(t, "connected again", func() bool { return router.Peers() == 1 })
			send(t, client, "again")
		}
		receive(t, router)
		send(t, router, "c", "answer")
		if got := receive(t, client); !same(got, "answer") {
			t.Errorf("got %q", got)
		}
		if err := router.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSameIdentityTakesOver(t *testing.T) {
	router, at := listen(t, zmtp.Router, "tcp://127.0.0.1:0", zmtp.Options{})
	old := connected(t, dial(t, zmtp.Dealer, at, zmtp.Options{Identity: []byte("c")}))
	send(t, old, "1")
	receive(t, router)
	fresh := dial(t, zmtp.Dealer, at, zmtp.Options{Identity: []byte("c")})
	send(t, fresh, "2")
	receive(t, router)
	if n := router.Peers(); n != 1 {
		t.Errorf("%d peers, want 1", n)
	}
}

func TestUnixSocketIsTheUsersAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s, _ := listen(t, zmtp.Pub, "ipc://"+path, zmtp.Options{})
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("mode %o, want 600", mode)
	}
	s.Close()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestSocketOfAKilledProcessIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	listen(t, zmtp.Pub, "ipc://"+path, zmtp.Options{})
	if _, err := zmtp.Listen(zmtp.Pub, "ipc://"+path, zmtp.Options{}); err == nil {
		t.Error("a second socket took the place of a living one")
	}
}

func TestRefusedEndpoints(t *testing.T) {
	for endpoint, want := range map[string]string{
		"udp://127.0.0.1:1":                  "neither tcp",
		"tcp://127.0.0.1":                    "missing port",
		"ipc://":                             "neither tcp",
		"ipc:///" + strings.Repeat("x", 110): "111 bytes",
	} {
		if _, err := zmtp.Listen(zmtp.Router, endpoint, zmtp.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Listen(%q): error %v, want one with %q", endpoint, err, want)
		}
		if _, err := zmtp.Dial(zmtp.Dealer, endpoint, zmtp.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Dial(%q): error %v, want one with %q", endpoint, err, want)
		}
	}
	if _, err := zmtp.Listen(zmtp.Sub, "tcp://127.0.0.1:0", zmtp.Options{}); err == nil {
		t.Error("a SUB listens")
	}
	if _, err := zmtp.Dial(zmtp.Dealer, "tcp://127.0.0.1:1", zmtp.Options{Identity: []byte{0, 1}}); err == nil {
		t.Error("an identity that begins with zero was taken")
	}
}

func greeting(change func(g []byte)) []byte {
	g := make([]byte, 64)
	g[0], g[9], g[10] = 0xff, 0x7f, 3
	copy(g[12:], "NULL")
	if change != nil {
		change(g)
	}
	return g
}

func ready(kind string) []byte {
	body := append([]byte("\x05READY\x0bSocket-Type"), binary.BigEndian.AppendUint32(nil, uint32(len(kind)))...)
	body = append(body, kind...)
	return append([]byte{4, byte(len(body))}, body...)
}

// Whatever a stranger sends, its connection is closed and the others are served.
func TestStrangers(t *testing.T) {
	router, at := listen(t, zmtp.Router, "tcp://127.0.0.1:0", zmtp.Options{})
	client := dial(t, zmtp.Dealer, at, zmtp.Options{Identity: []byte("c")})
	long := func(size uint64) []byte { return binary.BigEndian.AppendUint64([]byte{2}, size) }
	hello := append(greeting(nil), ready("DEALER")...)
	for name, wire := range map[string][]byte{
		"http":                []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + strings.Repeat("x", 64)),
		"ZMTP 2":              greeting(func(g []byte) { g[10] = 1 }),
		"CURVE":               greeting(func(g []byte) { copy(g[12:], "CURVE") }),
		"SUB to a ROUTER":     append(greeting(nil), ready("SUB")...),
		"message for READY":   append(greeting(nil), 0, 1, 'a'),
		"READY cut short":     append(greeting(nil), "\x04\x08\x05READY\x0bS"...),
		"2^62":                append(hello, long(1<<62)...),
		"2^40":                append(hello, long(1<<40)...),
		"2^33":                append(hello, long(1<<33)...),
		"5000 parts":          append(hello, bytes.Repeat([]byte{1, 1, 'p'}, 5000)...),
		"unknown frame flags": append(hello, 0x40, 0),
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", strings.TrimPrefix(at, "tcp://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, _ = conn.Write(wire) // it may be closed before the last byte
			_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection stays open")
			}
			send(t, client, name)
			if got := receive(t, router); !same(got, "c", name) {
				t.Errorf("beside it, the router got %q", got)
			}
		})
	}
}

func TestSilentConnectionsAreHarmless(t *testing.T) {
	router, at := listen(t, zmtp.Router, "tcp://127.0.0.1:0", zmtp.Options{})
	for range 100 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(at, "tcp://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	client := dial(t, zmtp.Dealer, at, zmtp.Options{Identity: []byte("c")})
	send(t, client, "hello")
	if got := receive(t, router); !same(got, "c", "hello") {
		t.Errorf("got %q", got)
	}
}

// What a browser's reloads do, in thousands: no goroutine, no peer is left.
func TestConnectAndClose(t *testing.T) {
	pub, at := listen(t, zmtp.Pub, "tcp://127.0.0.1:0", zmtp.Options{})
	stay := connected(t, dial(t, zmtp.Sub, at, zmtp.Options{}))
	wait(t, "one subscriber", func() bool { return pub.Peers() == 1 })
	before := runtime.NumGoroutine()
	for i := range 2000 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(at, "tcp://"))
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			_, _ = conn.Write(append(greeting(nil), ready("SUB")...))
			_, _ = conn.Write([]byte{0, 1, 1})
		}
		conn.Close()
		if i%100 == 0 {
			send(t, pub, "k", fmt.Sprint(i))
		}
	}
	wait(t, "they are forgotten", func() bool { return pub.Peers() == 1 && runtime.NumGoroutine() <= before+3 })
	n := 0
	for got := ""; got != "1900"; {
		m := receive(t, stay)
		got = m[len(m)-1]
		n++
	}
	if n < 19 { // the first may precede the subscription
		t.Errorf("the subscriber that stayed got %d of 20 messages", n)
	}
}

// A subscriber that never reads is cut off, and the others miss nothing.
func TestSubscriberThatNeverReads(t *testing.T) {
	if testing.Short() {
		t.Skip("sends 64 MB; run without -short")
	}
	pub, at := listen(t, zmtp.Pub, "tcp://127.0.0.1:0", zmtp.Options{})
	conn, err := net.Dial("tcp", strings.TrimPrefix(at, "tcp://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = conn.Write(append(append(greeting(nil), ready("SUB")...), 0, 1, 1))
	healthy := dial(t, zmtp.Sub, at, zmtp.Options{})
	wait(t, "two subscribers", func() bool { return pub.Peers() == 2 })
	time.Sleep(50 * time.Millisecond) // their subscriptions

	const n, size = 1000, 64 << 10
	go func() {
		text := bytes.Repeat([]byte("x"), size)
		for i := range n {
			_ = pub.Send(zmtp.Message{binary.BigEndian.AppendUint32(nil, uint32(i)), text})
		}
	}()
	for i := range n {
		m := receive(t, healthy)
		if got := binary.BigEndian.Uint32([]byte(m[0])); got != uint32(i) || len(m[1]) != size {
			t.Fatalf("message %d is number %d, of %d bytes", i, got, len(m[1]))
		}
	}
	if s := pub.Stats(); s.Slow != 1 {
		t.Errorf("stats %+v, want 1 cut off for not reading", s)
	}
}

// A slow reader slows the sender down and loses nothing.
func TestSlowReaderLosesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 40 MB slowly; run without -short")
	}
	pub, at := listen(t, zmtp.Pub, "tcp://127.0.0.1:0", zmtp.Options{})
	slow := dial(t, zmtp.Sub, at, zmtp.Options{})
	wait(t, "subscriber", func() bool { return pub.Peers() == 1 })
	time.Sleep(50 * time.Millisecond)
	const n, size = 640, 64 << 10
	go func() {
		text := bytes.Repeat([]byte("x"), size)
		for i := range n {
			_ = pub.Send(zmtp.Message{binary.BigEndian.AppendUint32(nil, uint32(i)), text})
		}
	}()
	for i := range n {
		m, err := slow.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if got := binary.BigEndian.Uint32(m[0]); got != uint32(i) {
			t.Fatalf("message %d is number %d", i, got)
		}
		time.Sleep(8 * time.Millisecond) // 8 MB/s
	}
	if s := pub.Stats(); s.Slow != 0 {
		t.Errorf("stats %+v: a healthy reader was cut off", s)
	}
}

func TestCloseSendsWhatIsQueued(t *testing.T) {
	router, at := listen(t, zmtp.Router, "tcp://127.0.0.1:0", zmtp.Options{})
	client := dial(t, zmtp.Dealer, at, zmtp.Options{Identity: []byte("c")})
	send(t, client, "shutdown")
	receive(t, router)
	big := strings.Repeat("x", 8<<20)
	send(t, router, "c", big)
	go router.Close()
	if got := receive(t, client); len(got) != 1 || len(got[0]) != len(big) {
		t.Error("the last reply was cut")
	}
	wait(t, "closed", func() bool { return errors.Is(router.Send(zmtp.Message{[]byte("c"), nil}), net.ErrClosed) })
}

func BenchmarkRoundTrip(b *testing.B) {
	router, at := listen(b, zmtp.Router, "tcp://127.0.0.1:0", zmtp.Options{})
	client := dial(b, zmtp.Dealer, at, zmtp.Options{})
	go func() {
		for {
			m, err := router.Recv()
			if err != nil {
				return
			}
			_ = router.Send(m)
		}
	}()
	text := bytes.Repeat([]byte("x"), 500)
	for b.Loop() {
		if err := client.Send(zmtp.Message{text}); err != nil {
			b.Fatal(err)
		}
		if _, err := client.Recv(); err != nil {
			b.Fatal(err)
		}
	}
}
