package serve_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gomlx/compute/dtypes/bfloat16"
	"github.com/gomlx/compute/dtypes/float16"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/detect"
	"advlab/advlib/oracle"
	"advlab/advlib/serve"
)

// signature is that of 2×2 inputs in −1..1.
var signature = advlib.Signature{Input: []int{2, 2}, Box: advlib.Box{Lo: -1, Hi: 1}, Classes: 3, ClassNames: []string{"a", "b", "c"}}

// scores is a function of four values.
func scores(x []float32) []float32 {
	return []float32{x[0] + 2*x[1], x[1] - x[2] + 0.1, x[3] / 3}
}

func victim() advlib.Victim { return oracle.Func("A model", signature, scores) }

// probe is a test's client.
type probe struct {
	t   *testing.T
	url string
}

func start(t *testing.T, v advlib.Victim, o serve.Options) (probe, *serve.Running) {
	t.Helper()
	r, err := serve.Local(v, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return probe{t, r.URL}, r
}

// reply is a response.
type reply struct {
	status int
	header http.Header
	body   []byte
	Error  string `json:"error"`
	Name   string `json:"model_name"`
	ID     string `json:"id"`

	Outputs []struct {
		Name, Datatype string
		Shape          []int
		Data           []any
		Parameters     map[string]float64
	}
}

func (p probe) do(method, path string, body []byte, headers ...string) (r reply) {
	p.t.Helper()
	address := p.url + path
	if rest, ok := strings.CutPrefix(path, "//"); ok { // from the root
		address = p.url[:strings.Index(p.url, "/v2")] + "/" + rest
	}
	req, err := http.NewRequestWithContext(p.t.Context(), method, address, bytes.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "identity")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	r.status, r.header = res.StatusCode, res.Header
	if r.body, err = io.ReadAll(res.Body); err != nil {
		p.t.Fatal(err)
	}
	text := r.body
	if n, err := strconv.Atoi(res.Header.Get("Inference-Header-Content-Length")); err == nil {
		text = text[:n]
	}
	if res.Header.Get("Content-Encoding") == "" && method != http.MethodHead {
		if err := json.Unmarshal(text, &r); err != nil {
			p.t.Fatalf("%s %s: %d, %v in %q", method, path, res.StatusCode, err, r.body)
		}
	}
	return r
}

func (p probe) infer(body string, headers ...string) reply {
	p.t.Helper()
	return p.do(http.MethodPost, "/infer", []byte(body), headers...)
}

const two = `{"id":"seven","inputs":[{"name":"input","datatype":"FP32","shape":[2,2,2],"data":[0.1,0.2,0.3,-1,1,0,0,0.5]}]}`

// wants compares the only output with what the function computes for two, bit for bit.
func (p probe) wants(r reply) {
	p.t.Helper()
	want := append(scores([]float32{0.1, 0.2, 0.3, -1}), scores([]float32{1, 0, 0, 0.5})...)
	if r.status != http.StatusOK || r.Name != "a-model" || len(r.Outputs) != 1 {
		p.t.Fatalf("%d: %s", r.status, r.body)
	}
	o := r.Outputs[0]
	if o.Name != "logits" || o.Datatype != "FP32" || !slices.Equal(o.Shape, []int{2, 3}) {
		p.t.Fatalf("output %+v", o)
	}
	var got []float32
	if n := int(o.Parameters["binary_data_size"]); n > 0 {
		if r.header.Get("Content-Type") != "application/octet-stream" {
			p.t.Errorf("Content-Type %q", r.header.Get("Content-Type"))
		}
		for raw := r.body[len(r.body)-n:]; len(raw) > 0; raw = raw[4:] {
			got = append(got, math.Float32frombits(binary.LittleEndian.Uint32(raw)))
		}
	} else {
		for _, v := range o.Data {
			got = append(got, float32(v.(float64)))
		}
	}
	if !slices.Equal(got, want) {
		p.t.Errorf("answers %v, want %v", got, want)
	}
}

func TestHealthAndMetadata(t *testing.T) {
	p, r := start(t, victim(), serve.Options{})
	if r.Path() != "/v2/models/a-model" || !strings.HasSuffix(r.URL, r.Path()) {
		t.Errorf("at %s, %s", r.URL, r.Path())
	}
	for path, want := range map[string]string{
		"//v2/health/live":  `{"live":true}`,
		"//v2/health/ready": `{"live":true,"ready":true}`,
		"//v2":              `{"extensions":["binary_tensor_data"],"name":"advlab","version":"1"}`,
		"//v2/":             `{"extensions":["binary_tensor_data"],"name":"advlab","version":"1"}`,
		"/ready":            `{"name":"a-model","ready":true}`,
		"/versions/1/ready": `{"name":"a-model","ready":true}`,
		"":                  metadata,
		"/versions/1":       metadata,
	} {
		if got := p.do(http.MethodGet, path, nil); got.status != http.StatusOK || string(got.body) != want {
			t.Errorf("%s: %d %s, want %s", path, got.status, got.body, want)
		}
		if got := p.do(http.MethodHead, path, nil); got.status != http.StatusOK || len(got.body) != 0 {
			t.Errorf("HEAD %s: %d %q", path, got.status, got.body)
		}
	}
	if text := fmt.Sprint(r.Stats()); text != "16 requests; 0 inputs answered in 0 batches" {
		t.Error(text)
	}
}

const metadata = `{"name":"a-model","versions":["1"],"platform":"advlab",` +
	`"inputs":[{"name":"input","datatype":"FP32","shape":[-1,2,2]}],"outputs":[{"name":"logits","datatype":"FP32","shape":[-1,3]}],` +
	`"parameters":{"class_names":"a,b,c","classes":3,"hi":1,"lo":-1}}`

func TestJSONAndBinary(t *testing.T) {
	p, _ := start(t, victim(), serve.Options{})
	r := p.infer(two)
	if p.wants(r); r.ID != "seven" {
		t.Errorf("id %q", r.ID)
	}
	p.wants(p.do(http.MethodPost, "/versions/1/infer", []byte(two)))
	p.wants(p.infer(strings.Replace(two, `[0.1,0.2,0.3,-1,1,0,0,0.5]`, ` [ [[0.1, 0.2],[0.3,-1]] ,[[1,0 ], [0,5e-1]]]`, 1)))
	p.wants(p.infer(strings.Replace(two, `"inputs"`, `"outputs":[{"name":"logits"}],"inputs"`, 1)))
	// Binary out, for all outputs or for one.
	p.wants(p.infer(strings.Replace(two, `"inputs"`, `"parameters":{"binary_data_output":true},"inputs"`, 1)))
	r = p.infer(strings.Replace(two, `"inputs"`, `"outputs":[{"name":"logits","parameters":{"binary_data":true}}],"inputs"`, 1))
	if p.wants(r); r.Outputs[0].Data != nil || r.Outputs[0].Parameters["binary_data_size"] != 24 {
		t.Errorf("binary: %+v", r.Outputs[0])
	}
	r = p.infer(strings.Replace(two, `"inputs"`,
		`"parameters":{"binary_data_output":true},"outputs":[{"name":"logits","parameters":{"binary_data":false}}],"inputs"`, 1))
	if p.wants(r); r.Outputs[0].Data == nil {
		t.Error("binary_data of an output does not count before binary_data_output")
	}
	// Binary in, of every datatype, with 1, 0 and where there are −1.
	for name, put := range encodings {
		signed := name[0] != 'U' && name != "BOOL"
		x := []float32{1, 0, 0, 1}
		if signed {
			x[3] = -1
		}
		var raw []byte
		var data []string
		for _, v := range x {
			raw, data = put(raw, v), append(data, fmt.Sprint(v))
		}
		head := fmt.Sprintf(`{"inputs":[{"name":"input","datatype":%q,"shape":[1,2,2],"parameters":{"binary_data_size":%d}}]}`, name, len(raw))
		inBinary := p.infer(head+string(raw), "Inference-Header-Content-Length", strconv.Itoa(len(head)))
		inJSON := p.infer(fmt.Sprintf(`{"inputs":[{"name":"input","datatype":%q,"shape":[1,2,2],"data":[%s]}]}`, name, strings.Join(data, ",")))
		for form, r := range map[string]reply{"binary": inBinary, "JSON": inJSON} {
			if r.status != http.StatusOK || len(r.Outputs) != 1 {
				t.Errorf("%s in %s: %d %s", name, form, r.status, r.body)
				continue
			}
			for k, want := range scores(x) {
				if got := float32(r.Outputs[0].Data[k].(float64)); got != want {
					t.Errorf("%s in %s: score %d is %g, want %g", name, form, k, got, want)
				}
			}
		}
	}
	truths := `{"inputs":[{"name":"input","datatype":"BOOL","shape":[1,2,2],"data":[true,false,false,true]}]}`
	if r := p.infer(truths); r.status != http.StatusOK ||
		float32(r.Outputs[0].Data[2].(float64)) != float32(1)/3 {
		t.Errorf("truths: %d %s", r.status, r.body)
	}
}

// encodings write a number in each datatype, by other code than the server's.
var encodings = map[string]func(raw []byte, v float32) []byte{
	"BOOL":   func(raw []byte, v float32) []byte { return append(raw, byte(v)) },
	"UINT8":  func(raw []byte, v float32) []byte { return append(raw, byte(v)) },
	"INT8":   func(raw []byte, v float32) []byte { return append(raw, byte(int8(v))) },
	"UINT16": func(raw []byte, v float32) []byte { return written(raw, uint16(v)) },
	"UINT32": func(raw []byte, v float32) []byte { return written(raw, uint32(v)) },
	"UINT64": func(raw []byte, v float32) []byte { return written(raw, uint64(v)) },
	"INT16":  func(raw []byte, v float32) []byte { return written(raw, int16(v)) },
	"INT32":  func(raw []byte, v float32) []byte { return written(raw, int32(v)) },
	"INT64":  func(raw []byte, v float32) []byte { return written(raw, int64(v)) },
	"FP16":   func(raw []byte, v float32) []byte { return written(raw, float16.FromFloat32(v).Bits()) },
	"BF16":   func(raw []byte, v float32) []byte { return written(raw, uint16(bfloat16.FromFloat32(v))) },
	"FP32":   func(raw []byte, v float32) []byte { return written(raw, v) },
	"FP64":   func(raw []byte, v float32) []byte { return written(raw, float64(v)) },
}

func written(raw []byte, v any) []byte {
	raw, err := binary.Append(raw, binary.LittleEndian, v)
	if err != nil {
		panic(err)
	}
	return raw
}

func TestCompression(t *testing.T) {
	p, _ := start(t, victim(), serve.Options{})
	pack := map[string]func(w io.Writer) io.WriteCloser{
		"gzip":    func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		"deflate": func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) },
		"raw deflate": func(w io.Writer) io.WriteCloser {
			f, err := flate.NewWriter(w, 5)
			if err != nil {
				t.Fatal(err)
			}
			return f
		},
	}
	for name, writer := range pack {
		var b bytes.Buffer
		w := writer(&b)
		if _, err := io.WriteString(w, two); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		p.wants(p.do(http.MethodPost, "/infer", b.Bytes(), "Content-Encoding", strings.TrimPrefix(name, "raw ")))
		if r := p.do(http.MethodPost, "/infer", b.Bytes()[:b.Len()-9], "Content-Encoding", strings.TrimPrefix(name, "raw ")); r.status != 400 {
			t.Errorf("half of %s: %d %s", name, r.status, r.body)
		}
	}
	if r := p.infer(two, "Content-Encoding", "br"); r.status != http.StatusUnsupportedMediaType || !strings.Contains(r.Error,
		"gzip and deflate") {
		t.Errorf("br: %d %s", r.status, r.body)
	}
	// 200 answers are long enough to be compressed.
	many := fmt.Sprintf(`{"parameters":{"binary_data_output":true},`+
		`"inputs":[{"name":"input","datatype":"FP32","shape":[200,2,2],"data":[0%s]}]}`,
		strings.Repeat(",0", 799))
	plain := p.infer(many)
	for accept, want := range map[string]string{"gzip": "gzip", "deflate": "deflate", "gzip, deflate": "gzip",
		"deflate, gzip;q=0.5": "deflate",
		"br":                  "", "gzip;q=0": "", "gzip;q=x": "", "identity": ""} {
		r := p.infer(many, "Accept-Encoding", accept)
		if got := r.header.Get("Content-Encoding"); got != want {
			t.Errorf("accepting %q: compressed by %q, want %q", accept, got, want)
			continue
		}
		body := io.Reader(bytes.NewReader(r.body))
		var err error
		switch want {
		case "gzip":
			body, err = gzip.NewReader(body)
		case "deflate":
			body, err = zlib.NewReader(body)
		}
		if err != nil {
			t.Fatal(err)
		}
		if all, err := io.ReadAll(body); err != nil || !bytes.Equal(all, plain.body) {
			t.Errorf("%s: %v, %d bytes, want %d", accept, err, len(all), len(plain.body))
		}
		if got, want := r.header.Get("Inference-Header-Content-Length"), plain.header.Get("Inference-Header-Content-Length"); got != want {
			t.Errorf("%s: the JSON has %s bytes, want %s", accept, got, want)
		}
	}
}

