// Package pickle reads data from the pickles of Python, and runs nothing.
//
//	v, err := pickle.Read(file)
//	batch, ok := v.(pickle.Dict)
//
// A pickle is a program for a small machine that can call any function of Python; this one knows numbers, text, bytes,
// lists, tuples, dicts and arrays of NumPy, and refuses every other name before anything is made of it.
package pickle

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// Dict is a dict of Python whose keys are text or bytes: b"data" and "data" are the same key, as Python 2 wrote the one
// where Python 3 reads the other.
type Dict map[string]any

// Array is an array of NumPy, in C order.
type Array struct {
	// Shape is the shape, of no axis for a single number.
	Shape []int
	// Type is the dtype as NumPy writes it: "u1", "i8", "f4".
	Type string
	// Data are the bytes of the elements, little endian where they have more than one.
	Data []byte
}

// maxBytes is the longest text, and maxItems the most objects, that a pickle is read with: CIFAR-100 has one of 150 MB
// and 200000.
const (
	maxBytes = 1 << 30
	maxItems = 1 << 21
)

// The values on the machine's stack that are no data.
type (
	mark   struct{}
	global string // a name such as "numpy ndarray"
	dtype  struct {
		name  string
		order string
	}
)

// list is a list of Python while it is filled.
type list struct{ items []any }

// known are the only names that a pickle may have, as protocols 2 to 5 write arrays, and bytes in protocol 2.
var known = map[global]bool{
	"numpy.core.multiarray _reconstruct": true, "numpy._core.multiarray _reconstruct": true,
	"numpy.core.numeric _frombuffer": true, "numpy._core.numeric _frombuffer": true,
	"numpy ndarray": true, "numpy dtype": true, "_codecs encode": true,
}

// machine is the state while a pickle is read.
type machine struct {
	in    *bufio.Reader
	stack []any
	memo  map[int]any
	items int
}

// Read reads one pickle, of protocol 0 to 5. It returns nil, bool, int64, float64, string (of bytes too), []any (of
// lists and tuples), [Dict] or *[Array]. Memory is taken as data arrives, not as lengths promise.
func Read(r io.Reader) (any, error) {
	m := &machine{in: bufio.NewReader(r), memo: map[int]any{}}
	for {
		op, err := m.in.ReadByte()
		if err != nil {
			return nil, cut(err)
		}
		if op == '.' {
			v, err := m.pop()
			if err != nil {
				return nil, err
			}
			left := maxItems
			return plain(v, &left, 0)
		}
		if m.items++; m.items > maxItems {
			return nil, fmt.Errorf("it has more than %d objects", maxItems)
		}
		if err := m.do(op); err != nil {
			return nil, cut(err)
		}
	}
}

