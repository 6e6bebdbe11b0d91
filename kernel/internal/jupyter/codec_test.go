package jupyter_test

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
	"strings"
	"testing"

	"advlab/kernel/internal/jupyter"
)

const key = "a key"

func message(t testing.TB, kind string, content any) *jupyter.Message {
	t.Helper()
	m, err := jupyter.New("session", kind, nil, content)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestRoundTrip(t *testing.T) {
	request := message(t, "execute_request", map[string]any{"code": "x := 1 < 2 // é"})
	request.Identities = [][]byte{[]byte("front-end"), {}}
	request.Buffers = [][]byte{{0, 255}, []byte("<IDS|MSG>")}
	got, err := jupyter.NewCodec(key).Decode(jupyter.NewCodec(key).Encode(request))
	if err != nil {
		t.Fatal(err)
	}
	if got.Header != request.Header || !bytes.Equal(got.Content, request.Content) || len(got.Identities) != 2 || len(got.Buffers) != 2 {
		t.Errorf("got %+v, want %+v", got, request)
	}
	reply, err := jupyter.New("kernel", "execute_reply", got, struct{}{})
	if err != nil {
		t.Fatal(err)
	}
	back, err := jupyter.NewCodec(key).Decode(jupyter.NewCodec(key).Encode(reply))
	if err != nil {
		t.Fatal(err)
	}
	if back.Parent != request.Header {
		t.Errorf("parent %+v, want %+v", back.Parent, request.Header)
	}
}

// The signature as jupyter_client makes it: HMAC-SHA256 of the four dictionaries, in hexadecimal. The number was
// computed with Python: hmac.new(b"a key", b"{}{}{}{}", "sha256").hexdigest().
func TestSignature(t *testing.T) {
	d := json.RawMessage("{}")
	parts := jupyter.NewCodec(key).Encode(&jupyter.Message{HeaderJSON: d, ParentJSON: d, Metadata: d, Content: d})
	const want = "e2c27855d41353957c8555d30463a97e6a6ea497e6ebb3f7824503c3b64f2c0b"
	if got := string(parts[1]); got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
}

func TestRefusals(t *testing.T) {
	sign := func(dicts ...string) [][]byte {
		mac := hmac.New(sha256.New, []byte(key))
		parts := [][]byte{[]byte("id"), []byte("<IDS|MSG>"), nil}
		for _, dict := range dicts {
			mac.Write([]byte(dict))
			parts = append(parts, []byte(dict))
		}
		parts[2] = []byte(hex.EncodeToString(mac.Sum(nil)))
		return parts
	}
	const header = `{"msg_id":"1","msg_type":"execute_request"}`
	good := sign(header, "{}", "{}", "{}")
	tampered := sign(header, "{}", "{}", "{}")
	tampered[6] = []byte(`{"code":"!rm"}`)
	unsigned := sign(header, "{}", "{}", "{}")
	unsigned[2] = nil
	other := jupyter.NewCodec("another key").Encode(message(t, "execute_request", struct{}{}))
	for name, test := range map[string]struct {
		parts [][]byte
		want  error
	}{
		"right":                     {good, nil},
		"nothing":                   {nil, jupyter.ErrShape},
		"no delimiter":              {[][]byte{[]byte("a"), []byte("b")}, jupyter.ErrShape},
		"few parts":                 {good[:6], jupyter.ErrShape},
		"tampered":                  {tampered, jupyter.ErrSignature},
		"unsigned":                  {unsigned, jupyter.ErrSignature},
		"another key":               {other, jupyter.ErrSignature},
		"header is a list":          {sign("[]", "{}", "{}", "{}"), jupyter.ErrContent},
		"header is empty":           {sign("{}", "{}", "{}", "{}"), jupyter.ErrContent},
		"header's id is a number":   {sign(`{"msg_id":1,"msg_type":"x"}`, "{}", "{}", "{}"), jupyter.ErrContent},
		"parent is null":            {sign(header, "null", "{}", "{}"), jupyter.ErrContent},
		"metadata is cut":           {sign(header, "{}", "{", "{}"), jupyter.ErrContent},
		"content is text":           {sign(header, "{}", "{}", `"x"`), jupyter.ErrContent},
		"content is deep":           {sign(header, "{}", "{}", `{"a":`+strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000)+"}"), jupyter.ErrContent},
		"content with more behind":  {sign(header, "{}", "{}", "{}{}"), jupyter.ErrContent},
		"content is not there":      {sign(header, "{}", "{}", ""), jupyter.ErrContent},
		"an unknown field is fine":  {sign(`{"msg_id":"1","msg_type":"x","more":[1]}`, "{}", "{}", "{}"), nil},
		"buffers behind are fine":   {append(sign(header, "{}", "{}", `{"a":1}`), []byte{1, 2}), nil},
		"signature in capitals":     {capitals(sign(header, "{}", "{}", "{ }")), nil},
		"signature with more":       {append(append([][]byte{}, good[0], good[1], append(append([]byte{}, good[2]...), "00"...)), good[3:]...), jupyter.ErrSignature},
		"signature not hexadecimal": {append(append([][]byte{}, good[0], good[1], bytes.Repeat([]byte("x"), 64)), good[3:]...), jupyter.ErrSignature},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := jupyter.NewCodec(key).Decode(test.parts); !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
		})
	}
}