// What is wrong is said, with the status that it has.
func TestRefusals(t *testing.T) {
	p, _ := start(t, victim(), serve.Options{MaxRows: 3, MaxBody: 2000})
	in := func(more string) string { return `{"inputs":[{"name":"input",` + more + `}]}` }
	ok := `"datatype":"FP32","shape":[1,2,2],`
	for body, want := range map[string]string{
		`{`:                             "400 no JSON of an inference",
		``:                              "400 no JSON of an inference",
		two + `x`:                       "400 no JSON of an inference",
		`{"inputs":3}`:                  "400 no JSON of an inference",
		`{}`:                            `400 the model has one, "input"`,
		`{"inputs":[{"name":"image"}]}`: `400 inputs ["image"]: the model has one, "input"`,
		in(`"datatype":"BYTES","shape":[1,2,2],"data":["a","b","c","d"]`):            `400 datatype "BYTES": there are BF16, BOOL`,
		in(`"datatype":"FP32","shape":[1,4],"data":[1,1,1,1]`):                       "400 shape [1 4]: the model takes [-1 2 2]",
		in(`"datatype":"FP32","shape":[0,2,2],"data":[]`):                            "400 shape [0 2 2]",
		in(`"datatype":"FP32","shape":[-1,2,2],"data":[]`):                           "400 shape [-1 2 2]",
		in(`"datatype":"FP32","shape":[4,2,2],"data":[]`):                            "413 4 inputs: at most 3",
		in(ok + `"data":[1,1,1]`):                                                    "400 a list of 3 elements, where the shape says 4",
		in(ok + `"data":[1,1,1,1,1]`):                                                "400 a list of more than 4 elements",
		in(ok + `"data":[[[1,1],[1]]]`):                                              "400 a list of 1 elements, where the shape says 2",
		in(ok + `"data":[[1,1],[1,1]]`):                                              "400",
		in(ok + `"data":[[[1,1],1]]`):                                                "400 lists of different depths",
		in(ok + `"data":{"a":1}`):                                                    "400 no list",
		in(ok + `"data":null`):                                                       "400 no list",
		in(ok):                                                                       "400 no JSON",
		in(`"datatype":"FP32","shape":[1,2,2]`):                                      "400 no list",
		in(ok + `"data":[1,1,1,"1"]`):                                                `400 "\"1\"" is no number`,
		in(ok + `"data":[1,1,1,true]`):                                               `400 "true" is no number`,
		in(ok + `"data":[1,1,1,1e99]`):                                               "400 is no number",
		in(ok + `"data":[1,1,1,1.5]`):                                                "400 element 3 is 1.5: the model's inputs are in [-1, 1]",
		in(`"datatype":"INT8","shape":[1,2,2],"data":[1,1,1,0.5]`):                   "400 element 3: 0.5 is no whole number from -128 to 127",
		in(`"datatype":"UINT8","shape":[1,2,2],"data":[1,1,1,-1]`):                   "400 -1 is no whole number from 0 to 255",
		in(ok + `"parameters":{"binary_data_size":16}`):                              "400 behind the JSON there are 0 bytes",
		in(ok + `"parameters":{"binary_data_size":-1}`):                              "400 -1 is no number of bytes",
		in(ok + `"parameters":{"binary_data_size":"4"}`):                             "400 4 is no number of bytes",
		in(ok + `"parameters":{"shared_memory_region":"r"}`):                         "400 no such extension",
		strings.Replace(two, `"inputs"`, `"outputs":[{"name":"label"}],"inputs"`, 1): `400 output "label": the model has "logits"`,
		strings.Replace(two, `"inputs"`, `"outputs":[{"name":"logits"},{"name":"logits"}],"inputs"`, 1):                 "400 each once",
		strings.Replace(two, `"inputs"`, `"outputs":[{"name":"logits","parameters":{"classification":2}}],"inputs"`, 1): "400 classification",
		strings.Replace(two, `"inputs"`, `"parameters":{"binary_data_output":1},"inputs"`,
			1): "400 1 is neither true nor false",
		strings.Repeat(" ", 2001): "413 more than 2000 bytes",
	} {
		status, text, _ := strings.Cut(want, " ")
		if r := p.infer(body); fmt.Sprint(r.status) != status || !strings.Contains(r.Error, text) || r.Error == "" {
			t.Errorf("%.150s: %d %s, want %s", body, r.status, r.body, want)
		}
	}
	raw := strings.Repeat("\x00", 16)
	head := in(ok + `"parameters":{"binary_data_size":16}`)
	for name, c := range map[string]struct{ body, length, want string }{
		"too long":  {head + raw, "9999", "9999"},
		"no number": {head + raw, "x", `"x"`},
		"negative":  {head + raw, "-1", "-1"},
		"missing":   {head + raw, "", "no JSON of an inference"},
		"cut":       {head + raw[:12], fmt.Sprint(len(head)), "behind the JSON there are 12 bytes"},
		"unsaid":    {two + raw, fmt.Sprint(len(two)), "16 bytes behind the JSON, of no input"},
		"twice": {in(ok+`"data":[1,1,1,1],"parameters":{"binary_data_size":16}`) + raw, fmt.Sprint(len(in(ok +
			`"data":[1,1,1,1],"parameters":{"binary_data_size":16}`))), "given in JSON and in binary"},
		"NaN": {head + raw[:12] + "\x00\x00\xc0\x7f", fmt.Sprint(len(head)), "element 3 is NaN"},
	} {
		headers := []string{}
		if c.length != "" {
			headers = []string{"Inference-Header-Content-Length", c.length}
		}
		if r := p.infer(c.body, headers...); r.status != 400 || !strings.Contains(r.Error, c.want) {
			t.Errorf("binary, %s: %d %s", name, r.status, r.body)
		}
	}
	// A small body that becomes large.
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, strings.Repeat(" ", 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if r := p.do(http.MethodPost, "/infer", b.Bytes(), "Content-Encoding", "gzip"); r.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a bomb: %d %s", r.status, r.body)
	}
	for path, want := range map[string]int{"POST /": 404, "GET //": 404, "GET //v3": 404, "GET //v2/models/other": 404,
		"POST //v2/models/other/infer": 404,
		"POST /versions/2/infer":       404, "GET /infer": 405, "POST /ready": 405, "DELETE ": 405, "PUT //v2/health/live": 405} {
		method, path, _ := strings.Cut(path, " ")
		r := p.do(method, path, []byte(two))
		if r.status != want || r.Error == "" || (want == 405) != (r.header.Get("Allow") != "") {
			t.Errorf("%s %s: %d %s, %v", method, path, r.status, r.body, r.header)
		}
	}
}

