package endpoint_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/endpoint"
	"advlab/advlib/oracle"
)

// tensorFlowServer answers as TensorFlow Serving does: its REST API, tensorflow/serving docs/api_rest.md.
func tensorFlowServer(t *testing.T, m model) *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/models/m/versions/2", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"model_version_status":[{"version":"2","state":"AVAILABLE","status":{"error_code":"OK","error_message":""}}]}`)
	})
	mux.HandleFunc("GET /v1/models/m/versions/2/metadata", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"model_spec":{"name":"m","signature_name":"","version":"2"},"metadata":{"signature_def":{"signature_def":{
			"serving_default":{"inputs":{"x":{"dtype":"DT_FLOAT","tensor_shape":{"dim":[{"size":"-1","name":""},{"size":"%d","name":""}],
			"unknown_rank":false},"name":"serving_default_x:0"}},"outputs":{"y":{"dtype":"DT_FLOAT","tensor_shape":{"dim":[{"size":"-1"},
			{"size":"3"}]}}},"method_name":"tensorflow/serving/predict"}}}}}`, len(m.weights[0]))
	})
	mux.HandleFunc("GET /v1/models/", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"error": "Could not find any versions of model other"}`)
	})
	mux.HandleFunc("POST /v1/models/m/versions/{call}", func(w http.ResponseWriter, r *http.Request) {
		var ask struct{ Instances [][]json.Number }
		body, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &ask); err != nil || r.PathValue("call") != "2:predict" {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"error":"JSON Parse error: %v"}`, err)
			return
		}
		var p [][]float64
		for _, instance := range ask.Instances {
			var x []float64
			for _, v := range instance {
				if !strings.ContainsAny(v.String(), ".e") {
					t.Errorf("%s is written as an integer", v)
				}
				f, _ := v.Float64()
				x = append(x, f)
			}
			p = append(p, m.scores(x))
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"predictions": p})
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// mlflowServer answers as MLflow's scoring server does: mlflow/pyfunc/scoring_server/__init__.py. Its model gives
// labels, as those of scikit-learn do.
func mlflowServer(t *testing.T, m model) *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ping", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w) })
	mux.HandleFunc("POST /invocations", func(w http.ResponseWriter, r *http.Request) {
		if ct := r.Header.Get("Content-Type"); ct != "application/json" {
			w.WriteHeader(http.StatusUnsupportedMediaType)
			fmt.Fprint(w, "This predictor only supports the following content types")
			return
		}
		var ask map[string][][]float64
		if err := json.NewDecoder(r.Body).Decode(&ask); err != nil || len(ask) != 1 || ask["inputs"] == nil {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error_code": "BAD_REQUEST", "message": "exactly one of dataframe_split, inputs, …"}`)
			return
		}
		var labels []int
		for _, x := range ask["inputs"] {
			labels = append(labels, m.label(x))
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"predictions": labels})
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func TestTensorFlowServing(t *testing.T) {
	home(t)
	l, m := linear(t)
	s := tensorFlowServer(t, m)
	spec := endpoint.Spec{URL: s.URL, Model: "m", Version: "2", Template: endpoint.TensorFlowServing(), Input: l.Classifier.Input(),
		Box: advlib.UnitBox, Batch: 4}
	e := open(t, spec)
	want := advlib.MustRun(t.Context(), oracle.Probabilities(l.Classifier), l.Examples, square(50))
	got := advlib.MustRun(t.Context(), e, l.Examples, square(50))
	if !slices.Equal(got.Success, want.Success) {
		t.Errorf("Square reaches %v, on the model itself %v", got.Success, want.Success)
	}
	for wanted, set := range map[string]func(*endpoint.Spec){
		`no model "other": GET`:   func(s *endpoint.Spec) { s.Model = "other" },
		"takes inputs of shape":   func(s *endpoint.Spec) { s.Input = []int{7} },
		"datatype FP32, not FP64": func(s *endpoint.Spec) { s.Datatype = "FP64" },
	} {
		bad := spec
		set(&bad)
		if _, err := endpoint.Open(t.Context(), bad); err == nil || !strings.Contains(err.Error(), wanted) {
			t.Errorf("error %v does not say %q", err, wanted)
		}
	}
}

func TestMLflow(t *testing.T) {
	home(t)
	l, m := linear(t)
	s := mlflowServer(t, m)
	spec := endpoint.Spec{URL: s.URL, Template: endpoint.MLflow(), Input: l.Classifier.Input(), Box: advlib.UnitBox, Classes: len(m.weights)}
	e := open(t, spec)
	if e.Signature().Returns != advlib.Label {
		t.Errorf("it returns %v, want labels", e.Signature().Returns)
	}
	transfer := attack.Transfer{Attack: attack.PGD{Ball: advlib.Linf.Ball(0.15), Steps: 10}, From: l.Classifier}
	want := advlib.MustRun(t.Context(), l.Classifier, l.Examples, transfer)
	got := advlib.MustRun(t.Context(), e, l.Examples, transfer)
	if !slices.Equal(got.Success, want.Success) {
		t.Errorf("PGD reaches %v, on the model itself %v", got.Success, want.Success)
	}
}

