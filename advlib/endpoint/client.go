package endpoint

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/time/rate"

	"advlab/advlib/internal/option"
)

// client sends requests to one server, and sends them again where that can help.
type client struct {
	http    *http.Client
	root    *url.URL
	header  http.Header // of every request, with the secrets
	secrets []string    // what no text may show
	limiter *rate.Limiter
	timeout time.Duration // of one attempt
	wait    time.Duration // how long a request is tried, all attempts and pauses together
	on500   bool
	gzip    bool
	gate    gate
	met     atomic.Bool // the server has answered before
	sent    counts
	close   func()
}

// counts are what was sent.
type counts struct{ requests, inputs, again, answered, kept atomic.Int64 }

// request is one question to the server.
type request struct {
	method, path string
	contentType  string
	header       http.Header
	body         []byte
	inputs       int // how many inputs are in it; 0 for what asks about the model
}

// reply is an answer with status 200.
type reply struct {
	header http.Header
	body   []byte
}

// Limits of what is read. A body is bounded so that a server cannot fill the memory.
const (
	mostBody  = 256 << 20
	mostWords = 64 << 10 // of an error
)

// Pauses between attempts are drawn uniformly from 0 to a bound that doubles, full jitter, so that many clients that
// failed together do not come back together.
const (
	firstPause = 200 * time.Millisecond
	mostPause  = 20 * time.Second
	// strangers is how often a server that has never answered is tried: a wrong address should be said soon.
	strangers = 2
	// garbled is how often one request may be answered with what cannot be read.
	garbled = 3
	// linger is how long an answer is waited for after the run was interrupted: it is paid for already.
	linger = 2 * time.Second
)

// newClient returns a client by the settings, and checks what they name: addresses, files, variables.
func newClient(s Spec) (*client, error) {
	root, err := address(s.URL)
	if err != nil {
		return nil, err
	}
	c := &client{root: root, header: http.Header{}, timeout: s.Timeout, wait: s.Patience, on500: s.Retry500, gzip: s.Gzip}
	if err := c.readSecrets(s); err != nil {
		return nil, err
	}
	tr := http.DefaultTransport.(*http.Transport).Clone()
	tr.MaxIdleConns, tr.MaxIdleConnsPerHost, tr.MaxConnsPerHost = s.Concurrency, s.Concurrency, s.Concurrency
	if s.Proxy != "" {
		proxy, err := url.Parse(s.Proxy)
		if err != nil || proxy.Host == "" {
			return nil, fmt.Errorf("the proxy is no address: give one such as http://proxy:3128")
		}
		if password, ok := proxy.User.Password(); ok {
			c.secrets = append(c.secrets, password)
		}
		tr.Proxy = http.ProxyURL(proxy)
	}
	if s.CA != "" {
		pem, err := os.ReadFile(s.CA)
		if err != nil {
			return nil, fmt.Errorf("the certificates of authorities: %w", err)
		}
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", s.CA)
		}
		tr.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	if s.Rate > 0 {
		c.limiter = rate.NewLimiter(rate.Limit(s.Rate), 1)
	}
	c.close = tr.CloseIdleConnections
	c.http = &http.Client{Transport: tr, CheckRedirect: sameHost}
	return c, nil
}