func TestToken(t *testing.T) {
	p, _ := start(t, victim(), serve.Options{Token: "se cret"})
	for authorization, want := range map[string]int{"": 401, "Bearer": 401, "Bearer wrong": 401, "Bearer se cretx": 401, "Basic se cret": 401,
		"Bearer se cret": 200, "bearer se cret": 200} {
		for _, method := range []string{http.MethodPost, http.MethodGet} {
			path := map[string]string{http.MethodPost: "/infer", http.MethodGet: ""}[method]
			r := p.do(method, path, []byte(two), "Authorization", authorization)
			if r.status != want || want == 401 && (r.header.Get("WWW-Authenticate") != "Bearer" || strings.Contains(string(r.body), "cret")) {
				t.Errorf("%s, %q: %d %s", method, authorization, r.status, r.body)
			}
		}
	}
	if r := p.do(http.MethodGet, "//v2/health/live", nil); r.status != 200 {
		t.Errorf("health needs a token: %d", r.status)
	}
	if r := p.do(http.MethodGet, "//nothing", nil); r.status != 401 {
		t.Errorf("without a token, what there is not is told: %d", r.status)
	}
}

func TestRate(t *testing.T) {
	p, r := start(t, victim(), serve.Options{Rate: 0.02, Burst: 4})
	p.wants(p.infer(two))
	p.wants(p.infer(two))
	got := p.infer(two)
	wait, err := strconv.Atoi(got.header.Get("Retry-After"))
	if got.status != 429 || err != nil || wait < 90 || wait > 100 || !strings.Contains(got.Error, "0.02 inputs are answered in a second") {
		t.Errorf("%d %s, Retry-After %q", got.status, got.body, got.header.Get("Retry-After"))
	}
	// Who was refused has used up nothing.
	if again := p.infer(two); again.header.Get("Retry-After") > got.header.Get("Retry-After") {
		t.Errorf("Retry-After grows to %s", again.header.Get("Retry-After"))
	}
	five := `{"inputs":[{"name":"input","datatype":"FP32","shape":[5,2,2],"data":[0` + strings.Repeat(",0", 19) + `]}]}`
	if got := p.infer(five); got.status != 413 || !strings.Contains(got.Error, "5 inputs: at most 4") {
		t.Errorf("more than the burst: %d %s", got.status, got.body)
	}
	if text := fmt.Sprint(r.Stats()); text != "5 requests, 1 with status 413, 2 with status 429; 4 inputs answered in 2 batches" {
		t.Error(text)
	}
}

