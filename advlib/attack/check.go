package attack

import (
	"fmt"
	"math"
	"reflect"

	"advlab/advlib"
)

// checkBall refuses balls that are unset or cannot be projected on.
func checkBall(b advlib.Ball) error {
	if err := b.Check(); err != nil {
		return err
	}
	if _, ok := b.Norm.(advlib.ConvexNorm); !ok {
		return fmt.Errorf("the %v ball has no steepest ascent and no projection: use L1, L2 or Linf", b.Norm)
	}
	return nil
}

// checkGradient refuses victims without a graph, and classifiers without a gradient, for attacks that need one.
func checkGradient(v advlib.Victim) error {
	if v == nil {
		return nil // the caller says so
	}
	c, err := advlib.WhiteBox(v)
	if err != nil {
		return err
	}
	return c.Differentiable()
}

// lossOr returns the loss, or the default for nil.
func lossOr(l, otherwise advlib.Loss) advlib.Loss {
	if l == nil {
		return otherwise
	}
	return l
}

// checkLoss refuses losses that are not defined for the number of classes.
func checkLoss(l advlib.Loss, classes int, targeted bool) error {
	if !reflect.TypeOf(l).Comparable() {
		return fmt.Errorf("the loss %v is of type %T, which == does not compare: compiled steps are kept by it, so make it comparable", l, l)
	}
	if least := l.MinClasses(targeted); classes < least {
		kind := ""
		if targeted {
			kind = " with a target"
		}
		return fmt.Errorf("the loss %v needs at least %d classes%s, the classifier has %d: use Margin", l, least, kind, classes)
	}
	return nil
}

// checkCount refuses negative numbers of something.
func checkCount(what string, n int) error {
	if n < 0 {
		return fmt.Errorf("%s = %d is below 0: leave it at 0 for the default, or give a positive number", what, n)
	}
	return nil
}

// checkSize refuses negative, infinite and undefined sizes of something.
func checkSize(what string, v float64) error {
	if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
		return fmt.Errorf("%s = %g is not a finite number ≥ 0: leave it at 0 for the default, or give a positive number", what, v)
	}
	return nil
}

// numberOr returns v, or the default for 0.
func numberOr[T int | float64](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

// named joins an attack's name with what differs from its defaults.
func named(name string, ball string, goal advlib.Goal, more ...string) string {
	s := name + " " + ball
	if goal.IsTargeted() {
		s += ", " + goal.String()
	}
	for _, m := range more {
		if m != "" {
			s += ", " + m
		}
	}
	return s
}
