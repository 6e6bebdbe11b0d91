package endpoint

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// openInference is the Open Inference Protocol, version 2, over REST: kserve/open-inference-protocol,
// inference_rest.md. Tensors are in JSON, or, where the server's list of extensions has it, in Triton's binary form.
type openInference struct {
	spec   Spec
	input  string
	output string
	top    string // the output with the classes of top-k answers, "" without one
	binary bool
	id     atomic.Int64
}

// binaryExtension is how a server says that it understands Triton's binary form.
const binaryExtension = "binary_tensor_data"

// headerLength is the header with the length of the JSON before binary tensors.
const headerLength = "Inference-Header-Content-Length"

// oipTensor is a tensor of a request or an answer.
type oipTensor struct {
	Name       string          `json:"name"`
	Shape      []int           `json:"shape,omitempty"`
	Datatype   string          `json:"datatype,omitempty"`
	Parameters map[string]any  `json:"parameters,omitempty"`
	Data       json.RawMessage `json:"data,omitempty"`
}

type oipRequest struct {
	ID         string         `json:"id"`
	Parameters map[string]any `json:"parameters,omitempty"`
	Inputs     []oipTensor    `json:"inputs"`
	Outputs    []oipTensor    `json:"outputs,omitempty"`
}

func (o *openInference) name() string { return "Open Inference Protocol v2" }

// form implements protocol.
func (o *openInference) form() Form { return Flat }

// model is the path of the model.
func (o *openInference) model() string {
	p := "/v2/models/" + url.PathEscape(o.spec.Model)
	if o.spec.Version != "" {
		p += "/versions/" + url.PathEscape(o.spec.Version)
	}
	return p
}

// learn implements protocol.
func (o *openInference) learn(ctx context.Context, c *client) (m metadata, err error) {
	if o.spec.Model == "" {
		return m, fmt.Errorf("the name of the model is missing: give it by %v", modelName)
	}
	get := func(path string, into any) error {
		return c.ask(ctx, request{method: http.MethodGet, path: path}, func(r reply) error {
			if into == nil {
				return nil
			}
			if err := json.Unmarshal(r.body, into); err != nil {
				return unreadable{fmt.Errorf("GET %s%s does not answer as the %s says: %w: %s", c.root, path, o.name(), err, beginning(r.body))}
			}
			return nil
		})
	}
	var server struct{ Extensions []string }
	if err := get("/v2", &server); err != nil {
		return m, fmt.Errorf("%w: is it a server of the %s?", err, o.name())
	}
	o.binary = slices.Contains(server.Extensions, binaryExtension)
	type about struct {
		Name, Datatype string
		Shape          []int
	}
	var model struct {
		Inputs, Outputs []about
		Parameters      map[string]any
	}
	if err := get(o.model(), &model); err != nil {
		return m, unknown(o.spec.Model, err)
	}
	if err := get(o.model()+"/ready", nil); err != nil {
		return m, fmt.Errorf("the model %q is not ready: %w", o.spec.Model, err)
	}
	info := func(list []about) (all []tensorInfo) {
		for _, t := range list {
			i := tensorInfo{name: t.Name, datatype: t.Datatype}
			if len(t.Shape) > 1 {
				i.shape = t.Shape[1:]
			}
			all = append(all, i)
		}
		return all
	}
	classes, _ := model.Parameters["classes"].(float64) // as advlib serve says it
	return metadata{info(model.Inputs), info(model.Outputs), int(classes)}, nil
}

// settle implements protocol.
func (o *openInference) settle(m metadata, in *inputs) error {
	o.input, o.output = o.spec.InputName, o.spec.Output
	if o.input == "" {
		o.input = "input-0"
		if len(m.inputs) == 1 {
			o.input = m.inputs[0].name
		}
	}
	switch {
	case o.output == "" && len(m.outputs) == 1:
		o.output = m.outputs[0].name
	case o.output == "" && twoOfTop(m.outputs):
		o.output, o.top = "probabilities", "classes"
	}
	return nil
}

// twoOfTop tells the outputs of a model that answers with some classes and their probabilities, as advlib serve names
// them.
func twoOfTop(outputs []tensorInfo) bool {
	has := func(name string) bool {
		return slices.ContainsFunc(outputs, func(t tensorInfo) bool { return t.name == name })
	}
	return len(outputs) == 2 && has("classes") && has("probabilities")
}

