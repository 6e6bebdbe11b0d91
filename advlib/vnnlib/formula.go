package vnnlib

import (
	"math/big"
	"slices"
)

// bound is X_index ≤ value, or ≥ if it is from below.
type bound struct {
	index int
	below bool
	value *big.Rat
}

// row is a condition on outputs, sparse.
type row struct {
	coefficients map[variable]*big.Rat
	bound        *big.Rat
	strict       bool
}

// conjunction is a list of bounds and conditions that must all hold.
type conjunction struct {
	bounds []bound
	rows   []row
}

func (c conjunction) and(o conjunction) conjunction {
	return conjunction{slices.Concat(c.bounds, o.bounds), slices.Concat(c.rows, o.rows)}
}

func (c conjunction) size() int { return len(c.bounds) + len(c.rows) }

// never is what holds for nothing, such as (or) or (<= 1 0).
var never []conjunction

// formulaOf returns a condition as a disjunction of conjunctions.
func (r *reader) formulaOf(t term) ([]conjunction, error) {
	if t.atom != "" || len(t.list) == 0 || t.list[0].atom == "" {
		return nil, t.errorf("a condition such as (<= X_0 1) should be here, not %v", t)
	}
	op, args := t.list[0], t.list[1:]
	switch op.atom {
	case "and":
		all := []conjunction{{}}
		for _, arg := range args {
			f, err := r.formulaOf(arg)
			if err != nil {
				return nil, err
			}
			if all, err = r.product(t, all, f); err != nil {
				return nil, err
			}
		}
		return all, nil
	case "or":
		all := never
		for _, arg := range args {
			f, err := r.formulaOf(arg)
			if err != nil {
				return nil, err
			}
			all = append(all, f...)
			if len(all) > maxCases {
				return nil, t.errorf("this leads to more than %d alternatives", maxCases)
			}
		}
		return all, nil
	case "<=", ">=", "<", ">", "=":
		return r.comparison(t, op, args)
	case "not", "=>", "xor", "ite", "let", "forall", "exists", "distinct", "==":
		return nil, op.errorf("%v is not read: write the condition with and, or, <=, >=", op)
	}
	return nil, op.errorf("%v is no condition: there are and, or, <=, >=, <, >, =", op)
}

// product multiplies out a conjunction of two disjunctions. It may change a, whose lists belong to nobody else.
func (r *reader) product(t term, a, b []conjunction) ([]conjunction, error) {
	if len(b) == 1 { // the usual case, without copying what there is
		if r.numbers += len(a) * b[0].size(); r.numbers > maxNumbers {
			return nil, t.errorf("multiplied out, there are more than %d conditions: nest fewer or inside of and", maxNumbers)
		}
		for i := range a {
			a[i].bounds = append(a[i].bounds, b[0].bounds...)
			a[i].rows = append(a[i].rows, b[0].rows...)
		}
		return a, nil
	}
	if len(a)*len(b) > maxCases {
		return nil, t.errorf("multiplied out, this has %d alternatives, more than %d: nest fewer or inside of and", len(a)*len(b), maxCases)
	}
	all := make([]conjunction, 0, len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			c := x.and(y)
			if r.numbers += c.size(); r.numbers > maxNumbers {
				return nil, t.errorf("multiplied out, this has more than %d conditions: nest fewer or inside of and", maxNumbers)
			}
			all = append(all, c)
		}
	}
	return all, nil
}

func (r *reader) comparison(t, op term, args []term) ([]conjunction, error) {
	if len(args) != 2 {
		return nil, op.errorf("%v compares %d expressions: write two, as in (%s X_0 1)", op, len(args), op.atom)
	}
	left, err := r.linearOf(args[0])
	if err != nil {
		return nil, err
	}
	right, err := r.linearOf(args[1])
	if err != nil {
		return nil, err
	}
	// Everything to the left: Σ c·v ≤ −constant.
	left.add(right, minusOne)
	strict := op.atom == "<" || op.atom == ">"
	if op.atom == ">=" || op.atom == ">" {
		negated := linear{constant: zero}
		negated.add(left, minusOne)
		left = negated
	}
	if err := left.check(t); err != nil {
		return nil, err
	}
	c, err := r.atMost(t, left, strict)
	if err != nil || op.atom != "=" || c == nil {
		return c, err
	}
	negated := linear{constant: zero}
	negated.add(left, minusOne)
	other, err := r.atMost(t, negated, false)
	if err != nil || other == nil {
		return nil, err
	}
	return r.product(t, c, other)
}

// atMost returns the condition l ≤ 0, or l < 0.
func (r *reader) atMost(t term, l linear, strict bool) ([]conjunction, error) {
	limit := new(big.Rat).Neg(l.constant)
	inputs, outputs := 0, 0
	var only variable
	for v := range l.coefficients {
		if v.output {
			outputs++
		} else {
			inputs++
			only = v
		}
	}
	switch {
	case inputs == 0 && outputs == 0:
		if s := limit.Sign(); s > 0 || s == 0 && !strict {
			return []conjunction{{}}, nil
		}
		return never, nil
	case inputs > 0 && outputs > 0:
		return nil, t.errorf("%v compares inputs with outputs, which is not supported: bound inputs by numbers, and outputs by numbers or "+
			"other outputs", t)
	case inputs > 1:
		return nil, t.errorf("%v relates several inputs, which is not supported: bound each input by numbers, so that the inputs are a box", t)
	case inputs == 1 && strict:
		return nil, t.errorf("%v bounds the input %v strictly: write <= or >=", t, only)
	case inputs == 1:
		c := l.coefficients[only]
		return []conjunction{{bounds: []bound{{only.index, c.Sign() < 0, limit.Quo(limit, c)}}}}, nil
	}
	return []conjunction{{rows: []row{{l.coefficients, limit, strict}}}}, nil
}
