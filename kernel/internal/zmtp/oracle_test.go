package zmtp_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"advlab/advlib/cachedir"
	"advlab/kernel/internal/zmtp"
)

// oracle is libzmq on the other side, which front-ends use.
type oracle struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Scanner
}

type ask struct {
	Do        string    `json:"do"`
	Name      string    `json:"name,omitempty"`
	Kind      zmtp.Kind `json:"kind,omitempty"`
	Identity  string    `json:"identity,omitempty"`
	Subscribe string    `json:"subscribe,omitempty"`
	Bind      string    `json:"bind,omitempty"`
	Connect   string    `json:"connect,omitempty"`
	Parts     []string  `json:"parts,omitempty"`
	N         int       `json:"n,omitempty"`
}

type answer struct {
	At    string   `json:"at"`
	Parts []string `json:"parts"`
	Bytes int      `json:"bytes"`
	Order bool     `json:"order"`
}

func startOracle(t *testing.T) *oracle {
	t.Helper()
	root, err := cachedir.Root()
	if err != nil {
		t.Fatal(err)
	}
	python := filepath.Join(root, "python", "bin", "python")
	if _, err := os.Stat(python); err != nil {
		t.Skipf("no Python environment with pyzmq at %s: `go run ./kernel test` prepares it and runs this test", python)
	}
	cmd := exec.Command(python, filepath.Join("testdata", "oracle.py"))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("the oracle: %v", err)
			}
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-done
		}
	})
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 64<<20)
	return &oracle{t, in, lines}
}

func (o *oracle) do(a ask) answer {
	o.t.Helper()
	line, err := json.Marshal(a)
	if err != nil {
		o.t.Fatal(err)
	}
	if _, err := o.in.Write(append(line, '\n')); err != nil {
		o.t.Fatal(err)
	}
	if !o.out.Scan() {
		o.t.Fatalf("the oracle ended at %s: %v", line, o.out.Err())
	}
	var got answer
	if err := json.Unmarshal(o.out.Bytes(), &got); err != nil {
		o.t.Fatal(err)
	}
	return got
}

func (o *oracle) send(name string, parts ...[]byte) {
	o.t.Helper()
	a := ask{Do: "send", Name: name}
	for _, part := range parts {
		a.Parts = append(a.Parts, hex.EncodeToString(part))
	}
	o.do(a)
}

func (o *oracle) receive(name string) []string {
	o.t.Helper()
	var parts []string
	for _, part := range o.do(ask{Do: "receive", Name: name}).Parts {
		b, err := hex.DecodeString(part)
		if err != nil {
			o.t.Fatal(err)
		}
		parts = append(parts, string(b))
	}
	return parts
}

func TestLibzmqFrontEnd(t *testing.T) {
	for name, endpoint := range endpoints(t) {
		t.Run(name, func(t *testing.T) {
			o := startOracle(t)
			router, at := listen(t, zmtp.Router, endpoint, zmtp.Options{})
			o.do(ask{Do: "open", Name: "d", Kind: zmtp.Dealer, Identity: "session", Connect: at})
			big := bytes.Repeat([]byte{0, 1, 2, 0xff}, 300_000)
			o.send("d", nil, []byte("ab"), big)
			if got := receive(t, router); !same(got, "session", "", "ab", string(big)) {
				t.Errorf("router got %d parts", len(got))
			}
			send(t, router, "session", "reply", string(big))
			if got := o.receive("d"); !same(got, "reply", string(big)) {
				t.Errorf("libzmq got %d parts", len(got))
			}
		})
	}
}

func TestLibzmqHeartbeat(t *testing.T) {
	o := startOracle(t)
	rep, at := listen(t, zmtp.Rep, "tcp://127.0.0.1:0", zmtp.Options{})
	go func() {
		for {
			m, err := rep.Recv()
			if err != nil {
				return
			}
			_ = rep.Send(m)
		}
	}()
	o.do(ask{Do: "open", Name: "r", Kind: "REQ", Connect: at})
	for i := range 5 {
		ping := fmt.Sprint("ping ", i)
		o.send("r", []byte(ping))
		if got := o.receive("r"); !same(got, ping) {
			t.Errorf("got %q", got)
		}
	}
}

func TestLibzmqSubscribers(t *testing.T) {
	o := startOracle(t)
	pub, at := listen(t, zmtp.Pub, "tcp://127.0.0.1:0", zmtp.Options{
		Welcome: func(topic string) zmtp.Message { return zmtp.Message{[]byte(topic), []byte("welcome")} }})
	o.do(ask{Do: "open", Name: "all", Kind: zmtp.Sub, Connect: at})
	o.do(ask{Do: "open", Name: "some", Kind: zmtp.Sub, Subscribe: "k.stream", Connect: at})
	if got := o.receive("all"); !same(got, "", "welcome") {
		t.Errorf("got %q", got)
	}
	if got := o.receive("some"); !same(got, "k.stream", "welcome") {
		t.Errorf("got %q", got)
	}
	send(t, pub, "k.status", "busy")
	send(t, pub, "k.stream", "text")
	if got := o.receive("some"); !same(got, "k.stream", "text") {
		t.Errorf("got %q", got)
	}
	o.receive("all")
	o.receive("all")

	// 200 reloads of a browser while messages flow, then 10⁵ messages.
	o.do(ask{Do: "cycle", N: 200, Connect: at})
	const n, size = 100_000, 500
	go func() {
		text := bytes.Repeat([]byte("x"), size)
		for i := range n {
			_ = pub.Send(zmtp.Message{binary.BigEndian.AppendUint32(nil, uint32(i)), text})
		}
	}()
	got := o.do(ask{Do: "flood", Name: "all", N: n})
	if got.Bytes != n*(size+4) || !got.Order {
		t.Errorf("of %d messages libzmq got %d bytes, in order: %v; want %d bytes", n, got.Bytes, got.Order, n*(size+4))
	}
}

func TestLibzmqKernel(t *testing.T) {
	o := startOracle(t)
	at := o.do(ask{Do: "open", Name: "router", Kind: zmtp.Router, Bind: "tcp://127.0.0.1:*"}).At
	client := dial(t, zmtp.Dealer, at, zmtp.Options{Identity: []byte("relay")})
	send(t, client, "question")
	if got := o.receive("router"); !same(got, "relay", "question") {
		t.Errorf("got %q", got)
	}
	o.send("router", []byte("relay"), []byte("answer"))
	if got := receive(t, client); !same(got, "answer") {
		t.Errorf("got %q", got)
	}

	at = o.do(ask{Do: "open", Name: "xpub", Kind: "XPUB", Bind: "tcp://127.0.0.1:*"}).At
	sub := dial(t, zmtp.Sub, at, zmtp.Options{Subscribe: []string{"k"}})
	if got := o.receive("xpub"); !same(got, "\x01k") {
		t.Errorf("libzmq saw the subscription %q", got)
	}
	o.send("xpub", []byte("other"), []byte("1"))
	o.send("xpub", []byte("k"), []byte("2"))
	if got := receive(t, sub); !same(got, "k", "2") {
		t.Errorf("got %q", got)
	}
}
