package vnnlib

import (
	"fmt"
	"math/big"
	"strings"
)

// Property is what a file calls unsafe: an input in the box of a case, with an output that meets one of the case's
// conditions.
type Property struct {
	// Inputs and Outputs are how many X and Y are declared.
	Inputs, Outputs int
	// Cases are alternatives: each is unsafe. No two have the same box. There is none if the file contradicts itself, as
	// with X_0 <= 0 and X_0 >= 1: then nothing is unsafe.
	Cases []Case
}

// Case is a box of inputs, Lower[i] ≤ X_i ≤ Upper[i], with its unsafe outputs: those that meet all conditions of at
// least one element of Unsafe. An empty conjunction is met by every output.
type Case struct {
	Lower, Upper []*big.Rat
	Unsafe       [][]Condition
}

// Condition is ⟨Row, Y⟩ ≤ Bound, or < if it is strict. Row has a number for each output.
type Condition struct {
	Row    []*big.Rat
	Bound  *big.Rat
	Strict bool
}

// Holds tells exactly whether outputs y, one for each of Row, meet the condition. NaN and infinities do not.
func (c Condition) Holds(y []float64) bool {
	sum, term := new(big.Rat), new(big.Rat)
	for k, v := range y {
		if c.Row[k].Sign() == 0 {
			continue
		}
		if term.SetFloat64(v) == nil {
			return false
		}
		sum.Add(sum, term.Mul(term, c.Row[k]))
	}
	order := sum.Cmp(c.Bound)
	return order < 0 || order == 0 && !c.Strict
}

// String returns for example "Y_0 - 2·Y_3 <= 0.5".
func (c Condition) String() string {
	var s strings.Builder
	for k, v := range c.Row {
		if v.Sign() == 0 {
			continue
		}
		switch {
		case v.Sign() < 0 && s.Len() == 0:
			s.WriteString("-")
		case v.Sign() < 0:
			s.WriteString(" - ")
		case s.Len() > 0:
			s.WriteString(" + ")
		}
		if size := new(big.Rat).Abs(v); size.Cmp(one) != 0 {
			s.WriteString(Decimal(size) + "·")
		}
		fmt.Fprintf(&s, "Y_%d", k)
	}
	if s.Len() == 0 {
		s.WriteString("0")
	}
	sign := "<="
	if c.Strict {
		sign = "<"
	}
	return fmt.Sprintf("%s %s %s", s.String(), sign, Decimal(c.Bound))
}

// Decimal writes a number exactly, as a decimal where it has one and else as a fraction.
func Decimal(v *big.Rat) string {
	digits, exact := v.FloatPrec()
	if !exact {
		return v.RatString()
	}
	return v.FloatString(digits)
}

// IsUnsafe tells whether outputs y are unsafe in this case.
func (c Case) IsUnsafe(y []float64) bool {
	for _, conjunction := range c.Unsafe {
		met := true
		for _, condition := range conjunction {
			if !condition.Holds(y) {
				met = false
				break
			}
		}
		if met {
			return true
		}
	}
	return false
}

// Contains tells whether an input lies in the case's box.
func (c Case) Contains(x []*big.Rat) bool {
	for i, v := range x {
		if v.Cmp(c.Lower[i]) < 0 || v.Cmp(c.Upper[i]) > 0 {
			return false
		}
	}
	return true
}

var (
	zero = new(big.Rat)
	one  = big.NewRat(1, 1)
)