// address reads the address of a server.
func address(text string) (*url.URL, error) {
	if text == "" {
		return nil, fmt.Errorf("the server's address is missing: give one such as http://127.0.0.1:8080")
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the server's address cannot be read: give one such as http://127.0.0.1:8080")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("%q is no address of a server: give one such as http://127.0.0.1:8080", u.Redacted())
	case u.User != nil:
		return nil, fmt.Errorf("the address %s has a password in it, which would be shown in reports: leave it out, and give a token "+
			"or a header by %v", u.Redacted(), tokenName)
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
	return u, nil
}

// readSecrets reads the token and the headers from the environment.
func (c *client) readSecrets(s Spec) error {
	read := func(variable string) (string, error) {
		v := strings.TrimSpace(os.Getenv(variable))
		if v == "" {
			return "", fmt.Errorf("the environment variable %s is not set: export it with the secret in it", variable)
		}
		if strings.ContainsAny(v, "\r\n") {
			return "", fmt.Errorf("the environment variable %s has a line break in it, which no header may have", variable)
		}
		c.secrets = append(c.secrets, v)
		return v, nil
	}
	if s.Token != "" {
		v, err := read(s.Token)
		if err != nil {
			return err
		}
		c.header.Set("Authorization", "Bearer "+v)
	}
	for name, variable := range s.Headers {
		if name == "" || variable == "" || strings.ContainsAny(name, " :\r\n") {
			return fmt.Errorf("the header %q of the variable %q: both need a name", name, variable)
		}
		v, err := read(variable)
		if err != nil {
			return err
		}
		c.header.Set(name, v)
	}
	return nil
}

// exposed tells whether secrets go over a network as they are.
func (c *client) exposed() bool {
	host := c.root.Hostname()
	ip := net.ParseIP(host)
	return len(c.header) > 0 && c.root.Scheme == "http" && host != "localhost" && (ip == nil || !ip.IsLoopback())
}

// masked returns a text without the secrets.
func (c *client) masked(text string) string {
	for _, s := range c.secrets {
		text = strings.ReplaceAll(text, s, "***")
	}
	return text
}

// hidden is an error whose text shows no secret.
type hidden struct {
	error
	by *client
}

func (h hidden) Error() string { return h.by.masked(h.error.Error()) }
func (h hidden) Unwrap() error { return h.error }

// redirected says that a server sends clients elsewhere.
type redirected struct{ to string }

func (e *redirected) Error() string {
	return fmt.Sprintf("it sends its clients to %s: give that address, if you trust it with the token and the inputs", e.to)
}

// sameHost follows a server to another path of its own. Tokens and inputs are sent to no other host, and a question is
// not turned into one without its body.
func sameHost(req *http.Request, via []*http.Request) error {
	first := via[0]
	if req.URL.Scheme != first.URL.Scheme || req.URL.Host != first.URL.Host || req.Method != first.Method || len(via) >= 5 {
		return &redirected{req.URL.Redacted()}
	}
	return nil
}

// gate holds all requests back until a time that the server has named.
type gate struct {
	mu    sync.Mutex
	until time.Time
}

func (g *gate) shut(until time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if until.After(g.until) {
		g.until = until
	}
}

// pass waits until the gate is open.
func (g *gate) pass(ctx context.Context) error {
	for {
		g.mu.Lock()
		left := time.Until(g.until)
		g.mu.Unlock()
		if left <= 0 {
			return nil
		}
		t := time.NewTimer(left)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// later is an error after which a request is sent again.
type later struct {
	error
	after time.Duration // not before; −1 if the server did not say
}

// Unwrap tells package backoff how long to wait, if the server did.
func (l later) Unwrap() []error {
	if l.after < 0 {
		return []error{l.error}
	}
	return []error{l.error, &backoff.RetryAfterError{Duration: l.after}}
}

// unreadable is an error about a body that is not what it should be, as when a connection is cut, or a proxy answers in
// the server's place. Sent again, a request may be answered well.
type unreadable struct{ error }

// ask sends a request, as often as need be, until read understands what is answered. Read says by [unreadable] that
// another attempt may help.
func (c *client) ask(ctx context.Context, r request, read func(reply) error) error {
	bad, attempts := 0, 0
	_, err := backoff.Retry(ctx, func() (none struct{}, err error) {
		if attempts++; attempts > 1 && r.inputs > 0 {
			c.sent.again.Add(1)
		}
		err = c.attempt(ctx, r, read)
		var again later
		switch {
		case err == nil:
			return none, nil
		case errors.As(err, new(unreadable)):
			if bad++; bad < garbled {
				return none, err
			}
		case errors.As(err, &again):
			if c.met.Load() || attempts < strangers || again.after >= 0 {
				return none, err
			}
		}
		return none, backoff.Permanent(err)
	}, backoff.WithMaxElapsedTime(c.wait), backoff.WithBackOff(&backoff.ExponentialBackOff{
		// Package backoff draws from 0 to twice the interval where the factor is 1.
		InitialInterval: firstPause / 2, MaxInterval: mostPause / 2, Multiplier: 2, RandomizationFactor: 1,
	}))
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case attempts > 1:
		err = fmt.Errorf("%w (%d attempts)", err, attempts)
	}
	return hidden{err, c}
}

// attempt sends a request once.
func (c *client) attempt(ctx context.Context, r request, read func(reply) error) error {
	if err := c.gate.pass(ctx); err != nil {
		return err
	}
	if c.limiter != nil {
		if err := c.limiter.Wait(ctx); err != nil {
			return err
		}
	}
	// An answer that is under way when the run is interrupted is waited for a little: it is paid for.
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.timeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		t := time.AfterFunc(linger, cancel)
		context.AfterFunc(within, func() { t.Stop() })
	})
	defer stop()
	req, err := c.build(within, r)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.classify(ctx, err)
	}
	defer resp.Body.Close()
	c.met.Store(true)
	if resp.StatusCode != http.StatusOK {
		return c.refused(r, resp)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, mostBody+1))
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return later{fmt.Errorf("%s ended in the middle of an answer: %w", c.root.Host, err), -1}
	case len(body) > mostBody:
		return fmt.Errorf("%s answers with more than %d MiB", c.root.Host, mostBody>>20)
	}
	return read(reply{resp.Header, body})
}