// question implements protocol.
func (o *openInference) question(in *inputs, rows [][]float64) (request, error) {
	t := oipTensor{Name: o.input, Shape: append([]int{len(rows)}, in.server...), Datatype: in.datatype.name}
	ask := oipRequest{ID: strconv.FormatInt(o.id.Add(1), 10)}
	if o.output != "" {
		ask.Outputs = []oipTensor{{Name: o.output}}
	}
	if o.top != "" {
		ask.Outputs = append(ask.Outputs, oipTensor{Name: o.top})
	}
	r := request{method: http.MethodPost, path: o.model() + "/infer", contentType: "application/json", inputs: len(rows)}
	var tail []byte
	if o.binary {
		for _, v := range rows {
			tail = in.little(tail, v)
		}
		t.Parameters = map[string]any{"binary_data_size": len(tail)}
		ask.Parameters = map[string]any{"binary_data_output": true}
		for i := range ask.Outputs {
			ask.Outputs[i].Parameters = map[string]any{"binary_data": true}
		}
	} else {
		data := []byte{'['}
		for i, v := range rows {
			if i > 0 {
				data = append(data, ',')
			}
			data = in.flat(data, v)
		}
		t.Data = append(data, ']')
	}
	ask.Inputs = []oipTensor{t}
	text, err := json.Marshal(ask)
	if err != nil {
		return r, err
	}
	if o.binary {
		r.contentType = "application/octet-stream"
		r.header = http.Header{headerLength: {strconv.Itoa(len(text))}}
	}
	r.body = append(text, tail...)
	return r, nil
}

// oipAnswer is what a server answers.
type oipAnswer struct {
	ID      string      `json:"id"`
	Outputs []oipTensor `json:"outputs"`
}

// read implements protocol.
func (o *openInference) read(r reply, n, _ int) ([]row, error) {
	text, tail := r.body, []byte(nil)
	if h := r.header.Get(headerLength); h != "" {
		size, err := strconv.Atoi(h)
		if err != nil || size < 0 || size > len(text) {
			return nil, unreadable{fmt.Errorf("its answer of %d bytes has the header %s: %.40s", len(text), headerLength, h)}
		}
		text, tail = text[:size], text[size:]
	}
	var said oipAnswer
	if err := json.Unmarshal(text, &said); err != nil {
		quoted, ok := quoteNonFinite(text)
		said = oipAnswer{}
		if !ok || json.Unmarshal(quoted, &said) != nil {
			return nil, unreadable{fmt.Errorf("what it answers is not as the %s says (%w): %s", o.name(), err, beginning(text))}
		}
	}
	found := map[string][]row{}
	var names []string
	for _, t := range said.Outputs {
		size := binarySize(t)
		if size > len(tail) {
			return nil, unreadable{fmt.Errorf("its output %q has %d bytes, of which %d are there", t.Name, size, len(tail))}
		}
		mine := tail[:size]
		tail = tail[size:]
		names = append(names, t.Name)
		if t.Name != o.output && t.Name != o.top && (o.output != "" || len(said.Outputs) > 1) {
			continue
		}
		rows, err := o.rows(t, mine, n)
		if err != nil {
			return nil, err
		}
		for i, r := range rows {
			if t.Name == "label" && len(r.numbers) == 1 && r.numbers[0] == -1 { // as advlib serve says it
				rows[i] = row{}
			}
		}
		found[t.Name] = rows
		if o.output == "" {
			return rows, nil
		}
	}
	switch rows := found[o.output]; {
	case len(names) == 0:
		return nil, fmt.Errorf("it answers without outputs%s", words(text))
	case o.output == "":
		return nil, fmt.Errorf("it answers with the outputs %s: name one by %v", strings.Join(names, ", "), outputName)
	case rows == nil || o.top != "" && found[o.top] == nil:
		return nil, fmt.Errorf("it answers with the outputs %s, and not with %s", strings.Join(names, ", "), o.output)
	case o.top != "":
		return withClasses(rows, found[o.top])
	default:
		return rows, nil
	}
}

// rows reads an output, in JSON or in binary form.
func (o *openInference) rows(t oipTensor, tail []byte, n int) ([]row, error) {
	if len(tail) > 0 {
		return o.fromBinary(t, tail, n)
	}
	v, err := decode(t.Data)
	if err != nil {
		return nil, err
	}
	all, err := flatRow(v)
	if err != nil {
		return nil, fmt.Errorf("its output %q: %w", t.Name, err)
	}
	return o.cut(t, all, n)
}

