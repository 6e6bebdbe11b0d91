package serve

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/gomlx/compute/dtypes/bfloat16"
	"github.com/gomlx/compute/dtypes/float16"

	"advlab/advlib"
)

// datatype is one of the protocol's types of numbers.
type datatype struct {
	size   int                    // bytes in binary
	read   func(b []byte) float64 // one element in binary, little-endian
	lo, hi float64                // of integers; equal for others
	truths bool                   // true and false are elements in JSON
}

var little = binary.LittleEndian

// datatypes are those that an input may have. BYTES are no numbers.
var datatypes = map[string]datatype{
	"BOOL":   {1, func(b []byte) float64 { return float64(b[0]) }, 0, 1, true},
	"UINT8":  {1, func(b []byte) float64 { return float64(b[0]) }, 0, math.MaxUint8, false},
	"UINT16": {2, func(b []byte) float64 { return float64(little.Uint16(b)) }, 0, math.MaxUint16, false},
	"UINT32": {4, func(b []byte) float64 { return float64(little.Uint32(b)) }, 0, math.MaxUint32, false},
	"UINT64": {8, func(b []byte) float64 { return float64(little.Uint64(b)) }, 0, math.MaxUint64, false},
	"INT8":   {1, func(b []byte) float64 { return float64(int8(b[0])) }, math.MinInt8, math.MaxInt8, false},
	"INT16":  {2, func(b []byte) float64 { return float64(int16(little.Uint16(b))) }, math.MinInt16, math.MaxInt16, false},
	"INT32":  {4, func(b []byte) float64 { return float64(int32(little.Uint32(b))) }, math.MinInt32, math.MaxInt32, false},
	"INT64":  {8, func(b []byte) float64 { return float64(int64(little.Uint64(b))) }, math.MinInt64, math.MaxInt64, false},
	"FP16":   {2, func(b []byte) float64 { return float64(float16.FromBits(little.Uint16(b)).Float32()) }, 0, 0, false},
	"BF16":   {2, func(b []byte) float64 { return float64(bfloat16.FromBits(little.Uint16(b)).Float32()) }, 0, 0, false},
	"FP32":   {4, func(b []byte) float64 { return float64(math.Float32frombits(little.Uint32(b))) }, 0, 0, false},
	"FP64":   {8, func(b []byte) float64 { return math.Float64frombits(little.Uint64(b)) }, 0, 0, false},
}

