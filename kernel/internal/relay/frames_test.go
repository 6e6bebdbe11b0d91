package relay

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"advlab/kernel/internal/jupyter"
	"advlab/kernel/internal/zmtp"
)

// FuzzFrames gives the kernel's handlers what the fuzzer makes up: a header and a content of its own, or those of a
// request with one of its dictionaries, signed rightly in four of eight ways, else wrongly, cut, twice or not at all.
// Nothing may panic, and what is not signed rightly may not get to a handler, by a check that is not the codec's. With
// ADVLAB_FUZZ_COUNTS, a folder, each of the fuzzer's processes writes there how many frames it tried, by class:
//
//	ADVLAB_FUZZ_COUNTS=/tmp/counts go test -run XXX -fuzz FuzzFrames -fuzztime 1000000x ./kernel/internal/relay
func FuzzFrames(f *testing.F) {
	const key = "a key"
	dir, err := os.MkdirTemp("", "rf")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = os.RemoveAll(dir) })
	front := jupyter.Connection{Transport: "ipc", IP: filepath.Join(dir, "s"), Shell: 1, IOPub: 2, Stdin: 3, Control: 4, Heartbeat: 5,
		Key: key, Scheme: jupyter.Scheme}
	file := filepath.Join(dir, "kernel-1.json")
	if err := front.Write(file); err != nil {
		f.Fatal(err)
	}
	r := newRelay(Config{Connection: file, Dir: dir}, key)
	r.end = func() {}
	if r.history, err = openHistory(filepath.Join(dir, "history")); err != nil {
		f.Fatal(err)
	}
	if err := r.listen(front); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(r.close)

	counts := map[string]int{}
	tried := 0
	report := func() {
		if folder := os.Getenv("ADVLAB_FUZZ_COUNTS"); folder != "" && tried > 0 {
			text, _ := json.Marshal(counts)
			_ = os.WriteFile(filepath.Join(folder, itoa(os.Getpid())+".json"), text, 0o600)
		}
	}
	f.Cleanup(report)
	if folder := os.Getenv("ADVLAB_FUZZ_COUNTS"); folder != "" { // the fuzzer shows nothing of a process that dies
		crash, err := os.Create(filepath.Join(folder, itoa(os.Getpid())+".crash"))
		if err != nil {
			f.Fatal(err)
		}
		if err := debug.SetCrashOutput(crash, debug.CrashOptions{}); err != nil {
			f.Fatal(err)
		}
	}
	kinds := []string{"is_complete_request", "history_request", "comm_info_request", "connect_request", "kernel_info_request",
		"interrupt_request", "execute_request", "input_reply", "debug_request", "complete_request", "inspect_request", "comm_msg", "comm_close",
		"comm_open", "shutdown_request"}
	for i, content := range []string{`{"code":"fmt.Prin","cursor_pos":8}`, `{"hist_access_type":"search","pattern":"*[a*","n":3}`,
		`{"comm_id":"1","target_name":"gonb_comm"}`,
		`{"code":"x.","cursor_pos":-1}`, `[`, `{"code":7,"silent":[]}`, "", "null", `{"restart":1}`} {
		for how := range 8 {
			f.Add([]byte(`{"msg_id":"1","msg_type":"x_request"}`), []byte(content), uint8(how), uint8(i))
		}
	}
	f.Fuzz(func(t *testing.T, header, content []byte, how, kind uint8) {
		header, content = bytes.Clone(header), bytes.Clone(content) // which the fuzzer writes over while a question is still answered
		m := &jupyter.Message{Identities: [][]byte{[]byte("id")}, ParentJSON: json.RawMessage(`{}`), Metadata: json.RawMessage(`{}`),
			HeaderJSON: header, Content: content}
		if how&1 == 0 { // a request that is known
			m.HeaderJSON = fmt.Appendf(nil, `{"msg_id":%q,"msg_type":%q,"session":"s"}`, jupyter.NewID(), kinds[int(kind)%len(kinds)])
		}
		codec := jupyter.NewCodec(key)
		parts, class := codec.Encode(m), "signed rightly"
		switch how % 8 {
		case 4:
			parts, class = jupyter.NewCodec("another key").Encode(m), "wrong key"
		case 5: // changed on the way
			at := 3 + int(kind)%4
			parts[at], class = append(bytes.Clone(parts[at]), ' '), "changed"
		case 6:
			at := int(kind) % len(parts)
			parts, class = append(slices.Clone(parts[:at]), parts[at+1:]...), "cut"
		case 7:
			parts, class = [][]byte{header, content, []byte("<IDS|MSG>"), header, content, header, content, header}, "no signature"
		}
		for _, s := range []*zmtp.Socket{r.shell, r.control} {
			got := r.decode(parts)
			if got == nil {
				if class == "signed rightly" {
					class += ", dropped"
				}
				break // the same again is a replay
			}
			mac := hmac.New(sha256.New, []byte(key))
			for _, dictionary := range parts[len(parts)-4:] {
				mac.Write(dictionary)
			}
			if want := hex.EncodeToString(mac.Sum(nil)); string(parts[len(parts)-5]) != want {
				t.Fatalf("accepted with the signature %q, want %s: %q", parts[len(parts)-5], want, parts)
			}
			if s == r.control {
				t.Fatalf("accepted twice: %q", parts)
			}
			if class == "cut" { // of what no signature covers: the identity
				class = "signed rightly without identity, handled"
			} else {
				class = "signed rightly, handled"
			}
			r.handle(s, got)
			r.mu.Lock()
			r.queue = nil
			r.mu.Unlock()
		}
		counts[class]++
		if tried++; tried%1000 == 0 {
			report()
		}
	})
}