func capitals(parts [][]byte) [][]byte {
	parts[2] = bytes.ToUpper(parts[2])
	return parts
}

func TestReplay(t *testing.T) {
	c := jupyter.NewCodec(key)
	first := c.Encode(message(t, "execute_request", struct{}{}))
	if _, err := c.Decode(first); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Decode(first); !errors.Is(err, jupyter.ErrReplayed) {
		t.Errorf("error %v, want %v", err, jupyter.ErrReplayed)
	}
	// It is remembered for as many messages as promised, and memory is bounded by forgetting it then.
	for i := range jupyter.Remembered {
		if _, err := c.Decode(first); !errors.Is(err, jupyter.ErrReplayed) {
			t.Fatalf("after %d more: error %v, want %v", i, err, jupyter.ErrReplayed)
		}
		if _, err := c.Decode(c.Encode(message(t, "x", map[string]int{"n": i}))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Decode(first); err != nil {
		t.Errorf("error %v for a message that should be forgotten", err)
	}
}

func TestNoKeyNoCheck(t *testing.T) {
	c := jupyter.NewCodec("")
	parts := c.Encode(message(t, "x", struct{}{}))
	if len(parts[1]) != 0 {
		t.Errorf("signature %q without a key", parts[1])
	}
	for range 2 {
		if _, err := c.Decode(parts); err != nil {
			t.Error(err)
		}
	}
}

func TestConnectionFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.json")
	want := jupyter.Connection{Transport: "tcp", IP: "127.0.0.1", Shell: 1, IOPub: 2, Stdin: 3, Control: 4, Heartbeat: 5, Key: key,
		Scheme: jupyter.Scheme, KernelName: "advlab"}
	if err := want.Write(file); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("mode %o, want 600: it holds the key", mode)
	}
	got, err := jupyter.ReadConnection(file)
	if err != nil || got != want {
		t.Errorf("got %+v (%v), want %+v", got, err, want)
	}
	for _, test := range []struct {
		change func(c *jupyter.Connection)
		want   string
	}{
		{func(c *jupyter.Connection) { c.Transport = "udp" }, `"udp"`},
		{func(c *jupyter.Connection) { c.Scheme = "hmac-md5" }, `"hmac-md5"`},
		{func(c *jupyter.Connection) { c.Shell = 0 }, "shell_port is 0"},
		{func(c *jupyter.Connection) { c.Heartbeat = 70000 }, "hb_port is 70000"},
		{func(c *jupyter.Connection) { c.Control = c.Shell }, "control_port is 1"},
		{func(c *jupyter.Connection) { c.IP = "" }, "ip is empty"},
	} {
		c := want
		test.change(&c)
		if err := c.Write(filepath.Join(t.TempDir(), "c.json")); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("error %v, want one with %q", err, test.want)
		}
		text, _ := json.Marshal(c)
		bad := filepath.Join(t.TempDir(), "c.json")
		if err := os.WriteFile(bad, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := jupyter.ReadConnection(bad); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("error %v, want one with %q", err, test.want)
		}
	}
}

