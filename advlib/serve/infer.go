package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// headerLength says where the JSON ends and binary tensors begin.
const headerLength = "Inference-Header-Content-Length"

// refusal is an error that a request gets, with its status.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

// bad is a refusal of a request that makes no sense.
func bad(format string, args ...any) error {
	return &refusal{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// metadata describes a tensor.
type metadata struct {
	Name     string `json:"name"`
	Datatype string `json:"datatype"`
	Shape    []int  `json:"shape"`
}

// question is the JSON of a request.
type question struct {
	ID         string         `json:"id"`
	Parameters parameters     `json:"parameters"`
	Inputs     []tensor       `json:"inputs"`
	Outputs    []wantedOutput `json:"outputs"`
}

type tensor struct {
	Name       string          `json:"name"`
	Datatype   string          `json:"datatype"`
	Shape      []int           `json:"shape"`
	Parameters parameters      `json:"parameters,omitempty"`
	Data       json.RawMessage `json:"data,omitempty"`
}

type wantedOutput struct {
	Name       string     `json:"name"`
	Parameters parameters `json:"parameters"`
}

// parameters are numbers, strings and truths by name.
type parameters map[string]any

// truth returns a parameter that is true or false, or what it is if it is not given.
func (p parameters) truth(name string, otherwise bool) (bool, error) {
	switch v := p[name].(type) {
	case nil:
		return otherwise, nil
	case bool:
		return v, nil
	default:
		return false, bad("parameter %s: %v is neither true nor false", name, v)
	}
}

// whole returns a parameter that is a number of bytes.
func (p parameters) whole(name string) (n int, given bool, err error) {
	switch v := p[name].(type) {
	case nil:
		return 0, false, nil
	case float64:
		if v >= 0 && v == math.Trunc(v) && v <= math.MaxInt32 {
			return int(v), true, nil
		}
	}
	return 0, false, bad("parameter %s: %v is no number of bytes", name, p[name])
}

// unknown refuses parameters that ask for what there is not: to pass them over would answer something else.
func (p parameters) unknown() error {
	for name := range p {
		if strings.HasPrefix(name, "shared_memory") || name == "classification" || strings.HasPrefix(name, "sequence_") {
			return bad("parameter %s: this server has no such extension", name)
		}
	}
	return nil
}

// asked is a request that makes sense.
type asked struct {
	id     string
	x      []float32
	rows   int
	wanted []wanted
}

// wanted is an output that is to be returned.
type wanted struct {
	name   string
	binary bool
}

// parse reads a request: JSON, and behind it binary tensors, if the header says where it ends.
func (s *Server) parse(all []byte, header string) (*asked, error) {
	text, raw := all, []byte(nil)
	if header != "" {
		n, err := strconv.Atoi(header)
		if err != nil || n < 0 || n > len(all) {
			return nil, bad("%s: %.40q: the request has %d bytes", headerLength, header, len(all))
		}
		text, raw = all[:n], all[n:]
	}
	var q question
	if err := json.Unmarshal(text, &q); err != nil {
		return nil, bad("the request is no JSON of an inference: %v", err)
	}
	if len(q.Inputs) != 1 || q.Inputs[0].Name != s.options.InputName {
		var names []string
		for _, in := range q.Inputs {
			names = append(names, in.Name)
		}
		return nil, bad("inputs %.200q: the model has one, %q", names, s.options.InputName)
	}
	a := &asked{id: q.ID}
	if err := errors.Join(q.Parameters.unknown(), q.Inputs[0].Parameters.unknown()); err != nil {
		return nil, err
	}
	var err error
	if a.x, a.rows, err = s.input(q.Inputs[0], raw); err != nil {
		return nil, err
	}
	a.wanted, err = s.wanted(q)
	return a, err
}

// input reads the input: rows of values in the order of a batch.
func (s *Server) input(in tensor, raw []byte) (x []float32, rows int, err error) {
	d, ok := datatypes[in.Datatype]
	if !ok {
		return nil, 0, bad("input %q: datatype %.40q: there are %s", in.Name, in.Datatype, datatypeNames())
	}
	shape := s.signature.Input
	if len(in.Shape) != len(shape)+1 || !slices.Equal(in.Shape[1:], shape) || in.Shape[0] < 1 {
		return nil, 0, bad("input %q: shape %v: the model takes %v, n inputs of %v", in.Name, in.Shape, s.metadata.Inputs[0].Shape, shape)
	}
	if rows = in.Shape[0]; rows > s.options.MaxRows {
		return nil, 0, &refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("%d inputs: at most %d are answered at once", rows,
			s.options.MaxRows)}
	}
	n := rows * s.size
	size, isBinary, err := in.Parameters.whole("binary_data_size")
	switch {
	case err != nil:
		return nil, 0, err
	case isBinary && len(in.Data) > 0 && string(in.Data) != "null":
		return nil, 0, bad("input %q: data is given in JSON and in binary", in.Name)
	case isBinary && size != len(raw):
		return nil, 0, bad("input %q: binary_data_size %d: behind the JSON there are %d bytes; %s says where it ends", in.Name, size, len(raw),
			headerLength)
	case !isBinary && len(raw) > 0:
		return nil, 0, bad("there are %d bytes behind the JSON, of no input: give its binary_data_size", len(raw))
	case isBinary:
		x, err = d.binary(raw, n)
	default:
		x, err = d.json(in.Data, in.Shape)
	}
	if err != nil {
		return nil, 0, bad("input %q: %v", in.Name, err)
	}
	for i, v := range x {
		if r := s.limits.RangeOf(i % s.size); !r.Contains(v) {
			return nil, 0, bad("input %q: element %d is %v: the model's inputs are in %v", in.Name, i, v, r)
		}
	}
	return x, rows, nil
}

// wanted returns which outputs are to be returned, and how: all that there are, if none is named.
func (s *Server) wanted(q question) ([]wanted, error) {
	all, err := q.Parameters.truth("binary_data_output", false)
	if err != nil {
		return nil, err
	}
	var list []wanted
	for _, o := range q.Outputs {
		if !slices.ContainsFunc(s.metadata.Outputs, func(m metadata) bool { return m.Name == o.Name }) ||
			slices.ContainsFunc(list, func(w wanted) bool { return w.name == o.Name }) {
			return nil, bad("output %.40q: the model has %s, each once", o.Name, outputList(s.metadata.Outputs))
		}
		w := wanted{name: o.Name}
		if err := o.Parameters.unknown(); err != nil {
			return nil, err
		}
		if w.binary, err = o.Parameters.truth("binary_data", all); err != nil {
			return nil, err
		}
		list = append(list, w)
	}
	if len(list) == 0 {
		for _, m := range s.metadata.Outputs {
			list = append(list, wanted{m.Name, all})
		}
	}
	return list, nil
}

func outputList(all []metadata) string {
	var names []string
	for _, m := range all {
		names = append(names, strconv.Quote(m.Name))
	}
	return strings.Join(names, " and ")
}

// answer is the JSON of a response.
type answer struct {
	ModelName    string   `json:"model_name"`
	ModelVersion string   `json:"model_version"`
	ID           string   `json:"id,omitempty"`
	Outputs      []tensor `json:"outputs"`
}

// respond returns the body of a response, and how long its JSON is if binary tensors follow, else 0.
func (s *Server) respond(a *asked, outs []output) (all []byte, header int, err error) {
	r := answer{ModelName: s.options.Name, ModelVersion: s.options.Version, ID: a.id}
	var raw bytes.Buffer
	isBinary := false
	for _, w := range a.wanted {
		o := outs[slices.IndexFunc(outs, func(o output) bool { return o.name == w.name })]
		t := tensor{Name: o.name, Datatype: o.datatype, Shape: o.shape}
		if w.binary {
			isBinary = true
			part := o.binary()
			t.Parameters = parameters{"binary_data_size": len(part)}
			raw.Write(part)
		} else {
			t.Data = o.json()
		}
		r.Outputs = append(r.Outputs, t)
	}
	if all, err = json.Marshal(r); err != nil || !isBinary {
		return all, 0, err
	}
	return append(all, raw.Bytes()...), len(all), nil
}
