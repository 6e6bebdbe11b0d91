package onnx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"

	"github.com/gomlx/compute-onnx/support/protos"
	"github.com/gomlx/compute/dtypes/bfloat16"
	"github.com/gomlx/compute/dtypes/float16"
)

// maxBytes is the most that one tensor may take: what a protocol buffer can hold.
const maxBytes = 1 << 31

// tensor is a constant of the file: an initializer, or the value of a Constant. Exactly one of its slices is set.
type tensor struct {
	name   string
	dims   []int
	floats []float32
	wide   []float64 // of a file in double precision
	ints   []int64   // of any integer type
	bools  []bool
	short  bool // ints are int32
}

func (t *tensor) isFloat() bool { return t.floats != nil || t.wide != nil }

// type sizes of the element types that are read, in bytes.
var elementSize = map[protos.TensorProto_DataType]int{
	protos.TensorProto_FLOAT: 4, protos.TensorProto_DOUBLE: 8, protos.TensorProto_FLOAT16: 2, protos.TensorProto_BFLOAT16: 2,
	protos.TensorProto_INT64: 8, protos.TensorProto_INT32: 4, protos.TensorProto_BOOL: 1,
}

// readTensor takes a tensor out of a file; s is where its external data lies, nil if it may not have any.
func readTensor(p *protos.TensorProto, s *store) (*tensor, error) {
	kind := protos.TensorProto_DataType(p.GetDataType())
	width, ok := elementSize[kind]
	if !ok && quantisedType(kind) {
		return nil, fmt.Errorf("it has elements of type %v, as in a quantised model: %s", kind, floatAdvice)
	}
	if !ok {
		return nil, fmt.Errorf("it has elements of type %v: only float, double, float16, bfloat16, int64, int32 and bool are read", kind)
	}
	t := &tensor{name: p.GetName(), dims: make([]int, len(p.GetDims())), short: kind == protos.TensorProto_INT32}
	n := 1
	for i, d := range p.GetDims() {
		if d < 0 || d > maxBytes || n > 0 && int(d) > maxBytes/(n*width) {
			return nil, fmt.Errorf("its shape %v is negative or too large", p.GetDims())
		}
		t.dims[i] = int(d)
		n *= int(d)
	}
	if p.GetSegment() != nil {
		return nil, errors.New("it is stored in segments, which are not read")
	}
	raw := p.GetRawData()
	if len(p.GetExternalData()) > 0 || p.GetDataLocation() == protos.TensorProto_EXTERNAL {
		var err error
		if raw, err = external(p, s, n*width); err != nil {
			return nil, err
		}
	}
	if raw == nil {
		return t, t.fromFields(p, kind, n)
	}
	if len(raw) != n*width {
		return nil, fmt.Errorf("its shape %v takes %d bytes, the file has %d", t.dims, n*width, len(raw))
	}
	le := binary.LittleEndian
	switch kind {
	case protos.TensorProto_FLOAT:
		t.floats = collect(n, func(i int) float32 { return math.Float32frombits(le.Uint32(raw[4*i:])) })
	case protos.TensorProto_DOUBLE:
		t.wide = collect(n, func(i int) float64 { return math.Float64frombits(le.Uint64(raw[8*i:])) })
	case protos.TensorProto_FLOAT16:
		t.floats = collect(n, func(i int) float32 { return float16.FromBits(le.Uint16(raw[2*i:])).Float32() })
	case protos.TensorProto_BFLOAT16:
		t.floats = collect(n, func(i int) float32 { return bfloat16.FromBits(le.Uint16(raw[2*i:])).Float32() })
	case protos.TensorProto_INT64:
		t.ints = collect(n, func(i int) int64 { return int64(le.Uint64(raw[8*i:])) })
	case protos.TensorProto_INT32:
		t.ints = collect(n, func(i int) int64 { return int64(int32(le.Uint32(raw[4*i:]))) })
	case protos.TensorProto_BOOL:
		t.bools = collect(n, func(i int) bool { return raw[i] != 0 })
	}
	return t, nil
}