// What is told is what the view tells, as the metadata say.
func TestViews(t *testing.T) {
	some := oracle.Rejecting(victim(), "no 1", func(x []float32, _ advlib.Answer) bool { return x[0] == 1 })
	for _, c := range []struct {
		v             advlib.Victim
		outs, answers string
	}{
		{oracle.Labels(some), `[{"name":"label","datatype":"INT64","shape":[-1,1]}]`,
			`[{"name":"label","datatype":"INT64","shape":[2,1],"data":[0,-1]}]`},
		{oracle.Rounded(oracle.TopK(some, 2), 1),
			`[{"name":"classes","datatype":"INT64","shape":[-1,-1]},{"name":"probabilities","datatype":"FP32","shape":[-1,-1]}]`,
			`[{"name":"classes","datatype":"INT64","shape":[2,2],"data":[0,1,-1,-1]},` +
				`{"name":"probabilities","datatype":"FP32","shape":[2,2],"data":[0.5,0.3,"NaN","NaN"]}]`},
		{oracle.Rounded(oracle.Probabilities(some), 2), `[{"name":"probabilities","datatype":"FP32","shape":[-1,3]}]`,
			`[{"name":"probabilities","datatype":"FP32","shape":[2,3],"data":[0.49,0.3,0.21,"NaN","NaN","NaN"]}]`},
		{oracle.Func("odd", signature, func(x []float32) []float32 { return []float32{float32(math.Inf(1)), float32(math.Inf(-1)), 1e-9} }),
			`[{"name":"logits","datatype":"FP32","shape":[-1,3]}]`,
			`[{"name":"logits","datatype":"FP32","shape":[2,3],"data":["Infinity","-Infinity",1e-09,"Infinity","-Infinity",1e-09]}]`},
	} {
		p, _ := start(t, c.v, serve.Options{Name: "m"})
		if r := p.do(http.MethodGet, "", nil); !strings.Contains(string(r.body), `"outputs":`+c.outs) {
			t.Errorf("%s: %s", c.v.Name(), r.body)
		}
		if r := p.infer(two); r.status != 200 || !strings.Contains(string(r.body), `"outputs":`+c.answers) {
			t.Errorf("%s: %s, want %s", c.v.Name(), r.body, c.answers)
		}
	}
	// One output of two, in binary.
	p, _ := start(t, oracle.TopK(victim(), 2), serve.Options{})
	r := p.infer(strings.Replace(two, `"inputs"`,
		`"outputs":[{"name":"classes","parameters":{"binary_data":true}},{"name":"probabilities"}],"inputs"`, 1))
	want := []byte{0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0}
	if len(r.Outputs) != 2 || r.Outputs[1].Data == nil || !bytes.Equal(r.body[len(r.body)-32:], want) {
		t.Errorf("%d %q", r.status, r.body)
	}
}

