package endpoint_test

import (
	"encoding/pem"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"advlab/advlib/cachedir"
	"advlab/advlib/endpoint"
)

const secret = "s3cr3t-t0ken"

func TestSecretsStaySecret(t *testing.T) {
	home(t)
	t.Setenv("ADVLAB_TEST_TOKEN", secret)
	t.Setenv("ADVLAB_TEST_KEY", secret+"-key")
	s := newServer(t, random(3, 4))
	spec := specOf(s, 3)
	spec.Token, spec.Headers = "ADVLAB_TEST_TOKEN", map[string]string{"X-Api-Key": "ADVLAB_TEST_KEY"}
	e := open(t, spec)
	if s.last.Get("Authorization") != "Bearer "+secret || s.last.Get("X-Api-Key") != secret+"-key" {
		t.Errorf("the server got %q and %q", s.last.Get("Authorization"), s.last.Get("X-Api-Key"))
	}
	if _, err := query(t, e, []float32{0, 0, 1}); err != nil {
		t.Fatal(err)
	}
	// A server that repeats what it got.
	s.fault = func(_ int, w http.ResponseWriter, r *http.Request) bool {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, `{"error":"not allowed: %s %s"}`, r.Header.Get("Authorization"), r.Header.Get("X-Api-Key"))
		return true
	}
	_, err := query(t, e, []float32{1, 0, 1})
	if err == nil || strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "***") {
		t.Errorf("the error %v has the token", err)
	}
	if strings.Contains(fmt.Sprintf("%s %q", e.Name(), e.Fingerprint()), secret) {
		t.Error("the name has the token")
	}
	before := s.requests
	text, err := endpoint.FirstRequest(t.Context(), spec)
	if err != nil || strings.Contains(text, secret) {
		t.Fatalf("the first request has the token, or there is none: %v\n%s", err, text)
	}
	for _, want := range []string{"POST /v2/models/m/infer HTTP/1.1", "Authorization: Bearer ***", "X-Api-Key: ***", `"shape":[1,3]`} {
		if !strings.Contains(text, want) {
			t.Errorf("the first request does not have %q:\n%s", want, text)
		}
	}
	if s.requests != before {
		t.Error("to show the first request, it was sent")
	}
	// Nothing on the disk has it.
	files := 0
	err = filepath.WalkDir(os.Getenv(cachedir.Variable), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		files++
		if strings.Contains(string(text), secret) {
			t.Errorf("%s has the token", path)
		}
		return err
	})
	if err != nil || files < 2 {
		t.Errorf("%d files are kept, %v", files, err)
	}
}

func TestRedirects(t *testing.T) {
	home(t)
	t.Setenv("ADVLAB_TEST_TOKEN", secret)
	var reached atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer other.Close()
	s := newServer(t, random(3, 4))
	inside := s.Config.Handler
	// From another path of the same server.
	moved := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path, ok := strings.CutPrefix(r.URL.Path, "/old"); ok {
			http.Redirect(w, r, path, http.StatusTemporaryRedirect)
			return
		}
		inside.ServeHTTP(w, r)
	}))
	defer moved.Close()
	spec := specOf(s, 3)
	spec.Token, spec.URL = "ADVLAB_TEST_TOKEN", moved.URL+"/old"
	open(t, spec)
	if s.last.Get("Authorization") != "Bearer "+secret {
		t.Error("the token is lost on the way to another path of the same server")
	}
	for status := range map[int]bool{http.StatusTemporaryRedirect: true, http.StatusFound: true, http.StatusPermanentRedirect: true} {
		spec := specOf(s, 3)
		spec.Token = "ADVLAB_TEST_TOKEN"
		s.fault = func(_ int, w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, other.URL, status)
			return true
		}
		if _, err := endpoint.Open(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "it sends its clients to "+other.URL) {
			t.Errorf("status %d: %v", status, err)
		}
	}
	if reached.Load() > 0 {
		t.Errorf("%d requests reached another host", reached.Load())
	}
}

func TestProxyAndCertificates(t *testing.T) {
	home(t)
	m := random(3, 4)
	s := newServer(t, m)
	var through atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		through.Add(1)
		if r.Header.Get("Proxy-Authorization") == "" {
			t.Error("the proxy's password is not sent")
		}
		s.Config.Handler.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	spec := specOf(s, 3)
	spec.Patience = time.Second
	spec.URL, spec.Proxy = "http://model.invalid", strings.Replace(proxy.URL, "://", "://me:"+secret+"@", 1)
	e := open(t, spec)
	if through.Load() == 0 {
		t.Error("nothing went by the proxy")
	}
	proxy.Close()
	if _, err := query(t, e, []float32{0, 0, 1}); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("the proxy is gone: %v", err)
	}

	safe := httptest.NewTLSServer(s.Config.Handler)
	defer safe.Close()
	spec = specOf(s, 3)
	spec.URL = safe.URL
	if _, err := endpoint.Open(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "cannot be trusted") {
		t.Errorf("a certificate that nobody knows: %v", err)
	}
	spec.CA = filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: safe.Certificate().Raw})
	if err := os.WriteFile(spec.CA, text, 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, spec)
}
