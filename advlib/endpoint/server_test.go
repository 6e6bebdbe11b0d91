package endpoint_test

import (
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"advlab/advlib"
	"advlab/advlib/attack/attacktest"
	"advlab/advlib/backend"
	"advlab/advlib/cachedir"
	"advlab/advlib/endpoint"
)

// model is a function behind a test's server.
type model struct {
	weights [][]float64
	labels  bool
}

// scores returns the softmax of W·x.
func (m model) scores(x []float64) []float64 {
	z, top := make([]float64, len(m.weights)), math.Inf(-1)
	for k, w := range m.weights {
		for i, v := range x {
			z[k] += w[i] * v
		}
		top = max(top, z[k])
	}
	sum := 0.
	for k := range z {
		z[k] = math.Exp(z[k] - top)
		sum += z[k]
	}
	for k := range z {
		z[k] /= sum
	}
	return z
}

func (m model) label(x []float64) int {
	p := m.scores(x)
	return slices.Index(p, slices.Max(p))
}

// server is a server of the Open Inference Protocol, written from its document. It has the faults of a real one.
type server struct {
	*httptest.Server
	model
	fault     func(n int, w http.ResponseWriter, r *http.Request) bool // true: it has answered
	metadata  string                                                   // of the model
	binary    bool
	shape     []int
	answer    func(p [][]float64) any // in place of the usual
	mu        sync.Mutex
	requests  int            // to infer
	inputs    int            // in all requests
	answered  map[string]int // how often each input was
	last      http.Header
	lastBody  string
	lastInput []float64
}

func newServer(t testing.TB, m model) *server {
	t.Helper()
	s := &server{model: m, answered: map[string]int{}, metadata: `{"name":"m","platform":"","inputs":[],"outputs":[]}`}
	s.Server = httptest.NewServer(s.handler())
	t.Cleanup(s.Close)
	return s
}

func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2", func(w http.ResponseWriter, _ *http.Request) {
		extensions := `[]`
		if s.binary {
			extensions = `["classification","binary_tensor_data"]`
		}
		fmt.Fprintf(w, `{"name":"test","version":"1","extensions":%s}`, extensions)
	})
	mux.HandleFunc("GET /v2/models/m", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, s.metadata) })
	mux.HandleFunc("GET /v2/models/m/ready", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintf(w, `{"error":"Model with name %s not found"}`, r.URL.Path)
	})
	mux.HandleFunc("POST /v2/models/m/infer", s.infer)
	return mux
}

type tensor struct {
	Name       string         `json:"name"`
	Shape      []int          `json:"shape"`
	Datatype   string         `json:"datatype"`
	Parameters map[string]any `json:"parameters,omitempty"`
	Data       any            `json:"data,omitempty"`
}

func (s *server) infer(w http.ResponseWriter, r *http.Request) {
	from := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		from = z
	}
	body, err := io.ReadAll(from)
	if err != nil {
		return
	}
	s.mu.Lock()
	s.requests++
	n := s.requests
	s.last, s.lastBody = r.Header.Clone(), string(body)
	s.mu.Unlock()
	if s.fault != nil && s.fault(n, w, r) {
		return
	}
	var ask struct {
		ID     string
		Inputs []tensor
	}
	text, tail := parts(r.Header, body)
	if err := json.Unmarshal(text, &ask); err != nil || len(ask.Inputs) != 1 {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"error":"bad request %v"}`, err)
		return
	}
	in := ask.Inputs[0]
	flat := numbers(in, tail)
	rows := in.Shape[0]
	size := len(flat) / rows
	if size != len(s.weights[0]) {
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprint(w, "Internal Server Error")
		return
	}
	var p [][]float64
	var labels []int
	s.mu.Lock()
	s.inputs += rows
	s.shape = in.Shape
	for i := range rows {
		x := flat[i*size : (i+1)*size]
		s.answered[fmt.Sprint(x)]++
		s.lastInput = x
		p, labels = append(p, s.scores(x)), append(labels, s.label(x))
	}
	s.mu.Unlock()
	out := tensor{Name: "probabilities", Shape: []int{rows, len(s.weights)}, Datatype: "FP64", Data: p}
	if s.labels {
		out = tensor{Name: "predict", Shape: []int{rows, 1}, Datatype: "INT64", Data: labels}
	}
	if s.answer != nil {
		out.Data = s.answer(p)
	}
	if tail != nil {
		writeBinary(w, ask.ID, out, p)
		return
	}
	if raw, ok := out.Data.(json.RawMessage); ok { // what encoding/json would refuse
		out.Data = nil
		head, _ := json.Marshal(out)
		fmt.Fprintf(w, `{"outputs":[%s,"data":%s}]}`, strings.TrimSuffix(string(head), "}"), raw)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"model_name": "m", "id": ask.ID, "outputs": []tensor{out}})
}

// parts takes a request of the binary form apart.
func parts(h http.Header, body []byte) (text, tail []byte) {
	size, err := strconv.Atoi(h.Get("Inference-Header-Content-Length"))
	if err != nil {
		return body, nil
	}
	return body[:size], body[size:]
}

// numbers are those of a tensor, in JSON or, as float32, in the binary form.
func numbers(in tensor, tail []byte) (flat []float64) {
	for ; len(tail) >= 4; tail = tail[4:] {
		flat = append(flat, float64(math.Float32frombits(binary.LittleEndian.Uint32(tail))))
	}
	list, _ := in.Data.([]any)
	for _, v := range list {
		flat = append(flat, v.(float64))
	}
	return flat
}

func writeBinary(w http.ResponseWriter, id string, out tensor, p [][]float64) {
	var b []byte
	for _, row := range p {
		for _, v := range row {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
		}
	}
	out.Data, out.Parameters = nil, map[string]any{"binary_data_size": len(b)}
	head, _ := json.Marshal(map[string]any{"id": id, "outputs": []tensor{out}})
	w.Header().Set("Inference-Header-Content-Length", strconv.Itoa(len(head)))
	_, _ = w.Write(append(head, b...))
}

// home gives a test a cache of its own.
func home(t testing.TB) {
	t.Helper()
	t.Setenv(cachedir.Variable, t.TempDir())
}

// linear returns a linear problem, and the model of its weights.
func linear(t testing.TB) (*attacktest.Linear, model) {
	t.Helper()
	b, err := backend.Open()
	if err != nil {
		t.Fatal(err)
	}
	l, err := attacktest.NewLinear(attacktest.LinearSpec{Seed: 11, Examples: 8}, b)
	if err != nil {
		t.Fatal(err)
	}
	return l, model{weights: l.W}
}

// random returns a model of random weights, with no examples.
func random(inputs, classes int) model {
	r := rand.New(rand.NewPCG(3, 4))
	m := model{weights: make([][]float64, classes)}
	for k := range m.weights {
		m.weights[k] = make([]float64, inputs)
		for i := range m.weights[k] {
			m.weights[k][i] = r.NormFloat64()
		}
	}
	return m
}

func specOf(s *server, inputs int) endpoint.Spec {
	return endpoint.Spec{URL: s.URL, Model: "m", Input: []int{inputs}, Box: advlib.UnitBox}
}

func open(t testing.TB, s endpoint.Spec) *endpoint.Endpoint {
	t.Helper()
	e, err := endpoint.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}
