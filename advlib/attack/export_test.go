package attack

import (
	"reflect"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

// Zero returns the attack of that name in its zero value, but for norm, radius and goal where it has such fields.
func Zero(name string, n advlib.Norm, radius float64, goal advlib.Goal) Threatened {
	a := reflect.ValueOf(zeroOf(name)).Elem()
	for name, value := range map[string]any{"Ball": advlib.Ball{Norm: n, Radius: radius}, "Norm": n, "Goal": goal} {
		if f := a.FieldByName(name); f.IsValid() {
			f.Set(reflect.ValueOf(value))
		}
	}
	z := a.Interface().(Threatened)
	if !a.FieldByName("Goal").IsValid() && goal.IsTargeted() { // it takes its goal from a wrapper, or none
		return AllTargets{Attack: z.(advlib.Attack)}
	}
	return z
}

func zeroOf(name string) craft.Described {
	for _, r := range registry {
		if r.name() == name {
			return r.zero()
		}
	}
	panic(name)
}

// Threatened is an attack, or what learns one.
type Threatened = threatened

// Filled returns the attack with its defaults.
func Filled(a Threatened) Threatened {
	p := reflect.New(reflect.TypeOf(a))
	p.Elem().Set(reflect.ValueOf(a))
	craft.Describe(p.Interface().(craft.Described))
	return p.Elem().Interface().(Threatened)
}