func TestEndpoints(t *testing.T) {
	for want, c := range map[string]jupyter.Connection{
		"tcp://127.0.0.1:7": {Transport: "tcp", IP: "127.0.0.1"},
		"tcp://[::1]:7":     {Transport: "tcp", IP: "::1"},
		"ipc:///run/k-7":    {Transport: "ipc", IP: "/run/k"},
	} {
		if got := c.Endpoint(7); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// FuzzDecode feeds what is derived from the input: as it is, or with a right signature, so that more than a tenth of
// what is tried passes the check of the signature. Nothing may panic, and nothing that is wrongly signed may pass.
func FuzzDecode(f *testing.F) {
	counts := map[string]int{}
	f.Cleanup(func() {
		if len(counts) > 0 {
			f.Logf("frames by class: %v", counts)
		}
	})
	f.Add([]byte(`{"msg_id":"1","msg_type":"x"}`), []byte("{}"), []byte("{}"), []byte("{}"), uint8(0))
	f.Add([]byte(`{"msg_id":"1","msg_type":"x"}`), []byte("{}"), []byte("{}"), []byte(`{"code":"1"}`), uint8(1))
	f.Add([]byte(`[]`), []byte("null"), []byte(""), []byte("{"), uint8(2))
	f.Add([]byte("<IDS|MSG>"), []byte("{}"), []byte("{}"), []byte("{}"), uint8(3))
	f.Fuzz(func(t *testing.T, header, parent, metadata, content []byte, how uint8) {
		counts[tryDecode(t, header, parent, metadata, content, how)]++
	})
}

// tryDecode decodes a message made of the four dictionaries in one of several ways and returns the class of the
// outcome.
func tryDecode(t testing.TB, header, parent, metadata, content []byte, how uint8) (class string) {
	c := jupyter.NewCodec(key)
	m := &jupyter.Message{Identities: [][]byte{[]byte("id")}, HeaderJSON: header, ParentJSON: parent, Metadata: metadata, Content: content}
	parts := c.Encode(m)
	signed := true
	switch how % 4 {
	case 1: // one bit of the signature is wrong
		signed = false
		at := int(how) % len(parts[2])
		parts[2] = bytes.Clone(parts[2])
		if parts[2][at]++; parts[2][at] == 'g' || parts[2][at] == ':' {
			parts[2][at] = 'x'
		}
	case 2: // raw parts, without any signature
		signed = false
		parts = [][]byte{header, parent, metadata, content, header, parent, metadata}
	case 3: // a part is missing
		signed = false
		at := int(how/4) % len(parts)
		parts = append(append([][]byte{}, parts[:at]...), parts[at+1:]...)
	}
	got, err := c.Decode(parts)
	switch {
	case err == nil && !signed && how%4 != 3:
		t.Fatalf("accepted without a right signature: %q", parts)
	case err == nil && how%4 == 3 && (bytes.Equal(parts[0], []byte("id"))):
		t.Fatalf("accepted with a part missing: %q", parts)
	case err == nil:
		if got.Header.ID == "" || got.Header.Type == "" {
			t.Fatalf("a message without id or type: %q", parts)
		}
		return "accepted"
	case errors.Is(err, jupyter.ErrShape):
		return "shape"
	case errors.Is(err, jupyter.ErrSignature):
		return "signature"
	case errors.Is(err, jupyter.ErrContent):
		return "content"
	}
	t.Fatalf("an error of no class: %v", err)
	return ""
}

// TestManyFrames is the fuzz target's long run without the fuzzer's engine, which counts nothing: 10⁵ frames, with
// ADVLAB_FULL=1 10⁶, at least a tenth of them signed rightly.
func TestManyFrames(t *testing.T) {
	n := 100_000
	switch {
	case testing.Short():
		n = 50_000
	case os.Getenv("ADVLAB_FULL") != "":
		n = 1_000_000
	}
	r := rand.New(rand.NewPCG(1, 2))
	samples := []string{`{"msg_id":"1","msg_type":"x"}`, "{}", "[]", "null", "", "{", `{"a":"`, "\x00", `{"msg_id":"","msg_type":1}`,
		"<IDS|MSG>"}
	pick := func() []byte {
		text := []byte(samples[min(r.IntN(2*len(samples)), len(samples)-1)%len(samples)])
		if len(text) > 0 && r.IntN(4) == 0 {
			text[r.IntN(len(text))] = byte(r.IntN(256))
		}
		return text
	}
	counts := map[string]int{}
	for range n {
		header := pick()
		if r.IntN(2) == 0 {
			header = []byte(samples[0])
		}
		d := func() []byte {
			if r.IntN(3) > 0 {
				return []byte("{}")
			}
			return pick()
		}
		counts[tryDecode(t, header, d(), d(), d(), uint8(r.IntN(256)))]++
	}
	t.Logf("%d frames by class: %v", n, counts)
	for _, class := range []string{"accepted", "shape", "signature", "content"} {
		if counts[class] == 0 {
			t.Errorf("no frame of class %q", class)
		}
	}
	if signed := counts["accepted"] + counts["content"]; signed < n/10 {
		t.Errorf("%d of %d frames were signed rightly, want a tenth: %s", signed, n, fmt.Sprint(counts))
	}
}

func BenchmarkDecode(b *testing.B) {
	c := jupyter.NewCodec(key)
	m, err := jupyter.New("session", "stream", nil, map[string]string{"name": "stdout", "text": strings.Repeat("x", 500)})
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		m.Metadata = fmt.Appendf(nil, `{"n":%d}`, i)
		if _, err := c.Decode(c.Encode(m)); err != nil {
			b.Fatal(err)
		}
	}
}
