package diagnose

import (
	"reflect"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/craft"
)

// Attacks are values whose exported fields are their hyper-parameters, so that one can be asked for with more steps, or
// another loss, without knowing it: by the names that those of package attack have. Wrappers have theirs in the field
// Attack.

// filled returns the attack with its defaults in place of zeros, so that another number of steps leaves their size as
// it is. One of the user's own comes back as it was.
func filled(a advlib.Attack) advlib.Attack {
	switch a := a.(type) {
	case attack.PGD:
		return craft.Filled(a)
	case attack.BIM:
		return craft.Filled(a)
	case attack.MIFGSM:
		return craft.Filled(a)
	case attack.APGD:
		return craft.Filled(a)
	}
	if inner, ok := field[advlib.Attack](a, "Attack"); ok && inner != nil {
		if b, ok := with(a, "Attack", filled(inner)); ok {
			return b
		}
	}
	return a
}

// field returns the exported field of that name and type of an attack, or of the attack that it wraps.
func field[T any](a advlib.Attack, name string) (value T, ok bool) {
	v := reflect.ValueOf(a)
	if v.Kind() != reflect.Struct {
		return value, false
	}
	if f := v.FieldByName(name); f.IsValid() && f.Type() == reflect.TypeFor[T]() {
		value, _ = f.Interface().(T) // the zero value of a nil interface
		return value, true
	}
	if f := v.FieldByName("Attack"); f.IsValid() && name != "Attack" {
		if inner, ok := f.Interface().(advlib.Attack); ok && inner != nil {
			return field[T](inner, name)
		}
	}
	return value, false
}

// with returns a copy of an attack in which that field, its own or that of the attack that it wraps, has another value.
func with[T any](a advlib.Attack, name string, value T) (other advlib.Attack, ok bool) {
	v := reflect.ValueOf(a)
	if v.Kind() != reflect.Struct {
		return nil, false
	}
	w := reflect.New(v.Type()).Elem()
	w.Set(v)
	if f := w.FieldByName(name); f.IsValid() && f.CanSet() && f.Type() == reflect.TypeFor[T]() {
		f.Set(reflect.ValueOf(&value).Elem())
		other, ok = w.Interface().(advlib.Attack)
		return other, ok
	}
	f := w.FieldByName("Attack")
	if !f.IsValid() || !f.CanSet() || name == "Attack" {
		return nil, false
	}
	inner, isAttack := f.Interface().(advlib.Attack)
	if !isAttack || inner == nil {
		return nil, false
	}
	changed, can := with(inner, name, value)
	if !can {
		return nil, false
	}
	f.Set(reflect.ValueOf(changed))
	other, ok = w.Interface().(advlib.Attack)
	return other, ok
}

// steps returns an attack's number of steps, if it has one to change.
func steps(a advlib.Attack) (int, bool) {
	n, ok := field[int](filled(a), "Steps")
	return n, ok && n > 0
}