// build makes a request that counts when it is written, as often as the transport writes it.
func (c *client) build(ctx context.Context, r request) (*http.Request, error) {
	if r.inputs > 0 {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() {
			c.sent.requests.Add(1)
			c.sent.inputs.Add(int64(r.inputs))
		}})
	}
	body, packed := r.body, c.gzip && len(r.body) > 0
	if packed {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, err := w.Write(body)
		if err := errors.Join(err, w.Close()); err != nil {
			return nil, err
		}
		body = b.Bytes()
	}
	u := *c.root
	u.Path += r.path
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, v := range c.header {
		req.Header[name] = v
	}
	for name, v := range r.header {
		req.Header[name] = v
	}
	req.Header.Set("User-Agent", "advlib")
	req.Header.Set("Accept", "application/json")
	if r.contentType != "" {
		req.Header.Set("Content-Type", r.contentType)
	}
	if packed {
		req.Header.Set("Content-Encoding", "gzip")
	}
	return req, nil
}

// classify says of an error of the transport whether another attempt may help.
func (c *client) classify(ctx context.Context, err error) error {
	var plain *url.Error
	if errors.As(err, &plain) {
		err = plain.Err // its text would repeat the whole address
	}
	var (
		to   *redirected
		name *net.DNSError
	)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &to):
		return fmt.Errorf("%s: %w", c.root.Redacted(), to)
	case errors.As(err, &name) && name.IsNotFound:
		return fmt.Errorf("%s does not answer: there is no host %q", c.root.Redacted(), name.Name)
	case errors.As(err, new(*tls.CertificateVerificationError)), errors.As(err, new(tls.RecordHeaderError)),
		errors.Is(err, http.ErrSchemeMismatch):
		return fmt.Errorf("%s cannot be trusted: %w: %v", c.root.Redacted(), err,
			option.Name("for a certificate of your own name its authority in Spec.CA"))
	case errors.Is(err, context.DeadlineExceeded):
		return later{fmt.Errorf("%s does not answer within %v", c.root.Redacted(), c.timeout), -1}
	}
	return later{fmt.Errorf("%s does not answer: %w", c.root.Redacted(), err), -1}
}

// statusError is an answer that is none.
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string { return e.text }

// refused says what a server answers with that status.
func (c *client) refused(r request, resp *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, mostWords)) // whatever there is of it is said
	err := &statusError{resp.StatusCode, fmt.Sprintf("%s %s%s answered %s%s", r.method, c.root.Redacted(), r.path, resp.Status,
		words(body))}
	switch s := resp.StatusCode; {
	case s == http.StatusTooManyRequests, s >= 502 && s <= 504, s == http.StatusInternalServerError && c.on500:
		after := retryAfter(resp.Header.Get("Retry-After"), time.Now())
		switch {
		case after > c.wait:
			return fmt.Errorf("%w: it asks to come back in %v, later than a request is tried, %v: try again then, or give %v",
				err, after.Round(time.Second), c.wait, option.Name("a longer Spec.Patience"))
		case after >= 0:
			c.gate.shut(time.Now().Add(after))
		}
		return later{err, after}
	}
	return err
}
