package serve

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"advlab/advlib"
	"advlab/advlib/detect"
)

// Options say how a victim is served. The zero value answers everybody who reaches it, as fast as it can.
type Options struct {
	// Name is the model's in addresses; empty means [NameOf] the victim.
	Name string
	// Version is the only one there is; empty means 1.
	Version string
	// InputName is the name of the input; empty means input.
	InputName string
	// Token is what a client must send, as Authorization: Bearer TOKEN, but to health/live and health/ready; empty asks
	// for none.
	Token string
	// Rate is how many inputs are answered in a second, to all clients together, and Burst how many at once before that
	// holds. A request above it gets 429, with Retry-After. A Rate of 0 means any number; a Burst of 0 the inputs of a
	// second, at least 1.
	Rate  float64
	Burst int
	// MaxRows is the most inputs in a request; 0 means 512.
	MaxRows int
	// MaxBody is the most bytes in a request, decompressed; 0 means what MaxRows inputs need in JSON.
	MaxBody int64
	// Timeout is how long a request may take, from its first byte to its answer; 0 means 30 s.
	Timeout time.Duration
	// Alone answers each request by itself. Otherwise those that wait at the same time are answered together, in batches
	// of at most 512.
	Alone bool
	// Watch, if it is set, sees all queries, and says what is not answered: a request with such an input gets Refusal,
	// 403 or 429; 0 means 403.
	Watch   *detect.Watch
	Refusal int
	// Client tells clients apart for Watch; nil takes the address without the port.
	Client func(r *http.Request) string
	// OnRequest, if it is set, is called for each request once it is answered, concurrently.
	OnRequest func(Request)
}

// Request is what was asked and answered, for a log.
type Request struct {
	Client, Method, Path string
	// Status is that of HTTP, Inputs how many there were in an inference that was answered, Error what was said instead.
	Status, Inputs int
	Error          string
	Elapsed        time.Duration
}

// String is a line for a log.
func (r Request) String() string {
	text := fmt.Sprintf("%s %s %s %d", r.Client, r.Method, r.Path, r.Status)
	if r.Inputs > 0 {
		text += fmt.Sprintf(", inputs %d", r.Inputs)
	}
	if text += fmt.Sprintf(", %v", r.Elapsed.Round(10*time.Microsecond)); r.Error != "" {
		text += ", " + r.Error
	}
	return text
}

// Stats are counts since a server was made.
type Stats struct {
	// Requests are those of all kinds by their status, Inputs those that were answered, Batches in how many the victim was
	// asked about them.
	Requests        map[int]int64
	Inputs, Batches int64
}

// String is a line.
func (s Stats) String() string {
	var all int64
	refused := ""
	for status := range 600 {
		n := s.Requests[status]
		all += n
		if status >= 400 && n > 0 {
			refused += fmt.Sprintf(", %d with status %d", n, status)
		}
	}
	return fmt.Sprintf("%d requests%s; %d inputs answered in %d batches", all, refused, s.Inputs, s.Batches)
}

// Server is a victim behind HTTP: an [http.Handler]. [Server.Serve] and [Local] listen for it.
type Server struct {
	options   Options
	signature advlib.Signature
	limits    advlib.Limits
	size      int // values of an input
	metadata  modelMetadata
	gather    *gather
	limiter   *rate.Limiter // nil without a rate
	token     [sha256.Size]byte
	mux       *http.ServeMux
	leaving   atomic.Bool

	mu       sync.Mutex
	requests map[int]int64
	inputs   int64
}

// modelMetadata is the protocol's description of a model. Its parameters say what an attacker of a model may want to
// know: the range of its inputs, and its classes.
type modelMetadata struct {
	Name       string         `json:"name"`
	Versions   []string       `json:"versions"`
	Platform   string         `json:"platform"`
	Inputs     []metadata     `json:"inputs"`
	Outputs    []metadata     `json:"outputs"`
	Parameters map[string]any `json:"parameters,omitempty"`
}

