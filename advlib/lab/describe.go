package lab

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"advlab/advlib"
)

// Describe returns a text of a value for a recipe: its type and everything in it, unexported fields and what pointers
// point to included. Equal texts mean equal values.
//
// A victim in it, such as a classifier, is described as [Victim] does it. It is an error if the value holds something
// else whose meaning is not in its data: a function, a channel, or a type with
// methods that is defined outside of advlab and the standard library, for edits of its methods would not change the
// text.
func Describe(v any) (string, error) {
	var s strings.Builder
	fmt.Fprintf(&s, "%T ", v)
	if err := describe(&s, reflect.ValueOf(v), 0); err != nil {
		return "", fmt.Errorf("lab: a %T cannot be part of a recipe: %w", v, err)
	}
	return s.String(), nil
}

func describe(s *strings.Builder, v reflect.Value, depth int) error {
	if !v.IsValid() {
		s.WriteString("nil")
		return nil
	}
	t := v.Type()
	if depth > 32 {
		return fmt.Errorf("it is nested too deeply, or points to itself")
	}
	if hasForeignCode(t) {
		return fmt.Errorf("the code of the type %v is not known to the library", t)
	}
	if text, ok := fingerprint(v); ok {
		fmt.Fprintf(s, "%v %q", t, text)
		return nil
	}
	switch v.Kind() {
	case reflect.Bool:
		fmt.Fprintf(s, "%v", v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		fmt.Fprintf(s, "%d", v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		fmt.Fprintf(s, "%d", v.Uint())
	case reflect.Float32, reflect.Float64:
		fmt.Fprintf(s, "%v", v.Float())
	case reflect.Complex64, reflect.Complex128:
		fmt.Fprintf(s, "%v", v.Complex())
	case reflect.String:
		fmt.Fprintf(s, "%q", v.String())
	case reflect.Interface, reflect.Pointer:
		if v.IsNil() {
			s.WriteString("nil")
			return nil
		}
		if v.Kind() == reflect.Interface {
			fmt.Fprintf(s, "%v ", v.Elem().Type())
		}
		return describe(s, v.Elem(), depth+1)
	case reflect.Slice, reflect.Array:
		fmt.Fprintf(s, "%v{", t)
		for i := range v.Len() {
			if err := describe(s, v.Index(i), depth+1); err != nil {
				return err
			}
			s.WriteString(", ")
		}
		s.WriteString("}")
	case reflect.Struct:
		fmt.Fprintf(s, "%v{", t)
		for i := range v.NumField() {
			fmt.Fprintf(s, "%s: ", t.Field(i).Name)
			if err := describe(s, v.Field(i), depth+1); err != nil {
				return fmt.Errorf("field %s: %w", t.Field(i).Name, err)
			}
			s.WriteString(", ")
		}
		s.WriteString("}")
	case reflect.Map:
		return describeMap(s, v, depth)
	default:
		if (v.Kind() == reflect.Func || v.Kind() == reflect.Chan) && v.IsNil() {
			s.WriteString("nil")
			return nil
		}
		return fmt.Errorf("it holds a %v, whose meaning is not in its data", t)
	}
	return nil
}

// fingerprint returns the text of a victim that is part of a value, such as the classifier that an attack is
// transferred from: its functions show in its graph, see [Victim].
func fingerprint(v reflect.Value) (string, bool) {
	if v.Kind() != reflect.Pointer || v.IsNil() || !v.CanInterface() {
		return "", false
	}
	victim, ok := v.Interface().(advlib.Victim)
	if !ok {
		return "", false
	}
	text, err := Victim(victim)
	return text, err == nil
}

// hasForeignCode tells whether a type has methods that are neither advlab's nor the standard library's.
func hasForeignCode(t reflect.Type) bool {
	if t.PkgPath() == "" || t.Kind() == reflect.Interface || t.NumMethod()+reflect.PointerTo(t).NumMethod() == 0 {
		return false
	}
	first, _, _ := strings.Cut(t.PkgPath(), "/")
	return first != "advlab" && (first == "main" || strings.Contains(first, "."))
}

// describeMap describes a map in the order of its keys' texts.
func describeMap(s *strings.Builder, v reflect.Value, depth int) error {
	entries := make(map[string]string)
	for _, key := range v.MapKeys() {
		var name, value strings.Builder
		if err := describe(&name, key, depth+1); err != nil {
			return err
		}
		if err := describe(&value, v.MapIndex(key), depth+1); err != nil {
			return err
		}
		entries[name.String()] = value.String()
	}
	fmt.Fprintf(s, "%v{", v.Type())
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		s.WriteString(name + ": " + entries[name] + ", ")
	}
	s.WriteString("}")
	return nil
}
