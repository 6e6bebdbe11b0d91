package attack

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

// # Attacks in JSON
//
// An attack in JSON is an object with the name of its type, and those of its fields that are set, by their names in Go:
//
//	{"attack": "PGD", "Ball": {"norm": "Linf", "radius": "8/255"}, "Loss": "Margin", "Steps": 100}
//
// What is left out has its default, as in Go. Balls have a radius, which may be a fraction in quotes; norms and losses
// are those of package advlib, by name; a Goal is {"targeted": true, "class": 3}; an attack that runs others holds them
// as objects. Fields that the attack does not have are refused, and so are values that its table refuses.

// JSON returns an attack in JSON, which [FromJSON] reads: of this package, or one of the user's own that is a struct
// with such fields. It is an error if a field has no form in JSON, such as a classifier, or a loss of the user's own.
func JSON(a advlib.Attack) ([]byte, error) {
	text, err := written(a)
	if err != nil {
		return nil, fmt.Errorf("an attack in JSON: %w", err)
	}
	return text, nil
}

// FromJSON returns the attack that [JSON] wrote. Own are attacks of the user's own that it may be, besides those of
// this package: their zero values will do.
func FromJSON(text []byte, own ...advlib.Attack) (advlib.Attack, error) {
	return Reader{Own: own}.Read(text)
}

// Reader reads attacks from JSON.
type Reader struct {
	// Own are attacks that are known besides those of this package, by their types.
	Own []advlib.Attack
	// Ball is that of attacks without one of their own; its norm is that of attacks without a Norm. Unset leaves them so,
	// which is refused.
	Ball advlib.Ball
}

// Read returns the attack, with its fields checked.
func (r Reader) Read(text []byte) (advlib.Attack, error) {
	a, err := r.read(text)
	if err != nil {
		return nil, fmt.Errorf("an attack in JSON: %w", err)
	}
	return a, nil
}

// typeField is the key of an attack's type.
const typeField = "attack"