// fails is a victim with a fault.
type fails struct {
	advlib.Victim
	query func() ([]advlib.Answer, error)
}

func (f fails) Query(context.Context, *tensors.Tensor) ([]advlib.Answer, error) { return f.query() }

// What a victim does wrong is no fault of the client, and not told it in detail.
func TestVictimFails(t *testing.T) {
	for name, query := range map[string]func() ([]advlib.Answer, error){
		"error":  func() ([]advlib.Answer, error) { return nil, errors.New("secret weights") },
		"panics": func() ([]advlib.Answer, error) { panic("secret weights") },
		"few":    func() ([]advlib.Answer, error) { return make([]advlib.Answer, 1), nil },
		"kind":   func() ([]advlib.Answer, error) { return make([]advlib.Answer, 2), nil },
	} {
		logged := make(chan serve.Request, 1)
		p, _ := start(t, fails{victim(), query}, serve.Options{OnRequest: func(r serve.Request) { logged <- r }})
		if r := p.infer(two); r.status != 500 || r.Error != "the model could not answer" {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
		if r := <-logged; r.Error == "the model could not answer" || !strings.HasPrefix(fmt.Sprint(r),
			"127.0.0.1 POST /v2/models/a-model/infer 500, ") {
			t.Errorf("%s: the log says %v", name, r)
		}
	}
	wait := make(chan struct{})
	slow := fails{victim(), func() ([]advlib.Answer, error) { <-wait; return nil, errors.New("late") }}
	p, r := start(t, slow, serve.Options{Timeout: 300 * time.Millisecond})
	var computes sync.WaitGroup
	computes.Go(func() { _ = p.infer(two) })
	for r.Stats().Batches == 0 {
		time.Sleep(time.Millisecond)
	}
	if got := p.infer(two); got.status != 503 || got.Error != "the request was not answered in time" {
		t.Errorf("slow: %d %s", got.status, got.body)
	}
	close(wait)
	computes.Wait()
}

// Requests at the same time share batches, each has its own answer, and the victim is asked by one at a time.
func TestGathers(t *testing.T) {
	var asking, most atomic.Int64
	f := oracle.Func("f", signature, func(x []float32) []float32 {
		if n := asking.Add(1); n > 1 {
			t.Error("the victim is asked by two at once")
		}
		time.Sleep(100 * time.Microsecond)
		asking.Add(-1)
		most.Add(1)
		return scores(x)
	})
	p, r := start(t, f, serve.Options{})
	const clients, each = 32, 10
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			for i := range each {
				v := float32(c*each+i) / (clients * each)
				got := p.infer(fmt.Sprintf(`{"id":"%d","inputs":[{"name":"input","datatype":"FP32","shape":[1,2,2],"data":[%v,0,0,0]}]}`, c, v))
				if got.status != 200 || got.ID != fmt.Sprint(c) || float32(got.Outputs[0].Data[0].(float64)) != v {
					t.Errorf("client %d asked about %g: %s", c, v, got.body)
				}
			}
		})
	}
	all.Wait()
	stats := r.Stats()
	t.Log(stats)
	if stats.Inputs != clients*each || most.Load() != clients*each || stats.Batches > clients*each/2 {
		t.Errorf("%v: of %d requests with %d at a time", stats, clients*each, clients)
	}
}