// withClasses gives the probabilities of top-k answers the numbers of their classes. Those of an input that was
// rejected are −1.
func withClasses(p, classes []row) ([]row, error) {
	rows := make([]row, len(p))
	for i, r := range p {
		if len(classes[i].numbers) != len(r.numbers) {
			return nil, fmt.Errorf("it answers with %d classes and %d probabilities", len(classes[i].numbers), len(r.numbers))
		}
		for k, c := range classes[i].numbers {
			if c >= 0 {
				rows[i].numbers, rows[i].names = append(rows[i].numbers, r.numbers[k]), append(rows[i].names, strconv.FormatInt(int64(c), 10))
			}
		}
	}
	return rows, nil
}

// binarySize is how many bytes of a tensor are behind the JSON.
func binarySize(t oipTensor) int {
	f, _ := t.Parameters["binary_data_size"].(float64)
	if f < 0 || f > mostBody {
		return mostBody + 1
	}
	return int(f)
}

// flatRow reads all numbers or names of nested lists in their order.
func flatRow(v any) (r row, err error) {
	list, ok := v.([]any)
	if !ok {
		return rowOf(v)
	}
	for _, e := range list {
		one, err := flatRow(e)
		if err != nil {
			return r, err
		}
		r.numbers, r.names = append(r.numbers, one.numbers...), append(r.names, one.names...)
	}
	return r, nil
}

// cut cuts an output into the rows of n inputs, as its shape says.
func (o *openInference) cut(t oipTensor, all row, n int) ([]row, error) {
	size := len(all.numbers) + len(all.names)
	want := 1
	for _, d := range t.Shape {
		if d < 0 || d > mostBody || want > mostBody {
			return nil, fmt.Errorf("its output %q has the shape %v", t.Name, t.Shape)
		}
		want *= d
	}
	switch {
	case want != size:
		return nil, fmt.Errorf("its output %q has the shape %v and %d values", t.Name, t.Shape, size)
	case n > 1 && (len(t.Shape) == 0 || t.Shape[0] != n):
		return nil, fmt.Errorf("it answers %d inputs with an output %q of shape %v", n, t.Name, t.Shape)
	case len(all.numbers) > 0 && len(all.names) > 0:
		return nil, fmt.Errorf("its output %q has names and numbers", t.Name)
	}
	return cut(all, n)
}

// fromBinary reads a tensor in Triton's binary form.
func (o *openInference) fromBinary(t oipTensor, b []byte, n int) ([]row, error) {
	var all row
	if t.Datatype == "BYTES" { // each with its length before it
		for len(b) > 0 {
			if len(b) < 4 || uint64(binary.LittleEndian.Uint32(b)) > uint64(len(b)-4) {
				return nil, unreadable{fmt.Errorf("its output %q ends within a text", t.Name)}
			}
			k := int(binary.LittleEndian.Uint32(b))
			all.names = append(all.names, string(b[4:4+k]))
			b = b[4+k:]
		}
		return o.cut(t, all, n)
	}
	d, err := datatypeOf(t.Datatype)
	if err != nil {
		return nil, fmt.Errorf("its output %q has the datatype %q, which is not read in binary form", t.Name, t.Datatype)
	}
	if len(b)%d.size != 0 {
		return nil, unreadable{fmt.Errorf("its output %q of %s has %d bytes", t.Name, d.name, len(b))}
	}
	for ; len(b) > 0; b = b[d.size:] {
		all.numbers = append(all.numbers, d.from(b))
	}
	return o.cut(t, all, n)
}

// from reads a number, little-endian.
func (d datatype) from(b []byte) float64 {
	switch d.name {
	case "FP32":
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
	case "FP64":
		return math.Float64frombits(binary.LittleEndian.Uint64(b))
	}
	var u uint64
	for i := d.size - 1; i >= 0; i-- {
		u = u<<8 | uint64(b[i])
	}
	if d.lo < 0 {
		shift := 64 - 8*d.size
		return float64(int64(u<<shift) >> shift)
	}
	return float64(u)
}

// identity implements protocol.
func (o *openInference) identity() string {
	return fmt.Sprintf("open inference %s, %s to %s", o.model(), o.input, o.output)
}

// unknown says that a server has no such model, in front of its own words.
func unknown(model string, err error) error {
	if isStatus(err, http.StatusNotFound) || isStatus(err, http.StatusBadRequest) {
		return fmt.Errorf("the server has no model %q: %w", model, err)
	}
	return err
}

func isStatus(err error, status int) bool {
	var s *statusError
	return errors.As(err, &s) && s.status == status
}
