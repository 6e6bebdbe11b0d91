package vnnlib

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/big"
	"os"
	"strings"
)

// Open reads a file, plain or compressed by gzip.
func Open(path string) (*Property, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("vnnlib: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("vnnlib: %s: it is no file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("vnnlib: %w", err)
	}
	defer f.Close()
	p, err := read(f)
	if err != nil {
		return nil, fmt.Errorf("vnnlib: %s: %w", path, err)
	}
	return p, nil
}

// Read reads a property, plain or compressed by gzip.
func Read(r io.Reader) (*Property, error) {
	p, err := read(r)
	if err != nil {
		return nil, fmt.Errorf("vnnlib: %w", err)
	}
	return p, nil
}

func read(from io.Reader) (*Property, error) {
	text, err := limited(from)
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(text, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(bytes.NewReader(text))
		if err == nil {
			text, err = limited(z)
		}
		if err != nil {
			return nil, fmt.Errorf("it is compressed by gzip, and cannot be expanded: %w: download it again", err)
		}
	}
	r := reader{declared: map[variable]bool{}, all: []conjunction{{}}}
	s := newScanner(text)
	for {
		t, ok, err := s.next()
		if err != nil {
			return nil, err
		}
		if !ok {
			return r.property(s.at)
		}
		if err := r.command(t); err != nil {
			return nil, err
		}
	}
}

func limited(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxBytes+1))
	if err == nil && len(text) > maxBytes {
		err = fmt.Errorf("it has more than %d bytes", maxBytes)
	}
	return text, err
}

// reader is what has been read so far.
type reader struct {
	declared map[variable]bool
	all      []conjunction // of the assertions
	numbers  int           // of conditions made by multiplying out
}

func (r *reader) command(t term) error {
	if t.atom != "" || len(t.list) == 0 || t.list[0].atom == "" {
		return t.errorf("a command such as (declare-const X_0 Real) or (assert (<= X_0 1)) should be here, not %v", t)
	}
	name, args := t.list[0], t.list[1:]
	switch name.atom {
	case "declare-const":
		if len(args) != 2 {
			return t.errorf("a declaration is written (declare-const X_0 Real)")
		}
		return r.declare(args[0], args[1])
	case "declare-fun":
		if len(args) != 3 || args[1].atom != "" || len(args[1].list) > 0 {
			return t.errorf("a declaration is written (declare-const X_0 Real), or (declare-fun X_0 () Real)")
		}
		return r.declare(args[0], args[2])
	case "assert":
		if len(args) != 1 {
			return t.errorf("an assertion has one condition, as in (assert (<= X_0 1)), not %d: join them by and", len(args))
		}
		f, err := r.formulaOf(args[0])
		if err == nil {
			r.all, err = r.product(t, r.all, f)
		}
		return err
	case "set-logic", "set-info", "set-option", "check-sat", "get-model", "exit":
		return nil
	case "vnnlib-version", "declare-network", "declare-input", "declare-output":
		return t.errorf("%v belongs to VNN-LIB 2.0, which is not read: use the property's version in VNN-LIB 1.0", name)
	}
	return name.errorf("%v is no command: there are declare-const and assert", name)
}

func (r *reader) declare(name, sort term) error {
	v, err := variableOf(name)
	switch {
	case err != nil:
		return err
	case sort.atom != "Real":
		return sort.errorf("%v is of the sort %v: only Real is read", v, sort)
	case r.declared[v]:
		return name.errorf("%v is declared twice", v)
	}
	r.declared[v] = true
	return nil
}

// property puts together what was read; at is the end of the file.
func (r *reader) property(at Place) (*Property, error) {
	p := &Property{}
	last := map[bool]int{false: -1, true: -1}
	count := map[bool]int{}
	for v := range r.declared {
		last[v.output] = max(last[v.output], v.index)
		count[v.output]++
	}
	for _, output := range []bool{false, true} {
		if count[output] == 0 {
			return nil, at.errorf("the file ends without a declaration of %v: is it a VNN-LIB file, and complete?", variable{output, 0})
		}
		for i := range last[output] {
			if v := (variable{output, i}); !r.declared[v] {
				return nil, at.errorf("%v is not declared, but %v is: variables are counted from 0 without gaps", v, variable{output, last[output]})
			}
		}
	}
	p.Inputs, p.Outputs = count[false], count[true]
	if n := len(r.all); n > 0 && n*p.Inputs > maxNumbers {
		return nil, at.errorf("%d alternatives over %d inputs are more than %d bounds", n, p.Inputs, maxNumbers)
	}
	rows := 0
	for _, c := range r.all {
		rows += len(c.rows)
	}
	if rows*p.Outputs > maxNumbers {
		return nil, at.errorf("%d conditions on %d outputs are more than %d coefficients", rows, p.Outputs, maxNumbers)
	}
	places := map[string]int{}
	for _, c := range r.all {
		box, empty, err := r.box(c, p.Inputs, at)
		if err != nil {
			return nil, err
		}
		if empty {
			continue
		}
		unsafe := make([]Condition, len(c.rows))
		for i, w := range c.rows {
			unsafe[i] = Condition{Row: make([]*big.Rat, p.Outputs), Bound: w.bound, Strict: w.strict}
			for k := range unsafe[i].Row {
				unsafe[i].Row[k] = zero
			}
			for v, coefficient := range w.coefficients {
				unsafe[i].Row[v.index] = coefficient
			}
		}
		key := ""
		if len(r.all) > 1 {
			key = box.key()
		}
		i, known := places[key]
		if !known {
			i = len(p.Cases)
			places[key] = i
			p.Cases = append(p.Cases, box)
		}
		p.Cases[i].Unsafe = append(p.Cases[i].Unsafe, unsafe)
	}
	if rows == 0 && len(p.Cases) > 0 { // every input of the box would be a counterexample, whatever the network is
		return nil, at.errorf("no output is constrained: assert which outputs are unsafe, as in (assert (<= Y_0 Y_1)); is the file complete?")
	}
	return p, nil
}

// box intersects the bounds of a conjunction. It is an error if an input has none.
func (r *reader) box(c conjunction, inputs int, at Place) (box Case, empty bool, err error) {
	box = Case{Lower: make([]*big.Rat, inputs), Upper: make([]*big.Rat, inputs)}
	for _, b := range c.bounds {
		if lower := box.Lower[b.index]; b.below && (lower == nil || b.value.Cmp(lower) > 0) {
			box.Lower[b.index] = b.value
		}
		if upper := box.Upper[b.index]; !b.below && (upper == nil || b.value.Cmp(upper) < 0) {
			box.Upper[b.index] = b.value
		}
	}
	for i := range inputs {
		switch {
		case box.Lower[i] == nil:
			return box, false, at.errorf("the input X_%d has no lower bound, or not in every alternative: assert (>= X_%d …)", i, i)
		case box.Upper[i] == nil:
			return box, false, at.errorf("the input X_%d has no upper bound, or not in every alternative: assert (<= X_%d …)", i, i)
		}
		empty = empty || box.Lower[i].Cmp(box.Upper[i]) > 0
	}
	return box, empty, nil
}

// key is the same for equal boxes only.
func (c Case) key() string {
	var s strings.Builder
	for i := range c.Lower {
		s.WriteString(c.Lower[i].RatString())
		s.WriteByte(' ')
		s.WriteString(c.Upper[i].RatString())
		s.WriteByte(' ')
	}
	return s.String()
}
