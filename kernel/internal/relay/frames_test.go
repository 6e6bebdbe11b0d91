package relay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"advlab/kernel/internal/jupyter"
	"advlab/kernel/internal/zmtp"
)

// TestFuzzedFrames throws made-up messages at a kernel's three request sockets: half of them signed rightly, so that
// they reach the handlers, with contents of all kinds. The kernel counts every one that it refuses, executes nothing,
// grows little, and goes on.
func TestFuzzedFrames(t *testing.T) {
	n := 1_000_000
	if testing.Short() {
		n = 10_000
	}
	if text := os.Getenv("RELAY_FRAMES"); text != "" {
		n = number(text)
	}
	k := startKernel(t).start()
	f := k.frontEnd()
	f.run("%%\nfmt.Println(0)")
	memory := func() int {
		text, err := os.ReadFile("/proc/" + itoa(k.cmd.Process.Pid) + "/status")
		if err != nil {
			return 0
		}
		m := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindStringSubmatch(string(text))
		if m == nil {
			return 0
		}
		return number(m[1]) >> 10
	}
	before := memory()
	f.iopub.Close() // it would have to keep two status messages for each frame

	kinds := []string{"is_complete_request", "history_request", "comm_info_request", "connect_request", "kernel_info_request", "interrupt_request",
		"execute_request", "input_reply", "debug_request", "x", "complete_request", "inspect_request", "comm_msg", "comm_close", "comm_open"}
	values := []string{`"func f() {"`, `""`, `-1`, `1e300`, `null`, `[]`, `{}`, `true`, `"\u0000"`, `"*[*"`, `9223372036854775807`, `"fmt.Prin"`, `[[[[]]]]`}
	names := []string{"code", "cursor_pos", "hist_access_type", "n", "session", "start", "stop", "pattern", "unique", "value", "comm_id", "target_name", "data", "detail_level", "silent"}
	type counts struct{ right, shape, signature, content, replayed int }
	var total counts
	var mu sync.Mutex
	var senders sync.WaitGroup
	for id, port := range []int{k.connection.Shell, k.connection.Control, k.connection.Stdin} {
		senders.Go(func() {
			s, err := zmtp.Dial(zmtp.Dealer, k.connection.Endpoint(port), zmtp.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { s.Close() })
			last := make(chan struct{})
			go func() { // replies
				for {
					parts, err := s.Recv()
					if err != nil {
						return
					}
					if len(parts) == 6 && bytes.Contains(parts[3], []byte(`"last"`)) {
						close(last)
					}
				}
			}()
			r := rand.New(rand.NewPCG(1, uint64(id)))
			right, wrong := jupyter.NewCodec(k.connection.Key), jupyter.NewCodec("wrong")
			var c counts
			for range n / 3 {
				content := map[string]json.RawMessage{}
				for range r.IntN(5) {
					content[names[r.IntN(len(names))]] = json.RawMessage(values[r.IntN(len(values))])
				}
				kind := kinds[r.IntN(len(kinds))]
				if kind == "execute_request" { // nothing that could run
					content["code"] = json.RawMessage(`7`)
				}
				m, err := jupyter.New(f.session, kind, nil, content)
				if err != nil {
					t.Error(err)
					return
				}
				var parts [][]byte
				switch r.IntN(8) {
				case 0, 1, 2:
					parts = right.Encode(m)
					c.right++
				case 3:
					m.Content = m.Content[:len(m.Content)-1]
					parts = right.Encode(m)
					c.content++
				case 4:
					parts = right.Encode(m)[:r.IntN(6)]
					if len(parts) == 0 {
						parts = [][]byte{nil}
					}
					c.shape++
				case 5:
					parts = wrong.Encode(m)
					c.signature++
				case 6:
					parts = right.Encode(m)
					parts[2+r.IntN(4)] = []byte(`{"msg_id":"tampered","msg_type":"execute_request","code":"!touch owned"}`)
					c.signature++
				case 7:
					parts = right.Encode(m)
					if err := s.Send(parts); err != nil {
						t.Error(err)
						return
					}
					c.right++
					c.replayed++
				}
				if err := s.Send(parts); err != nil {
					t.Error(err)
					return
				}
			}
			// Frames are handled in order: the answer to the last one says that all were. Nobody answers on stdin; what is
			// sent there takes no time to handle.
			end := &jupyter.Message{HeaderJSON: json.RawMessage(`{"msg_id":"last","msg_type":"connect_request"}`),
				ParentJSON: json.RawMessage(`{}`), Metadata: json.RawMessage(fmt.Sprintf(`{"n":%d}`, id)), Content: json.RawMessage(`{}`)}
			if port == k.connection.Stdin {
				time.Sleep(3 * time.Second) // closing waits for a moment only, and the machine may be busy
				s.Close()
			} else if err := s.Send(right.Encode(end)); err != nil {
				t.Error(err)
			} else {
				select {
				case <-last:
				case <-time.After(5 * time.Minute):
					t.Error("the last frame is not answered")
				}
			}
			mu.Lock()
			total = counts{total.right + c.right, total.shape + c.shape, total.signature + c.signature, total.content + c.content, total.replayed + c.replayed}
			mu.Unlock()
		})
	}
	began := time.Now()
	senders.Wait()
	if r := k.frontEnd().run("%%\nfmt.Println(1)"); r.stdout != "1\n" {
		t.Errorf("%+v", r)
	}
	t.Logf("%+v in %s; memory %d MB before, %d MB after", total, time.Since(began).Round(time.Millisecond), before, memory())
	if grown := memory() - before; grown > 200 {
		t.Errorf("the kernel has grown by %d MB", grown)
	}
	sent := total.right + total.shape + total.signature + total.content + total.replayed
	if (total.right+total.content)*10 < sent {
		t.Errorf("of %d frames %d were signed rightly, want a tenth", sent, total.right+total.content)
	}
	_ = k.cmd.Process.Signal(syscall.SIGTERM)
	<-k.ended
	want := fmt.Sprintf("%d not a message, %d wrong signature, %d sent before, %d not what the protocol says", total.shape, total.signature, total.replayed, total.content)
	if log := k.log.String(); !strings.Contains(log, want) {
		t.Errorf("the kernel counts otherwise: want %s; log\n%s", want, log[strings.LastIndex(log, "advlab: "):])
	}
}