// maxBatch is the most inputs that several requests are gathered to.
const maxBatch = 512

// New returns a server of a victim. The victim is not asked yet. It is an error if an option makes no sense.
func New(v advlib.Victim, o Options) (*Server, error) {
	if v == nil {
		return nil, errors.New("serve: the victim is nil")
	}
	sig := v.Signature()
	limits := sig.Limits()
	if err := limits.Check(); len(sig.Input) == 0 || err != nil && sig.Domain == nil || sig.Classes < 1 {
		return nil, fmt.Errorf("serve: %s: its signature makes no sense: inputs %v in %v, %d classes", v.Name(), sig.Input, sig.Box, sig.Classes)
	}
	size := 1
	for _, d := range sig.Input {
		size *= d
	}
	if err := o.complete(v, size); err != nil {
		return nil, fmt.Errorf("serve: %s: %w", v.Name(), err)
	}
	most := maxBatch
	if o.Alone {
		most = 1
	}
	s := &Server{options: o, signature: sig, limits: limits, size: size, gather: newGather(v, sig.Input, most), requests: map[int]int64{},
		token: sha256.Sum256([]byte(o.Token))}
	if o.Rate > 0 {
		s.limiter = rate.NewLimiter(rate.Limit(o.Rate), o.Burst)
	}
	box := limits.Box()
	s.metadata = modelMetadata{Name: o.Name, Versions: []string{o.Version}, Platform: "advlab",
		Inputs:     []metadata{{o.InputName, "FP32", append([]int{-1}, sig.Input...)}},
		Outputs:    outputNames(sig.Returns),
		Parameters: map[string]any{"lo": box.Lo, "hi": box.Hi, "classes": sig.Classes},
	}
	if sig.ClassNames != nil {
		s.metadata.Parameters["class_names"] = strings.Join(sig.ClassNames, ",")
	}
	for i := range s.metadata.Outputs {
		if m := &s.metadata.Outputs[i]; sig.Returns == advlib.Logits || sig.Returns == advlib.Probabilities {
			m.Shape[1] = sig.Classes
		}
	}
	s.route()
	return s, nil
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// NameOf returns a name for addresses, made of a victim's: small letters, digits and hyphens.
func NameOf(v advlib.Victim) string {
	name := strings.Trim(notInNames.ReplaceAllString(strings.ToLower(v.Name()), "-"), "-")
	if name == "" {
		return "model"
	}
	return name
}

// complete fills in defaults.
func (o *Options) complete(v advlib.Victim, size int) error {
	def := func(text *string, value string) {
		if *text == "" {
			*text = value
		}
	}
	def(&o.Name, NameOf(v))
	def(&o.Version, "1")
	def(&o.InputName, "input")
	switch {
	case strings.Contains(o.Name, "/") || strings.Contains(o.Version, "/"):
		return fmt.Errorf("the name %q and the version %q are parts of addresses: neither may have a slash", o.Name, o.Version)
	case o.Rate < 0 || math.IsNaN(o.Rate) || o.Burst < 0 || o.MaxRows < 0 || o.MaxBody < 0 || o.Timeout < 0:
		return fmt.Errorf("a rate of %g, a burst of %d, %d inputs, %d bytes, %v: none may be below 0", o.Rate, o.Burst, o.MaxRows, o.MaxBody,
			o.Timeout)
	case o.Rate == 0 && o.Burst > 0:
		return fmt.Errorf("a burst of %d without a rate: it says how many inputs are answered at once before the rate holds", o.Burst)
	case o.Refusal != 0 && o.Refusal != http.StatusForbidden && o.Refusal != http.StatusTooManyRequests:
		return fmt.Errorf("there is no refusal by status %d: there are 403 and 429", o.Refusal)
	}
	if o.MaxRows == 0 {
		o.MaxRows = maxBatch
	}
	if o.Burst == 0 {
		o.Burst = max(1, int(min(math.Ceil(o.Rate), 1e9)))
	}
	if o.MaxBody == 0 {
		const digits, head = 26, 1 << 16 // of a float64 in JSON with its comma, and of the rest
		o.MaxBody = int64(o.MaxRows)*int64(size)*digits + head
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Refusal == 0 {
		o.Refusal = http.StatusForbidden
	}
	if o.Client == nil {
		o.Client = func(r *http.Request) string {
			host, _, err := net.SplitHostPort(r.RemoteAddr)
			if err != nil {
				return r.RemoteAddr
			}
			return host
		}
	}
	return nil
}

// Path is that of the model's address.
func (s *Server) Path() string { return "/v2/models/" + url.PathEscape(s.options.Name) }

// Stats returns the counts so far.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{Requests: maps.Clone(s.requests), Inputs: s.inputs, Batches: s.gather.count()}
}

// exchange is a request that is being answered.
type exchange struct {
	http.ResponseWriter
	request *http.Request
	record  Request
}

// route says what is where.
func (s *Server) route() {
	s.mux = http.NewServeMux()
	add := func(path, method string, open bool, answer func(e *exchange) error) {
		s.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, method, open, answer) })
	}
	add("/v2/health/live", http.MethodGet, true, func(e *exchange) error { return e.json(map[string]bool{"live": true}) })
	add("/v2/health/ready", http.MethodGet, true, func(e *exchange) error {
		if err := s.ready(); err != nil {
			return err
		}
		return e.json(map[string]bool{"live": true, "ready": true})
	})
	about := func(e *exchange) error {
		return e.json(map[string]any{"name": "advlab", "version": "1", "extensions": []string{"binary_tensor_data"}})
	}
	add("/v2", http.MethodGet, false, about)
	add("/v2/{$}", http.MethodGet, false, about)
	for _, model := range []string{"/v2/models/{model}", "/v2/models/{model}/versions/{version}"} {
		add(model, http.MethodGet, false, func(e *exchange) error { return e.json(s.metadata) })
		add(model+"/ready", http.MethodGet, false, func(e *exchange) error {
			if err := s.ready(); err != nil {
				return err
			}
			return e.json(map[string]any{"name": s.options.Name, "ready": true})
		})
		add(model+"/infer", http.MethodPost, false, s.infer)
	}
	add("/", "", false, func(e *exchange) error {
		return &refusal{http.StatusNotFound, fmt.Sprintf("nothing is at %.200s: the model is at %s", e.request.URL.EscapedPath(), s.Path())}
	})
}

