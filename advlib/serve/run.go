package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"advlab/advlib"
)

// grace is how long requests that are being answered have when a server stops.
const grace = 10 * time.Second

// Serve answers on a listener until ctx ends. Then it takes no more requests, answers those that it has, for ten
// seconds at most, and returns nil. It closes the listener.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	h := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: min(10*time.Second, s.options.Timeout),
		ReadTimeout:       s.options.Timeout,
		WriteTimeout:      2*s.options.Timeout + time.Second, // an answer that comes too late is still said to be
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    1 << 16,
	}
	served := make(chan error, 1)
	go func() { served <- h.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	s.leaving.Store(true)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := h.Shutdown(last)
	if err != nil {
		err = errors.Join(fmt.Errorf("serve: some requests took longer than %v: %w", grace, err), h.Close())
	}
	<-served
	return err
}

// Running is a server in the background.
type Running struct {
	*Server
	// Root is the server's address, such as http://127.0.0.1:41873, and URL the model's, such as
	// http://127.0.0.1:41873/v2/models/mlp.
	Root, URL string
	cancel    context.CancelFunc
	done      chan error
}

// Local serves a victim on a free port of the loopback interface, in the background, until it is closed: for notebooks
// and tests.
func Local(v advlib.Victim, o Options) (*Running, error) {
	s, err := New(v, o)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("serve: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	root := "http://" + l.Addr().String()
	r := &Running{Server: s, Root: root, URL: root + s.Path(), cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- s.Serve(ctx, l) }()
	return r, nil
}

// MustLocal is [Local] for notebooks, examples and tests: it panics on an error.
func MustLocal(v advlib.Victim, o Options) *Running {
	r, err := Local(v, o)
	if err != nil {
		panic(err)
	}
	return r
}

// Close answers what was asked, and stops. Only the first call does anything.
func (r *Running) Close() error {
	r.cancel()
	err := <-r.done
	r.done <- nil
	return err
}
