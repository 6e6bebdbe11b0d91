package endpoint

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/theory/jsonpath"
)

// Form is how a template writes inputs.
type Form string

// The forms of inputs.
const (
	// Nested are lists of lists, in the shape that the server takes.
	Nested Form = "nested"
	// Flat is one list for each input.
	Flat Form = "flat"
	// PNG is an image of 8 bits in each channel, gray or in colour, as PNG in base64. Its box is within 0 and 1, or 0 and
	// 255.
	PNG Form = "png"
)

// Template describes a server that is asked by POST, and answers in JSON. In a file it is an object with the names of
// the tags:
//
//	{"path": "/predict", "body": {"images": "$inputs"}, "inputs": "png", "answer": "$.results[*].scores"}
type Template struct {
	// Name is shown in reports.
	Name string `json:"name,omitempty"`
	// Path is added to the server's address. {model} and {version} stand for their names; what is in brackets is left out
	// where there is no version: "/v1/models/{model}[/versions/{version}]:predict".
	Path string `json:"path"`
	// Ready is a path that answers status 200 to GET when the model is there; empty if there is none.
	Ready string `json:"ready,omitempty"`
	// Body is the request, in JSON. In it the text "$inputs" stands for the list of all inputs of a request, "$input" for
	// the only one, where a request has one, and "$shape" for the shape of all, with the number of inputs first.
	Body json.RawMessage `json:"body"`
	// Inputs is the form of each input; empty means Nested.
	Inputs Form `json:"inputs,omitempty"`
	// Answer says where the answers are, in the notation of RFC 9535 (JSONPath), such as "$.predictions" or
	// "$.results[*].scores": one list with a row for each input, or a row at each place.
	Answer string `json:"answer"`

	// describe reads what the server says of the model at this path, if it says anything.
	about    string
	describe func(v any) metadata
}

// TensorFlowServing is the REST API of TensorFlow Serving: predict, by rows.
func TensorFlowServing() *Template {
	return &Template{Name: "TensorFlow Serving", Path: "/v1/models/{model}[/versions/{version}]:predict",
		Ready: "/v1/models/{model}[/versions/{version}]", Body: json.RawMessage(`{"instances": "$inputs"}`), Answer: "$.predictions",
		about: "/v1/models/{model}[/versions/{version}]/metadata", describe: signatureDef}
}

// MLflow is the server of MLflow's models: invocations, with inputs as a tensor. It serves one model, and needs no name
// of it. Models of scikit-learn answer with labels, unless they were logged with pyfunc_predict_fn="predict_proba".
func MLflow() *Template {
	return &Template{Name: "MLflow", Path: "/invocations", Ready: "/ping", Body: json.RawMessage(`{"inputs": "$inputs"}`),
		Answer: "$.predictions"}
}

// ReadTemplate reads a template in JSON.
func ReadTemplate(text []byte) (*Template, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	t := new(Template)
	if err := d.Decode(t); err != nil {
		return nil, fmt.Errorf("it is no template: %w: it must be an object with path, body, inputs, answer, and perhaps name and ready", err)
	}
	_, err := t.parse()
	return t, err
}

// templated is a protocol by a template.
type templated struct {
	Template
	spec   Spec
	answer *jsonpath.Path
	single bool
}

// The places in a body.
var (
	manyInputs = []byte(`"$inputs"`)
	oneInput   = []byte(`"$input"`)
	allShape   = []byte(`"$shape"`)
)

// parse checks a template.
func (t *Template) parse() (*templated, error) {
	p := &templated{Template: *t}
	if p.Inputs == "" {
		p.Inputs = Nested
	}
	if !slices.Contains([]Form{Nested, Flat, PNG}, p.Inputs) {
		return nil, fmt.Errorf("the template has inputs in the form %q: there are %s, %s, %s", p.Inputs, Nested, Flat, PNG)
	}
	if !json.Valid(p.Body) {
		return nil, fmt.Errorf("the template's body is no JSON: %s", beginning(p.Body))
	}
	many, one := bytes.Count(p.Body, manyInputs), bytes.Count(p.Body, oneInput)
	if many+one != 1 {
		return nil, fmt.Errorf(`the template's body has "$inputs" %d times and "$input" %d times: it must have one of them, once`, many, one)
	}
	p.single = one == 1
	if !strings.HasPrefix(p.Path, "/") && p.Path != "" {
		return nil, fmt.Errorf("the template's path %q does not begin with /", p.Path)
	}
	var err error
	if p.answer, err = jsonpath.Parse(p.Answer); err != nil {
		return nil, fmt.Errorf(`the template's answer %q is no JSONPath, such as "$.predictions": %w`, p.Answer, err)
	}
	return p, nil
}

var optional = regexp.MustCompile(`\[[^\]]*\]`)

// at fills a path in.
func (t *templated) at(path string) string {
	path = optional.ReplaceAllStringFunc(path, func(part string) string {
		if t.spec.Version == "" {
			return ""
		}
		return part[1 : len(part)-1]
	})
	return strings.NewReplacer("{model}", url.PathEscape(t.spec.Model), "{version}", url.PathEscape(t.spec.Version)).Replace(path)
}

func (t *templated) name() string {
	if t.Name != "" {
		return t.Name
	}
	return "a template"
}