func (s *Server) ready() error {
	if s.leaving.Load() {
		return &refusal{http.StatusServiceUnavailable, "the server is stopping"}
	}
	return nil
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// serve answers a request: it says who may ask what, and counts.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, method string, open bool, answer func(e *exchange) error) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(r.Context(), s.options.Timeout)
	defer cancel()
	r = r.WithContext(ctx)
	e := &exchange{w, r, Request{Client: s.options.Client(r), Method: r.Method, Path: r.URL.EscapedPath(), Status: http.StatusOK}}
	err := s.allowed(e, method, open)
	if err == nil {
		err = answer(e)
	}
	if err != nil {
		e.refuse(err)
	}
	e.record.Elapsed = time.Since(start)
	s.mu.Lock()
	s.requests[e.record.Status]++
	s.inputs += int64(e.record.Inputs)
	s.mu.Unlock()
	if s.options.OnRequest != nil {
		s.options.OnRequest(e.record)
	}
}

// allowed refuses who has no token, methods that a path does not have, and models that there are not.
func (s *Server) allowed(e *exchange, method string, open bool) error {
	r := e.request
	if !open && s.options.Token != "" {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		given := sha256.Sum256([]byte(strings.TrimSpace(token)))
		if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(given[:], s.token[:]) != 1 {
			e.Header().Set("WWW-Authenticate", "Bearer")
			return &refusal{http.StatusUnauthorized, "a token is needed: send Authorization: Bearer TOKEN"}
		}
	}
	if method != "" && r.Method != method && !(method == http.MethodGet && r.Method == http.MethodHead) {
		e.Header().Set("Allow", method)
		return &refusal{http.StatusMethodNotAllowed, fmt.Sprintf("%.20s: %.200s takes %s", r.Method, r.URL.EscapedPath(), method)}
	}
	if name := r.PathValue("model"); name != "" && name != s.options.Name {
		return &refusal{http.StatusNotFound, fmt.Sprintf("there is no model %.100q: there is %q", name, s.options.Name)}
	}
	if version := r.PathValue("version"); version != "" && version != s.options.Version {
		return &refusal{http.StatusNotFound, fmt.Sprintf("there is no version %.100q of the model: there is %q", version, s.options.Version)}
	}
	return nil
}