func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("it is no pickle, or ends too early: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// do carries out one instruction. The letters are those of Python's pickletools.
func (m *machine) do(op byte) error {
	switch op {
	case 0x80: // PROTO
		n, err := m.in.ReadByte()
		if err == nil && n > 5 {
			err = fmt.Errorf("it has protocol %d, up to 5 are read", n)
		}
		return err
	case 0x95: // FRAME
		_, err := m.number(8)
		return err
	case '(':
		return m.push(mark{}, nil)
	case 'N':
		return m.push(nil, nil)
	case 0x88, 0x89:
		return m.push(op == 0x88, nil)
	case '0':
		_, err := m.pop()
		return err
	case '2':
		v, err := m.top()
		return m.push(v, err)
	case 'K', 'M', 'J', 0x8a, 'I', 'L', 'G', 'F':
		return m.numeric(op)
	case 'U', 'T', 'X', 'V', 'S', 'C', 'B', 0x8c, 0x8d, 0x8e, 0x96:
		return m.text(op)
	case ']', '}', ')', 'a', 'e', 's', 'u', 't', 'l', 'd', 0x85, 0x86, 0x87:
		return m.container(op)
	case 'q', 'r', 'p', 0x94, 'h', 'j', 'g':
		return m.memory(op)
	case 'c', 0x93:
		return m.name(op)
	case 'R':
		return m.reduce()
	case 'b':
		return m.build()
	}
	return fmt.Errorf("it has the instruction %#02x, which builds an object of Python: only numbers, text and NumPy's arrays are read", op)
}

func (m *machine) push(v any, err error) error {
	if err == nil {
		m.stack = append(m.stack, v)
	}
	return err
}

func (m *machine) pop() (any, error) {
	v, err := m.top()
	if err == nil {
		m.stack = m.stack[:len(m.stack)-1]
	}
	return v, err
}

func (m *machine) top() (any, error) {
	if len(m.stack) == 0 {
		return nil, fmt.Errorf("it takes a value where there is none: it is damaged")
	}
	return m.stack[len(m.stack)-1], nil
}

// since returns what lies above the last mark.
func (m *machine) since() ([]any, error) {
	for i := len(m.stack) - 1; i >= 0; i-- {
		if _, ok := m.stack[i].(mark); ok {
			items := append([]any(nil), m.stack[i+1:]...)
			m.stack = m.stack[:i]
			return items, nil
		}
	}
	return nil, fmt.Errorf("it takes values up to a mark where there is none: it is damaged")
}

// number reads a number of so many bytes, little endian.
func (m *machine) number(bytes int) (uint64, error) {
	var b [8]byte
	_, err := io.ReadFull(m.in, b[:bytes])
	return binary.LittleEndian.Uint64(b[:]), err
}

// line reads up to the end of the line.
func (m *machine) line() (string, error) {
	const most = 1 << 16
	var b strings.Builder
	for {
		c, err := m.in.ReadByte()
		if err != nil {
			return "", err
		}
		if c == '\n' {
			return b.String(), nil
		}
		if b.Len() == most {
			return "", fmt.Errorf("it has a line of more than %d bytes", most)
		}
		b.WriteByte(c)
	}
}

// bytes reads so many bytes.
func (m *machine) bytes(n uint64) (string, error) {
	if n > maxBytes {
		return "", fmt.Errorf("it has a text of %d bytes, up to %d are read", n, maxBytes)
	}
	b, err := io.ReadAll(io.LimitReader(m.in, int64(n)))
	if err == nil && uint64(len(b)) < n {
		err = io.ErrUnexpectedEOF
	}
	return string(b), err
}

func (m *machine) numeric(op byte) error {
	var v any
	var n uint64
	var s string
	var err error
	switch op {
	case 'K':
		n, err = m.number(1)
		v = int64(n)
	case 'M':
		n, err = m.number(2)
		v = int64(n)
	case 'J':
		n, err = m.number(4)
		v = int64(int32(n))
	case 'G':
		var b [8]byte
		_, err = io.ReadFull(m.in, b[:])
		v = math.Float64frombits(binary.BigEndian.Uint64(b[:]))
	case 0x8a: // LONG1
		if n, err = m.number(1); err == nil {
			s, err = m.bytes(n)
		}
		if n > 8 {
			return fmt.Errorf("it has a whole number of %d bytes, up to 8 are read", n)
		}
		v = twosComplement(s)
	case 'F':
		if s, err = m.line(); err == nil {
			v, err = strconv.ParseFloat(s, 64)
		}
	default: // I and L, in text
		if s, err = m.line(); err == nil && op == 'I' && (s == "00" || s == "01") {
			return m.push(s == "01", nil)
		}
		if err == nil {
			v, err = strconv.ParseInt(strings.TrimSuffix(s, "L"), 10, 64)
		}
	}
	return m.push(v, err)
}

// twosComplement is the number of up to 8 bytes, little endian.
func twosComplement(s string) int64 {
	var v uint64
	for i := range len(s) {
		v |= uint64(s[i]) << (8 * i)
	}
	if n := len(s); n > 0 && n < 8 && s[n-1] >= 0x80 {
		v -= 1 << (8 * n)
	}
	return int64(v)
}

func (m *machine) text(op byte) error {
	width := map[byte]int{'U': 1, 'T': 4, 'X': 4, 'C': 1, 'B': 4, 0x8c: 1, 0x8d: 8, 0x8e: 8, 0x96: 8}[op]
	if width > 0 {
		n, err := m.number(width)
		if err != nil {
			return err
		}
		s, err := m.bytes(n)
		return m.push(s, err)
	}
	s, err := m.line()
	if err == nil && op == 'S' {
		if len(s) < 2 || (s[0] != '\'' && s[0] != '"') || s[len(s)-1] != s[0] {
			return fmt.Errorf("it has a text without quotes")
		}
		s = s[1 : len(s)-1]
		if strings.Contains(s, `\`) {
			return fmt.Errorf("it is of protocol 0, and has a text with a backslash: write it again with protocol 2")
		}
	}
	return m.push(s, err)
}

func (m *machine) container(op byte) error {
	switch op {
	case ']':
		return m.push(&list{}, nil)
	case '}':
		return m.push(Dict{}, nil)
	case ')':
		return m.push([]any{}, nil)
	case 0x85, 0x86, 0x87: // TUPLE1 to TUPLE3
		n := int(op-0x85) + 1
		if len(m.stack) < n {
			return fmt.Errorf("it takes a value where there is none: it is damaged")
		}
		items := append([]any(nil), m.stack[len(m.stack)-n:]...)
		m.stack = m.stack[:len(m.stack)-n]
		return m.push(items, nil)
	case 't', 'l', 'd':
		items, err := m.since()
		if err != nil {
			return err
		}
		switch op {
		case 't':
			return m.push(items, nil)
		case 'l':
			return m.push(&list{items}, nil)
		}
		d := Dict{}
		return m.push(d, d.put(items))
	}
	var items []any
	var err error
	switch op {
	case 'a':
		var v any
		v, err = m.pop()
		items = []any{v}
	case 's':
		var k, v any
		if v, err = m.pop(); err == nil {
			k, err = m.pop()
		}
		items = []any{k, v}
	default:
		items, err = m.since()
	}
	if err != nil {
		return err
	}
	to, err := m.top()
	if err != nil {
		return err
	}
	switch to := to.(type) {
	case *list:
		if op == 'a' || op == 'e' {
			to.items = append(to.items, items...)
			return nil
		}
	case Dict:
		if op == 's' || op == 'u' {
			return to.put(items)
		}
	}
	return fmt.Errorf("it appends to a %T: it is damaged", to)
}

// put adds keys and values in turn.
func (d Dict) put(items []any) error {
	if len(items)%2 != 0 {
		return fmt.Errorf("a dict has a key without a value")
	}
	for i := 0; i < len(items); i += 2 {
		key, ok := items[i].(string)
		if !ok {
			return fmt.Errorf("a dict has a key that is no text, %v", items[i])
		}
		d[key] = items[i+1]
	}
	return nil
}

func (m *machine) memory(op byte) error {
	var n uint64
	var err error
	switch op {
	case 'q', 'h':
		n, err = m.number(1)
	case 'r', 'j':
		n, err = m.number(4)
	case 'p', 'g':
		var s string
		if s, err = m.line(); err == nil {
			n, err = strconv.ParseUint(s, 10, 32)
		}
	case 0x94:
		n = uint64(len(m.memo))
	}
	if err != nil {
		return err
	}
	if op == 'h' || op == 'j' || op == 'g' {
		v, ok := m.memo[int(n)]
		if !ok {
			return fmt.Errorf("it refers to the object %d, which there is not: it is damaged", n)
		}
		return m.push(v, nil)
	}
	v, err := m.top()
	if err == nil {
		m.memo[int(n)] = v
	}
	return err
}

// name reads the name of a class or function, and refuses all but those that arrays need.
func (m *machine) name(op byte) error {
	var module, name string
	var err error
	if op == 'c' {
		if module, err = m.line(); err == nil {
			name, err = m.line()
		}
	} else {
		var a, b any
		if b, err = m.pop(); err == nil {
			a, err = m.pop()
		}
		module, _ = a.(string)
		name, _ = b.(string)
	}
	if err != nil {
		return err
	}
	g := global(module + " " + name)
	if !known[g] {
		return fmt.Errorf("it asks for %.100q of the module %.100q: only numbers, text and NumPy's arrays are read, and nothing is run",
			name, module)
	}
	return m.push(g, nil)
}

// reduce carries out the calls that make an array.
func (m *machine) reduce() error {
	args, err := m.pop()
	if err != nil {
		return err
	}
	f, err := m.pop()
	if err != nil {
		return err
	}
	list, ok := args.([]any)
	name, isName := f.(global)
	if !ok || !isName {
		return fmt.Errorf("it calls a %T: it is damaged", f)
	}
	switch {
	case strings.HasSuffix(string(name), " _reconstruct"):
		return m.push(&Array{}, nil)
	case name == "numpy dtype" && len(list) > 0:
		text, ok := list[0].(string)
		if !ok {
			return fmt.Errorf("a dtype is %v: names such as u1 are read", list[0])
		}
		return m.push(&dtype{name: text}, nil)
	case name == "_codecs encode" && len(list) == 2:
		text, _ := list[0].(string)
		if list[1] != "latin1" && list[1] != "latin-1" {
			return fmt.Errorf("it encodes a text as %v: latin1 is read", list[1])
		}
		b := make([]byte, 0, len(text))
		for _, r := range text {
			if r > 255 {
				return fmt.Errorf("it encodes %q as latin1, which has it not", r)
			}
			b = append(b, byte(r))
		}
		return m.push(string(b), nil)
	case strings.HasSuffix(string(name), " _frombuffer") && len(list) >= 3: // protocol 5: buffer, dtype, shape, order
		a, err := arrayOf(list[2], list[1], len(list) > 3 && list[3] == "F", list[0])
		return m.push(a, err)
	}
	return fmt.Errorf("it calls %s with %d values: that is not read", name, len(list))
}

// build gives the state to a dtype or an array.
func (m *machine) build() error {
	state, err := m.pop()
	if err != nil {
		return err
	}
	to, err := m.top()
	if err != nil {
		return err
	}
	items, _ := state.([]any)
	switch to := to.(type) {
	case *dtype: // (version, byte order, …)
		if len(items) < 2 {
			return fmt.Errorf("a dtype has the state %v", state)
		}
		to.order, _ = items[1].(string)
		return nil
	case *Array: // (version, shape, dtype, Fortran's order, data)
		if len(items) != 5 {
			return fmt.Errorf("an array has a state of %d values, not 5", len(items))
		}
		a, err := arrayOf(items[1], items[2], items[3] == true, items[4])
		if err == nil {
			*to = *a
		}
		return err
	}
	return fmt.Errorf("it sets the state of a %T: that is not read", to)
}

// arrayOf checks and makes an array.
func arrayOf(shape, kind any, fortran bool, data any) (*Array, error) {
	dims, _ := shape.([]any)
	t, ok := kind.(*dtype)
	text, isText := data.(string)
	if shape == nil || !ok || !isText {
		return nil, fmt.Errorf("an array of a %T has the shape %v and a %T as data: arrays of numbers are read", kind, shape, data)
	}
	width, err := strconv.Atoi(strings.TrimLeft(t.name, "<>|=biuf"))
	if err != nil || len(t.name) < 2 || width < 1 || width > 8 {
		return nil, fmt.Errorf("an array has the dtype %.20q: booleans, whole numbers and floats are read", t.name)
	}
	a, n := &Array{Type: strings.TrimLeft(t.name, "<>|="), Data: []byte(text)}, big.NewInt(int64(width))
	for _, d := range dims {
		k, ok := d.(int64)
		if !ok || k < 0 {
			return nil, fmt.Errorf("an array has the shape %v", shape)
		}
		a.Shape = append(a.Shape, int(k))
		n.Mul(n, big.NewInt(k))
	}
	if n.Cmp(big.NewInt(int64(len(text)))) != 0 {
		return nil, fmt.Errorf("an array of dtype %s and shape %v has %d bytes", a.Type, a.Shape, len(text))
	}
	if fortran && len(a.Shape) > 1 {
		return nil, fmt.Errorf("an array of shape %v is in Fortran's order: save numpy.ascontiguousarray of it", a.Shape)
	}
	if t.order == ">" || strings.HasPrefix(t.name, ">") {
		for i := 0; i+width <= len(a.Data); i += width {
			for j := range width / 2 {
				a.Data[i+j], a.Data[i+width-1-j] = a.Data[i+width-1-j], a.Data[i+j]
			}
		}
	}
	return a, nil
}

// plain replaces the lists by slices, and refuses what is no data, and a list within itself. left counts down the
// objects: a few lists that hold each other twice over would become very many.
func plain(v any, left *int, depth int) (any, error) {
	const deepest = 1000
	if *left--; *left < 0 || depth > deepest {
		return nil, fmt.Errorf("it has more than %d objects, or nests them deeper than %d", maxItems, deepest)
	}
	var items []any
	switch v := v.(type) {
	case *list:
		items = v.items
	case []any:
		items = v
	case Dict:
		out := Dict{}
		for k, item := range v {
			var err error
			if out[k], err = plain(item, left, depth+1); err != nil {
				return nil, err
			}
		}
		return out, nil
	case mark, global, *dtype:
		return nil, fmt.Errorf("it holds a %T that is no data", v)
	case *Array:
		if v.Type == "" {
			return nil, fmt.Errorf("it holds an array without its state: it is damaged")
		}
		return v, nil
	default:
		return v, nil
	}
	out := make([]any, len(items))
	for i, item := range items {
		var err error
		if out[i], err = plain(item, left, depth+1); err != nil {
			return nil, err
		}
	}
	return out, nil
}