// form is that of the inputs.
func (t *templated) form() Form { return t.Inputs }

// learn implements protocol.
func (t *templated) learn(ctx context.Context, c *client) (m metadata, err error) {
	if strings.Contains(t.Path, "{model}") && t.spec.Model == "" {
		return m, fmt.Errorf("the name of the model is missing: give it by %v", modelName)
	}
	if t.single && t.spec.Batch > 1 {
		return m, fmt.Errorf(`the template has "$input", one for each request, and %d are to be sent in one: give 1 by %v`, t.spec.Batch,
			batchName)
	}
	if t.spec.InputName != "" && t.describe == nil {
		return m, fmt.Errorf("the template has the name of the input in its body, if there is one: leave %v out", inputNameName)
	}
	if t.Ready != "" {
		if err := c.ask(ctx, request{method: http.MethodGet, path: t.at(t.Ready)}, func(reply) error { return nil }); err != nil {
			return m, unknown(t.spec.Model, err)
		}
	}
	if t.describe == nil {
		return m, nil
	}
	err = c.ask(ctx, request{method: http.MethodGet, path: t.at(t.about)}, func(r reply) error {
		v, err := decode(r.body)
		if err == nil {
			m = t.describe(v)
		}
		return err
	})
	if isStatus(err, http.StatusNotFound) { // it says nothing
		err = nil
	}
	return m, err
}

// settle implements protocol.
func (t *templated) settle(metadata, *inputs) error { return nil }

// question implements protocol.
func (t *templated) question(in *inputs, rows [][]float64) (request, error) {
	var list []byte
	for i, v := range rows {
		if i > 0 {
			list = append(list, ',')
		}
		var err error
		if list, err = in.one(list, v); err != nil {
			return request{}, err
		}
	}
	place := oneInput
	if !t.single {
		place = manyInputs
		list = slices.Concat([]byte("["), list, []byte("]"))
	}
	body := bytes.Replace(t.Body, place, list, 1)
	if bytes.Contains(t.Body, allShape) {
		shape, err := json.Marshal(append([]int{len(rows)}, in.server...))
		if err != nil {
			return request{}, err
		}
		body = bytes.ReplaceAll(body, allShape, shape)
	}
	return request{method: http.MethodPost, path: t.at(t.Path), contentType: "application/json", body: body, inputs: len(rows)}, nil
}

// read implements protocol.
func (t *templated) read(r reply, n, classes int) ([]row, error) {
	v, err := decode(r.body)
	if err != nil {
		return nil, err
	}
	found := t.answer.Select(v)
	if t.spec.Output != "" {
		for i := range found {
			found[i] = pick(found[i], t.spec.Output)
		}
	}
	switch {
	case len(found) == 0:
		o, _ := v.(map[string]any)
		return nil, fmt.Errorf("it answers with nothing at %s, but with the fields %s%s", t.Answer, fields(o), words(r.body))
	case len(found) == 1:
		return rowsOf(found[0], n, classes)
	}
	return rowsOf([]any(found), n, classes)
}

// pick takes one output where rows are objects with several: {"logits": […], "features": […]}.
func pick(v any, output string) any {
	switch v := v.(type) {
	case []any:
		all := make([]any, len(v))
		for i, e := range v {
			all[i] = pick(e, output)
		}
		return all
	case map[string]any:
		if one, ok := v[output]; ok {
			return one
		}
	}
	return v
}

// identity implements protocol.
func (t *templated) identity() string {
	return fmt.Sprintf("template %s %s %s %s %s", t.at(t.Path), t.Body, t.Inputs, t.Answer, t.spec.Output)
}

// The types of TensorFlow by the names of the Open Inference Protocol.
var tensorFlowTypes = map[string]string{"DT_FLOAT": "FP32", "DT_DOUBLE": "FP64", "DT_UINT8": "UINT8", "DT_INT8": "INT8",
	"DT_INT16": "INT16", "DT_UINT16": "UINT16", "DT_INT32": "INT32",
	"DT_INT64": "INT64", "DT_UINT32": "UINT32", "DT_UINT64": "UINT64", "DT_BOOL": "BOOL",
	"DT_HALF": "FP16", "DT_STRING": "BYTES"}

// signatureDef reads what TensorFlow Serving says of the signature serving_default. What is not as expected says
// nothing.
func signatureDef(v any) (m metadata) {
	at := func(v any, keys ...string) any {
		for _, k := range keys {
			o, _ := v.(map[string]any)
			v = o[k]
		}
		return v
	}
	tensors := func(v any) (all []tensorInfo) {
		o, _ := v.(map[string]any)
		for name, about := range o {
			datatype, _ := at(about, "dtype").(string)
			t := tensorInfo{name: name, datatype: tensorFlowTypes[datatype]}
			dims, _ := at(about, "tensor_shape", "dim").([]any)
			for i, d := range dims {
				size, _ := at(d, "size").(string)
				n, err := strconv.Atoi(size)
				if err != nil {
					n = -1
				}
				if i > 0 {
					t.shape = append(t.shape, n)
				}
			}
			all = append(all, t)
		}
		return all
	}
	def := at(v, "metadata", "signature_def", "signature_def", "serving_default")
	return metadata{inputs: tensors(at(def, "inputs")), outputs: tensors(at(def, "outputs"))}
}