// TestFuzzedFrames throws made-up messages at a kernel's three request sockets: half of them signed rightly, so that
// they reach the handlers, with contents of all kinds. The kernel counts every one that it refuses, executes nothing,
// grows little, and goes on.
func TestFuzzedFrames(t *testing.T) {
	n := 30_000
	switch {
	case testing.Short():
		n = 10_000
	case os.Getenv("ADVLAB_FULL") != "":
		n = 1_000_000
	}
	if text := os.Getenv("RELAY_FRAMES"); text != "" {
		n = number(text)
	}
	k := startKernel(t).start()
	f := k.frontEnd()
	f.run("%%\nfmt.Println(0)")
	before := k.memory()
	f.iopub.Close() // it would have to keep two status messages for each frame

	var total frameCounts
	var mu sync.Mutex
	var senders sync.WaitGroup
	for id, port := range []int{k.connection.Shell, k.connection.Control, k.connection.Stdin} {
		senders.Go(func() {
			m := frameMaker{
				r: rand.New(rand.NewPCG(1, uint64(id))), session: f.session,
				right: jupyter.NewCodec(k.connection.Key), wrong: jupyter.NewCodec("wrong"),
			}
			if err := k.sendFrames(&m, port, n/3); err != nil {
				t.Error(err)
			}
			mu.Lock()
			total.add(m.made)
			mu.Unlock()
		})
	}
	began := time.Now()
	senders.Wait()
	if r := k.frontEnd().run("%%\nfmt.Println(1)"); r.stdout != "1\n" {
		t.Errorf("%+v", r)
	}
	t.Logf("%+v in %s; memory %d MB before, %d MB after", total, time.Since(began).Round(time.Millisecond), before, k.memory())
	if grown := k.memory() - before; grown > 200 {
		t.Errorf("the kernel has grown by %d MB", grown)
	}
	sent := total.right + total.shape + total.signature + total.content + total.replayed
	if (total.right+total.content)*10 < sent {
		t.Errorf("of %d frames %d were signed rightly, want a tenth", sent, total.right+total.content)
	}
	_ = k.cmd.Process.Signal(syscall.SIGTERM)
	<-k.ended
	want := fmt.Sprintf("%d not a message, %d wrong signature, %d sent before, %d not what the protocol says", total.shape, total.signature,
		total.replayed, total.content)
	if log := k.log.String(); !strings.Contains(log, want) {
		t.Errorf("the kernel counts otherwise: want %s; log\n%s", want, log[strings.LastIndex(log, "advlab: "):])
	}
}