// A watch refuses with the status that is wanted, by clients, and logs what it lets through.
func TestWatch(t *testing.T) {
	client := func(r *http.Request) string { return r.Header.Get("Who") }
	wide := advlib.Signature{Input: []int{25}, Box: advlib.UnitBox, Classes: 2}
	f := oracle.Func("wide", wide, func(x []float32) []float32 { return x[:2] })
	ask := func(seed int) string {
		var data []string
		for i := range 25 {
			data = append(data, fmt.Sprint(float64((i*7+seed*11)%25)/50+0.2))
		}
		return `{"inputs":[{"name":"input","datatype":"FP32","shape":[1,25],"data":[` + strings.Join(data, ",") + `]}]}`
	}
	for _, c := range []struct {
		action  detect.Action
		refusal int
		want    []int // a asks 1, a asks 1, b asks 1, a asks 2
	}{
		{detect.Log, 0, []int{200, 200, 200, 200}},
		{detect.Reject, 0, []int{200, 403, 200, 200}},
		{detect.Reject, 429, []int{200, 429, 200, 200}},
		{detect.Ban, 0, []int{200, 403, 200, 403}},
	} {
		w, err := detect.NewWatch(detect.Blacklight{}, wide, detect.Options{Action: c.action, PerClient: true})
		if err != nil {
			t.Fatal(err)
		}
		p, _ := start(t, f, serve.Options{Watch: w, Refusal: c.refusal, Client: client})
		var got []int
		for _, q := range []struct {
			who  string
			seed int
		}{{"a", 1}, {"a", 1}, {"b", 1}, {"a", 2}} {
			got = append(got, p.infer(ask(q.seed), "Who", q.who).status)
		}
		if total := w.Report().Total(); !slices.Equal(got, c.want) || total.Queries != 4 || total.Flagged != 1 {
			t.Errorf("%v: statuses %v, want %v; %v", c.action, got, c.want, w.Report())
		}
	}
}

