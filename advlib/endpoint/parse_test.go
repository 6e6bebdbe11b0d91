package endpoint

import (
	"encoding/json"
	"math"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"":                               -1,
		"3":                              3 * time.Second,
		" 0 ":                            0,
		"-3":                             -1,
		"1.5":                            -1,
		"soon":                           -1,
		"99999999999999999999":           -1,
		"Fri, 02 Jan 2026 03:04:15 GMT":  10 * time.Second,
		"Friday, 02-Jan-26 03:04:15 GMT": 10 * time.Second, // the two older forms of RFC 9110, section 5.6.7
		"Fri Jan  2 03:04:15 2026":       10 * time.Second,
		"Fri, 02 Jan 2026 03:04:00 GMT":  0, // past
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("Retry-After: %q is %v, want %v", text, got, want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, text := range []string{"3", "soon", "Fri, 02 Jan 2026 03:04:15 GMT"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if d := retryAfter(text, time.Now()); d < -1 {
			t.Errorf("%q is %v", text, d)
		}
	})
}

// FuzzTemplateAnswer reads answers of a template: whatever a server writes, there is an error, or as many rows as
// inputs, of which none is empty.
func FuzzTemplateAnswer(f *testing.F) {
	for _, text := range []string{
		`{"predictions":[[0.1,0.9]]}`, `{"predictions":[[0.1,NaN],[1,2]]}`, `{"predictions":["a","b"]}`, `{"predictions":{"a":1,"b":2}}`,
		`{"predictions":[{"label":"a","score":1}]}`,
		`{"predictions":[[[[1]]]]}`, `{"error":"no"}`, `[]`, `{"predictions":[null,"Infinity",-Infinity]}`,
		`{"predictions":"\"NaN"}`,
	} {
		f.Add(text, 1, 0)
		f.Add(text, 2, 3)
	}
	p, err := MLflow().parse()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string, n, classes int) {
		if n < 1 || n > 100 {
			return
		}
		checkRows(t, n, func() ([]row, error) { return p.read(reply{http.Header{}, []byte(text)}, n, classes) })
	})
}

func checkRows(t *testing.T, n int, read func() ([]row, error)) {
	t.Helper()
	rows, err := read()
	if err != nil {
		return
	}
	if len(rows) != n {
		t.Errorf("%d rows for %d inputs", len(rows), n)
	}
	for _, r := range rows {
		if len(r.numbers)+len(r.names) == 0 {
			t.Error("a row is empty")
		}
	}
}

// FuzzOpenInferenceAnswer does the same for the Open Inference Protocol, in JSON and in binary form.
func FuzzOpenInferenceAnswer(f *testing.F) {
	f.Add(`{"outputs":[{"name":"p","shape":[1,2],"datatype":"FP32","data":[0.1,0.9]}]}`, -1, 1)
	f.Add(`{"outputs":[{"name":"p","shape":[2,1],"datatype":"BYTES","data":[["a"],["b"]]}]}`, -1, 2)
	f.Add(`{"outputs":[{"name":"p","shape":[1,2],"datatype":"FP32","data":[NaN,"inf"]}]}`, -1, 1)
	binary := `{"outputs":[{"name":"p","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}]}`
	f.Add(binary+"12345678", len(binary), 1)
	f.Add(binary+"123", len(binary), 1)
	text := `{"outputs":[{"name":"p","shape":[1,1],"datatype":"BYTES","parameters":{"binary_data_size":7}}]}`
	f.Add(text+"\x03\x00\x00\x00cat", len(text), 1)
	f.Fuzz(func(t *testing.T, text string, head, n int) {
		if n < 1 || n > 100 {
			return
		}
		h := http.Header{}
		if head >= 0 {
			h.Set(headerLength, strconv.Itoa(head))
		}
		o := &openInference{}
		checkRows(t, n, func() ([]row, error) { return o.read(reply{h, []byte(text)}, n, 0) })
	})
}

// FuzzKept reads logs: what is read is written again as it was.
func FuzzKept(f *testing.F) {
	f.Add([]byte{}, pack(key{1}, row{numbers: []float64{1, math.Inf(1)}, names: []string{"a", ""}}))
	f.Add([]byte("123456789"), pack(key{2}, row{}))
	f.Fuzz(func(t *testing.T, text, record []byte) {
		k := &kept{known: map[key]*row{}}
		if n := k.read(text); n > len(text) {
			t.Errorf("%d bytes of %d", n, len(text))
		}
		if of, r, ok := unpack(record); ok && !slices.Equal(pack(of, *r), record) {
			t.Errorf("%x is read as %v", record, r)
		}
	})
}

func TestPacked(t *testing.T) {
	for _, r := range []row{{}, {numbers: []float64{1, -2.5, math.Inf(1)}}, {names: []string{"cat", "日本"}},
		{numbers: []float64{.5}, names: []string{"cat"}}} {
		of, got, ok := unpack(pack(key{7}, r))
		if !ok || of != (key{7}) || !reflect.DeepEqual(*got, r) {
			t.Errorf("%v is read as %v (%t)", r, got, ok)
		}
	}
}

func TestNumbersAreSentExactly(t *testing.T) {
	for _, name := range []string{"FP32", "FP64"} {
		d, err := datatypeOf(name)
		if err != nil {
			t.Fatal(err)
		}
		in := &inputs{datatype: d, factor: 1}
		for _, v := range []float32{0, 1, 0.1, 1. / 3, math.SmallestNonzeroFloat32, math.MaxFloat32, -0.25} {
			sent, err := in.sent([]float32{v})
			if err != nil {
				t.Fatal(err)
			}
			text := in.number(nil, sent[0])
			var got float64
			if err := json.Unmarshal(text, &got); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if float32(got) != v || name == "FP64" && got != float64(v) {
				t.Errorf("%g is sent as %s in %s", v, text, name)
			}
			if raw := in.little(nil, sent); d.from(raw) != float64(v) {
				t.Errorf("%g is sent as %x in %s", v, raw, name)
			}
		}
	}
	for _, d := range datatypes[2:] {
		in := &inputs{datatype: d}
		for _, v := range []float64{d.lo, 0, 1, d.hi} {
			if raw := in.little(nil, []float64{v}); len(raw) != d.size || d.from(raw) != v {
				t.Errorf("%g is sent as %x in %s, and read as %g", v, raw, d.name, d.from(raw))
			}
		}
	}
}