// memory is what the kernel has in use, in MB.
func (k *kernel) memory() int {
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

// frameCounts has how many frames were made, by what the kernel has to find wrong with them.
type frameCounts struct{ right, shape, signature, content, replayed int }

func (c *frameCounts) add(d frameCounts) {
	c.right += d.right
	c.shape += d.shape
	c.signature += d.signature
	c.content += d.content
	c.replayed += d.replayed
}

// A frameMaker makes frames up.
type frameMaker struct {
	r            *rand.Rand
	session      string
	right, wrong *jupyter.Codec
	made         frameCounts
}

// What frames are made of.
var (
	frameKinds = []string{"is_complete_request", "history_request", "comm_info_request", "connect_request", "kernel_info_request",
		"interrupt_request", "execute_request", "input_reply", "debug_request", "x", "complete_request", "inspect_request", "comm_msg",
		"comm_close", "comm_open"}
	frameValues = []string{`"func f() {"`, `""`, `-1`, `1e300`, `null`, `[]`, `{}`, `true`, `"\u0000"`, `"*[*"`, `9223372036854775807`,
		`"fmt.Prin"`, `[[[[]]]]`}
	frameNames = []string{"code", "cursor_pos", "hist_access_type", "n", "session", "start", "stop", "pattern", "unique", "value",
		"comm_id", "target_name", "data", "detail_level", "silent"}
)

// next makes a frame, and how often it is to be sent.
func (f *frameMaker) next() (parts [][]byte, times int, err error) {
	content := map[string]json.RawMessage{}
	for range f.r.IntN(5) {
		content[frameNames[f.r.IntN(len(frameNames))]] = json.RawMessage(frameValues[f.r.IntN(len(frameValues))])
	}
	kind := frameKinds[f.r.IntN(len(frameKinds))]
	if kind == "execute_request" { // nothing that could run
		content["code"] = json.RawMessage(`7`)
	}
	m, err := jupyter.New(f.session, kind, nil, content)
	if err != nil {
		return nil, 0, err
	}
	times = 1
	switch f.r.IntN(8) {
	case 0, 1, 2:
		parts = f.right.Encode(m)
		f.made.right++
	case 3:
		m.Content = m.Content[:len(m.Content)-1]
		parts = f.right.Encode(m)
		f.made.content++
	case 4:
		parts = f.right.Encode(m)[:f.r.IntN(6)]
		if len(parts) == 0 {
			parts = [][]byte{nil}
		}
		f.made.shape++
	case 5:
		parts = f.wrong.Encode(m)
		f.made.signature++
	case 6:
		parts = f.right.Encode(m)
		parts[2+f.r.IntN(4)] = []byte(`{"msg_id":"tampered","msg_type":"execute_request","code":"!touch owned"}`)
		f.made.signature++
	case 7:
		parts = f.right.Encode(m)
		times = 2
		f.made.right++
		f.made.replayed++
	}
	return parts, times, nil
}

// sendFrames sends made-up frames to a port, and waits until all are handled.
func (k *kernel) sendFrames(f *frameMaker, port, count int) error {
	s, err := zmtp.Dial(zmtp.Dealer, k.connection.Endpoint(port), zmtp.Options{})
	if err != nil {
		return err
	}
	k.t.Cleanup(func() { s.Close() })
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
	for range count {
		parts, times, err := f.next()
		if err != nil {
			return err
		}
		for range times {
			if err := s.Send(parts); err != nil {
				return err
			}
		}
	}
	// Frames are handled in order: the answer to the last one says that all were. Nobody answers on stdin; what is sent
	// there takes no time to handle.
	if port == k.connection.Stdin {
		time.Sleep(3 * time.Second) // closing waits for a moment only, and the machine may be busy
		s.Close()
		return nil
	}
	end := &jupyter.Message{HeaderJSON: json.RawMessage(`{"msg_id":"last","msg_type":"connect_request"}`),
		ParentJSON: json.RawMessage(`{}`), Metadata: json.RawMessage(fmt.Sprintf(`{"n":%d}`, port)), Content: json.RawMessage(`{}`)}
	if err := s.Send(f.right.Encode(end)); err != nil {
		return err
	}
	select {
	case <-last:
		return nil
	case <-time.After(5 * time.Minute):
		return errors.New("the last frame is not answered")
	}
}