// written returns an attack in JSON. Fields are in the order of the struct.
func written(a advlib.Attack) ([]byte, error) {
	if a == nil {
		return nil, fmt.Errorf("the attack is nil")
	}
	v := reflect.ValueOf(a)
	if v.Kind() != reflect.Struct {
		return nil, fmt.Errorf("%v is a %T: only an attack that is a struct has a form in JSON", a, a)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"%s":%q`, typeField, v.Type().Name())
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if v.Field(i).IsZero() {
			continue
		}
		if !field.IsExported() {
			return nil, fmt.Errorf("%v has the field %s, which is not exported: only what can be set from outside can be read again", a, field.Name)
		}
		text, err := writtenField(v.Field(i).Interface())
		if err != nil {
			return nil, fmt.Errorf("%s of %v: %w", field.Name, a, err)
		}
		fmt.Fprintf(&b, ",%q:%s", field.Name, text)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// ballJSON is a ball in JSON.
type ballJSON struct {
	Norm   string `json:"norm"`
	Radius radius `json:"radius"`
}

// radius is a number, or a fraction in quotes.
type radius float64

func (r *radius) UnmarshalJSON(text []byte) error {
	var fraction string
	if json.Unmarshal(text, &fraction) != nil {
		return json.Unmarshal(text, (*float64)(r))
	}
	over, under, found := strings.Cut(fraction, "/")
	a, errA := strconv.ParseFloat(strings.TrimSpace(over), 64)
	b, errB := strconv.ParseFloat(strings.TrimSpace(under), 64)
	if !found || errA != nil || errB != nil || b == 0 {
		return fmt.Errorf(`the radius %s is neither a number nor a fraction such as "8/255"`, text)
	}
	*r = radius(a / b)
	return nil
}

func writtenField(value any) ([]byte, error) {
	switch value := value.(type) {
	case advlib.Ball:
		if _, err := normNamed(value.Norm.String()); err != nil {
			return nil, err
		}
		return json.Marshal(ballJSON{value.Norm.String(), radius(value.Radius)})
	case advlib.Norm:
		if _, err := normNamed(value.String()); err != nil {
			return nil, err
		}
		return json.Marshal(value.String())
	case advlib.Loss:
		if known, err := lossNamed(value.String()); err != nil || known != value {
			return nil, cmp.Or(err, fmt.Errorf("the loss %v is not the one of package advlib", value))
		}
		return json.Marshal(value.String())
	case advlib.Attack:
		return written(value)
	case []advlib.Attack:
		all := make([]json.RawMessage, len(value))
		for i, a := range value {
			var err error
			if all[i], err = written(a); err != nil {
				return nil, err
			}
		}
		return json.Marshal(all)
	}
	if !plain(reflect.TypeOf(value)) {
		return nil, fmt.Errorf("a %T has no form in JSON: make this attack in Go", value)
	}
	return json.Marshal(value)
}

// plain tells whether values of a type are written as they are: those without pointers, functions and interfaces, or
// with a form of their own.
func plain(t reflect.Type) bool {
	if t.Implements(reflect.TypeFor[json.Marshaler]()) || t.Implements(reflect.TypeFor[interface{ MarshalText() ([]byte, error) }]()) {
		return true
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Func, reflect.Chan, reflect.Interface, reflect.UnsafePointer, reflect.Uintptr:
		return false
	case reflect.Slice, reflect.Array:
		return plain(t.Elem())
	case reflect.Map:
		return plain(t.Key()) && plain(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if !t.Field(i).IsExported() || !plain(t.Field(i).Type) {
				return false
			}
		}
	}
	return true
}

func (r Reader) read(text []byte) (advlib.Attack, error) {
	fields, err := objectOf(text)
	if err != nil {
		return nil, err
	}
	var name string
	if err := json.Unmarshal(fields[typeField], &name); err != nil || name == "" {
		return nil, fmt.Errorf("it has no %q with the name of an attack's type, such as \"PGD\"", typeField)
	}
	delete(fields, typeField)
	t, err := r.typeNamed(name)
	if err != nil {
		return nil, err
	}
	at := reflect.New(t)
	v := at.Elem()
	for key, value := range fields {
		field, ok := t.FieldByName(key)
		if !ok || !field.IsExported() {
			return nil, fmt.Errorf("%s has no field %q: it has %s", name, key, fieldsOf(t))
		}
		if err := r.readField(v.FieldByIndex(field.Index).Addr().Interface(), value); err != nil {
			return nil, fmt.Errorf("%s of %s: %w", key, name, err)
		}
	}
	r.fill(v)
	a := v.Interface().(advlib.Attack)
	if d, ok := at.Interface().(craft.Described); ok { // which fills in its defaults: a is a copy
		if err := craft.Describe(d).Err(); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return a, nil
}

// fill gives an attack without a ball, or without a norm, the reader's.
func (r Reader) fill(v reflect.Value) {
	if r.Ball.Norm == nil {
		return
	}
	for i := range v.NumField() {
		if !v.Type().Field(i).IsExported() {
			continue
		}
		switch field := v.Field(i).Addr().Interface().(type) {
		case *advlib.Ball:
			if field.Norm == nil {
				*field = r.Ball
			}
		case *advlib.Norm:
			if *field == nil {
				*field = r.Ball.Norm
			}
		}
	}
}

func (r Reader) readField(to any, text json.RawMessage) error {
	switch to := to.(type) {
	case *advlib.Ball:
		var b ballJSON
		if err := strictly(text, &b); err != nil {
			return err
		}
		n, err := normNamed(b.Norm)
		if err != nil {
			return err
		}
		*to = n.Ball(float64(b.Radius))
		return to.Check()
	case *advlib.Norm:
		return named(text, normNamed, to)
	case *advlib.Loss:
		return named(text, lossNamed, to)
	case *advlib.Attack:
		a, err := r.read(text)
		*to = a
		return err
	case *[]advlib.Attack:
		var all []json.RawMessage
		if err := json.Unmarshal(text, &all); err != nil {
			return err
		}
		for i, one := range all {
			a, err := r.read(one)
			if err != nil {
				return fmt.Errorf("number %d: %w", i, err)
			}
			*to = append(*to, a)
		}
		return nil
	}
	if !plain(reflect.TypeOf(to).Elem()) {
		return fmt.Errorf("a %v has no form in JSON: make this attack in Go", reflect.TypeOf(to).Elem())
	}
	return strictly(text, to)
}

// objectOf returns the fields of an object, each of which may be there once.
func objectOf(text []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return nil, cmp.Or(err, fmt.Errorf("it is no object, such as {%q: \"PGD\"}", typeField))
	}
	fields := map[string]json.RawMessage{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		if _, twice := fields[key.(string)]; twice {
			return nil, fmt.Errorf("the field %q is there twice", key)
		}
		fields[key.(string)] = value
	}
	_, err := d.Token()
	if err == nil && d.More() {
		err = fmt.Errorf("there is more behind the object")
	}
	return fields, err
}

// strictly reads a value, and refuses fields that it does not have.
func strictly(text []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(to)
}

// named reads a name, and looks it up.
func named[T any](text []byte, find func(name string) (T, error), to *T) error {
	var name string
	if err := json.Unmarshal(text, &name); err != nil {
		return fmt.Errorf("%s is no name in quotes", text)
	}
	found, err := find(name)
	if err == nil {
		*to = found
	}
	return err
}

func normNamed(name string) (advlib.Norm, error) {
	return oneOf("norm", name, []advlib.Norm{advlib.Linf, advlib.L2, advlib.L1, advlib.L0})
}

func lossNamed(name string) (advlib.Loss, error) {
	return oneOf("loss", name, []advlib.Loss{advlib.CrossEntropy, advlib.Margin, advlib.DLR})
}

// oneOf returns the one of that name.
func oneOf[T fmt.Stringer](what, name string, all []T) (none T, err error) {
	names := make([]string, len(all))
	for i, one := range all {
		if one.String() == name {
			return one, nil
		}
		names[i] = one.String()
	}
	return none, fmt.Errorf("there is no %s %q in JSON: there are %s", what, name, strings.Join(names, ", "))
}

// typeNamed returns the type of an attack: one of the user's own, or of this package.
func (r Reader) typeNamed(name string) (reflect.Type, error) {
	var names []string
	for _, a := range r.Own {
		t := reflect.TypeOf(a)
		if t == nil || t.Kind() != reflect.Struct {
			return nil, fmt.Errorf("%v is a %T: only an attack that is a struct can be read", a, a)
		}
		if t.Name() == name {
			return t, nil
		}
		names = append(names, t.Name())
	}
	for _, known := range registry {
		t := reflect.TypeOf(known.zero()).Elem()
		if !t.Implements(reflect.TypeFor[advlib.Attack]()) {
			continue // what learns one
		}
		if t.Name() == name {
			return t, nil
		}
		names = append(names, t.Name())
	}
	slices.Sort(names)
	return nil, fmt.Errorf("there is no attack %q that can be read: there are %s", name, strings.Join(names, ", "))
}

func fieldsOf(t reflect.Type) string {
	var names []string
	for i := range t.NumField() {
		if t.Field(i).IsExported() {
			names = append(names, t.Field(i).Name)
		}
	}
	return strings.Join(names, ", ")
}