// infer answers an inference.
func (s *Server) infer(e *exchange) error {
	all, err := body(e, e.request, s.options.MaxBody)
	if err != nil {
		return err
	}
	a, err := s.parse(all, e.request.Header.Get(headerLength))
	if err != nil {
		return err
	}
	if err := s.afford(e, a.rows); err != nil {
		return err
	}
	if s.options.Watch != nil {
		for _, refused := range s.options.Watch.See(e.record.Client, a.x) {
			if refused {
				return &refusal{s.options.Refusal, "the query looks like a part of an attack, and is not answered"}
			}
		}
	}
	answers, err := s.gather.ask(e.request.Context(), a.x, a.rows)
	if err != nil {
		return err
	}
	outs, err := outputs(answers, s.signature.Returns, s.signature.Classes)
	if err != nil {
		return err
	}
	all, header, err := s.respond(a, outs)
	if err != nil {
		return err
	}
	e.record.Inputs = a.rows
	if header > 0 {
		e.Header().Set(headerLength, strconv.Itoa(header))
		return e.write(all, "application/octet-stream")
	}
	return e.write(all, "application/json")
}

// afford takes inputs from the rate, or says when to come again.
func (s *Server) afford(e *exchange, rows int) error {
	if s.limiter == nil {
		return nil
	}
	r := s.limiter.ReserveN(time.Now(), rows)
	if !r.OK() {
		return &refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("%d inputs: at most %d are answered at once", rows, s.options.Burst)}
	}
	if wait := r.Delay(); wait > 0 {
		r.Cancel()
		e.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
		return &refusal{http.StatusTooManyRequests, fmt.Sprintf("%g inputs are answered in a second: come again in %v", s.options.Rate,
			wait.Round(time.Millisecond))}
	}
	return nil
}

// json answers with a value.
func (e *exchange) json(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return e.write(text, "application/json")
}

// write answers, compressed if the client takes it. A client that has gone is no error of the request.
func (e *exchange) write(all []byte, kind string) error {
	all, coding := compressed(all, e.request.Header.Get("Accept-Encoding"))
	if coding != "" {
		e.Header().Set("Content-Encoding", coding)
	}
	e.Header().Set("Content-Type", kind)
	e.Header().Set("Vary", "Accept-Encoding")
	e.Header().Set("Content-Length", strconv.Itoa(len(all)))
	e.WriteHeader(e.record.Status)
	if e.request.Method == http.MethodHead {
		return nil
	}
	if _, err := e.ResponseWriter.Write(all); err != nil {
		e.record.Error = err.Error()
	}
	return nil
}

// refuse answers with an error. Why a victim failed is in the log alone: it may say how the model is made.
func (e *exchange) refuse(err error) {
	status, text := http.StatusInternalServerError, "the model could not answer"
	var r *refusal
	switch {
	case errors.As(err, &r):
		status, text = r.status, r.text
	case errors.Is(err, context.DeadlineExceeded):
		status, text = http.StatusServiceUnavailable, "the request was not answered in time"
	case errors.Is(err, context.Canceled): // the client has gone, and does not read this
		status = http.StatusServiceUnavailable
	}
	e.record.Status = status
	_ = e.json(map[string]string{"error": text}) // a text is always JSON
	e.record.Error = err.Error()
}
