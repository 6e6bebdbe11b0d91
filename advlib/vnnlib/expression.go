package vnnlib

import (
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

// variable is an X or a Y.
type variable struct {
	output bool
	index  int
}

func (v variable) String() string {
	if v.output {
		return "Y_" + strconv.Itoa(v.index)
	}
	return "X_" + strconv.Itoa(v.index)
}

// maxIndex is the highest number of an X or Y.
const maxIndex = 1<<24 - 1

var variableName = regexp.MustCompile(`^([XY])_(0|[1-9][0-9]{0,8})$`)

func variableOf(t term) (v variable, err error) {
	m := variableName.FindStringSubmatch(t.atom)
	if m == nil {
		return v, t.errorf("%v is no variable: inputs are X_0, X_1, …, outputs Y_0, Y_1, …", t)
	}
	index, _ := strconv.Atoi(m[2])
	if index > maxIndex {
		return v, t.errorf("%v: more than %d variables are not read", t, maxIndex+1)
	}
	return variable{m[1] == "Y", index}, nil
}

// Decimals only: big.Rat would also take fractions, hexadecimals, and exponents that fill the memory.
var decimal = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?([0-9]{1,3}))?$`)

func looksLikeNumber(atom string) bool {
	digits := strings.TrimLeft(atom, "+-.")
	return digits != "" && digits[0] >= '0' && digits[0] <= '9'
}

func numberOf(t term) (*big.Rat, error) {
	if !decimal.MatchString(t.atom) {
		return nil, t.errorf("%v is no number: write it as 12, -0.5 or 1.5e-3, with an exponent of at most three digits", t)
	}
	v, ok := new(big.Rat).SetString(strings.TrimPrefix(t.atom, "+"))
	if !ok {
		return nil, t.errorf("%v is no number", t)
	}
	return v, nil
}

// linear is Σ coefficients·variables + constant.
type linear struct {
	coefficients map[variable]*big.Rat
	constant     *big.Rat
}

// add adds s·o.
func (l *linear) add(o linear, s *big.Rat) {
	l.constant = new(big.Rat).Add(l.constant, new(big.Rat).Mul(s, o.constant))
	for v, c := range o.coefficients {
		c = new(big.Rat).Mul(s, c)
		if old := l.coefficients[v]; old != nil {
			c.Add(c, old)
		}
		if c.Sign() == 0 {
			delete(l.coefficients, v)
			continue
		}
		if l.coefficients == nil {
			l.coefficients = map[variable]*big.Rat{}
		}
		l.coefficients[v] = c
	}
}

var minusOne = big.NewRat(-1, 1)

// maxBits is the longest numerator or denominator of a computed coefficient.
const maxBits = 1 << 14

func (l linear) check(t term) error {
	long := func(v *big.Rat) bool { return v.Num().BitLen() > maxBits || v.Denom().BitLen() > maxBits }
	bad := long(l.constant)
	for _, c := range l.coefficients {
		bad = bad || long(c)
	}
	if bad {
		return t.errorf("%v leads to a number of more than %d bits", t, maxBits)
	}
	return nil
}

// linearOf reads an expression.
func (r *reader) linearOf(t term) (linear, error) {
	if t.atom != "" {
		if looksLikeNumber(t.atom) {
			v, err := numberOf(t)
			return linear{constant: v}, err
		}
		v, err := variableOf(t)
		if err != nil {
			return linear{}, err
		}
		if !r.declared[v] {
			return linear{}, t.errorf("%v is not declared before: write (declare-const %v Real) above", v, v)
		}
		return linear{map[variable]*big.Rat{v: one}, zero}, nil
	}
	if len(t.list) == 0 || t.list[0].atom == "" {
		return linear{}, t.errorf("a number, a variable, or an operation such as (+ X_0 1) should be here, not %v", t)
	}
	op, args := t.list[0], t.list[1:]
	switch op.atom {
	case "+", "-", "*", "/":
	default:
		return linear{}, op.errorf("%v is no operation on numbers: there are +, -, * and /", op)
	}
	if len(args) == 0 || op.atom == "/" && len(args) != 2 {
		return linear{}, op.errorf("%v has %d arguments: / takes two, +, - and * at least one", op, len(args))
	}
	sum := linear{constant: zero}
	for i, arg := range args {
		v, err := r.linearOf(arg)
		if err != nil {
			return linear{}, err
		}
		switch {
		case op.atom == "+" || op.atom == "-" && i == 0 && len(args) > 1:
			sum.add(v, one)
		case op.atom == "-":
			sum.add(v, minusOne)
		case i == 0:
			sum = v
		case op.atom == "/" && (len(v.coefficients) > 0 || v.constant.Sign() == 0):
			return linear{}, arg.errorf("%v divides: only a number other than 0 may", arg)
		case op.atom == "/":
			scaled := linear{constant: zero}
			scaled.add(sum, new(big.Rat).Inv(v.constant))
			sum = scaled
		case len(sum.coefficients) > 0 && len(v.coefficients) > 0:
			return linear{}, arg.errorf("two variables are multiplied: conditions must be linear")
		default:
			if len(v.coefficients) > 0 {
				sum, v = v, sum
			}
			scaled := linear{constant: zero}
			scaled.add(sum, v.constant)
			sum = scaled
		}
		if err := sum.check(t); err != nil {
			return linear{}, err
		}
	}
	return sum, nil
}
