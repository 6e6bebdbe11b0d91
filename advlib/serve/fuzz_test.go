package serve_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"advlab/advlib/serve"
)

// FuzzInfer sends bodies of all kinds: what comes back is an answer, or an error that is the client's, in JSON.
//
//	go test -fuzz FuzzInfer ./advlib/serve
func FuzzInfer(f *testing.F) {
	binary := `{"inputs":[{"name":"input","datatype":"FP32","shape":[1,2,2],"parameters":{"binary_data_size":16}}]}`
	nested := strings.Replace(two, `[0.1,0.2,0.3,-1,1,0,0,0.5]`, `[[[0.1,0.2],[0.3,-1]],[[1,0],[0,5e-1]]]`, 1)
	f.Add([]byte(two), "", "")
	f.Add([]byte(nested), "", "")
	f.Add([]byte(binary+strings.Repeat("\x00", 16)), "101", "")
	f.Add([]byte(strings.Replace(two, `"inputs"`, `"parameters":{"binary_data_output":true},"inputs"`, 1)), "", "")
	f.Add([]byte("\x78\x9c\x03\x00\x00\x00\x00\x01"), "", "deflate")
	f.Add([]byte("\x1f\x8b"), "0", "gzip")
	s, err := serve.New(victim(), serve.Options{MaxBody: 1 << 16})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, header, coding string) {
		r := httptest.NewRequest(http.MethodPost, s.Path()+"/infer", bytes.NewReader(body))
		r.Header.Set("Inference-Header-Content-Length", header)
		r.Header.Set("Content-Encoding", coding)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		text := w.Body.Bytes()
		switch w.Code {
		case http.StatusOK:
			if n := len(text); w.Header().Get("Inference-Header-Content-Length") != "" {
				text = text[:bytes.LastIndexByte(text[:n], '}')+1]
				for !json.Valid(text) && len(text) > 0 { // the tensors may have that byte too
					text = text[:bytes.LastIndexByte(text[:len(text)-1], '}')+1]
				}
			}
			var a struct{ Outputs []struct{ Shape []int } }
			if err := json.Unmarshal(text, &a); err != nil || len(a.Outputs) != 1 || a.Outputs[0].Shape[0] < 1 || a.Outputs[0].Shape[1] != 3 {
				t.Errorf("answered %q: %v", w.Body, err)
			}
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType:
			var e struct{ Error string }
			if err := json.Unmarshal(text, &e); err != nil || e.Error == "" {
				t.Errorf("refused by %q: %v", text, err)
			}
		default:
			t.Errorf("status %d: %s", w.Code, text)
		}
	})
}
