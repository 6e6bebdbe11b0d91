package attack

import (
	"reflect"

	"advlab/advlib"
)

// Zero returns the k-th attack of the index in its zero value, but for norm, radius and goal where it has such fields.
func Zero(k int, n advlib.Norm, radius float64, goal advlib.Goal) Threatened {
	a := reflect.New(reflect.TypeOf(registry[k].zero)).Elem()
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

// Threatened is an attack, or what learns one.
type Threatened = threatened

// Filled returns the attack with its defaults.
func Filled(a Threatened) Threatened { return a.(indexed).filled().(Threatened) }