// datatypeNames are the names of datatypes, in order.
func datatypeNames() string {
	var names []string
	for name := range datatypes {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// check refuses a number that is none of the type.
func (d datatype) check(v float64) error {
	if d.lo != d.hi && (v != math.Trunc(v) || v < d.lo || v > d.hi) {
		return fmt.Errorf("%v is no whole number from %v to %v", v, d.lo, d.hi)
	}
	return nil
}

// binary reads n elements.
func (d datatype) binary(raw []byte, n int) ([]float32, error) {
	if len(raw) != n*d.size {
		return nil, fmt.Errorf("%d bytes for %d elements of %d: there must be %d", len(raw), n, d.size, n*d.size)
	}
	x := make([]float32, n)
	for i := range x {
		v := d.read(raw[i*d.size:])
		if err := d.check(v); err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
		x[i] = float32(v)
	}
	return x, nil
}

// json reads the elements of a tensor of that shape: a list of all, or lists within lists as the shape says. The text
// is valid JSON.
func (d datatype) json(text []byte, shape []int) ([]float32, error) {
	r := reader{text: text, of: d}
	if n := 1; r.nested() && len(shape) > 1 {
		return r.x, r.lists(shape)
	} else {
		for _, s := range shape {
			n *= s
		}
		return r.x, r.lists([]int{n})
	}
}

// reader reads lists of numbers.
type reader struct {
	text []byte
	of   datatype
	x    []float32
}

// nested tells whether a list begins with a list.
func (r *reader) nested() bool {
	text, ok := bytes.CutPrefix(bytes.TrimLeft(r.text, blanks), []byte("["))
	return ok && bytes.HasPrefix(bytes.TrimLeft(text, blanks), []byte("["))
}

const blanks = " \t\r\n"

// next returns the next byte that is no blank, 0 at the end.
func (r *reader) next() byte {
	r.text = bytes.TrimLeft(r.text, blanks)
	if len(r.text) == 0 {
		return 0
	}
	return r.text[0]
}

// lists reads a list of shape[0] lists of the rest of the shape.
func (r *reader) lists(shape []int) error {
	if r.next() != '[' {
		return errors.New("its data is no list of numbers, or lists of different depths")
	}
	r.text = r.text[1:]
	n := 0
	for ; r.next() != ']'; n++ {
		if n > 0 {
			if r.next() != ',' {
				return errors.New("its data is no list")
			}
			r.text = r.text[1:]
		}
		if n == shape[0] {
			return fmt.Errorf("its data has a list of more than %d elements", shape[0])
		}
		if len(shape) > 1 {
			if err := r.lists(shape[1:]); err != nil {
				return err
			}
		} else if err := r.number(); err != nil {
			return fmt.Errorf("element %d: %w", len(r.x), err)
		}
	}
	r.text = r.text[1:]
	if n < shape[0] {
		return fmt.Errorf("its data has a list of %d elements, where the shape says %d", n, shape[0])
	}
	return nil
}

// number reads a number, or a boolean where the type is one.
func (r *reader) number() error {
	r.next()
	end := bytes.IndexAny(r.text, ",]"+blanks)
	if end < 0 {
		end = len(r.text)
	}
	word := string(r.text[:end])
	r.text = r.text[end:]
	bits := 64
	switch {
	case r.of.truths && word == "true":
		word = "1"
	case r.of.truths && word == "false":
		word = "0"
	case r.of.lo == r.of.hi && r.of.size < 8:
		bits = 32 // rounded once
	}
	v, err := strconv.ParseFloat(word, bits)
	if err != nil || word == "" || !strings.ContainsRune("-0123456789", rune(word[0])) {
		return fmt.Errorf("%.40q is no number", word)
	}
	if err := r.of.check(v); err != nil {
		return err
	}
	r.x = append(r.x, float32(v))
	return nil
}

// output is a tensor of a response.
type output struct {
	name, datatype string
	shape          []int
	floats         []float32 // of FP32
	ints           []int64   // of INT64
}

// outputNames are the tensors of answers of a kind, in the order of their metadata.
func outputNames(r advlib.Returns) []metadata {
	switch r {
	case advlib.Label:
		return []metadata{{"label", "INT64", []int{-1, 1}}}
	case advlib.TopClasses:
		return []metadata{{"classes", "INT64", []int{-1, -1}}, {"probabilities", "FP32", []int{-1, -1}}}
	}
	return []metadata{{r.String(), "FP32", []int{-1, -1}}}
}

// outputs makes tensors of answers, in the order of their metadata. Of a rejected input scores are not a number, and
// classes are −1.
func outputs(answers []advlib.Answer, kind advlib.Returns, classes int) ([]output, error) {
	width := classes
	switch kind {
	case advlib.Label:
		width = 1
	case advlib.TopClasses:
		width = 1
		for _, a := range answers {
			width = max(width, len(a.Scores))
		}
	}
	var all []output
	for _, m := range outputNames(kind) {
		all = append(all, output{name: m.Name, datatype: m.Datatype, shape: []int{len(answers), width}})
	}
	for i, a := range answers {
		scores, labels := slices.Repeat([]float32{float32(math.NaN())}, width), slices.Repeat([]int64{-1}, width)
		switch {
		case a.Kind == advlib.Rejected:
		case a.Kind != kind || kind != advlib.Label && kind != advlib.TopClasses && len(a.Scores) != classes ||
			kind == advlib.TopClasses && len(a.Top) != len(a.Scores):
			return nil, fmt.Errorf("answer %d is %v with %d scores: the victim's signature says %v of %d classes", i, a.Kind, len(a.Scores), kind,
				classes)
		case kind == advlib.Label:
			labels[0] = int64(a.Label)
		default:
			copy(scores, a.Scores)
			for j, k := range a.Top {
				labels[j] = int64(k)
			}
		}
		for j := range all {
			if all[j].datatype == "INT64" {
				all[j].ints = append(all[j].ints, labels...)
			} else {
				all[j].floats = append(all[j].floats, scores...)
			}
		}
	}
	return all, nil
}

// binary returns the elements, little-endian.
func (o output) binary() []byte {
	var raw []byte
	for _, v := range o.floats {
		raw = little.AppendUint32(raw, math.Float32bits(v))
	}
	for _, v := range o.ints {
		raw = little.AppendUint64(raw, uint64(v))
	}
	return raw
}

// json returns the elements as one list. Floats have the digits that tell them from their neighbours.
func (o output) json() []byte {
	text := []byte{'['}
	for _, v := range o.floats {
		switch v := float64(v); {
		case math.IsNaN(v):
			text = append(text, `"NaN"`...)
		case math.IsInf(v, 0):
			text = append(text, map[bool]string{true: `"Infinity"`, false: `"-Infinity"`}[v > 0]...)
		default:
			text = strconv.AppendFloat(text, v, 'g', -1, 32)
		}
		text = append(text, ',')
	}
	for _, v := range o.ints {
		text = append(strconv.AppendInt(text, v, 10), ',')
	}
	if len(text) > 1 {
		text = text[:len(text)-1]
	}
	return append(text, ']')
}