// fromFields reads the typed fields that ONNX has beside raw data. Half precision, int32 and bool share one.
func (t *tensor) fromFields(p *protos.TensorProto, kind protos.TensorProto_DataType, n int) error {
	var have int
	switch kind {
	case protos.TensorProto_FLOAT:
		have, t.floats = len(p.GetFloatData()), orEmpty(p.GetFloatData())
	case protos.TensorProto_DOUBLE:
		have, t.wide = len(p.GetDoubleData()), orEmpty(p.GetDoubleData())
	case protos.TensorProto_INT64:
		have, t.ints = len(p.GetInt64Data()), orEmpty(p.GetInt64Data())
	default:
		data := p.GetInt32Data()
		have = len(data)
		switch kind {
		case protos.TensorProto_FLOAT16:
			t.floats = collect(have, func(i int) float32 { return float16.FromBits(uint16(data[i])).Float32() })
		case protos.TensorProto_BFLOAT16:
			t.floats = collect(have, func(i int) float32 { return bfloat16.FromBits(uint16(data[i])).Float32() })
		case protos.TensorProto_INT32:
			t.ints = collect(have, func(i int) int64 { return int64(data[i]) })
		case protos.TensorProto_BOOL:
			t.bools = collect(have, func(i int) bool { return data[i] != 0 })
		}
	}
	if have != n {
		return fmt.Errorf("its shape %v has %d values, the file has %d", t.dims, n, have)
	}
	return nil
}

// external reads what the file keeps in another one.
func external(p *protos.TensorProto, s *store, size int) ([]byte, error) {
	entries := map[string]string{}
	for _, e := range p.GetExternalData() {
		entries[e.GetKey()] = e.GetValue()
	}
	location := entries["location"]
	if s == nil {
		return nil, fmt.Errorf("its values are in another file, %q: use Load, which looks beside the model's file, or save "+
			"the model as one file", location)
	}
	number := func(key string) (int64, error) {
		if entries[key] == "" {
			return 0, nil
		}
		v, err := strconv.ParseInt(entries[key], 10, 64)
		if err != nil || v < 0 {
			return 0, fmt.Errorf("the %s %q of its external data is not a number of bytes", key, entries[key])
		}
		return v, nil
	}
	offset, err := number("offset")
	if err != nil {
		return nil, err
	}
	length, err := number("length")
	if err != nil {
		return nil, err
	}
	if length != 0 && length != int64(size) {
		return nil, fmt.Errorf("it takes %d bytes, its external data has %d", size, length)
	}
	f, err := s.open(location)
	if err != nil {
		return nil, fmt.Errorf("its values are in another file, %q: %w", location, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() < offset || info.Size()-offset < int64(size) {
		return nil, fmt.Errorf("it takes %d bytes from byte %d of %q, which has %d", size, offset, location, info.Size())
	}
	raw := make([]byte, size)
	_, err = f.ReadAt(raw, offset)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return raw, err
}

// proto writes the tensor for onnx-gomlx, its floats as kind.
func (t *tensor) proto(kind protos.TensorProto_DataType) *protos.TensorProto {
	p := &protos.TensorProto{Name: t.name, Dims: int64s(t.dims)}
	le := binary.LittleEndian
	switch {
	case t.isFloat() && kind == protos.TensorProto_DOUBLE:
		p.DataType = int32(kind)
		for _, v := range t.float64s() {
			p.RawData = le.AppendUint64(p.RawData, math.Float64bits(v))
		}
	case t.isFloat():
		p.DataType = int32(protos.TensorProto_FLOAT)
		for _, v := range t.float32s() {
			p.RawData = le.AppendUint32(p.RawData, math.Float32bits(v))
		}
	case t.bools != nil:
		p.DataType = int32(protos.TensorProto_BOOL)
		for _, v := range t.bools {
			b := byte(0)
			if v {
				b = 1
			}
			p.RawData = append(p.RawData, b)
		}
	case t.short:
		p.DataType = int32(protos.TensorProto_INT32)
		for _, v := range t.ints {
			p.RawData = le.AppendUint32(p.RawData, uint32(int32(v)))
		}
	default:
		p.DataType = int32(protos.TensorProto_INT64)
		for _, v := range t.ints {
			p.RawData = le.AppendUint64(p.RawData, uint64(v))
		}
	}
	return p
}

func (t *tensor) float32s() []float32 {
	if t.wide == nil {
		return t.floats
	}
	return collect(len(t.wide), func(i int) float32 { return float32(t.wide[i]) })
}

func (t *tensor) float64s() []float64 {
	if t.wide != nil {
		return t.wide
	}
	return collect(len(t.floats), func(i int) float64 { return float64(t.floats[i]) })
}

func int64s(v []int) []int64 { return collect(len(v), func(i int) int64 { return int64(v[i]) }) }

func collect[T any](n int, at func(int) T) []T {
	s := make([]T, n)
	for i := range s {
		s[i] = at(i)
	}
	return s
}

func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return slices.Clone(s)
}