func TestOneOfSeveralOutputs(t *testing.T) {
	home(t)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost { // as TensorFlow Serving answers where a signature has several outputs
			fmt.Fprint(w, `{"predictions":[{"logits":[1,-2,0.5],"features":[1,2,3,4]}]}`)
			return
		}
		fmt.Fprint(w, `{}`)
	}))
	defer s.Close()
	template := endpoint.TensorFlowServing()
	e := open(t, endpoint.Spec{URL: s.URL, Model: "m", Template: template, Input: []int{2}, Box: advlib.UnitBox, Output: "logits"})
	said, err := query(t, e, []float32{0, 1})
	if err != nil || len(said) != 1 || !slices.Equal(said[0].Scores, []float32{1, -2, 0.5}) {
		t.Errorf("%+v, %v", said, err)
	}
}

// TestOwnTemplates asks servers whose answers have all the shapes that a template may meet.
func TestOwnTemplates(t *testing.T) {
	home(t)
	type ask struct {
		Image  any
		Images []any
		Shape  []int
	}
	for name, c := range map[string]struct {
		template string
		classes  []string
		answer   func(a ask) string
		want     advlib.Answer
		input    string // as the server gets it
	}{
		"named scores": {
			`{"path":"/classify","body":{"image":"$input"},"inputs":"flat","answer":"$.result"}`, []string{"cat", "dog", "cow"},
			func(ask) string {
				return `{"result":[{"label":"dog","score":0.75},{"label":"cow","score":0.125}]}`
			},
			advlib.Answer{Kind: advlib.TopClasses, Top: []int32{1, 2}, Scores: []float32{0.75, 0.125}}, "[0.0 0.2 0.4 1.0]",
		},
		"an object of scores": {
			`{"path":"","body":{"images":"$inputs","shape":"$shape"},"answer":"$.predictions"}`, []string{"cat", "dog", "cow"},
			func(a ask) string {
				return `{"predictions":[` + strings.TrimSuffix(strings.Repeat(`{"dog":0.75,"cat":0.125},`, len(a.Images)), ",") + `]}`
			},
			advlib.Answer{Kind: advlib.TopClasses, Top: []int32{1, 0}, Scores: []float32{0.75, 0.125}}, "[[0.0 0.2] [0.4 1.0]]",
		},
		"names": {
			`{"path":"/p","body":{"images":"$inputs"},"inputs":"png","answer":"$.results[*].class"}`, []string{"cat", "dog", "cow"},
			func(a ask) string {
				return `{"results":[` + strings.TrimSuffix(strings.Repeat(`{"class":"cow"},`, len(a.Images)), ",") + `]}`
			},
			advlib.Answer{Kind: advlib.Label, Label: 2}, "png",
		},
		"logits at places": {
			`{"path":"/p","body":{"images":"$inputs"},"answer":"$.results[*].logits"}`, nil,
			func(a ask) string {
				return `{"results":[` + strings.TrimSuffix(strings.Repeat(`{"logits":[1,-2,0.5]},`, len(a.Images)), ",") + `]}`
			},
			advlib.Answer{Kind: advlib.Logits, Scores: []float32{1, -2, 0.5}}, "[[0.0 0.2] [0.4 1.0]]",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var last any
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var a ask
				d := json.NewDecoder(r.Body)
				d.UseNumber()
				if err := d.Decode(&a); err != nil {
					t.Error(err)
				}
				if last = a.Image; len(a.Images) > 0 {
					last = a.Images[len(a.Images)-1]
				}
				fmt.Fprint(w, c.answer(a))
			}))
			defer s.Close()
			template, err := endpoint.ReadTemplate([]byte(c.template))
			if err != nil {
				t.Fatal(err)
			}
			spec := endpoint.Spec{URL: s.URL, Template: template, Input: []int{2, 2}, Box: advlib.UnitBox, ClassNames: c.classes}
			e := open(t, spec)
			x := []float32{0, 0.2, 0.4, 1}
			said, err := query(t, e, x)
			if err != nil || len(said) != 1 || fmt.Sprint(said[0]) != fmt.Sprint(c.want) {
				t.Errorf("it is understood as %+v (%v), want %+v", said, err, c.want)
			}
			if c.input != "png" {
				if got := fmt.Sprint(last); got != c.input {
					t.Errorf("the server got %s, want %s", got, c.input)
				}
				return
			}
			raw, err := base64.StdEncoding.DecodeString(last.(string))
			if err != nil {
				t.Fatal(err)
			}
			img, err := png.Decode(bytes.NewReader(raw))
			if err != nil {
				t.Fatal(err)
			}
			if g, _, _, _ := img.At(1, 0).RGBA(); g>>8 != 51 {
				t.Errorf("the pixel 0.2 is sent as %d, want 51", g>>8)
			}
			if d := e.Signature().Domain; len(d) != 4 || d[0].Step != 1./255 {
				t.Errorf("the domain of 8-bit images is %v", d)
			}
			if _, err := query(t, e, []float32{0, 0.2001, 0.4, 1}); err == nil || !strings.Contains(err.Error(), "takes whole numbers") {
				t.Errorf("a value between two bytes: %v", err)
			}
		})
	}
}

func TestTemplatesThatAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		`{`:                              "it is no template",
		`{"path":"/p","url":"x"}`:        "unknown field",
		`{"path":"p","body":"$inputs"}`:  "does not begin with /",
		`{"path":"/p","body":{"a":"b"}}`: `it must have one of them, once`,
		`{"path":"/p","body":["$input","$inputs"]}`:                                 `it must have one of them, once`,
		`{"path":"/p","body":"$inputs","answer":"predictions"}`:                     "is no JSONPath",
		`{"path":"/p","body":"$inputs","answer":"$.predictions","inputs":"tensor"}`: "in the form",
	} {
		if _, err := endpoint.ReadTemplate([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v does not say %q", text, err, want)
		}
	}
}