// A server that is stopped answers what it has been asked, and takes nothing new.
func TestStops(t *testing.T) {
	begun, wait := make(chan struct{}), make(chan struct{})
	f := oracle.Func("A model", signature, func(x []float32) []float32 {
		if x[0] == 1 {
			close(begun)
			<-wait
		}
		return scores(x)
	})
	s, err := serve.New(f, serve.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	p := probe{t, "http://" + l.Addr().String() + s.Path()}
	answered := make(chan reply, 1)
	go func() { answered <- p.infer(two) }()
	<-begun
	cancel()
	for {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			break
		}
		_ = c.Close()
		time.Sleep(time.Millisecond)
	}
	close(wait)
	p.wants(<-answered)
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestOptions(t *testing.T) {
	for want, o := range map[string]serve.Options{
		"neither may have a slash": {Name: "a/b"},
		"none may be below 0":      {MaxRows: -1},
		"a burst of 3 without a":   {Burst: 3},
		"no refusal by status 200": {Refusal: 200},
		"a rate of NaN":            {Rate: math.NaN()},
	} {
		if _, err := serve.New(victim(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v does not say %q", o, err, want)
		}
	}
	if _, err := serve.New(nil, serve.Options{}); err == nil {
		t.Error("no victim is no error")
	}
	if _, err := serve.New(oracle.Func("f", advlib.Signature{}, scores), serve.Options{}); err == nil || !strings.Contains(err.Error(),
		"makes no sense") {
		t.Errorf("no signature: %v", err)
	}
	// A name of a user's own is escaped in the address.
	p, r := start(t, victim(), serve.Options{Name: "My model ü", InputName: "x", Version: "v2"})
	if got := p.do(http.MethodPost, "/versions/v2/infer", []byte(strings.Replace(two, `"input"`, `"x"`, 1))); got.status != 200 ||
		got.Name != "My model ü" {
		t.Errorf("%s: %d %s", r.URL, got.status, got.body)
	}
}
