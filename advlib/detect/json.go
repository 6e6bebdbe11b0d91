package detect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"advlab/advlib/transform"
)

// # Methods in JSON
//
// A method in JSON is an object with the name of its type, and those of its fields that are set, by their names in Go,
// as attacks are in package attack:
//
//	{"method": "LID", "K": 10, "Batch": 50}
//	{"method": "FeatureSqueezing", "Squeezers": [{"transform": "BitDepth", "Bits": 3}, {"transform": "Median"}]}
//
// What is left out has its default. Fields that a method does not have are refused.

// Named is a method with its defaults, by the name that it has on the command line.
type Named struct {
	Name, About string
	Method      Method
	// Learns says that it learns from adversarial examples: always, or, if Optional, where Data has some.
	Learns, Optional bool
}

// Methods returns the methods of this package.
func Methods() []Named {
	return []Named{
		{"squeezing", "feature squeezing, 1 bit and a 2×2 median (Xu et al. 2018); for images", FeatureSqueezing{}, false, false},
		{"consistency", "logits under translations by a pixel (Tian et al. 2018); for images", Consistency{}, false, false},
		{"density", "kernel density in the last hidden layer (Feinman et al. 2017)", KernelDensity{}, false, false},
		{"lid", "local intrinsic dimensionality of the hidden layers (Ma et al. 2018)", LID{}, true, true},
		{"mahalanobis", "distance to the nearest class in the hidden layers (Lee et al. 2018)", Mahalanobis{}, true, true},
		{"magnet", "autoencoders that rebuild what is clean (Meng & Chen 2017)", MagNet{}, false, false},
		{"binary", "a second network that tells the two apart (Gong et al. 2017)", Binary{}, true, false},
	}
}

// transforms are those that have no random draws, by which [FeatureSqueezing] and [Consistency] may compare.
var transforms = []transform.Transform{
	transform.BitDepth{}, transform.Median{}, transform.Gaussian{}, transform.Bilateral{}, transform.NonLocalMeans{}, transform.Chambolle{},
	transform.JPEG{}, transform.Translate{},
}

// JSON returns a method in JSON, which [FromJSON] reads. It is an error for a method that is none of this package's,
// and for one with a field that has no form in JSON, such as the Model of [Binary].
func JSON(m Method) ([]byte, error) {
	if !slices.ContainsFunc(Methods(), func(n Named) bool { return reflect.TypeOf(n.Method) == reflect.TypeOf(m) }) {
		return nil, fmt.Errorf("detect: %v is a %T, and none of the methods that have a form in JSON", m, m)
	}
	text, err := object("method", m)
	if err != nil {
		return nil, fmt.Errorf("detect: %v in JSON: %w", m, err)
	}
	return text, nil
}

// object writes a struct as an object with its type's name.
func object(kind string, of any) ([]byte, error) {
	v := reflect.ValueOf(of)
	var b bytes.Buffer
	fmt.Fprintf(&b, `{%q:%q`, kind, v.Type().Name())
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if v.Field(i).IsZero() {
			continue
		}
		text, err := []byte(nil), error(nil)
		switch value := v.Field(i).Interface().(type) {
		case []transform.Transform:
			var all []json.RawMessage
			for _, t := range value {
				if !slices.ContainsFunc(transforms, func(o transform.Transform) bool { return reflect.TypeOf(o) == reflect.TypeOf(t) }) {
					return nil, fmt.Errorf("%v is a %T, which has no form in JSON", t, t)
				}
				one, err := object("transform", t)
				if err != nil {
					return nil, err
				}
				all = append(all, one)
			}
			text, err = json.Marshal(all)
		default:
			if field.Type.Kind() == reflect.Struct {
				return nil, fmt.Errorf("its %s has no form in JSON", field.Name)
			}
			text, err = json.Marshal(value)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", field.Name, err)
		}
		fmt.Fprintf(&b, ",%q:%s", field.Name, text)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// FromJSON returns the method that [JSON] wrote.
func FromJSON(text []byte) (Method, error) {
	var types []reflect.Type
	for _, n := range Methods() {
		types = append(types, reflect.TypeOf(n.Method))
	}
	v, err := read("method", text, types)
	if err != nil {
		return nil, fmt.Errorf("detect: a method in JSON: %w", err)
	}
	return v.(Method), nil
}

// read reads an object with its type's name, of one of some types.
func read(kind string, text []byte, types []reflect.Type) (any, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, err
	}
	var name string
	if err := json.Unmarshal(fields[kind], &name); err != nil {
		return nil, fmt.Errorf(`there is no name of a %s: write it as in {%q: %q}`, kind, kind, types[0].Name())
	}
	delete(fields, kind)
	var names []string
	for _, t := range types {
		names = append(names, t.Name())
		if t.Name() != name {
			continue
		}
		v := reflect.New(t).Elem()
		for field, value := range fields {
			if err := readField(v, field, value); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
		return v.Interface(), nil
	}
	return nil, fmt.Errorf("there is no %s %q: there are %s", kind, name, strings.Join(names, ", "))
}

// readField sets a field of a struct.
func readField(v reflect.Value, field string, value json.RawMessage) error {
	f, ok := v.Type().FieldByName(field)
	if !ok || f.Type.Kind() == reflect.Struct {
		var there []string
		for i := range v.NumField() {
			if v.Type().Field(i).Type.Kind() != reflect.Struct {
				there = append(there, v.Type().Field(i).Name)
			}
		}
		return fmt.Errorf("there is no field %q: there are %s", field, strings.Join(there, ", "))
	}
	to := v.FieldByIndex(f.Index)
	if _, ok := to.Interface().([]transform.Transform); !ok {
		if err := json.Unmarshal(value, to.Addr().Interface()); err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
		return nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(value, &list); err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	var types []reflect.Type
	for _, t := range transforms {
		types = append(types, reflect.TypeOf(t))
	}
	all := []transform.Transform{}
	for _, one := range list {
		t, err := read("transform", one, types)
		if err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
		all = append(all, t.(transform.Transform))
	}
	to.Set(reflect.ValueOf(all))
	return nil
}
